"""Types of a collection: the records of a loader, and the opened, memory-mapped data set.

A loader is a function ``load(task: TaskSpec, sources: Sources, **source) -> RawDataset``. A task's
definition names it as ``module:function`` and gives its keyword arguments in the table `source`.
It streams; the store (`rankstone.benchmarks.store`) converts once, checks, and opens.

This module needs only numpy, so that using a data set does not import the loaders.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from rankstone.arrays import Ints
from rankstone.benchmarks.filters import Filters, Metadata
from rankstone.errors import DataError
from rankstone.files import PathLike, cache_root
from rankstone.predicates import Where
from rankstone.progress import Progress, silent
from rankstone.specs import TaskSpec
from rankstone.text_files import Strings

BLOCK = 1024
"""Maximum number of documents that `walk` reads at once."""
BLOCK_CHARS = 8 << 20
"""Approximate number of characters read at once; a document may be a whole book."""


class Document(NamedTuple):
    id: str
    title: str
    text: str


class Query(NamedTuple):
    id: str
    text: str
    answers: tuple[str, ...] = ()
    """Answers to the question, if the source has any; tasks judged by answers need them."""


class Judgement(NamedTuple):
    query: str
    document: str
    label: int


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Folders that loaders search: the local mirror, then downloads in the cache."""

    data: Path | None
    """`--data` / `RANKSTONE_DATA`: a folder of collections in plain BEIR layout."""
    cache: Path
    """`--cache` / `RANKSTONE_CACHE`."""
    prepared: Mapping[str, str] | None = None
    """`source` and `fingerprint` of collections that are on another machine, but whose prepared
    copies are in this cache."""
    progress: Progress = field(default=silent, compare=False, repr=False)
    """Receives the progress of downloads, in bytes."""

    @classmethod
    def find(cls, data: PathLike | None = None, cache: PathLike | None = None) -> Sources:
        """Return `data` and `cache`; by default those of the environment, else the user's cache."""
        data = data or os.environ.get("RANKSTONE_DATA") or None
        return cls(
            data=Path(data).expanduser().resolve() if data else None, cache=cache_root(cache)
        )

    def data_folder(self, wanted: str, task: TaskSpec) -> Path:
        """Return the data folder; raise a DataError that names `wanted` if there is none."""
        if self.data is None:
            raise DataError(
                f"{task.name}: no data folder is named, so '{wanted}' cannot be looked up. "
                "Name one with --data DIR or RANKSTONE_DATA."
            )
        return self.data


@dataclass(frozen=True, kw_only=True)
class RawDataset:
    """A collection found by a loader. Its callables stream, from the start on each call.

    Construction is cheap: no data is read before a callable is called.
    """

    documents: Callable[[], Iterable[Document]]
    document_blocks: Callable[[], Iterable[Any]] | None = None
    """The same documents from a faster reader, if there is one: blocks, each of them a list, or an
    Arrow record batch of three string columns without nulls."""
    metadata: Metadata | None = None
    """Further values of the documents by name, in document order; None if there are none."""
    queries: Callable[[], Iterable[Query]]
    """Queries of every split."""
    judgements: Callable[[str], Iterable[Judgement]]
    """Judgements of one of the `splits`."""
    splits: Callable[[], Sequence[str]]
    """Names of the splits that have judgements."""
    excluded_labels: Callable[[str], Collection[int]] = lambda split: ()
    """Labels, in one of the `splits`, of documents that the source excludes from the results of the
    query: neither relevant nor non-relevant."""
    fingerprint: str
    """Digest of the files with sizes and times, or of a pinned revision. A converted copy is valid
    until it changes."""
    source: str
    """Path or address, with the revision if there is one, for the record."""
    locate: Callable[[str, int], str] = "{}, record {}".format
    """Location of the n-th record (from 0) of `"documents"` or `"queries"`, for error messages."""
    warnings: set[str] = field(default_factory=set)
    """Faults that were corrected while streaming; filled when the callables are read."""

    @classmethod
    def elsewhere(cls, *, source: str, fingerprint: str) -> RawDataset:
        """Return a collection on another machine whose prepared copy is on this one."""

        def absent(*_: object) -> NoReturn:
            raise DataError(
                f"{source}: its prepared copy, sent from another machine, is damaged or incomplete."
                " Run again to send it once more."
            )

        return cls(
            documents=absent,
            queries=absent,
            judgements=absent,
            splits=absent,
            fingerprint=fingerprint,
            source=source,
        )


@dataclass(frozen=True, kw_only=True)
class RawJudgements:
    """Judgements without a corpus; a task with only these can score run files."""

    judgements: Callable[[str], Iterable[Judgement]]
    """Judgements of one of the `splits`."""
    splits: Callable[[], Sequence[str]]
    source: str
    """Path or address, for the record."""
    present: Callable[[], bool] = lambda: True
    """False if they are downloaded when they are first read."""


class Corpus(Protocol):
    """Documents of a data set, memory-mapped, by position in corpus order."""

    def __len__(self) -> int: ...

    def ids(self, positions: Ints) -> list[str]:
        """Return the document ids at `positions`; IndexError if a position is out of range."""

    def texts(self, start: int, stop: int) -> list[str]:
        """Return the texts of a range of documents, with the template applied."""

    def take(self, positions: Ints) -> list[str]:
        """Return the texts at `positions`, in that order, with the template applied."""

    def passages(self, positions: Ints) -> list[str]:
        """Return the texts at `positions` without title and template."""

    def positions(self, ids: Sequence[str]) -> Ints:
        """Return the (len(ids),) positions of documents by id; -1 for an unknown id."""


def walk(corpus: Corpus) -> Iterator[list[str]]:
    """Yield the texts of all documents in blocks, in corpus order.

    A block has about `BLOCK_CHARS` characters, estimated from the documents read so far, and at
    most `BLOCK` documents.
    """
    start, size = 0, 16
    while start < len(corpus):
        block = corpus.texts(start, min(start + size, len(corpus)))
        yield block
        start += len(block)
        mean = sum(map(len, block)) // len(block) + 1
        size = max(1, min(BLOCK, 2 * size, BLOCK_CHARS // mean))


class CorpusTexts(Strings):
    """The texts of a corpus as a sequence, read on access: `Context.texts`."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    def __len__(self) -> int:
        return len(self._corpus)

    def read(self, rows: range) -> list[str]:
        if rows.step == 1:
            return self._corpus.texts(rows.start, max(rows.start, rows.stop))
        return self._corpus.take(np.arange(rows.start, rows.stop, rows.step, dtype=np.int64))

    def __iter__(self) -> Iterator[str]:
        for block in walk(self._corpus):
            yield from block


class CorpusIds:
    """The document ids by position, read on access: `Context.ids`."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    def __len__(self) -> int:
        return len(self._corpus)

    def __getitem__(self, position: int) -> str:
        return self._corpus.ids(np.array([range(len(self))[position]], dtype=np.int64))[0]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), BLOCK):
            stop = min(start + BLOCK, len(self))
            yield from self._corpus.ids(np.arange(start, stop, dtype=np.int64))

    def positions(self, ids: Sequence[str]) -> Ints:
        """Return the (len(ids),) positions of documents; -1 for an unknown id."""
        return self._corpus.positions(ids)


@dataclass(frozen=True, kw_only=True)
class Judgements:
    """Judgements of one split over integer positions, sorted by query, then document.

    All three arrays have one entry per judgement.
    """

    query: Ints
    """Row of the query among the split's judged queries."""
    document: Ints
    """Position in the corpus; -1 for a document that is not in the corpus (it still counts in the
    ideal ranking and as relevant, as in trec_eval)."""
    label: NDArray[np.int32]

    @classmethod
    def none(cls) -> Judgements:
        nothing = np.zeros(0, dtype=np.int64)
        return cls(query=nothing, document=nothing, label=nothing.astype(np.int32))

    def parted(self, labels: Collection[int]) -> tuple[Judgements, Judgements]:
        """Return the judgements without the given `labels`, and those with them."""
        if not labels:
            return self, Judgements.none()
        inside = np.isin(self.label, sorted(labels))
        kept, out = (
            Judgements(query=self.query[rows], document=self.document[rows], label=self.label[rows])
            for rows in (~inside, inside)
        )
        return kept, out


def _nothing_stored() -> None:
    """Accept data held in memory."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The opened data of one task."""

    task: TaskSpec
    corpus: Corpus
    query_ids: Sequence[str]
    """Judged queries of the split in file order; all queries of the file if the task is judged by
    answers."""
    query_texts: Sequence[str]
    judgements: Judgements
    """Empty if the task is judged by answers: passages are matched when a run is scored."""
    train_queries: Sequence[str]
    """Texts of the training split's queries, read on access; empty if the task names no training
    split or the data has none. Queries of the task's own split are never included."""
    sha256: dict[str, str]
    """Content digests of `corpus`, `queries` and `judgements`. Queries and judgements are those of
    the task, with its split and limit; for a task judged by answers, `judgements` is the digest of
    the answers. A task with a filter also has `filter`, the digest of the documents that pass."""
    source: str
    self_positions: Ints
    """(n_queries,) position of the document with the query's id; -1 if there is none."""
    n_unknown_documents: int
    """Judgements of these queries on documents that are not in the corpus."""
    n_unjudged_queries: int
    """Queries of the queries file without a judgement in this split; they are not run."""
    warnings: tuple[str, ...] = ()
    train_judgements: Judgements = field(default_factory=Judgements.none)
    """Judgements of the training split on documents of the corpus; `query` is a row of
    `train_queries`."""
    train_sha256: dict[str, str] = field(default_factory=dict)
    """Digests of the training split's queries and judgements; empty if there is none."""
    excluded_labels: Collection[int] = ()
    """Labels of documents that are removed from a query's results before these are truncated at the
    depth; such judgements have no other effect."""
    answers: Sequence[Sequence[str]] | None = None
    """Answers to each query; None if the task is not judged by answers."""
    filters: Filters | None = None
    """Filters of the queries; None if the task has none."""
    unchanged: Callable[[], None] = field(default=_nothing_stored, compare=False, repr=False)
    """Raises a DataError if a stored file changed since it was verified on opening. Call it before
    storing anything that was computed from the data."""

    @property
    def wheres(self) -> Sequence[Where | None] | None:
        """Return the filter of each query; None if the task has none."""
        return None if self.filters is None else self.filters.wheres

    @property
    def spare(self) -> int:
        """Return how many results beyond the depth to retrieve: the most that a query may lose."""
        own = self.task.self_hits == "drop"
        _, excluded = self.judgements.parted(self.excluded_labels)
        return own + int(np.bincount(excluded.query[excluded.document >= 0]).max(initial=0))

    def facts(self) -> dict[str, Any]:
        """Return source, digests and sizes, as in the task section of a record."""
        return {
            "source": self.source,
            "sha256": self.sha256,
            "n_documents": len(self.corpus),
            "n_queries": len(self.query_ids),
            "n_judgements": None if self.answers is not None else len(self.judgements.query),
            "n_unknown_documents": self.n_unknown_documents,
        }
