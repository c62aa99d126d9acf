"""Filters of a task's queries, and the document columns that they compare.

Columns are derived from every document (`words` and `characters` of its text, `has_title`), or are
the user's own: numbers, strings and booleans in `metadata` of a `corpus.jsonl`. They are stored in
the folder `columns` of the converted copy, which is made when a task with a filter is first opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rankstone.arrays import Flags, Ints
from rankstone.errors import DataError, RankstoneError
from rankstone.predicates import Where, columns_of, parse, passing
from rankstone.specs import TaskSpec, canonical_digest
from rankstone.specs.tasks import of_query

FOLDER, TABLE = "columns", "columns.arrow"
BLOCK = 1 << 14
"""Documents read at once."""
Metadata = Callable[[], Iterable[Mapping[str, Any]]]
Columns = Mapping[str, Any]
"""Arrow columns by name, with one value per document; null if it is unknown."""


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Filters of the queries of a task."""

    columns: Columns
    """The columns that the filters compare."""
    wheres: tuple[Where | None, ...]
    """Filter of each query; None for a query without one."""
    n_unjudged: int
    """Queries that are not run because none of their judged documents passes."""

    @property
    def shares(self) -> list[float]:
        """Return, for each query, the share of documents that pass."""
        known = {where: 1.0 if where is None else float(where.passes.mean())
                 for where in set(self.wheres)}  # fmt: skip
        return [known[where] for where in self.wheres]


class ByRow(NamedTuple):
    """Filters by row of the queries table."""

    columns: Columns
    wheres: Mapping[int, Where]
    digest: str
    """Digest of the documents that pass each predicate."""

    def keeps(self, rows: Ints, documents: Ints) -> Flags:
        """Return (n,) flags of the judgements, given as rows and positions, whose document passes
        the query's filter; a document that is not in the corpus does not pass."""
        kept = np.ones(len(rows), dtype=np.bool_)
        for where in set(self.wheres.values()):
            own = np.isin(rows, [row for row, other in self.wheres.items() if other is where])
            kept[own] = (documents[own] >= 0) & where.passes[documents[own]]
        return kept

    def of(self, rows: Ints, n_unjudged: int) -> Filters:
        """Return the filters of the queries at `rows`."""
        wheres = tuple(self.wheres.get(row) for row in rows.tolist())
        return Filters(columns=self.columns, wheres=wheres, n_unjudged=n_unjudged)


def filters_by_row(
    task: TaskSpec, columns: Columns, left_out: Mapping[str, str], rows: Ints, ids: Sequence[str]
) -> ByRow:
    """Return the task's filters of the queries at `rows`, whose ids are `ids`.

    Args:
        left_out: omitted columns, with the reason why they cannot be compared.

    Raises:
        DataError: a filter names a column or a query that does not exist.
    """
    stated = task.filter
    if isinstance(stated, str):
        stated = {name: of_query(stated, name) for name in ids}
    unknown = sorted(stated.keys() - set(ids))
    if unknown:
        raise DataError(
            f"{task.name}: key 'filter': '{unknown[0]}' is not the id of a judged query of the"
            f" split '{task.split}'. Remove it, or correct the id."
        )
    try:
        wheres = {text: _where(text, columns) for text in sorted(set(stated.values()))}
    except RankstoneError as error:
        why = "".join(f" '{name}' is left out: {reason}." for name, reason in left_out.items())
        raise DataError(f"{task.name}: key 'filter': {error}{why}") from None
    masks = {text: np.packbits(where.passes).tobytes() for text, where in wheres.items()}
    used = sorted(set().union(*(columns_of(where.predicate) for where in wheres.values())))
    by_row = zip(rows.tolist(), ids, strict=True)
    return ByRow(
        columns={name: columns[name] for name in used},
        wheres={row: wheres[stated[name]] for row, name in by_row if name in stated},
        digest=canonical_digest({t: hashlib.sha256(bits).hexdigest() for t, bits in masks.items()}),
    )


def _where(text: str, columns: Columns) -> Where:
    predicate = parse(text)
    return Where(predicate=predicate, passes=passing(predicate, columns))


def write_columns(folder: Path, documents: Any, metadata: Metadata | None) -> dict[str, str]:
    """Write the columns of the stored `documents` into `folder`.

    Returns: the user's columns that are omitted, with the reasons.
    """
    import pyarrow as pa

    from rankstone.benchmarks.storage.arrow_tables import write_table

    columns, left_out = _derived(documents), dict[str, str]()
    for name, values in _own(len(documents), metadata).items():
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowException, ValueError, OverflowError):
            left_out[name] = "its values are of several types, or too large"
    write_table(folder / TABLE, pa.table(columns))
    return left_out


def read_columns(folder: Path) -> Columns:
    """Return the columns in `folder`, memory-mapped."""
    from rankstone.benchmarks.storage.arrow_tables import MappedTable

    table = MappedTable(folder / TABLE)
    return {name: table.column(name) for name in table.schema.names}


def _derived(documents: Any) -> dict[str, Any]:
    lengths, titled = list[tuple[int, int]](), list[bool]()
    for start in range(0, len(documents), BLOCK):
        texts, titles = (documents.rows(field, start, start + BLOCK) for field in ("text", "title"))
        lengths += [(len(text.split()), len(text)) for text in texts]
        titled += [bool(title.strip()) for title in titles]
    words, characters = np.array(lengths, dtype=np.int64).reshape(-1, 2).T
    return {"words": words, "characters": characters, "has_title": np.array(titled)}


def _own(n: int, metadata: Metadata | None) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for row, values in enumerate(() if metadata is None else metadata()):
        for name, value in values.items():
            if name.isidentifier() and _is_plain(value):
                columns.setdefault(name, [None] * n)[row] = value
    return columns


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str) and value == value  # NaN is unknown
