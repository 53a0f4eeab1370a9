"""Hsiao and RangeGuard's codes in hardware: every correctable error, every syndrome, samples of heavier errors."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from potluck.sim.ecc.interface import Status
from potluck.sim.ecc.linear import LinearCode
from potluck.sim.ecc.reed_solomon import SymbolCode
from tests.rtl.bench.bins import Coverage
from tests.rtl.bench.ecc_cases import (
    HSIAO,
    RANGE_CODES,
    clean_words,
    errors_of,
    hsiao_decoded,
    hsiao_encoded,
    hsiao_ports,
    random_supports,
    random_words,
    rs_decoded,
    rs_ports,
    supports,
    symbol_errors,
)
from tests.rtl.bench.running import run_stream
from tests.rtl.bench.stream import Stream
from tests.rtl.bench.vectors import Batch, Vectors, differences

pytestmark = pytest.mark.usefixtures("rtl_tools")


def slow(*values: object) -> list[object]:
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def hsiao_bins(code: LinearCode) -> list[str]:
    length = code.data_bits + code.check_bits
    bins = [f"bit {bit} wrong" for bit in range(length)]
    bins += [f"double in {where}" for where in ("data", "checks", "both")]
    bins += [
        "clean",
        "three taken for one",
        "three noticed",
        "four unnoticed",
        "four noticed",
        "five taken for one",
    ]
    return [*bins, "uncorrectable nulled", "uncorrectable passed"]


def hsiao_cover(code: LinearCode, positions: list[tuple[int, ...]], given: Vectors) -> Coverage:
    coverage = Coverage(hsiao_bins(code))
    single, double = (given.outputs[port][:, 0] for port in ("single_o", "double_o"))
    for support, one, two in zip(positions, single, double, strict=True):
        in_checks = sum(bit >= code.data_bits for bit in support)
        if len(support) == 1:
            coverage.hit(f"bit {support[0]} wrong")
        elif len(support) == 2:
            coverage.hit(f"double in {('data', 'both', 'checks')[in_checks]}")
        elif len(support) == 3:
            coverage.hit("three taken for one" if one else "three noticed")
        elif len(support) == 4:
            coverage.hit("four noticed" if two else "four unnoticed")
        elif len(support) == 5 and one:
            coverage.hit("five taken for one")
    null = given.inputs["null_i"][:, 0]
    coverage.hit("clean", int(((single | double) == 0).sum()))
    coverage.hit("uncorrectable nulled", int((double & null).sum()))
    coverage.hit("uncorrectable passed", int((double & ~null & 1).sum()))
    return coverage


def hsiao_vectors(code: LinearCode, beyond: int, seed: int) -> tuple[list[tuple[int, ...]], Vectors]:
    """All errors of at most two bits, which must come out right whatever the codec says, and some of three to six."""
    random, length = rng(seed), code.data_bits + code.check_bits
    positions = supports(length, 0, 1, 2)
    within = len(positions)
    for weight in (3, 4, 5, 6):
        positions += random_supports(random, length, weight, beyond)
    data_error, check_error = errors_of(code, positions)
    data = random_words(random, len(positions), code.data_bits)
    null = random.integers(0, 2, len(positions), np.uint8)
    given = hsiao_decoded(code, data ^ data_error, code.checks_of(data) ^ check_error, null)
    weights = np.array([len(p) for p in positions[:within]])
    single, double, found = (given.outputs[port][:within] for port in ("single_o", "double_o", "data_o"))
    assert (single[:, 0] == (weights == 1)).all() and (double[:, 0] == (weights == 2)).all()
    correct = weights < 2
    assert (found[correct] == data[:within].view(np.uint32)[correct, : found.shape[1]]).all()
    return positions, given


@pytest.mark.parametrize("data_bits", [64, *slow(32, 128, 256)])
def test_hsiao_decoder(data_bits: int) -> None:
    code = HSIAO[data_bits]
    unit = Stream("hsiao_decoder", hsiao_ports(data_bits)[1], {"DataBits": data_bits})
    positions, given = hsiao_vectors(code, beyond=400, seed=1)
    coverage = hsiao_cover(code, positions, given)
    assert not coverage.missing(), coverage.missing()
    found, cycles = unit.run(given)
    assert not differences(given, found)
    assert cycles == len(given)
    syndromes = np.arange(1 << code.check_bits, dtype=np.uint64)
    data = random_words(rng(2), len(syndromes), data_bits)
    every = hsiao_decoded(code, data, code.checks_of(data) ^ syndromes, syndromes & np.uint64(1))
    assert not differences(every, unit.run(every, stalls=True)[0])
    assert every.outputs["single_o"].sum() == data_bits + code.check_bits


@pytest.mark.slow
@pytest.mark.parametrize("data_bits", [32, 64, 128, 256])
@pytest.mark.parametrize("latency", [0, 1, 2, 3])
def test_hsiao_in_any_depth(data_bits: int, latency: int) -> None:
    code = HSIAO[data_bits]
    parameters = {"DataBits": data_bits, "Latency": latency}
    encoder_ports, decoder_ports = hsiao_ports(data_bits)
    alone, _ = errors_of(code, supports(data_bits, 0, 1))
    words = hsiao_encoded(code, np.vstack([alone, random_words(rng(3), 100_000, data_bits)]))
    _, reads = hsiao_vectors(code, beyond=100_000, seed=4)
    for unit, ports, given in (
        ("hsiao_encoder", encoder_ports, words),
        ("hsiao_decoder", decoder_ports, reads),
    ):
        stream = Stream(unit, ports, parameters)
        for stalls in (False, True):
            found, cycles = stream.run(given, stalls=stalls)
            assert not differences(given, found)
            assert stalls or cycles == len(given) + latency


def rs_vectors(code: SymbolCode, words: int, thin: int, seed: int) -> Vectors:
    """Every error of one symbol and, one in `thin`, of two, each in `words` codewords."""
    errors = [symbol_errors(code, wrong) for wrong in range(1, code.errors + 1)]
    errors[1:] = [(data[::thin], checks[::thin]) for data, checks in errors[1:]]
    data_error, check_error = (np.tile(np.concatenate([e[side] for e in errors]), words) for side in (0, 1))
    symbols, checks = clean_words(code, rng(seed), len(data_error))
    given = rs_decoded(code, symbols ^ data_error, checks ^ check_error)
    right = np.ascontiguousarray(symbols).view(np.uint32).reshape(len(symbols), 2)
    assert (given.outputs["symbols_o"] == right[:, : given.outputs["symbols_o"].shape[1]]).all()
    assert (given.outputs["status_o"] == Status.CORRECTED).all()
    return given


def syndrome_vectors(code: SymbolCode, seed: int) -> Vectors:
    """Every syndrome, each in a random codeword."""
    symbols, checks = clean_words(code, rng(seed), 1 << 16)
    return rs_decoded(code, symbols, checks ^ np.arange(1 << 16, dtype=np.uint64))


def count_status(given: Vectors) -> NDArray[np.intp]:
    return np.bincount(given.outputs["status_o"][:, 0], minlength=3)


CORRECTABLE = {4: 15_030, 8: 2_550}  # syndromes, of 65,536: 12 * 15 + 66 * 15^2; 10 * 255


@pytest.mark.slow
@pytest.mark.parametrize("latency", range(7))
@pytest.mark.parametrize("bits", [4, 8])
def test_rs_decoder(bits: int, latency: int) -> None:
    code = RANGE_CODES[bits]
    unit = Stream("rs_decoder", rs_ports(bits), {"SymbolBits": bits, "TagWidth": 8, "Latency": latency})
    for given in (rs_vectors(code, 8, 1, seed=5), syndrome_vectors(code, seed=6)):
        for stalls in (False, True):
            found, cycles = unit.run(given, stalls=stalls)
            assert not differences(given, found)
            assert stalls or cycles == len(given) + latency
    assert count_status(given).tolist() == [1, CORRECTABLE[bits], 65_535 - CORRECTABLE[bits]]


def hsiao_batches(data_bits: int, unit: str) -> list[Batch]:
    code = HSIAO[data_bits]
    if unit == "hsiao_encoder":
        alone, _ = errors_of(code, supports(data_bits, 0, 1))
        words = hsiao_encoded(code, np.vstack([alone, random_words(rng(7), 100, data_bits)]))
        return [Batch(words), Batch(words, 0.7, 0.5)]
    _, reads = hsiao_vectors(code, beyond=50, seed=8)
    some = reads.take(rng(9).choice(len(reads), 200))
    return [Batch(reads), Batch(some, 0.8, 0.5), Batch(some, 0.3, 1.0)]


def rs_batches(bits: int, thin: int) -> list[Batch]:
    code = RANGE_CODES[bits]
    some = syndrome_vectors(code, seed=10).take(rng(11).choice(1 << 16, 200))
    return [Batch(rs_vectors(code, 1, thin, seed=12)), Batch(some, 0.8, 0.5), Batch(some, 0.3, 1.0)]


CASES = [
    ("hsiao_encoder", {"DataBits": 64, "Latency": 1}),
    ("hsiao_decoder", {"DataBits": 32, "Latency": 2}),
    ("rs_decoder", {"SymbolBits": 4, "Latency": 3, "TagWidth": 8}),
    ("rs_decoder", {"SymbolBits": 8, "Latency": 1, "TagWidth": 8}),
]


@pytest.mark.parametrize(
    ("unit", "parameters"), CASES, ids=[f"{u}-{next(iter(p.values()))}" for u, p in CASES]
)
@pytest.mark.parametrize("simulator", ["icarus", *slow("verilator")])
def test_under_cocotb(unit: str, parameters: dict[str, int], simulator: str, tmp_path: Path) -> None:
    """Handshakes and, in a second simulator, every correctable error (one in eight of the double ones of RS(12,8))."""
    if unit == "rs_decoder":
        batches = rs_batches(parameters["SymbolBits"], thin=8)
    else:
        batches = hsiao_batches(parameters["DataBits"], unit)
    assert run_stream(unit, batches, tmp_path, parameters, simulator=simulator).tests


@pytest.mark.slow
@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_every_double_error_under_cocotb(simulator: str, tmp_path: Path) -> None:
    parameters = {"SymbolBits": 4, "Latency": 2, "TagWidth": 8}
    assert run_stream("rs_decoder", rs_batches(4, thin=1), tmp_path, parameters, simulator=simulator).tests


def test_pairs_of_symbols_are_all_there() -> None:
    """The enumeration is not shorter than it says."""
    data, checks = symbol_errors(RANGE_CODES[4], 2)
    whole = data | checks << np.uint64(32)
    assert len(np.unique(whole)) == len(whole) == len(list(combinations(range(12), 2))) * 15**2
