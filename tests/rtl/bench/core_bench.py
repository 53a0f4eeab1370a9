"""cocotb tests of the core's tile: its ports are driven from Python, memory and a vector unit are written here."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, Timer

from potluck.isa.assembly.disassembler import disassemble_word
from potluck.isa.elf import Program
from tests.rtl.bench.core_directed import assemble
from tests.rtl.bench.core_programs import SANDBOX, SANDBOX_BYTES, TEXT, TEXT_BYTES
from tests.rtl.bench.handshake import start

SEED = int(os.environ.get("POTLUCK_SEED", "1"))
LOAD = 3  # cycles from a load to the instruction that needs it, from L1 and DRAM alike
MASK = (1 << 64) - 1


@dataclass
class Board:
    """Memory around a tile, clocked by :meth:`cycle`."""

    dut: Any
    program: Program
    cycle_number: int = -1
    retired: list[tuple[int, int, int]] = field(default_factory=list)  # cycle, pc, word
    x: dict[int, int] = field(default_factory=dict)
    f: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.memory = {SANDBOX: bytearray(SANDBOX_BYTES), TEXT: bytearray(TEXT_BYTES)}
        for section in self.program.sections:
            base = TEXT if section.address >= TEXT else SANDBOX
            at = section.address - base
            self.memory[base][at : at + len(section.data)] = section.data
        self._answers: deque[tuple[int, int]] = deque()
        self._floats: tuple[deque[tuple[int, int]], ...] = (deque(), deque())

    async def begin(self) -> None:
        """Reset."""
        dut = self.dut
        idle = ["entry_i", "hart_i", "harts_i", "fetch_valid_i", "fetch_fault_i", "fetch_data_i", "request_ready_i",
                "answer_valid_i", "answer_data_i", "float_valid_i", "float_data_i", "atomic_old_i", "vector_ready_i",
                "vector_loads_i", "vector_stores_i", "vector_write_i", "vector_register_i", "vector_value_i",
                "vector_flags_i", "vector_saturated_i", "vector_illegal_i", "vector_illegal_pc_i",
                "vl_i", "vtype_i"]  # fmt: skip
        values = {"l1_begin": SANDBOX, "l1_bytes": SANDBOX_BYTES, "dram_begin": TEXT, "dram_bytes": TEXT_BYTES,
                  "dram_writable": TEXT + len(self.program.sections[0].data), "registers_begin": 0x1100_0000,
                  "vector_idle": 1, "dma_idle": 1}  # fmt: skip
        for name, value in values.items():
            getattr(dut, f"{name}_i").value = value
        await start(dut, idle)
        dut.entry_i.value, dut.harts_i.value = self.program.entry, 1
        await FallingEdge(dut.clk_i)  # the cycle that gives a0 and a1 their values

    def word(self, address: int) -> int:
        """Eight bytes of memory."""
        base = TEXT if address >= TEXT else SANDBOX
        at = (address & -8) - base
        return int.from_bytes(self.memory[base][at : at + 8], "little")

    def _write(self, address: int, data: int, strobe: int) -> None:
        base = TEXT if address >= TEXT else SANDBOX
        for byte in range(8):
            if strobe >> byte & 1:
                self.memory[base][(address & -8) - base + byte] = data >> 8 * byte & 255

    async def cycle(self) -> bool:
        """One cycle from falling edge to falling edge; False when the core has stopped."""
        dut = self.dut
        self.cycle_number += 1
        now = self.cycle_number
        pc = int(dut.fetch_address_o.value)
        at = pc - TEXT
        inside = 0 <= at <= TEXT_BYTES - 4
        dut.fetch_valid_i.value, dut.fetch_fault_i.value = 1, int(not inside)
        dut.fetch_data_i.value = int.from_bytes(self.memory[TEXT][at : at + 4], "little") if inside else 0
        dut.request_ready_i.value = 3
        valid, data = self._due(self._answers)
        dut.answer_valid_i.value, dut.answer_data_i.value = valid, data
        floats = [self._due(queue) for queue in self._floats]
        dut.float_valid_i.value = floats[0][0] | floats[1][0] << 1
        dut.float_data_i.value = floats[0][1] | floats[1][1] << 64
        await Timer(100, unit="ps")
        await self._requests()
        if int(dut.retired_o.value):
            self.retired.append((now, int(dut.retired_pc_o.value), int(dut.retired_word_o.value)))
        for bank, prefix, ports in ((self.x, "x", 6), (self.f, "f", 4)):
            written = int(getattr(dut, f"{prefix}_write_o").value)
            numbers = int(getattr(dut, f"{prefix}_register_o").value) if written else 0
            values = int(getattr(dut, f"{prefix}_value_o").value) if written else 0
            for port in range(ports):
                if written >> port & 1:
                    bank[numbers >> 5 * port & 31] = values >> 64 * port & MASK
        await FallingEdge(dut.clk_i)
        return not int(dut.trap_o.value)

    def _due(self, queue: deque[tuple[int, int]]) -> tuple[int, int]:
        if queue and queue[0][0] <= self.cycle_number:
            return 1, queue.popleft()[1]
        return 0, 0

    async def _requests(self) -> None:
        """The sequencer's request, then the core's."""
        dut = self.dut
        valid, writes = int(dut.request_valid_o.value), int(dut.request_write_o.value)
        due = self.cycle_number + LOAD - 1
        for port in (1, 0):
            if not valid >> port & 1:
                continue
            address = int(dut.request_address_o.value) >> 64 * port & MASK
            old = self.word(address)
            atomic = port == 0 and int(dut.request_atomic_o.value)
            if writes >> port & 1 and not atomic:
                data = int(dut.request_data_o.value) >> 64 * port & MASK
                self._write(address, data, int(dut.request_strobe_o.value) >> 8 * port & 255)
                continue
            if atomic and writes & 1:
                dut.atomic_old_i.value = old
                await Timer(100, unit="ps")
                self._write(address, int(dut.atomic_new_o.value), 255)
            in_dram = int(dut.request_in_dram_o.value) >> port & 1
            (self._floats[in_dram] if port else self._answers).append((due, old))


OFFLOADED = f"""
    li t0, {SANDBOX}
    li t1, 5
    sd t1, 8(t0)
    vsetvli t2, t1, e32, m1, ta, ma
    addi t3, t2, 1
    fld fa0, 8(t0)
    vfadd.vf v1, v2, fa0
    vfmv.f.s fa1, v1
    fsd fa1, 16(t0)
    csrr t5, fflags
    vle32.v v3, (t0)
    ld t4, 16(t0)
    sd t4, 24(t0)
    vse32.v v1, (t0)
    ld t6, 24(t0)
    vmv.x.s a2, v1
    add a3, a2, a2
"""
HALF = 0x4002_0000_0000_0000


@cocotb.test(timeout_time=400, timeout_unit="us")
async def offloads_to_a_vector_unit(dut: Any) -> None:
    """Operands that are handed over, results that come back at any time, flags, and the order of accesses."""
    rng = np.random.default_rng(SEED)
    for _ in range(20):
        await _offload(dut, rng)


async def _offload(dut: Any, rng: np.random.Generator) -> None:
    program = assemble(OFFLOADED)
    board = Board(dut, program)
    await board.begin()
    dut.vl_i.value, dut.vtype_i.value = 5, 0xD0
    taken: list[tuple[int, str, int]] = []  # cycle, mnemonic, cycle in which it is done
    names = ["vsetvli", "vfadd.vf", "vfmv.f.s", "vle32.v", "vse32.v", "vmv.x.s"]
    running = True
    while running:
        now = board.cycle_number + 1
        pending = [entry for entry in taken if entry[2] >= now]
        dut.vector_idle_i.value = int(not pending)
        dut.vector_loads_i.value = int(any(name == "vle32.v" for _, name, _ in pending))
        dut.vector_stores_i.value = int(any(name == "vse32.v" for _, name, _ in pending))
        write = number = value = flags = 0
        for _, name, done in pending:
            if done == now:
                flags |= 0x11 if name == "vfadd.vf" else 0
                if name in ("vsetvli", "vmv.x.s"):
                    write, number = write | 1, number | {"vsetvli": 7, "vmv.x.s": 12}[name]
                    value |= {"vsetvli": 5, "vmv.x.s": 40}[name]
                if name == "vfmv.f.s":
                    write, number, value = write | 2, number | 11 << 5, value | HALF << 64
        dut.vector_write_i.value, dut.vector_register_i.value = write, number
        dut.vector_value_i.value, dut.vector_flags_i.value = value, flags
        ready = int(rng.random() < 0.6)
        dut.vector_ready_i.value = ready
        await Timer(50, unit="ps")
        if ready and int(dut.vector_valid_o.value):
            name = names[len(taken)]
            _check_operands(dut, name)
            taken.append((now, name, now + 1 + int(rng.integers(1, 12))))
        running = await board.cycle()
        assert board.cycle_number < 2000
    assert [name for _, name, _ in taken] == names
    done = {name: end for _, name, end in taken}
    places = {disassemble_word(word): cycle for cycle, _, word in board.retired}
    assert places["addi t3, t2, 1"] == done["vsetvli"] + 1  # not before the result, and no later
    assert places["csrrs t5, fflags, zero"] > max(done["vfadd.vf"], done["vfmv.f.s"])
    assert board.x[30] == 0x11 and board.x[28] == 6 and board.x[29] == HALF and board.x[13] == 80
    assert places["sd t4, 24(t0)"] > done["vle32.v"]  # its load need not wait
    assert places["ld t6, 24(t0)"] > done["vse32.v"] and board.x[31] == HALF


def _check_operands(dut: Any, name: str) -> None:
    word = int(dut.vector_word_o.value)
    assert disassemble_word(word).split()[0] == name
    if name == "vsetvli":
        assert int(dut.vector_a_o.value) == 5
    if name in ("vle32.v", "vse32.v"):
        assert int(dut.vector_a_o.value) == SANDBOX
    if name == "vfadd.vf":
        assert int(dut.vector_fs1_o.value) == 5
    assert int(dut.vector_fcsr_o.value) >> 5 == 0
