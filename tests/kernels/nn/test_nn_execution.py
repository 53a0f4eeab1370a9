"""Network kernels on the simulated machine, bit for bit against their contracts, on one hart and on two."""

import numpy as np
import pytest
from one_kernel import Bench, halves, normal, random_window, same

from potluck.isa.formats.blocks import layout
from potluck.isa.formats.mx import quantize
from potluck.isa.machine import load_machine
from potluck.kernels.conv.depthwise import DepthwiseFp32
from potluck.kernels.conv.mx import ConvMx, pack_activations, pack_weights
from potluck.kernels.conv.window import Window
from potluck.kernels.elementwise import Add, Clip, ColumnAffine
from potluck.kernels.layout import Fill, Im2col, nchw_to_nhwc, nhwc_to_nchw
from potluck.kernels.pool import GlobalAveragePool, Pool
from potluck.kernels.softmax import Softmax


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["max", "average", "counted"])
def test_pooling(seed, kind):
    rng = np.random.default_rng(seed)
    window, rows = random_window(rng)
    channels = int(rng.choice([1, 3, 16, 20, 40, 70]))
    kernel = Pool(window, channels, average=kind != "max", counted=kind == "counted")
    x = normal(rng, window.rows(rows), window.in_width, channels)
    x.ravel()[:: max(1, x.size // 9)] = rng.choice(
        [0.0, -0.0, np.nan, np.inf, -np.inf], len(x.ravel()[:: max(1, x.size // 9)])
    )
    factors = normal(rng, rows, window.out_width)
    want = kernel.contract(x, rows, factors if kind == "counted" else None)
    bench = Bench(kernel)
    at, scale, out = bench.place(x), bench.place(factors), bench.output("out", np.zeros_like(want))
    parts = [
        (at + first * window.stride[0] * x[0].nbytes, out + first * want[0].nbytes, count,
         scale + first * factors[0].nbytes)
        for first, count in halves(rows)
    ]  # fmt: skip
    same(bench.run(*parts).outputs["out"], want)


@pytest.mark.parametrize("pixels", [0, 1, 3, 4, 9, 16])
@pytest.mark.parametrize("channels", [1, 64, 100])
def test_global_average(pixels, channels):
    rng = np.random.default_rng(pixels)
    x, start = normal(rng, pixels, channels), normal(rng, channels)
    for kernel in (GlobalAveragePool(channels, 0.0625), GlobalAveragePool(channels, None, first=False)):
        want = kernel.contract(x, None if kernel.first else start)
        bench = Bench(kernel)
        at, out = bench.place(np.append(x.ravel(), np.float32(0))), bench.output("out", start)
        other = bench.output("other", start)
        result = bench.run((at, out, pixels), (at, other, pixels))
        same(result.outputs["out"], want)
        same(result.outputs["other"], want)


SPECIAL = np.float32([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-40, -3e38])


@pytest.mark.parametrize("count", [1, 7, 128, 300])
def test_elementwise(count):
    rng = np.random.default_rng(count)
    x, y = normal(rng, count), normal(rng, count)
    x[: len(SPECIAL)] = SPECIAL[:count]
    first = count // 2
    for kernel in (Add(), Add(0.0, 1.0)):
        want = kernel.contract(x, y)
        bench = Bench(kernel)
        a, b, out = bench.place(x), bench.place(y), bench.output("out", np.zeros_like(x))
        got = bench.run((a, b, out, first), *[[p + 4 * first for p in (a, b, out)] + [count - first]])
        same(got.outputs["out"], want)
    kernel = Clip(0.0, 0.5)
    bench = Bench(kernel)
    out = bench.output("out", x)
    same(bench.run((out, out, count)).outputs["out"], kernel.contract(x))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 10), (4, 70), (5, 130)])
def test_column_affine(rows, columns):
    rng = np.random.default_rng(rows)
    x, bias, scale = normal(rng, rows, columns), normal(rng, columns), normal(rng, columns)
    for kernel in (ColumnAffine(columns, low=0.0), ColumnAffine(columns, scaled=True)):
        want = kernel.contract(x, bias, scale if kernel.scaled else None)
        bench = Bench(kernel)
        at, b, s, out = *map(bench.place, (x, bias, scale)), bench.output("out", np.zeros_like(x))
        parts = [(at + first * 4 * columns, out + first * 4 * columns, b, s, n) for first, n in halves(rows)]
        same(bench.run(*parts).outputs["out"], want)


@pytest.mark.parametrize("columns", [1, 5, 10, 16, 17, 33, 64, 100, 200])
def test_softmax(columns):
    rng = np.random.default_rng(columns)
    x = 8 * normal(rng, 5, columns)
    x[1, 0], x[2, columns // 2], x[3], x[4, -1] = -np.inf, np.nan, -np.inf, np.inf
    kernel = Softmax(columns)
    bench = Bench(kernel)
    at, out = bench.place(x), bench.output("out", np.zeros_like(x))
    parts = [(at + first * 4 * columns, out + first * 4 * columns, n) for first, n in halves(5)]
    same(bench.run(*parts).outputs["out"], kernel.contract(x))


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 5, 7), (1, 4, 9), (20, 3, 2), (2, 2, 150)])
def test_image_layouts(channels, height, width):
    rng = np.random.default_rng(channels)
    x = normal(rng, channels, height, width)
    y = np.ascontiguousarray(x.transpose(1, 2, 0))
    for kernel, source, want in (
        (nchw_to_nhwc(channels, height, width), x, y),
        (nhwc_to_nchw(channels, height, width), y, x),
    ):
        bench = Bench(kernel)
        at, out = bench.place(source), bench.output("out", np.zeros_like(want))
        parts = [
            (at + first * kernel.source[0], out + first * kernel.target[0], n) for first, n in halves(height)
        ]
        same(bench.run(*parts).outputs["out"], want)
    kernel = nchw_to_nhwc(channels, height, width, out_channels=channels + 1, out_width=width + 2)
    before = rng.integers(0, 256, height * (width + 2) * (channels + 1) * 4).astype(np.uint8)
    bench = Bench(kernel)
    at, out = bench.place(x), bench.output("out", before)
    same(
        bench.run((at, out, height)).outputs["out"], kernel.contract(x.ravel().view(np.uint8), before, height)
    )


@pytest.mark.parametrize(("pattern", "length"), [(0, 37), (0, 700), (0xFF800000, 40), (0xFF800000, 700)])
def test_fill(pattern, length):
    before = np.random.default_rng(0).integers(0, 256, 3000).astype(np.uint8)
    kernel = Fill(pattern)
    bench = Bench(kernel)
    out = bench.output("out", before)
    same(bench.run((out, length, 3, 800)).outputs["out"], kernel.contract(before, length, 3, 800))


@pytest.mark.parametrize("seed", range(8))
def test_im2col(seed):
    rng = np.random.default_rng(seed)
    window, rows = random_window(rng)
    kernel = Im2col(window, int(rng.choice([1, 3, 4, 8, 12, 24, 136])))
    x = rng.integers(0, 256, (window.rows(rows), window.in_width, kernel.pixel_bytes)).astype(np.uint8)
    want = kernel.contract(x, rows)
    bench = Bench(kernel)
    at, out = bench.place(x), bench.output("out", np.zeros_like(want))
    parts = [
        (at + first * window.stride[0] * x[0].nbytes,
         out + first * window.out_width * kernel.matrix_columns, n)
        for first, n in halves(rows)
    ]  # fmt: skip
    same(bench.run(*parts).outputs["out"], want)


@pytest.mark.parametrize("vlen", [128, 256, 1024])
def test_results_do_not_depend_on_vlen(vlen):
    rng = np.random.default_rng(vlen)
    machine = load_machine("spatz-mx", {"vector.vlen": vlen})
    window = Window(9, 7, (3, 3))
    x, bias, weights = normal(rng, 4, 9, 40), normal(rng, 40), normal(rng, 40, 40, 3, 3)
    mx = quantize(x, layout("mxfp8"))
    codes, (packed, scales) = pack_activations(mx.codes, "e4m3"), pack_weights(weights, layout("mxfp8"))
    kernel = ConvMx(window, 40, 40, low=0.0, tile=vlen // 16)
    want = kernel.contract(codes, mx.scales, packed, scales, bias, 2)
    bench = Bench(kernel, machine)
    at, out = (
        list(map(bench.place, (codes, mx.scales, packed, scales, bias))),
        bench.output("out", np.zeros_like(want)),
    )
    same(bench.run((*at, out, 2)).outputs["out"], want)

    kernel = DepthwiseFp32(window, 40, tile=vlen // 16)
    weights = normal(rng, 3, 3, 40)
    want = kernel.contract(x, weights, bias, 2)
    bench = Bench(kernel, machine)
    at, out = list(map(bench.place, (x, weights, bias))), bench.output("out", np.zeros_like(want))
    same(bench.run((*at, out, 2)).outputs["out"], want)

    for kernel, arguments in ((Pool(window, 40, average=True, vlen=vlen), (x, 2)), (Softmax(40), (x[0],))):
        want = kernel.contract(*arguments)
        bench = Bench(kernel, machine)
        at, out = bench.place(arguments[0]), bench.output("out", np.zeros_like(want))
        same(bench.run((at, out, len(want))).outputs["out"], want)
