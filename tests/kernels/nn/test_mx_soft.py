"""MX without VMXDOTP: rounding to MX values, and convolutions with VMXDOTP's bits, on any VLEN."""

import numpy as np
import pytest
from one_kernel import Bench, bounds, normal, random_window, same

from potluck.isa.errors import DataError
from potluck.isa.formats.blocks import LAYOUTS
from potluck.isa.formats.mx import MxTensor, quantize
from potluck.isa.machine import load_machine
from potluck.kernels.conv.fp32 import ConvFp32, pack_weights_fp32
from potluck.kernels.conv.mx import ConvMx, pack_activations, pack_quantized
from potluck.kernels.conv.mx_soft import ConvMxSoft
from potluck.kernels.conv.window import Window
from potluck.kernels.quantize.round_mx import RoundMx

LAYOUT = {
    "e4m3": "mxfp8",
    "e5m2": "mxfp8_e5m2",
    "e2m1": "mxfp4",
    "e2m3": "mxfp6",
    "e3m2": "mxfp6_e3m2",
}
VLENS = [128, 256, 512, 1024]
SCHEMES = ["e4m3", "e2m1"]


def machine(vlen):
    return load_machine("spatz-mx", {"vector.vlen": vlen})


def on_machine(kernel, x, weights, bias, rows, vlen):
    bench = Bench(kernel, machine(vlen))
    values, packed, start = bench.place(x), bench.place(weights), bench.place(bias)
    shape = (rows, kernel.window.out_width, kernel.out_channels)
    out = bench.output("y", np.full(shape, 7, np.float32))
    return bench.run((values, 0, packed, 0, start, out, rows)).outputs["y"]


@pytest.mark.parametrize("vlen", VLENS)
@pytest.mark.parametrize("element", LAYOUT)
def test_rounding_gives_the_values_of_the_quantized_tensor(element, vlen):
    rng = np.random.default_rng(vlen)
    for columns, rule in (
        (1, "floor"),
        (31, "even"),
        (32, "rceil"),
        (33, "floor"),
        (96, "even"),
        (100, "floor"),
    ):
        x = np.concatenate([
            normal(rng, 6, columns) * np.exp2(rng.integers(-30, 30, (6, 1))).astype(np.float32),
            rng.integers(0, 1 << 32, (6, columns), np.uint32).view(np.float32),  # every exponent, NaN, infinity
            (normal(rng, 3, columns) * np.float32(1e-39)).astype(np.float32),
            np.zeros((1, columns), np.float32), -np.zeros((1, columns), np.float32),
            np.full((1, columns), np.finfo(np.float32).max), np.full((1, columns), np.inf, np.float32),
        ])  # fmt: skip
        kernel = RoundMx(columns, element, rule=rule)
        bench = Bench(kernel, machine(vlen))
        at = bench.place(x)
        out = bench.output("y", np.zeros_like(x))
        got = bench.run((at, out, len(x))).outputs["y"]
        with np.errstate(all="ignore"):
            same(got, kernel.contract(x))
        finite = np.isfinite(got)
        same(got[finite], quantize(x, LAYOUTS[LAYOUT[element]], scale_rule=rule).dequantize()[finite])


@pytest.mark.parametrize("element", SCHEMES)
@pytest.mark.parametrize("seed", range(6))
def test_trained_like_values_give_the_bits_of_vmxdotp(element, seed):
    rng = np.random.default_rng(seed)
    channels, outputs = int(rng.integers(1, 70)), int(rng.integers(1, 40))
    window, rows = random_window(rng)
    layout = LAYOUTS[LAYOUT[element]]
    pixels = window.rows(rows), window.in_width
    x = quantize(normal(rng, *pixels, channels) * np.exp2(rng.integers(-8, 8, (*pixels, 1))), layout)
    weights = quantize(normal(rng, outputs, channels, *window.kernel), layout, axis=1)
    bias = normal(rng, outputs) * np.float32(2.0 ** rng.integers(-20, 10))
    clip = bounds(rng)
    reference = ConvMx(window, channels, outputs, **clip, element=element)
    codes = pack_activations(x.codes, element)
    want = reference.contract(codes, x.scales, *pack_quantized(weights), bias, rows)
    kernel = ConvMxSoft(window, channels, outputs, **clip, tile=0, element=element)
    values, packed = x.dequantize(), pack_weights_fp32(weights.dequantize())
    same(kernel.contract(values, packed, bias, rows), want)
    same(on_machine(kernel, values, packed, bias, rows, int(rng.choice(VLENS))), want)


def random_codes(rng, element, shape):
    """Codes of finite elements, all equally likely: subnormals, zeros and the largest among them."""
    count = {"e4m3": 256, "e2m1": 16}[element]
    codes = rng.integers(0, count, shape).astype(np.uint8)
    return np.where(codes & 0x7F == 0x7F, np.uint8(0x38), codes) if element == "e4m3" else codes


@pytest.mark.parametrize("element", SCHEMES)
@pytest.mark.parametrize("spread", [2, 25])
def test_random_codes_and_scales_give_the_bits_of_vmxdotp(element, spread):
    """Scales far apart make sums that FP64 does not hold: the error of the addition decides."""
    rng = np.random.default_rng(spread)
    window, channels, outputs, rows = Window(5, 5, (1, 1)), 96, 24, 4
    layout = LAYOUTS[LAYOUT[element]]
    middle = (127 - spread, 127 + spread + 1)
    x = MxTensor(
        random_codes(rng, element, (rows, 5, channels)),
        rng.integers(*middle, (rows, 5, 3)).astype(np.uint8), layout, 2,
    )  # fmt: skip
    weights = MxTensor(
        random_codes(rng, element, (outputs, channels, 1, 1)),
        rng.integers(*middle, (outputs, 3, 1, 1)).astype(np.uint8), layout, 1,
    )  # fmt: skip
    bias = normal(rng, outputs) * np.exp2(rng.integers(-60, 60, outputs)).astype(np.float32)
    codes = pack_activations(x.codes, element)
    want = ConvMx(window, channels, outputs, element=element).contract(
        codes, x.scales, *pack_quantized(weights), bias, rows
    )
    values, packed = x.dequantize(), pack_weights_fp32(weights.dequantize())
    same(
        on_machine(
            ConvMxSoft(window, channels, outputs, tile=0, element=element), values, packed, bias, rows, 256
        ),
        want,
    )
    plain = ConvFp32(window, channels, outputs).contract(values, packed, bias, rows)
    assert not np.array_equal(plain, want)  # FP32 accumulation is another contract


@pytest.mark.parametrize("sign", [1, -1])
def test_a_tie_of_the_chunk_is_broken_by_a_tiny_accumulator(sign):
    """2^18 + 2^-6 lies between two FP32 numbers; FP64 cannot hold the bias beside it."""
    x, weights = np.zeros((1, 1, 8), np.float32), np.zeros((1, 1, 8, 2), np.float32)
    x[0, 0, :5] = 256, 256, 256, 256, 2**-6
    weights[0, 0, :5, 0] = 256, 256, 256, 256, 1
    weights[0, 0, :5, 1] = -256, -256, -256, -256, -1
    bias = np.full(2, sign * 2.0**-60, np.float32)
    got = on_machine(ConvMxSoft(Window(1, 1, (1, 1)), 8, 2, tile=0), x, weights, bias, 1, 128)[0, 0]
    up, down = np.float32(2**18 + 2**-5), np.float32(2**18)
    assert list(got) == ([up, -down] if sign > 0 else [down, -up])


@pytest.mark.parametrize("element", SCHEMES)
def test_overflow_infinity_and_nan(element):
    x = np.array([[[1.0] * 16, [2.0] * 16, [np.nan] * 16, [0.0] * 16]], np.float32)
    weights = np.ones((1, 1, 16, 4), np.float32)
    weights[..., 1] = -1
    bias = np.array([np.finfo(np.float32).max, -np.inf, 0, np.nan], np.float32)
    kernel = ConvMxSoft(Window(4, 4, (1, 1)), 16, 4, tile=0, element=element)
    got = on_machine(kernel, x * np.float32(2.0**60), weights * np.float32(2.0**50), bias, 1, 128)
    with np.errstate(all="ignore"):
        same(got, kernel.contract(x * np.float32(2.0**60), weights * np.float32(2.0**50), bias, 1))
    assert got[0, 0, 1] == -np.inf and np.isnan(got[0, 2]).all() and np.isnan(got[0, :, 3]).all()


@pytest.mark.parametrize("vlen", VLENS)
@pytest.mark.parametrize("channels", [1, 7, 33, 100])
def test_the_fp32_convolution_takes_its_vector_length_from_the_machine(channels, vlen):
    rng = np.random.default_rng(channels)
    window, rows = random_window(rng)
    kernel = ConvFp32(window, 5, channels, tile=0)
    x = normal(rng, window.rows(rows), window.in_width, 5)
    packed, bias = pack_weights_fp32(normal(rng, channels, 5, *window.kernel)), normal(rng, channels)
    same(on_machine(kernel, x, packed, bias, rows, vlen), kernel.contract(x, packed, bias, rows))


def test_e5m2_is_refused():
    with pytest.raises(DataError, match="E5M2"):
        ConvMxSoft(Window(1, 1, (1, 1)), 8, 8, element="e5m2")
