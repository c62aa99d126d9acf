"""A driver that sends shards of texts to actors and takes their vectors back, event by event.

The driver is one processor, the network two lines, one each way. Every shard passes in this order:
driver (reading, scheduling), line down, actor, line up, driver (checking, writing). Each of them
serves one shard at a time, in the order of arrival. An actor holds `ahead` shards, so that it has
the next one while it encodes.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Sizes and seconds of one shard, and of what it passes."""

    actors: int
    actor_s: float
    """Seconds in which an actor encodes a shard."""
    driver_s: float = 0.0
    """Seconds of the driver's processor for a shard, half of them before and half after."""
    down_bytes: float = 0.0
    up_bytes: float = 0.0
    bytes_per_s: float = float("inf")
    """Of the driver's network, each way."""
    ahead: int = 2

    def stages(self) -> list[tuple[str, float]]:
        """Return what a shard passes, and for how long."""
        return [
            ("driver", self.driver_s / 2),
            ("down", self.down_bytes / self.bytes_per_s),
            ("actor", self.actor_s),
            ("up", self.up_bytes / self.bytes_per_s),
            ("driver", self.driver_s / 2),
        ]

    @property
    def most_actors(self) -> float:
        """Number of actors that the busiest of the others can keep at work."""
        busy: dict[str, float] = {}
        for name, seconds in self.stages():
            busy[name] = busy.get(name, 0.0) + seconds
        alone = busy.pop("actor")
        longest = max(busy.values())
        return alone / longest if longest else float("inf")


def makespan(cluster: Cluster, shards: int) -> float:
    """Return the seconds from the first shard read to the last one written."""
    stages, free = cluster.stages(), dict[str | int, float]()
    holders = (n % cluster.actors for n in range(cluster.actors * cluster.ahead))
    events = [(0.0, n, 0, actor) for n, actor in zip(range(shards), holders, strict=False)]
    started, now = len(events), 0.0
    while events:
        now, number, stage, actor = heapq.heappop(events)
        if stage < len(stages):
            name, seconds = stages[stage]
            server: str | int = actor if name == "actor" else name
            free[server] = max(now, free.get(server, 0.0)) + seconds
            heapq.heappush(events, (free[server], number, stage + 1, actor))
        elif started < shards:
            heapq.heappush(events, (now, started, 0, actor))
            started += 1
    return now


def efficiency(cluster: Cluster, shards: int) -> float:
    """Return the share of the actors' time in which they encode."""
    return shards * cluster.actor_s / (cluster.actors * makespan(cluster, shards))
