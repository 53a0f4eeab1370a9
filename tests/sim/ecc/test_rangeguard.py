"""RangeGuard: the artifact's tables and vectors, the decoder within and beyond its bound, other formats, RG-X."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.isa.formats.blocks import MXFP4, MXFP8_E4M3, MXFP8_E5M2, MXINT8, BlockLayout
from potluck.isa.formats.elements import BF16, E2M1, E2M3, E3M2, E4M3, E5M2, FP16, FP32, INT8, ElementFormat
from potluck.isa.formats.mx import quantize
from potluck.sim.ecc.filters import code_clamp, codes_in, exponent_clamp, ranger
from potluck.sim.ecc.interface import Status, Words, as_words
from potluck.sim.ecc.outcomes import ArtifactOutcome, Outcome, classify, classify_artifact
from potluck.sim.ecc.rangeguard.bins import fault_aware_bins, mae_bins
from potluck.sim.ecc.rangeguard.codec import RangeGuard
from potluck.sim.ecc.rangeguard.mx_invariant import Violation, mx_violations
from potluck.sim.ecc.rangeguard.ranges import Objective, Scheme, artifact_table, fitted_table
from potluck.sim.ecc.rangeguard.rgx import RangeGuardX
from potluck.sim.ecc.rangeguard.scales import ScaleDup, scale_clamp, scale_rs34

BLOCK = "003fa0bf4040e5bb0841000000c0833ac8429abe9840003dc0c02040403f80c1"
FORMATS = [FP32, BF16, FP16, E4M3, E5M2, INT8, E2M1]
SCHEMES: tuple[Scheme, ...] = ("dsc", "ssc")


def tensor(element: ElementFormat, rows: int, sigma: float = 0.02, seed: int = 1) -> Words:
    """Blocks of Gaussian values in the format; six-bit elements five to a word."""
    rng = np.random.default_rng(seed)
    scale = sigma if element.bits >= 16 else element.max_normal / 4
    values = rng.normal(0, scale, (rows, 256 // element.bits if element.bits != 6 else 40)).astype(np.float32)
    codes = element.encode(values)
    if element.bits == 4:
        return as_words((codes[:, ::2] | codes[:, 1::2] << 4).astype(np.uint8))
    if element.bits == 6:
        places = np.arange(5, dtype=np.uint32) * np.uint32(6)
        return as_words((codes.reshape(rows, 8, 5).astype(np.uint32) << places).sum(axis=2, dtype=np.uint32))
    return as_words(codes)


def elements(data: Words, element: ElementFormat) -> NDArray[np.generic]:
    if element.bits == 6:
        lanes = data.view(np.uint32)[:, :, None] >> (np.arange(5, dtype=np.uint32) * np.uint32(6))
        return lanes & np.uint32(63)
    return codes_in(data, element.bits)


def lane_errors(rows: int, lanes: int, seed: int) -> Words:
    """Random garbage in so many whole lanes."""
    rng = np.random.default_rng(seed)
    error = np.zeros((rows, 8), np.uint32)
    for row in error:
        row[rng.choice(8, lanes, replace=False)] = rng.integers(1, 1 << 32, lanes, dtype=np.uint32)
    return error.view(np.uint64)


@pytest.mark.parametrize("sigma, first", [(1.0, 126), (2.0, 127), (4.0, 128), (8.0, 129)])
def test_artifact_bins(sigma: float, first: int) -> None:
    four, sixteen = mae_bins(4, sigma), mae_bins(16, sigma)
    assert four.bounds == (first, first + 1, first + 2)
    assert four.representatives == (first - 2, first, first + 1, first + 2)
    assert four.cost == pytest.approx(0.0316097397 * sigma, rel=1e-8)
    assert sixteen.bounds == tuple(range(first - 11, first + 4))
    assert sixteen.representatives == (first - 13, *range(first - 11, first + 4))
    assert sixteen.cost == pytest.approx(7.926e-9 * sigma, rel=1e-3)


@pytest.mark.parametrize("sigma, two, bounds, four", [
    (16, 45.7, (-35, 1, 36), 10.6), (24, 43.6, (-41, 0, 41), 13.7), (32, 42.4, (-45, 0, 45), 15.7),
    (42, 42.1, (-49, 0, 49), 17.5),
])  # fmt: skip
def test_fault_aware_bins_of_int8(sigma: int, two: float, bounds: tuple[int, ...], four: float) -> None:
    codes = np.arange(-128, 128)
    p = np.exp(-0.5 * (codes / sigma) ** 2)
    uniform = np.full(256, 1 / 256)
    halves, quarters = (fault_aware_bins(codes, p / p.sum(), uniform, n) for n in (2, 4))
    assert halves.bounds == (128,)
    assert halves.cost**0.5 == pytest.approx(two, abs=0.06)
    assert tuple(codes[b] for b in quarters.bounds) == bounds
    assert quarters.cost**0.5 == pytest.approx(four, abs=0.06)


def test_fault_aware_bins_are_optimal_among_all_partitions() -> None:
    rng = np.random.default_rng(3)
    values, p, q = np.sort(rng.normal(size=9)), rng.random(9), rng.random(9)
    p, q = p / p.sum(), q / q.sum()

    def cost(bounds: tuple[int, ...]) -> float:
        total = 0.0
        for a, b in zip((0, *bounds), (*bounds, 9), strict=True):
            mean = (p[a:b] * values[a:b]).sum() / p[a:b].sum()
            wrong = (values[None, a:b] - values[a:b, None]) ** 2
            total += (p[a:b, None] * q[None, a:b] * wrong).sum()
            total += (1 - q[a:b].sum()) * (p[a:b] * (values[a:b] - mean) ** 2).sum()
        return float(total)

    best = min(combinations(range(1, 9), 3), key=cost)
    found = fault_aware_bins(values, p, q, 4)
    assert found.bounds == best
    assert found.cost == pytest.approx(cost(best))


def test_whole_block_vector() -> None:
    block = as_words(bytes.fromhex(BLOCK))
    dsc, ssc = (RangeGuard(artifact_table(BF16, s)) for s in SCHEMES)
    assert dsc.encode(block).checks.tolist() == [[0x69E3]]
    assert bytes(ssc.symbols(block).view(np.uint8)[0]).hex() == "abc3e0c1f9d6dcaf"
    assert ssc.encode(block).checks.tolist() == [[0x3115]]


@pytest.mark.parametrize("element", FORMATS, ids=str)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_garbage_lanes_within_the_bound_leave_every_range_right(
    element: ElementFormat, scheme: Scheme
) -> None:
    data = tensor(element, 3000)
    for table in [fitted_table(element, scheme, elements(data, element))] + (
        [artifact_table(element, scheme)] if element.bits >= 16 else []
    ):
        guard = RangeGuard(table)
        stored, checks = guard.encode(data)
        assert not guard.decode(stored, checks).status.any()
        assert np.array_equal(guard.decode(stored, checks).data, data)
        faulty = data ^ lane_errors(len(data), guard.code.errors, 5)
        read = guard.decode(faulty, checks)
        assert guard.bounded(data, read.data).all()
        untouched = (faulty ^ data).view(np.uint32) == 0
        assert np.array_equal(read.data.view(np.uint32)[untouched], data.view(np.uint32)[untouched])
        assert np.isin(classify(guard, data, read), (Outcome.CE, Outcome.BND)).all()
        oracle = guard.decode_oracle(faulty, data)
        assert np.array_equal(oracle.data, read.data)


def test_sign_of_a_replaced_value_is_the_received_one() -> None:
    guard = RangeGuard(artifact_table(BF16, "dsc"))
    block = as_words(bytes.fromhex(BLOCK))
    faulty = block.copy()
    faulty.view(np.uint16)[0, 0] = 0xFF80  # -Inf in place of 0.5
    read = guard.decode(faulty, guard.encode(block).checks)
    assert read.data.view(np.uint16)[0, 0] == 0x8000 | 126 << 7
    assert np.array_equal(read.data.view(np.uint16)[0, 1:], block.view(np.uint16)[0, 1:])


def test_beyond_the_bound_the_real_decoder_miscorrects_and_the_oracle_does_not() -> None:
    rng = np.random.default_rng(11)
    data = as_words(rng.integers(0, 1 << 16, (40000, 16), dtype=np.uint16))
    guard = RangeGuard(artifact_table(FP32, "dsc"))
    faulty = as_words(rng.integers(0, 1 << 16, (40000, 16), dtype=np.uint16))
    wrong = np.count_nonzero(
        guard.symbols(data).view(np.uint32)[:, :1] ^ guard.symbols(faulty).view(np.uint32)[:, :1]
    )
    assert wrong > 39000
    read = guard.decode(faulty, guard.encode(data).checks)
    assert (classify(guard, data, read) == Outcome.DUE).mean() > 0.6
    assert (classify(guard, data, read) == Outcome.MIS).any()
    assert (classify_artifact(guard, data, read) != ArtifactOutcome.SDC).mean() > 0.99
    oracle = guard.decode_oracle(faulty, data)
    assert not (classify(guard, data, oracle) == Outcome.MIS).any()
    assert np.array_equal(
        oracle.data[oracle.status[:, 0] == Status.DUE], faulty[oracle.status[:, 0] == Status.DUE]
    )


@pytest.mark.parametrize("element", [E3M2, E2M3], ids=str)
def test_six_bit_elements_go_five_to_a_word_under_ssc_only(element: ElementFormat) -> None:
    data = tensor(element, 500)
    guard = RangeGuard(fitted_table(element, "ssc", elements(data, element)))
    read = guard.decode(data ^ lane_errors(500, 1, 2), guard.encode(data).checks)
    assert guard.bounded(data, read.data).all()
    with pytest.raises(DataError, match="n/a"):
        fitted_table(element, "dsc", elements(data, element))


@pytest.mark.parametrize("scheme, lanes", [("dsc", 2), ("dsc", 3), ("dsc", 4), ("ssc", 1)])
def test_rgx_corrects_erased_lanes_up_to_four(scheme: Scheme, lanes: int) -> None:
    data = tensor(BF16, 4000)
    guard = RangeGuardX(fitted_table(BF16, scheme, elements(data, BF16)))
    checks = guard.encode(data).checks
    assert not guard.decode(data, checks).status.any()
    error = (lane_errors(4000, lanes, 9).view(np.uint32) != 0) * np.uint32(0x7F80)
    faulty = (data.view(np.uint32) | error).view(np.uint64)  # infinity in the lower slot of each
    read = guard.decode(faulty, checks)
    assert (read.status == Status.CORRECTED).all()
    assert guard.bounded(data, read.data).all()
    assert not guard.violating(read.data).any()


def test_rgx_one_erasure_beside_one_silent_error() -> None:
    data = tensor(BF16, 4000)
    guard = RangeGuardX(fitted_table(BF16, "dsc", elements(data, BF16)))
    checks = guard.encode(data).checks
    lanes = data.view(np.uint32).copy()
    rng = np.random.default_rng(4)
    places = np.argsort(rng.random((4000, 8)), axis=1)[:, :2]
    rows = np.arange(4000)
    lanes[rows, places[:, 0]] |= np.uint32(0x7F80)
    lanes[rows, places[:, 1]] &= np.uint32(0x807F807F)  # tiny values: legal, but of another range
    read = guard.decode(lanes.view(np.uint64), checks)
    assert guard.bounded(data, read.data).all()


def test_rgx_nulls_what_it_cannot_solve() -> None:
    data = tensor(BF16, 100)
    guard = RangeGuardX(fitted_table(BF16, "dsc", elements(data, BF16)))
    faulty = (data.view(np.uint32) | np.uint32(0x7F80)).view(np.uint64)
    read = guard.decode(faulty, guard.encode(data).checks)
    assert (read.status == Status.DUE).all()
    assert not read.data.view(np.uint16)[:, ::2].any()
    assert np.array_equal(read.data.view(np.uint16)[:, 1::2], data.view(np.uint16)[:, 1::2])


def test_fault_aware_bins_discover_the_impossible_range() -> None:
    codes = codes_in(tensor(BF16, 2000), 16)
    table = fitted_table(BF16, "dsc", codes, "fault_aware")
    largest = int((codes >> 7 & 255).max())
    assert int(table.rid[:256].searchsorted(3)) == largest + 1


@pytest.mark.parametrize("objective", ["tails", "fault_aware"])
def test_rgx_leaves_a_tenth_of_the_clamps_large_residuals(objective: Objective) -> None:
    rng = np.random.default_rng(6)
    values = (rng.standard_t(5, (20000, 16)) * 0.02 * 0.6**0.5).astype(np.float32)
    codes = BF16.encode(values)
    data = as_words(codes)
    largest = int(((codes >> 7) & 255).max())
    guard = RangeGuardX(fitted_table(BF16, "dsc", codes, objective))
    faulty = data ^ lane_errors(20000, 2, 8)
    clamped = exponent_clamp(BF16, largest).decode(faulty, np.zeros((20000, 0), np.uint64)).data
    guarded = guard.decode(faulty, guard.encode(data).checks).data

    def large(read: Words) -> int:
        error = np.abs(BF16.decode(codes_in(read, 16)) - BF16.decode(codes))
        return int((error > 10 * 0.02).any(axis=1).sum())

    assert large(guarded) * 10 < large(clamped)


def test_clamps_and_ranger() -> None:
    data = tensor(BF16, 200)
    codes = codes_in(data, 16)
    clamp = exponent_clamp(BF16, int((codes >> 7 & 255).max()))
    none = np.zeros((200, 0), np.uint64)
    assert np.array_equal(clamp.decode(data, none).data, data)
    faulty = (data.view(np.uint16) | np.uint16(0x7F80)).view(np.uint64)
    assert not codes_in(clamp.decode(faulty, none).data, 16).any()
    small = code_clamp(E2M1, E2M1.encode(np.array([1.0, -1.0], np.float32)))
    packed = as_words(bytes([0x72, 0x2F] * 16))
    assert bytes(small.decode(packed, np.zeros((1, 0), np.uint64)).data.view(np.uint8)[0]) == bytes(
        [0x02, 0x20] * 16
    )
    clip = ranger(FP32, -1.0, 1.0)
    words = as_words(np.array([[2.0, -3.0, np.nan, 0.5, np.inf, -np.inf, 1.0, 0.0]], np.float32))
    read = clip.decode(words, np.zeros((1, 0), np.uint64))
    assert read.data.view(np.float32)[0].tolist() == [1.0, -1.0, 0.0, 0.5, 1.0, -1.0, 1.0, 0.0]


def test_scale_sectors() -> None:
    rng = np.random.default_rng(5)
    scales = rng.integers(100, 130, (300, 32)).astype(np.uint8)
    data = as_words(scales)
    rs34 = scale_rs34()
    stored = rs34.encode(data)
    faulty = scales.copy()
    rows = np.arange(300)
    faulty[rows, rng.integers(0, 32, 300)] ^= rng.integers(1, 256, 300).astype(np.uint8)
    assert np.array_equal(rs34.decode(as_words(faulty), stored.checks).data, data)
    clipped = (
        scale_clamp(100, 129).decode(as_words(faulty), np.zeros((300, 0), np.uint64)).data.view(np.uint8)
    )
    assert clipped.min() >= 100
    assert clipped.max() <= 129
    twice = as_words(np.hstack([scales[:, :16], scales[:, :16]]))
    dup = ScaleDup()
    stored = dup.encode(twice)
    single = twice.view(np.uint8).copy()
    single[rows, rng.integers(0, 32, 300)] ^= np.uint8(1) << rng.integers(0, 8, 300).astype(np.uint8)
    read = dup.decode(single.view(np.uint64), stored.checks)
    assert np.array_equal(read.data, twice)
    assert (read.status == Status.CORRECTED).all()
    with pytest.raises(DataError, match="copies"):
        dup.encode(data)


@pytest.mark.parametrize("layout", [MXFP8_E4M3, MXFP8_E5M2, MXFP4, MXINT8], ids=lambda x: x.name)
def test_quantized_blocks_keep_the_mx_invariant_and_smaller_scales_do_not(layout: BlockLayout) -> None:
    x = np.random.default_rng(2).normal(size=(400, 32)).astype(np.float32)
    x[0] = 0
    x[1, 3] = np.nan
    t = quantize(x, layout)
    scales = t.scales[:, 0]
    assert not mx_violations(t.codes, scales, layout.element).any()
    low = t.codes.copy()
    value = np.abs(layout.element.decode(low))
    low[value >= 2.0**layout.element.emax] = 0
    found = mx_violations(low, scales, layout.element)
    assert (found[2:] == Violation.NO_LARGE_ELEMENT).all()
    assert (
        mx_violations(t.codes, np.full(400, 255, np.uint8), layout.element)[2:] == Violation.NAN_SCALE
    ).all()
    assert (
        mx_violations(t.codes, np.full(400, 200, np.uint8), layout.element, (1, 130))[2]
        & Violation.SCALE_RANGE
    )
    bad = {"E4M3": 0x7F, "E5M2": 0x7C, "INT8": 0x80}.get(layout.element.name)
    if bad is not None:
        t.codes[5, 0] = bad
        assert mx_violations(t.codes, scales, layout.element)[5] & Violation.UNUSED_CODE
