"""The scan of `CodeIndex`: a loop over all documents that counts bits, compiled by numba.

It is written again for every number of words and planes. The innermost loop runs over the 64
documents of a block and has no other loop within, so that the compiler makes of it instructions
that take several documents at once (on x86, AVX-512's vpopcntq).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

BLOCK = 64
"""Documents that lie together: word by word, plane by plane, and last document by document."""
AT_ONCE = 16
"""Words of a query, of all planes, that the innermost loop takes: so many stay in registers."""
SIGNATURE = (
    "void(uint64[:, :, :, ::1], int64, uint64[:, :, ::1], float32[::1], float64, float64,"
    " float32[:, ::1], int64[:, ::1])"
)


@cache
def compiled_scan(dim: int, levels: int) -> Callable[..., None]:
    """`scan` for codes of `dim` dimensions and `levels` planes; compiling takes about a second.

    It takes and fills, and lets other threads run meanwhile:

        blocks: (n_blocks, words, levels, 64) the documents.
        n: documents; what is beyond them in the last block is left out.
        queries: (n_queries, words, levels).
        squares: (n_queries,) squared lengths of the queries.
        shortest, longest: bounds of the documents' lengths.
        scores, docs: (n_queries, k) -inf, and n. Afterwards the best k documents, as heaps whose
            root is the worst: the lowest cosine, of equal ones the highest position.
    """
    import numba
    from numba.extending import register_jitable

    words, popcount = -(-dim // 64), _popcount()
    most = dim * (2**levels - 1) ** 2  # the highest product of two codes, in units of 4^-(L-1)
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
            # Copied byte after byte it comes from memory twice as fast as in the loop's strides.
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
    """A function of a block, a query and (64,) distances, which it fills.

    A distance is sum_ij 2^(2L-2-i-j) popcount(q_i xor d_j), a whole number.
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
    """Lines that add what `words` from `at` on contribute."""
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
    """A function that scores what of a block is within a limit, and gives back the new limit."""
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
                    # No document farther away has a higher cosine than the worst of the k. In
                    # float32 it is rounded by less than a distance of two.
                    length = shortest if scores[0] > 0 else longest
                    reach = scores[0] * np.sqrt(np.float64(square)) * length / unit
                    limit = np.int64(np.floor((most - reach) / 2)) + 2
        return limit

    return keep


def replace_worst(scores: Any, docs: Any, score: Any, doc: Any) -> None:
    """Put a document in place of the root of a heap, the worst of it."""
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
    """Set bits of a word, as the processor's own instruction."""
    from numba import types
    from numba.extending import intrinsic

    def popcount(_typing: Any, _word: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.ctpop(arguments[0])

        return types.int64(types.uint64), generate

    return intrinsic(popcount)
