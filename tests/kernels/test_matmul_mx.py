from dataclasses import replace

import numpy as np
import pytest

from potluck.isa.errors import DataError
from potluck.isa.formats.blocks import LAYOUTS
from potluck.isa.formats.mx import dequantize, quantize
from potluck.kernels.matmul.mx import MatmulMx

LAYOUT = {"e4m3": "mxfp8", "e5m2": "mxfp8_e5m2", "e2m1": "mxfp4"}
CHUNK = {"e4m3": 8, "e5m2": 8, "e2m1": 16}


def operands(kernel, rows, rng, special=False):
    """Random codes of every kind; NaN and infinity only if ``special``."""

    def codes(*shape):
        values = rng.integers(0, 16 if kernel.element == "e2m1" else 256, shape).astype(np.uint8)
        top = {"e4m3": 0x7F, "e5m2": 0x7C, "e2m1": 16}[kernel.element]
        return values if special else np.where((values & 0x7F) >= top, 1, values).astype(np.uint8)

    def scales(*shape):
        values = rng.integers(100, 150, shape).astype(np.uint8)
        return np.where(rng.random(shape) < 0.01, 255, values).astype(np.uint8) if special else values

    arrays = {
        "a": kernel.pack_a(codes(rows, kernel.k)),
        "a_scales": scales(rows, kernel.blocks),
        "b": kernel.pack_b(codes(kernel.k, kernel.n)),
        "b_scales": scales(kernel.blocks, kernel.n),
    }
    if kernel.bias:
        bias = rng.standard_normal(kernel.n).astype(np.float32)
        arrays["bias"] = (
            bias if kernel.accumulator == "fp32" else (bias.view(np.uint32) >> 16).astype(np.uint16)
        )
    return arrays


def check(run, kernel, rows, rng, special=False, **options):
    arrays = operands(kernel, rows, rng, special)
    got = run(kernel, rows, **options, **arrays).outputs["c"]
    want = kernel.contract(**arrays)
    assert got.dtype == want.dtype
    assert np.array_equal(got.view(np.uint8), want.view(np.uint8)), kernel


@pytest.mark.parametrize("accumulator", ["fp32", "bf16"])
@pytest.mark.parametrize("element", ["e4m3", "e5m2", "e2m1"])
def test_matches_contract_over_shapes(run, element, accumulator):
    rng = np.random.default_rng([10, CHUNK[element], len(accumulator), element == "e5m2"])
    for _ in range(25):
        kernel = MatmulMx(
            n=int(rng.choice([1, 5, 31, 32, 33, 40, 64, 70, 130])),
            k=int(rng.choice([3, 8, 16, 24, 40, 64, 72, 100, 136, 264])),
            element=element,
            accumulator=accumulator,
            block=int(rng.choice([32, 32, CHUNK[element], 3 * CHUNK[element], 128])),
            packed=bool(rng.integers(2)),
            bias=bool(rng.integers(2)),
            low=rng.choice([None, 0.0]),
            high=rng.choice([None, 6.0]),
        )
        rows, granule = int(rng.integers(1, 22)), int(rng.choice([1, 8]))
        check(run, kernel, rows, rng, special=bool(rng.random() < 0.3), granule=granule)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("k", [32, 96, 512])
def test_long_loops_and_wide_pitches(run, k, packed):
    rng = np.random.default_rng(k)
    check(run, MatmulMx(40, k, packed=packed, groups=(8,)), 24, rng, granule=8)
    check(run, MatmulMx(600, 32, packed=packed), 3, rng)
    check(run, MatmulMx(2100, 8, "e5m2", packed=packed, bias=True), 2, rng)
    check(run, MatmulMx(4, 2496, packed=packed), 9, rng)


@pytest.mark.parametrize("vlen", [128, 256, 1024])
def test_other_vector_lengths(run, vlen):
    rng = np.random.default_rng(vlen)
    for accumulator in ("fp32", "bf16"):
        check(run, MatmulMx(100, 72, accumulator=accumulator, bias=True, vlen=vlen), 15, rng, vlen=vlen)


def test_output_pitch(run):
    """C may be a column range of a wider array."""
    rng = np.random.default_rng(3)
    kernel = MatmulMx(6, 64, c_pitch=40)
    arrays = operands(kernel, 11, rng)
    places = tuple(replace(x, shape=(10,)) if x.output else x for x in kernel.operands)
    got = run(kernel, 11, operands=places, **arrays).outputs["c"]
    assert np.array_equal(got[:, :6], kernel.contract(**arrays))
    assert not got[:, 6:].any()


def test_contract_is_a_matrix_product():
    rng = np.random.default_rng(7)
    for element, layout in LAYOUT.items():
        a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((9, 96), (96, 17)))
        qa, qb = quantize(a, LAYOUTS[layout], axis=1), quantize(b, LAYOUTS[layout], axis=0)
        kernel = MatmulMx(17, 96, element)
        got = kernel.contract(kernel.pack_a(qa.codes), qa.scales, kernel.pack_b(qb.codes), qb.scales)
        da, db = (dequantize(q).astype(np.float64) for q in (qa, qb))
        assert np.abs(got - da @ db).max() <= 96 / 8 * 2.0**-23 * (np.abs(da) @ np.abs(db)).max()


def test_utilization_of_the_paper(run):
    """Facts vmxdotp 3.3: 88, 94, 97 and 98 % of the peak at 64 x 64 x K."""
    rng = np.random.default_rng(1)
    for k, paper in ((64, 0.88), (128, 0.94), (256, 0.97), (512, 0.98)):
        kernel = MatmulMx(64, k)
        arrays = operands(kernel, 64, rng)
        once, thrice = (run(kernel, 64, "timed", granule=8, repeat=n, **arrays).cycles for n in (1, 3))
        assert 64 * 64 * k / 64 / ((thrice - once) / 2) >= paper


@pytest.mark.parametrize(
    "options", [{"block": 12}, {"block": 0}, {"k": 0}, {"accumulator": "bf16", "low": -1.0}]
)
def test_rejects_what_it_cannot_do(options):
    with pytest.raises(DataError, match="MatmulMx"):
        MatmulMx(**{"n": 8, "k": 64, **options})
