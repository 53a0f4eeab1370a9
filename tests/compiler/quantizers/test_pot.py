"""PoT: code tables, level recovery and QKeras' rounding, against the published tables and independent definitions."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.compiler.quantizers import pot
from potluck.isa.errors import DataError
from potluck.isa.pot.codes import APOT, MSQ, POT_FORMATS, QKERAS, ZERO, pot_format

# PoTAcc v12: level of code[2:0], read from the hardware's tables, not from shifts.
PUBLISHED = {
    "pot_qkeras": [1, 2, 4, 8, 16, 32, 64, 128],
    "pot_apot": [1, 3, 0, 2, 4, 6, 8, 10],
    "pot_msq": [1, 5, 2, 6, 4, 8, 0, 4],
    "pot_zero": [0, 1, 2, 4, 8, 16, 32, 64],
}
APOT_INT8 = [0, 13, 25, 38, 51, 76, 102, 127]
SP2_INT8 = [0, 16, 32, 64, 79, 95, 127]


@pytest.mark.parametrize("name", POT_FORMATS)
def test_code_table_is_the_published_one(name: str) -> None:
    kind = POT_FORMATS[name]
    assert kind.decode(range(8)).tolist() == PUBLISHED[name]
    assert kind.decode(range(8, 16)).tolist() == [-level for level in PUBLISHED[name]]


def test_level_sets_follow_from_their_papers() -> None:
    # APoT, B = 3: A + B, normalized by the largest sum; SP2, m = 4: q1 of two bits, q2 of one.
    a, b = [0, Fraction(1, 2), Fraction(1, 4), Fraction(1, 16)], [0, Fraction(1, 8)]
    assert {16 * (x + y) for x, y in itertools.product(a, b)} == {abs(v) for v in APOT.levels.tolist()}
    q1, q2 = [0, Fraction(1, 8), Fraction(1, 4), Fraction(1, 2)], [0, Fraction(1, 2)]
    assert {8 * (x + y) for x, y in itertools.product(q1, q2)} == {abs(v) for v in MSQ.levels.tolist()}
    assert {len(kind.levels) for kind in (QKERAS, APOT, MSQ, ZERO)} == {16, 15, 13}


def test_product_widths_are_the_hardwares() -> None:
    assert [QKERAS.product_bits, MSQ.product_bits, APOT.product_bits] == [15, 11, 12]


@pytest.mark.parametrize("name", POT_FORMATS)
def test_levels_survive_encoding(name: str) -> None:
    kind = POT_FORMATS[name]
    assert kind.decode(kind.encode(kind.levels)).tolist() == kind.levels.tolist()
    with pytest.raises(DataError, match=r"7 is no level"):
        kind.encode([1, 7])
    with pytest.raises(DataError, match="four-bit"):
        kind.decode([16])


def test_encoders_choose_the_released_codes() -> None:
    assert MSQ.encode([4, 0, -4]).tolist() == [0b100, 0b110, 0b1100]
    assert APOT.encode([0]).tolist() == [0b0010]
    assert APOT.encode([0, 1], compat_release=True).tolist() == [0b1010, 0]
    assert QKERAS.encode([0], compat_release=True).tolist() == [0]  # +1, as the delegate does
    with pytest.raises(DataError, match="0 is no level of pot_qkeras"):
        QKERAS.encode([0])


def test_unknown_code_set_names_the_near_one() -> None:
    with pytest.raises(DataError, match="pot_apot"):
        pot_format("pot_apt")


def brute_nearest(value: float, levels: list[int]) -> int:
    return min(levels, key=lambda level: (abs(Fraction(value) - level), abs(level)))


@given(st.sampled_from(sorted(POT_FORMATS)), st.floats(-200, 200, width=32))
def test_nearest_is_nearest_with_ties_to_the_lower(name: str, value: float) -> None:
    kind = POT_FORMATS[name]
    if kind is QKERAS and value == 0:
        assert kind.nearest(0.0) == 1
    else:
        assert kind.nearest(value) == brute_nearest(value, kind.levels.tolist())


def test_qkeras_recovery_makes_the_scale_a_power_of_two() -> None:
    stored = np.array([[127, 64, 32, 16, 8, 4, 2, 1, -127, -64, -1]], np.int8)
    for emax in range(-8, 0):
        found = pot.recover(stored, np.float32(2.0**emax / 127), QKERAS)
        assert found.levels.tolist() == [[128, 64, 32, 16, 8, 4, 2, 1, -128, -64, -1]]
        assert found.scale.tolist() == [2.0 ** (emax - 7)]
        assert found.sums.tolist() == [255 - 193]


def test_qkeras_recovery_takes_the_nearest_power_ties_up() -> None:
    stored = np.arange(1, 128, dtype=np.int8)[None]
    levels = pot.recover(stored, 1.0, QKERAS).levels[0].tolist()
    powers = [1 << k for k in range(8)]
    assert levels == [max(powers, key=lambda p, v=v: (-abs(p - v), p)) for v in range(1, 128)]


def test_release_mode_keeps_the_scale_and_sums_the_stored_integers() -> None:
    stored = np.array([[127, -64, 0, 1]], np.int8)
    with pytest.raises(DataError, match="0, which pot_qkeras cannot say"):
        pot.recover(stored, 0.5, QKERAS)
    found = pot.recover(stored, 0.5, QKERAS, compat_release=True)
    assert found.levels.tolist() == [[128, -64, 1, 1]]
    assert (found.scale.tolist(), found.sums.tolist()) == ([0.5], [64])
    assert found.folded_bias([1000], -3).tolist() == [1000 + 3 * 64]


@pytest.mark.parametrize(("kind", "table"), [(APOT, APOT_INT8), (MSQ, SP2_INT8)])
def test_full_channels_hold_the_published_integers(kind: pot.PotFormat, table: list[int]) -> None:
    stored = np.array([table + [-v for v in table]], np.int8)
    found = pot.recover(stored, 0.25, kind)
    positive = sorted({abs(level) for level in kind.levels.tolist()})
    assert found.levels.tolist() == [positive + [-v for v in positive]]
    assert found.scale[0] == np.float32(0.25 * 127 / kind.top)


@pytest.mark.parametrize("kind", [APOT, MSQ, ZERO])
def test_recovery_finds_the_values_under_any_top_level(kind: pot.PotFormat) -> None:
    rng = np.random.default_rng(5)
    positive = [level for level in kind.levels.tolist() if level > 0]
    for top in positive:
        allowed = [level for level in kind.levels.tolist() if abs(level) <= top]
        levels = rng.choice(allowed, (3, 40)).astype(np.float64)
        levels[:, 0] = top
        stored = np.rint(127 * levels / top).astype(np.int8)
        found = pot.recover(stored, np.full(3, 0.5, np.float32), kind)
        wanted = levels * (0.5 * 127 / top)
        np.testing.assert_allclose(found.dequantize(), wanted, rtol=1e-6)
        assert pot.detect(stored) is not None


def test_detection_needs_every_channel() -> None:
    assert pot.detect(np.array([[1, 3, 10, 0], [8, -6, 2, 4]], np.int8), stored="levels") is APOT
    assert pot.detect(np.array([[5, 8, 0], [1, 2, 4]], np.int8), stored="levels") is MSQ
    assert pot.detect(np.array([[-64, 1, 32]], np.int8), stored="levels") in (QKERAS, ZERO)
    assert pot.detect(np.array([[127, 64, 32, 16, 8, 4, 2, 1, -1]], np.int8)) is QKERAS
    assert pot.detect(np.array([APOT_INT8, APOT_INT8], np.int8)) is APOT
    assert pot.detect(np.array([APOT_INT8, list(range(20, 28))], np.int8)) is None


@pytest.mark.parametrize(
    ("weights", "scale"), [(np.ones((2, 2)), 1.0), (np.ones((2, 2), np.int8), [1.0] * 3)]
)
def test_recovery_names_what_does_not_fit(weights: np.ndarray, scale: object) -> None:
    with pytest.raises(DataError, match=r"float64|3 scales for 2 channels"):
        pot.recover(weights, scale, APOT)


def test_bias_moves_to_the_new_scale_half_away_from_zero() -> None:
    assert pot.rescaled_bias([3, -3, 100], 0.5, [1.0, 1.0, 0.25]).tolist() == [2, -2, 200]


def test_po2_windows_are_qkeras_ones() -> None:
    big = np.array([1e9, 1e-9, -1e-9, 0.0], np.float32)
    assert pot.po2(big).tolist() == [8.0, 2.0**-4, -(2.0**-4), 2.0**-4]
    assert pot.po2(big, max_value=0.5).tolist() == [0.5, 2.0**-8, -(2.0**-8), 2.0**-8]
    assert pot.po2([3.0, 6.0], quadratic=True).tolist() == [4.0, 4.0]
    assert pot.po2([3.9], log2_rounding="floor").tolist() == [2.0]
    with pytest.raises(DataError, match="max_value=-1"):
        pot.po2([1.0], max_value=-1)


@given(st.floats(2.0**-7, 0.5, width=32))
def test_po2_decides_at_geometric_midpoints(value: float) -> None:
    low = max(k for k in range(-9, 0) if 2.0**k <= value)
    # value < sqrt(2) 2^low exactly when its square is below 2^(2 low + 1)
    expected = low if Fraction(value) ** 2 < Fraction(2) ** (2 * low + 1) else low + 1
    assert pot.po2([value], max_value=0.5)[0] == 2.0**expected


def test_power_fit_is_po2_with_a_window_of_its_own_per_channel() -> None:
    rng = np.random.default_rng(2)
    weights = rng.normal(0, 0.1, (4, 3, 3, 3)).astype(np.float32)
    weights[0, 0, 0, 0] = 0.5
    made = pot.quantize(weights, QKERAS)
    scaled = pot.po2(weights[0], max_value=0.5)
    np.testing.assert_array_equal(made.dequantize()[0], scaled)
    assert np.all(np.exp2(np.rint(np.log2(made.scale))) == made.scale)


@pytest.mark.parametrize("kind", [APOT, MSQ, ZERO])
def test_least_squares_never_loses_to_the_maximum(kind: pot.PotFormat) -> None:
    weights = np.random.default_rng(3).normal(0, 1, (8, 50)).astype(np.float32)

    def error(fit: pot.Fit) -> np.ndarray:
        return ((pot.quantize(weights, kind, fit).dequantize() - weights) ** 2).sum(axis=1)

    assert np.all(error("mse") <= error("max") * (1 + 1e-6))
    assert error("mse").sum() < error("max").sum()


def test_quantizing_exact_levels_is_the_identity() -> None:
    rng = np.random.default_rng(4)
    for kind in (APOT, MSQ, ZERO, QKERAS):
        levels = rng.choice(kind.levels, (5, 30)).astype(np.float32)
        levels[:, 0] = kind.top
        made = pot.quantize(levels * np.float32(0.125), kind)
        np.testing.assert_array_equal(made.dequantize(), levels * 0.125)
        np.testing.assert_array_equal(kind.decode(made.codes()), levels)


def test_nan_weights_and_unknown_fits_are_errors() -> None:
    with pytest.raises(DataError, match="NaN"):
        pot.quantize([[1.0, np.nan]], APOT)
    with pytest.raises(DataError, match="'mean'"):
        pot.quantize([[1.0]], APOT, "mean")  # type: ignore[arg-type]
