"""Nodes of a cluster: found, compared with this machine, and assigned to one task at a time."""

from __future__ import annotations

import contextlib
import json
import platform
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rankstone import __version__
from rankstone.errors import ClusterError
from rankstone.execution.cell_key import source_digest
from rankstone.execution.cluster.failures import is_loss
from rankstone.execution.process import cell_variables
from rankstone.files import gib
from rankstone.profiling.machine import PACKAGES, fingerprint, package_versions
from rankstone.progress import Progress

POLL_S = 0.5
PROBE_S = 120.0
BY_HAND = "node_"
"""Prefix of the types of nodes that were added manually, not by an autoscaler."""


class Need(NamedTuple):
    """Resources requested from a node."""

    memory_bytes: int = 0
    cpus: float = 1
    gpus: float = 0

    def __str__(self) -> str:
        parts = [f"{self.cpus:g} CPUs"]
        parts += [f"{self.gpus:g} GPUs"] if self.gpus else []
        parts += [f"{gib(self.memory_bytes)} of memory"] if self.memory_bytes else []
        return ", ".join(parts)

    def bundle(self) -> dict[str, float]:
        """Return the resources in Ray's terms."""
        named = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_bytes}
        return {name: amount for name, amount in named.items() if amount}

    def within(self, resources: dict[str, float]) -> bool:
        return all(resources.get(name, 0) >= n for name, n in self.bundle().items())


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node, as described by Ray."""

    id: str
    host: str
    resources: dict[str, float] = field(compare=False, hash=False)

    @property
    def threads(self) -> int:
        return max(int(self.resources.get("CPU", 0)), 1)

    @property
    def gpus(self) -> float:
        return self.resources.get("GPU", 0)

    def device(self, stated: str) -> str:
        """Return the device for methods on this node: a GPU if present and allowed by `stated`."""
        return "cuda" if self.gpus >= 1 and stated != "cpu" else "cpu"

    def options(self, device: str = "cpu", **more: Any) -> dict[str, Any]:
        """Return the options of an actor on this node, in the environment of a cell's process."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self.id, soft=False)
        variables = {"env_vars": cell_variables(self.threads, device)}
        return {"scheduling_strategy": here, "runtime_env": variables, "max_restarts": 0, **more}


class Facts(NamedTuple):
    """Versions that must be equal on all machines, and the kind of machine."""

    version: str
    code: str
    python: str
    packages: dict[str, str]
    fingerprint: str

    @classmethod
    def here(cls) -> Facts:
        python, packages = platform.python_version(), package_versions(PACKAGES)
        return cls(__version__, source_digest(), python, packages, fingerprint())

    def refuse_unlike(self, other: Facts, host: str) -> None:
        """Raise ClusterError if the node `host` has other versions than this machine."""
        shared = sorted(self.packages.keys() & other.packages.keys())
        pairs = [(n, self.packages[n], other.packages[n]) for n in shared if n != "rankstone"]
        pairs += [("rankstone", self.version, other.version), ("python", self.python, other.python)]
        unlike = [
            f"{name} {theirs} (here {ours})" for name, ours, theirs in pairs if ours != theirs
        ]
        if unlike:
            wanted = " ".join(f"{n}=={ours}" for n, ours, theirs in pairs if ours != theirs)
            raise ClusterError(
                f"node {host} has {', '.join(unlike)}. Results are the same only with the same"
                f" versions. Install there: pip install {wanted}"
            )
        if self.code != other.code:
            raise ClusterError(
                f"node {host} has rankstone {other.version} with other code than this machine."
                " Install the same commit on both: pip install --force-reinstall <checkout>"
            )


def facts_here() -> Facts:
    """Return the facts of the machine that runs this function."""
    return Facts.here()


def alive() -> list[Node]:
    """Return the live nodes with CPUs, by descending number of CPUs."""
    import ray

    found = [
        Node(id=one["NodeID"], host=one["NodeManagerHostname"], resources=one["Resources"])
        for one in ray.nodes()
        if one["Alive"] and one["Resources"].get("CPU", 0) > 0
    ]
    return sorted(found, key=lambda node: (-node.threads, node.id))


def grows() -> bool:
    """Return False if the cluster's own report shows that all nodes were added manually."""
    from ray.experimental.internal_kv import _internal_kv_get

    report = json.loads(_internal_kv_get("__autoscaling_status") or b"{}")
    kinds = report.get("autoscaler_report", {}).get("active_nodes", {})
    return not kinds or not all(kind.startswith(BY_HAND) for kind in kinds)


def request(*needs: Need) -> None:
    """Request nodes for all `needs` from an autoscaling cluster; without needs, cancel requests."""
    from ray.autoscaler.sdk import request_resources

    request_resources(bundles=[need.bundle() for need in needs])


class Nodes:
    """The nodes, each assigned to at most one task."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._facts: dict[str, Facts] = {}
        self._lock = threading.RLock()
        self.stopped = threading.Event()

    def facts(self, node: Node) -> Facts | None:
        """Return the facts of a node, None if it was lost meanwhile; ClusterError if it lacks the
        package or has another version."""
        with self._lock:
            if node.id not in self._facts:
                found = _probe(node, self.pause)
                if found is None:
                    return None
                Facts.here().refuse_unlike(found, node.host)
                self._facts[node.id] = found
            return self._facts[node.id]

    def take(self, need: Need) -> Node | None:
        """Return a free node that meets `need`; None if there is none at the moment."""
        with self._lock:
            for node in alive():
                if node.id in self._taken or not need.within(node.resources):
                    continue
                if self.facts(node) is not None:
                    self._taken.add(node.id)
                    return node
        return None

    def give_back(self, node: Node) -> None:
        with self._lock:
            self._taken.discard(node.id)

    @contextlib.contextmanager
    def taken(self, need: Need, progress: Progress) -> Iterator[Node]:
        """Wait for a free node that meets `need`, and reserve it until the block ends.

        Raises ClusterError if no node meets it and the cluster cannot start one that does.
        """
        node = self._waited(need, progress)
        try:
            yield node
        finally:
            self.give_back(node)

    def _waited(self, need: Need, progress: Progress) -> Node:
        asked = False
        while (node := self.take(need)) is None:
            if not any(need.within(node.resources) for node in alive()):
                refuse_unmet(need)
                request(need)
                asked = True
            progress(f"wait for a node with {need}", 0, None)
            self.pause(POLL_S)
        if asked:
            request()
        return node

    def get(self, asked: Any) -> Any:
        """Return a Ray result; KeyboardInterrupt if the run was stopped meanwhile."""
        import ray

        while not ray.wait([asked], timeout=POLL_S)[0]:
            self.pause(0)
        return ray.get(asked)

    def pause(self, seconds: float) -> None:
        """Wait; KeyboardInterrupt if the run was stopped meanwhile."""
        if self.stopped.wait(seconds):
            raise KeyboardInterrupt


def refuse_unmet(need: Need) -> None:
    """Raise ClusterError if no node can ever meet `need`."""
    if grows():
        return
    known = [f"{node.host}: {_described(node)}" for node in alive()]
    raise ClusterError(
        f"no node of the cluster has {need}, and it starts none on demand."
        f" Its nodes: {'; '.join(known) or 'none with a CPU'}. Add one:"
        " ray start --address HEAD:6379"
        f"{'; or ignore the forecast of memory: --force' if need.memory_bytes else ''}"
    )


def _described(node: Node) -> str:
    memory = int(node.resources.get("memory", 0))
    return str(Need(memory, node.resources.get("CPU", 0), node.gpus))


def _probe(node: Node, pause: Callable[[float], None]) -> Facts | None:
    """Return the facts of a node; None if it is lost before it answers."""
    import ray

    options = node.options(num_cpus=0, max_retries=3)
    del options["max_restarts"]
    asked = ray.remote(facts_here).options(**options).remote()
    started = time.monotonic()
    try:
        while not ray.wait([asked], timeout=POLL_S)[0] and time.monotonic() - started < PROBE_S:
            pause(0)
        facts: Facts = ray.get(asked, timeout=0)
    except Exception as error:
        if is_loss(error):
            return None
        if "No module named 'rankstone" in str(error) or "rankstone halted" in str(error):
            raise ClusterError(
                f"node {node.host} has no rankstone. Install it there:"
                f" pip install 'rankstone[ray]=={__version__}'"
            ) from error
        reason = str(error).strip().split("\n")[-1] or type(error).__name__
        waited = f"{time.monotonic() - started:.0f} s"
        raise ClusterError(
            f"node {node.host} did not run a first task ({waited}): {reason}. Look at its log:"
            " ray logs cluster"
        ) from error
    return facts
