"""Duplicate texts of a corpus: detected, and encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rankstone.benchmarks.dataset import Corpus
from rankstone.runners.protocols import AnyRunner, Role
from rankstone.runners.representations.base import take

Ids = NDArray[np.int64]


class Repeats(NamedTuple):
    """Documents, and the first document with the same text.

    Detected by hashes: compare the texts before use.
    """

    documents: Ids
    """Ascending."""
    firsts: Ids

    def of(self, start: int, stop: int) -> Repeats:
        """Return the documents in `start`..`stop` whose text first occurs before `start`."""
        run = slice(*np.searchsorted(self.documents, (start, stop)))
        before = self.firsts[run] < start
        return Repeats(self.documents[run][before], self.firsts[run][before])


def find_repeats(corpus: Corpus, size: int) -> Repeats:
    """Read all texts, `size` at once; uses about 30 bytes per document, keeps 16 per repeat."""
    hashes = np.empty(len(corpus), dtype=np.int64)
    for start in range(0, len(corpus), size):
        texts = corpus.texts(start, min(start + size, len(corpus)))
        hashes[start : start + len(texts)] = [hash(text) for text in texts]
    order = np.argsort(hashes, kind="stable")  # the first of equal documents comes first
    new = np.append(True, hashes[order[1:]] != hashes[order[:-1]])[: len(order)]
    begins, later = np.flatnonzero(new), np.flatnonzero(~new)
    documents = order[later]
    firsts = order[begins[np.searchsorted(begins, later) - 1]]
    ascending = np.argsort(documents)
    return Repeats(documents[ascending], firsts[ascending])


def encode_distinct(runner: AnyRunner, texts: Sequence[str], role: Role) -> Any:
    """Return one representation per text, in order; identical texts are encoded once.

    Used only if encoding is expensive: cheap representations need not support `take`.
    """
    rows_of: dict[str, int] = {}
    rows = [rows_of.setdefault(text, len(rows_of)) for text in texts]
    if not runner.cacheable or len(rows_of) == len(rows):
        return runner.encode(texts, role)
    return take(runner.encode(list(rows_of), role), np.array(rows, dtype=np.int64))
