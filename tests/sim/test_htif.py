"""Bare-metal programs that speak to the host through tohost and fromhost."""

from __future__ import annotations

import pytest

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import ProgramError
from potluck.isa.machine import load_machine
from potluck.sim.cluster import Cluster
from potluck.sim.linux.process import Environment

WORDS = "\n.data\n.align 6\ntohost: .dword 0\nfromhost: .dword 0\n"
PRINT = """
    .text
_start:
    la s0, tohost
    la s1, fromhost
    la s2, magic
    li s3, 3
again:
    li t0, 64
    sd t0, 0(s2)
    li t0, 1
    sd t0, 8(s2)
    la t0, text
    sd t0, 16(s2)
    li t0, 6
    sd t0, 24(s2)
    fence
    sd s2, 0(s0)
wait:
    ld t0, 0(s1)
    beqz t0, wait
    sd zero, 0(s1)
    ld s4, 0(s2)
    addi s3, s3, -1
    bnez s3, again
    li t0, 0x0101000000000021    # putchar
    sd t0, 0(s0)
    li t0, 1
    {store} t0, 0(s0)
    sw zero, 4(s0)
end: nop
    j end
    .data
    .align 6
magic: .zero 64
text: .string "hello\\n"
"""


def run(source: str, machine: str) -> Cluster:
    a = Assembler()
    a.text(source)
    cluster = Cluster(
        a.assemble().program(), load_machine(machine, {"cluster.cores": 1}), environment=Environment()
    )
    cluster.run()
    return cluster


@pytest.mark.parametrize("machine", ["rvv-generic", "spatz-mx"])
@pytest.mark.parametrize("store", ["sw", "sd"])
def test_calls_by_tohost_are_answered_at_once(store: str, machine: str) -> None:
    cluster = run(PRINT.replace("{store}", store) + WORDS, machine)
    assert bytes(cluster.streams[0].kept) == b"hello\nhello\nhello\n!"
    assert cluster.exit_code == 0 and cluster.harts[0].state.x[20] == 6
    assert cluster.harts[0].instructions < 120


def test_data_around_tohost_stays_usable() -> None:
    source = """
        la s0, tohost
        vsetivli zero, 16, e64, m8, ta, ma
        vmv.v.i v8, 5
        addi t0, s0, 16
        vse64.v v8, (t0)
        li t1, -4096
        add t1, s0, t1
        ld s1, 24(s0)
        sd s1, 2040(s0)
        li t0, 15
        sd t0, 0(s0)
    end: j end
    """
    with pytest.raises(ProgramError, match="code 7"):
        run(source + WORDS + ".zero 8192\n", "rvv-generic")


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(ProgramError, match="device 9"):
        run("la s0, tohost; li t0, 0x0900000000000000; sd t0, 0(s0); end: j end" + WORDS, "rvv-generic")
