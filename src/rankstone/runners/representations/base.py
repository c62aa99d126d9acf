"""Generic operations on representations: take, join, pack.

Each type of representation is a sequence over texts: it has a length, and its slices have the same
type. Types stored in shards also state the arrays that they consist of. A package with its own type
registers it: ``@join.register``, ``@take.register``, ``@pack.register``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Composite:
    """Representations of the same texts by each member of a composed method."""

    members: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.members[0])

    def __getitem__(self, part: slice) -> Composite:
        return Composite(tuple(member[part] for member in self.members))


class Packed(NamedTuple):
    """A representation as plain arrays; `kind` is its key in `UNPACK`."""

    kind: str
    arrays: Mapping[str, NDArray[Any]]


def offsets_of(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Return the (n + 1,) offsets of consecutive runs of these lengths."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def rows_of_runs(starts: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rows of runs that begin at `starts`, concatenated."""
    offsets = offsets_of(lengths)
    return np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])


@singledispatch
def take(rep: Any, positions: NDArray[np.int64]) -> Any:
    """Return the representations at `positions`, in that order."""
    raise TypeError(f"no way is registered to take from a {type(rep).__name__}")


@take.register
def _(rep: np.ndarray, positions: NDArray[np.int64]) -> Any:
    # Copies whole rows, three times as fast as indexing.
    return rep.take(positions, axis=0)


@take.register
def _(rep: list, positions: NDArray[np.int64]) -> Any:  # type: ignore[type-arg]
    return [rep[position] for position in positions]


@take.register
def _(rep: Composite, positions: NDArray[np.int64]) -> Any:
    return Composite(tuple(take(member, positions) for member in rep.members))


def concatenate(reps: Sequence[Any]) -> Any:
    """Concatenate the representations of consecutive runs of texts, at least one."""
    return reps[0] if len(reps) == 1 else join(reps[0], reps)


@singledispatch
def join(first: Any, reps: Sequence[Any]) -> Any:
    """Concatenate `reps`; dispatches on the type of `first`, which is the first of them."""
    raise TypeError(f"no way is registered to concatenate {type(first).__name__}")


@join.register
def _(first: np.ndarray, reps: Sequence[Any]) -> Any:
    return np.concatenate(reps)


@join.register
def _(first: list, reps: Sequence[Any]) -> Any:  # type: ignore[type-arg]
    return [item for rep in reps for item in rep]


@join.register
def _(first: Composite, reps: Sequence[Any]) -> Any:
    return Composite(
        tuple(concatenate(parts) for parts in zip(*(rep.members for rep in reps), strict=True))
    )


@singledispatch
def pack(rep: Any) -> Packed:
    """Return the arrays that `rep` consists of."""
    raise TypeError(f"no way is registered to store a {type(rep).__name__} in shards")


@pack.register
def _(rep: np.ndarray) -> Packed:
    return Packed("matrix", {"matrix": rep})


Arrays = Mapping[str, NDArray[Any]]
Unpack = Callable[[Arrays], Any]
"""Function from memory-mapped arrays to the representation."""

WRAPPERS: dict[str, Callable[[Unpack], Unpack]] = {}
"""First word of a nested kind, such as `ragged matrix` -> function from the inner kind's `Unpack`
to its own."""


class _Kinds(dict[str, Unpack]):
    def __missing__(self, kind: str) -> Unpack:
        outer, _, inner = kind.partition(" ")
        return WRAPPERS[outer](self[inner])

    def __contains__(self, kind: object) -> bool:
        outer, _, inner = str(kind).partition(" ")
        return super().__contains__(kind) or (outer in WRAPPERS and inner in self)


UNPACK = _Kinds({"matrix": lambda arrays: arrays["matrix"]})
"""Kind -> function from arrays to the representation."""
