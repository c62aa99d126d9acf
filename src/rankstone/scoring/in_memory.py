"""Runs and judgements in memory, as dicts and data frames, written as files for commands."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rankstone.errors import DefinitionError
from rankstone.files import appearing
from rankstone.text_files import encode_id

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["run", "qrels"]
Triple = tuple[str, str, float]
NAMES = {
    "query": ("query", "query_id", "qid", "q_id", "query-id"),
    "document": ("document", "doc_id", "docid", "docno", "doc", "corpus-id", "document_id"),
}
VALUES: dict[Kind, tuple[str, ...]] = {
    "run": ("score",),
    "qrels": ("label", "relevance", "rel", "score"),
}
"""Accepted column names of a data frame, including those of ir_measures, PyTerrier and BEIR."""


def is_in_memory(given: object) -> bool:
    """Return True for a dict or a data frame, False for the path of a file."""
    return isinstance(given, Mapping) or hasattr(given, "columns")


def write_file(given: Any, kind: Kind, folder: Path) -> Path:
    """Write `given` into `folder`, with a digest of its content as the name.

    Args:
        given: {query: {document: value}}, or a data frame with a column of each.

    Raises:
        DefinitionError: a column is missing, or a value is not a number.
    """
    triples = list(_triples(given, kind))
    line = _run_line if kind == "run" else _judgement_line
    content = "".join(line(*triple) for triple in triples).encode()
    path = folder / f"{kind}-{hashlib.sha256(content).hexdigest()[:12]}.{kind}"
    folder.mkdir(parents=True, exist_ok=True)
    with appearing(path) as out:
        out.write(content)
    return path


def _run_line(query: str, document: str, value: float) -> str:
    return f"{encode_id(query)} Q0 {encode_id(document)} 0 {value!r} memory\n"


def _judgement_line(query: str, document: str, value: float) -> str:
    if value != int(value):
        raise DefinitionError(f"qrels: the label {value} of query '{query}' is not an integer.")
    return f"{encode_id(query)} 0 {encode_id(document)} {int(value)}\n"


def _triples(given: Any, kind: Kind) -> Iterator[Triple]:
    rows = _of_frame(given, kind) if hasattr(given, "columns") else _of_dict(given, kind)
    for query, document, value in rows:
        if not isinstance(value, Real) or not math.isfinite(value):
            raise DefinitionError(
                f"{kind}: the value of query {query!r} and document {document!r} is {value!r};"
                " expected a finite number."
            )
        yield str(query), str(document), float(value)


def _of_dict(given: Mapping[Any, Any], kind: Kind) -> Iterator[tuple[Any, Any, Any]]:
    for query, row in given.items():
        if not isinstance(row, Mapping):
            raise DefinitionError(
                f"{kind}: query {query!r} has a {type(row).__name__}; expected"
                " {query: {document: value}}."
            )
        yield from ((query, document, value) for document, value in row.items())


def _of_frame(frame: pd.DataFrame, kind: Kind) -> Iterable[tuple[Any, Any, Any]]:
    wanted = {**NAMES, VALUES[kind][0]: VALUES[kind]}
    columns = []
    for what, names in wanted.items():
        found = [name for name in names if name in frame.columns]
        if not found:
            raise DefinitionError(
                f"{kind}: the frame has no column '{what}', but"
                f" {', '.join(map(str, frame.columns))}. Name it {' or '.join(names)}."
            )
        columns.append(frame[found[0]].tolist())
    return zip(*columns, strict=True)
