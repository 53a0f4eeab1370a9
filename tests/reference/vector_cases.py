"""Random single vector instructions, run here and on Spike on one state; what differs is said in words.

A case is legal as our own rules see it or breaks them on purpose; Spike's verdict decides either way.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.assembly.disassembler import disassemble_word
from potluck.isa.context import PARTWAY, Context, legal_vtype
from potluck.isa.errors import TrapError
from potluck.isa.insn import Insn, Kind
from potluck.isa.legality import check, group, registers
from potluck.isa.machine import load_machine
from potluck.sim import state as st
from potluck.sim.blocks import BlockStore
from potluck.sim.code import Code
from potluck.sim.driver import R_BLOCK
from potluck.sim.hart import Hart
from potluck.sim.jit.compile import compiler
from potluck.sim.memory import Memory
from tests.reference.spike import Spike

RETIRED = -1
L1, L1_BYTES, TEXT = 0x1000_0000, 1 << 16, 0x8000_0000
ECALL = 0x73
LOAD_MISALIGNED, LOAD_FAULT, STORE_MISALIGNED, STORE_FAULT, ILLEGAL = 4, 5, 6, 7, 2
TWO_WIDTHS = "read one register with element widths"  # reserved in 5.2; Spike executes it
EDGES = np.array([0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 63) - 1, 1 << 63,
                  (1 << 64) - 1, 0x8080808080808080, 0x7F7F7F7F7F7F7F7F, 0x0101010101010101], np.uint64)  # fmt: skip


@dataclass(slots=True)
class Case:
    """One instruction and the state it meets; vector registers and memory come from the seed."""

    insn: Insn
    fields: dict[str, int]
    context: Context
    vl: int
    vstart: int
    seed: int
    x: dict[int, int] = field(default_factory=dict)
    offsets: tuple[range, int, int] | None = (
        None  # registers with offsets, their width, the alignment to give them
    )
    vxrm: int = 0

    @property
    def word(self) -> int:
        """The encoded instruction."""
        return self.insn.encode(self.fields)

    def __str__(self) -> str:
        c = self.context
        named = [self.fields[name] for name in ("rs1", "rs2") if name in self.fields]
        x = ", ".join(f"x{number}={self.x.get(number, 0):#x}" for number in named)
        return (
            f"{disassemble_word(self.word)}  # {self.word:#010x} e{c.sew} m{c.lmul} vl={self.vl} "
            f"vstart={self.vstart} vxrm={self.vxrm} {x} seed={self.seed}"
        )


def vtypes() -> list[int]:
    """Every legal SEW and LMUL, undisturbed."""
    return [code for code in range(64) if legal_vtype(code)]


def in_scope(insn: Insn) -> bool:
    """Vector rows whose meaning is not floating-point arithmetic."""
    vector = insn.is_vector and insn.extension in ("V", "Zvdot4a8i") and insn.kind is not Kind.VSET
    return vector and not insn.timing.startswith("vf")


def generate(insn: Insn, vtype: int, masked: bool, vlen: int, rng: random.Random, wild: float = 0.15) -> Case:
    """A case of an instruction under a vtype; legal as far as registers go, unless the vtype forbids all of it."""
    context = Context(vtype)
    vlmax = context.vlmax(vlen)
    vl = rng.choice([0, 1, vlmax, max(0, vlmax - 1), rng.randint(0, vlmax), rng.randint(0, vlmax), vlmax])
    vstart = rng.choice([0, 0, 0, rng.randint(0, max(0, vl - 1)), rng.randint(0, vlen - 1)])
    fields: dict[str, int] = {}
    for _ in range(200):
        fields = {piece.name: rng.getrandbits(5) for piece in insn.pieces}
        for name in fields:
            if name in ("vd", "vs1", "vs2", "vs3"):
                count = max(1, int(group(insn.operand(name), insn, context)[1]))
                fields[name] &= ~(min(8, count) - 1)
        if "imm" in fields and fields["imm"] > 15:
            fields["imm"] -= 32
        fields |= {name: 0 if masked else 1 for name in ("vm",) if name in fields}
        if "rs1" in fields and insn.kind in (Kind.VLOAD, Kind.VSTORE):
            fields["rs1"] = 10
            fields |= {"rs2": 11} if "rs2" in fields else {}
        if check(insn, fields, context) is None:
            break
    if vstart and check(insn, fields, Context(vtype | PARTWAY)):
        vstart = rng.choice([0, vstart])
    case = Case(insn, fields, context, vl, vstart, rng.getrandbits(32), vxrm=rng.randrange(4))
    _addresses(case, vlen, rng, wild)
    return case


def _addresses(case: Case, vlen: int, rng: random.Random, wild: float) -> None:
    """Base, stride and offsets that mostly stay inside memory."""
    insn, c = case.insn, case.context
    for number in range(1, 32):
        case.x[number] = rng.choice([rng.getrandbits(64), rng.randrange(64), (1 << 64) - rng.randrange(1, 64),
                                     int(EDGES[rng.randrange(EDGES.size)])])  # fmt: skip
    if insn.kind not in (Kind.VLOAD, Kind.VSTORE):
        return
    size = insn.syntax[0].type.at(c.sew).bits // 8
    middle, end = L1 + L1_BYTES // 2, L1 + L1_BYTES
    span = max(1, case.vl * size * insn.attributes.get("segments", 1))
    near = [end - rng.randrange(span + size), L1 - rng.randrange(span + size), end - span]
    case.x[10] = (rng.choice(near) if rng.random() < 2 * wild else middle) & -size
    if rng.random() < wild / 3:
        case.x[10] += rng.randrange(size)
    if "rs2" in case.fields:
        room = L1_BYTES // 2 // max(1, case.vl) & -size
        stride = rng.choice([0, size, -size, 2 * size, 128, -128, room, -room, rng.randrange(-64, 64) * size])
        if rng.random() < wild / 2:
            stride = rng.choice([1, -3, 1 << 40, -(1 << 63), (1 << 63) - 1, 8191])
        case.x[11] = stride & (1 << 64) - 1
    if insn.attributes.get("indexed"):
        operand = insn.operand("vs2")
        first, count = case.fields["vs2"], registers(operand, insn, c)
        if group(operand, insn, c)[1] <= 8 and first + count <= 32:
            case.offsets = (range(first, first + count), operand.type.bits, size)
        case.x[10] -= rng.choice([0, 128])


class Pair:
    """A hart here and one of Spike, with memories of equal content."""

    def __init__(self, vlen: int, cases: list[Case]) -> None:
        overrides = {
            "vector.vlen": vlen,
            "memory.l1_bytes": L1_BYTES,
            "memory.dram_bytes": 1 << 20,
            "cluster.cores": 1,
        }
        self.vlen, self.machine = vlen, load_machine("spatz-mx", overrides)
        self.cases = cases
        words = np.array([word for case in cases for word in (case.word, ECALL)], np.uint32)
        assembler = Assembler()
        assembler.text(".text\n.globl _start\n_start: nop\n")
        self.memory = Memory(self.machine, assembler.assemble().program())
        self.store = BlockStore(Code([(TEXT, words.tobytes())]), self.machine)
        self.hart = Hart(0, self.store, timed=False, budget=1 << 62)
        self.memory.attach(self.hart.state)
        self.theirs = np.zeros(L1_BYTES, np.uint8)
        self.spike = Spike(vlen=vlen, memory={L1: self.theirs})
        self._compile()

    def _compile(self) -> None:
        """All handlers in a few batches."""
        wanted: dict[str, Any] = {}
        for number, case in enumerate(self.cases):
            for partway in {
                PARTWAY if case.vstart else 0,
                PARTWAY if case.insn.kind in (Kind.VLOAD, Kind.VSTORE) else 0,
            }:
                try:
                    one = self.store._decode(TEXT + 8 * number, Context(case.context.vtype | partway))
                except TrapError:
                    continue
                wanted[one.name] = one.variant
        names = sorted(wanted)
        for first in range(0, len(names), 200):
            compiler().addresses({name: wanted[name] for name in names[first : first + 200]})

    def compare(self, number: int) -> str | None:
        """Run a case on both; None if they agree."""
        case = self.cases[number]
        self._prepare(case)
        mine = self._run_here(number, case)
        trap = self.spike.run([case.word])
        cause, at = (trap.cause, trap.tval) if trap else (RETIRED, 0)
        spike, state = self.spike, self.hart.state
        if mine.startswith("illegal") or cause == ILLEGAL:
            if mine.startswith("illegal") and (cause == ILLEGAL or TWO_WIDTHS in mine):
                return None
            return f"here: {mine or 'executes'}; Spike: cause {cause:#x}"
        expected = {RETIRED: "", LOAD_FAULT: "fault", STORE_FAULT: "fault", LOAD_MISALIGNED: "misaligned",
                    STORE_MISALIGNED: "misaligned"}.get(cause, f"cause {cause}")  # fmt: skip
        if mine.split(":")[0] != expected:
            return f"here: {mine or 'executes'}; Spike: {expected or 'executes'} at {at:#x}"
        if mine and int(mine.split(":")[1], 16) != at:
            return f"{mine}; Spike: {at:#x}"
        for name in ("vl", "vstart", "vxsat", "vxrm"):
            if state[name] != spike[name]:
                return f"{name} = {state[name]}; Spike: {spike[name]}"
        if state["vtype"] & ~st.PARTWAY != spike["vtype"]:
            return f"vtype = {state['vtype']:#x}; Spike: {spike['vtype']:#x}"
        if not (state.x[1:32].view(np.uint64) == spike.x[1:]).all():
            return f"integer registers {state.x[1:32].view(np.uint64)}; Spike: {spike.x[1:]}"
        if not (state.f == spike.f).all():
            return "floating registers"
        wrong = np.argwhere(state.v != self.spike.v)
        if wrong.size:
            register, byte = wrong[0]
            return (f"{len(wrong)} bytes differ, first v{register}[{byte}] = {state.v[register, byte]:#x}; "
                    f"Spike: {self.spike.v[register, byte]:#x}")  # fmt: skip
        places = np.flatnonzero(self.memory.l1 != self.theirs)
        return f"memory at {L1 + int(places[0]):#x} and {places.size - 1} more bytes" if places.size else None

    def _prepare(self, case: Case) -> None:
        generator = np.random.Generator(np.random.Philox(case.seed))
        state, spike = self.hart.state, self.spike
        words = generator.integers(0, 1 << 64, 32 * self.vlen // 64, np.uint64)
        pick = generator.random(words.size) < 0.25
        words[pick] = generator.choice(EDGES, int(pick.sum()))
        state.v.reshape(-1)[:] = words.view(np.uint8)
        if case.seed % 8 < 2:
            state.v[0] = 255 * (case.seed % 8)
        if case.offsets is not None:
            span, bits, align = case.offsets
            near = state.v[span.start : span.stop].view(f"u{bits // 8}")
            kept = near.copy()
            near &= near.dtype.type(0xFF & -align)
            if case.seed % 16 < 3:  # one far or misaligned
                near.reshape(-1)[case.seed % near.size] = kept.reshape(-1)[0]
        self.spike.v[:] = state.v
        if case.insn.kind in (Kind.VLOAD, Kind.VSTORE):
            self.memory.l1[:] = self.theirs[:] = generator.integers(0, 256, L1_BYTES, np.uint8)
        for number, value in case.x.items():
            state.x[number], spike.x[number] = np.uint64(value).astype(np.int64), value
        boxed = generator.integers(0, 1 << 64, 32, np.uint64) | np.uint64(
            (1 << 64) - (1 << 32) if case.seed & 1 else 0
        )
        state.f[:] = spike.f[:] = boxed
        vtype = 1 << 63 if case.context.vill else case.context.vtype
        state["vl"], state["vtype"] = case.vl, vtype | (st.PARTWAY if case.vstart else 0)
        spike.set_vtype(case.vl, vtype)
        for name, value in (("vstart", case.vstart), ("vxrm", case.vxrm), ("vxsat", 0)):
            state[name] = spike[name] = value

    def _run_here(self, number: int, case: Case) -> str:
        """Empty if the instruction retired, else what happened and where."""
        pc = TEXT + 8 * number
        try:
            self.hart.record[R_BLOCK] = self.store.find(pc, self.hart.context())
            event = self.hart.run()
        except TrapError as error:
            if error.address is not None:
                return f"misaligned:{error.address:#x}"
            return error.message
        return f"fault:{event.address:#x}" if event.address is not None else ""
