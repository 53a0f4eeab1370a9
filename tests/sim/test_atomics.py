"""The A extension on one hart, against plain Python definitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import TrapError
from potluck.isa.machine import load_machine
from potluck.sim.cluster import Cluster


def run(source: str) -> Cluster:
    a = Assembler()
    a.text(source + "\nli a0, 0\nli a7, 93\necall\n.data\n.align 6\ncell: .dword 0, 0, 0, 0\n")
    cluster = Cluster(a.assemble().program(), load_machine("rvv-generic"))
    cluster.run()
    return cluster


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


OPERATIONS: dict[str, Callable[[int, int, int], int]] = {
    "amoadd": lambda m, r, n: m + r,
    "amoswap": lambda m, r, n: r,
    "amoxor": lambda m, r, n: m ^ r,
    "amoand": lambda m, r, n: m & r,
    "amoor": lambda m, r, n: m | r,
    "amomin": lambda m, r, n: min(signed(m, n), signed(r, n)),
    "amomax": lambda m, r, n: max(signed(m, n), signed(r, n)),
    "amominu": lambda m, r, n: min(m % 2**n, r % 2**n),
    "amomaxu": lambda m, r, n: max(m % 2**n, r % 2**n),
}
PAIRS = [(5, 3), (-1, 1), (1, -1), (-(2**31), 2**31 - 1), (2**63 - 1, -(2**63)), (0x1_8000_0000, 0x7FFF_FFFF)]


@pytest.mark.parametrize("suffix", ["", ".aqrl"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_amo_changes_memory_and_gives_the_old_value(name: str, suffix: str) -> None:
    meaning = OPERATIONS[name]
    source, wanted = "la s0, cell\n", []
    for letter, bits in (("w", 32), ("d", 64)):
        for m, r in PAIRS:
            source += f"""
                li t0, {m}
                li t1, {r}
                sd t0, 0(s0)
                {name}.{letter}{suffix} t2, t1, (s0)
                ld t3, 0(s0)
                addi sp, sp, -16
                sd t2, 0(sp)
                sd t3, 8(sp)
            """
            kept = (m % 2**64) >> bits << bits
            wanted += [signed(m, bits), signed(kept | meaning(m, r, bits) % 2**bits, 64)]
    cluster = run(f"la sp, cell\nli t0, 65536\nadd sp, sp, t0\nmv s1, sp\n{source}")
    x = cluster.harts[0].state.x
    got = cluster.memory.view(int(x[2]), int(x[9] - x[2])).view(np.int64).reshape(-1, 2)[::-1]
    assert got.ravel().tolist() == wanted


def test_a_conditional_store_needs_its_reservation() -> None:
    cluster = run("""
        la s0, cell
        li t0, 77
        sc.d s1, t0, (s0)      # none
        lr.d t1, (s0)
        sc.d s2, t0, (s0)      # good
        sc.d s3, t0, (s0)      # used up
        lr.d t1, (s0)
        addi t2, s0, 8
        sc.d s4, t0, (t2)      # another address
        sc.d s5, t0, (s0)      # and that one used it up
        lr.w.aq t3, (s0)
        li t0, -3
        sc.w.rl s6, t0, (s0)
        ld s7, 0(s0)
        ld s8, 8(s0)
    """)
    x = cluster.harts[0].state.x
    assert x[[9, 18, 19, 20, 21, 22]].tolist() == [1, 0, 1, 1, 1, 0]
    assert x[6] == 77 and x[28] == 77 and x[24] == 0 and x[23] == 0xFFFFFFFD


@pytest.mark.parametrize("insn", ["amoadd.w t0, t0, (s0)", "lr.d t0, (s0)", "sc.w t0, t0, (s0)"])
def test_atomics_trap_on_bad_addresses(insn: str) -> None:
    with pytest.raises(TrapError, match="misaligned"):
        run(f"la s0, cell+2\n{insn}")
    with pytest.raises(TrapError, match="outside"):
        run(f"li s0, 64\n{insn}")


def test_misaligned_scalar_accesses_follow_the_machine() -> None:
    source = """
        la s0, cell
        li t0, 0x1122334455667788
        sd t0, 3(s0)
        ld s1, 3(s0)
        lh s2, 9(s0)
        fld fa0, 3(s0)
        fmv.x.d s3, fa0
    """
    x = run(source).harts[0].state.x
    assert x[9] == x[19] == 0x1122334455667788 and x[18] == 0x1122
    a = Assembler()
    a.text(source + "\n.data\n.align 6\ncell: .dword 0, 0, 0, 0\n")
    with pytest.raises(TrapError, match="misaligned"):
        Cluster(a.assemble().program(), load_machine("rvv-generic", {"memory.misaligned": False})).run()


SHARED = """
    la s0, cell
    mv s4, a0
    li s1, 300
1:  lr.d.aq t0, (s0)           # a spin lock by lr and sc
    bnez t0, 1b
    li t1, 1
    sc.d t2, t1, (s0)
    bnez t2, 1b
    ld t3, 8(s0)               # a counter that is no atomic
    addi t3, t3, 1
    sd t3, 8(s0)
    fence rw, w
    sd zero, 0(s0)
    addi t4, s0, 16
    li t5, 1
    amoadd.d t6, t5, (t4)
    slli s5, s5, 1
    xor s5, s5, t6             # the order of the accesses is part of the result
    addi s1, s1, -1
    bnez s1, 1b
    li t5, 1
    addi t4, s0, 24
    amoadd.w zero, t5, (t4)
2:  lw t0, 0(t4)               # wait by plain loads
    li t1, 2
    bne t0, t1, 2b
    ld s2, 8(s0)
    ld s3, 16(s0)
"""


@pytest.mark.parametrize("timed", [True, False])
def test_harts_share_memory_in_one_order(timed: bool) -> None:
    results = []
    for threads in (1, 2, 2):
        a = Assembler()
        a.text(SHARED + "li a0, 0; li a7, 93; ecall\n.data\n.align 6\ncell: .dword 0, 0, 0, 0\n")
        machine = load_machine("rvv-generic", {"cluster.cores": 2})
        cluster = Cluster(a.assemble().program(), machine, timed, threads=threads, budget=10_000_000)
        cluster.run()
        assert [int(hart.state.x[18]) for hart in cluster.harts if hart.stopped].count(600) >= 1
        assert int(cluster.harts[0].state.x[19]) == 600
        results.append([(hart.cycles, hart.instructions, *hart.state.x.tolist()) for hart in cluster.harts])
    assert results[0] == results[1] == results[2]
