"""A chain of convolutions for integer and PoT schemes, and what schedule, simulator and evaluator say of networks."""

import numpy as np
import onnx
from networks import network
from running import by_reference, by_schedule, by_simulator, feeds, same_bits

from potluck.compiler.build import build

CHAIN = """g (float[2, 3, HEIGHT, WIDTH] x) => (float[2, 20, OUT_HEIGHT, OUT_WIDTH] y) {
  a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w0, b0)
  b = Relu (a)
  c = Conv <kernel_shape = [3, 3], pads = [1, 0, 1, 2], group = 24> (b, w1, b1)
  low = Constant <value_float = 0.0> ()
  high = Constant <value_float = 1.25> ()
  d = Clip (c, low, high)
  e = Conv <kernel_shape = [3, 3], pads = [2, 2, 2, 2], dilations = [2, 2], strides = [2, 2]> (d, w2)
  y = Conv <kernel_shape = [1, 1]> (e, w3, b3)
}"""


def chain(height=9, width=10):
    """Dense, depthwise, dilated and strided convolutions, two images; the last one has FP32 outputs."""
    sizes = {"OUT_HEIGHT": -(-height // 2), "OUT_WIDTH": -(-width // 2), "HEIGHT": height, "WIDTH": width}
    body = CHAIN
    for name, size in sizes.items():
        body = body.replace(name, str(size))
    shapes = {"w0": (24, 3, 3, 3), "b0": (24,), "w1": (24, 1, 3, 3), "b1": (24,), "w2": (17, 24, 3, 3)}
    return network(body, 4, w3=(20, 17, 1, 1), b3=(20,), **shapes)


FOREIGN = (("int8", "int8", 0), ("uint8", "int8", 0), ("int8", "int8", -17), ("uint8", "uint8", 130))
"""Types of activations and weights, and the weights' zero point."""


def qdq_network(x_type, w_type, w_zero):
    """A convolution as other tools write it: unsigned or asymmetric, float bias, Relu before the quantization."""
    rng = np.random.default_rng(6)
    low = {"int8": -128, "uint8": 0}
    codes = rng.integers(low[w_type], low[w_type] + 256, (10, 5, 3, 3)).astype(w_type)
    initializers = {
        "sx": np.float32(0.037), "zx": np.array(low[x_type] + 100, x_type), "w": codes,
        "sw": rng.uniform(0.001, 0.01, 10).astype(np.float32), "zw": np.full(10, w_zero, w_type),
        "b": (rng.standard_normal(10) * 0.2).astype(np.float32),
        "sy": np.float32(0.05), "zy": np.array(low[x_type] + 20, x_type),
    }  # fmt: skip
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["q"]),
        onnx.helper.make_node("DequantizeLinear", ["q", "sx", "zx"], ["v"]),
        onnx.helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wv"], axis=0),
        onnx.helper.make_node("Conv", ["v", "wv", "b"], ["c"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("Relu", ["c"], ["r"]),
        onnx.helper.make_node("QuantizeLinear", ["r", "sy", "zy"], ["k"]),
        onnx.helper.make_node("DequantizeLinear", ["k", "sy", "zy"], ["y"]),
    ]
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "g", [info("x", onnx.TensorProto.FLOAT, [1, 5, 8, 8])],
        [info("y", onnx.TensorProto.FLOAT, [1, 10, 8, 8])],
        [onnx.numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)


def samples(shape, count=8, seed=3):
    """Calibration samples of x."""
    return {"x": np.random.default_rng(seed).standard_normal((count, *shape[1:])).astype(np.float32)}


def agree(model, machine, outputs=True):
    """Builds, and compares schedule, simulator and evaluator; returns the schedule."""
    schedule = build(model, machine)
    given = feeds(schedule)
    expected = by_schedule(schedule, given)
    if any(op.offload for op in schedule.ops):
        assert same_bits(by_schedule(schedule, given, late=True), expected)
    assert same_bits(by_simulator(schedule, given), expected)
    if outputs:
        assert same_bits(expected, by_reference(schedule, given))
    assert np.ptp(expected[0]) > 0
    return schedule
