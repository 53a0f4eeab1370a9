"""Rules of the vector units (docs/timing.md), each test named after its rule.

Two instructions of a unit: the second one, offered n cycles after the first, is not held back if the first reads its
operands for n cycles. A store of the result shows when its first word is there: it reads two cycles after it is
offered, and a word can be read a cycle after it was written.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from potluck.isa.machine import load_machine
from tests.sim.rules.gate import Gate

FLOAT = "vfadd.vv v8, v16, v24"


def occupies(gate: Gate, cycles: int, code: str, **options: int) -> None:
    """The unit is taken for so many cycles by ``code``, whose destination is v8."""
    gate.opens_at(cycles, code, code.replace(" v8", " v0", 1), watch="v0", **options)


def shared(gate: Gate) -> bool:
    return gate.machine.vector.integer_unit == "shared"


def first_word(gate: Gate, code: str, latency: int) -> None:
    """One word of vd = v8, stored: the latency from operands to result."""
    word = replace(gate, vl=64 * gate.machine.vector.lanes // gate.sew)
    word.opens_at(latency + 1, code, "vs1r.v v8, (a0)", watch="stores")


def test_unit_float_rate(gate: Gate) -> None:
    for sew in (64, 32, 16):
        rig = replace(gate, sew=sew, lmul=4)
        occupies(rig, rig.words(), FLOAT)
    rig = replace(gate, lmul=2)
    occupies(rig, rig.words(64), "vfwadd.vv v8, v16, v24")
    occupies(rig, rig.words(64), "vfncvt.f.f.w v8, v16")


def test_unit_integer_rate(gate: Gate) -> None:
    lanes = gate.machine.vector.integer_lanes
    for code in (
        "vadd.vv v8, v16, v24",
        "vmul.vv v8, v16, v24",
        "vmerge.vvm v8, v16, v24, v0",
        "vmseq.vv v8, v16, v24",
    ):
        for sew in (64, 32, 8):
            rig = replace(gate, sew=sew)
            probe = code.replace(" v8", " v1", 1)
            cycles = rig.words(lanes=lanes) + shared(
                gate
            )  # the first one finds a floating unit and switches it
            rig.opens_at(cycles, code, probe, watch="v1")


def test_unit_vmxdotp_rate(gate: Gate) -> None:
    """One result per lane and cycle in both forms (on ara-like: if it had the instruction)."""
    machine = load_machine(gate.machine.name, {"isa.vmxdotp": True})
    for code, sew, lmul in (
        ("vmxdotp.wf v8, fa0, v16, fa1, v28", 32, 2),
        ("vmxdotp.qf v8, fa0, v16, fa1, v28", 16, 1),
    ):
        rig = replace(gate, machine=machine, sew=sew, lmul=lmul)
        occupies(rig, rig.elements // machine.vector.lanes, code)


@pytest.mark.parametrize("registers", [(8, 16, 18, 11), (8, 16, 19, 11), (8, 16, 17, 10), (12, 16, 20, 14)])
def test_unit_scale_conflict(gate: Gate, registers: tuple[int, int, int, int]) -> None:
    """A cycle for each fetch of a word of scales, one in 8 cycles, from the bank of the element word read then."""
    machine = load_machine(gate.machine.name, {"isa.vmxdotp": True})
    rig = replace(gate, machine=machine, lmul=2)
    vector = machine.vector
    per_register = vector.vlen // (64 * vector.lanes)
    cycles = rig.elements // vector.lanes

    def bank(register: int, word: int) -> int:
        place = register * per_register + word
        return (place + place // per_register // 8) % vector.vrf_banks

    vs1, vs2, vs3, vs4 = registers
    lost = sum(bank(scale, fetch) == bank(element, 8 * fetch)
               for fetch in range(-(-cycles // 8)) for scale, element in ((vs3, vs2), (vs4, vs1)))  # fmt: skip
    both = sum(
        bank(vs3, f) == bank(vs2, 8 * f) and bank(vs4, f) == bank(vs1, 8 * f) for f in range(-(-cycles // 8))
    )
    code = "vmxdotp.ww {}, " + ", ".join(f"v{r}" for r in registers)
    rig.opens_at(cycles + lost - both, code.format("v0"), code.format("v2"), watch="v2")


def test_unit_switch(gate: Gate) -> None:
    """Integer to floating work: idle after the last write, then a cycle; not where integers have their own unit."""
    integer, float_ = "vadd.vv v8, v16, v24", "vfadd.vv v0, v16, v24"
    if not shared(gate):
        gate.never_waits(integer, float_, watch="v0")
        gate.never_waits(float_, "vadd.vv v1, v16, v24", watch="v1")
        return
    words = gate.words(lanes=gate.machine.vector.integer_lanes)
    written = (
        3 + words - 1 + gate.latency("integer")
    )  # the unit comes from floating work: operands at 3, not 2
    gate.opens_at(written + 1 - 2, integer, float_, watch="v0")
    written = 2 + gate.words() - 1 + gate.latency("fma")
    gate.opens_at(written + 1 - 2, float_, integer, watch="v8")
    # The cycle itself is lost long after, too.
    alone, after = gate.run(FLOAT).written(8), gate.run(integer)
    after.times[:] = 0
    after.times[-1] = 1
    assert gate.run(FLOAT, times=after.times).written(8) == alone + 1


def test_unit_separate_integers(gate: Gate) -> None:
    """Products and quotients take the floating unit's multipliers, other integer work its own unit's."""
    for code, product in (
        ("vmul.vv v8, v16, v24", True),
        ("vsmul.vv v8, v16, v24", True),
        ("vadd.vv v8, v16, v24", False),
    ):
        words = gate.words(lanes=gate.machine.vector.integer_lanes)
        if shared(gate):
            assert gate.delay(code, "vfadd.vv v1, v16, v24", "v1", words) > 0
        elif product:
            gate.opens_at(words, code, "vfadd.vv v1, v16, v24", watch="v1")
        else:
            gate.never_waits(code, "vfadd.vv v1, v16, v24", watch="v1")


@pytest.mark.parametrize(("code", "key"), [
    (FLOAT, "fma"), ("vfmin.vv v8, v16, v24", "noncomp"), ("vfcvt.x.f.v v8, v16", "convert"),
    ("vmv.v.v v8, v16", "move"), ("vslidedown.vi v8, v16, 1", "move"), ("vfrec7.v v8, v16", "noncomp"),
])  # fmt: skip
def test_unit_latency(gate: Gate, code: str, key: str) -> None:
    first_word(gate, code, gate.latency(key))


def test_unit_integer_latency(gate: Gate) -> None:
    """Of the last part of the first word; a shared unit switches first."""
    vector = gate.machine.vector
    parts = vector.lanes // vector.integer_lanes
    first_word(gate, "vadd.vv v8, v16, v24", gate.latency("integer") + shared(gate) + parts - 1)
    first_word(gate, "vsadd.vv v8, v16, v24", gate.latency("integer") + shared(gate) + parts - 1)


def test_unit_estimates(gate: Gate) -> None:
    """Table look-ups at the full rate, unlike a division."""
    for code in ("vfrec7.v v8, v16", "vfrsqrt7.v v8, v16"):
        first_word(gate, code, gate.latency("noncomp"))
        occupies(gate, gate.words(), code)


def test_unit_slide(gate: Gate) -> None:
    """Moves and slides share a unit that arithmetic does not hold up."""
    for code in ("vmv.v.i v8, 0", "vslidedown.vi v8, v16, 1", "vslide1down.vx v8, v16, a0"):
        gate.never_waits("vfadd.vv v1, v24, v28", code, watch="v8")
        occupies(gate, gate.words(), code)


def test_unit_gather(gate: Gate) -> None:
    """An element per cycle and no word before the end."""
    for code in ("vrgather.vv v8, v16, v24", "viota.m v8, v16", "vcompress.vm v8, v16, v24"):
        elements = gate.elements * gate.latency("gather_per_element")
        occupies(gate, elements, code)
        gate.opens_at(elements - 1 + gate.latency("move") + 1, code, "vse32.v v8, (a0)", watch="stores")


def test_unit_reduction(gate: Gate) -> None:
    tail = gate.latency("reduction_tail")
    occupies(gate, gate.words() + tail, "vfredusum.vs v8, v16, v24")
    last = gate.words() + tail - 1 + gate.latency("fma")
    gate.opens_at(last + 1, "vfredusum.vs v8, v16, v24", "vs1r.v v8, (a0)", watch="stores")


def test_unit_divide(gate: Gate) -> None:
    for sew in (64, 32, 16):
        rig = replace(gate, sew=sew)
        for code in ("vfdiv.vv v8, v16, v24", "vfsqrt.v v8, v16"):
            per_lane = -(-rig.elements // rig.machine.vector.lanes)
            occupies(rig, per_lane * rig.latency("divide_per_element"), code)


def test_unit_whole_at_vstart(gate: Gate) -> None:
    """Resuming costs what the whole instruction costs: rows do not depend on vstart."""
    from potluck.isa.context import PARTWAY, Context
    from potluck.isa.decode import decoder
    from potluck.sim.timing.timer import timing_row

    insn, fields = decoder().decode(0x02860457 | 24 << 15)  # vadd.vv
    whole = Context(2 << 3)
    rows = [timing_row(insn, fields, c, gate.machine) for c in (whole, Context(whole.vtype | PARTWAY))]
    assert (rows[0] == rows[1]).all()
