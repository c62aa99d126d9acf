"""8-bit weights against the original ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from rankstone.runners.transformer.engines.int8 import quantised, rounded

RNG = np.random.default_rng(0)
finite = st.floats(-1000, 1000, width=32, allow_subnormal=False)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2), elements=finite))
def test_a_weight_is_off_by_half_a_step_at_most(weights):
    integers, scales = rounded(weights)
    assert (integers.dtype, scales.shape) == (np.int8, (len(weights), 1))
    assert abs(integers.astype(int)).max() <= 127
    assert (abs(weights - integers * scales) <= scales * 0.5001).all()


@pytest.mark.parametrize("transposed", [True, False])
def test_products_with_constant_matrices_and_no_others_become_integers(transposed):
    openvino = pytest.importorskip("openvino")
    ops = openvino.opset13
    weights = RNG.normal(size=(48, 64)).astype(np.float32)
    states = ops.parameter([-1, 64], np.float32)
    constant = ops.constant(weights if transposed else np.ascontiguousarray(weights.T))
    mapped = ops.matmul(states, constant, False, transposed)
    model = openvino.Model([ops.matmul(mapped, mapped, False, True)], [states])

    made = quantised(model)
    constants = [op for op in made.get_ops() if op.get_type_name() == "Constant"]
    assert sorted(op.get_element_type().get_type_name() for op in constants) == ["f32", "i8"]
    assert [op.get_type_name() for op in made.get_ops()].count("MatMul") == 2
    some = RNG.normal(size=(5, 64)).astype(np.float32)
    settings = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    found = openvino.Core().compile_model(made, "CPU", settings)([some])[0]
    integers, scales = rounded(weights)
    expected = some @ (integers * scales).T
    np.testing.assert_allclose(found, expected @ expected.T, rtol=1e-4, atol=1e-2)
