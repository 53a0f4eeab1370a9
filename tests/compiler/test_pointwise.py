"""Elementwise operators with any broadcast, type and order in memory, against onnx's reference evaluator."""

import numpy as np
import onnx
from nodes import MACHINE, Net, drawn
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from potluck.compiler.compile import compile_model
from potluck.compiler.lowering.pointwise import merge
from potluck.compiler.operators.pointwise import BUILDERS
from potluck.sim.simulate import simulate

SHAPES = [
    ((5,), (5,)), ((3, 7), (7,)), ((3, 7), (3, 1)), ((2, 3, 4, 5), (2, 3, 4, 5)), ((2, 3, 4, 5), (3, 1, 1)),
    ((2, 3, 4, 5), (4, 5)), ((2, 3, 4, 5), (2, 1, 4, 1)), ((1, 3, 1, 5), (2, 3, 4, 1)), ((4, 1, 6), (3, 1)),
    ((), (2, 3)), ((1,), (300,)), ((70, 90), (70, 90)), ((2, 2, 2, 2, 2), (2, 1, 2, 1, 2)), ((3, 4000), (3, 1)),
]  # fmt: skip
DTYPES = ("float32", "int32", "int64", "bool", "uint8", "int8")


def test_broadcasting():
    rng, net = np.random.default_rng(1), Net()
    for left, right in SHAPES:
        for constants in ((False, False), (True, False), (False, True)):
            arrays = (drawn(rng, left), drawn(rng, right))
            names = [net.value(*pair) for pair in zip(arrays, constants, strict=True)]
            net.node("Sub", *names, rtol=0, atol=0)
            net.node("Sub", *names[::-1], rtol=0, atol=0)
    net.check()


UNARY = ["Neg", "Abs", "Sign", "Exp", "Sigmoid", "Tanh", "Erf", "Softplus", "Sin", "Cos", "Tan", "Atan", "Sinh",
         "Cosh", "Asinh", "Floor", "Ceil", "Round", "Softsign", "Mish", "HardSwish", "Elu", "Selu", "Celu",
         "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "Shrink", "Relu"]  # fmt: skip


def test_functions_of_one_argument():
    net = Net()
    x = net.value(drawn(np.random.default_rng(2), (3, 50)))
    positive = net.value(drawn(np.random.default_rng(3), (3, 50), positive=True))
    above = net.value(drawn(np.random.default_rng(4), (3, 50), positive=True) + np.float32(1))
    for op in UNARY:
        net.node(op, x, rtol=1e-5, atol=1e-6)
    for op in ("Log", "Sqrt", "Reciprocal"):
        net.node(op, positive, rtol=1e-5)
    net.node("Acosh", above, rtol=1e-5)
    net.node("Gelu", x, rtol=1e-5, atol=1e-6)
    net.node("Gelu", x, rtol=1e-5, atol=1e-6, approximate="tanh")
    net.check()


def test_comparisons():
    rng, net = np.random.default_rng(3), Net()
    for dtype in ("float32", "int32", "int64"):
        left, right = drawn(rng, (4, 9), dtype), drawn(rng, (9,), dtype)
        right[:4] = left[0, :4]
        names = net.value(left), net.value(right)
        for op in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"):
            net.node(op, *names)
    net.check()


def test_arithmetic():
    rng, net = np.random.default_rng(4), Net()
    for dtype in ("float32", "int32", "int64", "uint8", "int8"):
        names = net.value(drawn(rng, (4, 9), dtype)), net.value(drawn(rng, (4, 1), dtype))
        for op in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
            net.node(op, *names, atol=1e-5)
        net.node("Mod", *names, atol=1e-5, fmod=int(dtype == "float32"))
    net.check()


def test_casts():
    rng, net = np.random.default_rng(5), Net()
    for source in DTYPES:
        x = net.value(drawn(rng, (6, 11), source))
        for to in ("float32", "int32", "int64", "bool"):
            net.node("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(to)))
    net.check()


def test_where_and_logic():
    rng, net = np.random.default_rng(6), Net()
    where, x, y = drawn(rng, (4, 1), "bool"), drawn(rng, (4, 9)), drawn(rng, (9,))
    net.node("Where", net.value(where), net.value(x), net.value(y))
    flags = net.value(drawn(rng, (3, 8), "bool")), net.value(drawn(rng, (8,), "bool"))
    for op in ("And", "Or", "Xor"):
        net.node(op, *flags)
    net.node("Not", flags[0])
    net.check()


def test_powers():
    rng, net = np.random.default_rng(7), Net()
    x = net.value(drawn(rng, (5, 8), positive=True))
    for exponent in (2.0, 0.5, 3.0, -1.0, 1.7):
        net.node("Pow", x, net.value(np.float32(exponent), constant=True), rtol=1e-5)
    net.node("Pow", x, net.value(drawn(rng, (8,))), rtol=1e-5)
    net.check()


def test_a_pointwise_operator_keeps_the_order_of_images():
    """Nothing is moved between a convolution, a product with a number per channel and another convolution."""
    text = """<ir_version: 10, opset_import: ["" : 22]> g (float[1, 8, 6, 6] x) => (float[1, 8, 6, 6] y) {
      a = Conv (x, w)
      b = Mul (a, s)
      c = Sigmoid (b)
      y = Conv (c, w)
    }"""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(8)
    for name, shape in (("w", (8, 8, 1, 1)), ("s", (8, 1, 1))):
        model.graph.initializer.append(numpy_helper.from_array(drawn(rng, shape), name))
    program = compile_model(model, MACHINE)
    assert [layer.op for layer in program.manifest.layers] == ["Conv", "Mul+Sigmoid", "Conv"]
    x = drawn(rng, (1, 8, 6, 6))
    want = ReferenceEvaluator(model).run(None, {"x": x})[0]
    got = simulate(program, {"x": x}, machine=MACHINE, mode="timed").outputs["y"]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_neighbouring_dimensions_merge():
    axes = merge((2, 3, 4, 5), [(2, 3, 4, 5), (1, 3, 1, 1)])
    assert [(axis.size, axis.varies) for axis in axes] == [
        (2, (True, False)),
        (3, (True, True)),
        (20, (True, False)),
    ]
    assert [axis.size for axis in merge((6, 7), [(6, 7), (6, 7)])] == [42]


def test_every_operator_is_known_to_onnx():
    for name in BUILDERS:
        assert onnx.defs.has(name)
