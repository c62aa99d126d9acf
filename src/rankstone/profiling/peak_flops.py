"""This machine's own peak of floating-point operations, as its matrix products show it.

The product is made by the library that encoded, for only that one is loaded, and its kernels are
the ones whose use is judged.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rankstone.profiling.machine import usable_cores

Action = Callable[[], object]

SIZES = {"cpu": 1024, "cuda": 8192}
"""Rows and columns of the matrices: large enough for the kernels to reach their peak."""
DTYPES = {
    "cpu": {"fp32": "float32", "bf16": "bfloat16"},
    "cuda": {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"},
}
ROUNDS = 9
BUDGET_S = 0.5


def matmul_peak(precision: str, device: str = "cpu") -> float | None:
    """FLOP/s of the fastest of a few products of square matrices, within a second.

    By OpenVINO where it is loaded, else by torch; threads and the kind of product (TF32 or not) are
    as they are set now. None where neither is loaded, or they have no such precision or device.
    """
    name = DTYPES.get(device, {}).get(precision)
    size = SIZES.get(device, 0)
    if name is None:
        return None
    if device == "cpu" and "openvino" in sys.modules:
        return 2.0 * size**3 / _fastest(*_openvino_product(size, precision))
    if "torch" in sys.modules:
        return 2.0 * size**3 / _fastest(*_torch_product(size, name, device))
    return None


def _torch_product(size: int, dtype: str, device: str) -> tuple[Action, Action]:
    torch = sys.modules["torch"]
    left, right = (
        torch.ones((size, size), dtype=getattr(torch, dtype), device=device) for _ in range(2)
    )

    def product() -> None:
        with torch.inference_mode():
            torch.mm(left, right)

    return product, _wait(torch, device)


def _openvino_product(size: int, precision: str) -> tuple[Action, Action]:
    """A product with constant weights, as the linear maps of a network are."""
    import openvino
    from openvino import opset13

    rows = opset13.parameter([size, size], np.float32)
    weights = opset13.constant(np.ones((size, size), np.float32))
    model = openvino.Model([opset13.matmul(rows, weights, False, True)], [rows])
    hint: dict[str, Any] = {"INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision]}
    hint["INFERENCE_NUM_THREADS"] = usable_cores()
    request = openvino.Core().compile_model(model, "CPU", hint).create_infer_request()
    left = np.ones((size, size), np.float32)
    return lambda: request.infer([left], share_inputs=True, share_outputs=True), lambda: None


def _wait(torch: Any, device: str) -> Action:
    """What returns when the device has done all it was told."""
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def _fastest(product: Action, wait: Action) -> float:
    """Seconds of one product, after one to warm up: what else runs here only makes it slower."""
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
    return min(times)
