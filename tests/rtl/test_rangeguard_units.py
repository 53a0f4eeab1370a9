"""RangeGuard in hardware: blocks of every format under every range table, read as the Python codec reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from potluck.isa.errors import DataError
from potluck.isa.formats.elements import BF16, FP32, ElementFormat
from potluck.sim.ecc.interface import Status, as_words
from potluck.sim.ecc.rangeguard.codec import RangeGuard
from potluck.sim.ecc.rangeguard.hardware import hardware_table
from potluck.sim.ecc.rangeguard.ranges import SYMBOL_BITS, Scheme, artifact_table, exponent_table
from tests.rtl.bench.bins import Coverage
from tests.rtl.bench.ecc_cases import clean_words, symbol_errors
from tests.rtl.bench.range_cases import (
    CELLS,
    DECODER,
    ENCODER,
    Reads,
    blocks,
    cover,
    decoded,
    encoded,
    every_code,
    range_bins,
    reads,
    symbol_blocks,
    tables,
)
from tests.rtl.bench.running import run_stream
from tests.rtl.bench.stream import Stream
from tests.rtl.bench.vectors import Batch, Vectors, differences

pytestmark = pytest.mark.usefixtures("rtl_tools")

SCHEMES: tuple[Scheme, ...] = ("dsc", "ssc")
IDS = [f"{scheme}-{element.name}" for scheme, element in CELLS]
# Fact sheet 1.3: a block of BF16 and its check bits under the artifact's tables.
BLOCK = "003fa0bf4040e5bb0841000000c0833ac8429abe9840003dc0c02040403f80c1"
PUBLISHED = {"dsc": 0x69E3, "ssc": 0x3115}


def rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@cache
def unit(name: str, scheme: Scheme, latency: int = 0) -> Stream:
    ports = ENCODER if name == "rangeguard_encoder" else DECODER
    return Stream(name, ports, {"SymbolBits": SYMBOL_BITS[scheme], "Latency": latency})


def compare(stream: Stream, given: Vectors, stalls: bool = False) -> None:
    found = differences(given, stream.run(given, stalls=stalls)[0])
    assert not found, found


def campaign(scheme: Scheme, element: ElementFormat, each: int, seed: int) -> Coverage:
    """Reads under every table of a cell, `each` of every kind."""
    coverage, random = Coverage(range_bins(scheme, element)), rng(seed)
    for table in tables(scheme, element):
        guard = RangeGuard(table)
        given = reads(guard, element, random, each)
        expected = decoded(guard, given)
        cover(coverage, guard, given, expected)
        compare(unit("rangeguard_decoder", scheme), expected)
    return coverage


@pytest.mark.parametrize(("scheme", "element"), CELLS, ids=IDS)
def test_reads_and_coverage(scheme: Scheme, element: ElementFormat) -> None:
    coverage = campaign(scheme, element, 400, seed=1)
    assert not coverage.missing(), f"{coverage}; not hit: {coverage.missing()}"


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "element"), CELLS, ids=IDS)
def test_reads_whole(scheme: Scheme, element: ElementFormat) -> None:
    """Half a million blocks a table; the sample of the normal run comes from another seed."""
    for seed in range(100, 110):
        campaign(scheme, element, 6_000, seed)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_correctable_error_and_every_syndrome(scheme: Scheme) -> None:
    """FP32 has a value for each symbol (16 ranges, or the exponent): all errors of the code, seen from outside."""
    guard = RangeGuard(artifact_table(FP32, scheme))
    code, mask = guard.code, np.uint64((1 << guard.code.data_bits) - 1)
    errors = [symbol_errors(code, wrong) for wrong in range(1, code.errors + 1)]
    data_error, check_error = (np.tile(np.concatenate([e[side] for e in errors]), 3) for side in (0, 1))
    symbols, checks = clean_words(code, rng(2), len(data_error))
    clean, data = symbol_blocks(guard, symbols), symbol_blocks(guard, (symbols ^ data_error) & mask)
    within = Reads(clean, data, checks ^ check_error, np.zeros(len(data), np.uint8))
    expected = decoded(guard, within)
    # A value in its representative's place is what was written, here: nothing but representatives was.
    assert (expected.outputs["data_o"] == clean.view(np.uint32)).all()
    compare(unit("rangeguard_decoder", scheme), expected)

    symbols, checks = clean_words(code, rng(3), 1 << 16)
    data = symbol_blocks(guard, symbols)
    syndromes = np.arange(1 << 16, dtype=np.uint64)
    every = decoded(guard, Reads(data, data, checks ^ syndromes, (syndromes & np.uint64(1)).astype(np.uint8)))
    compare(unit("rangeguard_decoder", scheme), every, stalls=True)
    correctable = {"dsc": 15_030, "ssc": 2_550}[scheme]
    counts = np.bincount(every.outputs["status_o"][:, 0])
    assert counts.tolist() == [1, correctable, 65_535 - correctable]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_code_is_mapped_and_replaced(scheme: Scheme) -> None:
    """Every code of a value in every slot: clean, then beside garbage that a correction replaces."""
    random = rng(4)
    for element in (element for each, element in CELLS if each == scheme):
        guard = RangeGuard(tables(scheme, element)[-1])
        clean = every_code(guard)
        checks = guard.encode(clean).checks[:, 0]
        error = np.zeros((len(clean), 8), np.uint32)
        error[np.arange(len(clean)), np.arange(len(clean)) % 8] = random.integers(
            1, 1 << 32, len(clean), np.uint32
        )
        for data in (clean, clean ^ error.view(np.uint64)):
            given = decoded(guard, Reads(clean, data, checks, np.zeros(len(data), np.uint8)))
            assert (given.outputs["status_o"] != Status.DUE).all()
            compare(unit("rangeguard_decoder", scheme), given)


def batches(name: str, scheme: Scheme, each: int) -> Iterator[Batch]:
    """Few blocks of each table at alternating paces, the published block first."""
    random, paces = rng(5), ((1.0, 1.0), (0.8, 0.5), (0.3, 1.0))
    guard = RangeGuard(artifact_table(BF16, scheme))
    block = as_words(bytes.fromhex(BLOCK))
    check = np.array([PUBLISHED[scheme]], np.uint64)
    published = decoded(guard, Reads(block, block, check, np.zeros(1, np.uint8)))
    if name == "rangeguard_encoder":
        published = encoded(guard, block)
        assert published.outputs["checks_o"].tolist() == [[PUBLISHED[scheme]]]
    yield Batch(published)
    for element in (element for each_scheme, element in CELLS if each_scheme == scheme):
        for number, table in enumerate(tables(scheme, element)):
            guard = RangeGuard(table)
            if name == "rangeguard_encoder":
                given = encoded(guard, blocks(guard, element, random, 8 * each))
            else:
                given = decoded(guard, reads(guard, element, random, each))
            yield Batch(given, *paces[number % 3])


LATENCIES = {"rangeguard_encoder": 1, "rangeguard_decoder": 4}


def test_encoder_in_icarus(tmp_path: Path) -> None:
    """In the normal run the one that is quick there: a look-up is 255 multiplexers to it."""
    under_cocotb("icarus", "rangeguard_encoder", "dsc", 1, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", LATENCIES)
@pytest.mark.parametrize("simulator", ["icarus", "verilator"])
def test_under_cocotb(simulator: str, name: str, scheme: Scheme, tmp_path: Path) -> None:
    under_cocotb(simulator, name, scheme, 4, tmp_path)


def under_cocotb(simulator: str, name: str, scheme: Scheme, each: int, folder: Path) -> None:
    parameters = {"SymbolBits": SYMBOL_BITS[scheme], "Latency": LATENCIES[name]}
    given = list(batches(name, scheme, each))
    assert run_stream(name, given, folder, parameters, simulator=simulator).tests


@pytest.mark.slow
@pytest.mark.parametrize("latency", range(7))
@pytest.mark.parametrize("scheme", SCHEMES)
def test_in_any_depth(scheme: Scheme, latency: int) -> None:
    """Values do not depend on the registers; one block enters a cycle and leaves so many cycles later."""
    for name in LATENCIES:
        stream = unit(name, scheme, latency)
        for batch in batches(name, scheme, each=200):
            for stalls in (False, True):
                found, cycles = stream.run(batch.vectors, stalls=stalls)
                assert not differences(batch.vectors, found)
                assert stalls or cycles == len(batch.vectors) + latency


def test_tables_that_the_circuits_cannot_hold_are_refused() -> None:
    table = artifact_table(BF16, "dsc")
    falling = table.rid.copy()
    falling[[10, 266]] = 3
    signed = table.rid.copy()
    signed[300] ^= 1
    for rid in (falling, signed):
        with pytest.raises(DataError, match="exponent"):
            hardware_table(replace(table, rid=rid))
    with pytest.raises(DataError, match="eight-bit"):
        hardware_table(exponent_table(FP32, "ssc", [120, 130], [110, 125, 131]))
