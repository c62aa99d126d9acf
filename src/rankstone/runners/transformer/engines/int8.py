"""Networks of OpenVINO with the weights of their linear maps in 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GROUP = 64
"""Inputs of a linear map are quantised as well, so many neighbours of a token's state by one scale.
Larger groups are faster and coarser."""
SETTINGS = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP}
"""Setting that makes OpenVINO quantise inputs while it runs. It does so where the CPU
multiplies 8-bit integers (VNNI); elsewhere only the weights are rounded, and time is not saved."""
BEHIND = "__module.behind"
"""Prefix of the names of operations behind the transformer, which make a vector of its states."""


class NotQuantisableError(Exception):
    """The network has nothing to make of integers."""


def quantised(model: Any) -> Any:
    """`model`, an ``openvino.Model``, with every product with a constant matrix made of integers.

    A weight is scale * q with integers q from -127 to 127, by one scale for each output of the map:
    its largest weight / 127. Nothing is measured on texts, and no scale is shared by two tokens, so
    a text's states do not depend on what else is in its batch. Embeddings, norms, softmax and the
    products of attention are left as they are, and so is what follows the transformer.
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
    """(outputs, inputs) float32 -> the integers, and (outputs, 1) scales."""
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
