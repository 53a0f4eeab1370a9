"""Rules of the FP sequencer (docs/timing.md), each test named after its rule."""

from __future__ import annotations

from tests.sim.rules.gate import Gate


def test_sequencer_register(gate: Gate) -> None:
    """The load leaves the sequencer at 2, the addition when it has the load's result, and frees the register."""
    blocked = "fld fa0, 0(s0)\nfadd.d fa1, fa0, fa0"
    held = 1 + gate.latency("float_load") + 1
    gate.opens_at(held, blocked + "\nfadd.d fa2, fa3, fa3", "fadd.d fa4, fa3, fa3")
    gate.never_waits("fadd.d fa1, fa0, fa0", "fadd.d fa2, fa3, fa3")


def test_sequencer_operands(gate: Gate) -> None:
    """Sources and the destination."""
    for probe in ("fadd.d fa1, fa0, fa2", "fmadd.d fa1, fa2, fa2, fa0"):
        gate.opens_at(gate.latency("float_load"), "fld fa0, 0(s0)", probe, watch="f11")
    gate.opens_at(gate.latency("float_load"), "fld fa0, 0(s0)", "fadd.d fa0, fa2, fa2", watch="f10")
    gate.never_waits("fld fa0, 0(s0)", "fadd.d fa1, fa2, fa2", watch="f11")


def test_sequencer_float_loads(gate: Gate) -> None:
    """The fifth goes out when the first returns; from DRAM, so that four can be on their way."""
    four = "\n".join(f"fld fa{n}, 0(s{n})" for n in range(4))
    away = gate.latency("float_load") + gate.machine.dram.latency_cycles
    gate.opens_at(away, four, "fld fa4, 0(s4)", watch="f14", far=True)
    gate.never_waits(four.rsplit("\n", 1)[0], "fld fa4, 0(s4)", watch="f14", far=True)


def test_sequencer_float_order(gate: Gate) -> None:
    """As the core's accesses, but they wait in the sequencer, a cycle behind the core."""
    words = gate.words(lanes=gate.machine.vector.ports)
    gate.opens_at(words + gate.latency("vector_store"), "vse32.v v0, (a0)", "fld fa0, 0(s0)", watch="f10")
    gate.never_waits("vle32.v v0, (a0)", "fld fa0, 0(s0)", watch="f10")
    # A store's end shows in what the sequencer takes next.
    gate.opens_at(words + gate.load, "vle32.v v0, (a0)", "fsd fa0, 0(s0)\nfmv.d.x fa1, a0", watch="f11")


def test_sequencer_move(gate: Gate) -> None:
    """To the core: request register, then the write-back."""
    gate.opens_at(2 + gate.latency("float_result"), "fmv.x.d a0, fa0", "add a1, a0, a0")


def test_sequencer_arithmetic(gate: Gate) -> None:
    """The VFU reads at 2; the result comes after the unit's latency and the write-back."""
    for code, key in (
        ("fadd.d fa0, fa1, fa2", "fma"),
        ("fcvt.s.d fa0, fa1", "convert"),
        ("fmin.d fa0, fa1, fa2", "noncomp"),
    ):
        ready = 2 + gate.latency(key, 64) + gate.latency("float_result") + 1
        gate.opens_at(ready - 1, code, "fmv.x.d a0, fa0", watch="x10")


def test_sequencer_divide(gate: Gate) -> None:
    """One after the other, while additions follow each other."""
    for code in ("fdiv.d fa0, fa1, fa2", "fsqrt.d fa0, fa1"):
        gate.opens_at(gate.latency("divide_per_element", 64), code, "fadd.d fa3, fa4, fa5", watch="f13")
    gate.never_waits("fadd.d fa0, fa1, fa2", "fadd.d fa3, fa4, fa5", watch="f13")
