"""Tasks on two threads: each is carried out once, and programs that have some of every kind end as on one thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.machine import load_machine
from potluck.sim import rounds, transfers
from potluck.sim.cluster import Cluster
from potluck.sim.tasks import BOARD, FROM, LEAVE, finish, join, leave, post, take


@numba.njit(nogil=True)
def _post_many(board: NDArray[Any], count: int, tasks: int, done: NDArray[Any]) -> bool:
    """Post tasks again and again; whether all were done whenever the poster went on."""
    for job in range(count):
        post(board, 0, job, 0, tasks)
        task = take(board)
        while task >= 0:
            done[job, task, 0] += 1
            task = take(board)
        finish(board)
        for task in range(tasks):
            if done[job, task, 0] + done[job, task, 1] != 1:
                return False
    return True


@numba.njit(nogil=True)
def _help(board: NDArray[Any], done: NDArray[Any]) -> None:
    while True:
        task = join(board)
        if task < 0:
            return
        done[board[FROM], task, 1] += 1
        leave(board)


@pytest.mark.parametrize("helpers", [0, 1, 2])
def test_every_task_is_carried_out_once(helpers: int) -> None:
    """Whoever takes it, and before the one who posted it goes on; each thread counts in a place of its own."""
    jobs, tasks = 20_000, 3
    board, done = np.zeros(BOARD, np.int64), np.zeros((jobs, tasks, 2), np.int64)
    _post_many(board, 0, tasks, done)  # compiled before anybody waits
    with ThreadPoolExecutor(max(1, helpers)) as pool:
        work = [pool.submit(_help, board, done) for _ in range(helpers)]
        try:
            assert _post_many(board, jobs, tasks, done)
        finally:
            board[LEAVE] = 1
        for future in work:
            future.result(timeout=60)
    assert (done.sum(axis=2) == 1).all()


PROGRAM = """
    li s0, 20                # rounds
    li s1, 0x11000008        # barrier
    li s5, 0x80200000
    slli s6, a0, 13
    li t0, 0x10000000
    add s6, s6, t0           # this hart's part of L1
round:
    bnez a0, work
    dmsrc s5, zero
    li t0, 0x10008000
    dmdst t0, zero
    li t0, 6144
    li t1, 6000
    dmstr t0, t1
    li t0, 3
    dmrep t0
    li t1, 5000
    dmcpyi s3, t1, 2         # DRAM to L1
    dmcpyi s3, t1, 0
    li t0, 0x10008000
    dmsrc t0, zero
    li t0, 0x80300040
    add t0, t0, s0
    dmdst t0, zero
    dmcpyi s3, t1, 2         # L1 to DRAM
    li t0, 0x80200000
    dmsrc t0, zero
    li t2, 700
    dmcpyi s3, t2, 0         # inside DRAM
    dmstati s4, 0
    dmstati s4, 2
work:
    li t0, 1500
    vsetvli zero, t0, e32, m8, ta, ma
again:
    vle32.v v8, (s6)
    vadd.vx v8, v8, s0
    vse32.v v8, (s6)
    addi t0, t0, -1
    bnez t0, again
    bnez a0, arrive
    wfi
arrive:
    ld t0, 0(s1)
    addi s5, s5, 1000
    addi s0, s0, -1
    bnez s0, round
    li a7, 93
    li a0, 0
    ecall
"""


@pytest.mark.parametrize("dram", ["hbm3", "ddr5", "simple"])
def test_two_threads_and_one_give_the_same(dram: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory, cycles, causes and DRAM commands; with transfers and ways to the next event that are worth a thread."""
    machine = load_machine("spatz-mx", {"dram.kind": dram})
    a = Assembler()
    a.text(".globl _start\n_start:\n" + PROGRAM)
    program = a.assemble(text_base=0x8000_0000).program()
    assert transfers.WORTH < 3 * 5000 and rounds.LONG < 1500 * 5
    outcomes = []
    for options in ({"threads": 1}, *3 * [{"threads": 2}], {"threads": 2, "memoized": False}):
        cluster = Cluster(program, machine, **options)  # type: ignore[arg-type]
        rng = np.random.Generator(np.random.Philox(3))
        cluster.memory.dram[0x200000:0x220000] = rng.integers(0, 256, 0x20000)
        cluster.run()
        counts = [
            hart.causes | {"cycles": hart.cycles, "retired": hart.instructions} for hart in cluster.harts
        ]
        memory = cluster.memory.l1.tobytes(), cluster.memory.dram[: 1 << 22].tobytes()
        registers = [hart.state.x[:32].tolist() for hart in cluster.harts]
        commands = cluster.dram.counts() if cluster.dram else None
        tallies = cluster.dma.arrays.tallies.sum(axis=0).tolist()
        outcomes.append((counts, memory, registers, commands, tallies, cluster.dma.bytes))
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert outcomes[0][2][0][19] == 80  # transfers
