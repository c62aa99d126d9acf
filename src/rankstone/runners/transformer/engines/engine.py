"""A loaded network, and the scheduling of batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rankstone.runners.transformer.network import Array, Facts

Name = Literal["torch", "openvino"]
Precision = Literal["fp32", "bf16", "int8"]
Dtype = Literal["float32", "bfloat16"]
PRECISIONS: Mapping[Dtype, Precision] = {"float32": "fp32", "bfloat16": "bf16"}
Batch = tuple[NDArray[np.int64], ...]
"""Inputs of a network, each (n, length) int64: ids, mask, and possibly more."""
Run = Callable[..., Array]
"""Inputs of one batch -> float32 array with n rows; raises OutOfMemoryError."""

WORTH_LANES = 8
"""Number of batches from which compiling a copy of the network for lanes pays off."""


class OutOfMemoryError(Exception):
    """The device's memory does not suffice for a batch."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A loaded network.

    Attributes:
        run: computes one batch on all cores.
        lane: computes one batch on a share of the cores; up to `lanes` threads may call it at once.
        Several batches are faster in lanes than one after another, because cores do not wait for
        each other within a layer.
        decode: computes one text's vector from its states (length, dim), without padding, on all
        cores; None if the rows of `run` are vectors.
        decode_lane: the same on a lane's share of the cores.
        tokenizer: a ``tokenizers.Tokenizer``; a transformers tokenizer if `facts.library_tokens`.
    """

    name: Name
    run: Run
    facts: Facts
    tokenizer: Any
    lane: Run | None = None
    decode: Run | None = None
    decode_lane: Run | None = None
    lanes: int = 1

    def through(self, batches: Iterator[Batch]) -> Iterator[Array]:
        """Yield the output of each batch, in order; batches are consumed as lanes become free."""
        return self._each(self.run, self.lane, batches)

    def decoded(self, states: Iterable[Array]) -> Iterator[Array]:
        """Yield the vector of each text, in order, from its states without padding."""
        assert self.decode is not None
        return self._each(self.decode, self.decode_lane, ((one,) for one in states))

    def _each(
        self, alone: Run, lane: Run | None, inputs: Iterator[tuple[NDArray[Any], ...]]
    ) -> Iterator[Array]:
        several = lane is not None and self.lanes > 1
        ready = list(islice(inputs, WORTH_LANES)) if several else []
        if lane is None or len(ready) < WORTH_LANES:
            for given in chain(ready, inputs):
                yield alone(*given)
            return
        with ThreadPoolExecutor(self.lanes) as pool:
            waiting: deque[Future[Array]] = deque()
            for given in chain(ready, inputs):
                waiting.append(pool.submit(lane, *given))
                if len(waiting) > self.lanes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
