"""The benches of the codes catch each bug of a list (tests/rtl/mutations/ecc)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from potluck.sim.ecc.rangeguard.codec import RangeGuard
from potluck.sim.ecc.rangeguard.ranges import SYMBOL_BITS, Scheme
from tests.rtl.bench.ecc_cases import HSIAO, RANGE_CODES, hsiao_ports, rs_ports
from tests.rtl.bench.mutants import mutated
from tests.rtl.bench.range_cases import CELLS, DECODER, ENCODER, blocks, decoded, encoded, reads, tables
from tests.rtl.bench.stream import Stream
from tests.rtl.bench.vectors import Ports, Vectors, differences
from tests.rtl.test_ecc_codes import hsiao_vectors, syndrome_vectors

pytestmark = pytest.mark.usefixtures("rtl_tools")

PATCHES = sorted((Path(__file__).parent / "mutations" / "ecc").glob("*.patch"))
SAMPLE = {path.stem for path in PATCHES[5 :: len(PATCHES) // 3]}
SCHEMES: tuple[Scheme, ...] = ("dsc", "ssc")
# The smallest design whose tests see a bug there.
SEEN_BY = {
    "xor_matrix": "hsiao_decoder",
    "hsiao_checks": "hsiao_decoder",
    "dsc_key": "rs_decoder",
    "dsc_search": "rs_decoder",
    "dsc_values": "rs_decoder",
    "ssc_locator": "rs_decoder",
    "rid_mapper": "rangeguard_decoder",
    "rid_substitute": "rangeguard_decoder",
}


@cache
def range_vectors(unit: str, scheme: Scheme) -> tuple[Vectors, ...]:
    """A thinned run of the unit's test."""
    random = np.random.Generator(np.random.Philox(21))
    result = []
    for element in (element for each, element in CELLS if each == scheme):
        for table in tables(scheme, element):
            guard = RangeGuard(table)
            if unit == "rangeguard_encoder":
                result.append(encoded(guard, blocks(guard, element, random, 100)))
            else:
                result.append(decoded(guard, reads(guard, element, random, 100)))
    return tuple(result)


def trials(unit: str) -> Iterator[tuple[Mapping[str, int], Ports, tuple[Vectors, ...]]]:
    """Parameters, ports and operations of each test of a unit; registers, so that what leaves them early shows."""
    if unit == "hsiao_decoder":
        parameters = {"DataBits": 32, "Latency": 2}
        yield parameters, hsiao_ports(32)[1], (hsiao_vectors(HSIAO[32], beyond=200, seed=22)[1],)
        return
    for scheme in SCHEMES:
        bits = SYMBOL_BITS[scheme]
        if unit == "rs_decoder":
            parameters = {"SymbolBits": bits, "TagWidth": 8, "Latency": 4}
            yield parameters, rs_ports(bits), (syndrome_vectors(RANGE_CODES[bits], seed=23),)
        else:
            ports = ENCODER if unit == "rangeguard_encoder" else DECODER
            yield {"SymbolBits": bits, "Latency": 6}, ports, range_vectors(unit, scheme)


def catch(patch: Path, folder: Path) -> str:
    """What noticed the bug; empty if nothing did."""
    replaced = mutated(patch, folder / "source")
    target = next(iter(replaced))
    unit = SEEN_BY.get(target, target)
    for parameters, ports, given in trials(unit):
        stream = Stream(unit, ports, parameters, optimize="-O0", replaced=replaced)
        for vectors in given:
            try:
                if differences(vectors, stream.run(vectors)[0]):
                    return f"{unit} {parameters}"
            except AssertionError:
                return f"{unit} {parameters}: no answer"
    return ""


def check(patch: Path, folder: Path) -> None:
    assert catch(patch, folder), f"not caught: {patch.read_text().splitlines()[0]}"


def test_the_list_is_long_enough() -> None:
    assert len(PATCHES) >= 30
    assert len(SAMPLE) >= 3


@pytest.mark.parametrize("unit", ["hsiao_decoder", "rs_decoder", "rangeguard_encoder", "rangeguard_decoder"])
@pytest.mark.slow
def test_without_a_bug_nothing_is_noticed(unit: str) -> None:
    for parameters, ports, given in trials(unit):
        stream = Stream(unit, ports, parameters, optimize="-O0")
        for vectors in given:
            assert not differences(vectors, stream.run(vectors)[0])


@pytest.mark.parametrize("patch", [p for p in PATCHES if p.stem in SAMPLE], ids=lambda p: p.stem)
def test_sample_of_mutations(patch: Path, tmp_path: Path) -> None:
    check(patch, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("patch", [p for p in PATCHES if p.stem not in SAMPLE], ids=lambda p: p.stem)
def test_other_mutations(patch: Path, tmp_path: Path) -> None:
    check(patch, tmp_path)
