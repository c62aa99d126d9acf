"""The scan of `CodeIndex`: a popcount loop over all documents, compiled by numba.

Its source is generated for each number of words and planes. The innermost loop runs over the 64
documents of a block and contains no other loop, so that the compiler can vectorise it (on x86, with
AVX-512's vpopcntq).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

BLOCK = 64
"""Documents per block; its axes are words, planes, documents."""
AT_ONCE = 16
"""Words of a query, over all planes, in the innermost loop: as many as fit into registers."""
SIGNATURE = (
    "void(uint64[:, :, :, ::1], int64, uint64[:, :, ::1], float32[::1], float64, float64,"
    " float32[:, ::1], int64[:, ::1])"
)


@cache
def compiled_scan(dim: int, levels: int) -> Callable[..., None]:
    """Return `scan` for codes of `dim` dimensions and `levels` planes; compiles in about a second.

    It releases the GIL. Arguments, of which `scores` and `docs` are filled:

        blocks: (n_blocks, words, levels, 64) the documents.
        n: number of documents; padding of the last block is ignored.
        queries: (n_queries, words, levels).
        squares: (n_queries,) squared lengths of the queries.
        shortest, longest: bounds of the documents' lengths.
        scores, docs: (n_queries, k), initially -inf and n. Afterwards the best k documents, as
        heaps whose root is the worst: the lowest cosine, of equal ones the highest position.
    """
    import numba
    from numba.extending import register_jitable

    words, popcount = -(-dim // 64), _popcount()
    most = dim * (2**levels - 1) ** 2  # largest inner product of two codes, in units of 4^-(L-1)
    measure = register_jitable(inline="always")(_measure(words, levels, popcount))
    keep = register_jitable(_keep(most, levels, words, register_jitable(replace_worst), popcount))

    def scan(
        blocks: Any, n: Any, queries: Any, squares: Any,
        shortest: Any, longest: Any, scores: Any, docs: Any,
    ) -> None:  # fmt: skip
        distances = np.empty(BLOCK, np.int64)
        limits = np.full(len(queries), most, np.int64)
        near = np.empty(blocks.shape[1:], np.uint64)
        for b in range(len(blocks)):
            # A contiguous copy is read from memory twice as fast as with the loop's strides.
            near[:] = blocks[b]
            for q in range(len(queries)):
                measure(near, queries[q], distances)
                least = distances[0]
                for d in range(1, BLOCK):
                    least = min(least, distances[d])
                if least <= limits[q]:
                    limits[q] = keep(
                        near, b * BLOCK, n, distances, limits[q],
                        squares[q], shortest, longest, scores[q], docs[q],
                    )  # fmt: skip

    compiled: Callable[..., None] = numba.njit(SIGNATURE, nogil=True, error_model="numpy")(scan)
    return compiled


def _measure(words: int, levels: int, popcount: Any) -> Any:
    """Return a function that fills (64,) distances of a block and a query.

    A distance is the integer sum_ij 2^(2L-2-i-j) popcount(q_i xor d_j).
    """
    step = AT_ONCE // levels
    whole = words // step * step
    lines = ["def measure(block, query, distances):", "    distances[:] = 0"]
    if whole:
        lines += [f"    for at in range(0, {whole}, {step}):"]
        lines += [f"        {line}" for line in _added(step, levels)]
    if words > whole:
        lines += [f"    at = {whole}"]
        lines += [f"    {line}" for line in _added(words - whole, levels)]
    names: dict[str, Any] = {"popcount": popcount}
    exec("\n".join(lines), names)
    return names["measure"]


def _added(words: int, levels: int) -> list[str]:
    """Return lines that add the contribution of `words` from `at` on."""
    parts = [(w, i) for w in range(words) for i in range(levels)]
    terms = []
    for order in range(2 * levels - 1):
        bits = [
            f"popcount(q{w}_{i} ^ d{w}_{order - i})" for w, i in parts if 0 <= order - i < levels
        ]
        terms.append(f"(({' + '.join(bits)}) << {2 * levels - 2 - order})")
    return [
        *(f"q{w}_{i} = query[at + {w}, {i}]" for w, i in parts),
        f"for d in range({BLOCK}):",
        *(f"    d{w}_{i} = block[at + {w}, {i}, d]" for w, i in parts),
        f"    distances[d] += {' + '.join(terms)}",
    ]


def _keep(most: int, levels: int, words: int, replace: Any, popcount: Any) -> Any:
    """Return a function that scores a block's documents within a limit, and returns the new
    limit."""
    unit = np.float32(0.25 ** (levels - 1))

    def keep(
        block: Any, first: Any, n: Any, distances: Any, limit: Any,
        square: Any, shortest: Any, longest: Any, scores: Any, docs: Any,
    ) -> Any:  # fmt: skip
        for d in range(min(BLOCK, n - first)):
            if distances[d] > limit:
                continue
            own = np.int64(0)
            for w in range(words):
                for j in range(levels):
                    for i in range(j):
                        differing = popcount(block[w, i, d] ^ block[w, j, d])
                        own += differing << (2 * levels - 1 - i - j)
            product = np.float32(most - 2 * distances[d]) * unit
            cosine = product / np.sqrt(square * (np.float32(most - 2 * own) * unit))
            if cosine > scores[0]:
                replace(scores, docs, cosine, first + d)
                if scores[0] > -np.inf:
                    # No document beyond this distance has a higher cosine than the worst of the k.
                    # Rounding to float32 is less than a distance of two.
                    length = shortest if scores[0] > 0 else longest
                    reach = scores[0] * np.sqrt(np.float64(square)) * length / unit
                    limit = np.int64(np.floor((most - reach) / 2)) + 2
        return limit

    return keep


def replace_worst(scores: Any, docs: Any, score: Any, doc: Any) -> None:
    """Replace the root of a heap, its worst document."""
    at, child = 0, 1
    while child < len(scores):
        other = child + 1
        if other < len(scores) and (
            scores[other] < scores[child]
            or (scores[other] == scores[child] and docs[other] > docs[child])
        ):
            child = other
        if score < scores[child] or (score == scores[child] and doc > docs[child]):
            break
        scores[at], docs[at] = scores[child], docs[child]
        at, child = child, 2 * child + 1
    scores[at], docs[at] = score, doc


@cache
def _popcount() -> Any:
    """Return a popcount compiled to the processor's instruction."""
    from numba import types
    from numba.extending import intrinsic

    def popcount(_typing: Any, _word: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.ctpop(arguments[0])

        return types.int64(types.uint64), generate

    return intrinsic(popcount)
