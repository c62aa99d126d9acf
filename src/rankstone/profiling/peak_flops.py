"""Peak floating-point rate of this machine, measured by matrix products.

The products use the library that encoded, which is the only one loaded, so that encoding is
compared with the peak of its own kernels.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rankstone.profiling.machine import usable_cores
from rankstone.profiling.openvino_runtime import import_openvino

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
    """Return the FLOP/s of the fastest of a few square matrix products, within about a second.

    Uses OpenVINO if it is loaded, else torch, with the current settings of threads and TF32. None
    if neither is loaded, or the library does not support the precision or device.
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

    return product, torch.cuda.synchronize if device == "cuda" else lambda: None


def _openvino_product(size: int, precision: str) -> tuple[Action, Action]:
    """Return a product with constant weights, like the linear layers of a network."""
    openvino = import_openvino()
    from openvino import opset13

    rows = opset13.parameter([size, size], np.float32)
    weights = opset13.constant(np.ones((size, size), np.float32))
    model = openvino.Model([opset13.matmul(rows, weights, False, True)], [rows])
    hint: dict[str, Any] = {"INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision]}
    hint["INFERENCE_NUM_THREADS"] = usable_cores()
    request = openvino.Core().compile_model(model, "CPU", hint).create_infer_request()
    left = np.ones((size, size), np.float32)
    return lambda: request.infer([left], share_inputs=True, share_outputs=True), lambda: None


def _fastest(product: Action, wait: Action) -> float:
    """Return the least seconds of a product, after a warm-up: other load only slows it down."""
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
