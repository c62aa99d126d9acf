"""The machine's peak FLOP/s, and figures that are unknown without it."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import pytest

from rankstone.encodings.metering import Efficiency, Kernel, efficiency
from rankstone.encodings.shards import Cost
from rankstone.profiling import peak_flops as peak
from rankstone.profiling.peak_flops import matmul_peak


@pytest.mark.parametrize("library", ["torch", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_peak_is_that_of_products_of_matrices(
    precision: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip(library)
    if library == "torch":
        monkeypatch.delitem(sys.modules, "openvino", raising=False)
    found = matmul_peak(precision)
    assert found is not None
    left = torch.ones((512, 512), dtype=torch.float32)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        left @ left
        times.append(time.perf_counter() - start)
    assert found > 0.02 * 2 * 512**3 / min(times)


def test_the_fastest_of_several_products_after_one_to_warm_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = iter([50.0, *[1.0] * 5, *[3.0] * 4])
    now = [0.0]
    monkeypatch.setattr(peak, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(peak, "BUDGET_S", 1e9)

    def product() -> None:
        now[0] += next(steps)

    assert peak._fastest(product, lambda: None) == 1.0


def test_one_product_that_takes_long_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(peak, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def product() -> None:
        now[0] += 7.0

    assert peak._fastest(product, lambda: None) == 7.0


def test_unknown_without_torch_or_a_known_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    for precision, device in (("int8", "cpu"), ("fp16", "cpu"), ("fp32", "mps")):
        assert matmul_peak(precision, device) is None
    for library in ("torch", "openvino"):
        monkeypatch.delitem(sys.modules, library, raising=False)
    assert matmul_peak("fp32") is None
    assert Kernel(None, "cpu").peak() is None
    assert "torch" not in sys.modules


def test_a_kernel_is_that_of_the_runner_s_description() -> None:
    assert Kernel.of({"precision": "bf16", "dtype": "float32", "device": "cuda"}) == (
        "bf16",
        "cuda",
    )
    assert Kernel.of({"dtype": "bfloat16"}) == ("bf16", "cpu")
    assert Kernel.of({"name": "tokens"}) == (None, "cpu")


def cost(**changes: object) -> Cost:
    return Cost(2.0, 3.0, None)._replace(
        **{"flops": 10.0, "peak_flops_per_s": 50.0, "hardware": "a", **changes}
    )


def test_utilisation_is_flops_by_seconds_by_peak() -> None:
    costs = [cost(), cost(wall_s=3.0, peak_flops_per_s=30.0)]
    assert efficiency(costs, hardware="a") == (40.0, pytest.approx(20 / 5 / 40))
    assert efficiency([*costs, cost(flops=None, wall_s=9.0)], hardware="a").peak_flops_per_s == 40.0


@pytest.mark.parametrize(
    "costs",
    [[], [cost(flops=None)], [cost(), cost(peak_flops_per_s=None)], [cost(), cost(hardware="b")]],
)
def test_utilisation_is_unknown_otherwise(costs: list[Cost]) -> None:
    assert efficiency(costs, hardware="a") == Efficiency(None, None)
