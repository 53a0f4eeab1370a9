"""Network kernels on the simulated machine, bit for bit against their contracts, on one hart and on two."""

import numpy as np
import pytest
from potluck.isa.assembler import Assembler
from potluck.isa.blocks import layout
from potluck.isa.elf import Section
from potluck.isa.machine import load_machine
from potluck.isa.manifest import Manifest, Tensor
from potluck.isa.mx import quantize
from potluck.kernels.conv_depthwise import DepthwiseFp32, pack_weights_depthwise
from potluck.kernels.conv_fp32 import ConvFp32, pack_weights_fp32
from potluck.kernels.conv_mx import ConvMx, pack_activations, pack_weights
from potluck.kernels.conv_window import Window
from potluck.kernels.elementwise import Add, Clip, ColumnAffine
from potluck.kernels.layout import Fill, Im2col, nchw_to_nhwc, nhwc_to_nchw
from potluck.kernels.pool import GlobalAveragePool, Pool
from potluck.kernels.softmax import Softmax
from potluck.sim.simulate import simulate

MACHINE = load_machine("spatz-mx")
GUARD = 64  # bytes before and after every array that no kernel may write
HARTS = 2


class Bench:
    """Arrays in L1 and a program that runs one kernel on them."""

    def __init__(self, kernel, machine=MACHINE):
        self.kernel, self.machine = kernel, machine
        self.top = MACHINE.memory.l1_base
        self.sections, self.outputs, self.guards = [], {}, 0

    def place(self, array):
        """An input's address."""
        data = np.ascontiguousarray(array).tobytes()
        self.top += GUARD
        address = self.top
        self.sections.append(Section(f".data{len(self.sections)}", address, data, False, True))
        self.top += -(-len(data) // 64) * 64
        return address

    def output(self, name, like):
        """The address of an array that holds ``like`` at first; guarded."""
        raw = np.ascontiguousarray(like).view(np.uint8).reshape(-1)
        guard = np.full(GUARD, 0xA5, np.uint8)
        start = self.place(np.concatenate([guard, raw, guard]))
        self._tensor(name, start + GUARD, like)
        for i, at in enumerate((start, start + GUARD + raw.size)):
            self._tensor(f"{name} guard {i}", at, guard)
        return start + GUARD

    def _tensor(self, name, address, like):
        self.outputs[name] = Tensor(name, str(like.dtype), list(like.shape), "row", address, like.nbytes)

    def run(self, *arguments):
        """Run with a0, a1, ... of each hart; missing harts get the first one's with the count register 0."""
        idle = list(arguments[0])
        idle[int(self.kernel.count_register[1])] = 0
        a = Assembler()
        a("li", "sp", MACHINE.memory.l1_base + MACHINE.memory.l1_bytes)
        a("slli", "t0", "a0", 10)
        a("sub", "sp", "sp", "t0")
        a("mv", "tp", "sp")
        a("mv", "gp", "a0")
        for i in range(12):
            a("li", f"s{i}", 0x5A5 + i)
        go = a.fresh("go")
        for hart, values in enumerate([*arguments, *[idle] * (HARTS - len(arguments))]):
            onward = a.fresh("hart")
            a("li", "t0", hart)
            a("bne", "gp", "t0", onward)
            for i, value in enumerate(values):
                a("li", f"a{i}", int(value))
            a("j", go)
            a.label(onward)
        a.label(go)
        start = a.fresh("kernel")
        a.label(start)
        self.kernel.emit(a)
        bad, end = a.fresh("bad"), a.fresh("end")
        a("bne", "sp", "tp", bad)
        for i in range(12):
            a("li", "t0", 0x5A5 + i)
            a("bne", f"s{i}", "t0", bad)
        a("li", "t0", MACHINE.memory.registers_base)
        a("ld", "t0", "8(t0)")
        a("li", "a0", 0)
        a("j", end)
        a.label(bad)
        a("li", "a0", 3)
        a.label(end)
        a("li", "a7", 93)
        a("ecall")
        manifest = Manifest(outputs=list(self.outputs.values()))
        program = a.assemble().program(manifest, self.sections)
        result = simulate(program, {}, machine=self.machine, mode="timed")
        for name, value in result.outputs.items():
            if "guard" in name:
                assert (value == 0xA5).all(), f"{name} was overwritten"
        return result


def same(got, want):
    np.testing.assert_array_equal(
        np.ascontiguousarray(got).view(np.uint8), np.ascontiguousarray(want).view(np.uint8)
    )


def random_window(rng, taps=4):
    kernel, stride, dilation = ((int(rng.integers(1, n)), int(rng.integers(1, n))) for n in (taps, 3, 3))
    width = int(rng.integers(1, 20))
    reach = (width - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1
    return Window(reach + int(rng.integers(0, 3)), width, kernel, stride, dilation), int(rng.integers(1, 4))


def halves(rows):
    """(first, count) of each hart."""
    first = -(-rows // 2)
    return (0, first), (first, rows - first)


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def bounds(rng):
    return {"low": [None, 0.0][rng.integers(2)], "high": [None, 1.5][rng.integers(2)]}


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
