"""Table III: exact counts against enumeration, published shares, the Monte Carlo engine and the real decoders."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from potluck.sim.ecc.blocks import Split
from potluck.sim.ecc.coverage.exact import basis_of, exact_coverage
from potluck.sim.ecc.coverage.monte_carlo import draw_errors, engine_of, philox
from potluck.sim.ecc.coverage.patterns import PATTERNS, spans_of, terms_of
from potluck.sim.ecc.coverage.table3 import ROWS, blocks
from potluck.sim.ecc.interface import Protection, Words
from potluck.sim.ecc.outcomes import Outcome, classify
from potluck.sim.ecc.registry import code
from potluck.sim.ecc.stack import hbm3

PUBLISHED = {
    "secded_artifact": [
        (1, 0), (0.75, 0), (0.0003, 0.513), (0, 0.486), (0, 0.261), (0, 0), (0, 0.247), (0, 0.473), (0, 0.455),
        (0, 0.479), (0, 0.446)],
    "hsiao_272_256": [
        (1, 0), (0.75, 0), (0.0003, 0.0044), (0, 0.0042), (0, 0.0041), (0, 0), (0, 0.0075), (0, 0.0043),
        (0, 0.0042), (0, 0.0042), (0, 0.0041)],
    "hbm3": [(1, 0), (1, 0), (1, 0), (0.00004, 0), (0, 0), (0.059, 0), (0.055, 0), (0, 0), (0, 0), (0, 0), (0, 0)],
    "parity_null": [
        (0, 0), (0, 0.25), (0, 0.5), (0, 0.75), (0, 1), (0, 0.058), (0, 0.277), (0, 0.501), (0, 0.75), (0, 0.75),
        (0, 0.937)],
    "vapi_78_64": [
        (1, 0), (1, 0), (0.002, 0.187), (0, 0.188), (0, 0.0012), (1, 0), (0.939, 0.011), (0.002, 0.187), (0, 0.188),
        (0, 0.066), (0, 0.057)],
    "rangeguard_ssc": [
        (1, 0), (1, 0), (1, 0), (1, 0), (0, 0.039), (0.945, 0.0135), (0.944, 0.011), (0.884, 0.0037),
        (0.751, 0.0077), (0.769, 0.0073), (0.008, 0.031)],
    "rangeguard_dsc": [(1, 0), (1, 0), (1, 0), (1, 0), (0, 0.229), *[(1, 0)] * 6],
}  # fmt: skip
"""CE and MIS + UND in the order of PATTERNS; from 2e6 trials, rounded to three digits."""
QUICK = ("SE", "DAE", "16E", "32E", "FC", "32E+32E")
Z = 4.2  # two-sided 99 % over the 7 * 11 * 5 cells by Bonferroni


def every(patterns: tuple[str, ...]) -> list[object]:
    return [p if p in QUICK else pytest.param(p, marks=pytest.mark.slow) for p in patterns]


@pytest.mark.parametrize("pattern", every(tuple(PATTERNS)))
@pytest.mark.parametrize("row", ROWS)
def test_exact_shares_are_the_published_ones(row: str, pattern: str) -> None:
    shares = exact_coverage(blocks(row), pattern)
    right, silent = PUBLISHED[row][list(PATTERNS).index(pattern)]
    assert sum(shares.values()) == pytest.approx(1, abs=1e-9)
    assert shares[Outcome.CE] == pytest.approx(right, abs=1.2e-3)
    assert shares[Outcome.MIS] + shares[Outcome.UND] == pytest.approx(silent, abs=1.6e-3)


def agree(counts: NDArray[np.int64], shares: dict[Outcome, float]) -> bool:
    trials = int(counts.sum())
    p = np.array([shares[outcome] for outcome in Outcome])
    margin = Z * np.sqrt(p * (1 - p) / trials) + 10 / trials  # rare outcomes: Poisson
    return bool((np.abs(counts / trials - p) <= margin).all())


@pytest.mark.parametrize("pattern", every(tuple(PATTERNS)))
@pytest.mark.parametrize("row", [r for r in ROWS if r != "hbm3"])
def test_monte_carlo_agrees_with_the_exact_shares(row: str, pattern: str) -> None:
    assert agree(engine_of(blocks(row)).count(pattern, 300_000, key=17), exact_coverage(blocks(row), pattern))


def real(row: str, errors: Words) -> NDArray[np.int64]:
    """Outcomes of the real decoders on random data."""
    data = np.random.default_rng(1).integers(0, 1 << 64, errors.shape, dtype=np.uint64)
    if row == "hbm3":
        stack = hbm3()
        cells = stack.write(data)
        read = stack.read(cells._replace(data=cells.data ^ errors))
        return np.bincount(classify(stack.system, data, read.decoded), minlength=5)
    name = {"rangeguard_ssc": "top8_rs_10_8", "rangeguard_dsc": "top4_rs_12_8"}.get(row, row)
    protection: Protection = code(name)
    stored = protection.encode(data)
    found = classify(protection, data, protection.decode(stored.data ^ errors, stored.checks))
    if row.startswith("rangeguard"):  # there, only the upper bits count
        found = np.where(found == Outcome.BND, Outcome.CE, found)
    return np.bincount(found, minlength=5)


@pytest.mark.parametrize("pattern", ["DAE", "16E", "32E", "FC", "32E+32E"])
@pytest.mark.parametrize("row", ROWS)
def test_real_decoders_agree_with_the_exact_shares(row: str, pattern: str) -> None:
    assert agree(real(row, draw_errors(pattern, 20_000, key=3)), exact_coverage(blocks(row), pattern))


def test_the_engine_decides_each_error_as_the_decoder_does() -> None:
    for row in ("hsiao_272_256", "vapi_78_64", "parity_null"):
        engine, protection = engine_of(blocks(row)), code(row)
        assert isinstance(protection, Split)
        for trial in range(200):
            error = draw_errors("16E+16E", 1, key=5, first=trial)
            data = np.full_like(error, 0x0123456789ABCDEF)  # a nulled word must differ from a right one
            stored = protection.encode(data)
            found = classify(protection, data, protection.decode(data ^ error, stored.checks))
            assert engine.count("16E+16E", 1, key=5, first=trial)[found[0]] == 1


def outcomes_of(row: str, errors: Words) -> NDArray[np.int64]:
    clean = np.zeros_like(errors)
    if row == "hbm3":
        stack = hbm3()
        return classify(stack.system, clean, stack.read(stack.write(clean)._replace(data=errors)).decoded)
    protection = code(row)
    return classify(protection, clean, protection.decode(errors, protection.encode(clean).checks))


@pytest.mark.parametrize("row", ["secded_artifact", "vapi_78_64", "hsiao_272_256", "hbm3"])
def test_exact_shares_equal_the_enumeration_of_all_16e_errors(row: str) -> None:
    words = np.arange(1, 1 << 16, dtype=np.uint64)
    weight = np.full(len(words), 2.0**-16)
    weight[(words & (words - np.uint64(1))) == 0] += 2.0**-20
    total = np.zeros(5)
    for place in range(16):
        errors = np.zeros((len(words), 4), np.uint64)
        errors[:, place // 4] = words << np.uint64(16 * (place % 4))
        total += np.bincount(outcomes_of(row, errors), weights=weight, minlength=5) / 16
    whole = exact_coverage(blocks(row), "16E")
    assert total == pytest.approx([whole[o] for o in Outcome], abs=1e-12)


def test_mixtures_are_distributions() -> None:
    for pattern in QUICK:
        total = sum(term.weight * len(term.offsets) for term in terms_of(pattern))
        assert total == pytest.approx(1)
    assert len(spans_of("SE+SE")) == 256 * 255
    assert len(spans_of("DAE")) == 240
    assert len(spans_of("32E+32E")) == 56


def test_philox_known_answers() -> None:
    """Random123's kat_vectors for philox4x32-10."""
    zero = np.uint64(0)
    assert [hex(int(x)) for x in philox(zero, zero, zero)] == [
        "0x6627e8d5",
        "0xe169c58d",
        "0xbc57ac4c",
        "0x9b00dbd8",
    ]
    pi = philox_full(0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0)
    assert pi == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def philox_full(a: int, b: int, c: int, d: int, k0: int, k1: int) -> list[int]:
    """The generator in plain integers, with all four counter words."""
    for _ in range(10):
        first, second = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = second >> 32 ^ b ^ k0, second & 0xFFFFFFFF, first >> 32 ^ d ^ k1, first & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [a, b, c, d]


def test_compiled_philox_equals_the_plain_one() -> None:
    rng = np.random.default_rng(2)
    for counter, lane, key in rng.integers(0, 1 << 63, (50, 3)).tolist():
        lane &= 0xFFFFFFFF
        ours = [int(x) for x in philox(np.uint64(counter), np.uint64(lane), np.uint64(key))]
        assert ours == philox_full(counter & 0xFFFFFFFF, counter >> 32, lane, 0, key & 0xFFFFFFFF, key >> 32)


def test_trials_are_replayable_alone() -> None:
    for pattern in PATTERNS:
        many = draw_errors(pattern, 50, key=9)
        assert np.array_equal(draw_errors(pattern, 1, key=9, first=31)[0], many[31])
        assert many.any(axis=1).all()


def test_basis_is_reduced() -> None:
    basis = basis_of([0b1100, 0b1010, 0b0110, 0b0001])
    assert basis == [0b1010, 0b0110, 0b0001]
