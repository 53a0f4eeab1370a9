"""Vector programs that leave the usual path: vstart, faults inside an access, fault-only-first, every VLEN."""

from __future__ import annotations

import numpy as np
import pytest

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import TrapError
from potluck.isa.machine import load_machine
from potluck.sim.cluster import Cluster

L1, L1_BYTES = 0x1000_0000, 128 << 10
EXIT = "li a7, 93\nli a0, 0\necall\n"


def cluster(source: str, **overrides: object) -> Cluster:
    assembler = Assembler()
    assembler.text(f".text\n.globl _start\n_start:\n{source}\n{EXIT}")
    keys = {name.replace("__", "."): value for name, value in overrides.items()}
    return Cluster(assembler.assemble().program(), load_machine("spatz-mx", {"cluster.cores": 1, **keys}))


STRLEN = """
    mv a3, a2
again:
    vsetvli a1, zero, e8, m8, ta, ma
    vle8ff.v v8, (a3)
    csrr a1, vl
    vmseq.vi v0, v8, 0
    vfirst.m a4, v0
    add a3, a3, a1
    bltz a4, again
    sub a3, a3, a1
    add a3, a3, a4
    sub s2, a3, a2
"""


@pytest.mark.parametrize("vlen", [128, 512, 4096])
def test_strlen_stops_before_the_end_of_memory(vlen: int) -> None:
    """The last load reaches past L1; vl ends where L1 does, and the terminator is its last byte."""
    length = 1000
    c = cluster(f"li a2, {L1 + L1_BYTES - length - 1}\n{STRLEN}", vector__vlen=vlen)
    c.memory.l1[:-1] = 7
    c.run()
    assert int(c.harts[0].state.x[18]) == length
    assert sum(c.harts[0].causes.values()) == c.cycles


def test_a_fault_at_element_0_of_a_fault_only_first_load_traps() -> None:
    with pytest.raises(TrapError, match="outside"):
        cluster(f"li a2, {L1 + L1_BYTES}\n{STRLEN}").run()


def test_an_instruction_resumes_at_vstart_and_leaves_0() -> None:
    c = cluster(
        "vsetivli zero, 16, e32, m1, ta, ma\nvmv.v.i v8, 1\ncsrwi vstart, 5\ncsrr s2, vstart\nadd s5, s2, s2\n"
        "vadd.vi v8, v8, 7\ncsrr s3, vstart\nvadd.vi v8, v8, 1\ncsrr s4, vtype"
    )
    c.run()
    state = c.harts[0].state
    assert state.v[8].view(np.int32).tolist() == [2] * 5 + [9] * 11
    assert [int(state.x[n]) for n in (18, 19, 20, 21)] == [5, 0, 0b11010000, 10]


def test_what_cannot_resume_is_illegal_with_vstart() -> None:
    with pytest.raises(TrapError, match="vstart is not 0"):
        cluster("vsetivli zero, 4, e32, m1, ta, ma\ncsrwi vstart, 1\nvredsum.vs v8, v8, v8").run()


@pytest.mark.parametrize(("load", "first"), [("vle32.v v8, (a2)", 6), ("vlseg2e32.v v8, (a2)", 3)])
def test_a_fault_inside_an_access_is_precise(load: str, first: int) -> None:
    """vstart names the element, those before it are there, those after it untouched; what came before retired."""
    c = cluster(
        f"li a2, {L1 + L1_BYTES - 24}\nvsetivli zero, 16, e32, m1, ta, ma\nvmv.v.i v8, 3\naddi s2, zero, 9\n{load}"
    )
    c.memory.l1[:] = 1
    with pytest.raises(TrapError, match="outside") as trap:
        c.run()
    state = c.harts[0].state
    assert trap.value.address == L1 + L1_BYTES
    assert state["vstart"] == first and int(state.x[18]) == 9
    assert state.v[8].view(np.int32).tolist() == [0x01010101] * first + [3] * (16 - first)


def test_masked_off_elements_may_lie_outside_memory() -> None:
    source = f"li a2, {L1 + L1_BYTES - 4}\nvsetivli zero, 16, e32, m1, ta, ma\nvmv.v.i v0, 1\nvle32.v v8, (a2), v0.t"
    c = cluster(source)
    c.memory.l1[:] = 5
    c.run()
    assert c.harts[0].state.v[8].view(np.int32).tolist() == [0x05050505] + [0] * 15


@pytest.mark.parametrize("insn", ["vfncvt.rtz.x.f.w v8, v16", "vfwcvt.f.x.v v8, v16"])
def test_altfmt_is_reserved_for_floats_that_know_nothing_of_it(insn: str) -> None:
    """Only Zvfofp8min's conversions have a meaning under vtype.altfmt; integers do not look at it."""
    with pytest.raises(TrapError, match="altfmt"):
        cluster(f"vsetivli zero, 4, e8alt, m1, ta, ma\n{insn}").run()
    cluster(
        f"vsetivli zero, 4, e8alt, m1, ta, ma\nvadd.vv v8, v8, v16\nvsetivli zero, 4, e8, m1\n{insn}"
    ).run()
