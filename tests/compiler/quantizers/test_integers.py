"""INT8 and INT4: codes and values bit-equal to onnx's evaluator and onnxruntime, in every granularity."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx.reference import ReferenceEvaluator

from potluck.compiler.quantizers.integers import IntegerFormat, parameters, quantize, quantize_with
from potluck.isa.errors import DataError

FORMATS = [
    IntegerFormat(bits, symmetric, axis, group)
    for bits in (8, 4)
    for symmetric in (True, False)
    for axis, group in ((None, 0), (0, 0), (1, 0), (1, 4), (0, 3))
] + [IntegerFormat(8, False, signed=False), IntegerFormat(4, False, 1, 8, signed=False)]


def onnx_type(kind: IntegerFormat) -> int:
    return int(onnx.TensorProto.DataType.Value(("" if kind.signed else "U") + f"INT{kind.bits}"))


def round_trip(
    kind: IntegerFormat, shape: tuple[int, ...], scale: np.ndarray, zero: np.ndarray
) -> onnx.ModelProto:
    """QuantizeLinear, DequantizeLinear with the format's attributes."""
    attributes = {} if kind.axis is None else {"axis": kind.axis}
    if kind.group:
        attributes["block_size"] = kind.group
    scales = onnx.numpy_helper.from_array(scale, "s")
    zeros = onnx.helper.make_tensor("z", onnx_type(kind), zero.shape, zero.reshape(-1).astype(int).tolist())
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes),
        onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **attributes),
        onnx.helper.make_node("Cast", ["q"], ["codes"], to=onnx.TensorProto.INT32),
    ]
    f32, i32 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
    inputs = [onnx.helper.make_tensor_value_info("x", f32, shape)]
    outputs = [onnx.helper.make_tensor_value_info(n, t, shape) for n, t in (("codes", i32), ("y", f32))]
    graph = onnx.helper.make_graph(nodes, "g", inputs, outputs, [scales, zeros])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)


def name(kind: IntegerFormat) -> str:
    return f"{kind.bits}{'s' if kind.symmetric else 'a'}{'' if kind.signed else 'u'}-{kind.axis}-{kind.group}"


@pytest.mark.parametrize("kind", FORMATS, ids=name)
def test_codes_and_values_are_onnx_evaluators(kind: IntegerFormat) -> None:
    x = np.random.default_rng(1).normal(0.3, 1, (9, 10)).astype(np.float32)
    made = quantize(x, kind)
    model = round_trip(kind, x.shape, made.scale, made.zero_point)
    codes, values = ReferenceEvaluator(model).run(None, {"x": x})
    # The evaluator clips to the type's whole range; the symmetric range never needs the last code.
    np.testing.assert_array_equal(made.codes.astype(np.int32), codes)
    np.testing.assert_array_equal(made.dequantize(), values)


@pytest.mark.parametrize("kind", [k for k in FORMATS if k.bits == 8 and not k.group], ids=name)
def test_codes_and_values_are_onnxruntimes(kind: IntegerFormat) -> None:
    x = np.random.default_rng(2).normal(-0.2, 3, (9, 10)).astype(np.float32)
    made = quantize(x, kind)
    model = round_trip(kind, x.shape, made.scale, made.zero_point)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    codes, values = session.run(None, {"x": x})
    np.testing.assert_array_equal(made.codes.astype(np.int32), codes)
    np.testing.assert_array_equal(made.dequantize(), values)


@given(
    arrays(np.float32, (4, 6), elements=st.floats(-(2.0**100), 2.0**100, width=32)), st.sampled_from(FORMATS)
)
def test_error_is_at_most_half_a_step_and_zero_is_exact(x: np.ndarray, kind: IntegerFormat) -> None:
    x = np.where(np.abs(x) < 1e-30, np.float32(0), x)
    made = quantize(x, kind)
    step = np.abs(quantize_step(made))
    error = np.abs(made.dequantize().astype(np.float64) - x)
    # An asymmetric zero point is rounded, which moves the ends of the range by up to half a step more.
    assert np.all(error <= step * (0.5001 if kind.symmetric else 1.0001))
    assert np.all(made.dequantize()[x == 0] == 0)


def quantize_step(made: object) -> np.ndarray:
    from potluck.compiler.quantizers.integers import IntegerTensor, spread

    assert isinstance(made, IntegerTensor)
    return np.broadcast_to(spread(made.scale, made.codes.shape, made.format), made.codes.shape).astype(
        np.float64
    )


def test_symmetric_codes_never_use_the_last_negative() -> None:
    made = quantize([[-3.0, 1.0]], IntegerFormat(4))
    assert made.codes.tolist() == [[-7, 2]]
    assert made.scale == np.float32(3 / 7)


def test_ragged_group_takes_its_scale_from_its_own_elements() -> None:
    made = quantize([[1.0, 1, 1, 1, 7]], IntegerFormat(4, axis=1, group=4))
    assert made.scale.shape == (1, 2)
    assert made.dequantize().tolist() == [[1, 1, 1, 1, 7]]


def test_empty_and_tiny_ranges_have_usable_scales() -> None:
    scale, zero = parameters([0.0, 0.0], [0.0, 1e-44], IntegerFormat(8, False, 0))
    assert scale.tolist() == [1.0, 1.0]
    assert zero.tolist() == [-128, -128]


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(DataError, match="NaN or infinity"):
        quantize([np.inf, 1.0], IntegerFormat())
    with pytest.raises(DataError, match="no axis 2"):
        quantize(np.ones((2, 2)), IntegerFormat(axis=2))
    with pytest.raises(DataError, match="no integer format"):
        IntegerFormat(3)
    with pytest.raises(DataError, match="group"):
        IntegerFormat(group=4)
    with pytest.raises(DataError, match=r"\(3,\).*\(2, 2\)"):
        quantize_with(np.ones((2, 2)), np.ones(3), np.zeros(3), IntegerFormat(axis=0))
