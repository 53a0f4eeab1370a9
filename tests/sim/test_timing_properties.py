"""The timer on random code and on the inner loops of facts vmxdotp §3: invariants and rates."""

from __future__ import annotations

import random

import numpy as np
import pytest

from potluck.sim.state import IN_DRAM
from potluck.sim.timing import timer as t
from potluck.sim.timing.timer import CAUSES, STATE_SIZE, time_block, wait
from tests.sim.test_timing import Timed

POOL = [
    "add a1, a2, a3", "ld a1, 0(s0)", "sd a1, 8(s0)", "mul a3, a1, a2", "fld fa0, 0(s0)", "fsd fa0, 0(s0)",
    "vle32.v v0, (a0)", "vse32.v v8, (a0)", "vlse64.v v16, (a0), t0", "vfadd.vv v8, v0, v24", "vadd.vv v4, v8, v0",
    "vmxdotp.wf v0, fa0, v16, fa1, v28", "vmv.v.i v24, 0", "vslideup.vi v4, v8, 1", "fmv.x.d a1, fa0",
    "fadd.d fa0, fa1, fa2", "vfredusum.vs v9, v0, v8", "csrr a0, fflags", "vmv.x.s a2, v8", "fcvt.d.l fa1, a1",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(100))
def test_cutting_code_into_blocks_changes_nothing(seed):
    """Relative, clamped state carries all that matters: cycles, causes and the final state are the same."""
    rng = random.Random(seed)
    lines = [rng.choice(POOL) for _ in range(60)]
    codes = {n: rng.choice([0, 1, 4]) for n, line in enumerate(lines) if line.startswith("vl")}
    codes |= {
        n: IN_DRAM for n, line in enumerate(lines) if line.startswith(("ld", "fld")) and rng.random() < 0.3
    }
    whole = Timed("\n".join(lines), codes=codes)
    times, causes, cycles = np.zeros(STATE_SIZE, np.int64), np.zeros(len(CAUSES), np.int64), 0
    begin = 0
    while begin < len(lines):
        end = min(len(lines), begin + rng.randint(1, 7))
        cycles += time_block(whole.rows[begin:end], 32, whole.codes[begin:end], 0, times, causes)
        begin = end
    assert cycles == whole.cycles
    assert (times == whole.times).all(), np.nonzero(times != whole.times)
    assert causes[0] == whole.causes[0] and causes.sum() == whole.causes.sum()


def test_waiting_long_enough_forgets_everything():
    run = Timed("\n".join(POOL))
    wait(run.times, 10_000)
    assert not run.times[: t.KIND].any()


@pytest.mark.parametrize("seed", range(5))
def test_causes_are_never_negative(seed):
    rng = random.Random(seed)
    run = Timed("\n".join(rng.choice(POOL) for _ in range(200)))
    assert (run.causes >= 0).all() and run.causes[0] == 200


# Kernels of facts vmxdotp §3


def step(buffer, loads):
    rows = []
    for row in range(8):
        rows.append(f"vmxdotp.wf v{2 * row}, ft{row}, v{buffer}, fs{row}, v28")
        rows.append(f"fld ft{row}, 0(s{row + 1})\naddi s{row + 1}, s{row + 1}, 8")
    rows.insert(1, f"vlse64.v v{loads}, (a0), t0")
    return "\n".join(rows)


def test_inner_loop_of_the_paper_takes_64_cycles_per_step():
    """§3.2: one vlse64 and 8 x {vmxdotp, fld, add} per chunk of k: 25 instructions for 64 FPU cycles."""
    loop = (step(16, 20) + "\n" + step(20, 16)) + "\n"
    codes = {n: 1 for n, line in enumerate((loop * 8).split("\n")) if line.startswith("vlse")}
    warm = Timed(loop * 4, codes={n: c for n, c in codes.items() if n < 4 * loop.count("\n")})
    long = Timed(loop * 8, codes=codes)
    assert (long.cycles - warm.cycles) / 8 == pytest.approx(64, abs=1)
    assert long.cause("vfu") > 0.5 * long.cycles


def test_memory_bound_variant_is_slower():
    """With 4-way conflicts a chunk's load takes 32 of the 64 cycles; with 4 rows it would be the bound."""
    loop = "vlse64.v v16, (a0), t0\nvlse64.v v20, (a0), t0\nvlse64.v v24, (a0), t0\n"
    run = Timed(loop * 4, sew=64, lmul=4, codes=dict.fromkeys(range(12), 4))
    assert run.written(24) >= 12 * 32
