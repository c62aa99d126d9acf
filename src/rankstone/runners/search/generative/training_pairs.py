"""Pairs to train generative retrieval on: a text, and the docid that it should bring forth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DataError
from rankstone.runners.protocols import STRICT, Context
from rankstone.runners.search.generative.docids import write
from rankstone.runners.search.generative.simulated_queries import simulated_queries
from rankstone.text_files import opened

Count = Annotated[int, Field(ge=0)]
BATCH = 1024
"""Documents that are made into tokens together."""


class Pair(NamedTuple):
    """One example."""

    input: str
    docid: str


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InputSettings:
    """Inputs of each document (Pradeep et al., EMNLP 2023, arXiv:2305.11841, section 3.1)."""

    first: Count = 64
    """FirstP: the first so many tokens; 0: none."""
    chunks: Count = 0
    """DaQ, documents as queries: so many runs of `chunk_length` tokens, drawn at random; 10 there.
    A shorter document is one."""
    chunk_length: Annotated[int, Field(ge=1)] = 64
    queries: str | None = None
    """D2Q: file of synthetic queries, an object {"id": ..., "queries": [...]} a line."""
    queries_per_document: Annotated[int, Field(ge=1)] = 40
    """Synthetic queries of each document that are taken, the first."""
    simulated: Count = 0
    """So many queries of each document that are drawn from its words (`simulated_queries`), where
    no model that writes them is available."""
    simulated_length: Annotated[float, Field(ge=1)] = 8.0
    """Mean number of their words."""
    training_queries: bool = True
    """The queries of the training split, each with every document judged relevant to it."""


def training_pairs(
    docids: Sequence[str], context: Context, settings: InputSettings, tokenizer: Any
) -> Iterator[Pair]:
    """Yield the pairs of one pass: of documents in their order, then of queries."""
    for start in range(0, len(docids), BATCH):
        texts = [context.texts[row] for row in range(start, min(start + BATCH, len(docids)))]
        for row, (text, stops) in enumerate(
            zip(texts, _ends(texts, tokenizer), strict=True), start
        ):
            for part in _parts(text, stops, settings, np.random.default_rng([context.seed, row])):
                yield Pair(part, docids[row])
    if settings.queries is not None:
        for row, texts in _synthetic(Path(settings.queries), context):
            for text in texts[: settings.queries_per_document]:
                yield Pair(text, docids[row])
    if settings.simulated:
        length, n = settings.simulated_length, settings.simulated
        whole = [context.texts[row] for row in range(len(docids))]
        found = simulated_queries(whole, n, length, context.seed)
        for docid, texts in zip(docids, found, strict=True):
            yield from (Pair(text, docid) for text in texts)
    if settings.training_queries:
        queries, judged = context.train_queries, context.train_judgements
        for query, row, label in zip(judged.query, judged.document, judged.label, strict=True):
            if label > 0 and row >= 0:
                yield Pair(queries[int(query)], docids[int(row)])


def export(folder: Path, pairs: Iterator[Pair], docids: Sequence[str], context: Context) -> int:
    """Write `pairs.jsonl` and, for beside the weights, the docids by document; return the number
    of pairs."""
    write(folder, dict(zip(context.ids, docids, strict=True)))
    n = 0
    with (folder / "pairs.jsonl").open("w", encoding="utf-8") as file:
        for pair in pairs:
            file.write(json.dumps(pair._asdict(), ensure_ascii=False) + "\n")
            n += 1
    return n


def _ends(texts: Sequence[str], tokenizer: Any) -> list[NDArray[np.int64]]:
    """Return the character behind each token of each text."""
    split = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)
    return [np.array([end for _, end in one], dtype=np.int64) for one in split["offset_mapping"]]


def _parts(
    text: str, ends: NDArray[np.int64], settings: InputSettings, rng: np.random.Generator
) -> Iterator[str]:
    """Yield FirstP and DaQ of one document; nothing of one without tokens."""
    if settings.first and len(ends):
        yield _between(text, ends, 0, settings.first)
    last = len(ends) - settings.chunk_length
    starts = rng.integers(0, last + 1, settings.chunks) if last > 0 else np.zeros(1, np.int64)
    for start in starts[: settings.chunks if len(ends) else 0]:
        yield _between(text, ends, int(start), settings.chunk_length)


def _between(text: str, ends: NDArray[np.int64], start: int, length: int) -> str:
    begin = int(ends[start - 1]) if start else 0
    return text[begin : int(ends[min(start + length, len(ends)) - 1])].strip()


def _synthetic(path: Path, context: Context) -> Iterator[tuple[int, list[str]]]:
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            id, queries = _read(line, f"{path}: line {number}")
            (row,) = context.ids.positions([id])
            if row < 0:
                raise DataError(f"{path}: line {number}: no document '{id}' in this collection.")
            yield int(row), queries


def _read(line: bytes, where: str) -> tuple[str, list[str]]:
    try:
        found: Any = json.loads(line)
        id, queries = str(found["id"]), found["queries"]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f'{where}: expected {{"id": ..., "queries": [...]}} ({type(error).__name__}: {error}).'
        ) from None
    if not isinstance(queries, list) or not all(isinstance(one, str) for one in queries):
        raise DataError(f"{where}: 'queries' is not a list of texts. Correct it.")
    return id, queries
