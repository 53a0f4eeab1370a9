"""Draw random legal programs from the rows of the instruction table: operands by class, legality by our own rules."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from potluck.isa.context import PARTWAY, Context, legal_vtype
from potluck.isa.decode import decoder
from potluck.isa.insn import Insn, Kind, Piece
from potluck.isa.legality import check, group, registers
from potluck.isa.operands import width
from potluck.isa.registers import CSRS
from potluck.isa.table import TABLE
from tests.differential.program import (
    BASES,
    CORNERS,
    COUNTERS,
    END,
    OFFSETS,
    RESERVED,
    STACK,
    STRIDE,
    WILD_STRIDE,
    Item,
    Program,
)

TRIES = 40
VTYPES = [code for code in range(512) if legal_vtype(code)]
FREE = [number for number in range(32) if number not in RESERVED]
FREE_COMPRESSED = [number for number in range(8, 16) if number not in RESERVED]
WRITABLE = ("fflags", "vxsat", "vxrm", "vcsr")  # any value may be written
IMMEDIATE = ("frm", "fcsr", "vstart")  # written by immediates that the generator can follow
READABLE = (*WRITABLE, *IMMEDIATE, "vl", "vtype", "vlenb")
PLAIN = (Kind.MAP, Kind.LOAD, Kind.STORE)
SOURCES = ("rs1", "rs2", "rs3")
TARGETS = ("rd", "cd")


@cache
def suits(mnemonic: str, vtype: int) -> bool:
    """Whether an instruction has legal operands under a vtype: registers far apart are tried."""
    insn = TABLE[mnemonic]
    places = {"vd": 8, "vs3": 8, "vs2": 16, "vs1": 24, "vm": 1}
    fields = {piece.name: places.get(piece.name, 0) for piece in insn.pieces}
    return check(insn, fields, Context(vtype)) is None


@dataclass(frozen=True, slots=True)
class Rates:
    """How often a program leaves the usual path.

    Attributes:
        wild: programs whose last instruction has registers drawn without regard to the rules.
        partway: vector instructions that start at an element other than 0.
        end: vector accesses that start close to the end of memory, where they fault or are cut short.
        refresh: corner values loaded into registers.
        loops: loops begun.
    """

    wild: float = 0.2
    partway: float = 0.03
    end: float = 0.004
    refresh: float = 0.08
    loops: float = 0.03


class Generator:
    """Draws one program; ``rows`` are what it is about, ``others`` fill in.

    Args:
        rng: its only source of randomness.
        vlen: bits of a vector register.
        rows: the instructions under test.
        others: rows for the rest.
        reads_flags: whether the program may read fflags (then handlers compute them).
        rates: how often what is rare happens.
    """

    def __init__(
        self, rng: random.Random, vlen: int, rows: Sequence[Insn], others: Sequence[Insn], reads_flags: bool,
        rates: Rates = Rates(),
    ) -> None:  # fmt: skip
        self.rng, self.vlen, self.rows, self.others = rng, vlen, rows, others
        self.reads_flags, self.rates, self.vtypes = reads_flags, rates, VTYPES
        self.plain = [insn for insn in others if insn.kind in PLAIN and not insn.is_vector] or [TABLE["addi"]]
        self.vtype = rng.choice(VTYPES)
        self.frm = rng.choice([0, 0, 0, 1, 2, 3, 4])
        self.partway = False
        self.items: list[Item] = []
        self.loops = self.depth = 0

    @property
    def context(self) -> Context:
        """What the next instruction meets."""
        return Context(self.vtype | (PARTWAY if self.partway else 0), self.frm)

    def program(self, length: int, seed: int, number: int) -> Program:
        """Draw about ``length`` instructions."""
        vtype, frm = self.vtype, self.frm
        while len(self.items) < length:
            self._something()
        if self.rng.random() < self.rates.wild:
            self._wild(self.rng.choice(self.rows))
        return Program(tuple(self.items), vtype, frm, self.vlen, seed, number, self.reads_flags)

    def _something(self) -> None:
        """An instruction with what it needs, or a loop."""
        mine = self.rng.random() < 0.75
        insn = self.rng.choice(self.rows if mine else self.others)
        if self.rng.random() < self.rates.refresh:
            self._refresh()
        if self.rng.random() < self.rates.loops and self.depth < len(COUNTERS) and not self.partway:
            self._loop()
        if insn.is_vector and self.rng.random() < self.rates.partway:
            self._start_partway()
        self._draw(insn)

    def under(self, places: Sequence[tuple[Insn, int, bool]], seed: int, number: int) -> Program:
        """A program with the given (instruction, vtype, masked), each where it is legal."""
        vtype, frm = self.vtype, self.frm
        for insn, wanted, masked in places:
            if self.vtype != wanted:
                self._vset(TABLE[self.rng.choice(("vsetvli", "vsetivli"))], wanted)
            self._vector(insn, masked)
            if self.rng.random() < self.rates.refresh:
                self._refresh()
        return Program(tuple(self.items), vtype, frm, self.vlen, seed, number, self.reads_flags)

    def _loop(self) -> None:
        """A few instructions, two to six times; what follows a block's context is the same on each way to its head."""
        rng, counter = self.rng, COUNTERS[self.depth]
        self.loops += 1
        number, vtype, frm = self.loops, self.vtype, self.frm
        self._add(TABLE["addi"], {"rd": counter, "rs1": 0, "imm": rng.randrange(2, 7)}, loop=number)
        begin = len(self.items)
        self.depth += 1
        for _ in range(rng.randrange(1, 9)):
            self._something()
        self.depth -= 1
        if rng.random() < 0.5:  # other addresses in each turn
            step = rng.choice([1, 2, 4, 8, 8, 8]) * rng.randrange(-8, 9)
            self._add(
                TABLE["addi"],
                {"rd": BASES[1], "rs1": BASES[1], "imm": step & -8 if rng.random() < 0.9 else step},
            )
        if self.vtype != vtype or self.partway:
            self._vset(TABLE["vsetvli"], vtype)
        if self.frm != frm:
            self._add(TABLE["csrrwi"], {"csr": CSRS["frm"], "rd": 0, "uimm": frm})
            self.frm = frm
        self._add(TABLE["addi"], {"rd": counter, "rs1": counter, "imm": -1})
        near = sum(item.insn.length for item in self.items[begin:]) < 200
        ways = (
            ["bne", "blt", "bltu", "jal"] + ["c.j"] * near + ["c.bnez"] * (near and counter in range(8, 16))
        )
        way = rng.choice(ways)
        if way in ("jal", "c.j"):
            self._add(TABLE["beq"], {"rs1": counter, "rs2": 0, "off": 0}, skip=1)
            self._add(TABLE[way], {"off": 0} | ({"rd": 0} if way == "jal" else {}), back=number)
        elif way == "c.bnez":
            self._add(TABLE[way], {"cs1": counter, "off": 0}, back=number)
        else:
            first, second = (counter, 0) if way == "bne" else (0, counter)
            self._add(TABLE[way], {"rs1": first, "rs2": second, "off": 0}, back=number)

    def _add(self, insn: Insn, fields: dict[str, int], **facts: int) -> None:
        self.items.append(Item(insn, fields, self.context, **facts))  # type: ignore[arg-type]
        if insn.is_vector or insn.kind is Kind.VSET:
            self.partway = False

    def _draw(self, insn: Insn) -> None:
        kind = insn.kind
        if kind is Kind.VSET:
            self._vset(insn)
        elif kind is Kind.CSR:
            self._csr(insn)
        elif insn.mnemonic in ("jalr", "c.jr", "c.jalr"):
            self._jump_register(insn)
        elif any(piece.name == "off" for piece in insn.pieces):
            self._branch(insn)
        elif insn.is_vector:
            self._vector(insn)
        else:
            fields = self._scalar(insn)
            if fields is not None:
                self._add(insn, fields)

    # scalar -------------------------------------------------------------------------------------------------------
    def _scalar(self, insn: Insn) -> dict[str, int] | None:
        """Operands of a scalar instruction, None if no legal ones were found."""
        memory = insn.kind in (Kind.LOAD, Kind.STORE) or any(operand.memory for operand in insn.syntax)
        for _ in range(TRIES):
            fields = {piece.name: self._field(insn, piece, memory) for piece in insn.pieces}
            if memory and "imm" in fields:
                size = insn.syntax[0].type.bits // 8
                fields["imm"] &= -size if self.rng.random() < 0.995 else -1
            if self._takes(insn, fields):
                return fields
        return None

    def _takes(self, insn: Insn, fields: dict[str, int]) -> bool:
        if insn.kind is Kind.COMPRESSED:
            decoded = decoder().decode(insn.encode(fields))
            return decoded is not None and decoded[0] is insn
        return check(insn, fields, self.context) is None

    def _field(self, insn: Insn, piece: Piece, memory: bool) -> int:
        rng, name = self.rng, piece.name
        if name in TARGETS:
            return rng.choice(FREE_COMPRESSED if name == "cd" else FREE)
        if name in ("cfd", "cfs2", "cs1", "cs2"):
            return rng.choice(BASES) if memory and name == "cs1" else rng.randrange(8, 16)
        if name == "rs1" and memory:
            return rng.choice((*BASES, STACK))
        if name == "rm":
            return rng.choice([0, 1, 2, 3, 4, 7, 7, 7])
        if name in ("imm", "uimm", "shamt"):
            low, high = width(insn, name)
            value = rng.choice(
                [rng.getrandbits(high), rng.getrandbits(high), 1 << rng.randrange(high), 0, -1]
            )
            if name == "imm":
                value = (value + (1 << high - 1)) % (1 << high) - (1 << high - 1)
            return value & (1 << high) - 1 & -(1 << low) if name != "imm" else value & -(1 << low)
        return rng.getrandbits(max(5, piece.width)) % (1 << max(piece.width, 1))

    def _branch(self, insn: Insn) -> None:
        """A branch over up to three plain instructions; both ways have one context."""
        skip = self.rng.randrange(4)
        fields = {p.name: self._field(insn, p, False) for p in insn.pieces if p.name != "off"}
        self._add(insn, fields | {"off": 0}, skip=skip)
        before = len(self.items)
        while len(self.items) < before + skip:
            plain = self.rng.choice(self.plain)
            found = self._scalar(plain)
            if found is not None:
                self._add(plain, found)

    def _jump_register(self, insn: Insn) -> None:
        """To the next instruction, by way of the pc."""
        register = self.rng.choice([number for number in FREE if number])
        self._add(TABLE["auipc"], {"rd": register, "imm": 0})
        if insn.mnemonic == "jalr":
            self._add(insn, {"rd": self.rng.choice(FREE), "rs1": register, "imm": 8 + self.rng.randrange(2)})
            return
        self._add(TABLE["addi"], {"rd": register, "rs1": register, "imm": 10})
        self._add(insn, {"rs1": register})

    def _csr(self, insn: Insn) -> None:
        immediate = insn.mnemonic.endswith("i")
        name = self.rng.choice([*READABLE] if immediate else [*WRITABLE, "vl", "vtype", "vlenb"])
        fields = {"csr": CSRS[name], "rd": self.rng.choice(FREE)}
        value = self.rng.randrange(32)
        if name not in WRITABLE + IMMEDIATE:
            if "w" in insn.mnemonic[3:]:
                return  # read-only
            value = 0
        if name == "frm":
            value, after = self._frm(insn.mnemonic, value)
        elif name == "vstart" and not (insn.mnemonic == "csrrwi" and value):
            return
        if name in ("fflags", "fcsr") and not self.reads_flags:
            fields["rd"] = 0
        self._add(insn, fields | {"uimm" if immediate else "rs1": value})
        if name == "frm":
            self.frm = after
        elif name == "fcsr" and insn.mnemonic == "csrrwi":
            self.frm = 0
        elif name == "vstart":
            self.partway = True

    def _frm(self, mnemonic: str, value: int) -> tuple[int, int]:
        """An immediate that leaves a legal rounding mode, and that mode."""
        for _ in range(TRIES):
            after = {"w": value, "s": self.frm | value, "c": self.frm & ~value}[mnemonic[4]] & 7
            if after <= 4:
                break
            value = self.rng.randrange(8)
        else:
            return (0, self.frm) if mnemonic[4] != "w" else (0, 0)
        return value, after

    # vector -------------------------------------------------------------------------------------------------------
    def _start_partway(self) -> None:
        self._add(TABLE["csrrwi"], {"csr": CSRS["vstart"], "rd": 0, "uimm": self.rng.randrange(1, 32)})
        self.partway = True

    def _vset(self, insn: Insn, vtype: int | None = None) -> None:
        rng = self.rng
        vtype = rng.choice(self.vtypes) if vtype is None else vtype
        fields = {"rd": rng.choice(FREE)}
        if insn.mnemonic == "vsetvl":
            fields["rs2"] = rng.choice([number for number in FREE if number])
            self._add(TABLE["addi"], {"rd": fields["rs2"], "rs1": 0, "imm": vtype})
        else:
            fields["vtypei"] = vtype
        if insn.mnemonic == "vsetivli":
            fields["uimm"] = rng.randrange(32)
        else:
            fields["rs1"] = rng.choice([rng.randrange(32), 0])
            old, new = Context(self.vtype), Context(vtype)
            if not fields["rs1"] and not fields["rd"] and old.lmul / old.sew != new.lmul / new.sew:
                fields["rd"] = 5  # to keep vl with another VLMAX is reserved
        self._add(insn, fields)
        self.vtype = vtype

    def _vector(self, insn: Insn, masked: bool | None = None) -> None:
        if not suits(insn.mnemonic, self.vtype):
            fitting = [vtype for vtype in self.vtypes if suits(insn.mnemonic, vtype)]
            if not fitting:
                return
            self._vset(TABLE[self.rng.choice(("vsetvli", "vsetivli"))], self.rng.choice(fitting))
        for _ in range(TRIES):
            fields = {piece.name: self._vector_field(insn, piece) for piece in insn.pieces}
            if masked is not None and "vm" in fields:
                fields["vm"] = 0 if masked else 1
            if check(insn, fields, self.context) is None:
                break
        else:
            return
        if insn.attributes.get("indexed"):
            self._offsets(insn, fields)
        self._add(insn, fields)

    def _vector_field(self, insn: Insn, piece: Piece) -> int:
        rng, name = self.rng, piece.name
        memory = insn.kind in (Kind.VLOAD, Kind.VSTORE)
        if name == "vm":
            return rng.getrandbits(1)
        if name in ("vd", "vs1", "vs2", "vs3"):
            count = int(group(insn.operand(name), insn, self.context)[1])
            return rng.randrange(32) & -min(8, max(1, count))
        if name == "rd":
            return rng.choice(FREE)
        if memory and name == "rs1":
            near_end = insn.attributes.get("first_fault") and rng.random() < 0.5
            return END if near_end or rng.random() < self.rates.end else rng.choice(BASES)
        if memory and name == "rs2":
            return WILD_STRIDE if rng.random() < 0.01 else rng.choice([STRIDE, STRIDE, STRIDE, 0])
        if name == "imm":
            return rng.randrange(-16, 16)
        return rng.getrandbits(piece.width)

    def _offsets(self, insn: Insn, fields: dict[str, int]) -> None:
        """Load good offsets into the offset register first."""
        operand = insn.operand("vs2")
        count = registers(operand, insn, self.context)
        row = TABLE[f"vl{count}re{operand.type.bits}.v"]
        self._add(row, {"vd": fields["vs2"], "rs1": OFFSETS[operand.type.bits]})

    def _refresh(self) -> None:
        """New corner values into some registers, as results tend to zeros, ones and NaNs."""
        bits = self.rng.choice(list(CORNERS))
        if self.rng.random() < 0.5:
            load = TABLE[{16: "flh", 32: "flw", 64: "fld"}[bits]]
            for register in self.rng.sample(range(32), 2):
                imm = self.rng.randrange(0, 2048, 8)
                self._add(load, {"fd": register, "rs1": CORNERS[bits], "imm": imm})
            return
        count = self.rng.choice([1, 2, 4])
        row = TABLE[f"vl{count}re{bits}.v"]
        self._add(row, {"vd": self.rng.randrange(0, 32, count), "rs1": CORNERS[bits]})

    def _wild(self, insn: Insn) -> None:
        """A last instruction whose registers are drawn without regard to groups, overlaps, masks or vtype."""
        if insn.kind in (Kind.VSET, Kind.CSR, Kind.BRANCH, Kind.JUMP, Kind.COMPRESSED, Kind.SYSTEM):
            return
        memory = any(operand.memory for operand in insn.syntax)
        fields = {piece.name: self._field(insn, piece, memory) for piece in insn.pieces}
        if insn.is_vector and self.rng.random() < 0.5:
            fields |= {
                name: value & -8 for name, value in fields.items() if name in ("vd", "vs2", "vs1", "vs3")
            }
        if insn.attributes.get("indexed"):
            fields["vs2"] = fields.get("vs2", 0)
        if "rs2" in fields and insn.kind in (Kind.VLOAD, Kind.VSTORE):
            fields["rs2"] = STRIDE
        if fields.get("rm", 0) == 7 and self.rng.random() < 0.3:
            fields["rm"] = self.rng.choice([5, 6])
        self.items.append(Item(insn, fields, self.context, wild=True))
