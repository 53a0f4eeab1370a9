"""Integer weights of FP32 activations: codes in DRAM that become values in L1, the same bits as dequantized before."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from networks import network, residual
from running import by_schedule, by_simulator, feeds, same_bits

from potluck.compiler.build import build, prepare
from potluck.compiler.graph.integer_nodes import dequantized
from potluck.isa.machine import load_machine

SPATZ, GENERIC = load_machine("spatz-mx"), load_machine("rvv-generic")


def with_values(model):
    """The same network with its weights dequantized beforehand."""
    proto = ir.from_proto(ir.to_proto(model))
    for node in list(proto.graph):
        if node.op_type == "DequantizeLinear":
            value = node.outputs[0]
            array = dequantized(value)
            made = ir.Value(name=f"{value.name}_before", shape=ir.Shape(array.shape), type=value.type)
            made.const_value = ir.tensor(array, name=made.name)
            proto.graph.initializers[made.name] = made
            ir.convenience.replace_all_uses_with(value, made)
            proto.graph.remove(node, safe=True)
    return proto


def weight_bytes(schedule):
    """Bytes of weights in DRAM, biases left out, and their formats."""
    parts = {
        (o.address, o.bytes, o.format) for op in schedule.ops for o in op.operands if o.role == "weights"
    }
    return sum(size for _, size, _ in parts), {held for *_, held in parts}


def compare(model, machine=SPATZ, ratio=1.0):
    """Outputs of both; checks bits and bytes."""
    coded, plain = build(model, machine), build(with_values(model), machine)
    given = feeds(coded)
    expected = by_schedule(plain, given)
    assert same_bits(by_simulator(coded, given), expected)
    assert same_bits(by_schedule(coded, given), expected)
    assert np.ptp(expected[0]) > 0
    assert weight_bytes(coded)[0] <= ratio * weight_bytes(plain)[0]
    return coded


@pytest.mark.parametrize(
    ("scheme", "ratio", "held"), [("int8_weights", 0.35, "INT8"), ("int4_weights", 0.28, "INT4_WEIGHTS")]
)
def test_codes_in_dram_give_the_bits_of_values(scheme, ratio, held):
    schedule = compare(prepare(residual(channels=32, size=8), scheme, min_channels=8), ratio=ratio)
    assert held in weight_bytes(schedule)[1]
    flat = build(prepare(residual(channels=32, size=8), scheme, min_channels=8), GENERIC)
    given = feeds(schedule)
    assert same_bits(by_simulator(flat, given), by_schedule(flat, given))


@pytest.mark.parametrize("scheme", ["int8_weights", "int4_weights"])
def test_products_of_rows_and_of_one_long_row(scheme):
    body = """g (float[1, 6, 70] x) => (float[1, 6, 12] y) {
      a = MatMul (x, w0)
      b = Relu (a)
      y = MatMul (b, w1)
    }"""
    compare(prepare(network(body, 2, w0=(70, 45), w1=(45, 12)), scheme), ratio=0.45)
    gemm = "g (float[1, 900] x) => (float[1, 130] y) { y = Gemm <alpha = 0.5, transB = 1> (x, w, b) }"
    compare(prepare(network(gemm, 3, w=(130, 900), b=(130,)), scheme), ratio=0.3)


FORMS = {
    "uint8, one zero point": ("uint8", 0, (7,), 128),
    "uint4, blocks with zero points": ("uint4", 16, (7, 3), 9),
    "int8, one scale": ("int8", 0, (), -3),
    "int4, a scale for each input channel": ("int4", 0, (40,), 0),
    "int8, far from zero": ("uint8", 0, (7,), 3),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_other_tools_write(form):
    kind, block, shape, zero = FORMS[form]
    rng = np.random.default_rng(len(form))
    low, high = {"uint8": (0, 256), "int8": (-128, 128), "uint4": (0, 16), "int4": (-8, 8)}[kind]
    if form == "int8, one scale":
        low, high = -125, 100
    codes = rng.integers(low, high, (7, 40, 3, 3))
    scale_shape = (7, 3, 3, 3) if block else shape
    stored = ir.DataType[kind.upper()]
    scale = rng.uniform(0.001, 0.01, scale_shape).astype(np.float32)
    zeros = np.full(scale_shape, zero)
    if block:
        zeros = rng.integers(3, 9, scale_shape)
    axis = 0 if shape[:1] == (7,) and not block else 1
    body = """g (float[1, 40, 6, 5] x) => (float[1, 7, 6, 5] y) {
      y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
    }"""
    source = ir.from_proto(network(body, 0, opset=21, w=(7, 40, 3, 3)))
    graph = source.graph
    inputs = []
    for name, array, dtype in (
        ("codes", codes, stored),
        ("scale", scale, ir.DataType.FLOAT),
        ("zero", zeros, stored),
    ):
        tensor = ir.Tensor(array.astype(dtype.numpy()), dtype=dtype, name=name)
        value = ir.Value(
            name=name, shape=ir.Shape(array.shape), type=ir.TensorType(dtype), const_value=tensor
        )
        graph.initializers[name] = value
        inputs.append(value)
    attributes = [ir.AttrInt64("axis", axis), *([ir.AttrInt64("block_size", block)] if block else [])]
    made = ir.Node("", "DequantizeLinear", inputs, attributes, name="dq", num_outputs=1)
    made.outputs[0].name = "values"
    node = graph[0]
    graph.insert_before(node, made)
    node.replace_input_with(1, made.outputs[0])
    del graph.initializers["w"]
    onnx.checker.check_model(ir.to_proto(source))
    model = prepare(source)
    schedule = compare(model, ratio=2.0)
    held = weight_bytes(schedule)[1]
    assert (
        ("FP32" in held and "INT8" not in held)
        if form == "int8, far from zero"
        else ("INT4" in str(held) or "INT8" in held)
    )


def test_depthwise_weights_are_values():
    body = """g (float[1, 24, 7, 7] x) => (float[1, 24, 7, 7] y) {
      y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 24> (x, w)
    }"""
    compare(prepare(network(body, 2, w=(24, 1, 3, 3)), "int8_weights"))


@pytest.mark.parametrize("scheme", ["int4_weights", "mxfp4_weights"])
def test_harts_that_share_weights_make_them_at_the_same_time(scheme):
    """None may write bytes over what another has already decoded."""
    body = "g (float[1, 64, 64] x) => (float[1, 64, 16] y) { y = MatMul (x, w) }"
    schedule = build(prepare(network(body, 2, w=(64, 16)), scheme), SPATZ)
    given = feeds(schedule)
    expected = by_schedule(schedule, given)
    assert all(same_bits(by_simulator(schedule, given), expected) for _ in range(3))
