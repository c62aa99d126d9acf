"""Cells on the nodes of a cluster: all nodes encode the documents, then each cell gets a node."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from rankstone.benchmarks.dataset import Dataset
from rankstone.encodings.cache import EncodingCache
from rankstone.encodings.cache_key import corpus_material
from rankstone.execution.cluster.connection import connected
from rankstone.execution.cluster.encoder import About, encoders
from rankstone.execution.cluster.encoding import Task, encode, end
from rankstone.execution.cluster.failures import PassedError, checked, first_line, is_loss, mended
from rankstone.execution.cluster.nodes import Need, Node, Nodes, alive, grows
from rankstone.execution.cluster.parcels import Files, Parcel, Prepared, encodings, send
from rankstone.execution.cluster.seat import Measured, Seat
from rankstone.execution.forecasts.api_price import api_parts
from rankstone.execution.forecasts.capacity import refuse, refuse_large_models
from rankstone.execution.job import Job
from rankstone.execution.process import Limits, Outcome, error_info, failed, interrupted
from rankstone.execution.reporting import Reporter
from rankstone.execution.sweep import Cell, Machine, Machines
from rankstone.profiling.clock import Clock
from rankstone.profiling.device import AUTO
from rankstone.profiling.memory import RESIDENT_SHARE
from rankstone.progress import Progress
from rankstone.results.record import Forecast, RunRecord
from rankstone.runners.construct import build_runner
from rankstone.runners.objects.method import unpack
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.specs import MethodSpec
from rankstone.training.parts import recipes

ATTEMPTS = 3
"""Number of nodes that a cell may lose."""
FOLLOW_S = 0.5
STOP_S = 5.0
"""Seconds for a stopped cell to remove its files on its node."""
MOST_CELLS = 64
"""Number of cells that are followed concurrently."""


@dataclass(kw_only=True)
class Cluster(Machines):
    """The machines of a Ray cluster."""

    address: str = ""
    """As in `connected`."""
    device: str = AUTO
    """As in `Sweep`; `cpu` leaves the GPUs of the nodes unused."""
    cpus: float | None = None
    """CPUs of an encoder; None for those of its node."""
    nodes: Nodes = field(default_factory=Nodes)
    _known: Sequence[Machine] = ()
    _encoding: threading.Lock = field(default_factory=threading.Lock)
    _slicing: threading.Lock = field(default_factory=threading.Lock)
    _here: threading.Lock = field(default_factory=threading.Lock)

    def refuse_device(self, device: str) -> None:
        """Accept any: nodes use what they have."""

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Connect; ClusterError if a node lacks the package or has another version of it."""
        with connected(self.address):
            self.nodes.stopped.clear()
            interrupted.clear()
            self._known = self.kinds()
            try:
                yield
            finally:
                self.nodes.stopped.set()
                interrupted.clear()

    def each(self, cells: Sequence[Cell], reporter: Reporter) -> Iterator[RunRecord]:
        """Measure all cells concurrently, as nodes become free, and yield records in order."""
        shared = _SharedReporter(reporter)
        with ThreadPoolExecutor(min(len(cells), MOST_CELLS) or 1) as pool:
            running = [pool.submit(cell, shared.of()) for cell in cells]
            try:
                for one in running:
                    yield one.result()
            except BaseException:
                self.nodes.stopped.set()
                interrupted.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def kinds(self) -> Sequence[Machine]:
        """Return the kinds of the current nodes, or of this machine if there are none yet."""
        found = [self._machine(node) for node in alive() if self.nodes.facts(node) is not None]
        return list(dict.fromkeys(found)) or [Machine.this()]

    def refuse(self, forecast: Forecast, job: Job) -> None:
        """Raise DoesNotFitError if the disk of the cache here, or the memory of every node, is too
        small; otherwise a cell waits for a node with enough memory, or fails if there is none."""
        if _needs_this_machine(job.method):
            super().refuse(forecast, job)
            return
        nodes = alive()
        encoded = {"peak_rss_bytes": None, "disk_bytes": forecast.cache_bytes}
        refuse(forecast.model_copy(update=encoded), job)
        if nodes and not grows() and {node.device(self.device) for node in nodes} == {"cpu"}:
            there = job.model_copy(update={"device": "cpu"})
            refuse_large_models(there, int(_most_memory()), " on the largest node")

    def run(
        self,
        job: Callable[[], Job],
        forecast: Forecast | None,
        dataset: Dataset,
        limits: Limits,
        progress: Progress,
    ) -> tuple[Machine, Outcome]:
        """Encode the documents of a cell, and measure it on a node; errors become its outcome."""
        if _needs_this_machine(job().method):
            with self._here:
                return super().run(job, forecast, dataset, limits, progress)
        try:
            return self._run(job(), cell_need(forecast), dataset, limits, progress)
        except KeyboardInterrupt:
            raise
        except PassedError as passed:
            return self._known[0], passed.outcome
        except BaseException as error:
            return self._known[0], failed(mended(error))

    def _run(
        self, job: Job, need: Need, dataset: Dataset, limits: Limits, progress: Progress
    ) -> tuple[Machine, Outcome]:
        method = unpack(job.method, job.staging)
        parcel, files = Parcel.of(method)
        runner = build_runner(method)
        prepared = Prepared.of(job.task, job.sources)
        with self._encoding:  # the whole cluster encodes for one cell at a time
            self.nodes.pause(0)
            about, spent_s = self._encode(runner, job, dataset, parcel, files, limits, progress)
        limits = replace(limits, spent_s=spent_s)
        shards = [encodings(job.cache, one.key) for one in about]
        for some in shards:
            files |= some
        sent = job.model_copy(update={"prepared": prepared.facts})
        exact = runner.cacheable and about[0].described.get("index") == ExactIndex.DESCRIPTION
        size = sum(file.size for file in shards[0]) if exact else 0
        if size > RESIDENT_SHARE * _most_memory():
            return self._sliced(sent, size, need, parcel, prepared.files | files, limits, progress)
        return self._on_free_node(sent, need, parcel, prepared.files | files, limits, progress)

    def _encode(
        self,
        runner: Any,
        job: Job,
        dataset: Dataset,
        parcel: Parcel,
        files: Files,
        limits: Limits,
        progress: Progress,
    ) -> tuple[list[About], float]:
        """Encode the documents for a method; return its encoders as described by the nodes, and the
        elapsed seconds."""
        text = job.task.text if job.method.text is None else job.method.text
        found, spent_s = [], 0.0
        for number, encoder in enumerate(encoders(runner)):
            cache = EncodingCache(
                folder=job.cache / "encodings",
                corpus=_with_text(dataset, job),
                key_material=corpus_material(dataset.sha256["corpus"], text),
                clock=Clock(),
                progress=progress,
                use={"method": job.method.name, "task": job.task.name},
                unchanged=dataset.unchanged,
            )
            task = Task(
                name=f"{job.method.name} on {job.task.name}",
                parcel=parcel,
                files=files,
                number=number,
                cache=cache,
                need=self._encoder_need(encoder),
                cpus=self.cpus,
                limits=replace(limits, spent_s=spent_s),
            )
            about, elapsed_s = encode(task, self.nodes)
            found.append(about)
            spent_s += elapsed_s
        return found, spent_s

    def _encoder_need(self, encoder: Any) -> Need:
        """Return the resources of an encoder, including a GPU if the cluster has any it can use."""
        gpus = (
            self.device != "cpu"
            and "torch" in getattr(encoder, "requires", {})
            and any(n.gpus >= 1 for n in alive())
        )
        return Need(gpus=1) if gpus else Need(cpus=self.cpus or 1)

    def _sliced(
        self,
        job: Job,
        size: int,
        need: Need,
        parcel: Parcel,
        files: Files,
        limits: Limits,
        progress: Progress,
    ) -> tuple[Machine, Outcome]:
        """Measure with the vectors in the memory of further nodes; if there are too few nodes, the
        cell's node reads the vectors from disk."""
        import ray

        holders: list[Node] = []
        with self._slicing, contextlib.ExitStack() as held:
            while sum(map(_share, holders)) < size and (node := self.nodes.take(Need())):
                held.callback(self.nodes.give_back, node)
                holders.append(node)
            if sum(map(_share, holders)) < size or len(holders) == len(alive()):
                held.close()
                return self._on_free_node(job, need, parcel, files, limits, progress)
            address = ray.get_runtime_context().gcs_address
            sliced = job.model_copy(update={"slices": (address, *(one.id for one in holders))})
            return self._on_free_node(sliced, Need(gpus=need.gpus), parcel, files, limits, progress)

    def _on_free_node(
        self, job: Job, need: Need, parcel: Parcel, files: Files, limits: Limits, progress: Progress
    ) -> tuple[Machine, Outcome]:
        """Measure on an otherwise idle node; repeat on another one if the node is lost."""
        for _ in range(ATTEMPTS):
            with self.nodes.taken(need, progress) as node:
                try:
                    return self._machine(node), self._on(node, job, parcel, files, limits, progress)
                except Exception as error:
                    if not is_loss(error):
                        raise mended(error, node.host) from None
                    lost = f"node {node.host} was lost during the measurement: {first_line(error)}"
        message = f"{lost} That happened {ATTEMPTS} times. Look at: ray status"
        return self._known[0], Outcome(status="failed", error=error_info("NodeLost", message))

    def _on(
        self, node: Node, job: Job, parcel: Parcel, files: Files, limits: Limits, progress: Progress
    ) -> Outcome:
        import ray

        whole = {"num_cpus": node.resources["CPU"], "num_gpus": node.gpus}
        options = node.options(node.device(self.device), **whole, max_concurrency=4)
        seat = ray.remote(Seat).options(**options).remote()
        try:
            progress(f"send to {node.host}", 0, None)
            send(seat, files, self.nodes.get)
            here = {"threads": node.threads, "device": node.device(self.device)}
            there = job.model_copy(update=here)
            measuring = seat.measure.remote(there.model_dump_json(), parcel, limits)
            self._follow(seat, measuring, progress)
            return _kept(checked(ray.get(measuring)), job)
        finally:
            end(seat)

    def _follow(self, seat: Any, measuring: Any, progress: Progress) -> None:
        """Forward the progress of a cell until it ends; end the cell if the run is stopped."""
        import ray

        try:
            while not ray.wait([measuring], timeout=FOLLOW_S)[0]:
                self.nodes.pause(0)
                progress(*self.nodes.get(seat.progress.remote()))
        except KeyboardInterrupt:
            seat.stop.remote()
            ray.wait([measuring], timeout=STOP_S)
            raise

    def _machine(self, node: Node) -> Machine:
        facts = self.nodes.facts(node)
        return Machine(node.threads, facts.fingerprint if facts else "", node.device(self.device))


def _needs_this_machine(method: MethodSpec) -> bool:
    """Return True for methods on a server, whose budget is managed here, and for methods that are
    trained first, from collections that are here."""
    return bool(api_parts(method)) or any(True for _ in recipes(method))


def cell_need(forecast: Forecast | None) -> Need:
    """Return the resources of a cell: the memory of its forecast, and a GPU if it uses one."""
    if forecast is None:
        return Need()
    return Need(forecast.peak_rss_bytes or 0, gpus=float(forecast.gpu))


def _share(node: Node) -> float:
    """Return the number of bytes of vectors that a node may store."""
    return RESIDENT_SHARE * node.resources.get("memory", 0)


def _most_memory() -> float:
    return max((node.resources.get("memory", 0) for node in alive()), default=0)


def _with_text(dataset: Dataset, job: Job) -> Any:
    """Return the corpus under the method's text template, if it has one."""
    from rankstone.benchmarks.store import open_dataset

    if job.method.text is None:
        return dataset.corpus
    task = job.task.model_copy(update={"text": job.method.text})
    return open_dataset(task, job.sources).corpus


def _kept(measured: Measured, job: Job) -> Outcome:
    """Write the files of a cell to its folder here; return its outcome with local facts."""
    for name, content in measured.files.items():
        (job.staging / name).write_bytes(content)
    outcome = measured.outcome
    if outcome.measured is None:
        return outcome
    here = job.environment()
    commit = {"git_commit": here.git_commit, "git_dirty": here.git_dirty}
    there = outcome.measured.environment.model_copy(update=commit)
    changed = outcome.measured.model_copy(update={"environment": there})
    return Outcome(status="ok", measured=changed, peak_rss_bytes=outcome.peak_rss_bytes)


class _SharedReporter:
    """A reporter for concurrent cells: progress of one at a time, results of all."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter, self._lock = reporter, threading.Lock()
        self._followed: _CellReporter | None = None

    def of(self) -> Reporter:
        return _CellReporter(self)

    def progress(self, cell: _CellReporter, work: str, done: int, total: int | None) -> None:
        with self._lock:
            if self._followed is None:
                self._followed = cell
                self._reporter.started(cell.name)
            if self._followed is cell:
                self._reporter(work, done, total)

    def finished(
        self, cell: _CellReporter, record: RunRecord, *, reused: bool, seconds: float
    ) -> None:
        with self._lock:
            self._followed = None
            self._reporter.finished(record, reused=reused, seconds=seconds)


class _CellReporter:
    """The reporter of one of the concurrent cells."""

    def __init__(self, shared: _SharedReporter) -> None:
        self._shared, self.name = shared, ""

    def __call__(self, work: str, done: int, total: int | None, /) -> None:
        self._shared.progress(self, work, done, total)

    def started(self, cell: str) -> None:
        self.name = cell

    def finished(self, record: RunRecord, *, reused: bool, seconds: float) -> None:
        self._shared.finished(self, record, reused=reused, seconds=seconds)
