"""The timer, rule by rule: the cycle before something is ready and the cycle at which it is (docs/timing.md).

Straight-line code is timed by itself; ``Timed`` keeps absolute times, so a test reads when a register was written.
"""

from __future__ import annotations

import numpy as np
import pytest

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.context import Context
from potluck.isa.decode import decoder
from potluck.isa.legality import check
from potluck.isa.machine import load_machine
from potluck.sim.dram.attach import core_latency
from potluck.sim.state import IN_DRAM
from potluck.sim.timing import timer as t
from potluck.sim.timing.timer import CAUSES, STATE_SIZE, time_block, timing_row, wait

MACHINE = load_machine("spatz-mx")
SEW = {8: 0, 16: 1, 32: 2, 64: 3}
LMUL = {1: 0, 2: 1, 4: 2, 8: 3, 0.5: 7, 0.25: 6}


class Timed:
    """Straight-line code under one vtype; ``codes`` are access classes by instruction number."""

    def __init__(
        self, source, vl=32, sew=32, lmul=2, codes=None, machine=MACHINE, times=None, control=1 << 3
    ):
        a = Assembler()
        a.text(".text\n.globl _start\n_start:\n" + source)
        section = next(s for s in a.assemble().sections.values() if len(s.data))
        words = np.frombuffer(bytes(section.data), np.uint32)
        context = Context(SEW[sew] << 3 | LMUL[lmul], control)
        rows = []
        for word in words:
            insn, fields = decoder().decode(int(word))
            assert check(insn, fields, context) is None, insn.mnemonic
            rows.append(timing_row(insn, fields, context, machine))
        self.rows = np.array(rows)
        self.codes = np.zeros(len(rows), np.uint8)
        for place, code in (codes or {}).items():
            self.codes[place] = code
        self.times = np.zeros(STATE_SIZE, np.int64) if times is None else times
        self.causes = np.zeros(len(CAUSES), np.int64)
        self.group = lmul
        self.cycles = time_block(self.rows, vl, self.codes, 0, self.times, self.causes)
        assert self.causes.sum() == self.cycles

    def written(self, v):
        """Cycle of the last write of a group of vector registers."""
        return self.cycles + self.times[t.V_DONE + v : t.V_DONE + v + self.group].max()

    def cause(self, name):
        return self.causes[CAUSES.index(name)]


# Scalar core


def test_one_instruction_per_cycle():
    assert Timed("add a0, a1, a2\n" * 10).cycles == 10


@pytest.mark.parametrize(("fillers", "stall"), [(1, 1), (2, 0)])
def test_load_result_is_ready_after_the_load_latency(fillers, stall):
    code = "ld a0, 0(s0)\n" + "addi t0, t0, 1\n" * fillers + "add a1, a0, a0"
    assert Timed(code).cycles == fillers + 2 + stall
    assert MACHINE.timing.load == 3


def test_one_integer_load_is_outstanding():
    assert Timed("ld a0, 0(s0)\nld a1, 8(s0)").cycles == 1 + MACHINE.timing.load - 1
    assert Timed("ld a0, 0(s0)\nsd a1, 8(s0)").cycles == 2


def test_scalar_access_to_dram_pays_its_latency():
    near = Timed("ld a0, 0(s0)\nadd a1, a0, a0")
    far = Timed("ld a0, 0(s0)\nadd a1, a0, a0", codes={0: IN_DRAM})
    assert (
        far.cycles - near.cycles == core_latency(MACHINE) == 60 + 34
    )  # the path, and 33.1 ns of a closed row at 1 GHz
    assert far.cause("dram") == far.cycles - 2


def test_offload_issues_one_instruction_per_cycle_until_the_queues_are_full():
    few = Timed("vfadd.vv v0, v30, v30\n" * 2, lmul=1, vl=16)
    assert few.cycles == 2


# Vector unit


@pytest.mark.parametrize(
    ("code", "sew", "lmul", "vl", "cycles"),
    [
        ("vfadd.vv v8, v16, v24", 64, 4, 32, 8),  # 64-bit: 4 elements per cycle
        ("vfadd.vv v8, v16, v24", 32, 4, 32, 4),
        ("vfwadd.vv v8, v16, v20", 32, 2, 32, 8),  # widening: rate of the 64-bit result
        ("vadd.vv v8, v16, v24", 32, 2, 32, 16),  # one IPU: 64 bits per cycle
        ("vadd.vv v8, v16, v24", 8, 2, 32, 4),
        ("vmxdotp.wf v8, fa0, v16, fa1, v28", 32, 2, 32, 8),  # 4 results per cycle
        ("vmxdotp.qf v8, fa0, v16, fa1, v28", 16, 1, 32, 8),
        ("vle64.v v8, (a0)", 64, 4, 32, 8),  # 32 bytes per cycle
        ("vle8.v v8, (a0)", 8, 1, 64, 2),
    ],
)
def test_issue_rate(code, sew, lmul, vl, cycles):
    """Two independent instructions complete so far apart as the first one occupies its unit."""
    other = code.replace(" v8,", " v0,", 1)
    options = {"sew": sew, "lmul": lmul, "vl": vl}
    assert Timed(f"{other}\n{code}", **options).written(8) - Timed(other, **options).written(0) == cycles


@pytest.mark.parametrize(("way", "cycles"), [(1, 8), (2, 16), (4, 32)])
def test_strided_access_takes_one_element_per_port_times_its_conflicts(way, cycles):
    code = "vlse64.v v0, (a0), t0\nvlse64.v v8, (a0), t0"
    run = Timed(code, sew=64, lmul=4, codes={0: way, 1: way})
    assert run.written(8) - run.written(0) == cycles


def test_misaligned_bytes_take_one_element_per_port():
    run = Timed("vle8.v v0, (a0)\nvle8.v v8, (a0)", sew=8, lmul=1, vl=32, codes={0: 1, 1: 1})
    assert run.written(8) - run.written(0) == 8


LATENCIES = {"vfadd.vv": "fma", "vfmin.vv": "noncomp", "vfcvt.x.f.v": "convert"}


@pytest.mark.parametrize("mnemonic", LATENCIES)
def test_latency_from_operand_read_to_write(mnemonic):
    operands = "v8, v16" if "cvt" in mnemonic else "v8, v16, v24"
    run = Timed(f"{mnemonic} {operands}", lmul=1, vl=8)
    # Core 0, sequencer 1 (and controller), operands 2.
    assert run.written(8) == 2 + getattr(MACHINE.timing, LATENCIES[mnemonic])


def test_dependent_instruction_follows_word_by_word():
    """Chaining: one word behind, not after the last word."""
    load = Timed("vle32.v v8, (a0)\nvfadd.vv v0, v8, v8", lmul=4, vl=64)
    alone = Timed("vle32.v v8, (a0)", lmul=4, vl=64).written(8)
    assert load.written(0) - alone == 1 + MACHINE.timing.fma  # last word read one cycle after it was written


def test_without_chaining_the_consumer_waits_for_the_last_word():
    machine = load_machine("spatz-mx", {"vector.chaining": False})
    load = Timed("vle32.v v8, (a0)\nvfadd.vv v0, v8, v8", lmul=4, vl=64, machine=machine)
    alone = Timed("vle32.v v8, (a0)", lmul=4, vl=64, machine=machine).written(8)
    assert load.written(0) - alone == 8 + MACHINE.timing.fma


def test_widening_producer_gives_credit_every_second_write():
    same = Timed("vfadd.vv v8, v16, v24\nvse32.v v8, (a0)", lmul=1, vl=16)
    wide = Timed("vfwadd.vv v8, v16, v24\nvs2r.v v8, (a0)", lmul=1, vl=16)
    begin = 2 + MACHINE.timing.fma
    assert same.cycles + same.times[t.ENDS + 2 * t.DEPTH - 1] == begin + 1 + 1  # two words after the first
    assert wide.times[t.V_FIRST + 8] + wide.cycles == begin + 1  # the second write


def test_integer_producer_gives_credit_when_its_word_is_whole():
    """One IPU fills a word of four lanes in four cycles."""
    run = Timed("vadd.vv v8, v16, v24\nvse32.v v8, (a0)", lmul=4, vl=64)
    begin = 2 + 1  # the unit switches from floating to integer work
    assert run.times[t.V_FIRST + 8] + run.cycles == begin + MACHINE.timing.integer + 3
    assert run.cycles + run.times[t.ENDS + 2 * t.DEPTH - 1] == run.written(8) + 1


def test_write_after_read_of_a_strided_load_waits_for_the_reader():
    """VLSE with a dependency does not chain; the same unit-stride load does."""
    reader = "vmxdotp.wf v2, fa0, v16, fa1, v28\nvmxdotp.wf v0, fa0, v16, fa1, v28\n"
    options = {"vl": 32, "lmul": 2}
    done = Timed(reader, **options).written(0)
    strided = Timed(reader + "vlse64.v v16, (a0), t0", codes={2: 1}, **options).written(16)
    unit = Timed(reader + "vle64.v v16, (a0)", **options).written(18)  # four registers of 64-bit elements
    assert strided == done + 1 + 8 - 1  # all eight words after the reader's last write
    assert unit == done + 1  # the last word after it


def test_four_instructions_in_flight():
    """A fifth instruction waits in the controller although its unit is free."""
    # Two floats, one load, one store's worth of ids; the slide unit's vmv would be free.
    code = (
        "vle32.v v0, (a0)\nvle32.v v8, (a0)\nvfadd.vv v16, v24, v24\nvfadd.vv v20, v24, v24\nvmv.v.i v28, 0"
    )
    four, three = (
        Timed(code, lmul=4, vl=64, machine=load_machine("spatz-mx", {"vector.in_flight": n})) for n in (4, 8)
    )
    assert four.written(28) > three.written(28)
    first = Timed("vle32.v v0, (a0)", lmul=4, vl=64).written(0)
    assert four.written(28) >= first + 1 + 8


def test_queue_holds_the_executing_instruction():
    """The third instruction leaves the controller when the first has read its last operands."""
    code = "vfadd.vv v0, v24, v24\nvfadd.vv v8, v24, v24\nvfadd.vv v16, v24, v24"
    run = Timed(code, lmul=8, vl=128)
    assert run.cycles + run.times[t.BUFFER] == 2 + 16  # operands of the first from 2 to 17


def test_switch_between_integer_and_float_waits_until_idle():
    integer = Timed("vadd.vv v0, v16, v24", lmul=1, vl=16)
    both = Timed("vadd.vv v0, v16, v24\nvfadd.vv v8, v16, v24", lmul=1, vl=16)
    # Idle from the cycle after the last write, a cycle to switch, two words of operands.
    assert both.written(8) == integer.written(0) + 1 + 1 + 1 + MACHINE.timing.fma


def test_switch_costs_a_cycle_even_when_the_unit_is_idle():
    single = Timed("vfadd.vv v8, v16, v24", lmul=1, vl=16).written(8)
    idle = Timed("vadd.vv v0, v16, v24", lmul=1, vl=16)
    wait(idle.times, 1000)
    assert Timed("vfadd.vv v8, v16, v24", lmul=1, vl=16, times=idle.times).written(8) == single + 1


def test_vset_waits_in_the_buffer_while_all_ids_are_in_use():
    code = "vle32.v v0, (a0)\nvle32.v v8, (a0)\nvfadd.vv v16, v24, v24\nvfadd.vv v20, v24, v24\n"
    oldest = min(Timed(code, lmul=4, vl=64).written(v) for v in (0, 8, 16, 20))
    run = Timed(code + "vsetvli a2, a3, e8, m1, ta, ma", lmul=4, vl=64)
    assert run.cycles + run.times[t.X + 12] == oldest + 2


def test_loads_and_stores_do_not_overlap():
    store = Timed("vse32.v v0, (a0)", lmul=4, vl=64)
    end = store.cycles + store.times[t.STORES_DONE]
    run = Timed("vse32.v v0, (a0)\nvle32.v v8, (a1)", lmul=4, vl=64)
    assert run.written(8) == end + 8 - 1 + MACHINE.timing.vector_load


def test_scalar_loads_wait_for_vector_stores_but_not_for_vector_loads():
    store = Timed("vse32.v v0, (a0)", lmul=4, vl=64)
    end = store.cycles + store.times[t.STORES_DONE]
    late = Timed("vse32.v v0, (a0)\nld a1, 0(a2)", lmul=4, vl=64)
    assert late.cycles == end + 1 and late.cause("vlsu") == end - 1
    assert Timed("vle32.v v0, (a0)\nld a1, 0(a2)", lmul=4, vl=64).cycles == 2


def test_fcsr_access_drains_the_vector_unit():
    before = Timed("vfadd.vv v8, v16, v24", lmul=8, vl=128)
    run = Timed("vfadd.vv v8, v16, v24\ncsrwi fflags, 0", lmul=8, vl=128)
    assert run.cycles == before.written(8) + 1
    assert run.cause("fcsr") == run.cycles - 2
    assert Timed("vfadd.vv v8, v16, v24\ncsrr a0, vl", lmul=8, vl=128).cause("fcsr") == 0


def test_moves_run_in_the_slide_unit():
    code = "vfadd.vv v8, v16, v24\nvmv.v.i v0, 0"
    assert Timed(code, lmul=8, vl=128).written(0) < Timed(code, lmul=8, vl=128).written(8) + 1


def test_scale_words_of_the_vector_form_lose_a_cycle_only_in_the_same_bank():
    """vs3 in the bank of vs2, or vs4 in that of vs1: registers 2 words apart, so even register distances."""
    options = {"vl": 32, "lmul": 2}

    def cycles(registers):
        code = f"vmxdotp.ww v0, {registers}\n"
        return Timed(code + code.replace("v0", "v2"), **options).written(2) - Timed(code, **options).written(
            0
        )

    assert cycles("v8, v12, v16, v17") in (8, 9)
    clash, free = cycles("v8, v16, v18, v11"), cycles("v8, v16, v19, v11")
    assert (clash, free) == (9, 8)


@pytest.mark.parametrize(("fillers", "stall"), [(1, 1), (2, 0)])
def test_atomic_access_returns_like_a_load(fillers, stall):
    code = "amoadd.w a0, a1, (s0)\n" + "addi t0, t0, 1\n" * fillers + "add a2, a0, a0"
    assert MACHINE.timing.amo == 3 and Timed(code).cycles == fillers + 2 + stall


def test_atomic_access_is_ordered_like_a_store():
    """It waits for vector loads, too, which a load does not."""
    load = Timed("vle32.v v0, (a0)", lmul=4, vl=64)
    end = load.cycles + load.times[t.LOADS_DONE]
    assert Timed("vle32.v v0, (a0)\namoadd.w a1, a2, (a3)", lmul=4, vl=64).cycles == end + 1
    assert Timed("vle32.v v0, (a0)\nlw a1, 0(a3)", lmul=4, vl=64).cycles == 2
