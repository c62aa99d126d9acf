"""Fixed dimensional encodings: documents per second of one core, and against a peer.

Documents of 150 unit vectors of 128 dimensions, 20 repetitions, empty blocks filled, two settings
of the paper: 5 bits and 16 dimensions (10,240 in all), 3 bits and 8 dimensions (1,280). The peer is
the package muvera-python, whose loops are compiled; it projects by another sketch of the same cost
and size. Times are of processors, of all threads, so that a core is a core.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np

from rankstone.runners.search.multi_vector.fde import FdeShape, FixedDimensionalEncoder

N, LENGTH, DIM, REPETITIONS = 200, 150, 128, 20
GOAL_PER_S = 1000
ROUNDS = 7


def lines() -> Iterator[str]:
    for bits, inner in ((5, 16), (3, 8)):
        ours = encoding(bits, inner)
        name = f"fde_{REPETITIONS}_{bits}_{inner}"
        ours()
        per_s = statistics.median(N / seconds(ours) for _ in range(ROUNDS))
        peer = f"{GOAL_PER_S}_documents_per_core_second"
        yield f"speed {name} ratio={per_s / GOAL_PER_S:.3f} goal=>=1.0 peer={peer}"
        if find_spec("muvera") is None:
            sys.stdout.write(f"skipped {name}_peer: no package muvera-python here\n")
            continue
        theirs = peer_encoding(bits, inner)
        theirs()
        ratio = statistics.median(seconds(theirs) / seconds(ours) for _ in range(ROUNDS))
        yield f"speed {name}_peer ratio={ratio:.3f} goal=>=1.0 peer=muvera-python"


def documents() -> np.ndarray:
    tokens = np.random.default_rng(0).standard_normal((N * LENGTH, DIM), dtype=np.float32)
    return tokens / np.linalg.norm(tokens, axis=1, keepdims=True)


def encoding(bits: int, inner: int) -> Callable[[], object]:
    shape = FdeShape(dim=DIM, repetitions=REPETITIONS, simhash_bits=bits, inner_dim=inner)
    encoder = FixedDimensionalEncoder.draw(shape, seed=0)
    tokens, lengths = documents(), np.full(N, LENGTH)
    return lambda: encoder.documents(tokens, lengths)


def peer_encoding(bits: int, inner: int) -> Callable[[], object]:
    from muvera import Muvera

    peer = Muvera(
        num_repetitions=REPETITIONS,
        num_simhash_projections=bits,
        dimension=DIM,
        projection_type="ams_sketch",
        projection_dimension=inner,
    )
    texts = list(documents().reshape(N, LENGTH, DIM))  # its fast way: texts of any length
    return lambda: peer.encode_documents(texts)


def seconds(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started
