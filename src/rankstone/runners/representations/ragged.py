"""Several vectors per text: the representation of late interaction and of chunked documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.representations.base import (
    WRAPPERS,
    Arrays,
    Packed,
    Unpack,
    concatenate,
    join,
    offsets_of,
    pack,
    rows_of_runs,
    take,
)
from rankstone.runners.representations.two_bits import DESCRIPTION, TwoBits, two_bits

Floats = NDArray[np.floating[Any]]
Storage = Literal["float32", "float16", "2bit"]
STORAGES: dict[Storage, str] = {"float32": "float32", "float16": "float16", "2bit": DESCRIPTION}


@dataclass(frozen=True, eq=False)
class Ragged:
    """Vectors of texts, concatenated text by text.

    Attributes:
        tokens: (n_tokens, dim) all vectors: float32, float16, or two-bit codes. For chunked
        documents, the method's representation of all their chunks, of any type.
        offsets: (n_texts + 1,) int64; the vectors of text i are
            ``tokens[offsets[i]:offsets[i + 1]]``. A text may have none.
    """

    tokens: Any
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, part: slice) -> Ragged:
        """Return consecutive texts, without copying vectors; for other steps than 1 use `take`."""
        start, stop, step = part.indices(len(self))
        if step != 1:
            return take(self, np.arange(start, stop, step))  # type: ignore[no-any-return]
        offsets = self.offsets[start : max(start, stop) + 1]
        return Ragged(self.tokens[offsets[0] : offsets[-1]], offsets - offsets[0])

    @property
    def dim(self) -> int:
        return int(self.tokens.shape[1])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n_texts,) number of vectors of each text."""
        return np.diff(self.offsets)

    def matrices(self) -> list[NDArray[np.float32]]:
        """Return the (n_tokens, dim) vectors of each text as float32."""
        floats = np.asarray(decoded(self.tokens), dtype=np.float32)
        return np.split(floats, self.offsets[1:-1]) if len(self) else []


def ragged(matrices: Sequence[Floats], dim: int, storage: Storage = "float32") -> Ragged:
    """Return the representation of texts with these (n_tokens, dim) float32 vectors."""
    tokens = np.concatenate(matrices) if matrices else np.empty((0, dim), dtype=np.float32)
    lengths = np.array([len(matrix) for matrix in matrices], dtype=np.int64)
    return Ragged(stored(tokens, storage), offsets_of(lengths))


def stored(vectors: Floats, storage: Storage) -> Floats | TwoBits:
    """Return (n, dim) `vectors` in the stored precision; for "2bit" they must be `turned`."""
    if storage == "2bit":
        return two_bits(np.asarray(vectors, dtype=np.float32))
    return vectors.astype(storage)


@singledispatch
def decoded(tokens: Any) -> Floats:
    """Return (n, dim) floating-point vectors, in the stored precision if that is a float type."""
    return np.asarray(tokens)


@decoded.register
def _(tokens: TwoBits) -> Floats:
    return tokens.decoded()


def token_rows(rep: Ragged, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of ``rep.tokens`` for the texts at `positions`, in that order."""
    return rows_of_runs(rep.offsets[positions], rep.lengths[positions])


@take.register
def _(rep: Ragged, positions: NDArray[np.int64]) -> Ragged:
    offsets = offsets_of(rep.lengths[positions])
    return Ragged(take(rep.tokens, token_rows(rep, positions)), offsets)


@join.register
def _(first: Ragged, reps: Sequence[Ragged]) -> Ragged:
    offsets = offsets_of(np.concatenate([rep.lengths for rep in reps]))
    return Ragged(concatenate([rep.tokens for rep in reps]), offsets)


@pack.register
def _(rep: Ragged) -> Packed:
    inner = pack(rep.tokens)
    name = "offsets"
    while name in inner.arrays:  # ragged representations can be nested
        name = f"outer_{name}"
    return Packed(f"ragged {inner.kind}", {**inner.arrays, name: rep.offsets})


def _unpacker(unpack: Unpack) -> Unpack:
    def unpack_ragged(arrays: Arrays) -> Ragged:
        outermost = max((name for name in arrays if name.endswith("offsets")), key=len)
        inner = {name: array for name, array in arrays.items() if name != outermost}
        return Ragged(unpack(inner), arrays[outermost])

    return unpack_ragged


WRAPPERS["ragged"] = _unpacker
