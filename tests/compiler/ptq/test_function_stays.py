"""Equalization, SmoothQuant and rotation leave what the FP32 network computes, under onnxruntime."""

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from networks import network, residual

from potluck.compiler.graph.nodes import constant
from potluck.compiler.importer import load
from potluck.compiler.passes import run_passes
from potluck.compiler.ptq.regions import regions
from potluck.compiler.ptq.rescale import equalize, smooth
from potluck.compiler.ptq.rotate import rotate, sylvester
from potluck.compiler.quantize import folding, quantize_model

MOBILE = """g (float[2, 3, 12, 12] x) => (float[2, 10] y) {
  a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w0, b0)
  b = Relu (a)
  c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 16> (b, w1, b1)
  d = Relu (c)
  e = Conv <kernel_shape = [1, 1]> (d, w2)
  f = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (e)
  h = Conv <kernel_shape = [1, 1]> (f, w3, b3)
  six = Constant <value_float = 6.0> ()
  zero = Constant <value_float = 0.0> ()
  i = Clip (h, zero, six)
  j = Conv <kernel_shape = [1, 1]> (i, w4)
  k = GlobalAveragePool (j)
  l = Flatten (k)
  y = Gemm <alpha = 0.5, transB = 1> (l, w5, b5)
}"""
ATTENTION = """g (float[3, 5, 16] x) => (float[3, 5, 8] y) {
  a = LayerNormalization <axis = -1> (x, g0, n0)
  b = MatMul (a, w0)
  c = Add (b, b0)
  d = MatMul (a, w1)
  e = Add (c, d)
  f = MatMul (e, w2)
  z = Relu (f)
  y = MatMul (z, w3)
}"""


def mobile():
    shapes = {"w0": (16, 3, 3, 3), "b0": (16,), "w1": (16, 1, 3, 3), "b1": (16,), "w2": (32, 16, 1, 1)}
    shapes |= {"w3": (16, 32, 1, 1), "b3": (16,), "w4": (32, 16, 1, 1), "w5": (10, 32), "b5": (10,)}
    return uneven(network(MOBILE, 1, **shapes))


def attention():
    shapes = {"w0": (16, 32), "b0": (32,), "w1": (16, 32), "w2": (32, 16), "w3": (16, 8)}
    return uneven(network(ATTENTION, 2, g0=(16,), n0=(16,), **shapes))


def uneven(model):
    """Channels of very different range."""
    rng = np.random.default_rng(0)
    import onnx

    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).copy()
        if array.ndim > 1:
            array *= np.exp(rng.uniform(-3, 3, (len(array), *(1,) * (array.ndim - 1)))).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return model


NETWORKS = {"mobile": mobile, "attention": attention, "residual": lambda: uneven(residual(channels=16))}


def folded(source):
    model = load(source)
    run_passes(model, folding())
    return model


def outputs(model, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)[0]


def samples(model, count=4):
    rng = np.random.default_rng(7)
    return {
        value.name: rng.standard_normal((count, *list(value.shape)[1:])).astype(np.float32)
        for value in model.graph.inputs
    }


def batch(model):
    return {name: array[: model.graph.inputs[0].shape[0]] for name, array in samples(model).items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_scales_between_layers_change_no_bit(name):
    """Factors are powers of two, so onnxruntime's sums are scaled exactly."""
    model = folded(NETWORKS[name]())
    feeds = batch(model)
    before = outputs(model, feeds)
    record = equalize(model)
    assert record and max(record.values()) >= 4
    assert np.array_equal(outputs(model, feeds), before)
    moved = smooth(model, samples(model), 0.5)
    assert moved.keys() == record.keys()
    assert np.array_equal(outputs(model, feeds), before)


def test_equalized_layers_have_equal_ranges():
    model = folded(mobile())
    equalize(model)
    for region in regions(model):
        for out, into in zip(region.producers, region.consumers, strict=False):
            made = np.abs(np.asarray(constant(out.weight))).reshape(region.channels, -1).max(axis=1)
            axis = 0 if into.depthwise else 1
            met = np.moveaxis(np.abs(np.asarray(constant(into.weight))), axis, 0)
            ratio = made / met.reshape(region.channels, -1).max(axis=1)
            assert np.all((ratio > 1 / 2.9) & (ratio < 2.9))  # the nearest power of two each


def test_a_bounded_activation_is_left_alone():
    """Factors do not pass through Clip at 6."""
    model = folded(mobile())
    names = [item.name for region in regions(model) for item in region.producers]
    clipped = [
        node.name
        for node in model.graph
        if "max" in node.attributes and node.attributes["max"].as_float() == 6
    ]
    assert len(clipped) == 1 and clipped[0] not in names and len(names) == 4


def test_smoothing_flattens_activations():
    model = folded(attention())
    x = samples(model, 32)
    x["x"] *= np.exp(np.random.default_rng(1).uniform(-3, 3, 16)).astype(np.float32)
    gain = model.graph.initializers["g0"]
    gain.const_value = ir.tensor(np.exp(np.linspace(-3, 3, 16)).astype(np.float32), name="g0")

    def spread():
        read = next(node for node in model.graph if node.op_type == "MatMul").inputs[0]
        session_values = [read]
        from potluck.compiler.calibration import observed

        peaks = np.max(
            [
                np.abs(array).max(axis=(0, 1))
                for found in observed(model, session_values, x)
                for array in found.values()
            ],
            axis=0,
        )
        return peaks.max() / peaks.min()

    before = spread()
    smooth(model, x, 1.0)
    assert spread() < before / 10


@pytest.mark.parametrize("block", [8, 16])
@pytest.mark.parametrize("name", NETWORKS)
def test_rotation_changes_rounding_only(name, block):
    model = folded(NETWORKS[name]())
    feeds = batch(model)
    before = outputs(model, feeds)
    record = rotate(model, block, set())
    assert "online" in record.values()
    after = outputs(model, feeds)
    assert not np.array_equal(after, before)
    np.testing.assert_allclose(after, before, rtol=0, atol=3e-6 * np.abs(before).max() * block)


def test_rotation_folds_where_all_is_linear():
    model = folded(attention())
    record = rotate(model, 16, set())
    assert list(record.values()) == ["offline", "online", "online", "online"]
    assert sum(node.op_type.startswith("Hadamard") for node in model.graph) == 2  # one serves both readers
    pooled = folded(mobile())
    assert "offline" in rotate(pooled, 32, set()).values()  # the mean over pixels is linear too


def test_the_function_is_sylvesters_matrix():
    model = folded(network("g (float[2, 3, 64] x) => (float[2, 3, 5] y) { y = MatMul (x, w) }", 0, w=(64, 5)))
    rotate(model, 32, set())
    node = model.graph[0]
    proto = ir.to_proto(model)
    import onnx

    proto.graph.output.append(
        onnx.helper.make_tensor_value_info(node.outputs[0].name, onnx.TensorProto.FLOAT, [2, 3, 64])
    )
    x = np.random.default_rng(2).integers(-9, 9, (2, 3, 64)).astype(np.float32)
    got = onnx.reference.ReferenceEvaluator(proto).run(None, {"x": x})[1]
    assert np.array_equal(got.reshape(2, 3, 2, 32), x.reshape(2, 3, 2, 32) @ sylvester(32))
    assert np.array_equal(sylvester(32) @ sylvester(32), 32 * np.eye(32))


def test_rotation_reaches_the_quantized_network():
    made = quantize_model(
        attention(), "int4", ptq="hadamard=16", keep=(), calibration=samples(folded(attention()))
    )
    assert sum(node.op_type == "Hadamard16" for node in made.graph) == 2


@pytest.mark.parametrize(("scheme", "block"), [("int8", 16), ("mxfp4", 32), ("fp32", 8)])
def test_rotations_run_on_the_machine(scheme, block):
    from running import by_reference, by_schedule, by_simulator, same_bits

    from potluck.compiler.build import build, prepare
    from potluck.isa.machine import load_machine

    source = mobile()
    calibration = samples(folded(source))
    model = prepare(source, scheme, calibration=calibration, ptq=f"hadamard={block}", keep=())
    assert any(node.op_type == f"Hadamard{block}" for node in model.graph) or scheme == "fp32"
    schedule = build(model, load_machine("spatz-mx"))
    given = batch(folded(source))
    got = by_simulator(schedule, given)
    assert same_bits(got, by_schedule(schedule, given))
    if scheme == "int8":  # what is added after the mean over pixels rounds, no more
        np.testing.assert_allclose(got[0], by_reference(schedule, given)[0], rtol=1e-3, atol=1e-3)
    flat = build(model, load_machine("rvv-generic"))
    assert same_bits(by_simulator(flat, given), by_schedule(flat, given))
