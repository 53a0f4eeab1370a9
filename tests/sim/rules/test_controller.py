"""Rules of the vector controller (docs/timing.md), each test named after its rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.sim.rules.gate import Gate


def busy(gate: Gate, count: int, first: int = 0) -> str:
    """Independent floating instructions."""
    return "\n".join(f"vfadd.vv v{first + gate.lmul * n}, v28, v30" for n in range(count))


def test_controller_order(gate: Gate) -> None:
    """An instruction that waits for a full queue holds back another unit's: it leaves when that has left."""
    depth = gate.machine.vector.queue_depth
    gate = replace(gate, lmul=2)
    read = 2 + gate.words() - 1  # the first one's last operands; the waiting one leaves a cycle later
    gate.opens_at(read + 1, busy(gate, depth + 1), "vle32.v v20, (a0)", watch="v20")
    gate.never_waits(busy(gate, depth), "vle32.v v20, (a0)", watch="v20")


def test_controller_buffer(gate: Gate) -> None:
    """One instruction waits in the buffer; the next waits in the sequencer and holds back its loads."""
    depth = gate.machine.vector.queue_depth
    gate = replace(gate, lmul=2)
    leaves = 2 + gate.words()  # the buffer, the cycle after the first one's last operands
    gate.opens_at(leaves, busy(gate, depth + 2), "fld fa0, 0(s0)", watch="f10")
    gate.never_waits(busy(gate, depth + 1), "fld fa0, 0(s0)", watch="f10")


def test_controller_in_flight(gate: Gate) -> None:
    """The id of the first instruction is free when its last word is written."""
    ids = gate.machine.vector.in_flight
    gate = replace(gate, lmul=4)
    mixed = ["vfadd.vv v0, v24, v28", "vle32.v v4, (a0)", "vfadd.vv v8, v24, v28", "vle32.v v12, (a0)"]
    mixed += ["vadd.vv v16, v24, v28", "vmv.v.i v20, 0", "vmv.v.i v24, 0", "vadd.vv v28, v4, v4"]
    done = 2 + gate.words() - 1 + gate.latency("fma")
    gate.opens_at(done - 1, "\n".join(mixed[:ids]), "vmv.v.i v20, 0", watch="buffer")
    gate.never_waits("\n".join(mixed[: ids - 1]), "vmv.v.i v20, 0", watch="buffer")


def test_controller_queue(gate: Gate) -> None:
    """Full while the executing instruction, which stays in it, has operands to read."""
    gate = replace(gate, lmul=2)
    depth = gate.machine.vector.queue_depth
    codes = "\n".join(f"vfadd.vv v{2 * n}, v28, v30" for n in range(depth))
    read = 2 + gate.words() - 1
    gate.opens_at(read, codes, "vfadd.vv v20, v28, v30", watch="buffer")
    gate.never_waits(codes.partition("\n")[2] or codes, "vfadd.vv v20, v28, v30", watch="buffer")


def test_controller_vset_id(gate: Gate) -> None:
    """It takes no id, but leaves the buffer only while one is free."""
    ids = gate.machine.vector.in_flight
    gate = replace(gate, lmul=4)
    mixed = ["vfadd.vv v0, v24, v28", "vle32.v v4, (a0)", "vfadd.vv v8, v24, v28", "vle32.v v12, (a0)"]
    mixed += ["vadd.vv v16, v24, v28", "vmv.v.i v20, 0", "vmv.v.i v24, 0", "vadd.vv v28, v4, v4"]
    done = 2 + gate.words() - 1 + gate.latency("fma")
    gate.opens_at(done - 1, "\n".join(mixed[:ids]), "vsetvli a2, a3, e8, m1, ta, ma", watch="x12")


def test_controller_vset_result(gate: Gate) -> None:
    """vl is back two cycles after the buffer; a vset waits for no instruction that executes."""
    gate.opens_at(1 + 2, "vsetvli a0, a1, e8, m1, ta, ma", "add a2, a0, a0")
    gate.never_waits("vfadd.vv v0, v8, v16", "vsetvli a0, a1, e8, m1, ta, ma", watch="x10")


def test_controller_scalar_result(gate: Gate) -> None:
    """An integer reaches the core two cycles after it is written, an FP result the sequencer one."""
    written = 2 + gate.latency("move")
    gate.opens_at(written + 2, "vmv.x.s a0, v8", "add a1, a0, a0")
    gate.opens_at(written + 1 - 1, "vfmv.f.s fa0, v8", "fmv.x.w a1, fa0", watch="x11")


@pytest.mark.parametrize("count", [1, 2])
def test_controller_issue(gate: Gate, count: int) -> None:
    """One per cycle through register, sequencer and controller, while the queues have room."""
    gate.never_waits(busy(gate, count), "vle32.v v8, (a0)", watch="buffer")
    assert gate.run(busy(gate, count)).cycles == count
