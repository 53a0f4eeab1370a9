"""PoTAcc's release bit for bit: 128 in products, 127 in the correction for zero points, against plain NumPy."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from networks import network
from onnx.reference import ReferenceEvaluator
from running import by_schedule, by_simulator, same_bits

from potluck.compiler.build import build, prepare
from potluck.isa.machine import load_machine

RNG = np.random.default_rng(8)
X = RNG.standard_normal((1, 24, 6, 5)).astype(np.float32) + 0.7
W = (np.sign(RNG.standard_normal((9, 24))) * np.exp2(-RNG.integers(0, 8, (9, 24)))).astype(np.float32)
W[:, 0] = 1  # the top level in every channel
B = RNG.standard_normal(9).astype(np.float32)


def source():
    body = "g (float[1, 24, 6, 5] x) => (float[1, 9, 6, 5] y) { y = Conv <kernel_shape = [1, 1]> (x, w, b) }"
    model = network(body, 0, w=(9, 24, 1, 1), b=(9,))
    for tensor in model.graph.initializer:
        array = W[:, :, None, None] if tensor.name == "w" else B
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return model


def stored_network(scale, zero, steps):
    """The network as a TFLite converter stores it: int8 weights up to 127 with a scale of 1/127."""
    whole = np.rint(W.astype(np.float64) * 127).astype(np.int8)
    whole[np.abs(W) < 1] = (W * 128)[np.abs(W) < 1].astype(np.int8)
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["q"]),
        onnx.helper.make_node("DequantizeLinear", ["q", "sx", "zx"], ["v"]),
        onnx.helper.make_node("DequantizeLinear", ["w", "sw"], ["wv"], axis=0),
        onnx.helper.make_node("DequantizeLinear", ["b", "sb"], ["bv"], axis=0),
        onnx.helper.make_node("Conv", ["v", "wv", "bv"], ["y"]),
    ]
    values = {
        "sx": scale, "zx": zero, "w": whole[:, :, None, None], "sw": np.full(9, 1 / 127, np.float32),
        "b": np.rint(B / steps).astype(np.int32), "sb": np.full(9, steps, np.float32),
    }  # fmt: skip
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "g", [info("x", onnx.TensorProto.FLOAT, [1, 24, 6, 5])],
        [info("y", onnx.TensorProto.FLOAT, [1, 9, 6, 5])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )  # fmt: skip
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10
    ), whole


def release(raw, zero, whole, bias):
    """The accelerator's sums: raw activations times 128 for 127, and the host's correction with 127."""
    whole = whole.astype(np.int64)
    products = np.where(np.abs(whole) == 127, np.sign(whole) * 128, whole)
    correction = bias - int(zero) * whole.sum(axis=1)
    return np.einsum("oc,nchw->nohw", products, raw.astype(np.int64)) + correction[:, None, None]


def test_recovered_weights_keep_the_mixture():
    scale, zero = np.float32(0.03), np.int8(-21)
    steps = np.float32(scale * np.float32(1 / 127))
    proto, whole = stored_network(scale, zero, steps)
    raw = np.clip(np.rint(X / scale) + int(zero), -128, 127)
    sums = release(raw, zero, whole, np.rint(B / steps).astype(np.int64))
    expected = (sums.astype(np.float32) * steps).astype(np.float32)
    model = prepare(proto, "pot_recover", compat_release=True)
    (stated,) = ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": X})
    assert same_bits([stated], [expected])
    schedule = build(model, load_machine("spatz-mx"))
    assert same_bits(by_simulator(schedule, {"x": X}), [expected])
    assert same_bits(by_schedule(schedule, {"x": X}), [expected])
    (fixed,) = ReferenceEvaluator(ir.to_proto(prepare(proto, "pot_recover"))).run(None, {"x": X})
    real = np.einsum("oc,nchw->nohw", W.astype(np.float64), ((raw - int(zero)) * scale).astype(np.float64))
    error = [np.abs(array - real - B[:, None, None]).max() for array in (fixed, expected)]
    assert error[0] < 1e-3 < error[1]


@pytest.mark.parametrize("scheme", ["pot_qkeras", "pot_apot"])
def test_quantized_weights_take_the_mixture(scheme):
    calibration = {"x": X}
    made = [
        prepare(source(), scheme, calibration=calibration, compat_release=given) for given in (False, True)
    ]
    outputs = [ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": X})[0] for model in made]
    if scheme == "pot_apot":  # no level of it is stored as another
        assert np.array_equal(*outputs)
        return
    node = next(node for node in made[1].graph if node.op_type == "IntegerConvFloat")
    zero, factor = (node.inputs[at].const_value.numpy() for at in (1, 4))
    bias = made[0].graph[-1].inputs[3].const_value.numpy().reshape(-1).astype(np.float64)
    exact = made[0].graph[-1].inputs[4].const_value.numpy().reshape(-1).astype(np.float64)
    whole = np.clip(W * 128, -127, 127).astype(np.int8)
    scale = made[1].graph[0].inputs[1].const_value.numpy()
    raw = np.clip(np.rint(X / scale) + int(zero), -128, 127)
    steps = factor.reshape(-1)
    np.testing.assert_allclose(steps, exact * 128 / 127, rtol=1e-6)
    sums = release(raw, zero, whole, np.rint(bias * exact / steps).astype(np.int64))
    np.testing.assert_allclose(
        outputs[1], sums * steps[:, None, None].astype(np.float64), rtol=1e-5, atol=2 * steps.max()
    )
    assert np.abs(outputs[0] - outputs[1]).max() > 10 * steps.max()
