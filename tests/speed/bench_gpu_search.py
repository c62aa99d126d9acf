"""Exact search and MaxSim in the memory of a CUDA device.

A million random unit vectors of 768 dimensions, 1,024 queries at once and one alone, k = 1,000; the
peer is torch's own product and `topk` in blocks, without a rule for ties. Late interaction: 20,000
documents of 20 to 180 vectors of 128 dimensions, 64 queries of 32 vectors at once against the peak
of products of matrices, and one alone against one pass over the vectors. Yields nothing where there
is no CUDA device, or its memory is too small.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rankstone.runners.representations.ragged import Ragged
from tests.speed import cuda

N, DIM, K, BATCH, BLOCK = 1_000_000, 768, 1000, 1024, 2**18
N_TEXTS, TOKEN_DIM, QUERIES, QUERY_LENGTH = 20_000, 128, 64, 32


def lines() -> Iterator[str]:
    if not cuda.present():
        return
    yield from exact()
    yield from maxsim()


class Pieces:
    """Documents in pieces of 50,000, as from shards."""

    def __init__(self, rep: Any) -> None:
        self._rep = rep

    def __len__(self) -> int:
        return len(self._rep)

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self._rep), 50_000):
            yield self._rep[start : start + 50_000]


def unit(n: int, dim: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def exact() -> Iterator[str]:
    import torch

    from rankstone.runners.search.exact.gpu import GpuIndex

    vectors, queries = unit(N, DIM, 0), unit(BATCH, DIM, 1)
    index = GpuIndex.build(Pieces(vectors), "cuda")
    if index is None:
        return
    rows = index._rows

    def peer(asked: np.ndarray) -> Any:
        given, best = torch.from_numpy(asked).to("cuda"), []
        for start in range(0, N, BLOCK):
            values, found = torch.topk(given @ rows[start : start + BLOCK].T, K)
            best.append((values, found + start))
        values, order = torch.topk(torch.cat([v for v, _ in best], 1), K)
        return values.cpu().numpy(), torch.cat([f for _, f in best], 1).gather(1, order).cpu()

    with torch.inference_mode():
        for name, asked, goal in (("batch", queries, "0.5"), ("one_query", queries[:1], "0.8")):
            ratio, own = cuda.compared(
                lambda asked=asked: peer(asked), lambda asked=asked: index.search(asked, K)
            )
            yield f"speed gpu_exact_{name} ratio={ratio:.2f} goal=>={goal} peer=torch.topk"
            if name == "batch":
                share = cuda.share_of_peak(2 * BATCH * N * DIM, own, "fp32")
                yield f"speed gpu_exact_share_of_peak ratio={share:.3f} goal=>=0.3 peer=torch.mm"
        apart = np.abs(index.search(queries, K).scores - peer(queries)[0]).max()
    yield f"speed gpu_exact_difference ratio={apart:.7f} goal=<=1e-5 peer=torch.topk"


def maxsim() -> Iterator[str]:
    import torch

    from rankstone.runners.search.exact.gpu_maxsim import GpuMaxSimIndex
    from rankstone.runners.search.exact.maxsim import MaxSimIndex

    lengths = np.random.default_rng(0).integers(20, 181, N_TEXTS)
    tokens = unit(int(lengths.sum()), TOKEN_DIM, 2)
    documents = Ragged(tokens, np.concatenate([[0], np.cumsum(lengths)]))
    queries = Ragged(
        unit(QUERIES * QUERY_LENGTH, TOKEN_DIM, 3), np.arange(QUERIES + 1) * QUERY_LENGTH
    )
    index = GpuMaxSimIndex.build(Pieces(documents), "cuda")
    if index is None:
        return
    whole = torch.from_numpy(tokens).to("cuda")
    ratio, own = cuda.compared(lambda: whole.sum(), lambda: index.search(queries[:1], K))
    yield f"speed gpu_maxsim_one_query ratio={ratio:.3f} goal=>=0.2 peer=one pass over the vectors"
    _, own = cuda.compared(lambda: None, lambda: index.search(queries, K))
    flops = 2 * len(tokens) * len(queries.tokens) * TOKEN_DIM
    share = cuda.share_of_peak(flops, own, "fp32")
    yield f"speed gpu_maxsim_share_of_peak ratio={share:.3f} goal=>=0.3 peer=torch.mm"
    few = queries[:2]
    on_cpu = MaxSimIndex.build(Pieces(documents)).search(few, 100)
    apart = np.abs(index.search(few, 100).scores - on_cpu.scores).max()
    yield f"speed gpu_maxsim_difference ratio={apart:.7f} goal=<=1e-4 peer=the same on the CPU"
