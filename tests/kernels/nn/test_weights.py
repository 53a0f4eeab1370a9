"""Packed weights: what becomes of them in L1, against ml_dtypes and plain NumPy."""

import ml_dtypes
import numpy as np
import pytest
from one_kernel import Bench, same

from potluck.isa.errors import DataError
from potluck.isa.formats.elements import FORMATS, recode
from potluck.kernels.weights.decode import DecodeWeights
from potluck.kernels.weights.elements import ExpandElements, pack_elements
from potluck.kernels.weights.widen import WidenWeights

DTYPES = {
    "e2m1": ml_dtypes.float4_e2m1fn,
    "e2m3": ml_dtypes.float6_e2m3fn,
    "e3m2": ml_dtypes.float6_e3m2fn,
    "e4m3": ml_dtypes.float8_e4m3fn,
    "e5m2": ml_dtypes.float8_e5m2,
}


class Counted:
    """A kernel that has no count of rows, as `Bench` runs it: harts whose a6 is 0 do nothing."""

    count_register = "a6"

    def __init__(self, kernel):
        self.kernel = kernel

    def emit(self, a):
        idle = a.fresh("idle")
        a("beqz", "a6", idle)
        self.kernel.emit(a)
        a.label(idle)


@pytest.mark.parametrize("name", ["e2m1", "e2m3", "e3m2"])
@pytest.mark.parametrize("wide", ["e4m3", "e5m2"])
def test_expansion_keeps_values(name, wide):
    """Every code of 4 and 6 bits becomes the byte that ml_dtypes gives for the same value."""
    if (name, wide) == ("e2m3", "e5m2"):
        pytest.skip("E5M2 has one mantissa bit too few")
    bits = FORMATS[name].bits
    rng = np.random.default_rng(bits)
    table = recode(np.arange(1 << bits, dtype=np.uint8), FORMATS[name], FORMATS[wide])
    for count in (32, 96, int(rng.integers(10, 40)) * 32):
        codes = rng.integers(0, 1 << bits, count).astype(np.uint8)
        packed = pack_elements(codes, table, bits)
        assert len(packed) == (1 << bits) + count * bits // 8
        kernel = ExpandElements(count, bits)
        want = codes.view(DTYPES[name]).astype(np.float32).astype(DTYPES[wide]).view(np.uint8)
        same(kernel.contract(packed), want)
        bench = Bench(Counted(kernel))
        source, out = bench.place(packed), bench.output("out", np.zeros(count, np.uint8))
        same(bench.run([0, source, out, 0, 0, 0, 1]).outputs["out"], want)


@pytest.mark.parametrize("scale", ["e8m0", "e4m3", "fp32"])
@pytest.mark.parametrize("element", ["e4m3", "e5m2", "int8"])
def test_decoding(element, scale):
    """Element times scale in FP32, elements in the place that their values take."""
    rng = np.random.default_rng([len(element), len(scale)])
    for channels in (2, 30, int(rng.integers(35, 80)) * 2):
        taps, depth, block = int(rng.integers(1, 4)), int(rng.integers(1, 50)), int(rng.choice([8, 16, 32]))
        factor = 1.0 if scale == "e8m0" else 0.37
        kernel = DecodeWeights(taps, depth, channels, block, element, scale, factor)
        raw = rng.integers(0, 256, (taps, depth, channels)).astype(np.uint8)
        values = raw.view(np.int8) if element == "int8" else raw.view(DTYPES[element])
        shape = (taps, -(-depth // block), channels)
        if scale == "fp32":
            scales = factors = rng.standard_normal(shape).astype(np.float32)
        else:
            scales = rng.integers(0, 255 if scale == "e8m0" else 127, shape).astype(np.uint8)
            kind = ml_dtypes.float8_e8m0fnu if scale == "e8m0" else ml_dtypes.float8_e4m3fn
            factors = scales.view(kind).astype(np.float32)
        if factor != 1.0:
            factors = factors * np.float32(factor)
        with np.errstate(all="ignore"):
            want = values.astype(np.float32) * np.repeat(factors, block, axis=1)[:, :depth]
        got = kernel.contract(raw, scales)
        np.testing.assert_array_equal(got, want)
        bench = Bench(Counted(kernel))
        at = -(-kernel.in_place // 8) * 8
        buffer = np.zeros(-(-max(4 * kernel.count, at + kernel.count) // 4) * 4, np.uint8)
        buffer[at : at + kernel.count] = raw.reshape(-1)
        out, scales_at = bench.output("out", buffer), bench.place(scales)
        result = bench.run([0, scales_at, out, out + at, 0, 0, 1]).outputs["out"]
        same(result[: 4 * kernel.count], got.reshape(-1))


@pytest.mark.parametrize("element", ["bf16", "fp16"])
def test_widening(element):
    """All 65,536 numbers against ml_dtypes and NumPy; then lengths that are no multiple of a vector."""
    dtype = ml_dtypes.bfloat16 if element == "bf16" else np.float16
    rng = np.random.default_rng(16)
    every = np.split(np.arange(1 << 16), 4)  # what L1 holds
    for numbers in (*every, rng.integers(0, 1 << 16, 5), rng.integers(0, 1 << 16, 1001)):
        codes = numbers.astype(np.uint16)
        kernel = WidenWeights(len(codes), element)
        with np.errstate(invalid="ignore"):
            want = codes.view(dtype).astype(np.float32)
        got = kernel.contract(codes)
        np.testing.assert_array_equal(got, want)  # zeros by value, NaN by place
        finite = ~np.isnan(want)
        same(got[finite], want[finite])
        bench = Bench(Counted(kernel))
        source, out = bench.place(codes), bench.output("out", np.zeros(len(codes), np.float32))
        same(bench.run([0, 0, out, source, 0, 0, 1]).outputs["out"], got)


def test_rejects_what_it_cannot_do():
    with pytest.raises(DataError, match="33 codes"):
        ExpandElements(33, 4)
    with pytest.raises(DataError, match="cannot be packed"):
        pack_elements(np.zeros(33, np.uint8), np.zeros(16, np.uint8), 4)
    with pytest.raises(DataError, match="no weights"):
        DecodeWeights(1, 0, 2)
    with pytest.raises(DataError, match="no weights"):
        WidenWeights(0)
