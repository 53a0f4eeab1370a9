"""Layers in order, policies, and outcomes on two axes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.isa.formats.elements import BF16
from potluck.sim.ecc.blocks import Split
from potluck.sim.ecc.filters import exponent_clamp
from potluck.sim.ecc.hamming import on_die_sec
from potluck.sim.ecc.interface import Decoded, Status, Words, as_words
from potluck.sim.ecc.outcomes import ArtifactOutcome, Outcome, classify, classify_artifact
from potluck.sim.ecc.rangeguard.codec import RangeGuard
from potluck.sim.ecc.rangeguard.ranges import artifact_table
from potluck.sim.ecc.registry import CODES, code
from potluck.sim.ecc.stack import Access, Stack, Stored, hbm3, on_die_sec_over, unprotected

ROWS = 500


def blocks(seed: int = 1) -> Words:
    return as_words(np.random.default_rng(seed).normal(0, 0.5, (ROWS, 16)).astype(BF16.dtype))


def with_bits(cells: Stored, bits: NDArray[np.int64]) -> Stored:
    """One data bit per row flipped for each column of `bits`."""
    data = cells.data.copy()
    for column in bits.T:
        data[np.arange(len(data)), column >> 6] ^= np.uint64(1) << (column & 63).astype(np.uint64)
    return cells._replace(data=data)


@pytest.mark.parametrize("name", [n for n in CODES if n != "zero_space"])
def test_faultless_cells_give_the_data_back(name: str) -> None:
    stack = Stack(code(name), on_die_sec_over(256 + code(name).check_bits))
    read = stack.read(stack.write(blocks()))
    assert np.array_equal(read.data, blocks())
    assert not read.status.any()


def test_on_die_corrects_below_the_system() -> None:
    stack = hbm3()
    assert stack.check_bits == 48
    cells = stack.write(blocks())
    garbage = cells.data.view(np.uint16).copy()
    garbage[np.arange(ROWS), np.arange(ROWS) % 16] ^= np.uint16(0xBEEF)
    read = stack.read(cells._replace(data=garbage.view(np.uint64)))
    assert np.array_equal(read.data, blocks())
    assert (read.on_die == Status.CORRECTED).all()
    assert not read.system.any()
    metadata = cells._replace(checks=cells.checks ^ np.uint64(0x1234))
    assert np.array_equal(stack.read(metadata).data, blocks())


def test_crc_catches_what_the_on_die_code_cannot() -> None:
    stack = hbm3()
    cells = stack.write(blocks())
    garbage = cells.data.view(np.uint32).copy()
    garbage[:, 3] ^= np.uint32(0xDEADBEEF)
    read = stack.read(cells._replace(data=garbage.view(np.uint64)))
    assert (read.status == Status.DUE).all()
    assert (classify(stack.system, blocks(), read.decoded) == Outcome.DUE).all()


def test_a_silent_on_die_code_turns_double_errors_into_triple_ones() -> None:
    rng = np.random.default_rng(3)
    first = rng.integers(0, 128, ROWS)
    bits = np.stack([first, (first + rng.integers(1, 128, ROWS)) % 128], axis=1)
    stack = Stack(code("none"), Split(on_die_sec(), 2), on_die_reports=False)
    read = stack.read(with_bits(stack.write(blocks()), bits))
    wrong = np.bitwise_count(read.data ^ blocks()).sum(axis=1)
    assert set(wrong.tolist()) <= {2, 3}
    assert (wrong == 3).mean() > 0.75
    assert not (read.status == Status.DUE).any()


def test_policies() -> None:
    rng = np.random.default_rng(4)
    first = rng.integers(0, 256, ROWS)
    bits = np.stack([first, (first + 1 + rng.integers(0, 255, ROWS)) % 256], axis=1)
    stack = Stack(code("hsiao_272_256"))
    cells = stack.write(blocks())
    faulty = with_bits(cells, bits)
    assert np.array_equal(stack.read(faulty).data, faulty.data)
    assert not stack.read(faulty, "null").data.any()
    assert stack.read(faulty, "fail").failed.all()
    half = np.arange(ROWS) % 2 == 0

    def again(rows: NDArray[np.intp]) -> Access:
        data = np.where(half[rows, None], cells.data[rows], faulty.data[rows])
        return Access(Stored(data, cells.checks[rows], cells.on_die[rows]))

    retried = stack.read(faulty, "retry", again)
    assert np.array_equal((retried.status[:, 0] == Status.CLEAN), half)
    assert np.array_equal(retried.data[half], blocks()[half])
    with pytest.raises(DataError, match="again"):
        stack.read(faulty, "retry")


def test_filters_come_last() -> None:
    guard = RangeGuard(artifact_table(BF16, "dsc"))
    stack = Stack(guard, filters=(exponent_clamp(BF16, 130),))
    cells = stack.write(blocks())
    faulty = cells.data.view(np.uint16).copy()
    faulty[:, 0] |= 0x7F80  # within the code's bound: the range comes back, nothing is left for the clamp
    read = stack.read(cells._replace(data=faulty.view(np.uint64)))
    assert guard.bounded(blocks(), read.data).all()
    alone = Stack(code("none"), filters=(exponent_clamp(BF16, 130),)).read(cells._replace(
        data=faulty.view(np.uint64), checks=np.zeros((ROWS, 0), np.uint64)))  # fmt: skip
    assert not alone.data.view(np.uint16)[:, 0].any()


def test_outcomes_on_two_axes() -> None:
    hsiao = code("hsiao_272_256")
    clean = np.zeros((5, 4), np.uint64)
    read = clean.copy()
    read[2:, 0] = 1
    status = np.array([[0], [1], [1], [0], [2]], np.uint8)
    found = classify(hsiao, clean, Decoded(read, status)).tolist()
    assert found == [Outcome.CE, Outcome.CE, Outcome.MIS, Outcome.UND, Outcome.DUE]
    artifact = classify_artifact(hsiao, clean, Decoded(read, status)).tolist()
    assert artifact == [ArtifactOutcome.CE] * 2 + [
        ArtifactOutcome.DUE,
        ArtifactOutcome.SDC,
        ArtifactOutcome.DUE,
    ]


def test_a_word_nulled_beside_one_unnoticed_is_undetected() -> None:
    parity = code("parity_null")
    data = as_words(np.full((1, 16), 0xFFFF, np.uint16))
    cells = parity.encode(data)
    faulty = data.view(np.uint16).copy()
    faulty[0, 0] ^= 1
    assert classify(parity, data, parity.decode(faulty.view(np.uint64), cells.checks)).tolist() == [
        Outcome.BND
    ]
    faulty[0, 5] ^= 3
    assert classify(parity, data, parity.decode(faulty.view(np.uint64), cells.checks)).tolist() == [
        Outcome.UND
    ]


def test_pairs_that_do_not_fit_are_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"ondie_136_128_x2.*hsiao_72_64_x4"):
        Stack(code("hsiao_72_64"), code("ondie_136_128"))
    with pytest.raises(DataError, match="covers 128 bits"):
        Stack(on_die_sec())
    assert unprotected().check_bits == 0
