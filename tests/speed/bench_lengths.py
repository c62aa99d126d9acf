"""Growth of the encoding time of one text with its tokens: the methods of `mamba-retriever-length`.

The claim is tested on records; here the lengths take turns, and of each the least CPU time of all
rounds counts, of one thread. Mamba's exponent is above 1 because the tensors of transformers'
implementation exceed 32 MiB from 2,048 tokens on: glibc maps such memory again in each call, and
44% of the CPU time are its page faults (with MALLOC_MMAP_MAX_=0, MALLOC_TRIM_THRESHOLD_=8000000000
and MALLOC_TOP_PAD_=500000000 in the environment there are none, and the exponent is 0.96).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from rankstone.evaluation.growth import exponent
from rankstone.runners.construct import build_runner
from rankstone.workspace import Workspace

METHODS = ("dense/random-mamba", "dense/random-bert")
LENGTHS = (512, 1024, 2048, 4096, 8192)
ROUNDS = 3


def lines() -> Iterator[str]:
    """Yield the exponent of Mamba's time, against the largest that is linear and against BERT's."""
    import torch

    torch.set_num_threads(1)
    definitions = Workspace.find()
    encoders = [build_runner(definitions.method(name)) for name in METHODS]
    mamba, bert = (exponent(LENGTHS, seconds).value for seconds in timed(encoders))
    yield f"speed mamba_time_by_length ratio={mamba:.3f} goal=<=1.1 peer=linear"
    yield f"speed mamba_vs_bert_time_by_length ratio={mamba / bert:.3f} goal=<=0.9 peer=bert"


def timed(encoders: list[Any]) -> list[list[float]]:
    """Return the least CPU seconds of each encoder at `LENGTHS`."""
    best = [[np.inf] * len(LENGTHS) for _ in encoders]
    for number in range(ROUNDS + 1):
        for own, encoder in zip(best, encoders, strict=True):
            for at, length in enumerate(LENGTHS):
                started = time.process_time()
                encoder.encode(["a" * (length - 2)], "document")
                if number:  # the first round loads
                    own[at] = min(own[at], time.process_time() - started)
    return best
