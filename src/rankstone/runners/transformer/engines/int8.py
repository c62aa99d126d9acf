"""OpenVINO networks with 8-bit linear maps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GROUP = 64
"""Neighbouring inputs of a linear map that are quantised with one scale, per token. Larger groups
are faster and less precise."""
SETTINGS = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP}
"""Setting for dynamic quantisation of inputs by OpenVINO, on CPUs that multiply 8-bit integers
(VNNI); on others only weights are rounded, without saving time."""
BEHIND = "__module.behind"
"""Prefix of the names of operations after the transformer, which compute vectors from its
states."""


class NotQuantisableError(Exception):
    """The network has no linear map to quantise."""


def quantised(model: Any) -> Any:
    """Return the ``openvino.Model`` `model` with every product with a constant matrix quantised.

    A weight is scale * q with integers q from -127 to 127, and one scale per output of the map: its
    largest weight / 127. There is no calibration on texts, and tokens do not share scales, so a
    text's states do not depend on its batch. Embeddings, norms, softmax, attention products and the
    modules after the transformer are unchanged.
    """
    replaced = 0
    for product in model.get_ops():
        behind = product.get_friendly_name().startswith(BEHIND)
        if product.get_type_name() == "MatMul" and not behind:
            factor = product.input_value(1).get_node()
            if factor.get_type_name() == "Constant" and factor.data.ndim == 2:
                _replace(product, factor.data)
                replaced += 1
    if not replaced:
        raise NotQuantisableError("it has no product with a constant matrix to make of integers")
    model.validate_nodes_and_infer_types()
    return model


def rounded(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return (outputs, inputs) float32 weights as integers and (outputs, 1) scales."""
    scales = np.abs(weights).max(axis=1, keepdims=True) / np.float32(127)
    scales[scales == 0] = 1
    return np.rint(weights / scales).astype(np.int8), scales.astype(np.float32)


def _replace(product: Any, weights: NDArray[np.float32]) -> None:
    from openvino import opset13 as ops

    settings = product.get_attributes()
    integers, scales = rounded(weights if settings["transpose_b"] else weights.T)
    factor = ops.multiply(ops.convert(ops.constant(integers), "f32"), ops.constant(scales))
    made = ops.matmul(product.input_value(0), factor, settings["transpose_a"], True)
    for reader in product.output(0).get_target_inputs():
        reader.replace_source_output(made.output(0))
