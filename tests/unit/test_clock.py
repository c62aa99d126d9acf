"""The clock counts self time."""

import mmap
import sys
import time
from types import SimpleNamespace

import pytest

from rankstone.profiling import clock as clock_module
from rankstone.profiling.clock import Clock
from rankstone.profiling.memory import peak_gpu, peak_rss, reset_peak_gpu


class Hands:
    """Clock of a machine, advanced by hand."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def wait(self, seconds: float) -> None:
        self.wall += seconds

    def work(self, seconds: float) -> None:
        self.wall += seconds
        self.cpu += 2 * seconds  # on two cores


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    hands = Hands()
    read = {"perf_counter": lambda: hands.wall, "process_time": lambda: hands.cpu}
    monkeypatch.setattr(clock_module, "time", SimpleNamespace(**read))
    return hands


def test_nested_phases_are_exclusive(hands: Hands) -> None:
    clock = Clock()
    with clock.phase("index", items=2):
        hands.work(2)
        with clock.phase("encode_documents", items=5):
            hands.work(5)
        hands.work(2)
    phases = clock.phases()
    assert (phases["encode_documents"].wall_s, phases["index"].wall_s) == (5, 4)
    assert (phases["index"].items, phases["encode_documents"].items) == (2, 5)


def test_phases_add_up_to_the_whole() -> None:
    clock = Clock()
    start = time.perf_counter()
    with clock.phase("a"):
        for _ in range(20):
            with clock.phase("b"):
                sum(range(20_000))
    whole = time.perf_counter() - start
    counted = sum(phase.wall_s for phase in clock.phases().values())
    assert 0 < counted <= whole


def test_a_paused_clock_charges_nothing(hands: Hands) -> None:
    clock = Clock()
    with clock.phase("a"):
        with clock.pause(), clock.phase("b"):
            hands.work(9)
        with clock.phase("c"):
            hands.work(1)
    assert {name: phase.wall_s for name, phase in clock.phases().items()} == {"a": 0, "c": 1}


def test_cpu_time_is_work_not_waiting(hands: Hands) -> None:
    clock = Clock()
    with clock.phase("a"):
        hands.wait(7)
        hands.work(1)
    phase = clock.phases()["a"]
    assert (phase.wall_s, phase.cpu_s) == (8, 2)


def test_cached_items_carry_the_cost_of_their_filling() -> None:
    clock = Clock()
    clock.add_cached("encode_documents", 30, wall_s=2.0, cpu_s=3.0, peak_rss_bytes=7)
    with clock.phase("encode_documents", items=10):
        pass
    phase = clock.phases()["encode_documents"]
    assert phase.wall_s == pytest.approx(2.0, abs=0.01)
    assert (phase.items, phase.from_cache) == (40, 0.75)


@pytest.mark.skipif(peak_rss() is None, reason="the kernel shows no high-water mark here")
def test_the_peak_belongs_to_the_phase_that_reached_it() -> None:
    clock = Clock()
    with clock.phase("small"):
        pass
    # Fresh pages, whatever was freed before.
    with clock.phase("large"), mmap.mmap(-1, 40_000_000) as pages:
        pages[:] = bytes(40_000_000)
    with clock.phase("after"):
        pass
    peaks = {name: phase.peak_rss_bytes or 0 for name, phase in clock.phases().items()}
    assert peaks["large"] - peaks["small"] > 30_000_000
    assert peaks["large"] - peaks["after"] > 30_000_000


class Cuda:
    """Two devices; `allocate` moves the high-water mark of the second."""

    def __init__(self, available=True):
        self.available, self.now, self.peak = available, 100, 100

    def is_available(self):
        return self.available

    is_initialized = is_available

    def synchronize(self):
        self.waited = True

    def device_count(self):
        return 2

    def max_memory_allocated(self, device):
        return self.peak if device == 1 else 7

    def reset_peak_memory_stats(self, device):
        self.peak = self.now if device == 1 else self.peak

    def allocate(self, size):
        self.peak = max(self.peak, self.now + size)


def test_gpu_memory_belongs_to_the_phase_that_reached_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda()
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    clock = Clock()
    with clock.phase("small"):
        cuda.allocate(5)
    with clock.phase("large"):
        cuda.allocate(1000)
        with clock.pause():
            cuda.allocate(5000)
    with clock.phase("none"):
        pass
    clock.add_cached("none", 1, wall_s=0, cpu_s=0, peak_rss_bytes=None, peak_gpu_bytes=300)
    peaks = {name: phase.peak_gpu_bytes for name, phase in clock.phases().items()}
    assert peaks == {"small": 112, "large": 1107, "none": 300}


@pytest.mark.parametrize("torch", [None, SimpleNamespace(cuda=Cuda(available=False))])
def test_gpu_memory_is_unknown_without_a_gpu(monkeypatch: pytest.MonkeyPatch, torch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    if torch is not None:
        monkeypatch.setitem(sys.modules, "torch", torch)
    clock = Clock()
    with clock.phase("a"):
        reset_peak_gpu()
    assert peak_gpu() is clock.phases()["a"].peak_gpu_bytes is None
    assert torch is not None or "torch" not in sys.modules


def test_work_is_summed_and_unknown_if_not_reported() -> None:
    clock = Clock()
    with clock.phase("a"):
        clock.add_work("a", tokens=3, flops=1.5)
        clock.add_work("a", tokens=None, flops=None)
        with clock.pause():
            clock.add_work("a", tokens=100, flops=100.0)
    clock.add_cached("a", 1, wall_s=0, cpu_s=0, peak_rss_bytes=None, tokens=4, flops=2.0)
    with clock.phase("b"):
        clock.add_work("b", tokens=None, flops=None)
    phases = clock.phases()
    assert (phases["a"].tokens, phases["a"].flops) == (7, 3.5)
    assert (phases["b"].tokens, phases["b"].flops) == (None, None)


def test_a_listener_hears_entries_and_returns() -> None:
    heard: list[tuple[str, int, int | None]] = []
    clock = Clock(lambda *event: heard.append(event))
    with clock.phase("a"), clock.phase("b"):
        pass
    assert heard == [("a", 0, None), ("b", 0, None), ("a", 0, None)]
