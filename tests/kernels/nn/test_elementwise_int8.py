"""Codes and values on the simulated machine, bit for bit; the contracts against onnx's evaluator."""

import numpy as np
import onnx
import pytest
from one_kernel import Bench, same
from onnx.reference import ReferenceEvaluator

from potluck.isa.errors import DataError
from potluck.kernels.elementwise_int8 import AddInt8, Affine, DequantizeInt8, QuantizeInt8

KINDS = [
    Affine(0.037, 0),
    Affine(0.25, -128),
    Affine(1.9e-3, 17),
    Affine(0.11, 128, True),
    Affine(2.0**-130, 3, True),
]


def onnx_round_trip(kind, x):
    """QuantizeLinear and DequantizeLinear of onnx's evaluator."""
    code = onnx.TensorProto.UINT8 if kind.unsigned else onnx.TensorProto.INT8
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    info = onnx.helper.make_tensor_value_info
    constants = [
        onnx.numpy_helper.from_array(np.float32(kind.scale), "s"),
        onnx.numpy_helper.from_array(kind.dtype.type(kind.zero_point), "z"),
    ]
    outputs = [info("q", code, x.shape), info("y", onnx.TensorProto.FLOAT, x.shape)]
    graph = onnx.helper.make_graph(
        nodes, "g", [info("x", onnx.TensorProto.FLOAT, x.shape)], outputs, constants
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    return ReferenceEvaluator(model).run(None, {"x": x})


def values(kind, count):
    rng = np.random.default_rng(count)
    x = (rng.normal(0, 90, count) * kind.scale).astype(np.float32)
    ties = (rng.integers(-140, 140, count) + 0.5).astype(np.float32) * np.float32(kind.scale)
    return np.where(rng.random(count) < 0.4, ties, x).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("count", [1, 63, 300])
def test_quantize_and_dequantize(kind, count):
    x = values(kind, count)
    codes, restored = onnx_round_trip(kind, x)
    to, back = QuantizeInt8(kind), DequantizeInt8(kind)
    same(to.contract(x), codes)
    same(back.contract(codes), restored)
    for kernel, given, wanted in ((to, x, codes), (back, codes, restored)):
        bench = Bench(kernel)
        at, out = bench.place(given), bench.output("out", np.zeros_like(wanted))
        first = count // 2
        parts = [
            (at, out, first),
            (at + first * given.itemsize, out + first * wanted.itemsize, count - first),
        ]
        same(bench.run(*parts).outputs["out"], wanted)


def test_special_values():
    kind = KINDS[1]
    x = np.float32([np.inf, -np.inf, np.nan, -0.0, 3e38, 1e-40])
    kernel = QuantizeInt8(kind)
    bench = Bench(kernel)
    at, out = bench.place(x), bench.output("out", np.zeros(6, np.int8))
    want = kernel.contract(x)
    assert want.tolist() == [127, -128, -128, -128, 127, -128]
    same(bench.run((at, out, 6)).outputs["out"], want)


@pytest.mark.parametrize("seed", range(5))
def test_sum(seed):
    rng = np.random.default_rng(seed)
    kinds = [KINDS[i] for i in rng.integers(0, 4, 3)]
    low, high = kinds[2].limits
    kernel = AddInt8(*kinds, int(rng.choice([low, kinds[2].zero_point])), high - 1)
    x, y = (rng.integers(*k.limits, 200, endpoint=True).astype(k.dtype) for k in kinds[:2])
    want = kernel.contract(x, y)
    bench = Bench(kernel)
    at, by, out = bench.place(x), bench.place(y), bench.output("out", np.zeros_like(want))
    same(bench.run((at, by, out, 90), (at + 90, by + 90, out + 90, 110)).outputs["out"], want)


@pytest.mark.parametrize("bad", [(0.0, 0), (float("inf"), 0), (1.0, 200), (1.0, -1, True)])
def test_errors(bad):
    with pytest.raises(DataError, match="no quantization"):
        Affine(*bad)
