"""The interface of a retrieval method: `Runner`, `Index`, `Chunks`, `Context`, `Scorer`.

An adapter is a class that a method's TOML names by a registered short name or as
``module:Class`` (see `rankstone.registry`). It is constructed with the keyword arguments of the
TOML's ``[parameters]`` table, plus ``model=`` if there is a ``[model]`` table, ``members=`` if it
names members, and ``scorer=`` if there is a ``[scorer]`` table, which names an adapter in the same
way. It keeps no state between calls except the loaded model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from rankstone.predicates import Where

Role = Literal["query", "document"]
Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]

STRICT = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
"""Configuration for pydantic's ``@dataclass(frozen=True, kw_only=True, config=STRICT)``: unknown
parameters and parameters of a wrong type are errors."""

Rep = TypeVar("Rep")
RepIn = TypeVar("RepIn", contravariant=True)
RepOut = TypeVar("RepOut", covariant=True)


class Hits(NamedTuple):
    """The results of a batch of queries, best first.

    Attributes:
        docs: (n_queries, k) positions in the corpus; rows are padded by -1 at the end.
        scores: (n_queries, k), higher is better; -inf for padding. Never NaN.
    """

    docs: NDArray[np.int64]
    scores: NDArray[np.float32]

    @classmethod
    def empty(cls, n_queries: int, k: int) -> Hits:
        """Return `n_queries` rows of `k` entries of padding, to be filled in."""
        shape = (n_queries, k)
        return cls(np.full(shape, -1, np.int64), np.full(shape, -np.inf, np.float32))


class Truncation(NamedTuple):
    """Texts and tokens truncated by a model's limit; additive over batches."""

    texts: int = 0
    texts_cut: int = 0
    tokens: int = 0
    tokens_cut: int = 0

    @classmethod
    def of(cls, counts: NDArray[np.int64], kept: NDArray[np.int64] | int) -> Truncation:
        """Count texts with `counts` tokens, of which at most `kept` reach the model."""
        lost = np.maximum(counts - kept, 0)
        return cls(len(counts), int(np.count_nonzero(lost)), int(counts.sum()), int(lost.sum()))

    def plus(self, other: Truncation) -> Truncation:
        return Truncation(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    @staticmethod
    def add(one: Truncation | None, other: Truncation | None) -> Truncation | None:
        """Return the sum of two counts, either of which may be None."""
        return one.plus(other) if one and other else one or other


class Judged(Protocol):
    """Relevance judgements, as arrays with one entry per judgement."""

    @property
    def query(self) -> NDArray[np.int64]:
        """Rows of the queries."""
        ...

    @property
    def document(self) -> NDArray[np.int64]:
        """Positions in the corpus."""
        ...

    @property
    def label(self) -> NDArray[np.int32]:
        """Relevance; below 1 for documents judged not relevant."""
        ...


class Chunks(Protocol[RepOut]):
    """An encoded corpus: lazy, sized, re-iterable, in corpus order.

    Chunks are encoded when they are read. If the runner is ``cacheable``, they are memory-mapped
    from checksummed shards.
    """

    def __len__(self) -> int:
        """Number of documents (not of chunks)."""
        ...

    def __iter__(self) -> Iterator[RepOut]:
        """Yield the representations of consecutive documents, chunk by chunk."""
        ...

    def take(self, positions: NDArray[np.int64]) -> RepOut:
        """Return the representations of the documents at `positions`, in that order."""
        ...

    def sample(self, n: int, seed: int) -> RepOut:
        """Return `n` distinct random documents (all, if there are fewer)."""
        ...


class DocumentIds(Protocol):
    """Document ids by position, read lazily, and positions by id."""

    def __len__(self) -> int: ...
    def __getitem__(self, position: int, /) -> str: ...
    def __iter__(self) -> Iterator[str]: ...

    def positions(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the (len(ids),) positions of documents; -1 for an unknown id."""
        ...


class Context(Protocol):
    """Everything that an index may use in addition to the encoded corpus.

    It never contains test queries: an index may learn only from the corpus and the training split.
    """

    @property
    def texts(self) -> Sequence[str]:
        """The corpus, by position, with the task's text template applied; read lazily."""
        ...

    @property
    def ids(self) -> DocumentIds:
        """Ids of the documents, by position."""
        ...

    @property
    def columns(self) -> Mapping[str, Any]:
        """Document columns used by the task's filters, by name, as Arrow arrays of numbers, strings
        or booleans; empty if the task has no filters."""
        ...

    @property
    def train_queries(self) -> Sequence[str]:
        """Texts of the training split's queries; empty if the task has none."""
        ...

    @property
    def train_judgements(self) -> Judged:
        """Judgements of `train_queries`; `query` refers to their rows. May be empty."""
        ...

    seed: int
    threads: int
    device: str
    work: Path
    """An empty folder of this cell, deleted when the cell ends."""

    def phase(self, name: str, items: int = 0) -> AbstractContextManager[None]:
        """Charge the time and memory of the `with` block to the phase `name`."""
        ...

    def encoded(self, runner: Runner[Rep]) -> Chunks[Rep]:
        """Return a member's encoded corpus, shared with that member's own runs."""
        ...

    def count_pairs(self, count: Callable[[], Truncation | None]) -> None:
        """Add truncation by a scorer's limit to the record; `count` is called outside any phase."""
        ...


class Index(Protocol[RepIn]):
    """An immutable searchable corpus."""

    def search(self, queries: RepIn, k: int) -> Hits:
        """Return the `k` best documents of each query.

        The adapter's docstring states how ties at rank `k` are broken.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write everything that search needs into the existing, empty `folder`.

        A class method ``load(folder)`` returns an index with the same results.
        """
        ...

    def nbytes(self) -> int | None:
        """Return the bytes that search keeps in memory; None if unknown."""
        ...


@runtime_checkable
class Filtering(Protocol[RepIn]):
    """An index that supports filtered search; optional.

    Without it, more results than `k` are fetched, and those that do not pass are dropped.
    """

    filtering: Literal["native", "before"]
    """`native`: by the index itself; `before`: passing documents are selected, then all
    compared."""

    def search_where(self, queries: RepIn, k: int, where: Where) -> Hits:
        """Return the `k` best documents of each query among those that pass `where`."""
        ...


@runtime_checkable
class Changing(Protocol[RepIn]):
    """An index that changes between searches (`rankstone load --updates`); optional.

    Documents have integer keys, which searches return in place of positions: the key of an original
    document is its position, inserted ones have new, larger keys. Insertions and deletions take
    effect from the next search on. An index may also have `compact()`, which frees the space of
    deleted documents.
    """

    def insert(self, keys: NDArray[np.int64], documents: RepIn) -> None: ...

    def delete(self, keys: NDArray[np.int64]) -> None: ...


class Runner(Protocol[Rep]):
    """One retrieval method."""

    requires: ClassVar[Mapping[str, str]]
    """Import name of each optional dependency -> the extra that installs it."""

    cacheable: ClassVar[bool]
    """True if encodings are expensive enough to store in shards (vectors are, tokens are not)."""

    def describe(self) -> Mapping[str, Json]:
        """Return everything that can change an encoding, for the record and the cache key.

        It includes parameters, model id with revision and file hashes, prompts, max length,
        pooling, normalisation, similarity, dtype, engine, and library versions, but not the batch
        size, which changes vectors only by rounding. Values that differ by role are given as
        ``{"query": ..., "document": ...}``: the key of encoded documents ignores the query side
        (see `rankstone.encodings.cache_key`).
        """
        ...

    def encode(self, texts: Sequence[str], role: Role) -> Rep:
        """Return the representations of `texts`, in order."""
        ...

    def index(self, documents: Chunks[Rep], context: Context) -> Index[Rep]:
        """Build the index over `documents`."""
        ...

    def truncation(self, texts: Sequence[str], role: Role) -> Truncation | None:
        """Count truncation of `texts` by the model's limit; None if the method has no limit."""
        ...


class Defaults:
    """Base of runners (`rankstone.Runner`); subclasses need to define only `encode` and `index`.

    By default there are no optional dependencies, encodings are not stored in shards, nothing is
    truncated, and the description is a digest of code and attributes.
    """

    requires: ClassVar[Mapping[str, str]] = {}
    cacheable: ClassVar[bool] = False

    def describe(self) -> Mapping[str, Json]:
        """Return the class, the JSON attributes, and the sha256 of code and all attributes."""
        from rankstone.runners.objects.content import content_digest

        state = getattr(self, "__dict__", {}).items()
        plain = {k: v for k, v in state if isinstance(v, bool | int | float | str)}
        name = type(self).__qualname__
        return {"class": name, "parameters": plain, "sha256": content_digest(self)}

    def truncation(self, texts: Sequence[str], role: Role) -> Truncation | None:
        """Count truncation of `texts` by the model's limit; None if the method has no limit."""
        return None


@runtime_checkable
class Scorer(Protocol):
    """Scores all candidates of one query together, so that they can share computation.

    It must be a frozen dataclass whose fields are located models, members and JSON values, so that
    an index can be saved with its scorer (see `rankstone.runners.adapter_json`).
    """

    requires: ClassVar[Mapping[str, str]]
    """Optional dependencies and their extras, as in `Runner`."""

    def describe(self) -> Mapping[str, Json]:
        """Return everything that can change a score, for the record."""
        ...

    def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """Return (len(documents),) finite scores; higher is better, comparable within a query."""
        ...

    def truncation(self, query: str, documents: Sequence[str]) -> Truncation | None:
        """Count truncation of the (query, document) pairs by the model's limit, each pair as one
        text; None if the method has no limit."""
        ...


AnyRunner = Runner[Any]
AnyIndex = Index[Any]
MEMBERS = ("encode", "index", "describe", "truncation", "cacheable")


def lacking(runner: object) -> list[str]:
    """Return the members of `Runner` that an object or class lacks."""
    methods = MEMBERS[:-1]
    missing = [name for name in methods if not callable(getattr(runner, name, None))]
    return missing + [name for name in MEMBERS[-1:] if not hasattr(runner, name)]
