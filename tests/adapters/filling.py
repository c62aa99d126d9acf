"""Fills an encoding cache in a process of its own, for tests that kill it or run two of it."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import numpy as np

from rankstone.encodings.cache import EncodingCache
from rankstone.profiling.clock import Clock

DOCUMENTS, SHARD, DIM = 96, 8, 32_768
"""Twelve shards of a megabyte: about as much time goes into writing as into encoding."""


class Corpus:
    def __init__(self, distinct: int = DOCUMENTS):
        """After so many texts, they are repeated."""
        self.distinct = distinct

    def __len__(self):
        return DOCUMENTS

    def texts(self, start, stop):
        return self.take(range(start, stop))

    def take(self, positions):
        return [f"document {i % self.distinct}" for i in positions]


class Counting:
    """Vectors that depend on the text alone; a byte per text goes to `log` before any is made."""

    cacheable = True

    def __init__(self, log: Path, pause_s: float = 0.0):
        self.log, self.pause_s = log, pause_s

    def describe(self):
        return {"name": "counting"}

    def encode(self, texts, role):
        with self.log.open("ab") as log:
            log.write(b"." * len(texts))
        if texts:  # none: the cache has the model loaded
            time.sleep(self.pause_s)
        numbers = [int(text.split()[1]) for text in texts]
        return np.add.outer(numbers, np.arange(DIM)).astype(np.float32)

    def truncation(self, texts, role):
        return None


def expected():
    return Counting(Path(os.devnull)).encode(Corpus().texts(0, DOCUMENTS), "document")


def cache(folder: Path, corpus: Corpus) -> EncodingCache:
    return EncodingCache(
        folder=folder, corpus=corpus, key_material={}, clock=Clock(), shard_size=SHARD
    )


def fill(folder: Path, log: Path, pause_s: float = 0.0) -> np.ndarray:
    return np.concatenate(list(cache(folder, Corpus()).chunks(Counting(log, pause_s))))


def fill_at(begin: float, folder: Path, log: Path, pause_s: float) -> None:
    """Begins at a moment (`time.time`) that processes agree on; exits with 0 if all is right."""
    time.sleep(max(0.0, begin - time.time()))
    assert (fill(folder, log, pause_s) == expected()).all()


def fill_with_repeats(distinct: int, begin: float, folder: Path, log: Path, pause_s: float) -> None:
    """As `fill_at`, of a corpus of so many texts."""
    time.sleep(max(0.0, begin - time.time()))
    rows = list(cache(folder, Corpus(distinct)).chunks(Counting(log, pause_s)))
    assert (np.concatenate(rows) == expected()[np.arange(DOCUMENTS) % distinct]).all()


def fill_with_small_files(folder: Path, log: Path, limit: int, said: Path) -> None:
    """No file may grow above `limit` bytes: as on a full disk, a write fails half way."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        fill(folder, log)
    except Exception as error:
        said.write_text(f"{type(error).__name__}: {error}")
