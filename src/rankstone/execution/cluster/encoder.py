"""The actor that encodes shards on a node, and its description of itself."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import psutil

from rankstone.encodings.cache_key import encoding_key
from rankstone.encodings.filling import PHASE, Filled, ShardWork, fill
from rankstone.encodings.metering import Kernel
from rankstone.execution.cluster.failures import Failed, attempted
from rankstone.execution.cluster.parcels import Parcel, Receiver
from rankstone.execution.descendants import descendants
from rankstone.execution.process import POLL_S, Limits
from rankstone.files import cache_root
from rankstone.profiling.clock import Clock
from rankstone.profiling.machine import fingerprint, usable_cores
from rankstone.results.record import Status
from rankstone.runners.adapter_json import name_of
from rankstone.runners.construct import build_runner
from rankstone.runners.protocols import AnyRunner


class About(NamedTuple):
    """An encoder as described by a node."""

    key: str
    """Name of the folder of its shards."""
    described: Mapping[str, Any]
    adapter: str


def encoders(runner: Any) -> Iterator[AnyRunner]:
    """Yield the parts of a method whose document encodings are stored in shards."""
    if runner.cacheable:
        yield runner
    elif callable(getattr(runner, "reader", None)):
        yield from encoders(runner.reader("document"))
    else:
        for member in getattr(runner, "members", ()):
            yield from encoders(member)


def own_bytes() -> int:
    """Return the resident bytes of this process tree, without Ray's shared objects."""
    total, this = 0, psutil.Process()
    for process in (this, *descendants(this.pid)):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().uss
    return total


WATCH = "watch"
"""Name of the concurrency group of an encoder that watches its memory during encoding."""


class Encoder(Receiver):
    """An actor with a model in memory."""

    def passed(self, limits: Limits) -> tuple[Status, str, str]:
        """Wait until this process exceeds its memory limit; return as `Limits.passed` does."""
        while not (passed := limits.passed(0.0, own_bytes(), PHASE)):
            time.sleep(POLL_S)
        return passed

    def load(
        self, parcel: Parcel, number: int, material: Mapping[str, Any], shard_size: int
    ) -> About | Failed:
        """Load encoder `number` of a method; return its description."""
        return attempted(lambda: self._load(parcel, number, material, shard_size))

    def _load(
        self, parcel: Parcel, number: int, material: Mapping[str, Any], shard_size: int
    ) -> About:
        os.environ["RANKSTONE_CACHE"] = str(cache_root())
        runner = list(encoders(build_runner(parcel.opened())))[number]
        runner.encode(["warm up"], "document")
        self._runner, self._clock = runner, Clock()
        self._hardware = f"{fingerprint()}, {usable_cores()} threads"
        self._peak: float | None = None
        described = runner.describe()
        key = encoding_key(runner, material, shard_size)
        return About(key, dict(described), name_of(type(runner)))

    def encode(self, work: ShardWork) -> Filled | Failed:
        """Encode the texts of a shard that are not in an earlier one."""
        return attempted(lambda: self._encode(work))

    def _encode(self, work: ShardWork) -> Filled:
        filled = fill(self._runner, work, self._clock, hardware=self._hardware)
        if filled.cost.flops and self._peak is None:
            self._peak = Kernel.of(self._runner.describe()).peak()
        return filled._replace(cost=filled.cost._replace(peak_flops_per_s=self._peak))
