"""Integer kernels on the simulated machine, bit for bit against their contracts, and these against NumPy."""

import numpy as np
import pytest
from one_kernel import Bench, halves, random_window, same

from potluck.isa.errors import DataError
from potluck.isa.formats.requantize import requantize
from potluck.isa.machine import load_machine
from potluck.isa.pot.codes import MSQ, QKERAS
from potluck.kernels.conv.depthwise_int8 import DepthwiseInt8, pack_weights_depthwise_int8
from potluck.kernels.conv.int8 import ConvInt8, narrow_steps, pack_weights_int8
from potluck.kernels.conv.window import Window
from potluck.kernels.requantize import Finish
from potluck.kernels.weights.codes import ExpandCodes, pack_codes

FINISHES = [
    Finish(),
    Finish("float", low=0.0, high=6.0),
    Finish("float_bias", low=-3.0, high=600.0),
    Finish("ort_float_rne", -128, -128, 127),
    Finish("ort_float_rne", 3, 0, 255),
    Finish("tflite_single", 5, 5, 127),
    Finish("tflite_single", 0, -128, 127),
    Finish("tflite_double", -3, -128, 100),
    Finish("tflite_double", 128, 0, 255),
]
FACTORS = {"small": 2.0**-11, "ties": 2.0**-9, "above one": 1.7}


def factors(rng, channels, finish):
    """Scales per channel: some that give many exact ties, some beyond 1."""
    kind = rng.choice(list(FACTORS), channels)
    made = np.array([FACTORS[k] for k in kind]) * np.where(kind == "small", rng.uniform(0.5, 2, channels), 1)
    return made if finish.law.startswith("tflite") else made.astype(np.float32)


def integers(rng, shape, unsigned):
    low, high = (0, 256) if unsigned else (-128, 128)
    return rng.integers(low, high, shape).astype(np.uint8 if unsigned else np.int8)


def test_contract_is_the_definition():
    rng = np.random.default_rng(0)
    window = Window(5, 3, (3, 3))
    x, w = integers(rng, (5, 5, 7), False), rng.integers(-128, 128, (6, 7, 3, 3)).astype(np.int8)
    bias = rng.integers(-5000, 5000, 6)
    wanted = np.zeros((3, 3, 6), np.int64) + bias
    for i, j, o in np.ndindex(3, 3, 6):
        wanted[i, j, o] += int(
            (x[i : i + 3, j : j + 3].astype(int) * w[o].transpose(1, 2, 0).astype(int)).sum()
        )
    for finish in FINISHES[3:]:
        factor = factors(rng, 6, finish)
        kernel = ConvInt8(window, 7, 6, finish=finish)
        got = kernel.contract(x, pack_weights_int8(w, 8), finish.constants(bias, factor), 3)
        low, high = int(finish.low), int(finish.high)
        same(
            got, requantize(finish.law, wanted, factor, finish.zero_point, low, high).astype(finish.out_dtype)
        )


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("index", range(len(FINISHES)))
def test_convolution(seed, index):
    rng = np.random.default_rng([seed, index])
    finish = FINISHES[index]
    window, rows = random_window(rng)
    c, cout = int(rng.choice([1, 3, 9, 16, 30])), int(rng.choice([1, 8, 10, 32, 45, 70]))
    bits, unsigned = int(rng.choice([8, 16])), bool(rng.integers(2))
    kernel = ConvInt8(window, c, cout, finish=finish, weight_bits=bits, unsigned=unsigned)
    x = integers(rng, (window.rows(rows), window.in_width, c), unsigned)
    limit = 128 if bits == 8 else 256
    weights = pack_weights_int8(rng.integers(-limit, limit, (cout, c, *window.kernel)), bits)
    constants = finish.constants(rng.integers(-(2**15), 2**15, cout), factors(rng, cout, finish))
    want = kernel.contract(x, weights, constants, rows)
    bench = Bench(kernel)
    at, w, k = bench.place(x), bench.place(weights), bench.place(constants)
    out = bench.output("out", np.zeros_like(want))
    parts = [
        (at + first * window.stride[0] * x[0].nbytes, 0, w, 0, k, out + first * want[0].nbytes, count)
        for first, count in halves(rows)
    ]
    same(bench.run(*parts).outputs["out"], want)


@pytest.mark.parametrize("seed", range(8))
def test_narrow_sums_are_the_wide_ones(seed):
    """Weights of few bits: sums in int16 give what int32 gives, at the extremes too."""
    rng = np.random.default_rng([seed, 7])
    finish, unsigned = FINISHES[int(rng.integers(len(FINISHES)))], bool(rng.integers(2))
    window, rows = random_window(rng)
    c, cout = int(rng.choice([1, 3, 31, 33, 64, 70])), int(rng.choice([1, 8, 32, 45]))
    largest, extreme = int(rng.choice([1, 7, 8, 10])), bool(seed % 2)
    levels = rng.integers(-largest, largest, (cout, c, *window.kernel), endpoint=True)
    x = integers(rng, (window.rows(rows), window.in_width, c), unsigned)
    if extreme:  # sums of one sign, as large as they can be
        levels = np.broadcast_to(rng.choice([-largest, largest], (cout, 1, 1, 1)), levels.shape)
        x = np.full_like(x, 255 if unsigned else -128)
    narrow = narrow_steps(np.array([largest]), unsigned)
    kernel = ConvInt8(window, c, cout, finish=finish, unsigned=unsigned, narrow=narrow)
    weights = pack_weights_int8(levels, 8)
    constants = finish.constants(rng.integers(-(2**15), 2**15, cout), factors(rng, cout, finish))
    want = kernel.contract(x, weights, constants, rows)
    bench = Bench(kernel)
    at, w, k = bench.place(x), bench.place(weights), bench.place(constants)
    out = bench.output("out", np.zeros_like(want))
    same(bench.run((at, 0, w, 0, k, out, rows)).outputs["out"], want)


def test_narrow_sums_are_offered_where_they_pay():
    assert narrow_steps(np.array([-8, 7]), False) == 31
    assert narrow_steps(np.array([10]), False) == 25
    assert narrow_steps(np.array([10]), True) == 12
    assert narrow_steps(np.array([64]), False) == 0
    assert narrow_steps(np.array([0]), False) == 32


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("index", range(len(FINISHES)))
def test_depthwise(seed, index):
    rng = np.random.default_rng([seed, index, 1])
    finish = FINISHES[index]
    window, rows = random_window(rng)
    channels, unsigned = int(rng.choice([1, 8, 32, 45, 70])), bool(rng.integers(2))
    kernel = DepthwiseInt8(window, channels, finish, unsigned, tile=int(rng.choice([0, 32])))
    x = integers(rng, (window.rows(rows), window.in_width, channels), unsigned)
    weights = pack_weights_depthwise_int8(rng.integers(-255, 256, (channels, 1, *window.kernel)))
    constants = finish.constants(rng.integers(-(2**15), 2**15, channels), factors(rng, channels, finish))
    want = kernel.contract(x, weights, constants, rows)
    bench = Bench(kernel)
    at, w, k = bench.place(x), bench.place(weights), bench.place(constants)
    out = bench.output("out", np.zeros_like(want))
    parts = [
        (at + first * window.stride[0] * x[0].nbytes, w, k, out + first * want[0].nbytes, count)
        for first, count in halves(rows)
    ]
    same(bench.run(*parts).outputs["out"], want)


def test_accumulators_wrap_and_extreme_codes_survive():
    finish = Finish("float")
    kernel = ConvInt8(Window(1, 1, (1, 1)), 64, 8, finish=finish, weight_bits=16)
    x = np.full((1, 1, 64), -128, np.int8)
    weights = pack_weights_int8(np.full((8, 64, 1, 1), 128), 16)
    constants = finish.constants(np.full(8, -(2**31) + 5), np.ones(8, np.float32))
    want = kernel.contract(x, weights, constants, 1)
    assert want.ravel()[0] == np.float32(2**31 + 5 - 64 * 128 * 128)  # modulo 2^32
    bench = Bench(kernel)
    at, w, k = bench.place(x), bench.place(weights), bench.place(constants)
    out = bench.output("out", np.zeros_like(want))
    same(bench.run((at, 0, w, 0, k, out, 1)).outputs["out"], want)


def test_run_time_vectors_need_no_vlen():
    """tile=0: the same code on registers of another length."""
    rng = np.random.default_rng(9)
    finish, window = FINISHES[5], Window(6, 4, (3, 3))
    kernel = ConvInt8(window, 5, 37, finish=finish, tile=0)
    x = integers(rng, (window.rows(2), 6, 5), False)
    weights = pack_weights_int8(rng.integers(-128, 128, (37, 5, 3, 3)), 8)
    constants = finish.constants(rng.integers(-500, 500, 37), factors(rng, 37, finish))
    want = kernel.contract(x, weights, constants, 2)
    for vlen in (256, 512, 1024):
        bench = Bench(kernel, load_machine("spatz-mx", {"vector.vlen": vlen}))
        at, w, k = bench.place(x), bench.place(weights), bench.place(constants)
        out = bench.output("out", np.zeros_like(want))
        same(bench.run((at, 0, w, 0, k, out, 2)).outputs["out"], want)


def test_errors():
    with pytest.raises(DataError, match="200"):
        pack_weights_int8(np.full((1, 1, 1, 1), 200), 8)
    with pytest.raises(DataError, match="horizontal taps"):
        DepthwiseInt8(Window(9, 1, (1, 9)), 4)
    with pytest.raises(DataError, match="8 bits wide"):
        Finish("tflite_single", 0, -128, 200)
    with pytest.raises(DataError, match="both bounds"):
        Finish("ort_float_rne")


@pytest.mark.parametrize("count", [2, 64, 130, 1000])
def test_codes_expand_to_their_levels(count):
    rng = np.random.default_rng(count)
    tables = ((MSQ.table, 16), (QKERAS.table, 16), (np.r_[0:8, -8:0].astype(np.int16), 8))
    for table, bits in tables:
        dtype = np.int8 if bits == 8 else np.int16
        levels = rng.choice(table, count)
        packed = pack_codes(levels, table)
        kernel = ExpandCodes(count, bits)
        assert len(packed) == 32 + count // 2
        same(kernel.contract(packed), levels.astype(dtype))
        for vlen in (128, 512):
            bench = Bench(kernel, load_machine("spatz-mx", {"vector.vlen": vlen}))
            bench.kernel = Once(kernel)
            at, out = bench.place(packed), bench.output("out", np.zeros(count, dtype))
            same(bench.run((0, at, out, 1)).outputs["out"], levels.astype(dtype))


class Once:
    """A kernel without a count, which a hart that has nothing to do skips."""

    count_register = "a3"

    def __init__(self, kernel):
        self.kernel = kernel

    def emit(self, a):
        skip = a.fresh("skip")
        a("beqz", "a3", skip)
        self.kernel.emit(a)
        a.label(skip)


def test_levels_beyond_the_table_are_errors():
    with pytest.raises(DataError, match=r"\[7\] are no levels"):
        pack_codes(np.array([1, 7]), MSQ.table)
    with pytest.raises(DataError, match="3 codes"):
        pack_codes(np.array([1, 1, 1]), MSQ.table)
