"""Compressed code: the same program with two- and four-byte instructions has the same values and cycles."""

from __future__ import annotations

import pytest

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.machine import load_machine
from potluck.sim.cluster import Cluster

PROGRAM = """
    .option {option}
    .globl _start
_start:
    la sp, area
    li a0, 40
    li s0, 0
    li s1, 1
loop:
    add a5, s0, s1
    mv s0, s1
    mv s1, a5
    sd a5, 16(sp)
    ld a4, 16(sp)
    sw a4, 8(a2)
    xor a3, a3, a4
    andi a3, a3, -5
    srli a3, a3, 1
    slli a1, a4, 3
    addiw a1, a1, 7
    addi a0, a0, -1
    bnez a0, loop
    jal ra, sub
    la a1, sub
    jalr ra, 0(a1)
    fld fa0, 16(sp)
    fsd fa0, 24(sp)
    ld a2, 24(sp)
    xor a0, a2, s1
    csrr a6, vl
    bnez a0, bad
    li a7, 93
    ecall
bad:
    li a0, 1
    li a7, 93
    ecall
sub:
    addi a3, a3, 11
    ret
    .data
    .align 6
area: .zero 256
"""


def run(option: str) -> tuple[Cluster, int]:
    a = Assembler()
    a.text(PROGRAM.format(option=option).replace("li s0", "la a2, area\n    li s0"))
    done = a.assemble()
    cluster = Cluster(done.program(), load_machine("rvv-generic"))
    cluster.run()
    return cluster, len(done.text)


def test_compressed_code_gives_the_same_values_and_cycles() -> None:
    (plain, size), (small, smaller) = run("norvc"), run("rvc")
    assert smaller < 0.8 * size
    same = [n for n in range(1, 32) if n not in (1, 2, 11, 12)]  # but for addresses
    assert plain.harts[0].state.x[same].tolist() == small.harts[0].state.x[same].tolist()
    assert plain.harts[0].state.f.tolist() == small.harts[0].state.f.tolist()
    assert plain.harts[0].cycles == small.harts[0].cycles
    assert plain.harts[0].instructions == small.harts[0].instructions


def test_an_instruction_may_begin_at_any_even_address() -> None:
    a = Assembler()
    a.text("""
        c.nop
        li a0, 5
        j 1f
        .half 0
    1:  addi a0, a0, -5
        li a7, 93
        ecall
    """)
    cluster = Cluster(a.assemble().program(), load_machine("rvv-generic"))
    cluster.run()
    assert cluster.exit_code == 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (".half 0", "illegal instruction 0x0000"),
        (".half 0x8002", "illegal instruction 0x8002"),  # c.jr x0
        ("la a0, 1f+1; jr a0; nop; 1: nop", "outside|illegal|misaligned"),
        ("c.nop; .half 0x0013", "illegal instruction 0x0000"),  # memory goes on with zeros: addi x0, x0, 0
    ],
)
def test_what_is_no_instruction_traps(source: str, message: str) -> None:
    from potluck.isa.errors import TrapError

    a = Assembler()
    a.text(source)
    with pytest.raises(TrapError, match=message):
        Cluster(a.assemble().program(), load_machine("rvv-generic")).run()
