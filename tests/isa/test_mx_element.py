"""The VMXDOTP meanings on the NumPy back end: golden vectors, then many lanes against exact integers."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import potluck.isa.arithmetic.mxdot
from potluck.isa.formats.rounding import ROUNDINGS
from potluck.isa.rows import vmxdotp


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HERE = Path(__file__).parent
VALUES = load(HERE.parent / "reference" / "numpy_values.py")
EXACT = load(HERE.parent / "reference" / "mxdot_exact.py")
GOLDEN = load(HERE / "test_mxdot.py").GOLDEN
CONTRACT: Any = potluck.isa.arithmetic.mxdot.mxdot  # called with names that are plain strings here
ROWS = {row.mnemonic: row for row in vmxdotp.ROWS}
FLAGS = {"-": 0, "NX": 1, "UF": 2, "OF": 4, "NV": 16}
FORMS = [(fmt, acc) for fmt in ("e5m2", "e4m3", "e2m1") for acc in ("fp32", "bf16")]


def run(lanes: dict[str, np.ndarray], fmt: str, acc: str, frm: int) -> tuple[np.ndarray, np.ndarray]:
    """The row's result bits and flags."""
    row = ROWS["vmxdotp.ww" if acc == "fp32" else "vmxdotp.qq"]
    values: dict[str, Any] = {}
    for operand in row.syntax:
        data = lanes[operand.name]
        values[operand.name] = VALUES.Array(data.view(VALUES.dtype_of(operand.type.at(32))))
    assert row.meaning is not None
    value, flags = row.meaning(**values, mx_format=fmt, frm=frm)
    return value.data.view(lanes["vd"].dtype), flags.data


def run_quick(lanes: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Result bits of the quick meaning, and where it says that they may be wrong."""
    row = ROWS["vmxdotp.ww"]
    values = {o.name: VALUES.Array(lanes[o.name].view(VALUES.dtype_of(o.type.at(32)))) for o in row.syntax}
    with np.errstate(all="ignore"):
        value, doubt = row.attributes["quick"](**values, mx_format="e4m3", frm=0)
    return value.data.view(np.uint32), doubt.data


def random_lanes(rng: np.random.Generator, n: int, fmt: str, acc: str) -> dict[str, np.ndarray]:
    """Lanes of many kinds: anything, near magnitudes, sparse, special, cancelling, tiny results."""
    dtype: Any = np.uint32 if acc == "fp32" else np.uint16
    width = dtype().itemsize * 8
    a, b = (rng.integers(0, 1 << 64, n, np.uint64) for _ in range(2))
    if fmt == "e5m2":  # specials are 1 code in 32: without this nearly every lane would have one
        small, finite = np.uint64(0xBBBBBBBBBBBBBBBB), np.uint64(0xFBFBFBFBFBFBFBFB)
        calm = [np.where(rng.random(n) < 0.5, small, finite) for _ in range(2)]
        a, b = (np.where(rng.random(n) < 0.85, x & mask, x) for x, mask in zip((a, b), calm, strict=True))
    elif fmt == "e4m3":
        a, b = (np.where(rng.random(n) < 0.9, x & ~np.uint64(0x0101010101010101), x) for x in (a, b))
    for x in (a, b):
        sparse = rng.random(n) < 0.5
        keep = np.zeros(n, np.uint64)
        for j in range(8):
            keep |= np.where(rng.random(n) < 0.3, np.uint64(0xFF << 8 * j), np.uint64(0))
        x[sparse] &= keep[sparse]
    sa, sb = (rng.integers(0, 256, n).astype(np.uint8) for _ in range(2))
    near = rng.random(n) < 0.6
    total = rng.integers(190, 300, n)
    sb = np.where(near, np.clip(total - sa, 0, 254), sb).astype(np.uint8)
    low = rng.random(n) < 0.2
    sa, sb = (np.where(low, rng.integers(0, 150, n), x).astype(np.uint8) for x in (sa, sb))
    bits = rng.integers(0, 1 << width, n).astype(dtype)
    mantissa = width - 9
    level = np.clip(sa.astype(int) + sb - 127 + rng.integers(-40, 40, n), 0, 254)
    field = ((1 << 8) - 1) << mantissa
    levelled = (bits & ~dtype(field)) | (level << mantissa).astype(dtype)
    bits = np.where(rng.random(n) < 0.7, levelled, bits)
    one, quiet = 1 << mantissa, field | 1 << (mantissa - 1)
    corner = np.array([0, 1, one - 1, one, field - 1, field, field + 1, quiet])
    corner = np.concatenate([corner, corner | 1 << (width - 1)]).astype(dtype)
    bits = np.where(rng.random(n) < 0.15, corner[rng.integers(0, len(corner), n)], bits)
    # A sixth of the lanes cancel: the accumulator is the negated rounded sum of products, or next to it.
    frm = ROUNDINGS[int(rng.integers(5))]
    chunk = [x.view(np.uint8).reshape(n, 8) if fmt != "e2m1" else nibbles(x) for x in (a, b)]
    zero = np.zeros(n, dtype)
    product, _ = CONTRACT(zero, *chunk, sa, sb, fmt, acc, frm)
    product = (product ^ dtype(1 << (width - 1))) + rng.integers(-1, 2, n).astype(dtype)
    bits = np.where(rng.random(n) < 1 / 6, product, bits).astype(dtype)
    return {"vd": bits, "vs1": a, "vs2": b, "vs3": sa, "vs4": sb}


def nibbles(x: np.ndarray) -> np.ndarray:
    return ((x[:, None] >> (4 * np.arange(16, dtype=np.uint64))) & np.uint64(15)).astype(np.uint8)


def elements(x: np.ndarray, fmt: str) -> np.ndarray:
    return nibbles(x) if fmt == "e2m1" else x.view(np.uint8).reshape(len(x), 8)


def disagreements(lanes: dict[str, np.ndarray], got: Any, wanted: Any) -> str:
    bad = np.flatnonzero((got[0] != wanted[0]) | (got[1] != wanted[1]))
    rows = [
        f"{[hex(int(lanes[k][i])) for k in lanes]} got {int(got[0][i]):x} {int(got[1][i])}, "
        f"exact {int(wanted[0][i]):x} {int(wanted[1][i])}"
        for i in bad[:5]
    ]
    return f"{len(bad)} of {len(got[0])} lanes: " + "; ".join(rows) if len(bad) else ""


@pytest.mark.parametrize("line", GOLDEN)
def test_golden(line: str) -> None:
    fmt, acc, rm, bits, a, b, sa, sb, result, flags = line.split()
    lanes = {
        "vd": np.array([int(bits, 16)], np.uint32 if acc == "fp32" else np.uint16),
        "vs1": np.array([int(a, 16)], np.uint64), "vs2": np.array([int(b, 16)], np.uint64),
        "vs3": np.array([int(sa, 16)], np.uint8), "vs4": np.array([int(sb, 16)], np.uint8),
    }  # fmt: skip
    got, raised = run(lanes, fmt, acc, ROUNDINGS.index(rm))
    assert (int(got[0]), int(raised[0])) == (int(result, 16), sum(FLAGS[name] for name in flags.split(",")))


def test_encodings() -> None:
    """The words of facts vmxdotp §1.4."""
    for mnemonic, scalar, numbers, word in (
        ("vmxdotp.wf", "f", (8, 29, 9, 30, 10), 0xF29EA45F),
        ("vmxdotp.ww", "v", (8, 9, 10, 11, 12), 0x5AA4C47F),
        ("vmxdotp.qf", "f", (0, 0, 16, 1, 28), 0x0F00401F),
        ("vmxdotp.qq", "v", (0, 8, 16, 24, 25), 0xC704103F),
    ):
        names = ["vd", f"{scalar}s1", "vs2", f"{scalar}s3", "vs4"]
        fields = dict(zip(names, numbers, strict=True))
        row = ROWS[mnemonic]
        assert row.encode(fields) == word and word & row.mask == row.match and row.decode(word) == fields


def against_exact(fmt: str, acc: str, frm: int, n: int, seed: int) -> None:
    lanes = random_lanes(np.random.default_rng([seed, frm]), n, fmt, acc)
    got = run(lanes, fmt, acc, frm)
    a, b = (elements(lanes[name], fmt).tolist() for name in ("vs1", "vs2"))
    lists = [lanes[name].tolist() for name in ("vd", "vs3", "vs4")]
    wanted = np.array([
        EXACT.mxdot_lane(bits, x, y, sa, sb, fmt, acc, ROUNDINGS[frm])
        for bits, sa, sb, x, y in zip(*lists, a, b, strict=True)
    ]).T  # fmt: skip
    assert not disagreements(lanes, got, wanted)


@pytest.mark.parametrize("frm", range(5))
@pytest.mark.parametrize(("fmt", "acc"), FORMS)
def test_against_exact_integers(fmt: str, acc: str, frm: int) -> None:
    against_exact(fmt, acc, frm, 4000, 1)


@pytest.mark.parametrize("frm", range(5))
@pytest.mark.parametrize(("fmt", "acc"), FORMS)
def test_against_numpy_contract(fmt: str, acc: str, frm: int) -> None:
    lanes = random_lanes(np.random.default_rng([2, frm]), 100_000, fmt, acc)
    got = run(lanes, fmt, acc, frm)
    a, b = elements(lanes["vs1"], fmt), elements(lanes["vs2"], fmt)
    wanted = CONTRACT(lanes["vd"], a, b, lanes["vs3"], lanes["vs4"], fmt, acc, ROUNDINGS[frm])
    assert not disagreements(lanes, got, wanted)


def ties(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """Sums 2^12 +- 2^-18 or nearby beside accumulators of which 2^12 is half of the last bit."""
    chunk = np.zeros((2, n, 8), np.uint8)
    for codes in chunk:
        codes[:, 0] = 0x68 + 8 * rng.integers(-1, 2, n)
        codes[:, 1] = rng.integers(0, 3, n)
        codes |= rng.choice(np.array([0, 0x80], np.uint8), (n, 8))
    scale = rng.integers(107, 147, n).astype(np.uint8)
    level = scale.astype(np.uint32) + 36 + rng.integers(-2, 3, n).astype(np.uint32)
    acc = level << 23 | rng.choice(np.array([0, 1, 2, 0x7FFFFE, 0x7FFFFF], np.uint32), n)
    acc |= rng.choice(np.array([0, 1 << 31], np.uint32), n)
    a, b = (codes.view(np.uint64).reshape(n) for codes in chunk)
    return {"vd": acc, "vs1": a, "vs2": b, "vs3": scale, "vs4": np.full(n, 127, np.uint8)}


def quick_against_contract(rng: np.random.Generator, n: int) -> None:
    kinds = random_lanes(rng, n, "e4m3", "fp32"), ties(rng, n // 4)
    lanes = {name: np.concatenate([kind[name] for kind in kinds]) for name in kinds[0]}
    got, doubt = run_quick(lanes)
    a, b = elements(lanes["vs1"], "e4m3"), elements(lanes["vs2"], "e4m3")
    wanted, _ = CONTRACT(lanes["vd"], a, b, lanes["vs3"], lanes["vs4"], "e4m3", "fp32", "rne")
    sure = ~doubt
    assert sure.mean() > 0.3
    kept = {name: values[sure] for name, values in lanes.items()}
    zero = np.zeros(sure.sum(), np.uint8)
    assert not disagreements(kept, (got[sure], zero), (wanted[sure], zero))


def test_the_quick_meaning_is_exact_where_it_is_sure() -> None:
    quick_against_contract(np.random.default_rng(5), 200_000)


@pytest.mark.slow
def test_the_quick_meaning_on_twenty_million_lanes() -> None:
    for seed in range(100):
        quick_against_contract(np.random.default_rng([6, seed]), 200_000)


def test_the_quick_meaning_is_sure_of_usual_products() -> None:
    """Blocks scaled to their largest element, sums of up to 2^13 products: doubts would cost time only."""
    rng, n = np.random.default_rng(7), 100_000
    a, b = (rng.integers(0, 1 << 64, n, np.uint64) & ~np.uint64(0x0101010101010101) for _ in range(2))
    acc = (rng.standard_normal(n) * 2.0 ** rng.integers(0, 30, n)).astype(np.float32).view(np.uint32)
    acc[::10] = 0
    sa, sb = (rng.integers(123, 132, n).astype(np.uint8) for _ in range(2))
    _, doubt = run_quick({"vd": acc, "vs1": a, "vs2": b, "vs3": sa, "vs4": sb})
    assert doubt.mean() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("frm", range(5))
@pytest.mark.parametrize(("fmt", "acc"), FORMS)
def test_a_million_lanes(fmt: str, acc: str, frm: int) -> None:
    for seed in range(10):
        against_exact(fmt, acc, frm, 100_000, 100 + seed)
