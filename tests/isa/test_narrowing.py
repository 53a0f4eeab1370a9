"""The FP8 and BF16 conversions: values against the formats' encoder, flags against rationals."""

import importlib.util
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from potluck.isa.formats.elements import BF16, E4M3, E5M2, ElementFormat
from potluck.isa.formats.rounding import ROUNDINGS
from potluck.isa.rows import zvfofp8min

PATH = Path(__file__).parents[1] / "reference" / "numpy_values.py"
SPEC = importlib.util.spec_from_file_location("numpy_values", PATH)
assert SPEC is not None and SPEC.loader is not None
VALUES = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(VALUES)
ROWS = {row.mnemonic: row for row in zvfofp8min.ROWS}
ALL_BF16 = np.arange(1 << 16, dtype=np.uint16)


def single_corners() -> np.ndarray:
    """FP32 codes around every FP8 and BF16 number and midpoint, and at random."""
    rng = np.random.default_rng(7)
    low = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    near = ALL_BF16.astype(np.uint32)[:, None] << 16 | low
    return np.concatenate([near.ravel(), rng.integers(0, 1 << 32, 50_000, np.uint32)])


def convert(mnemonic: str, codes: np.ndarray, **static: int) -> tuple[np.ndarray, np.ndarray]:
    row = ROWS[mnemonic]
    known = {name: value for name, value in static.items() if name in row.parameters}
    assert row.meaning is not None
    result: Any = row.meaning(vs2=VALUES.Array(codes), **known)
    if not isinstance(result, tuple):
        return result.data, np.zeros(len(codes), np.uint8)
    return result[0].data, result[1].data


def reference_flags(code: int, fmt: ElementFormat, frm: str) -> int:
    """fflags of rounding an FP32 code."""
    size = code & 0x7FFFFFFF
    if size >= 0x7F800000:
        return 16 if 0x7F800000 < size < 0x7FC00000 else 0
    field = max(size >> 23, 1)
    value = Fraction((size & 0x7FFFFF) + ((1 << 23) if size >> 23 else 0)) * Fraction(2) ** (field - 150)
    if not value:
        return 0
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    exponent -= value < Fraction(2) ** exponent

    def rounded(least: int) -> Fraction:
        unit = Fraction(2) ** (max(exponent, least) - fmt.mantissa_bits)
        low, rest = divmod(value, unit)
        up = {
            "rne": rest * 2 > unit or (rest * 2 == unit and low % 2 == 1),
            "rmm": rest * 2 >= unit,
            "rtz": False,
            "rdn": rest > 0 and code >> 31 == 1,
            "rup": rest > 0 and code >> 31 == 0,
        }[frm]
        return (low + up) * unit

    least = 1 - fmt.bias
    if rounded(least) > Fraction(fmt.max_normal):
        return 5
    if rounded(least) == value:
        return 0
    return 3 if rounded(-10_000) < Fraction(2) ** least else 1


@pytest.mark.parametrize("frm", range(5))
@pytest.mark.parametrize("saturate", [False, True])
@pytest.mark.parametrize("altfmt", [0, 1])
def test_to_fp8(altfmt: int, saturate: bool, frm: int) -> None:
    fmt = E5M2 if altfmt else E4M3
    dot = ".sat" if saturate else ""
    for mnemonic, codes, shift in (
        (f"vfncvtbf16{dot}.f.f.w", ALL_BF16, 16), (f"vfncvt{dot}.f.f.q", single_corners(), 0),
    ):  # fmt: skip
        singles = codes.astype(np.uint32) << shift
        got, flags = convert(mnemonic, codes, sew=8, altfmt=altfmt, frm=frm)
        wanted = fmt.encode(singles.view(np.float32), ROUNDINGS[frm], saturate)
        wanted = np.where(np.isnan(fmt.decode(wanted)), 0x7F, wanted)
        np.testing.assert_array_equal(got, wanted)
        field = singles >> 23 & 255
        near = np.flatnonzero(((field > 100) & (field < 147)) | (field == 255))
        for i in near[:: max(1, len(near) // 3000)]:
            assert flags[i] == reference_flags(int(singles[i]), fmt, ROUNDINGS[frm]), hex(singles[i])


@pytest.mark.parametrize("frm", range(5))
def test_to_bf16(frm: int) -> None:
    codes = single_corners()
    got, flags = convert("vfncvtbf16.f.f.w", codes, sew=16, altfmt=0, frm=frm)
    wanted = BF16.encode(codes.view(np.float32), ROUNDINGS[frm], saturate=False)
    np.testing.assert_array_equal(got, wanted)
    corner = np.flatnonzero((codes >> 23 & 255 < 3) | (codes >> 23 & 255 > 252))
    for i in np.concatenate([corner[::3], np.arange(0, len(codes), 300)]):
        assert flags[i] == reference_flags(int(codes[i]), BF16, ROUNDINGS[frm]), hex(codes[i])


@pytest.mark.parametrize(("altfmt", "fmt"), [(0, E4M3), (1, E5M2)])
def test_from_fp8(altfmt: int, fmt: ElementFormat) -> None:
    codes = np.arange(256, dtype=np.uint8)
    got, flags = convert("vfwcvtbf16.f.f.v", codes, sew=8, altfmt=altfmt)
    wide = fmt.decode(codes)
    wanted = np.where(np.isnan(wide), 0x7FC0, wide.view(np.uint32) >> 16)
    np.testing.assert_array_equal(got, wanted)
    assert not flags.any()


def test_from_bf16() -> None:
    got, flags = convert("vfwcvtbf16.f.f.v", ALL_BF16, sew=16, altfmt=0)
    nan = (ALL_BF16 & 0x7FFF) > 0x7F80
    np.testing.assert_array_equal(got, np.where(nan, 0x7FC00000, ALL_BF16.astype(np.uint32) << 16))
    np.testing.assert_array_equal(flags, np.where(nan & (ALL_BF16 & 0x40 == 0), 16, 0))


def test_encodings() -> None:
    """Words of LLVM's test of Zvfofp8min, operands v8, v4."""
    words = {
        "vfwcvtbf16.f.f.v": 0x4A469457, "vfncvtbf16.f.f.w": 0x4A4E9457, "vfncvtbf16.sat.f.f.w": 0x4A4F9457,
        "vfncvt.f.f.q": 0x4A4C9457, "vfncvt.sat.f.f.q": 0x4A4D9457,
    }  # fmt: skip
    for mnemonic, word in words.items():
        assert ROWS[mnemonic].encode({"vd": 8, "vs2": 4, "vm": 1}) == word
