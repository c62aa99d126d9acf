"""Encoding of a corpus by actors on many nodes; this process reads texts and writes shards."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rankstone.encodings.cache import EncodingCache, ShardedChunks
from rankstone.encodings.filling import PHASE, Filled, ShardWork
from rankstone.encodings.shards import ShardInfo
from rankstone.errors import ClusterError, RankstoneWarning
from rankstone.execution.cluster.encoder import WATCH, About, Encoder
from rankstone.execution.cluster.failures import PassedError, checked, first_line, is_loss, mended
from rankstone.execution.cluster.nodes import Need, Node, Nodes, alive, refuse_unmet, request
from rankstone.execution.cluster.parcels import Files, Parcel, send
from rankstone.execution.process import Limits
from rankstone.runners.protocols import Defaults

NONE = Limits()
AHEAD = 2
"""Number of shards assigned to an actor: the one being encoded, and the next."""
MAX_LOST_WORKERS = 3
"""Number of workers that may die while encoding a shard before it is given up."""
SEARCH_S = 2.0
"""Seconds between two searches for nodes without an actor."""
WAIT_S = 0.2
WRITERS = 4
"""Number of threads that write shards: hashing and disk access take most of this process's time."""
UNWRITTEN = 16
"""Number of shards waiting for a writer at which fetching of results pauses."""
STARTED_AT_ONCE = 16
MAX_REQUESTED_NODES = 64
"""Maximum number of nodes requested from an autoscaling cluster."""


class Described(Defaults):
    """An encoder on other machines, as described by them."""

    cacheable: ClassVar[bool] = True

    def __init__(self, described: Mapping[str, Any]) -> None:
        self._described = described

    def describe(self) -> Mapping[str, Any]:
        return self._described

    def encode(self, texts: Any, role: Any) -> Any:
        raise NotImplementedError("it encodes on other machines")

    def index(self, documents: Any, context: Any) -> Any:
        raise NotImplementedError("it encodes on other machines")


@dataclass(eq=False)
class Worker:
    """An actor and its assigned shards; it encodes the first of them."""

    actor: Any
    node: Node
    about: About
    over: Sequence[Any] = ()
    """A Ray result that arrives when the actor exceeds its memory limit, if there is a limit."""
    shards: deque[int] = field(default_factory=deque)


@dataclass(frozen=True, kw_only=True)
class Task:
    """The encoding of a corpus by one encoder of a method."""

    name: str
    """Method and collection, for messages."""
    parcel: Parcel
    files: Files
    number: int
    """Position of the encoder among those of the method."""
    cache: EncodingCache
    need: Need
    cpus: float | None = None
    """CPUs of an actor; None for all CPUs of its node, or an equal share of them per GPU."""
    limits: Limits = NONE
    """Time limit of the encoding, from its first actor on, and memory limit of an actor."""


class Workers:
    """The actors of one encoding: started on every free node, and ended with the encoding."""

    def __init__(self, task: Task, nodes: Nodes) -> None:
        self._task, self._nodes = task, nodes
        self._pool = ThreadPoolExecutor(STARTED_AT_ONCE)
        self._starting: dict[Future[Worker], Node] = {}
        self._actors: list[Any] = []
        self._closed = False
        self._used: Counter[Node] = Counter()
        """Occupied nodes, and their actors."""
        self._looked = 0.0
        self._lost_starts = 0
        self._began: float | None = None
        self.ready: list[Worker] = []

    def close(self) -> None:
        """End all actors, including those that are starting, and release their nodes."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for actor in list(self._actors):
            end(actor)
        for node in self._used:
            self._nodes.give_back(node)

    @property
    def elapsed_s(self) -> float:
        """Time since the start of the first actor."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def check(self) -> None:
        """Raise PassedError if the encoding exceeds its time limit."""
        if passed := self._task.limits.passed(self.elapsed_s, 0, PHASE):
            raise PassedError(*passed)

    def look(self, wanted: int) -> None:
        """Start up to `wanted` actors on free nodes, and collect those that have started."""
        for starting in [one for one in self._starting if one.done()]:
            self._take_over(starting, self._starting.pop(starting))
        if time.monotonic() - self._looked < SEARCH_S and (self.ready or self._starting):
            return
        self._looked = time.monotonic()
        while len(self.ready) + len(self._starting) < wanted:
            node = self._nodes.take(self._task.need)
            if node is None:
                return
            self._began = self._began or time.monotonic()
            for _ in range(self._per_node(node)):
                self._used[node] += 1
                self._starting[self._pool.submit(self._start, node)] = node

    def lose(self, worker: Worker) -> None:
        """Remove an actor that ended."""
        self.ready.remove(worker)
        end(worker.actor)
        self._leave(worker.node)

    def _leave(self, node: Node) -> None:
        self._used[node] -= 1
        if not self._used[node]:
            del self._used[node]
            self._nodes.give_back(node)

    def _per_node(self, node: Node) -> int:
        """Return the number of actors for a node: one per GPU, or per stated share of CPUs."""
        if self._task.need.gpus:
            return int(node.gpus // self._task.need.gpus)
        return int(node.threads // self._task.cpus) if self._task.cpus else 1

    def _start(self, node: Node) -> Worker:
        import ray

        task, cache = self._task, self._task.cache
        cpus, memory = task.cpus or node.threads / self._per_node(node), task.need.memory_bytes
        options = node.options(
            "cuda" if task.need.gpus else "cpu",
            num_cpus=cpus,
            num_gpus=task.need.gpus,
            memory=memory or None,
        )
        limits = task.limits if task.limits.memory_bytes else None
        kind = ray.remote(concurrency_groups={WATCH: 1}) if limits else ray.remote
        actor = kind(Encoder).options(**options).remote()
        self._actors.append(actor)
        if self._closed:  # closed meanwhile: nothing else would end it
            end(actor)
        send(actor, task.files, self._nodes.get)
        about = actor.load.remote(
            task.parcel, task.number, dict(cache.key_material), cache.shard_size
        )
        over = [actor.passed.options(concurrency_group=WATCH).remote(limits)] if limits else []
        if over and ray.wait([about, *over])[0] == over:
            _stop(*over)
        return Worker(actor, node, checked(ray.get(about)), over)

    def _take_over(self, starting: Future[Worker], node: Node) -> None:
        error = starting.exception()
        if error is not None:
            self._lost_start(node, error)
        elif self.ready and starting.result().about.key != self.ready[0].about.key:
            self._leave_out(starting.result())
        else:
            self.ready.append(starting.result())

    def _lost_start(self, node: Node, error: BaseException) -> None:
        """Allow another attempt, up to a limit: the nodes may have too little memory."""
        self._leave(node)
        self._lost_starts += 1
        if not is_loss(error):
            raise error
        if self._lost_starts >= MAX_LOST_WORKERS and not self.ready:
            raise ClusterError(
                f"{self._task.name}: {MAX_LOST_WORKERS} workers ended while they loaded the"
                f" model, the last on {node.host}: {first_line(error)} Give the nodes more memory"
                " (ray status)."
            ) from error

    def _leave_out(self, worker: Worker) -> None:
        """End the actor of a node whose encodings differ; the node stays occupied."""
        end(worker.actor)
        message = (
            f"node {worker.node.host} describes {self._task.name} differently from"
            f" {self.ready[0].node.host} (other hardware?), and is not used for encoding it"
        )
        warnings.warn(message, RankstoneWarning, stacklevel=2)


def end(actor: Any) -> None:
    """End an actor and its process."""
    import ray

    with contextlib.suppress(Exception):  # the actor or the connection has already ended
        ray.kill(actor)


def encode(task: Task, nodes: Nodes) -> tuple[About, float]:
    """Encode all documents that are not in the cache; return the encoder's description, and the
    seconds since the start of its first actor.

    Raises ClusterError if no node can encode, or a shard repeatedly ends its workers;
    ElsewhereError for an error of the encoder; PassedError if it exceeds a limit.
    """
    workers = Workers(task, nodes)
    try:
        first = _first(workers, task, nodes)
        chunks = ShardedChunks(task.cache, Described(first.described), first.key, first.adapter)
        _Spread(task, chunks, workers, nodes).run()
        return first, workers.elapsed_s
    finally:
        workers.close()
        request()


def _first(workers: Workers, task: Task, nodes: Nodes) -> About:
    """Wait for the first actor."""
    while True:
        workers.look(1)
        workers.check()
        if workers.ready:
            return workers.ready[0].about
        if not any(task.need.within(node.resources) for node in alive()):
            refuse_unmet(task.need)
            request(task.need)
        waits = "load" if workers.elapsed_s else f"wait for a node with {task.need}"
        task.cache.progress(waits, 0, None)
        nodes.pause(WAIT_S)


def _stop(over: Any) -> None:
    """Raise PassedError, unless the actor has ended; in that case its shards fail."""
    import ray

    with contextlib.suppress(ray.exceptions.RayError):
        raise PassedError(*ray.get(over))


class _Spread:
    """Assignment of shards to workers; shards are taken back when they are encoded or lost."""

    def __init__(self, task: Task, chunks: ShardedChunks, workers: Workers, nodes: Nodes) -> None:
        self._task, self._chunks, self._workers, self._nodes = task, chunks, workers, nodes
        self._waiting = deque(chunks.missing())
        self._absent = set(self._waiting)
        self._under_way: dict[Any, tuple[Worker, ShardWork]] = {}
        self._deaths: Counter[int] = Counter()
        self._claims: dict[int, contextlib.ExitStack] = {}
        self._writers = ThreadPoolExecutor(WRITERS)
        self._writing: dict[Future[ShardInfo], int] = {}

    def run(self) -> None:
        if len(self._waiting) > 1:
            request(*[self._task.need] * min(len(self._waiting), MAX_REQUESTED_NODES))
        try:
            while self._waiting or self._under_way or self._writing:
                self._workers.look(-(-(len(self._waiting) + len(self._under_way)) // AHEAD))
                for worker in self._workers.ready:
                    self._feed(worker)
                self._collect()
                self._settle()
        finally:
            self._writers.shutdown()  # encoded shards are kept
            for claim in self._claims.values():
                claim.close()

    def _feed(self, worker: Worker) -> None:
        while len(worker.shards) < AHEAD and (part := self._next()) is not None:
            work = self._chunks.work(part)
            worker.shards.append(part)
            self._under_way[worker.actor.encode.remote(work)] = worker, work

    def _next(self) -> int | None:
        """Return a shard that this process has claimed and whose repeated texts are all encoded."""
        for part in list(self._waiting):
            if self._chunks.needs(part) & self._absent:
                continue
            if part in self._claims or self._claimed(part):
                self._waiting.remove(part)
                return part
            if self._chunks.has(part):  # else another process is encoding it
                self._waiting.remove(part)
                self._absent.discard(part)
        return None

    def _claimed(self, part: int) -> bool:
        claim = contextlib.ExitStack()
        if claim.enter_context(self._chunks.claimed(part)) and not self._chunks.has(part):
            self._claims[part] = claim
            return True
        claim.close()
        return False

    @property
    def _only_writes(self) -> bool:
        """True if nothing is being encoded, or the maximum number of shards waits to be written."""
        return not self._under_way or len(self._writing) >= UNWRITTEN

    def _collect(self) -> None:
        import ray

        if self._only_writes:
            self._nodes.pause(0 if self._writing else WAIT_S)
            return
        watched = [one for worker in self._workers.ready if worker.shards for one in worker.over]
        asked = [*self._under_way, *watched]
        if ray.wait(asked, timeout=WAIT_S, num_returns=1)[0]:
            self._sort(ray.wait(asked, timeout=0, num_returns=len(asked))[0], watched)

    def _sort(self, done: Sequence[Any], watched: Sequence[Any]) -> None:
        for ready in done:
            if ready in self._under_way:
                self._take(ready, *self._under_way[ready])
            elif ready in watched:
                _stop(ready)

    def _take(self, ready: Any, worker: Worker, work: ShardWork) -> None:
        import ray

        try:
            filled: Filled = checked(ray.get(ready))
        except Exception as error:
            if not is_loss(error):
                raise mended(error, worker.node.host) from None
            self._lost(worker, error)
            return
        del self._under_way[ready]
        worker.shards.remove(work.part)
        peak = filled.cost.peak_flops_per_s
        self._writing[self._writers.submit(self._chunks.write, work, filled, peak)] = work.part

    def _settle(self) -> None:
        """Count the written shards, and wait for one if nothing else can be done."""
        done, _ = wait(self._writing, WAIT_S if self._only_writes else 0, FIRST_COMPLETED)
        for written in done:
            part = self._writing.pop(written)
            self._chunks.add(part, written.result())
            self._absent.discard(part)
            self._claims.pop(part).close()
        self._nodes.pause(0)
        self._workers.check()

    def _lost(self, worker: Worker, error: BaseException) -> None:
        """Reassign the shards of a worker that ended; only the first was being encoded."""
        culprit = worker.shards[0]
        if any(node.id == worker.node.id for node in alive()):
            self._deaths[culprit] += 1
        if self._deaths[culprit] >= MAX_LOST_WORKERS:
            raise ClusterError(self._gave_up(culprit, error)) from error
        for ready in [one for one, (its, _) in self._under_way.items() if its is worker]:
            del self._under_way[ready]
        self._waiting.extendleft(reversed(worker.shards))
        self._workers.lose(worker)

    def _gave_up(self, part: int, error: BaseException) -> str:
        start = part * self._task.cache.shard_size
        stop = min(start + self._task.cache.shard_size, len(self._task.cache.corpus))
        return (
            f"{self._task.name}: shard {part} (documents at positions {start:,} to {stop - 1:,})"
            f" ended its worker {MAX_LOST_WORKERS} times, the last time with: {first_line(error)}"
            " Shards before and after it are kept. Look at the node's memory: ray status"
        )
