"""A generated collection of MS MARCO's size and lengths: prepared, opened, streamed, fetched from.

Each step runs in a process of its own, so that its peak resident size is its own. Limits on
seconds, bytes and rates are those of the mission for 8.8 million passages; the growth from an
eighth of the size upwards is extrapolated to 21 million, the size of DPR's Wikipedia. BEIR's own
loader reads a tenth of the collection beside ours.

    RANKSTONE_SCALE=0.02 python tests/speed/run.py scale     a quick look at a fiftieth of the size

The full size needs about 12 GB of disk for some minutes, under RANKSTONE_CACHE or the temporary
folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np

from rankstone.benchmarks.dataset import Dataset, Sources, walk
from rankstone.files import GIB
from rankstone.profiling.memory import peak_rss
from rankstone.specs import TaskSpec

SCALE = float(os.environ.get("RANKSTONE_SCALE", "1.0"))
N_PASSAGES, N_LARGEST = 8_841_823, 21_015_324
N_QUERIES, N_JUDGEMENTS = 6980, 7437
FRACTIONS = (1 / 8, 1 / 4, 1 / 2, 1)
MEAN_WORDS, WORDS_SHAPE, FEWEST, MOST = 56.3, 6.0, 5, 362
"""Words of a passage: a gamma distribution, cut at a few and at the longest of MS MARCO."""
N_VOCABULARY, N_RUNNING = 60_000, 2_000_000
CHUNK = 100_000
N_FETCHED = 10_000
REPEATS = 3
TASK = TaskSpec(
    name="generated/passages",
    description="",
    loader="beir",
    dataset="passages",
    split="dev",
    text="{text}",
)


class RunningText(NamedTuple):
    """Text, as JSON spells it, whose words follow Zipf's law; passages are cut from it."""

    text: str
    starts: np.ndarray
    """(N_RUNNING + 1,) where each word starts; the last is one past a space behind the text."""


def running_text(rng: np.random.Generator) -> RunningText:
    letters = np.array(list("etaoinshrdlucmfwypvb"))
    words = ["".join(rng.choice(letters, n)) for n in 2 + rng.binomial(6, 0.47, N_VOCABULARY)]
    for row in range(200, N_VOCABULARY, 300):
        words[row] += "é"
    for row in range(150, N_VOCABULARY, 300):
        words[row] = f'\\"{words[row]}\\"'
    for row in range(3, N_VOCABULARY, 9):
        words[row] += ",."[row % 2]
    weight = np.cumsum(1 / np.arange(10, N_VOCABULARY + 10))
    drawn = np.searchsorted(weight, rng.random(N_RUNNING) * weight[-1])
    lengths = np.array([len(word) + 1 for word in words])[drawn]
    return RunningText(" ".join([words[w] for w in drawn]), np.cumsum([0, *lengths]))


def make_collection(folder: Path, n: int) -> None:
    """The collection of `n` passages in BEIR layout; equal for equal `n`."""
    rng = np.random.default_rng(0)
    source = running_text(rng)
    (folder / "qrels").mkdir(parents=True)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for start in range(0, n, CHUNK):
            file.write("".join(passage_lines(rng, source, start, min(start + CHUNK, n))))
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as file:
        for row, (first, last) in enumerate(cuts(rng, source, np.full(N_QUERIES, 6))):
            file.write(f'{{"_id": "q{row}", "text": "{source.text[first:last]}"}}\n')
    judged = rng.choice(n, N_JUDGEMENTS, replace=False).tolist()
    rows = [f"q{row % N_QUERIES}\t{document}\t1\n" for row, document in enumerate(judged)]
    (folder / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))


def passage_lines(
    rng: np.random.Generator, source: RunningText, start: int, stop: int
) -> list[str]:
    drawn = rng.gamma(WORDS_SHAPE, MEAN_WORDS / WORDS_SHAPE, stop - start)
    places = cuts(rng, source, np.clip(drawn.round().astype(int), FEWEST, MOST))
    text = source.text
    return [
        f'{{"_id": "{row}", "title": "", "text": "{text[first:last]}", "metadata": {{}}}}\n'
        for row, (first, last) in enumerate(places, start)
    ]


def cuts(
    rng: np.random.Generator, source: RunningText, n_words: np.ndarray
) -> Iterator[tuple[int, int]]:
    """Where runs of so many words start and stop in the running text."""
    first = rng.integers(0, N_RUNNING - MOST, len(n_words))
    stops = source.starts[first + n_words] - 1
    return zip(source.starts[first].tolist(), stops.tolist(), strict=True)


def opened(root: Path) -> Dataset:
    from rankstone.benchmarks.store import open_dataset

    return open_dataset(TASK, Sources(data=root / "data", cache=root / "cache"))


def prepare(root: Path) -> dict[str, float]:
    """Convert where there is no copy yet, and open; the CPU time is that of all threads.

    The time of importing the store, pyarrow and pandas is part of it.
    """
    started, before = perf_counter(), process_time()
    n = len(opened(root).corpus)
    wall, cpu = perf_counter() - started, process_time() - before
    return {"n": n, "wall_s": wall, "cpu_s": cpu, "rss": resident()}


class CoreTime:
    """Seconds that the threads of this process were on a core, or ready and waiting for one.

    Both are the kernel's own count. Waiting is counted because others may use the machine too: it
    is what this process would have run on idle cores. Threads are looked at every 10 ms, as what
    is known of one goes when it ends.
    """

    def __enter__(self) -> CoreTime:
        self._last: dict[str, int] = {}
        self._stop = threading.Event()
        self._look()
        self._first = dict(self._last)
        self._watch = threading.Thread(target=self._follow)
        self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._watch.join()
        self._last.pop(str(self._watch.native_id), None)

    def seconds(self) -> float:
        return sum(ns - self._first.get(task, 0) for task, ns in self._last.items()) / 1e9

    def _follow(self) -> None:
        while not self._stop.wait(0.01):
            self._look()
        self._look()

    def _look(self) -> None:
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):  # ended in between
                running, waiting, _ = (task / "schedstat").read_text().split()
                self._last[task.name] = int(running) + int(waiting)


def convert(root: Path) -> dict[str, float]:
    """Convert anew, with nothing left to import: how long it takes, and how many cores it is on."""
    import pandas  # noqa: F401  (pyarrow loads it when it first meets a Python string)
    import pyarrow.json  # noqa: F401

    import rankstone.benchmarks.store  # noqa: F401

    shutil.rmtree(root / "cache", ignore_errors=True)
    with CoreTime() as spent:
        found = prepare(root)
    return {**found, "cores": spent.seconds() / found["wall_s"]}


def convert_line_by_line(root: Path) -> dict[str, float]:
    """The same by Python's json, which is one core's work, and without the blocks of Arrow."""
    from rankstone.benchmarks import store

    find = store.find_raw
    store.find_raw = lambda task, sources: replace(find(task, sources), document_blocks=None)
    return convert(root)


def read(root: Path) -> dict[str, float]:
    """All texts in order, then texts at random from what the page cache now holds."""
    corpus = opened(root).corpus
    started = perf_counter()
    n = sum(map(len, walk(corpus)))
    streamed = perf_counter()
    chosen, before = np.random.default_rng(1).integers(0, n, (2, N_FETCHED))
    corpus.take(before)
    warm = perf_counter()
    corpus.take(chosen)
    return {"rate": n / (streamed - started), "fetch_s": perf_counter() - warm, "rss": resident()}


def load_by_beir(root: Path) -> dict[str, float]:
    from beir.datasets.data_loader import GenericDataLoader

    started = perf_counter()
    corpus, _, _ = GenericDataLoader(str(root / "data" / TASK.dataset)).load(split=TASK.split)
    return {"n": len(corpus), "wall_s": perf_counter() - started, "rss": resident()}


def resident() -> int:
    peak = peak_rss()
    if peak is None:
        raise RuntimeError("the kernel shows no high-water mark here")
    return peak


STEPS: dict[str, Callable[[Path], dict[str, float]]] = {
    step.__name__: step for step in (prepare, convert, convert_line_by_line, read, load_by_beir)
}


def measured(step: Callable[[Path], dict[str, float]], root: Path) -> dict[str, float]:
    """What `step` returns in a fresh process, and as `process_s` the whole time of that process."""
    command = [sys.executable, __file__, step.__name__, str(root)]
    started = perf_counter()
    quiet = {**os.environ, "TQDM_DISABLE": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=quiet)
    return {**json.loads(done.stdout), "process_s": perf_counter() - started}


def against_beir(root: Path) -> Iterator[str]:
    """Ours is the first time, with conversion, and then any later one; theirs is every time."""
    make_collection(root / "data" / TASK.dataset, int(N_PASSAGES * SCALE / 10))
    rounds = []
    for _ in range(REPEATS):
        ours, again, theirs = (measured(s, root) for s in (prepare, prepare, load_by_beir))
        shutil.rmtree(root / "cache")
        rounds.append(
            (
                ours["rss"] / theirs["rss"],
                ours["process_s"] / theirs["process_s"],
                again["process_s"] / theirs["process_s"],
            )
        )
    memory, first, later = (statistics.median(ratios) for ratios in zip(*rounds, strict=True))
    peer = "beir.GenericDataLoader"
    yield f"speed scale_memory ratio={memory:.2f} goal=<=0.5 peer={peer}"
    yield f"speed scale_first_time ratio={first:.2f} goal=<=2 peer={peer}"
    yield f"speed scale_later_times ratio={later:.2f} goal=<=0.5 peer={peer}"


def cores(root: Path) -> Iterator[str]:
    """Cores in use, and how much sooner and with how much less work it is done by blocks.

    There is one process, so its peak size and its time are all there is.
    """
    rounds = []
    for _ in range(REPEATS):
        ours, theirs = (measured(step, root) for step in (convert, convert_line_by_line))
        ratios = (theirs[key] / ours[key] for key in ("wall_s", "cpu_s"))
        rounds.append((ours["cores"], *ratios))
    busy, wall, cpu = (statistics.median(ratios) for ratios in zip(*rounds, strict=True))
    yield f"speed scale_prepare_cores ratio={busy:.2f} goal=>=1.4 peer=1 core"
    yield f"speed scale_prepare_speedup ratio={wall:.2f} goal=>=2 peer=line by line"
    yield f"speed scale_prepare_cpu ratio={cpu:.2f} goal=>=1.5 peer=line by line"


def growth(sizes: list[dict[str, float]]) -> Iterator[str]:
    """The largest size against the smallest, and a line through all of them."""
    pace = [size["wall_s"] / size["n"] for size in sizes]
    n, rss = ([size[key] for size in sizes] for key in ("n", "rss"))
    slope, base = np.polyfit(n, rss, 1)
    at_largest = max(base + slope * N_LARGEST, rss[-1]) / GIB
    label = f"an eighth of the size ({sizes[-1]['n'] / sizes[-1]['wall_s']:,.0f} passages/s whole)"
    yield f"speed scale_prepare_growth ratio={pace[-1] / pace[0]:.2f} goal=<=1.3 peer={label}"
    yield f"speed scale_prepare_rss_21M ratio={at_largest:.2f} goal=<=1 peer=1GiB"


def hashed_s(folder: Path) -> float:
    """Seconds to read and hash the files of a folder, one after the other."""
    started = perf_counter()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                hashlib.file_digest(file, "sha256")
    return perf_counter() - started


def whole_size(root: Path) -> Iterator[str]:
    """Every fraction is prepared; the last of them, the whole, is then opened and read."""
    sizes = []
    for fraction in FRACTIONS:
        shutil.rmtree(root, ignore_errors=True)
        make_collection(root / "data" / TASK.dataset, int(N_PASSAGES * SCALE * fraction))
        sizes.append(measured(prepare, root))
    whole = sizes[-1]
    yield f"speed scale_prepare_rss ratio={whole['rss'] / GIB:.2f} goal=<=1 peer=1GiB"
    yield from growth(sizes)
    first, later = (measured(prepare, root)["wall_s"] for _ in range(2))
    peer = "SHA-256 of the copy"  # which the first opening verifies, and later ones need not
    ratio = first / hashed_s(root / "cache")
    yield f"speed scale_first_open ratio={ratio:.2f} goal=<=1.5 peer={peer}"
    yield f"speed scale_open ratio={later:.2f} goal=<=1 peer=1s"
    texts = measured(read, root)
    rate = texts["rate"] / 200_000
    yield f"speed scale_stream ratio={rate:.1f} goal=>=1 peer=200,000 passages/s"
    yield f"speed scale_fetch ratio={texts['fetch_s']:.2f} goal=<=1 peer=1s for 10,000 texts"


def lines() -> Iterator[str]:
    cache = os.environ.get("RANKSTONE_CACHE")
    with tempfile.TemporaryDirectory(prefix="rankstone-scale-", dir=cache or None) as folder:
        yield from against_beir(Path(folder) / "tenth")
        yield from cores(Path(folder) / "tenth")
        shutil.rmtree(Path(folder) / "tenth")
        yield from whole_size(Path(folder) / "whole")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(STEPS[sys.argv[1]](Path(sys.argv[2]))))
