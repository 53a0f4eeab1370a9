"""Bell Box kernels on the simulated machine, bit for bit against their contracts, on several register lengths."""

import numpy as np
import pytest

from potluck.isa.errors import DataError
from potluck.isa.formats.bbq import BbqFormat, pack_planes
from potluck.isa.machine import load_machine
from potluck.kernels.matmul.bits import GemmBits
from potluck.kernels.quantize.bbq import QuantizeBbq

KINDS = [BbqFormat(bits, z) for bits in (1, 2, 3, 4) for z in (-0.5, 0.0)]


def thresholds(rng, kind, block):
    found = np.sort(rng.normal(0, 40 * block**0.5, kind.levels - 1)).round().astype(int)
    return tuple(np.clip(found, -127 * block, 127 * block + 1).tolist())


def quantize(run, kernel, rows, rng, vlen):
    x = rng.standard_normal((rows, kernel.k)).astype(np.float32)
    for value in (np.nan, np.inf, -np.inf, 1e30, -0.0, 0.5 / kernel.rate, -1.5 / kernel.rate):
        x.flat[rng.integers(0, x.size)] = value
    if rows > 1:
        x[0] = 200.0 / kernel.rate  # saturates: the largest sum
        x[1] = -x[0]
    with np.errstate(invalid="ignore", over="ignore"):
        want = kernel.contract(x)
    got = run(kernel, rows, vlen=vlen, x=x).outputs["codes"]
    np.testing.assert_array_equal(got.reshape(want.shape), want)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("block", [8, 16, 32, 64, 128])
def test_quantization(run, kind, block):
    rng = np.random.default_rng([kind.bits, block])
    for vlen, known in ((512, 512), (128, 0), (512, 0)):
        for planes in (False, True)[: 1 + (kind.bits <= 2)]:
            k = block * int(rng.integers(1, 4))
            kernel = QuantizeBbq(
                k, block, kind, float(np.float32(rng.uniform(5, 60))), thresholds(rng, kind, block), planes, known
            )  # fmt: skip
            quantize(run, kernel, int(rng.integers(1, 6)), rng, vlen)


@pytest.mark.parametrize("vlen", [128, 256, 1024])
def test_quantization_on_known_registers(run, vlen):
    rng = np.random.default_rng(vlen)
    for block in (32, 128):
        kind = BbqFormat(3)
        quantize(
            run,
            QuantizeBbq(2 * block, block, kind, 30.0, thresholds(rng, kind, block), False, vlen),
            3,
            rng,
            vlen,
        )


@pytest.mark.parametrize("bits", [1, 2])
@pytest.mark.parametrize(("k", "columns"), [(8, 1), (128, 5), (136, 4), (512, 9), (1000, 6), (2048, 3)])
@pytest.mark.parametrize(("vlen", "known"), [(512, 512), (128, 0), (512, 0)])
def test_products_by_population_counts(bits, k, columns, vlen, known):
    from one_kernel import Bench, halves, same

    rng, kind = np.random.default_rng([bits, k, columns]), BbqFormat(bits)
    low, high = [(None, None), (0.0, None), (-1.0, 2.5)][rng.integers(3)]
    kernel = GemmBits(k, bits, low, high, known)
    x, w = (rng.choice(kind.codes, (count, k)) for count in (5, columns))
    factor, bias = (rng.standard_normal(columns).astype(np.float32) for _ in range(2))
    planes = [pack_planes(codes, kind) for codes in (x, w)]
    want = kernel.contract(*planes, factor, bias)
    acc = (x.astype(np.int64) @ w.T.astype(np.int64)).astype(np.float32)
    limits = -np.inf if low is None else low, np.inf if high is None else high
    same(want, np.clip(acc * factor + bias, *limits))
    bench = Bench(kernel, load_machine("spatz-mx", {"vector.vlen": vlen}))
    at, weights, f, b = (bench.place(array) for array in (*planes, factor, bias))
    out = bench.output("out", np.zeros_like(want))
    parts = [
        (at + first * kernel.row, weights, out + first * 4 * columns, count, f, 4 * columns, b, columns)
        for first, count in halves(5)
    ]
    same(bench.run(*parts).outputs["out"], want)


def test_errors():
    for action, message in (
        (lambda: QuantizeBbq(24, 16, KINDS[2], 1.0, (0, 1, 2)), "24 elements"),
        (lambda: QuantizeBbq(16, 16, KINDS[2], 1.0, (0, 1)), "2 thresholds"),
        (lambda: QuantizeBbq(16, 16, KINDS[4], 1.0, tuple(range(7)), True), "planes"),
        (lambda: QuantizeBbq(16, 16, KINDS[0], 1.0, (40000,)), "int16"),
        (lambda: GemmBits(12, 1), "12"),
        (lambda: GemmBits(16, 3), "3-bit"),
    ):
        with pytest.raises(DataError, match=message):
            action()
