"""Contracts of the network kernels against ONNX operators run by onnxruntime."""

from fractions import Fraction

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from potluck.isa.errors import DataError
from potluck.isa.formats.blocks import layout
from potluck.isa.formats.mx import dequantize, quantize
from potluck.kernels import fp32math
from potluck.kernels.conv.depthwise import DepthwiseFp32, pack_weights_depthwise
from potluck.kernels.conv.fp32 import ConvFp32, pack_weights_fp32
from potluck.kernels.conv.mx import ConvMx, pack_activations, pack_weights
from potluck.kernels.conv.window import Window, plan, split_pixels
from potluck.kernels.layout import Im2col
from potluck.kernels.pool import GlobalAveragePool, Pool, reciprocals
from potluck.kernels.softmax import EXP_ULP, Softmax, exp

LAYOUTS = {"e4m3": "mxfp8", "e5m2": "mxfp8_e5m2", "e2m1": "mxfp4"}


def operator(op, *inputs, **attributes):
    """One ONNX operator on float32 arrays."""
    names = [f"x{i}" for i in range(len(inputs))]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape)
        for name, x in zip(names, inputs, strict=True)
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(op, names, ["y"], **attributes)], op, values, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, inputs, strict=True)))[0]


def nchw(x):
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None])


def nhwc(x):
    return x[0].transpose(1, 2, 0)


def bordered(x, pads, value=0.0):
    """An NHWC image with its borders, ``pads`` (top, left, bottom, right)."""
    return np.pad(x, [(pads[0], pads[2]), (pads[1], pads[3]), (0, 0)], constant_values=value)


GEOMETRIES = [  # image, kernel, stride, dilation, pads
    ((9, 11), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    ((8, 8), (3, 3), (2, 2), (1, 1), (0, 0, 1, 1)),
    ((6, 13), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
    ((9, 12), (5, 2), (2, 1), (1, 3), (2, 0, 2, 1)),
    ((10, 7), (2, 3), (1, 2), (2, 1), (1, 1, 0, 1)),
]


def window_of(image, kernel, stride, dilation, pads):
    size = [
        (image[i] + pads[i] + pads[i + 2] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i in (0, 1)
    ]
    return Window(image[1] + pads[1] + pads[3], size[1], kernel, stride, dilation), size[0]


def attributes_of(kernel, stride, dilation, pads):
    return {"kernel_shape": kernel, "strides": stride, "dilations": dilation, "pads": pads}


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize(
    ("element", "channels"), [("e4m3", 3), ("e4m3", 40), ("e5m2", 32), ("e2m1", 17), ("e2m1", 64)]
)
def test_mx_convolution_is_the_convolution_of_the_dequantized_tensors(geometry, element, channels):
    rng = np.random.default_rng(1)
    mx = layout(LAYOUTS[element])
    window, rows = window_of(*geometry)
    image = rng.standard_normal((*geometry[0], channels)).astype(np.float32)
    weights = rng.standard_normal((10, channels, *geometry[1])).astype(np.float32)
    bias = rng.standard_normal(10).astype(np.float32)
    x = quantize(bordered(image, geometry[4]), mx)
    codes, scales = pack_weights(weights, mx)
    kernel = ConvMx(window, channels, 10, low=0.0, high=20.0, element=element)
    got = kernel.contract(pack_activations(x.codes, element), x.scales, codes, scales, bias, rows)

    exact_weights = dequantize(quantize(weights, mx, axis=1))
    attributes = attributes_of(*geometry[1:])
    attributes["pads"] = (0, 0, 0, 0)
    want = operator("Conv", nchw(dequantize(x)), exact_weights, bias, **attributes)
    np.testing.assert_allclose(got, nhwc(np.clip(want, 0, 20)), rtol=1e-5, atol=2e-5)


def test_bf16_accumulation_stays_near():
    rng = np.random.default_rng(2)
    window, mx = Window(10, 8, (3, 3)), layout("mxfp8")
    x = quantize(rng.standard_normal((5, 10, 16)).astype(np.float32), mx)
    weights = rng.standard_normal((8, 16, 3, 3)).astype(np.float32)
    codes, scales = pack_weights(weights, mx)
    bias = rng.standard_normal(8).astype(np.float32)
    args = (pack_activations(x.codes, "e4m3"), x.scales, codes, scales, bias, 3)
    narrow = ConvMx(window, 16, 8, accumulator="bf16").contract(*args)
    np.testing.assert_allclose(narrow, ConvMx(window, 16, 8).contract(*args), atol=1.0)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("channels", [1, 5])
def test_fp32_convolutions(geometry, channels):
    rng = np.random.default_rng(3)
    window, rows = window_of(*geometry)
    image = rng.standard_normal((*geometry[0], channels)).astype(np.float32)
    weights = rng.standard_normal((7, channels, *geometry[1])).astype(np.float32)
    bias = rng.standard_normal(7).astype(np.float32)
    x, attributes = bordered(image, geometry[4]), attributes_of(*geometry[1:])
    got = ConvFp32(window, channels, 7).contract(x, pack_weights_fp32(weights), bias, rows)
    want = operator("Conv", nchw(image), weights, bias, **attributes)
    np.testing.assert_allclose(got, nhwc(want), rtol=1e-5, atol=1e-5)

    weights = rng.standard_normal((channels, 1, *geometry[1])).astype(np.float32)
    bias = bias[:channels]
    got = DepthwiseFp32(window, channels).contract(x, pack_weights_depthwise(weights), bias, rows)
    want = operator("Conv", nchw(image), weights, bias, group=channels, **attributes)
    np.testing.assert_allclose(got, nhwc(want), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_pooling_with_borders(geometry):
    rng = np.random.default_rng(4)
    window, rows = window_of(*geometry)
    image = rng.standard_normal((*geometry[0], 6)).astype(np.float32)
    attributes = attributes_of(*geometry[1:])
    got = Pool(window, 6).contract(bordered(image, geometry[4], -np.inf), rows)
    np.testing.assert_array_equal(got, nhwc(operator("MaxPool", nchw(image), **attributes)))
    x = bordered(image, geometry[4])
    got = Pool(window, 6, average=True).contract(x, rows)
    want = operator("AveragePool", nchw(image), count_include_pad=1, **attributes)
    np.testing.assert_allclose(got, nhwc(want), rtol=1e-6, atol=1e-6)
    factors = reciprocals(*geometry[0], window, geometry[4], rows)
    got = Pool(window, 6, average=True, counted=True).contract(x, rows, factors)
    want = operator("AveragePool", nchw(image), count_include_pad=0, **attributes)
    np.testing.assert_allclose(got, nhwc(want), rtol=1e-6, atol=1e-6)


def test_global_average_in_one_piece_and_in_two():
    x = np.random.default_rng(5).standard_normal((49, 20)).astype(np.float32)
    whole = GlobalAveragePool(20, factor=1 / 49).contract(x)
    want = operator("GlobalAveragePool", nchw(x.reshape(7, 7, 20)))
    np.testing.assert_allclose(whole, want[0, :, 0, 0], rtol=1e-5, atol=1e-6)
    part = GlobalAveragePool(20).contract(x[:20])
    np.testing.assert_array_equal(GlobalAveragePool(20, 1 / 49, first=False).contract(x[20:], part), whole)


def test_exp_is_within_its_bound():
    bits = np.arange(0x80000000, int(np.float32(-87.33).view(np.uint32)), 1499, dtype=np.int64)
    z = bits.astype(np.uint32).view(np.float32)
    exact = np.exp(z.astype(np.float64))
    ulp = np.ldexp(1.0, np.frexp(exact)[1] - 24)
    assert (np.abs(exp(z) - exact) / ulp).max() < EXP_ULP


def test_exp_at_its_ends():
    z = np.array([0.0, -0.0, -88.0, -1e30, -np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(exp(z), np.array([1, 1, 0, 0, 0, np.nan], np.float32))


@pytest.mark.parametrize("columns", [1, 7, 16, 40, 100])
def test_softmax(columns):
    x = np.random.default_rng(6).standard_normal((5, columns)).astype(np.float32) * 3
    got = Softmax(columns).contract(x)
    np.testing.assert_allclose(got, operator("Softmax", x, axis=-1), rtol=2e-6)
    assert np.abs(got.sum(axis=1) - 1).max() < 1e-6


def test_softmax_special_rows():
    inf = np.inf
    x = np.array([[0, -inf, 0], [0, np.nan, 0], [inf, 0, 0], [-inf] * 3], np.float32)
    got = Softmax(3).contract(x)
    np.testing.assert_array_equal(got[0], [0.5, 0, 0.5])
    assert np.isnan(got[1:]).all()


def test_im2col_times_matrix_is_the_convolution():
    rng = np.random.default_rng(7)
    window = Window(9, 4, (3, 2), (1, 2), (1, 1))
    x = rng.standard_normal((6, 9, 3)).astype(np.float32)
    weights = rng.standard_normal((5, 3, 3, 2)).astype(np.float32)
    raw = np.ascontiguousarray(x).view(np.uint8).reshape(6, 9, 12)
    matrix = Im2col(window, 12).contract(raw, 4).reshape(16, -1).view(np.float32)
    got = matrix @ weights.transpose(2, 3, 1, 0).reshape(-1, 5)
    want = operator("Conv", nchw(x), weights, kernel_shape=(3, 2), strides=(1, 2))
    np.testing.assert_allclose(got.reshape(4, 4, 5), nhwc(want), rtol=1e-5, atol=1e-5)


def test_fma_rounds_once():
    rng = np.random.default_rng(8)
    x, y, z = (rng.integers(0, 1 << 32, 4000, dtype=np.uint32).view(np.float32) for _ in range(3))
    with np.errstate(all="ignore"):
        z[::3] = -(x[::3] * y[::3])  # cancellation
    got = fp32math.fma(x, y, z)
    for values in zip(x, y, z, got, strict=True):
        if not np.isfinite(values[:3]).all() or not np.isfinite(values[3]):
            continue
        a, b, c, result = (Fraction(float(v)) for v in values)
        exact = a * b + c
        error = abs(result - exact)
        for other in np.nextafter(values[3], np.float32([-np.inf, np.inf])):
            if np.isfinite(other):
                assert error <= abs(Fraction(float(other)) - exact)


def test_minimum_and_maximum_follow_riscv():
    nan, bits = np.nan, lambda x: np.asarray(x, np.float32).view(np.uint32)
    a, b = np.float32([0.0, -0.0, nan, 1, nan, 2]), np.float32([-0.0, 0.0, 1, nan, nan, 3])
    np.testing.assert_array_equal(bits(fp32math.maximum(a, b)), bits([0.0, 0.0, 1, 1, nan, 3]))
    np.testing.assert_array_equal(bits(fp32math.minimum(a, b)), bits([-0.0, -0.0, 1, 1, nan, 2]))


@pytest.mark.parametrize("width", range(1, 40))
def test_pixels_are_split_evenly(width):
    groups = split_pixels(width, 8)
    assert sum(size * count for size, count in groups) == width
    assert max(size for size, _ in groups) - min(size for size, _ in groups) <= 1
    assert max(size for size, _ in groups) <= 8


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 2)])
@pytest.mark.parametrize("gap", [1, 2])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 8, 11, 40])
def test_the_plan_visits_every_operand_once_in_order(kernel, gap, steps):
    window = Window(30, 4, kernel, dilation=(2, gap))
    got, at, scale = [], 0, 0
    nest = plan(window, 8, steps, 4, 30 * steps * 8)
    left = [level.count for level in nest.levels]
    while True:
        for _ in range(nest.lead):
            got += [(at + step.data, scale + step.scale) for step in nest.block]
            at, scale = at + nest.block_bytes, scale + 1
        got += [(at + step.data, scale + step.scale) for step in nest.unit]
        for i, level in enumerate(nest.levels):
            left[i] -= 1
            if left[i]:
                at, scale = at + level.data, scale + level.scale
                break
            left[i] = level.count
        else:
            break
    blocks = -(-steps // 4)
    want = [
        (((kh * 2 * 30) + kw * gap) * steps * 8 + 8 * k, ((kh * 2 * 30) + kw * gap) * blocks + k // 4)
        for kh in range(kernel[0])
        for kw in range(kernel[1])
        for k in range(steps)
    ]
    assert got == want


def test_a_window_that_leaves_its_row_is_refused():
    with pytest.raises(DataError, match="read 10 input pixels, a row holds 9"):
        Window(9, 8, (3, 3))
