"""Checks of stored data: distinct ids, and the counts and digests that its task pins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from rankstone.arrays import Ints
from rankstone.benchmarks.storage.arrow_tables import ContentDigest, MappedTable, text_array
from rankstone.errors import DataError
from rankstone.specs import TaskSpec
from rankstone.text_files import encode_id


def first_repeat(
    hashes: Ints, table: MappedTable
) -> tuple[tuple[str, str], tuple[int, int]] | None:
    """Return the first two ids that a run file encodes identically, and their rows; None if none
    are.

    A copy of the hashes (8 bytes per row) is sorted; ids are read only if two hashes are equal.
    """
    ordered = np.sort(hashes)
    equal = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(equal):
        return None
    suspects = np.flatnonzero(np.isin(hashes, equal))
    seen: dict[str, tuple[str, int]] = {}
    for row, id in zip(suspects.tolist(), table.take("id", suspects), strict=True):
        former, first = seen.setdefault(encode_id(id), (id, row))
        if first != row:
            return (former, id), (first, row)
    return None


def split_digests(
    task: TaskSpec, judgements: MappedTable, rows: Ints, queries: MappedTable
) -> dict[str, str]:
    """Return the digests of judged queries and of their judgements, both ordered by id.

    The order is by id because loaders agree on ids but not on the order of lines.
    """
    names = ("id", "text", "answers")
    ids, texts, answers = (text_array(queries.take(name, rows))[0] for name in names)
    query_digest = _digest(pa.table({"id": ids, "text": texts}).sort_by("id"))
    if task.judge == "answers":
        judging = pa.table({"id": ids, "answers": answers}).sort_by("id")
        return {"queries": query_digest, "judgements": _digest(judging)}
    table = pa.table({name: judgements.column(name) for name in ("query_id", "document_id")})
    table = table.append_column("label", judgements.column("label").cast(pa.large_string()))
    if len(rows):
        table = table.filter(pa.array(np.isin(judgements.integers("query"), rows)))
    ordered = table.sort_by([("query_id", "ascending"), ("document_id", "ascending")])
    return {"queries": query_digest, "judgements": _digest(ordered)}


def _digest(table: Any) -> str:
    digest = ContentDigest(table.num_columns)
    for batch in table.to_batches():
        digest.update(batch.columns)
    return digest.hexdigest()


def check_pins(
    task: TaskSpec,
    counts: Mapping[str, int],
    digests: Mapping[str, str],
    source: str,
    n_repeated: int,
) -> None:
    """Raise DataError if `counts`, or `digests` of existing parts, differ from the task's pins.

    Args:
        n_repeated: number of repeated judgements, which `counts` excludes; a source may include
            them.
    """
    advice = (
        f"Fetch {source} again; or, if it was changed on purpose, correct the task's definition."
    )
    for what, count in counts.items():
        pinned = getattr(task.counts, what)
        rows = count + n_repeated if what == "judgements" else count
        if pinned not in (None, count, rows):
            raise DataError(f"{task.name}: expected {pinned} {what}, found {count}. {advice}")
    for part, expected in task.sha256.items():
        if part in digests and digests[part] != expected:
            raise DataError(
                f"{task.name}: expected the {part} with sha256 {expected}, found {digests[part]}. "
                f"{advice}"
            )
