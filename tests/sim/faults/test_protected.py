"""Parts under stacks: the sparse reads against encoding, striking and decoding everything; refusals by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from potluck.isa.errors import DataError
from potluck.isa.formats.elements import BF16, E4M3, E8M0, FP32, ElementFormat
from potluck.isa.pot.codes import POT_FORMATS
from potluck.sim.dram.kind import load_kind
from potluck.sim.dram.mapping import Mapping
from potluck.sim.ecc.filters import blocks_of, codes_in
from potluck.sim.ecc.interface import Status, as_words
from potluck.sim.ecc.outcomes import Outcome
from potluck.sim.ecc.rangeguard.codec import RangeGuard
from potluck.sim.ecc.rangeguard.ranges import Scheme, fitted_table
from potluck.sim.ecc.rangeguard.rgx import RangeGuardX
from potluck.sim.faults.faultset import Action, FaultSet, Sort, fault_set, keys_of, nothing, union
from potluck.sim.faults.footprints import MODES, Correlated, Rate
from potluck.sim.faults.models import Uniform
from potluck.sim.faults.parts import CodeBook, Part
from potluck.sim.faults.placement import place, traffic
from potluck.sim.faults.protected import (
    BitErrors,
    Protected,
    Uncorrectable,
    bit_errors,
    cells_used,
    link_of,
    strike,
)
from potluck.sim.faults.range_table import Lookup, entry_bits, from_bits
from potluck.sim.faults.recipes import NAMED, recipe

HBM3 = Mapping(load_kind("hbm3"), 2)
RNG = np.random.default_rng(5)


def _parts() -> tuple[Part, ...]:
    floats = FP32.encode((RNG.standard_normal(8 * 64) * 0.05).astype(np.float32))
    bytes8 = E4M3.encode((RNG.standard_normal(32 * 32) * 8).astype(np.float32))
    scales = RNG.integers(115, 124, 32 * 3, dtype=np.uint8)
    sums = RNG.integers(-9999, 9999, 8 * 2, dtype=np.int32)
    book = CodeBook("POT", np.array([0, 1, 2, 3, 4, 6, 8, 16, 0, -1, -2, -3, -4, -6, -8, -16], float))
    nibbles = RNG.integers(0, 256, 32 * 9, dtype=np.uint8)
    return (
        Part("w", "elements", "FP32", FP32, 100, as_words(floats)),
        Part("m.chunks", "elements", "E4M3", E4M3, 164, as_words(bytes8)),
        Part("m.blocks", "scales", "E8M0", E8M0, 196, as_words(scales)),
        Part("sums", "other", "INT32", None, 300, as_words(sums)),
        Part("p", "elements", "POT", cast(ElementFormat, book), 400, as_words(nibbles)),
    )


PARTS = _parts()
STACKS = [
    *NAMED,
    "none",
    "clamp",
    "ondie",
    "rg-ssc",
    "rgx-dsc+clamp",
    "ondie+rgx-ssc",
    "ondie+rgf",
    "rg-ssc-oracle",
    "ondie+rg-oracle+clamp",
    "artifact-real",
    "parity_null",
    "ondie+hsiao+ranger",
]


@pytest.mark.parametrize("name", STACKS)
def test_sparse_reads_are_whole_reads(name: str) -> None:
    protected = Protected(PARTS, recipe(name), HBM3)
    for trial, rate in ((0, 3e-4), (1, 1e-2)):
        drawn = Uniform(rate).draw(protected.region, (1, trial))
        faults = drawn.where(drawn.sorts != Sort.METADATA)
        reads = {read.part: read for read in protected.read(faults)}
        words = protected.words(list(reads.values()))
        for number, part in enumerate(PARTS):
            whole = _whole(protected, number, faults)
            assert np.array_equal(words[number], whole)
            if number in reads:
                wrong = (whole != part.clean).any(axis=1)
                assert set(np.flatnonzero(wrong).tolist()) <= set(reads[number].rows.tolist())
                exact = reads[number].outcome == Outcome.CE
                assert not wrong[reads[number].rows[exact]].any()


def _whole(protected: Protected, number: int, faults: FaultSet) -> np.ndarray:
    """All sectors of a part, encoded, struck, sent over the pins and decoded."""
    part, applied = protected.parts[number], protected.applied[number]
    inside = (faults.sectors >= part.first) & (faults.sectors < part.first + part.count)
    chosen = faults.where(inside).counted_from(part.first)
    if protected.recipe.compat_artifact:  # its check bits never fail
        chosen = chosen.where(np.isin(chosen.sorts, (Sort.DATA, Sort.DATA_PINS)))
    rows = np.arange(part.count)
    struck = strike(applied.stack.write(part.clean), applied.stack, rows, chosen)
    link = link_of(applied.stack, rows, chosen)
    if not applied.oracle:
        return applied.stack.read(struck, link=link).data
    data, checks, _ = applied.stack.after_on_die(struck)
    data = link(data, checks)[0] if link else data
    guard = applied.stack.system
    assert isinstance(guard, RangeGuard)
    data = guard.decode_oracle(data, part.clean).data
    for value_filter in applied.stack.filters:
        data = value_filter.decode(data, checks)[0]
    return data


def test_an_oracle_is_the_decoder_that_never_corrects_wrongly() -> None:
    """Where at most two symbols are wrong both read alike; beyond, the real one may say it corrected, the other never
    does; over an on-die code the oracle sees what that has left, wrong corrections, too."""
    for on_die in ("", "ondie+"):
        real, oracle = (Protected(PARTS, recipe(on_die + name), HBM3) for name in ("rg-dsc", "rg-dsc-oracle"))
        drawn = Uniform(6e-2).draw(real.region, (4, 1))
        faults = drawn.where(drawn.sorts == Sort.DATA)
        wrong = 0
        for mine, told in zip(real.read(faults), oracle.read(faults), strict=True):
            guard = real.applied[mine.part].stack.system
            if not isinstance(guard, RangeGuard):
                assert np.array_equal(mine.data, told.data)
                continue
            part = real.parts[mine.part]
            same = guard.symbols(part.clean[told.rows]) == guard.symbols(told.data)
            assert same[told.status == Status.CORRECTED].all() and (told.status == Status.DUE).any()
            agree = told.status != Status.DUE
            if not on_die:  # its wrong corrections strike check bits, too
                assert np.array_equal(mine.data[agree], told.data[agree])
            wrong += int((mine.status[~agree] == Status.CORRECTED).sum())
        assert wrong > 5 or on_die
    with pytest.raises(DataError, match="policy retry"):
        oracle.read(faults, "retry", faults)
    with pytest.raises(DataError, match="rgx-oracle"):
        recipe("rgx-oracle")


UNDER = [
    *((name, "hbm3") for name in (*NAMED, "none", "ondie", "ondie+rgx+clamp")),
    *((name, "ddr5") for name in ("ondie", "ondie+hsiao_72_64", "ondie+rg")),
]


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize(("name", "kind"), UNDER)
def test_every_footprint_under_every_stack(name: str, kind: str, mode: str) -> None:
    """One fault of each mode, transient or permanent: the sparse read is the whole one, and something is hit."""
    mapping = HBM3 if kind == "hbm3" else Mapping(load_kind(kind), 1)
    protected = Protected(PARTS, recipe(name), mapping)
    touched = 0
    for rate, trial in ((Rate(1.0, 0.0), 1), (Rate(0.0, 1.0), 2)):
        faults = Correlated(mapping, {mode: rate}, 1.0, forced=True).draw(protected.region, (6, trial))
        reads = protected.read(faults)
        words = protected.words(reads)
        touched += len(reads)
        for number in range(len(PARTS)):
            assert np.array_equal(words[number], _whole(protected, number, faults))
        if mode in ("bit", "word", "swl") and name == "ondie+CRC":  # RS(19,17) takes an aligned 16 in cells
            assert all((read.outcome == Outcome.CE).all() for read in reads)
    assert touched or mode in ("bit", "pair", "word", "column", "swl")  # these may lie in unused check bits


def test_faults_of_pins_come_after_the_on_die_code() -> None:
    """The same eight bits of a pin: in cells the on-die code takes them for one of its symbols, or says it cannot."""
    bits = np.arange(5, 256, 32)
    for sort, stack, outcome in (
        (Sort.DATA, "ondie", Outcome.DUE), (Sort.DATA_PINS, "ondie", Outcome.UND),
        (Sort.DATA_PINS, "ondie+crc", Outcome.DUE), (Sort.DATA_PINS, "none", Outcome.UND),
    ):  # fmt: skip
        protected = Protected(PARTS[:1], recipe(stack), HBM3)
        faults = fault_set(keys_of(100, sort, bits))
        (read,) = protected.read(faults)
        assert read.outcome.tolist() == [outcome], (sort, stack)
        assert np.bitwise_count(read.data ^ PARTS[0].clean[:1]).sum() == 8
        assert bit_errors(protected, faults) == BitErrors(8, 8)
    one = [fault_set(keys_of(100, sort, 77)) for sort in (Sort.DATA, Sort.DATA_PINS)]
    for stack, found in (("ondie", [0, 1, 1]), ("none", [1, 1, 0])):  # in the cell, on the pin, in both
        protected = Protected(PARTS[:1], recipe(stack), HBM3)
        wrong = []
        for faults in (one[0], one[1], union(one)):
            (read,) = protected.read(faults)
            wrong.append(int(np.bitwise_count(read.data ^ PARTS[0].clean[:1]).sum()))
        assert wrong == found
    checks = fault_set(keys_of(100, Sort.SIDEBAND_PINS, 3))
    (read,) = Protected(PARTS[:1], recipe("ondie+crc"), HBM3).read(checks)
    assert read.outcome.tolist() == [Outcome.DUE]  # CRC-16 cannot tell data from check bits
    (read,) = Protected(PARTS[:1], recipe("ondie+rg"), HBM3).read(checks)
    assert read.outcome.tolist() == [Outcome.CE]
    assert not Protected(PARTS[:1], recipe("none"), HBM3).read(checks)  # nothing is sent there


def test_a_stuck_pin_stays_for_the_second_read() -> None:
    protected = Protected(PARTS[:1], recipe("ondie+crc"), HBM3)
    faults = fault_set(keys_of(100, Sort.DATA_PINS, np.arange(5, 256, 32)))
    (read,) = protected.read(faults, "retry", nothing())
    assert read.outcome.tolist() == [Outcome.CE]
    (read,) = protected.read(faults, "retry", faults)
    assert read.outcome.tolist() == [Outcome.DUE]


def test_pins_carry_inline_check_bits_as_data() -> None:
    lpddr5 = Mapping(load_kind("lpddr5"), 1)
    protected = Protected(PARTS, recipe("hsiao_272_256"), lpddr5)
    sector, bit = protected.placement.check_place(101)
    (read,) = protected.read(fault_set(keys_of(sector, Sort.DATA_PINS, bit + 4)))
    assert read.rows.tolist() == [1] and read.outcome.tolist() == [Outcome.CE] and read.status.tolist() == [1]
    assert not protected.read(fault_set(keys_of(101, Sort.SIDEBAND_PINS, 4)))


def test_one_flip_is_corrected_by_every_code_and_schemes_share_faults() -> None:
    for name in ("ondie+CRC", "ondie+RG", "hsiao", "ondie+top4", "ondie+rgx"):
        protected = Protected(PARTS, recipe(name), HBM3)
        flips = [fault_set(keys_of(part.first + 1, Sort.DATA, 77)) for part in PARTS]
        reads = protected.read(union(flips))
        assert [read.outcome.tolist() for read in reads] == [[Outcome.CE]] * len(PARTS), name
        assert all(words is part.clean for words, part in zip(protected.words(reads), PARTS, strict=True))
        errors = bit_errors(protected, union(flips))
        assert (errors.raw, errors.after_on_die) == (5, 0 if name.startswith("ondie") else 5)
    a, b = (Protected(PARTS, recipe(name), HBM3) for name in ("none", "ondie+RG"))
    drawn = [Uniform(1e-3).draw(p.region, (4, 2)) for p in (a, b)]
    cells = [d.where(d.sorts != Sort.METADATA) for d in drawn]
    assert cells[0] == cells[1]


def test_on_die_codes_of_other_kinds() -> None:
    """DDR5's (136,128): a single bit of each half is corrected unseen, two of one half are mostly mis-corrected."""
    ddr5 = Mapping(load_kind("ddr5"), 1)
    protected = Protected(PARTS[:1], recipe("ondie"), ddr5)
    assert cells_used(protected) == (64 * (256 + 16), 64 * 256)
    (read,) = protected.read(fault_set(keys_of(100, Sort.DATA, np.array([3, 200]))))
    assert read.outcome.tolist() == [Outcome.CE]
    rows, wrong = np.arange(64), np.random.default_rng(3)
    pairs = np.array([wrong.choice(128, 2, replace=False) for _ in rows])
    (read,) = protected.read(fault_set(keys_of(np.repeat(100 + rows, 2), Sort.DATA, pairs.ravel())))
    extra = np.bitwise_count(read.data ^ PARTS[0].clean).sum(axis=1)
    assert set(extra.tolist()) <= {2, 3} and 45 <= (extra == 3).sum() <= 64  # 88 % (facts 4.2)
    both = Protected(PARTS, recipe("ondie+hsiao_72_64"), ddr5)
    (read,) = both.read(fault_set(keys_of(np.array([101, 101]), Sort.DATA, np.array([0, 170]))))
    assert read.outcome.tolist() == [Outcome.CE] and both.applied[0].stack.check_bits == 48


def test_policies() -> None:
    protected = Protected(PARTS, recipe("hsiao"), HBM3)
    two = fault_set(keys_of(np.array([101, 101]), Sort.DATA, np.array([3, 40])))
    for policy, outcome in (("pass", Outcome.DUE), ("null", Outcome.DUE)):
        (read,) = protected.read(two, policy)  # type: ignore[arg-type]
        assert read.outcome[0] == outcome and read.data.any() == (policy == "pass")
    (read,) = protected.read(two, "retry", nothing())
    assert read.outcome[0] == Outcome.CE
    (read,) = protected.read(two, "retry", two)
    assert read.outcome[0] == Outcome.DUE
    with pytest.raises(Uncorrectable, match=r"tensor 'w'.*1 uncorrectable.*offset 0xca0"):
        protected.read(two, "fail")
    with pytest.raises(DataError, match="second read"):
        protected.read(two, "retry")


def test_set_bits_count_only_where_they_change() -> None:
    protected = Protected(PARTS[:1], recipe("none"), HBM3)
    every = keys_of(100, Sort.DATA, np.arange(256))
    ones = int(np.bitwise_count(PARTS[0].clean[0]).sum())
    assert bit_errors(protected, fault_set(every, Action.SET0)).raw == ones
    assert bit_errors(protected, fault_set(every, Action.SET1)).raw == 256 - ones
    assert cells_used(protected) == (64 * 256, 64 * 256)


def test_inline_check_bits_are_data_of_reserved_addresses() -> None:
    hbm2 = Mapping(load_kind("lpddr5"), 1)
    protected = Protected(PARTS, recipe("hsiao_272_256"), hbm2)
    placement = protected.placement
    assert placement.inline and placement.slot == 16
    assert placement.reserved_bytes >= placement.data_sectors * 2 > hbm2.bytes // 17 - 64
    sector, bit = placement.check_place(101)
    clean = protected.applied[0].stack.write(PARTS[0].clean).checks[1, 0]
    (read,) = protected.read(fault_set(keys_of(sector, Sort.DATA, bit + 4)))
    assert read.rows.tolist() == [1] and read.outcome.tolist() == [Outcome.CE] and read.status.tolist() == [1]
    assert clean != clean ^ np.uint64(16)
    assert not protected.read(fault_set(keys_of(101, Sort.SIDEBAND, 4)))  # there are no sideband pins
    drawn = Uniform(1e-2).draw(protected.region, (1, 1))
    assert (drawn.sectors >= placement.data_sectors).any()
    # 18 bits take slots of 32, whose upper 14 hold nothing.
    wide = Protected(PARTS, recipe("bch_274_256"), hbm2)
    sector, bit = wide.placement.check_place(101)
    assert wide.placement.slot == 32 and not wide.read(fault_set(keys_of(sector, Sort.DATA, bit + 18)))
    with pytest.raises(DataError, match="reserved for check bits"):
        placement.check_place(placement.data_sectors)
    late = replace(PARTS[0], first=placement.data_sectors - 3)
    with pytest.raises(DataError, match="reserved"):
        Protected((late,), recipe("hsiao"), hbm2)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("hbm2", "ondie+crc", "hbm2 stores 0 on-die check bits.*Leave out ondie"),
        ("ddr4", "ondie", "ddr4 stores 0 on-die"),
        ("hbm3", "ondie+vapi_78_64", r"ondie\+vapi_78_64: 56 check bits do not fit hbm3's 16 sideband bits"),
        ("lpddr5", "ondie+rg", "under an on-die code are not modelled"),
        ("hbm3", "ondie+rg+hsiao", "'hsiao' cannot come after 'rg'|no layer 'hsiao'|cannot come after"),
        ("hbm3", "rangegard", "no layer 'rangegard'"),
        ("hbm3", "ondie+rgy", "Did you mean 'rg"),
    ],
)  # fmt: skip
def test_impossible_stacks_are_refused_by_name(kind: str, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Protected(PARTS, recipe(name), Mapping(load_kind(kind), 1))


def test_traffic_of_streams_and_small_writes() -> None:
    lpddr5 = Mapping(load_kind("lpddr5"), 1)  # bursts of 32 bytes
    inline, sideband = place(recipe("hsiao"), lpddr5), place(recipe("hsiao"), HBM3)
    stream = [(0, 32 * 64, False)]
    assert traffic(sideband, stream).extra == 0
    assert (
        traffic(inline, stream).check_reads == 4 and traffic(inline, stream).reads == 64
    )  # 16 sectors share a burst
    write = traffic(inline, [(0, 32 * 64, True)])
    assert (write.writes, write.check_writes, write.check_reads, write.modify_reads) == (64, 4, 0, 0)
    one = traffic(inline, [(32, 32, True)])
    assert (one.writes, one.check_reads, one.check_writes, one.modify_reads) == (1, 1, 1, 0)
    for placement, checks in ((sideband, 0), (inline, 1)):
        small = traffic(placement, [(40, 4, True)])
        assert (small.writes, small.modify_reads, small.check_writes) == (1, 1, checks)
    assert traffic(place(recipe("none"), HBM3), [(40, 4, True)]).modify_reads == 0
    far = traffic(inline, [(k * 512, 32, False) for k in range(10)])
    assert far.reads == far.check_reads == 10


TABLES = [
    fitted_table(FP32, "dsc", PARTS[0].codes), fitted_table(FP32, "ssc", PARTS[0].codes),
    fitted_table(BF16, "dsc", BF16.encode(np.float32([0.5, 0.1, 0.02, 1.7] * 9)), "tails"),
    fitted_table(BF16, "dsc", BF16.encode(np.float32([0.5, 0.1, 0.02, 1.7] * 9)), "fault_aware"),
    fitted_table(E4M3, "ssc", PARTS[1].codes), fitted_table(cast(Any, PARTS[4].element), "ssc", PARTS[4].codes),
    fitted_table(cast(Any, PARTS[4].element), "dsc", PARTS[4].codes),
]  # fmt: skip


@pytest.mark.parametrize("table", TABLES, ids=lambda t: f"{t.scheme}{t.width}")
def test_range_table_entries_come_back(table: Any) -> None:
    again = from_bits(entry_bits(table), table)
    for name in ("rid", "representative", "violates"):
        assert np.array_equal(getattr(again, name), getattr(table, name)), name


def test_range_table_is_faultable() -> None:
    lookup = Lookup((None, TABLES[4], TABLES[2]))
    assert lookup.entries == 2 and lookup.spans[0] == (0, 0) and lookup.spans[2][0] == lookup.spans[1][1]
    assert lookup.stored_bits == 72 * lookup.words and lookup.area_um2 > 0

    def faults(*bits: int) -> FaultSet:
        return fault_set(keys_of(0, Sort.METADATA, np.array(bits)))

    table, status = lookup.read(1, faults(5))
    assert status == 1 and np.array_equal(table.rid, TABLES[4].rid)
    table, status = lookup.read(1, faults(67))
    assert status == 1 and np.array_equal(table.rid, TABLES[4].rid)
    table, status = lookup.read(1, faults(5, 11))  # Hsiao detects; the controller uses what it has
    assert status == 2 and not np.array_equal(table.rid, TABLES[4].rid)
    protected = Protected(PARTS, recipe("ondie+rg-ssc"), HBM3)
    first, _ = protected.lookup.spans[1]
    reads = protected.read(fault_set(keys_of(first, Sort.METADATA, np.array([5, 11]))))
    assert [read.part for read in reads] == [1] and len(reads[0].rows) == PARTS[1].count
    single = fault_set(keys_of(first, Sort.METADATA, 5))
    assert not protected.read(single) and bit_errors(protected, single).raw == 0


@pytest.mark.parametrize("scheme", ["dsc", "ssc"])
@pytest.mark.parametrize("bits", [4, 8])
def test_power_of_two_levels_in_nibbles_and_bytes(bits: int, scheme: Scheme) -> None:
    """Garbage in as many lanes as the scheme corrects: clean values stay, wrong ones keep their range or go."""
    levels = POT_FORMATS["pot_apot"].table.astype(float)
    if bits == 8:
        book = CodeBook("PoT byte", np.full(256, np.nan), 8)
        book.levels[levels.astype(int) & 255] = levels
    else:
        book = CodeBook("PoT nibble", levels)
    rng = np.random.default_rng(bits)
    codes = book.encode(rng.standard_normal((3000, 256 // bits)) * 3)
    assert np.array_equal(
        book.decode(codes), levels[np.abs(book.decode(codes)[..., None] - levels).argmin(-1)]
    )
    data = blocks_of(codes, bits)
    table = fitted_table(cast(ElementFormat, book), scheme, codes)
    assert (table.width, table.slots, table.rid_bits) == {
        ("dsc", 4): (8, 4, 1), ("ssc", 4): (4, 8, 1), ("dsc", 8): (8, 4, 1), ("ssc", 8): (8, 4, 2),
    }[scheme, bits]  # fmt: skip
    assert table.violates.any() == (bits == 8)
    for guard in (RangeGuard(table), RangeGuardX(table)):
        checks = guard.encode(data).checks
        wrong = np.zeros((3000, 8), np.uint32)
        for row in wrong:
            lanes = rng.choice(8, {"dsc": 2, "ssc": 1}[scheme], replace=False)
            row[lanes] = rng.integers(1, 1 << 32, len(lanes))
        read = guard.decode(data ^ wrong.view(np.uint64), checks)
        assert guard.bounded(data, read.data).all()
        same = wrong == 0
        assert np.array_equal(read.data.view(np.uint32)[same], data.view(np.uint32)[same])
        if guard.name.startswith("rgx") and bits == 8 and scheme == "dsc":
            # with erasures no byte is left that is no level, wherever the code solved for them
            solved = read.status[:, 0] == Status.CORRECTED
            assert np.isfinite(book.decode(codes_in(read.data, 8))[solved]).all()


def test_bins_that_expect_faults_leave_no_open_top_range() -> None:
    """Garbage in a lane: with bins by mean absolute error a large weight may become any larger number."""
    values = (np.random.default_rng(8).standard_normal(16 * 500) * 0.02).astype(np.float32)
    part = Part("w", "elements", "BF16", BF16, 100, as_words(BF16.encode(values)))
    lane = np.arange(32)
    faults = union(
        fault_set(keys_of(100 + row, Sort.DATA, 32 * (row % 8) + lane[lane % 16 == 14])) for row in range(500)
    )
    largest = {}
    for name in ("rg", "rgf"):
        (read,) = Protected((part,), recipe(name), HBM3).read(faults)
        assert len(read.rows) == 500 and set(read.outcome.tolist()) <= {Outcome.CE, Outcome.BND}
        largest[name] = float(np.abs(BF16.decode(codes_in(read.data, 16))).max())
    assert largest["rg"] > 1e30 and largest["rgf"] <= 2 * np.abs(values).max()
