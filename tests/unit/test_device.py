"""Choice of the device, from method, command line, environment and torch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from rankstone.errors import DefinitionError
from rankstone.profiling import device
from rankstone.profiling.device import check, for_search, free_bytes, kind, memory_errors, resolve

GIB = 2**30


class Cuda:
    """Fake of `torch.cuda` with two cards; torch has reserved 5 GiB and uses 2."""

    free = 60 * GIB
    emptied = waited = 0

    def is_available(self):
        return True

    is_initialized = is_available

    def device_count(self):
        return 2

    def mem_get_info(self, name):
        return self.free, 80 * GIB

    def memory_reserved(self, name):
        return 5 * GIB

    def memory_allocated(self, name):
        return 2 * GIB

    def empty_cache(self):
        self.emptied += 1

    def synchronize(self):
        self.waited += 1


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A fake of torch, on a machine that seems to have a GPU."""
    fake = SimpleNamespace(
        cuda=Cuda(),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: False)),
        OutOfMemoryError=type("OutOfMemoryError", (RuntimeError,), {}),
    )
    monkeypatch.delenv(device.VARIABLE, raising=False)
    monkeypatch.setattr(device, "TRACES", (str(Path(__file__)),))
    monkeypatch.setattr(device, "_torch", lambda: fake)
    monkeypatch.setattr(device, "loaded_cuda", lambda: fake.cuda)
    return fake


def test_the_method_goes_before_the_variable_and_that_before_the_best(torch, monkeypatch) -> None:
    assert resolve() == resolve("auto") == "cuda"
    monkeypatch.setenv(device.VARIABLE, "cuda:1")
    assert (resolve(), resolve("auto"), resolve("cpu"), kind(resolve())) == (
        "cuda:1", "cuda:1", "cpu", "cuda"
    )  # fmt: skip
    monkeypatch.setenv(device.VARIABLE, "gpu0")
    with pytest.raises(DefinitionError, match="RANKSTONE_DEVICE: 'gpu0' is not a device"):
        resolve()


def test_the_best_is_cuda_then_mps_then_the_cpu(torch, monkeypatch) -> None:
    torch.cuda.is_available = lambda: False
    assert resolve() == "cpu"
    torch.backends.mps.is_available = lambda: True
    assert resolve() == "mps"
    monkeypatch.setattr(device, "TRACES", ())
    monkeypatch.delattr(device, "_torch")  # without a trace of a GPU torch is not imported
    assert resolve() == "cpu"


def test_a_device_that_torch_does_not_see_is_refused(torch) -> None:
    for name in ("cpu", "cuda", "cuda:1"):
        check(name)
    for name in ("cuda:2", "mps"):
        with pytest.raises(DefinitionError, match=f"'{name}': torch finds cpu, cuda, cuda:0, cuda"):
            check(name)


def test_free_memory_counts_what_torch_holds_unused(torch) -> None:
    assert free_bytes("cuda:1") == 63 * GIB
    assert min(free_bytes("mps"), free_bytes("cpu")) > GIB // 8


@pytest.mark.parametrize(
    ("name", "size", "chosen"),
    [
        ("cuda:1", 31 * GIB, "cuda:1"),
        ("cuda:1", 32 * GIB, "cpu"),  # beyond half of what is free
        ("cuda", 2**22, "cpu"),  # too small to be worth a transfer
        ("mps", GIB, "cpu"),
        ("cpu", GIB, "cpu"),
    ],
)
def test_vectors_are_searched_on_a_gpu_where_it_pays_and_fits(torch, name, size, chosen) -> None:
    assert for_search(name, size) == chosen


def test_a_lack_of_memory_is_a_memory_error_with_advice(torch) -> None:
    for error in (torch.OutOfMemoryError("x"), RuntimeError("MPS backend out of memory")):
        with pytest.raises(MemoryError, match="Lower it"), memory_errors("Lower it."):
            raise error
    assert torch.cuda.emptied == 2
    with pytest.raises(RuntimeError, match="other"), memory_errors("Lower it."):
        raise RuntimeError("other")
