"""NVFP4: the quantizer against ml_dtypes, the kernel and the ONNX function against the quantizer."""

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from one_kernel import Bench, normal, same
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from potluck.compiler.functions import function
from potluck.compiler.quantizers.nvfp4 import quantize, tensor_scale
from potluck.isa.errors import DataError
from potluck.isa.machine import load_machine
from potluck.kernels.quantize.round_nvfp4 import RoundNvfp4


def independent(x, factor, block):
    """Codes, scales and values by ml_dtypes' conversions, block after block."""
    codes, scales = np.zeros(x.shape, ml_dtypes.float4_e2m1fn), []
    values = np.zeros(x.shape, np.float32)
    for row in range(len(x)):
        for start in range(0, x.shape[1], block):
            part = slice(start, start + block)
            ratio = np.abs(x[row, part]).max() / (np.float32(6) * factor)
            scale = np.minimum(ratio, np.float32(448)).astype(ml_dtypes.float8_e4m3fn)
            scales.append(scale)
            step = scale.astype(np.float32) * factor
            if step > 0:
                codes[row, part] = np.clip(x[row, part] / step, -6, 6).astype(ml_dtypes.float4_e2m1fn)
            values[row, part] = codes[row, part].astype(np.float32) * step
    return codes, np.array(scales).reshape(len(x), -1), values


def tensors(rng, rows, k):
    """Rows of different sizes, one of zeros, one that is far too small for its tensor."""
    x = normal(rng, rows, k) * np.exp2(rng.integers(-6, 5, (rows, 1))).astype(np.float32)
    x[0], x[-1] = 0, x[-1] * np.float32(2.0**-30)
    return x


@pytest.mark.parametrize("k", [16, 48, 37])
def test_the_quantizer_is_the_definition(k):
    x = tensors(np.random.default_rng(k), 12, k)
    factor = tensor_scale(np.abs(x).max())
    codes, scales, values = independent(x, factor, 16)
    got = quantize(x, factor, 1)
    same(got.scales, scales.view(np.uint8))
    np.testing.assert_array_equal(got.dequantize(), values)
    nonzero = values != 0
    same(got.codes[nonzero], codes.view(np.uint8)[nonzero])
    assert scales.astype(np.float32).max() == 448  # the tensor's scale uses all of E4M3


@pytest.mark.parametrize("vlen", [128, 512])
@pytest.mark.parametrize(("k", "block"), [(16, 16), (37, 16), (96, 32)])
def test_the_kernel_gives_the_quantizers_values(k, block, vlen):
    rng = np.random.default_rng([k, vlen])
    x = tensors(rng, 9, k)
    factor = tensor_scale(np.abs(x).max() / 3)  # calibration has seen less: scales saturate
    kernel = RoundNvfp4(k, float(factor), block)
    np.testing.assert_array_equal(kernel.contract(x), quantize(x, factor, 1, block).dequantize())
    special = np.concatenate([x, rng.integers(0, 1 << 32, (4, k), np.uint32).view(np.float32)])
    special[3, 5], special[4, 2], special[5, 3] = np.nan, np.inf, -np.inf
    bench = Bench(kernel, load_machine("spatz-mx", {"vector.vlen": vlen}))
    at, out = bench.place(special), bench.output("y", np.zeros_like(special))
    got = bench.run((at, out, len(special))).outputs["y"]
    same(got, kernel.contract(special))
    assert np.isnan(got[3, :16]).all() and np.isfinite(got[4]).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_the_function_says_the_same(axis):
    x = tensors(np.random.default_rng(axis), 40, 50)
    factor = tensor_scale(np.abs(x).max() / 2)
    node = helper.make_node(
        "NvQuantizeDequantize",
        ["x", "t"],
        ["y"],
        domain="potluck",
        axis=axis,
        block_size=16,
        to=TensorProto.FLOAT4E2M1,
    )
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xty"]
    graph = helper.make_graph([node], "g", infos[:2], infos[2:])
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 24), helper.make_opsetid("potluck", 1)],
        functions=[ir.serde.serialize_function(function("NvQuantizeDequantize"))],
    )
    got = ReferenceEvaluator(model).run(None, {"x": x, "t": np.array(factor)})[0]
    np.testing.assert_array_equal(got, quantize(x, factor, axis).dequantize())


def test_errors_name_what_is_wrong():
    x = np.ones((2, 16), np.float32)
    x[1, 3] = np.inf
    with pytest.raises(DataError, match=r"'w'.*\[1, 3\] is inf"):
        quantize(x, np.float32(1), 1, name="w")
    with pytest.raises(DataError, match="blocks of 64"):
        RoundNvfp4(64, 1.0, 64)
    with pytest.raises(DataError, match="scale 0"):
        RoundNvfp4(64, 0.0)
