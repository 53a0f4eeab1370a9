"""The bridge to Spike itself: views, CSRs, traps."""

from __future__ import annotations

import numpy as np
import pytest

from potluck.isa.assembly.assembler import Assembler
from tests.reference.spike import Spike, Trap, needs_spike
from tests.reference.spike.spike import DATA

pytestmark = needs_spike


def words(source: str) -> np.ndarray:
    assembler = Assembler()
    assembler.text(f".text\n.globl _start\n_start:\n{source}")
    text = next(s for s in assembler.assemble().program().sections if s.executable)
    return np.frombuffer(bytes(text.data), np.uint32)


@pytest.mark.parametrize("vlen", [128, 512, 4096])
def test_registers_vectors_and_memory_are_views(vlen: int) -> None:
    spike = Spike(vlen=vlen)
    assert spike["vlenb"] == vlen // 8
    spike.x[10], spike.x[11] = DATA + 4096, DATA
    spike.memory[DATA][:16] = np.arange(16)
    code = words(
        "vsetivli t0, 16, e8, m1, ta, ma\nvle8.v v3, (a1)\nvadd.vi v4, v3, 5\nvse8.v v4, (a0)\nli x0, 1"
    )
    assert spike.run(code) is None
    assert spike.retired == 5 and spike["vl"] == spike.x[5] == 16 and spike.x[0] == 0
    assert spike.v[4, :16].tolist() == spike.memory[DATA][4096:4112].tolist() == list(range(5, 21))


def test_floats_round_by_fcsr_and_raise_flags() -> None:
    spike = Spike()
    spike.f[1:3] = np.array([1.0, 3.0]).view(np.uint64)
    results = []
    for frm in (2, 3):  # down, up
        spike["fcsr"] = frm << 5
        assert spike.run(words("fdiv.d f3, f1, f2")) is None
        assert spike["fcsr"] == frm << 5 | 1
        results.append(int(spike.f[3]))
    assert results[1] - results[0] == 1


def test_vl_vtype_and_vstart_can_be_set() -> None:
    spike = Spike(vlen=256)
    spike.set_vtype(7, 0b011_000)
    spike["vstart"], spike["vcsr"] = 3, 0b101
    assert [spike[name] for name in ("vl", "vtype", "vstart", "vxrm", "vxsat")] == [4, 24, 3, 2, 1]
    spike.set_vtype(1, 1 << 63)
    code = words("vadd.vv v1, v2, v3")
    assert spike["vtype"] == 1 << 63 and spike.run(code) == Trap(2, int(code[0]), spike.code)


def test_a_reservation_can_be_dropped() -> None:
    spike = Spike()
    spike.x[10] = DATA
    store = words("sc.w a1, zero, (a0)")
    assert spike.run(words("lr.w a1, (a0)")) is None
    assert spike.run(store) is None and spike.x[11] == 0
    spike.run(words("lr.w a1, (a0)"))
    spike.drop_reservation()
    assert spike.run(store) is None and spike.x[11] == 1


def test_a_trap_is_precise() -> None:
    spike = Spike()
    spike.x[10] = DATA - 16
    trap = spike.run(words("addi a1, zero, 1\nld a2, 8(a0)\naddi a1, zero, 2"))
    assert trap == Trap(5, DATA - 8, spike.code + 4) and spike.x[11] == 1 and spike.retired == 1
    assert spike.run(words("ecall")) == Trap(11, 0, spike.code)
