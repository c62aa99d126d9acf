"""Exact search over vectors rounded to float16 or int8, by faiss."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ClassVar, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.profiling.machine import usable_cores
from rankstone.profiling.memory import resident_limit
from rankstone.runners.protocols import STRICT, Chunks, Context, Hits
from rankstone.runners.search.base import OverEncoder
from rankstone.runners.search.exact import flat
from rankstone.runners.search.exact.flat import Vectors, check_documents, check_queries, padded
from rankstone.runners.search.faiss.faiss_index import blocks, library

Storage = Literal["float16", "int8"]
KINDS = {"float16": ("QT_fp16", 2), "int8": ("QT_8bit_direct_signed", 1)}
"""Type of faiss's scalar quantiser, and bytes per value."""
LARGEST = 127
CODES, ABOUT = "codes.u8", "codes.json"
BUFFER_BYTES = 32 * 2**20
"""Most bytes of vectors decoded at once for many queries, and of their scores."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScalarQuantisation(OverEncoder):
    """Exact search over the encoder's vectors after rounding.

    float16: to the nearest 16-bit float; queries remain float32. int8: documents to 127 steps on
    each side of zero, scaled by the largest value of the corpus, and every query by its own scale.
    Inner products of integers are exact below 2^24, that is, up to 1,040 dimensions.

    Codes are kept in memory, without copies, if they take at most half of the available memory. Few
    queries are compared with the codes directly, on all cores; for many queries, codes are decoded
    in blocks. Ties at rank k are broken by faiss, deterministically.
    """

    DESCRIPTION: ClassVar[str] = "exact inner product of rounded values, faiss"
    APPROXIMATES: ClassVar[bool] = True
    requires: ClassVar[Mapping[str, str]] = {"faiss": "ann"}

    storage: Storage

    def index_bytes(self, n: int, dim: int) -> int:
        """Return the bytes of the codes of `n` documents, or of those read from disk at once."""
        whole, part = (rows * dim * KINDS[self.storage][1] for rows in (n, flat.SLICE_ROWS))
        return whole if whole <= resident_limit() else min(whole, part)

    def build(self, documents: Chunks[Any], context: Context) -> RoundedIndex:
        return RoundedIndex.build(documents, self.storage, context.work)


class Codes(NamedTuple):
    """The layout of codes in memory and in a file."""

    storage: Storage
    rows: int
    dim: int
    scale: float
    """Vector = scale * code."""

    @property
    def nbytes(self) -> int:
        return self.rows * self.dim * KINDS[self.storage][1]

    def empty(self) -> Any:
        """Return an empty faiss index for some of the codes."""
        faiss = library()
        kind = getattr(faiss.ScalarQuantizer, KINDS[self.storage][0])
        return faiss.IndexScalarQuantizer(self.dim, kind, faiss.METRIC_INNER_PRODUCT)

    def filled(self, vectors: Vectors) -> Any:
        part = self.empty()
        part.add(vectors if self.storage == "float16" else np.rint(vectors / self.scale))
        return part

    def rounded(self, queries: Vectors) -> tuple[Vectors, Vectors]:
        """Return rounded queries, and (n, 1) factors of their scores."""
        if self.storage == "float16":
            return queries, np.ones((len(queries), 1), np.float32)
        steps = np.abs(queries).max(axis=1, keepdims=True, initial=0) / LARGEST
        steps[steps == 0] = 1
        return np.rint(queries / steps), steps * np.float32(self.scale)


class OnDisk(Sequence[Any]):
    """faiss indexes of consecutive codes in a file, constructed at each access."""

    def __init__(self, path: Path, codes: Codes) -> None:
        self._path, self._codes = path, codes

    def __len__(self) -> int:
        return -(-self._codes.rows // flat.SLICE_ROWS)

    @overload
    def __getitem__(self, number: int) -> Any: ...
    @overload
    def __getitem__(self, number: slice) -> list[Any]: ...
    def __getitem__(self, number: int | slice) -> Any:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        start = range(len(self))[number] * flat.SLICE_ROWS
        part = self._codes.empty()
        rows = min(flat.SLICE_ROWS, self._codes.rows - start)
        shape, offset = (rows * part.code_size,), start * part.code_size
        mapped = np.memmap(self._path, np.uint8, "r", offset=offset, shape=shape)
        library().copy_array_to_vector(mapped.view(np.ndarray), part.codes)
        part.ntotal = rows
        return part


class RoundedIndex:
    """Codes of all documents as faiss indexes of `flat.SLICE_ROWS` documents each.

    Scores, documents and ties are the same whether the codes are in memory or on disk.
    """

    def __init__(self, slices: Sequence[Any], codes: Codes) -> None:
        """Use `build` or `load`."""
        self._slices, self._codes = slices, codes

    @classmethod
    def build(cls, documents: Chunks[Any], storage: Storage, work: Path) -> RoundedIndex:
        """Build the index from `documents`, read twice: for the scale of int8, and for rounding.

        Raises AdapterError for NaN or infinite values, or vectors of different lengths.
        """
        position, dim, largest = 0, 0, np.float32(0)
        for piece in documents:
            check_documents(piece, position, dim)
            position, dim = position + len(piece), piece.shape[1]
            largest = max(largest, np.abs(piece).max(initial=0))
        if storage == "float16" and largest > np.finfo(np.float16).max:
            raise DefinitionError(
                f"key 'parameters.storage': float16 holds no value of {largest:g}, which the"
                ' member\'s vectors have. Set storage = "int8", or another search.'
            )
        codes = Codes(storage, position, dim, float(largest / LARGEST) or 1.0)
        slices = (codes.filled(block) for block in blocks(documents, flat.SLICE_ROWS))
        if codes.nbytes <= resident_limit():
            return cls(list(slices), codes)
        path = Path(mkdtemp(dir=work)) / CODES
        _write(path, slices)
        return cls(OnDisk(path, codes), codes)

    def search(self, queries: Vectors, k: int) -> Hits:
        rows = self._codes.rows
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        check_queries(queries, self._codes.dim if rows else None)
        asked, factors = self._codes.rounded(queries)
        if len(queries) < flat.FEW_QUERIES:
            found = flat.best_of(self._few(asked, min(k, rows)), len(queries), min(k, rows))
        else:
            found = self._many(asked, min(k, rows))
        return padded(found[0], found[1] * factors, k)

    def _few(self, queries: Vectors, k: int) -> Iterator[tuple[int, Vectors, flat.Ints]]:
        def search(number: int) -> tuple[Vectors, flat.Ints]:
            part = self._slices[number]
            scores, docs = part.search(queries, min(k, part.ntotal))
            return scores, docs

        found = flat.threads(usable_cores()).map(search, range(len(self._slices)))
        for number, (scores, docs) in enumerate(found):
            yield number * flat.SLICE_ROWS, scores, docs

    def _many(self, queries: Vectors, k: int) -> tuple[flat.Ints, Vectors]:
        """Add all scores of a block to the results found so far: a selection of the k best of each
        block, as faiss's own search makes, takes a quarter of the time of the products."""
        faiss = library()
        best = faiss.ResultHeap(len(queries), k, keep_max=True)
        for start, scores in self._products(queries):
            best.heaps.addn(scores.shape[1], faiss.swig_ptr(scores), start)
        best.finalize()
        return best.I, best.D

    def _products(self, queries: Vectors) -> Iterator[tuple[int, Vectors]]:
        """Yield the position of each block, and its scores in a buffer.

        The product is faiss's, so that the threads are those that decode and select: threads of
        another library would wait busily beside them.
        """
        faiss, dim, n = library(), self._codes.dim, len(queries)
        rows = max(BUFFER_BYTES // (4 * max(dim, n)), 1)
        block, scores = faiss.LinearTransform(dim, rows, False), np.empty(n * rows, np.float32)
        block.is_trained = True
        for number, part in enumerate(self._slices):
            codes = codes_of(part).reshape(part.ntotal, -1)
            for first in range(0, part.ntotal, rows):
                block.d_out = len(codes[first : first + rows])
                block.A.resize(block.d_out * dim)
                decoded = faiss.rev_swig_ptr(block.A.data(), block.A.size())
                part.sa_decode(codes[first : first + rows], decoded.reshape(-1, dim))
                found = scores[: n * block.d_out].reshape(n, -1)
                block.apply_noalloc(n, faiss.swig_ptr(queries), faiss.swig_ptr(found))
                yield number * flat.SLICE_ROWS + first, found

    def save(self, folder: Path) -> None:
        _write(folder / CODES, self._slices)
        (folder / ABOUT).write_text(json.dumps(self._codes._asdict()))

    @classmethod
    def load(cls, folder: Path) -> RoundedIndex:
        codes = Codes(**json.loads((folder / ABOUT).read_text()))
        stored = OnDisk(folder / CODES, codes)
        return cls(stored[:] if codes.nbytes <= resident_limit() else stored, codes)

    def notes(self) -> Sequence[str]:
        """Return a note if codes are read from disk at every search."""
        return (flat.FROM_DISK,) if isinstance(self._slices, OnDisk) else ()

    def nbytes(self) -> int:
        """Return the bytes of the codes if in memory, else of those read at once."""
        if not isinstance(self._slices, OnDisk):
            return self._codes.nbytes
        return self._codes._replace(rows=min(self._codes.rows, flat.SLICE_ROWS)).nbytes


def _write(path: Path, slices: Iterable[Any]) -> None:
    with path.open("wb") as file:
        for part in slices:
            file.write(codes_of(part).data)


def codes_of(part: Any) -> NDArray[np.uint8]:
    """Return the codes of an index, without copying."""
    held: NDArray[np.uint8] = library().rev_swig_ptr(part.codes.data(), part.codes.size())
    return held
