"""What a collection is: the records a loader yields, and the opened, memory-mapped data set.

A loader is a function ``load(spec: TaskSpec, sources: Sources) -> RawDataset``, named in a task's
definition as ``module:function``. It streams; the store (`rankstone.benchmarks.store`) converts
once, checks, and opens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rankstone.specs import TaskSpec


class Document(NamedTuple):
    id: str
    title: str
    text: str


class Query(NamedTuple):
    id: str
    text: str


class Judgement(NamedTuple):
    query: str
    document: str
    label: int


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where loaders look: the local mirror first, then downloads kept under the cache."""

    data: Path | None
    """`--data` / `RANKSTONE_DATA`: a folder of collections in plain BEIR layout."""
    cache: Path
    """`--cache` / `RANKSTONE_CACHE`."""


@dataclass(frozen=True, kw_only=True)
class RawDataset:
    """What a loader found. The callables may each be called more than once and stream anew."""

    documents: Callable[[], Iterable[Document]]
    queries: Callable[[], Iterable[Query]]
    """Queries of every split."""
    judgements: Callable[[str], Iterable[Judgement]]
    """Judgements of the split of that name; a DataError that lists the splits if it has none."""
    fingerprint: str
    """Changes when the source changes (files with sizes and times, or a pinned revision): tells the
    store, without reading the data, whether a converted copy is still good."""
    source: str
    """Where it came from, for the record: a path or an address, with the revision if any."""


class Corpus(Protocol):
    """The documents of a data set, memory-mapped, by position in corpus order."""

    def __len__(self) -> int: ...

    def ids(self, positions: NDArray[np.int64]) -> list[str]:
        """Document ids at `positions`."""
        ...

    def texts(self, start: int, stop: int) -> list[str]:
        """The texts of a run of documents, template applied."""
        ...

    def take(self, positions: NDArray[np.int64]) -> list[str]:
        """The texts at `positions`, in that order, template applied."""
        ...


@dataclass(frozen=True, kw_only=True)
class Judgements:
    """The judgements of one split over integer positions, sorted by query, then document.

    All three arrays have one entry per judgement.
    """

    query: NDArray[np.int64]
    """Row of the query among the split's judged queries."""
    document: NDArray[np.int64]
    """Position in the corpus; -1 for a document the corpus does not hold (it still counts in the
    ideal ranking and among the relevant, as in trec_eval)."""
    label: NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One task's data, opened."""

    task: TaskSpec
    corpus: Corpus
    query_ids: Sequence[str]
    """The judged queries of the split, in the order of the queries file."""
    query_texts: Sequence[str]
    judgements: Judgements
    train_queries: Sequence[str]
    """Texts of the training split's queries; empty where the task names no training split."""
    sha256: dict[str, str]
    """Digests of `corpus`, `queries` and `judgements`, over their content, not their files."""
    source: str
    self_positions: NDArray[np.int64]
    """(n_queries,) position of the document whose id equals the query's id; -1 where none does."""
    n_unknown_documents: int
    """Judgements that name a document the corpus does not hold."""
    n_unjudged_queries: int
    """Queries of the queries file without a judgement in this split; they are not run."""
    warnings: tuple[str, ...] = ()
