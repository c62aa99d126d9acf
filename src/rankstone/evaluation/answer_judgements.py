"""Judgements by answers: the retrieved passages that contain one, cached across runs.

    <cache>/answers/<key>       key: matcher, Unicode tables, corpus and answers

A file starts with its own sha256, followed by one little-endian int64 for every matched pair,
ascending: `(question * corpus size + position) * 2`, plus 1 if the passage contains an answer.
"""

from __future__ import annotations

import hashlib
import unicodedata
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from rankstone.arrays import Flags, Ints
from rankstone.benchmarks.answers import MATCHER, match, tokens
from rankstone.benchmarks.dataset import Dataset, Judgements
from rankstone.errors import DataError, MeasureError
from rankstone.files import appearing
from rankstone.specs import canonical_digest

DIGEST_BYTES = hashlib.sha256().digest_size


def judge(docs: Ints, dataset: Dataset, cache: Path | None = None) -> Judgements:
    """Judge as 1 every pair of `docs` (n_queries, width; -1 pads) whose passage has an answer.

    Known matches are read from the folder `cache`, and new ones are added to it; with None, nothing
    is stored.

    Raises:
        MeasureError: the data set has no answers.
        DataError: the folder cannot be written.
    """
    answers = answers_of(dataset)
    _warn_of_blanks(answers)
    query, column = np.nonzero(docs >= 0)
    document = docs[query, column]
    held = _held(query, document, answers, dataset, cache)
    query, document = query[held], document[held]
    order = np.lexsort((document, query))
    return Judgements(
        query=query[order], document=document[order], label=np.ones(len(order), dtype=np.int32)
    )


def answers_of(dataset: Dataset) -> Sequence[Sequence[str]]:
    """Return the answers to the queries; MeasureError if `dataset` is not judged by answers."""
    if dataset.answers is None:
        raise MeasureError(
            f"{dataset.task.name} is judged by judgements. Accuracy@k needs a task with "
            'judge = "answers".'
        )
    return dataset.answers


def _held(
    query: Ints,
    document: Ints,
    answers: Sequence[Sequence[str]],
    dataset: Dataset,
    cache: Path | None,
) -> Flags:
    """Return (n_pairs,) flags of passages with an answer; pairs that are not cached are matched."""
    codes = (query * len(dataset.corpus) + document) * 2
    file = None if cache is None else cache / "answers" / _key(answers, dataset)
    known = _read(file)
    new = ~_contains(known, codes)
    if new.any():
        found = match(answers, query[new], document[new], dataset.corpus.passages)
        # Read again to keep the matches that another process has added meanwhile.
        known = _merged(_read(file), known, codes[new] + found)
        if file is not None:
            dataset.unchanged()
            _write(file, known)
    return _contains(known, codes + 1, exactly=True)


def _merged(*parts: Ints) -> Ints:
    """Return the sorted distinct codes; sorting is much faster than `np.unique` here."""
    codes = np.sort(np.concatenate(parts))
    last: Ints = codes[np.diff(codes, append=-1) != 0]
    return last


def _contains(known: Ints, codes: Ints, *, exactly: bool = False) -> Flags:
    """Flag the codes that are in `known`, ignoring the last bit unless `exactly`."""
    at = np.searchsorted(known, codes)
    inside = at < len(known)
    found = np.zeros(len(codes), dtype=np.bool_)
    next_known = known[at[inside]]
    if not exactly:
        next_known = next_known & ~1
    found[inside] = next_known == codes[inside]
    return found


def _key(answers: Sequence[Sequence[str]], dataset: Dataset) -> str:
    """Return the name of the file, a digest of everything that a match depends on."""
    rules = [MATCHER, unicodedata.unidata_version, version("regex")]
    return canonical_digest([rules, dataset.sha256["corpus"], [list(row) for row in answers]])


def _read(file: Path | None) -> Ints:
    """Return the codes in `file`; none if it is missing or damaged, so that it is rewritten."""
    content = b""
    if file is not None and file.is_file():
        content = file.read_bytes()
    digest, body = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        body = b""
    return np.frombuffer(body, dtype="<i8").astype(np.int64)


def _write(file: Path, codes: Ints) -> None:
    body = codes.astype("<i8").tobytes()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with appearing(file) as out:
            out.write(hashlib.sha256(body).digest() + body)
    except OSError as error:
        raise DataError(
            f"{file}: matched answers cannot be stored: {error}. Free space there, or name another "
            "folder with --cache (RANKSTONE_CACHE)."
        ) from error


def _warn_of_blanks(answers: Sequence[Sequence[str]]) -> None:
    blank = sum(not tokens(answer) for row in answers for answer in row)
    if blank:
        warnings.warn(
            f"{blank} answers have no visible character; as in DPR, every passage contains them",
            stacklevel=2,
        )
