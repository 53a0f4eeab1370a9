"""Convolutions on the simulated machine, bit for bit against their contracts, on one hart and on two."""

import numpy as np
import pytest
from one_kernel import HARTS, MACHINE, Bench, bounds, halves, normal, random_window, same

from potluck.isa.formats.blocks import layout
from potluck.isa.formats.mx import quantize
from potluck.kernels.conv.depthwise import DepthwiseFp32, pack_weights_depthwise
from potluck.kernels.conv.fp32 import ConvFp32, pack_weights_fp32
from potluck.kernels.conv.mx import ConvMx, pack_activations, pack_weights
from potluck.kernels.conv.window import Window


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("element", "accumulator"), [("e4m3", "fp32"), ("e2m1", "fp32"), ("e5m2", "bf16")])
def test_mx_convolution(seed, element, accumulator):
    rng = np.random.default_rng(seed)
    window, rows = random_window(rng)
    channels = int(rng.choice([1, 3, 8, 16, 32, 40, 64, 72, 100]))
    filters = int(rng.choice([1, 5, 8, 16, 32, 33, 40]))
    mx = layout({"e4m3": "mxfp8", "e5m2": "mxfp8_e5m2", "e2m1": "mxfp4"}[element])
    kernel = ConvMx(window, channels, filters, element=element, accumulator=accumulator, **bounds(rng))
    x = quantize(normal(rng, window.rows(rows), window.in_width, channels), mx)
    codes, bias = pack_activations(x.codes, element), normal(rng, filters)
    weights, scales = pack_weights(normal(rng, filters, channels, *window.kernel), mx)
    want = kernel.contract(codes, x.scales, weights, scales, bias, rows)
    bench = Bench(kernel)
    data, data_scales, rest = (
        bench.place(codes),
        bench.place(x.scales),
        map(bench.place, (weights, scales, bias)),
    )
    rest, out = list(rest), bench.output("out", np.zeros_like(want))

    def arguments(first, count):
        step = first * window.stride[0]
        offsets = step * codes[0].nbytes, step * x.scales[0].nbytes
        return data + offsets[0], data_scales + offsets[1], *rest, out + first * want[0].nbytes, count

    parts = halves(rows) if seed % 2 else [(0, rows)]
    same(bench.run(*(arguments(*part) for part in parts)).outputs["out"], want)


@pytest.mark.parametrize("seed", range(10))
def test_fp32_convolution(seed):
    rng = np.random.default_rng(seed)
    window, rows = random_window(rng, 5)
    channels, filters = int(rng.choice([1, 3, 4, 8, 11])), int(rng.choice([1, 5, 16, 32, 40]))
    kernel = ConvFp32(window, channels, filters, **bounds(rng))
    x, bias = normal(rng, window.rows(rows), window.in_width, channels), normal(rng, filters)
    weights = pack_weights_fp32(normal(rng, filters, channels, *window.kernel))
    want = kernel.contract(x, weights, bias, rows)
    bench = Bench(kernel)
    at, w, b, out = *map(bench.place, (x, weights, bias)), bench.output("out", np.zeros_like(want))
    parts = [
        (at + first * window.stride[0] * x[0].nbytes, 0, w, 0, b, out + first * want[0].nbytes, count)
        for first, count in halves(rows)
    ]
    same(bench.run(*parts).outputs["out"], want)


@pytest.mark.parametrize("seed", range(10))
def test_depthwise_convolution(seed):
    rng = np.random.default_rng(seed)
    window, rows = random_window(rng, 6)
    channels = int(rng.choice([1, 3, 16, 32, 50]))
    kernel = DepthwiseFp32(window, channels, **bounds(rng))
    x, bias = normal(rng, window.rows(rows), window.in_width, channels), normal(rng, channels)
    weights = pack_weights_depthwise(normal(rng, channels, 1, *window.kernel))
    want = kernel.contract(x, weights, bias, rows)
    bench = Bench(kernel)
    at, w, b, out = *map(bench.place, (x, weights, bias)), bench.output("out", np.zeros_like(want))
    parts = [
        (at + first * window.stride[0] * x[0].nbytes, w, b, out + first * want[0].nbytes, count)
        for first, count in halves(rows)
    ]
    same(bench.run(*parts).outputs["out"], want)


@pytest.mark.parametrize(
    ("channels", "filters", "taps", "element", "least"),
    [
        (64, 64, 3, "e4m3", 0.95),
        (16, 16, 3, "e4m3", 0.85),
        (64, 64, 1, "e4m3", 0.85),
        (64, 32, 3, "e2m1", 0.95),
    ],
)
def test_the_multipliers_of_a_core_are_busy(channels, filters, taps, element, least):
    rng = np.random.default_rng(0)
    window, mx = Window(15 + taps, 16, (taps, taps)), layout("mxfp8" if element == "e4m3" else "mxfp4")
    kernel = ConvMx(window, channels, filters, low=0.0, element=element)
    x = quantize(normal(rng, 3 + taps, window.in_width, channels), mx)
    weights, scales = pack_weights(normal(rng, filters, channels, taps, taps), mx)
    arrays = (pack_activations(x.codes, element), x.scales, weights, scales, normal(rng, filters))
    bench = Bench(kernel)
    at, out = list(map(bench.place, arrays)), bench.output("out", np.zeros((4, 16, filters), np.float32))
    cycles = bench.run((*at, out, 4)).cycles - bench.run((*at, out, 0)).cycles
    assert 4 * kernel.macs / (MACHINE.peak_macs_per_cycle(mx.name) / HARTS) > least * cycles
