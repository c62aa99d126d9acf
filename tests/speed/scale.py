"""The whole job at MS MARCO's size: generate, prepare, BM25 and a static encoder, up to records.

    make scale                      8.8 million passages
    make scale PASSAGES=880000      a tenth

The job is `rankstone run bm25 wordllama-256`. It is killed with all its processes when half of the
vectors are stored, and the same command is run again; seconds are those of both. Then the encoder
runs once more without a kill, from an empty cache of vectors: quality, run and values per query
must be those of the record of the killed job. Exit status 1 if that is not so, or a limit is
exceeded. Memory is the resident size of all processes together, mapped files included.

The full size needs about 30 GB of disk, under RANKSTONE_CACHE or the temporary folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from rankstone.files import GIB  # noqa: E402
from rankstone.profiling.machine import affinity, cpu_name, fingerprint  # noqa: E402
from rankstone.results.record import RunRecord  # noqa: E402
from rankstone.results.store import ResultStore  # noqa: E402
from tests.speed.bench_scale import make_collection  # noqa: E402

PASSAGES = 8_800_000
STATIC = "dense/wordllama-256"
METHODS = ("lexical/bm25", STATIC)
LIMIT_S, LIMIT_BYTES = 90 * 60, 12 * GIB
SHARD = 1024
EVERY_S, REPORT_S = 0.25, 30.0
TASK = """
[tasks.passages]
description = "Generated passages of MS MARCO's lengths."
loader = "beir"
split = "dev"
text = "{text}"
measures = ["RR@10", "nDCG@10", "R@100", "R@1000"]
"""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One run of a command."""

    wall_s: float
    peak_bytes: int
    """Of all its processes together, at the moments when they were looked at."""
    killed: bool


@dataclass(frozen=True)
class Job:
    """A generated collection, and the folders in which it is prepared and measured."""

    folder: Path
    passages: int

    @property
    def vectors(self) -> Path:
        return self.folder / "cache" / "encodings"

    def make(self) -> None:
        (self.folder / "benchmarks").mkdir(parents=True)
        (self.folder / "benchmarks" / "generated.toml").write_text(TASK)
        make_collection(self.folder / "data" / "generated" / "passages", self.passages)

    def command(self, *arguments: str) -> list[str]:
        folders = [f"--{name}={self.folder / name}" for name in ("data", "cache")]
        return [sys.executable, "-m", "rankstone", *arguments, *folders]

    def run(
        self, *methods: str, results: str = "results", kill: Callable[[], bool] = lambda: False
    ) -> Ran:
        """Run `methods` until they are done, or until `kill` says so."""
        where = f"--results={self.folder / results}"
        command = self.command("run", *methods, "--on", "passages", where)
        process = psutil.Popen(command, cwd=self.folder, start_new_session=True)
        started = reported = monotonic()
        peak, killed = 0, False
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired, psutil.TimeoutExpired):
                    process.wait(EVERY_S)
                resident = sum(map(resident_bytes, family(process)))
                peak = max(peak, resident)
                if monotonic() - reported > REPORT_S:
                    reported = monotonic()
                    say(f"{reported - started:6.0f} s  {resident / GIB:5.2f} GiB  {self.stored()}")
                if kill():
                    killed = True
                    break
        finally:
            end(process)
        if not killed and process.returncode:
            raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
        return Ran(wall_s=monotonic() - started, peak_bytes=peak, killed=killed)

    def shards(self) -> int:
        return sum(
            entry.endswith(".shard") for _, _, names in os.walk(self.vectors) for entry in names
        )

    def stored(self) -> str:
        return f"{self.shards():,} of {-(-self.passages // SHARD):,} shards of vectors"

    def half_encoded(self) -> bool:
        return self.shards() * SHARD >= self.passages / 2

    def records(self, results: str = "results") -> dict[str, RunRecord]:
        """Records by method; all must be readable, and of success."""
        found = dict[str, RunRecord]()
        for one in ResultStore(self.folder / results).each():
            if not isinstance(one, RunRecord):
                raise SystemExit(f"a record cannot be read, is the code still the same? {one}")
            if one.status != "ok":
                raise SystemExit(f"{one.method.name}: {one.failure()}")
            found[one.method.name] = one
        return found


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def family(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def resident_bytes(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def end(process: psutil.Process) -> None:
    """Kill the group of `process` and all that it started, which has groups of its own."""
    members = family(process)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(members, timeout=60)


def phases(record: RunRecord) -> dict[str, dict[str, Any]]:
    """Figures of each phase of a record."""
    assert record.profile is not None
    keys = {"wall_s", "cpu_s", "items", "peak_rss_bytes", "from_cache"}
    return {name: phase.model_dump(include=keys) for name, phase in record.profile.phases.items()}


def quality(record: RunRecord) -> dict[str, Any]:
    """All that a kill must not change."""
    body = record.model_dump(mode="json", include={"key", "measures", "queries", "truncation"})
    files = record.files
    return {**body, "run": files.run_sha256, "per_query": files.per_query_sha256}


def machine() -> dict[str, Any]:
    total = psutil.virtual_memory().total
    cores = len(affinity() or ())
    return {"fingerprint": fingerprint(), "cpu": cpu_name(), "cores": cores, "ram_bytes": total}


def whole_job(job: Job, *, reference: bool = True) -> dict[str, Any]:
    """Run, kill, run again, and compare; all figures, and `faults`, which is empty if all is well.

    Making the collection, and the run that is compared with, are not part of the seconds.
    """
    say(f"generating {job.passages:,} passages in {job.folder}")
    started = monotonic()
    job.make()
    generated = monotonic() - started
    say(f"generated in {generated:.0f} s; running until half of the vectors are stored")
    first = job.run(*METHODS, kill=job.half_encoded)
    say(f"killed after {first.wall_s:.0f} s; running again")
    second = job.run(*METHODS)
    records = job.records()
    report = {
        "passages": job.passages,
        "machine": machine(),
        "generated_s": generated,
        "wall_s": first.wall_s + second.wall_s,
        "killed_after_s": first.wall_s if first.killed else None,
        "peak_bytes": max(first.peak_bytes, second.peak_bytes),
        "phases": {name: phases(record) for name, record in records.items()},
        "index_bytes": {name: index_bytes(record) for name, record in records.items()},
        "quality": {name: quality(record) for name, record in records.items()},
    }
    faults = list(limits_exceeded(report))
    if not records[STATIC].provenance.resumed:
        faults.append("the record does not say that it was resumed: it was killed too late")
    if reference:
        say("running the encoder again without a kill, from an empty cache of vectors")
        shutil.rmtree(job.vectors)
        report["reference_s"] = job.run(STATIC, results="reference").wall_s
        if quality(job.records("reference")[STATIC]) != quality(records[STATIC]):
            faults.append("the record of the killed job differs from that of one without a kill")
    return {**report, "faults": faults}


def index_bytes(record: RunRecord) -> int | None:
    return record.profile.index.memory_bytes if record.profile and record.profile.index else None


def limits_exceeded(report: dict[str, Any]) -> Iterator[str]:
    if report["wall_s"] > LIMIT_S:
        yield f"{report['wall_s'] / 60:.0f} minutes, more than {LIMIT_S / 60:.0f}"
    if report["peak_bytes"] > LIMIT_BYTES:
        yield f"{report['peak_bytes'] / GIB:.1f} GiB, more than {LIMIT_BYTES // GIB}"


def table(report: dict[str, Any]) -> Iterator[str]:
    """Lines of a Markdown table: seconds and peak of each phase."""
    yield "| method | phase | wall s | CPU s | peak GiB |"
    yield "|---|---|---:|---:|---:|"
    for method, found in report["phases"].items():
        for phase, figures in found.items():
            peak = (figures["peak_rss_bytes"] or 0) / GIB
            times = f"{figures['wall_s']:,.0f} | {figures['cpu_s'] or 0:,.0f}"
            yield f"| {method} | {phase} | {times} | {peak:.2f} |"


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    cache = os.environ.get("RANKSTONE_CACHE")
    with tempfile.TemporaryDirectory(prefix="rankstone-scale-", dir=cache or None) as folder:
        yield Path(folder)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="The whole job, killed once and resumed.")
    parser.add_argument("--passages", type=int, default=PASSAGES)
    parser.add_argument("--no-reference", action="store_true", help="compare with no other run")
    parser.add_argument("--report", type=Path, help="JSON file for all figures")
    options = parser.parse_args(arguments)
    with scratch() as folder:
        report = whole_job(Job(folder, options.passages), reference=not options.no_reference)
    if options.report:
        options.report.write_text(json.dumps(report, indent=1) + "\n")
    for line in table(report):
        say(line)
    say(f"{report['wall_s'] / 60:.1f} minutes, {report['peak_bytes'] / GIB:.2f} GiB at most")
    for fault in report["faults"]:
        say(f"FAILED: {fault}")
    return bool(report["faults"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
