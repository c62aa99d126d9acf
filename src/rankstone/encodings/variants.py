"""Exact search over stored vectors, unchanged and transformed; documents are never encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.benchmarks.dataset import Dataset, Sources
from rankstone.encodings.cache import EncodingCache
from rankstone.encodings.cache_key import corpus_material
from rankstone.encodings.duplicates import encode_distinct
from rankstone.encodings.inventory import Entry
from rankstone.errors import DataError
from rankstone.profiling.clock import Clock
from rankstone.runners.construct import build_runner
from rankstone.runners.protocols import AnyRunner, Hits
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.search.filtered import FilteredSearch
from rankstone.specs import MethodSpec

Vectors = NDArray[np.float32]
Transform = Callable[[Vectors], Vectors]
DIMENSIONS = (768, 512, 384, 256, 128, 64)
STORED = "inner product of the stored vectors, exact search"


class Transformed:
    """Chunks of vectors, each transformed when it is read."""

    def __init__(self, chunks: Any, transform: Transform) -> None:
        self._chunks, self._transform = chunks, transform

    def __len__(self) -> int:
        return len(self._chunks)

    def __iter__(self) -> Iterator[Vectors]:
        return (np.ascontiguousarray(self._transform(chunk)) for chunk in self._chunks)


def of_stored_vectors(
    method: MethodSpec, dataset: Dataset, sources: Sources
) -> Iterator[tuple[str, Hits]]:
    """Yield results of exact search over the stored vectors of `dataset`, by name of the transform.

    Raises: RankstoneError, if the method cannot be built; DataError, if its documents are not in
    the cache, or have more than one vector each.

    """
    task = dataset.task
    text = task.text if method.text is None else method.text
    cache = EncodingCache(
        folder=sources.cache / "encodings",
        corpus=dataset.corpus,
        key_material=corpus_material(dataset.sha256["corpus"], text),
        clock=Clock(),
    )
    runner = _encoded(build_runner(method), cache)
    if runner is None:
        raise DataError(
            f"{method.name} on {task.name}: no encodings of its documents are in {cache.folder}."
            f" If it has encodings, run it: rankstone run {method.name} --on {task.name} --force"
        )
    documents = cache.chunks(runner)
    queries = encode_distinct(runner, dataset.query_texts, "query")
    if not isinstance(queries, np.ndarray) or queries.ndim != 2:
        raise DataError(
            f"{method.name}: it makes {type(queries).__name__}, not one vector per text."
        )
    depth = min(task.depth + dataset.spare, len(dataset.corpus))
    for name, transform in transforms(queries.shape[1]):
        index = ExactIndex.build(Transformed(documents, transform))
        search = FilteredSearch(index, dataset.wheres)
        yield name, search.search(transform(queries), range(len(queries)), depth)


def transforms(dim: int) -> Iterator[tuple[str, Transform]]:
    """Yield named transforms of vectors with `dim` dimensions."""
    yield STORED, lambda vectors: vectors
    yield "cosine of the stored vectors", unit
    yield "vectors rounded to float16", lambda vectors: vectors.astype(np.float16).astype("f4")
    yield "vectors rounded to bfloat16", bfloat16
    yield "vectors rounded to int8, by the largest value of each", int8
    for kept in DIMENSIONS:
        if kept < dim:
            yield f"the first {kept} of {dim} dimensions, cosine", _first(kept)


def unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def bfloat16(vectors: Vectors) -> Vectors:
    """Round to nearest, ties to even, as hardware does, and keep the upper half of a float32."""
    bits = np.ascontiguousarray(vectors, dtype=np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    return (rounded & 0xFFFF0000).astype(np.uint32).view(np.float32)


def int8(vectors: Vectors) -> Vectors:
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    scale = np.where(largest > 0, largest, 1) / 127
    return (np.rint(vectors / scale) * scale).astype(np.float32)


def _first(kept: int) -> Transform:
    return lambda vectors: unit(vectors[:, :kept])


def _encoded(runner: AnyRunner, cache: EncodingCache) -> AnyRunner | None:
    """Return the runner, or its first member, whose documents are all in the cache."""
    every = (runner, *getattr(runner, "members", ()))
    stored = (one for one in every if one.cacheable and Entry(cache.folder / cache.key(one)).whole)
    return next(stored, None)
