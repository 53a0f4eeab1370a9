"""What one row of the instruction table says, and what follows from its encoding and operand strings.

A row is written once (see ``potluck.isa.rows``); the encoder, decoder, assembler, disassembler, the interpreter's
code generator, the timing model and the reference pages all read the :class:`Insn` made from it.

Encoding string: fields from the top bit down to bit 0, in the notation of the ISA manual; 16, 32 or 64 bits in all. A
field is a binary literal (``0110011``), an operand name (``rd``, ``vs2``, ``vm``), or a name with the operand bits it
holds (``imm[11:5]``, ``off[4:1|11]``, ``vs4[4:3]``).

Operand string: assembly order, comma separated. ``name`` or ``name:type``; memory operands are ``imm(rs1)`` or
``(rs1)``. A type is absolute (``s32``, ``u8``, ``f64``) or relative to SEW: ``s`` (SEW), ``2u`` (twice SEW),
``4f``, ``u/2`` (half SEW). ``vd[0]:s`` is element 0 of a register. Names beginning with ``x``-register letters
(``rd rs1 rs2 rs3``) are integer registers, ``fd fs1 fs2 fs3`` floating registers, ``vd vs1 vs2 vs3 vs4`` vector
registers, ``imm`` a signed and ``uimm``/``shamt`` an unsigned immediate, ``off`` a pc-relative target, ``csr`` a CSR
number, ``vtypei`` a vector type, ``rm`` a rounding mode, ``vm`` the mask bit (1 = unmasked). ``cd cs1 cs2`` and
``cfd cfs2`` are the registers 8 to 15 of three-bit fields.

A compressed row has no meaning of its own: its attribute ``expands`` gives the base instruction in assembly with the
row's operands, e.g. ``lw cd, uimm(cs1)``, and everything that executes sees that (:func:`potluck.isa.decode.expand`).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from potluck.isa.arithmetic.element import Type

WIDTHS = {
    **dict.fromkeys(["rd", "rs1", "rs2", "rs3", "fd", "fs1", "fs2", "fs3", "vd", "vs1", "vs2", "vs3", "vs4"], 5),
    "vm": 1, "rm": 3, "csr": 12, "nf": 3, "aq": 1, "rl": 1,
    **dict.fromkeys(["cd", "cs1", "cs2", "cfd", "cfs2"], 3),
}  # fmt: skip


class Kind(Enum):
    """How the interpreter applies a meaning; one code-generation template each."""

    MAP = "map"  # per element (vector destination) or once (scalar destination)
    COMPARE = "compare"  # per element, one mask bit each
    REDUCE = "reduce"  # vd[0] = fold of meaning(acc, vs2) from vs1[0] over active elements, in order
    MASK = "mask"  # on mask registers, vl bits
    PERMUTE = "permute"  # meaning gives the source index of element i
    SCAN = "scan"  # from element 0 on, with the count of a mask's set bits: meaning gives (index, value, condition)
    LOAD = "load"  # scalar load of the destination's type
    STORE = "store"
    VLOAD = "vload"  # unit-stride, strided (rs2) or indexed (vs2)
    VSTORE = "vstore"
    BRANCH = "branch"  # meaning gives the condition
    JUMP = "jump"
    VSET = "vset"
    CSR = "csr"
    SYSTEM = "system"  # ecall, ebreak, fences, wfi, DMA: handled by name outside the generated code
    COMPRESSED = "compressed"  # stands for another row; see ``expands``
    ATOMIC = "atomic"  # meaning gives the new memory value from the old one and rs2


@dataclass(frozen=True, slots=True)
class OperandType:
    """An operand's element type; ``relative`` types are ``scale`` times SEW."""

    kind: str
    bits: int
    scale: float = 0.0  # 0: absolute

    def at(self, sew: int) -> Type:
        """The concrete type under the given SEW in bits."""
        return Type(self.kind, int(self.scale * sew) if self.scale else self.bits)


def parse_type(text: str) -> OperandType:
    """Parse ``s32``, ``u``, ``2s``, ``u/2``."""
    found = re.fullmatch(r"(\d*)([suf])(\d*)(?:/(\d+))?", text)
    if not found or (found[1] and found[3]):
        raise ValueError(f"operand type {text!r}: expected e.g. s32, u, 2s or u/2")
    multiple, kind, bits, divisor = found.groups()
    if bits:
        return OperandType(kind, int(bits))
    return OperandType(kind, 0, int(multiple or 1) / int(divisor or 1))


_BANKS = {f"{letter}{role}": bank for letter, bank in (("r", "x"), ("f", "f"), ("v", "v"))
          for role in ("d", "s1", "s2", "s3", "s4")}  # fmt: skip
_BANKS |= {"cd": "x", "cs1": "x", "cs2": "x", "cfd": "f", "cfs2": "f"}
COMPRESSED_REGISTERS = ("cd", "cs1", "cs2", "cfd", "cfs2")
"""Operands whose three bits name the registers 8 to 15."""


@dataclass(frozen=True, slots=True)
class Operand:
    """One operand of the assembly syntax."""

    name: str
    type: OperandType
    element0: bool = False
    memory: bool = False  # written in parentheses: a base address

    @property
    def bank(self) -> str:
        """``x``, ``f`` or ``v`` for a register, else the operand's own name (``imm``, ``vm``, ...)."""
        return _BANKS.get(self.name, self.name)


@dataclass(frozen=True, slots=True)
class Piece:
    """Operand bits ``[low, low+width)`` stand at word bits ``[at, at+width)``."""

    name: str
    low: int
    width: int
    at: int


def parse_encoding(text: str) -> tuple[int, int, int, tuple[Piece, ...]]:
    """Return width, mask, match and operand pieces of an encoding string; every bit must be accounted for."""
    fields: list[
        tuple[int, str, list[tuple[int, int]]]
    ] = []  # width, literal or name, operand bits (low, width)
    for token in text.split():
        if re.fullmatch(r"[01]+", token):
            fields.append((len(token), token, []))
            continue
        found = re.fullmatch(r"(\w+)(?:\[([\d:|]+)\])?", token)
        if not found:
            raise ValueError(f"encoding {text!r}: cannot read field {token!r}")
        name, ranges = found.groups()
        parts = []
        for part in (ranges or f"{WIDTHS[name] - 1}:0").split("|"):
            high, _, low = part.partition(":")
            parts.append((int(low or high), int(high) - int(low or high) + 1))
        fields.append((sum(width for _, width in parts), name, parts))
    total = position = sum(width for width, _, _ in fields)
    if total not in (16, 32, 64):
        raise ValueError(f"encoding {text!r}: {total} bits, expected 16, 32 or 64")
    mask = match = 0
    pieces: list[Piece] = []
    for bits, name, parts in fields:
        if not parts:
            position -= bits
            mask |= ((1 << bits) - 1) << position
            match |= int(name, 2) << position
        for low, width in parts:
            position -= width
            pieces.append(Piece(name, low, width, position))
    return total, mask, match, tuple(pieces)


def parse_operands(text: str) -> tuple[Operand, ...]:
    """Parse an operand string; see the module text."""
    operands: list[Operand] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        found = re.fullmatch(r"(\w*)(\[0\])?(?::([\w/]+))?(?:\((\w+)\))?", item)
        if not found:
            raise ValueError(f"operand {item!r} of {text!r}")
        name, element0, kind, base = found.groups()
        if name:
            default = "f64" if name[0] == "f" else "s64"
            operands.append(Operand(name, parse_type(kind or default), bool(element0)))
        if base:
            operands.append(Operand(base, parse_type("u64"), memory=True))
    return tuple(operands)


@dataclass(frozen=True)
class Insn:
    """One instruction of the machine.

    Attributes:
        mnemonic: GNU spelling.
        encoding: bit fields, see the module text.
        operands: assembly operands with element types.
        kind: code-generation template.
        timing: timing and energy class; its numbers live in the machine description.
        meaning: element function; its parameter names are operand names, or ``i`` (element index), ``v0`` (mask bit
            as data), ``pc``, ``vlmax``, ``vxrm``, or a static fact of the decode context: ``sew``, ``frm``,
            ``mx_format``, ``altfmt``, and ``fp``, the floating-point operations (``potluck.isa.arithmetic.plain``).
            What those raise becomes fflags; so do the flags (a ``u8``) of a meaning that returns ``(value, flags)``, or
            with ``saturates`` vxsat (a ``b1``).
        doc: one sentence.
        extension: the extension's name.
        attributes: facts that few rows have. ``rounds``: the result depends on frm; ``raises``: may raise fflags,
            through ``fp``; ``flags``: the meaning returns them; ``sew``: the only legal SEW; ``no_overlap``: vd may
            overlap no source;
            ``expands``: what a compressed row stands for; ``nonzero``: operands that must not be 0; ``carved``: rows
            whose encodings lie inside this one's and are not its own;
            ``vstart0``: illegal if vstart is not 0; ``bf16_destination``: fcsr bit 8 must be set; ``strided``,
            ``indexed``, ``first_fault``, ``segments``, ``mask``, ``whole_registers``: kinds of vector memory access;
            ``quick``: a second meaning, cheaper on the host, that gives the value and where it may not be the meaning's
            (a ``b1``; elsewhere it is no NaN), or None where there is no such way;
            ``search``: a mask search starting from -1; others are explained where their rows stand.
    """

    mnemonic: str
    encoding: str
    operands: str
    kind: Kind
    timing: str
    meaning: Callable[..., Any] | None
    doc: str
    extension: str
    attributes: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _parsed(self) -> tuple[int, int, int, tuple[Piece, ...]]:
        return parse_encoding(self.encoding)

    @property
    def length(self) -> int:
        """Bytes of the word: 2, 4 or 8."""
        return self._parsed[0] // 8

    @property
    def mask(self) -> int:
        """Bits of the word that are fixed."""
        return self._parsed[1]

    @property
    def match(self) -> int:
        """Value of the fixed bits."""
        return self._parsed[2]

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Where each operand's bits stand."""
        return self._parsed[3]

    @cached_property
    def nonzero(self) -> tuple[int, ...]:
        """Masks of word bits of which at least one must be set."""
        return tuple(
            sum(((1 << piece.width) - 1) << piece.at for piece in self.pieces if piece.name == name)
            for name in self.attributes.get("nonzero", ())
        )

    def matches(self, word: int) -> bool:
        """Whether a word has the fixed bits and no operand that must not be zero is (``carved`` rows come first)."""
        return word & self.mask == self.match and all(word & bits for bits in self.nonzero)

    @cached_property
    def syntax(self) -> tuple[Operand, ...]:
        """Operands in assembly order."""
        return parse_operands(self.operands)

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Parameter names of the meaning; those with a default are the author's own constants."""
        if self.meaning is None:
            return ()
        found = inspect.signature(self.meaning).parameters.values()
        return tuple(parameter.name for parameter in found if parameter.default is parameter.empty)

    @property
    def is_vector(self) -> bool:
        """Whether any operand is a vector register."""
        return any(operand.bank == "v" for operand in self.syntax)

    @property
    def maskable(self) -> bool:
        """Whether the encoding has a vm bit."""
        return any(operand.name == "vm" for operand in self.syntax)

    def operand(self, name: str) -> Operand:
        """The operand of that name."""
        return next(operand for operand in self.syntax if operand.name == name)

    def encode(self, values: dict[str, int]) -> int:
        """Build the instruction word from raw operand values (two's complement where signed)."""
        word = self.match
        for piece in self.pieces:
            word |= ((values[piece.name] >> piece.low) & ((1 << piece.width) - 1)) << piece.at
        return word

    def decode(self, word: int) -> dict[str, int]:
        """Operand values of a word that matches; ``imm`` and ``off`` are sign-extended."""
        values: dict[str, int] = {}
        top: dict[str, int] = {}
        for piece in self.pieces:
            bits = (word >> piece.at) & ((1 << piece.width) - 1)
            values[piece.name] = values.get(piece.name, 0) | bits << piece.low
            top[piece.name] = max(top.get(piece.name, 0), piece.low + piece.width)
        for name in ("imm", "off"):
            if name in values and values[name] >> (top[name] - 1) & 1:
                values[name] -= 1 << top[name]
        for name in COMPRESSED_REGISTERS:
            if name in values:
                values[name] += 8
        return values
