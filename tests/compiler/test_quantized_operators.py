"""Quantization at run time and quantized products, against onnxruntime and onnx's evaluator."""

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from nodes import MACHINE
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from potluck.compiler.compile import compile_model
from potluck.sim.simulate import simulate


class Net:
    """Nodes side by side; outputs are compared bit for bit."""

    def __init__(self, oracle="onnxruntime"):
        self.nodes, self.inputs, self.held, self.types, self.oracle = [], {}, [], {}, oracle

    def value(self, array, constant=False):
        name = f"x{len(self.inputs) + len(self.held)}"
        if constant:
            self.held.append(numpy_helper.from_array(np.asarray(array), name))
        else:
            self.inputs[name] = np.asarray(array)
        return name

    def node(self, op, *inputs, to=None, **attributes):
        name = f"y{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, list(inputs), [name], name=f"n{len(self.nodes)}", **attributes)
        )
        self.types[name] = (op, to)
        return name

    def check(self, opset=24):
        def info(name, array):
            return helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )

        infos = [info(name, array) for name, array in self.inputs.items()]
        outputs = [onnx.ValueInfoProto(name=name) for name in self.types]
        graph = helper.make_graph(self.nodes, "g", infos, outputs, self.held)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=11)
        if self.oracle == "onnxruntime":
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), providers=["CPUExecutionProvider"]
            )
            wanted = session.run(None, self.inputs)
        else:
            wanted = ReferenceEvaluator(model).run(None, self.inputs)
        del model.graph.output[:]
        model.graph.output.extend(info(name, want) for name, want in zip(self.types, wanted, strict=True))
        got = simulate(compile_model(model, MACHINE), self.inputs, machine=MACHINE, mode="functional").outputs
        for (name, (op, to)), want in zip(self.types.items(), wanted, strict=True):
            assert (got[name].dtype, got[name].shape) == (want.dtype, want.shape), op
            wide = np.float32 if want.dtype.kind == "V" or want.dtype.name.startswith("bf") else want.dtype
            np.testing.assert_array_equal(got[name].astype(wide), want.astype(wide), err_msg=f"{op} {to}")


def codes(rng, shape, dtype):
    limits = ml_dtypes.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)


INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, ml_dtypes.int4, ml_dtypes.uint4]
FLOATS = [
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.float8_e4m3fnuz,
    ml_dtypes.float8_e5m2,
    ml_dtypes.float8_e5m2fnuz,
]


@pytest.mark.parametrize("given", [True, False])
def test_quantization_of_every_type(given):
    """Per tensor, per axis and per block, scales given or computed at run time."""
    rng, net = np.random.default_rng(1), Net("reference")
    x = net.value((rng.standard_normal((2, 6, 5)) * 4).astype(np.float32))
    scales = {axis: np.abs(rng.standard_normal(size)).astype(np.float32) / 4 + np.float32(0.01)
              for axis, size in ((None, ()), (1, 6), (2, 5))}  # fmt: skip
    for dtype in (*INTEGERS, *FLOATS):
        for axis, scale in scales.items():
            integral = dtype in INTEGERS
            zero = codes(rng, scale.shape, dtype) if integral else np.zeros(scale.shape, dtype)
            operands = [net.value(scale, given), net.value(zero, given)]
            attributes = {} if axis is None else {"axis": axis}
            net.node("QuantizeLinear", x, *operands, to=dtype, **attributes)
            held = codes(rng, (2, 6, 5), dtype) if integral else rng.standard_normal((2, 6, 5)).astype(dtype)
            net.node("DequantizeLinear", net.value(held), *operands, to=dtype, **attributes)
    net.check()


@pytest.mark.parametrize("block", [2, 3, 4])
def test_blocks(block):
    """Blocks that divide the axis, and those that do not."""
    rng, net = np.random.default_rng(2), Net("reference")
    x = net.value((rng.standard_normal((2, 6, 5)) * 4).astype(np.float32))
    for axis in (1, 2):
        shape = [2, 6, 5]
        shape[axis] = -(-shape[axis] // block)
        for dtype in (np.int8, ml_dtypes.int4):
            scale = net.value(
                np.abs(rng.standard_normal(shape)).astype(np.float32) + np.float32(0.01), axis == 1
            )
            zero = net.value(codes(rng, shape, dtype))
            net.node("QuantizeLinear", x, scale, zero, axis=axis, block_size=block, to=dtype)
            held = net.value(codes(rng, (2, 6, 5), dtype))
            net.node("DequantizeLinear", held, scale, zero, axis=axis, block_size=block, to=dtype)
    net.check()


def test_images_in_channels_last_order():
    rng, net = np.random.default_rng(3), Net()
    x = net.value(rng.standard_normal((2, 5, 4, 3)).astype(np.float32))
    pooled = net.node("MaxPool", x, kernel_shape=[2, 2])
    scale, zero = net.value(np.float32(0.05)), net.value(np.uint8(100))
    net.node("QuantizeLinear", pooled, scale, zero)
    net.node("QuantizeLinear", pooled, net.value(np.linspace(0.01, 0.1, 5).astype(np.float32), True),
             net.value(codes(rng, 5, np.int8), True), axis=1)  # fmt: skip
    net.check(21)


def test_dynamic_quantization():
    rng = np.random.default_rng(4)
    for values in (
        rng.standard_normal((3, 7)),
        np.abs(rng.standard_normal(9)) + 1,
        -np.abs(rng.standard_normal(5)),
    ):
        x = values.astype(np.float32)
        node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])
        model = helper.make_model(
            helper.make_graph(
                [node], "g", [helper.make_tensor_value_info("x", 1, x.shape)],
                [helper.make_tensor_value_info("y", 2, x.shape), helper.make_tensor_value_info("s", 1, []),
                 helper.make_tensor_value_info("z", 2, [])],
            ), opset_imports=[helper.make_opsetid("", 21)], ir_version=10,
        )  # fmt: skip
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        wanted = session.run(None, {"x": x})
        got = simulate(compile_model(model, MACHINE), {"x": x}, machine=MACHINE, mode="functional").outputs
        for name, want in zip("ysz", wanted, strict=True):
            np.testing.assert_array_equal(got[name], want)


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("kinds", [(np.uint8, np.int8), (np.int8, np.int8), (np.uint8, np.uint8)])
def test_integer_products(kinds, held):
    """Contractions longer than what FP32 sums exactly, batches, zero points per column."""
    rng, net = np.random.default_rng(5), Net()
    for a, b in (((3, 7), (7, 5)), ((2, 600), (600, 9)), ((2, 3, 4), (4, 6))):
        left, right = net.value(codes(rng, a, kinds[0])), net.value(codes(rng, b, kinds[1]), held)
        points = [net.value(codes(rng, (), kinds[0]), held), net.value(codes(rng, (), kinds[1]), held)]
        net.node("MatMulInteger", left, right, *points)
        net.node("MatMulInteger", left, right)
        net.node("MatMulInteger", left, right, points[0], net.value(codes(rng, b[-1:], kinds[1]), held))
        scales = [net.value(np.float32(s), held) for s in (0.02, 0.03, 0.7)]
        out = net.value(codes(rng, (), kinds[0]), held)
        net.node("QLinearMatMul", left, scales[0], points[0], right, scales[1], points[1], scales[2], out)
    net.check(21)


CONVOLUTIONS = [
    ((2, 3, 6, 7), (4, 3, 3, 3), dict(pads=[1, 1, 1, 1])), ((1, 4, 9, 8), (6, 2, 3, 2), dict(group=2, strides=[2, 1])),
    ((1, 6, 7, 7), (6, 1, 3, 3), dict(group=6, pads=[1, 1, 1, 1])), ((1, 40, 5, 5), (3, 40, 3, 3), dict()),
    ((1, 3, 8, 8), (2, 3, 2, 2), dict(dilations=[2, 2])), ((1, 3, 9), (4, 3, 3), dict(pads=[1, 1])),
]  # fmt: skip


@pytest.mark.parametrize("kinds", [(np.uint8, np.int8), (np.int8, np.int8), (np.uint8, np.uint8)])
def test_integer_convolutions(kinds):
    """Dense, in groups, depthwise and dilated; zero points in borders; weights per tensor and per channel."""
    rng, net = np.random.default_rng(6), Net()
    for shape, kernel, attributes in CONVOLUTIONS:
        x, w = net.value(codes(rng, shape, kinds[0])), net.value(codes(rng, kernel, kinds[1]), True)
        zero, point = net.value(codes(rng, (), kinds[0]), True), net.value(codes(rng, (), kinds[1]), True)
        if kinds == (np.uint8, np.uint8):  # what onnxruntime has a kernel for
            net.node("ConvInteger", x, w, zero, point, **attributes)
        many = np.full(kernel[0], 0, kinds[1])
        scale = net.value(np.linspace(0.01, 0.02, kernel[0]).astype(np.float32), True)
        bias = net.value(rng.integers(-999, 999, kernel[0]).astype(np.int32), True)
        one, last = net.value(np.float32(0.02), True), net.value(np.float32(1.3), True)
        out = net.value(codes(rng, (), kinds[0]), True)
        net.node("QLinearConv", x, one, zero, w, one, point if kinds[1] == np.uint8 else net.value(np.int8(0), True),
                 last, out, bias, **attributes)  # fmt: skip
        if kinds[1] == np.int8:
            net.node("QLinearConv", x, one, zero, w, scale, net.value(many, True), last, out, **attributes)
    net.check(21)
