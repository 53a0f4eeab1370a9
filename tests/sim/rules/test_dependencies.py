"""Rules of dependent vector instructions (docs/timing.md), each test named after its rule."""

from __future__ import annotations

from dataclasses import replace

from potluck.isa.machine import load_machine
from tests.sim.rules.gate import Gate

FLOAT = "vfadd.vv v8, v16, v24"


def test_chain_first_word(gate: Gate) -> None:
    """A consumer at the producer's pace reads each word a cycle after it was written."""
    gate.opens_at(gate.latency("fma") + 1, FLOAT, "vslidedown.vi v0, v8, 1", watch="v0")
    gate.opens_at(gate.latency("fma") + 1, FLOAT, "vs1r.v v8, (a0)", watch="stores")
    short = replace(gate, vl=2)
    for consumer in ("vfadd.vv v0, v8, v16", "vfadd.vv v0, v16, v8"):
        short.opens_at(gate.latency("fma") + 1, FLOAT, consumer, watch="v0")
    short.opens_at(gate.latency("fma") + 1, FLOAT, "vfmacc.vv v8, v16, v24", watch="v8")
    masked = "vfadd.vv v8, v16, v24, v0.t"
    short.opens_at(gate.latency("fma") + 1, "vfadd.vv v0, v16, v24", masked, watch="v8")


def test_chain_last_word(gate: Gate) -> None:
    """A faster consumer ends a cycle after the producer: the last word is written, then read."""
    per_lane = -(-gate.elements // gate.machine.vector.lanes)
    done = 2 + per_lane * gate.latency("divide_per_element") - 1 + gate.latency("fma")
    probe = "vslidedown.vi v0, v8, 1"
    gate.opens_at(done + 1 - (2 + gate.words() - 1), "vfdiv.vv v8, v16, v24", probe, watch="v0")


def test_chain_part(gate: Gate) -> None:
    """What reads some registers of a group waits for the last word of those, not for that of the group."""
    rig = replace(gate, lmul=4)
    one = rig.words() // 4
    for behind, count, reader in (
        (1, 1, "vmv1r.v v0, v8"),
        (2, 2, "vmv2r.v v0, v8"),
        (3, 1, "vmv1r.v v0, v10"),
    ):
        written = 2 + one * behind - 1 + rig.latency("fma")
        rig.opens_at(written + 1 - (2 + one * count - 1), FLOAT, reader, watch="v0")


def test_chain_credit_widening(gate: Gate) -> None:
    """Every second write of a widening or narrowing producer: the first word counts when the second is there."""
    two = 2 * 64 * gate.machine.vector.lanes // 64
    rig = replace(gate, vl=two)  # two words of 64-bit results
    rig.opens_at(gate.latency("fma", 64) + 1 + 1, "vfwadd.vv v8, v16, v24", "vs1r.v v8, (a0)", watch="stores")


def test_chain_credit_integer(gate: Gate) -> None:
    """When the word is whole: an integer lane fills a word of so many lanes part by part."""
    vector = gate.machine.vector
    parts = vector.lanes // vector.integer_lanes
    switch = vector.integer_unit == "shared"
    rig = replace(gate, vl=64 * vector.lanes // gate.sew)
    begin = 2 + switch
    whole = begin + gate.latency("integer") + parts - 1
    rig.opens_at(whole + 1 - 2, "vadd.vv v8, v16, v24", "vs1r.v v8, (a0)", watch="stores")


def test_chain_at_end(gate: Gate) -> None:
    """Comparisons, reductions and gathers give their result whole."""
    vector = gate.machine.vector
    switch = vector.integer_unit == "shared"
    words = gate.words(lanes=vector.integer_lanes)
    done = 2 + switch + words - 1 + gate.latency("integer")
    gate.opens_at(done + 1 - 2, "vmseq.vv v8, v16, v24", "vs1r.v v8, (a0)", watch="stores")
    gate.opens_at(
        gate.elements - 1 + gate.latency("move") + 1,
        "vrgather.vv v8, v16, v24",
        "vs1r.v v8, (a0)",
        watch="stores",
    )


def test_chain_not_from_whole(gate: Gate) -> None:
    """Strided and indexed accesses and vslideup wait for the last word, as all do without chaining."""
    done = 2 + gate.words() - 1 + gate.latency("fma")
    gate.opens_at(done + 1 - 2, FLOAT, "vslideup.vi v0, v8, 1", watch="v0")
    gate.opens_at(done + 1 - 2, FLOAT, "vsse32.v v8, (a0), t0", watch="stores", access=1)
    gate.opens_at(done + 1 - 2, FLOAT, "vsuxei32.v v16, (a0), v8", watch="stores", access=1)
    off = replace(gate, machine=load_machine(gate.machine.name, {"vector.chaining": False}))
    off.opens_at(done + 1 - 2, FLOAT, "vfadd.vv v0, v8, v16", watch="v0")


def test_chain_load_over_operand(gate: Gate) -> None:
    """A load over a register that is read or written: its requests need not wait, its writes do."""
    length = gate.words(lanes=gate.machine.vector.ports)
    per_lane = -(-gate.elements // gate.machine.vector.lanes)
    done = 2 + per_lane * gate.latency("divide_per_element") - 1 + gate.latency("fma")
    unhindered = 2 + length - 1 + gate.load  # its last write, which must follow the old value's last use
    for before in ("vfdiv.vv v8, v16, v24", "vfdiv.vv v0, v8, v16"):
        gate.opens_at(done + 1 - unhindered, before, "vle32.v v8, (a0)", watch="v8")
    for before in (FLOAT, "vfadd.vv v0, v8, v16"):  # it runs ahead by its latency
        gate.never_waits(before, "vle32.v v8, (a0)", watch="v8")


def test_chain_over_operand(gate: Gate) -> None:
    """Other instructions that write over a value hold back their operand reads by the same rule."""
    done = 2 + gate.words() - 1 + gate.latency("fma")
    length = gate.words()
    # Last read a cycle after the old value's last use; the move alone would read from 2 to 2 + length - 1.
    for before in (FLOAT, "vfadd.vv v0, v8, v16"):
        gate.opens_at(done + 1 - (2 + length - 1), before, "vmv.v.i v8, 0", watch="v8")


def test_chain_groups(gate: Gate) -> None:
    """Every register of a group counts, not its first alone."""
    rig = replace(gate, lmul=2)
    done = 2 + rig.words() - 1 + rig.latency("fma")
    one = rig.machine.vector.vlen // (64 * rig.machine.vector.ports)
    rig.opens_at(done + 1 - (2 + one - 1), FLOAT, "vs1r.v v9, (a0)", watch="stores")
