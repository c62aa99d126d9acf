"""This machine's own peak of floating-point operations, as its matrix products show it."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

SIZES = {"cpu": 1024, "cuda": 8192}
"""Rows and columns of the matrices: large enough for the kernels to reach their peak."""
DTYPES = {
    "cpu": {"fp32": "float32", "bf16": "bfloat16"},
    "cuda": {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"},
}
ROUNDS = 9
BUDGET_S = 0.5


def matmul_peak(precision: str, device: str = "cpu") -> float | None:
    """FLOP/s of the median of a few products of square matrices, by torch, within a second.

    Threads and the kind of product (TF32 or not) are as torch is set now. None where torch is not
    loaded, or the precision or device is none of `DTYPES`.
    """
    torch = sys.modules.get("torch")
    name = DTYPES.get(device, {}).get(precision)
    if torch is None or name is None:
        return None
    size = SIZES[device]
    with torch.inference_mode():
        left, right = (
            torch.ones((size, size), dtype=getattr(torch, name), device=device) for _ in range(2)
        )
        seconds = _median(lambda: torch.mm(left, right), _wait(torch, device))
    return 2.0 * size**3 / seconds


def _wait(torch: Any, device: str) -> Callable[[], object]:
    """What returns when the device has done all it was told."""
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def _median(product: Callable[[], object], wait: Callable[[], object]) -> float:
    """Seconds of one product, after one to warm up."""
    times: list[float] = []
    deadline = time.perf_counter() + BUDGET_S
    for number in range(ROUNDS + 1):
        start = time.perf_counter()
        product()
        wait()
        end = time.perf_counter()
        if number or end > deadline:
            times.append(end - start)
        if end > deadline:
            break
    return statistics.median(times)
