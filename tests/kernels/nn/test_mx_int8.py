"""MXINT8 convolutions: exact integer sums of blocks, one rounding each, on the machine and in real arithmetic."""

import numpy as np
import pytest
from one_kernel import Bench, bounds, halves, normal, random_window, same

from potluck.compiler.graph.mx_nodes import mx_layout
from potluck.compiler.lowering.packing import pack_scales
from potluck.isa.errors import DataError
from potluck.isa.formats.mx import quantize
from potluck.kernels.conv.mx_int8 import ConvMxInt8, pack_weights_mxint8
from potluck.kernels.conv.window import Window


def layout(block):
    import onnx_ir as ir

    return mx_layout(ir.DataType.INT8, block)


def case(rng, kernel, rows, scale=8):
    """Quantized operands and bias for a kernel."""
    pixels = kernel.window.rows(rows), kernel.window.in_width
    spread = np.exp2(rng.integers(-scale, scale + 1, (*pixels, 1)))
    x = quantize(normal(rng, *pixels, kernel.in_channels) * spread, layout(kernel.block))
    w = quantize(
        normal(rng, kernel.out_channels, kernel.in_channels, *kernel.window.kernel),
        layout(kernel.block),
        axis=1,
    )
    padded = np.pad(x.codes, [(0, 0), (0, 0), (0, kernel.pixel_bytes - kernel.in_channels)])
    return x, w, padded, normal(rng, kernel.out_channels)


@pytest.mark.parametrize("seed", range(8))
def test_execution_equals_the_contract(seed):
    rng = np.random.default_rng(seed)
    window, rows = random_window(rng)
    channels, outputs = int(rng.integers(1, 90)), int(rng.integers(1, 50))
    kernel = ConvMxInt8(window, channels, outputs, **bounds(rng), block=int(rng.choice([8, 16, 32, 64])))
    x, w, codes, bias = case(rng, kernel, rows)
    x.scales[0, 0, 0] = 255  # a NaN block: scale 0xFF, codes 0
    codes[0, 0, : kernel.block] = 0
    weights, scales = pack_weights_mxint8(w), pack_scales(w)
    with np.errstate(all="ignore"):
        want = kernel.contract(codes, x.scales, weights, scales, bias, rows)
    bench = Bench(kernel)
    at = [bench.place(item) for item in (codes, x.scales, weights, scales, bias)]
    out = bench.output("y", np.full(want.shape, 7, np.float32))
    arguments = []
    for first, count in halves(rows):
        line = first * window.stride[0] * window.in_width
        start = at[0] + line * kernel.pixel_bytes, at[1] + line * kernel.scales
        arguments.append([*start, *at[2:], out + 4 * first * want[0].size, count])
    same(bench.run(*arguments).outputs["y"], want)


@pytest.mark.parametrize("channels", [32, 40, 7])
def test_the_contract_is_the_product_of_dequantized_values(channels):
    """Within the roundings of one per block, of sums of products that double precision holds exactly."""
    rng = np.random.default_rng(channels)
    window = Window(6, 4, (3, 3))
    kernel = ConvMxInt8(window, channels, 9)
    x, w, codes, bias = case(rng, kernel, 2)
    got = kernel.contract(codes, x.scales, pack_weights_mxint8(w), pack_scales(w), bias, 2)
    values, filters = x.dequantize().astype(np.float64), w.dequantize().astype(np.float64)
    want, size = (
        np.broadcast_to(bias.astype(np.float64), got.shape).copy(),
        np.abs(bias) + np.zeros(got.shape),
    )
    for kh in range(3):
        for kw in range(3):
            pixels = values[window.view((kh, kw), 2)]
            want += pixels @ filters[:, :, kh, kw].T
            size += np.abs(pixels) @ np.abs(filters[:, :, kh, kw].T)
    assert (np.abs(got - want) <= 9 * kernel.scales * 2.0**-24 * size).all()


def test_rejects_what_it_cannot_do():
    with pytest.raises(DataError, match="MXINT8"):
        ConvMxInt8(Window(4, 4, (1, 1)), 8, 8, block=12)
