"""Casts between all types and operators of FP16, BF16, FP64 and unsigned integers, against onnx's evaluator."""

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
from nodes import MACHINE
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.ops.op_cast import cast_to

from potluck.compiler.compile import compile_model
from potluck.isa.errors import ModelError
from potluck.sim.simulate import simulate

FLOATS = ["float32", "float16", "bfloat16", "float64"]
FP8 = ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"]
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
FEW = ["int4", "uint4", "int2", "uint2"]
OTHERS = [*FLOATS, *FP8, *INTEGERS, *FEW, "bool", "float4_e2m1fn"]


def info(name, dtype, shape):
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


def run(nodes, inputs, outputs, held=()):
    """(what the machine gives, the model)"""
    graph = helper.make_graph(
        nodes, "g", [info(n, a.dtype, a.shape) for n, a in inputs.items()], outputs, held
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=12)
    return simulate(compile_model(model, MACHINE), inputs, machine=MACHINE, mode="functional").outputs, model


def plain(array):
    known = array.dtype.kind in "biuf" and array.dtype.name in (
        *INTEGERS,
        "float16",
        "float32",
        "float64",
        "bool",
    )
    return array if known else array.astype(np.float32)


def numbers(rng, dtype, count=203):
    """Numbers that every type can be made of without leaving the standard's domain: integers of few bits too."""
    kind = np.dtype(dtype)
    if kind.kind in "iu" and kind.name in INTEGERS:
        info = np.iinfo(kind)
        return rng.integers(info.min, info.max, count, dtype=kind, endpoint=True)
    if dtype in FEW:
        info = ml_dtypes.iinfo(dtype)
        return rng.integers(info.min, info.max, count, endpoint=True).astype(kind)
    if dtype == "bool":
        return rng.integers(0, 2, count).astype(bool)
    drawn = rng.standard_normal(count) * 2.0 ** rng.integers(-24, 20, count)
    drawn[:9] = [0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 65519.9, 65520.0, 1e-40]
    with np.errstate(all="ignore"):
        return drawn.astype(kind)


@pytest.mark.parametrize("source", OTHERS)
def test_casts(source):
    """To every type; floats beyond the range of an integer are not defined, so those stay small."""
    rng, nodes, outputs, inputs = np.random.default_rng(1), [], [], {}
    for index, target in enumerate(OTHERS):
        x = numbers(rng, source)
        integral = target in INTEGERS or target in FEW
        if integral and (source in FLOATS or source in FP8 or source.startswith("float4")):
            low = 0 if target.startswith("u") else -1
            few = {"int4": 8, "uint4": 15, "int2": 2, "uint2": 3}
            if source.startswith("float4"):
                x = np.abs(rng.integers(0, 2, x.size).astype(np.float32)).astype(x.dtype)
            else:
                x = (rng.uniform(low, 1, x.size) * min(few.get(target, 100), 100)).astype(x.dtype)
        if target.startswith("float4"):  # which has no NaN
            x = np.where(x != x, np.ones_like(x), x)
        inputs[f"x{index}"] = x
        to = int(helper.np_dtype_to_tensor_dtype(np.dtype(target)))
        nodes.append(helper.make_node("Cast", [f"x{index}"], [f"y{index}"], name=f"to_{target}", to=to))
        outputs.append(info(f"y{index}", target, x.shape))
    got, model = run(nodes, inputs, outputs)
    for index, target in enumerate(OTHERS):
        with np.errstate(all="ignore"):  # ml_dtypes has no casts between integers of few bits
            if source == target:  # nothing to do, to infinities neither
                continue
            x = inputs[f"x{index}"].astype(np.int8) if source in FEW else inputs[f"x{index}"]
            want = cast_to(x, model.graph.node[index].attribute[0].i, saturate=True)
        found = got[f"y{index}"]
        assert found.dtype == want.dtype
        np.testing.assert_array_equal(plain(found), plain(want), err_msg=f"{source} to {target}")
        if target.startswith("float"):
            signs = np.signbit(plain(found)) == np.signbit(plain(want))
            assert (signs | np.isnan(plain(want))).all(), f"signs of {source} to {target}"


@pytest.mark.parametrize("mode", ["up", "down", "nearest"])
@pytest.mark.parametrize("saturate", [0, 1])
def test_powers_of_two(mode, saturate):
    rng = np.random.default_rng(2)
    x = np.abs(numbers(rng, "float32")).astype(np.float32)
    x[9:14] = [3.4e38, 2.0**127, 1.5, 3.0, 2.0**-126]
    attributes = dict(to=TensorProto.FLOAT8E8M0, saturate=saturate, round_mode=mode)
    nodes = [helper.make_node("Cast", ["x"], ["y"], name="to", **attributes),
             helper.make_node("Cast", ["c"], ["z"], name="back", to=1)]  # fmt: skip
    codes = np.arange(256).astype(np.uint8).view(ml_dtypes.float8_e8m0fnu)
    got, model = run(
        nodes, {"x": x, "c": codes}, [info("y", codes.dtype, x.shape), info("z", "float32", [256])]
    )
    wanted = ReferenceEvaluator(model).run(None, {"x": x, "c": codes})
    np.testing.assert_array_equal(got["y"].view(np.uint8), wanted[0].view(np.uint8))
    np.testing.assert_array_equal(got["z"], wanted[1])


BINARY = ["Add", "Sub", "Mul", "Div", "Max", "Min", "Equal", "Less", "GreaterOrEqual"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "uint32", "uint64", "uint16"])
def test_operators(dtype):
    """One operation is one rounding: bit for bit what NumPy and ml_dtypes compute; broadcast and constant operands."""
    rng, nodes, outputs, held = np.random.default_rng(3), [], [], []
    shapes = {"a": (4, 37), "b": (4, 37), "row": (37,), "column": (4, 1)}
    floating = dtype in FLOATS
    inputs = {
        name: (rng.standard_normal(shape) * 9).astype(dtype) if floating else numbers(rng, dtype, 148)[: np.prod(shape)]
        .reshape(shape) | 1 for name, shape in shapes.items()
    }  # fmt: skip
    held.append(numpy_helper.from_array(np.asarray(3, dtype), "three"))
    held.append(numpy_helper.from_array(inputs["row"][::-1].copy(), "held"))
    for op in BINARY:
        for other in ("b", "row", "column", "three", "held"):
            result = "bool" if op in BINARY[6:] else dtype
            outputs.append(info(f"y{len(nodes)}", result, shapes["a"]))
            nodes.append(helper.make_node(op, ["a", other], [f"y{len(nodes)}"], name=f"{op}_{other}"))
    unary = ["Abs", "Sqrt", "Neg"] if floating else []
    for op in unary:
        outputs.append(info(f"y{len(nodes)}", dtype, shapes["a"]))
        nodes.append(helper.make_node(op, ["a"], [f"y{len(nodes)}"], name=op))
    got, model = run(nodes, inputs, outputs, held)
    with np.errstate(all="ignore"):
        wanted = ReferenceEvaluator(model).run(None, inputs)
    for node, value, want in zip(nodes, outputs, wanted, strict=True):
        assert got[value.name].dtype == want.dtype
        np.testing.assert_array_equal(plain(got[value.name]), plain(np.asarray(want)), err_msg=node.name)


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_reductions_of_unsigned_integers(dtype):
    rng = np.random.default_rng(4)
    x = numbers(rng, dtype, 60).reshape(3, 4, 5)
    names = ["ReduceMax", "ReduceMin", "ReduceSum", "ReduceL1"]
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    nodes = [helper.make_node(op, ["x", "axes"], [op], name=op, keepdims=0) for op in names]
    got, _ = run(nodes, {"x": x}, [info(op, dtype, (3, 5)) for op in names], [axes])
    with np.errstate(all="ignore"):
        for op, want in zip(names, (x.max(1), x.min(1), x.sum(1), x.sum(1)), strict=True):
            np.testing.assert_array_equal(got[op], want.astype(dtype))


def test_a_network_of_halves():
    """Convolution, normalization and attention's operators, which onnxruntime computes in FP32 between casts too."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((1, 3, 8, 8)).astype(np.float16)
    w = (rng.standard_normal((4, 3, 3, 3)) / 5).astype(np.float16)
    m = (rng.standard_normal((36, 10)) / 6).astype(np.float16)
    s = np.array([1, 4, 36], np.int64)
    held = [numpy_helper.from_array(a, n) for n, a in (("w", w), ("m", m), ("s", s))]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"), helper.make_node("Gelu", ["c"], ["r"], name="gelu"),
        helper.make_node("Reshape", ["r", "s"], ["f"], name="shape"),
        helper.make_node("MatMul", ["f", "m"], ["p"], name="matmul"),
        helper.make_node("Softmax", ["p"], ["y"], name="softmax", axis=-1),
    ]  # fmt: skip
    got, model = run(nodes, {"x": x}, [info("y", "float16", (1, 4, 10))], held)
    model.opset_import[0].version, model.ir_version = 20, 10
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(got["y"], session.run(None, {"x": x})[0], rtol=2e-3)


def test_functions_of_doubles_are_refused():
    x = np.zeros(3)
    with pytest.raises(ModelError, match=r"e \(Exp\): its tensor 'x' is DOUBLE, which is not computed"):
        run([helper.make_node("Exp", ["x"], ["y"], name="e")], {"x": x}, [info("y", "float64", (3,))])
