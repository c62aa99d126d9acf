"""Symmetric search over two bits per dimension against exact float search by faiss, one thread.

Vectors of 384, 768 and 1,024 dimensions, unit length, random; every query lies near one of them.
Ours finds the ten best exactly and makes the queries' codes within the time; nothing is trained.
One query at a time, and in a batch large enough that faiss multiplies matrices by BLAS, which is
the hardest peer: batches below about 330 queries of 384 dimensions it searches several times more
slowly per query.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from rankstone.runners.search.binary.binariser import BinarisedIndex
from rankstone.runners.search.binary.projections import residual_signs
from tests.speed.vectors import ratio_of

SCALE = float(os.environ.get("RANKSTONE_SCALE", "1"))
N = int(400_000 * SCALE)
"""Vectors of 384 dimensions; of more dimensions, fewer of the same size together."""
K, SINGLE, BATCH = 10, 20, 1024


def lines() -> Iterator[str]:
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        for dim in (384, 768, 1024):
            yield from compared(dim, N * 384 // dim)
    finally:
        faiss.omp_set_num_threads(threads)


def compared(dim: int, n: int) -> Iterator[str]:
    import faiss

    rng = np.random.default_rng(0)
    vectors = unit(rng.standard_normal((n, dim), dtype=np.float32))
    noise = unit(rng.standard_normal((BATCH, dim), dtype=np.float32))
    queries = unit(vectors[:BATCH] + noise)
    peer = faiss.IndexFlatIP(dim)
    peer.add(vectors)
    pieces = (vectors[at : at + 20_000] for at in range(0, n, 20_000))
    index = BinarisedIndex.build(residual_signs(dim, None, 1, seed=0), pieces)
    del vectors
    for name, size, total in (("single", 1, SINGLE), ("batch", BATCH, BATCH)):
        parts = [queries[at : at + size] for at in range(0, total, size)]
        ratio = ratio_of(lambda q: peer.search(q, K), lambda q: index.search(q, K), parts)
        yield f"speed sdc_search_{name}_{dim} ratio={ratio:.2f} goal=>=4 peer=faiss.IndexFlatIP"
    if dim == 384:
        memory = index.nbytes() / (n * dim * 4)
        yield f"speed sdc_memory ratio={memory:.4f} goal=<=0.0625 peer=float32_vectors"


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
