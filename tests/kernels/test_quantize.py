import numpy as np
import pytest

from potluck.isa.errors import DataError
from potluck.kernels.quantize.mx import QuantizeMx

CHUNK = {"e4m3": 8, "e5m2": 8, "e2m1": 16}
TIES = np.float32([0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 7.99])


def check(run, kernel, x, **options):
    result = run(kernel, len(x), x=x, **options)
    codes, scales = kernel.contract(x)
    assert np.array_equal(result.outputs["scales"], scales), kernel
    assert np.array_equal(result.outputs["codes"], codes), kernel


def values(rng, rows, k, kind):
    """Rows whose magnitudes differ, of one kind."""
    if kind == "bits":  # every kind of number, NaN and infinity among them
        return rng.integers(0, 2**32, (rows, k), dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = rng.standard_normal((rows, k)) * np.exp2(rng.integers(-148, 120, (rows, 1)))
    if kind == "ties":
        x = rng.choice(np.concatenate([TIES, -TIES, np.nextafter(TIES, np.float32(0))]), (rows, k))
    x = x.astype(np.float32)
    if kind == "zeros":
        x[rng.random(x.shape) < 0.5] = -0.0
        x[::2] = 0
    if kind == "special":
        x.flat[rng.integers(0, x.size, 3)] = rng.choice(np.float32([np.nan, np.inf, -np.inf]), 3)
    return x


@pytest.mark.parametrize("kind", ["normal", "ties", "zeros", "special", "bits"])
@pytest.mark.parametrize("element", ["e4m3", "e5m2", "e2m1"])
def test_equals_quantize(run, element, kind):
    rng = np.random.default_rng([CHUNK[element], element == "e5m2", len(kind)])
    for k in (
        32,
        64,
        int(rng.choice([1, 3, 8, 15])),
        int(rng.choice([16, 17, 24, 31])),
        int(rng.choice([33, 40, 100])),
    ):
        check(run, QuantizeMx(k, element), values(rng, int(rng.integers(1, 150)), k, kind))
    check(run, QuantizeMx(48, element, block=CHUNK[element]), values(rng, 9, 48, kind))


@pytest.mark.parametrize("kind", ["normal", "ties", "zeros", "bits"])
@pytest.mark.parametrize("element", ["e4m3", "e5m2", "e2m1", "int8"])
def test_values_without_signs(run, element, kind):
    """As after a rectifier: zeros of both signs, infinities, no NaN; the same codes as when signs are looked for."""
    rng = np.random.default_rng([len(element), ord(element[1]), len(kind)])
    for k in (32, int(rng.choice([3, 8, 17])), int(rng.choice([33, 40, 100]))):
        x = values(rng, int(rng.integers(1, 150)), k, kind)
        x = np.where(x == 0, x, np.nan_to_num(np.abs(x), nan=1.0, posinf=np.inf)).astype(np.float32)
        x.flat[rng.integers(0, x.size, 2)] = np.inf
        check(run, QuantizeMx(k, element, positive=True), x)
        check(run, QuantizeMx(k, element), x)


CARRIED = ["e2m3", "e3m2", "e2m1"]


@pytest.mark.parametrize("kind", ["normal", "ties", "zeros", "special", "bits"])
@pytest.mark.parametrize("grid", [*CARRIED, "int8"])
def test_grids_that_others_carry_and_integers(run, grid, kind):
    """E2M3, E3M2 and E2M1 written as E4M3, and INT8; ties of every step of the grid."""
    rng = np.random.default_rng([len(grid), ord(grid[1]), len(kind)])
    element, options = ("int8", {}) if grid == "int8" else ("e4m3", {"grid": grid})
    for k in (64, int(rng.choice([3, 8, 17])), int(rng.choice([33, 40, 100]))):
        x = values(rng, int(rng.integers(1, 100)), k, kind)
        if kind == "ties":
            x *= np.float32(2) ** rng.integers(-3, 6, x.shape).astype(np.float32)
        check(run, QuantizeMx(k, element, **options), x)


@pytest.mark.parametrize("element", ["e4m3", "e5m2", "e2m1", "int8"])
@pytest.mark.parametrize("rule", ["even", "rceil"])
def test_scale_rules(run, element, rule):
    """On maxima around the rules' limits, and on every kind of number."""
    rng = np.random.default_rng(len(rule))
    for kind in ("normal", "bits", "zeros"):
        check(run, QuantizeMx(64, element, rule=rule), values(rng, 40, 64, kind))
    top = np.float32([1, 1.25, 1.5, 1.75, 1.875, 1.9375, 1.984375, 2])
    top = np.concatenate([top, np.nextafter(top, np.float32(0)), np.nextafter(top, np.float32(9))])
    x = (rng.uniform(-1, 1, (len(top), 32)) * top[:, None]).astype(np.float32)
    x[:, 7] = top
    check(run, QuantizeMx(32, element, rule=rule), x)


@pytest.mark.parametrize("element", ["e4m3", "e2m1", "int8"])
def test_block_sizes(run, element):
    """16, 64 and 128 elements per scale, with ragged last blocks."""
    rng = np.random.default_rng(7)
    for block in (16, 64, 128):
        for k in (block, 2 * block, block + 24, 3 * block - 1):
            check(run, QuantizeMx(k, element, block), values(rng, int(rng.integers(1, 20)), k, "special"))


@pytest.mark.parametrize("element", ["e4m3", "e2m1", "int8"])
def test_blocks_that_do_not_fill_their_registers(run, element):
    """Three, five and six registers a block: groups have a power of two, whose last ones hold what was there before."""
    rng = np.random.default_rng(3)
    for block, vlen in ((48, 512), (80, 512), (96, 512), (48, 256)):
        x = values(rng, 41, block, "normal")
        check(run, QuantizeMx(block, element, block, vlen=vlen), x, vlen=vlen)


@pytest.mark.parametrize("vlen", [128, 256, 1024, 2048])
@pytest.mark.parametrize("element", ["e4m3", "e2m1"])
def test_other_vector_lengths(run, element, vlen):
    rng = np.random.default_rng(vlen)
    for k in (64, 40, 32, 16):
        check(run, QuantizeMx(k, element, vlen=vlen), values(rng, 37, k, "special"), vlen=vlen)


@pytest.mark.parametrize(
    "options",
    [
        {"k": 0},
        {"block": 20},
        {"block": 256},
        {"block": 64, "vlen": 128},
        {"element": "e2m1", "grid": "e2m3"},
    ],
)
def test_rejects_what_it_cannot_do(options):
    with pytest.raises(DataError, match="QuantizeMx"):
        QuantizeMx(**{"k": 64, **options})
