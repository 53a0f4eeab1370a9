"""The vector lane in Verilator against the rows of the instruction table, exact integers, and Spike's softfloat."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from potluck.isa.context import Context
from potluck.isa.insn import Insn, Kind
from potluck.isa.machine import load_machine
from potluck.isa.table import TABLE
from potluck.isa.verilog.vector import CODES, lane_op
from tests.reference import fma_exact, softfloat
from tests.rtl.bench import vector_emitted
from tests.rtl.bench.vector_bins import wanted
from tests.rtl.bench.vector_cases import draw
from tests.rtl.bench.vector_checks import (
    ROWS,
    contexts,
    sample,
    unit_of,
    wrong,
    wrong_simulated,
    wrong_together,
)
from tests.rtl.bench.vector_lanes import Lane, Work, library

pytestmark = pytest.mark.usefixtures("rtl_tools")

WHOLE = 100_000
FORMS = {16: fma_exact.FP16, 32: fma_exact.FP32, 64: fma_exact.FP64}
ELSEWHERE = ("vload", "vstore", "vslide", "vgather", "vscan", "vmxdotp", "vxs")
"""Timing classes of what is done outside the lanes."""


@pytest.mark.parametrize("unit", CODES)
def test_every_row_is_what_it_means(unit: str) -> None:
    """A sample of every instruction at every SEW and rounding mode, and every bin hit."""
    bins: set[str] = set()
    found = sample(library(), [insn for insn in ROWS if unit_of(insn) == unit], 128, 1, bins)
    assert not found, found
    assert not wanted(unit) - bins, sorted(wanted(unit) - bins)


@pytest.mark.slow
@pytest.mark.parametrize(
    "insn", [row for row in ROWS if not row.syntax[0].element0], ids=lambda row: row.mnemonic
)
def test_every_row_is_what_the_simulator_compiles(insn: Insn) -> None:
    """10^5 elements of every instruction but those with a single result, whose step is another one's on vectors."""
    rng = np.random.Generator(np.random.Philox(key=[sum(insn.mnemonic.encode()), 2]))
    found = list(contexts(insn))
    for context in found:
        work = draw(insn, context, -(-WHOLE // len(found) // 4096) * 4096, rng)
        all_of_it = dataclasses.replace(work, active=np.ones(len(work.a), bool))
        assert not (differs := wrong_simulated(library(optimize="-O3 -march=native"), all_of_it)), differs


@pytest.mark.parametrize("mnemonic", ["vfmacc.vv", "vnclip.wx", "vmfle.vf", "vsadd.vi", "vwmaccus.vx"])
def test_sample_of_what_the_simulator_compiles(mnemonic: str) -> None:
    rng = np.random.Generator(np.random.Philox(5))
    for context in list(contexts(TABLE[mnemonic]))[::4]:
        work = draw(TABLE[mnemonic], context, 1024, rng)
        all_of_it = dataclasses.replace(work, active=np.ones(len(work.a), bool))
        assert not (differs := wrong_simulated(library(), all_of_it)), differs


def outcomes(
    mnemonic: str, bits: int, mode: int, count: int, seed: int
) -> tuple[Work, list[tuple[int, int]]]:
    """Result and flags of single elements, each in a step that has no other active one."""
    insn, sew = TABLE[mnemonic], bits.bit_length() - 4
    drawn = draw(insn, Context(sew << 3, mode), count, np.random.Generator(np.random.Philox(seed)))
    first = np.arange(count) % drawn.together == 0
    work = dataclasses.replace(drawn, active=first)
    found, _ = library().run(work.steps())
    values = work.elements(found["value"])[first]
    one = {name: getattr(work, name)[first] for name in ("a", "b", "c", "mask", "active")}
    pairs = list(zip(values.tolist(), found["flags"].tolist(), strict=True))
    return dataclasses.replace(work, **one), pairs


def compare_exactly(
    mnemonic: str, bits: int, mode: int, count: int, seed: int, of: Callable[..., tuple[int, int]]
) -> None:
    """`of(a, b, c)` is vs2, the operand and vd."""
    work, found = outcomes(mnemonic, bits, mode, count, seed)
    rows = zip(work.a.tolist(), work.b.tolist(), work.c.tolist(), strict=True)
    for codes, pair in zip(rows, found, strict=True):
        want = of(*codes)
        assert pair == want, (
            f"{mnemonic} e{bits} frm {mode}: {[hex(code) for code in codes]}: {pair}, not {want}"
        )


@pytest.mark.parametrize("count", [2_000, pytest.param(WHOLE, marks=pytest.mark.slow)])
@pytest.mark.parametrize("bits", FORMS)
def test_multiply_adds_are_exact_integers(bits: int, count: int) -> None:
    """Without the simulator in between; the four signs, either operand order, in every rounding mode."""
    sign, form = 1 << bits - 1, FORMS[bits]
    variants: dict[str, Callable[[int, int, int], tuple[int, int, int]]] = {
        "vfmacc.vv": lambda a, b, c: (b, a, c), "vfnmsac.vv": lambda a, b, c: (b ^ sign, a, c),
        "vfmsac.vv": lambda a, b, c: (b, a, c ^ sign), "vfnmadd.vv": lambda a, b, c: (c ^ sign, b, a ^ sign),
    }  # fmt: skip
    for number, (mnemonic, order) in enumerate(variants.items()):
        for mode in range(5):
            compare_exactly(
                mnemonic, bits, mode, count, number,
                lambda a, b, c, order=order, mode=mode: fma_exact.fma(*order(a, b, c), mode, form),
            )  # fmt: skip


SOFT = {
    "vfadd.vv": ("add", False, 2), "vfsub.vv": ("sub", False, 2), "vfmul.vv": ("mul", False, 2),
    "vfdiv.vv": ("div", False, 2), "vfsqrt.v": ("sqrt", False, 1), "vfmadd.vv": ("mulAdd", True, 3),
}  # fmt: skip


@pytest.mark.parametrize("count", [500, pytest.param(WHOLE, marks=pytest.mark.slow)])
@pytest.mark.parametrize("bits", FORMS)
@pytest.mark.parametrize("mnemonic", SOFT)
def test_arithmetic_is_softfloats(mnemonic: str, bits: int, count: int) -> None:
    name, fused, operands = SOFT[mnemonic]
    function = softfloat.function(f"f{bits}_{name}")
    for mode in range(5):
        compare_exactly(
            mnemonic, bits, mode, count, 9,
            lambda a, b, c, mode=mode: function(mode, *((c, b, a) if fused else (a, b)[:operands])),
        )  # fmt: skip


@pytest.mark.filterwarnings("ignore::potluck.compiler.quantizers.bbq_inference.BbqCeilingWarning")
def test_what_networks_hold_is_tested() -> None:
    """Instructions of compiled networks in every scheme: a lane does them at that width, or another unit does."""
    found = set().union(*map(vector_emitted.emitted, vector_emitted.programs()))
    tested = {(insn.mnemonic, context.sew) for insn in ROWS for context in contexts(insn)}
    masks = {insn.mnemonic for insn in ROWS if insn.kind is Kind.MASK}
    left = {(mnemonic, sew) for mnemonic, sew in found - tested if mnemonic not in masks}
    others = {pair for pair in left if TABLE[pair[0]].timing in ELSEWHERE or lane_op(TABLE[pair[0]]) is None}
    assert left == others
    assert not any(
        TABLE[mnemonic].timing.startswith(("vf", "vint", "vwint", "vim")) for mnemonic, _ in others
    )
    assert len(found & tested) >= 60


def test_order_stalls_and_gaps_change_nothing() -> None:
    assert not (found := wrong_together(library(), 3_000)), found


FIRST = {"fma": "FmaLatency", "integer": "IntegerLatency", "multiply": "IntegerLatency", "noncomp": "NoncompLatency",
         "convert": "ConvertLatency"}  # fmt: skip
KEYS = {"IntegerLatency": "integer", "FmaLatency": "fma", "NoncompLatency": "noncomp", "ConvertLatency": "convert",
        "DivideCycles": "divide_per_element"}  # fmt: skip
SPATZ = {name: getattr(load_machine("spatz-mx").timing, key) for name, key in KEYS.items()}
SLOW = {"IntegerLatency": 5, "FmaLatency": 6, "NoncompLatency": 4, "ConvertLatency": 1, "DivideCycles": 3}
FAST = {"IntegerLatency": 2, "FmaLatency": 2, "NoncompLatency": 1, "ConvertLatency": 4, "DivideCycles": 64}


@pytest.mark.parametrize(
    "parameters", [SPATZ, *(pytest.param(each, marks=pytest.mark.slow) for each in (SLOW, FAST))]
)
def test_latency_and_throughput(parameters: dict[str, int]) -> None:
    """One operation a cycle after the machine's latency (the defaults are spatz-mx's); divisions element by element."""
    lane = library() if parameters == SPATZ else library(tuple(parameters.items()))
    for unit in CODES:
        insn = next(row for row in ROWS if unit_of(row) == unit)
        context = list(contexts(insn))[-1]
        work = draw(insn, context, 64 * 16 // 8, np.random.Generator(np.random.Philox(8)))
        found, _ = lane.run(work.steps())
        if unit in FIRST:
            occupied, latency = 1, parameters[FIRST[unit]]
        else:
            occupied = parameters["DivideCycles"] * work.together
            latency = occupied - 1 + parameters["FmaLatency" if unit == "float_divide" else "IntegerLatency"]
        assert set(np.diff(found["taken"])) == {occupied}, unit
        assert set(found["given"] - found["taken"]) == {latency}, unit
    if parameters != SPATZ:
        assert not (differs := sample(lane, ROWS, 64, 3)), differs


def test_a_wrong_expectation_is_noticed() -> None:
    """The comparison itself: a sum taken for a difference."""
    insn = TABLE["vadd.vv"]
    work = draw(insn, next(iter(contexts(insn))), 64, np.random.Generator(np.random.Philox(1)))
    other = dataclasses.replace(work, insn=TABLE["vsub.vv"])
    assert wrong(library(), work) == ""
    assert "expected" in wrong(_Other(library(), work), other)


class _Other:
    """A lane that does other work than it is told."""

    def __init__(self, lane: Lane, work: Work) -> None:
        self.lane, self.work = lane, work

    def run(self, _: np.ndarray) -> tuple[np.ndarray, int]:
        return self.lane.run(self.work.steps())
