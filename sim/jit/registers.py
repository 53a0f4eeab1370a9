"""A hart's registers as LLVM values, while a loop's code is written (:mod:`potluck.sim.jit.loop`).

The state's bytes are divided into slots: a word each, and the vector registers in pieces of at most a host register. A
slot is a value, or several side by side, or lies in memory. What is read before it is written begins as ``%h`` with the
slot's number, which the loop's head defines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from math import gcd
from typing import Protocol

from potluck.isa.arithmetic.floating import canonical
from potluck.sim import state as st
from potluck.sim.jit.ir import Symbol

HOST_BYTES = 64


class Text(Protocol):
    """Where instructions are written to."""

    lines: list[str]

    def value(self, text: str) -> str:
        """Append ``%new = text`` and return the new name."""


class Place(str):
    """Stands for a pointer to a byte of the state that is known now; below 0 are values that only the loop has."""

    at: int

    @classmethod
    def of(cls, at: int) -> Place:
        """The place at an offset into the state."""
        found = cls(f"%s+{at}")
        found.at = at
        return found


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes [start, start + length) of a slot: those from ``offset`` on of the value ``name`` of LLVM type ``kind``."""

    start: int
    length: int
    kind: str
    name: str
    offset: int


Slots = dict[int, "tuple[Piece, ...] | None"]


@cache
def size_of(kind: str) -> int:
    """Bytes of an LLVM type."""
    found = re.fullmatch(r"<(\d+) x (\w+)>", kind)
    lanes, element = (int(found[1]), found[2]) if found else (1, kind)
    bits = {"half": 16, "float": 32, "double": 64}.get(element) or int(element[1:])
    return lanes * bits // 8


def vector(bytes_: int, grain: int) -> str:
    """The LLVM type of so many bytes, as integers of ``grain`` bytes."""
    count = bytes_ // grain
    return f"<{count} x i{8 * grain}>" if count > 1 else f"i{8 * grain}"


class Registers:
    """The present value of every slot.

    Args:
        body: where conversions are written.
        vlenb: bytes of a vector register.
    """

    def __init__(self, body: Text, vlenb: int) -> None:
        self.body, self.grain = body, min(HOST_BYTES, vlenb)
        self.slots: Slots = {}  # one that is missing is as at the loop's head, None: in memory
        self.clean: set[int] = set()  # slots whose memory holds their value
        self.written: set[int] = set()
        self.heads: set[int] = set()
        self.raw: Mapping[str, Symbol] = {}  # what a value that is stored is the canonical form of

    # slots --------------------------------------------------------------------------------------------------------
    def slot(self, at: int) -> int:
        """The slot of a byte."""
        if at < st.V:
            return at & ~7
        return st.V + (at - st.V) // self.grain * self.grain

    def size(self, slot: int) -> int:
        """Bytes of a slot."""
        return 8 if slot < st.V else self.grain

    def kind(self, slot: int) -> str:
        """The LLVM type in which a slot goes around the loop."""
        return "i64" if slot < st.V else vector(self.grain, 1)

    def pieces(self, slot: int) -> tuple[Piece, ...]:
        """What a slot consists of, loading it if it is in memory."""
        if slot not in self.slots:
            self.heads.add(slot)
            self.slots[slot] = (Piece(0, self.size(slot), self.kind(slot), f"%h{slot}".replace("-", "m"), 0),)
        found = self.slots[slot]
        if found is None:
            pointer = self.body.value(f"getelementptr i8, ptr %s, i64 {slot}")
            name = self.body.value(f"load {self.kind(slot)}, ptr {pointer}, align 1")
            found = self.slots[slot] = (Piece(0, self.size(slot), self.kind(slot), name, 0),)
            self.clean.add(slot)
        return found

    def read(self, at: int, kind: str) -> str:
        """The bytes from ``at`` on as a value of a type."""
        wanted = size_of(kind)
        parts: list[Piece] = []
        while wanted:
            slot = self.slot(at)
            for piece in self.pieces(slot):
                low = max(at - slot, piece.start)
                high = min(at - slot + wanted, piece.start + piece.length)
                if low < high:
                    parts.append(
                        Piece(0, high - low, piece.kind, piece.name, piece.offset + low - piece.start)
                    )
            step = min(wanted, slot + self.size(slot) - at)
            at, wanted = at + step, wanted - step
        return self._join(_merged(parts), kind)

    def write(self, at: int, kind: str, name: str) -> None:
        """Let a value be the bytes from ``at`` on."""
        begin, wanted = at, size_of(kind)
        while wanted:
            slot = self.slot(at)
            length = min(wanted, slot + self.size(slot) - at)
            new = Piece(at - slot, length, kind, name, at - begin)
            if length == self.size(slot):
                self.slots[slot] = (new,)
            else:
                self.slots[slot] = _replaced(self.pieces(slot), new)
            self.written.add(slot)
            self.clean.discard(slot)
            at, wanted = at + length, wanted - length

    def whole(self, slot: int) -> str:
        """The slot's value in its own type."""
        return self.read(slot, self.kind(slot))

    # memory -------------------------------------------------------------------------------------------------------
    def store(self, slot: int) -> None:
        """Write a slot to memory, if it is not there."""
        if slot in self.clean or self.slots.get(slot, ()) is None or slot < 0:
            return
        pieces = self.pieces(slot)
        single = len(pieces) == 1 and size_of(pieces[0].kind) == self.size(slot)
        kind, name = (pieces[0].kind, pieces[0].name) if single else (self.kind(slot), self.whole(slot))
        if name in self.raw:
            name = canonical(self.raw[name]).name
        pointer = self.body.value(f"getelementptr i8, ptr %s, i64 {slot}")
        self.body.lines.append(f"store {kind} {name}, ptr {pointer}, align 1")
        self.clean.add(slot)

    def store_all(self, slots: Iterable[int]) -> None:
        """Write several slots."""
        for slot in slots:
            self.store(slot)

    def forget(self, slot: int) -> None:
        """A slot's value is in memory, written by somebody else."""
        self.slots[slot] = None
        self.written.add(slot)
        self.clean.add(slot)

    # states -------------------------------------------------------------------------------------------------------
    def now(self) -> tuple[Slots, set[int]]:
        """The present state, for :meth:`back`."""
        return self.slots.copy(), self.clean.copy()

    def back(self, state: tuple[Slots, set[int]]) -> None:
        """Return to a state."""
        self.slots, self.clean = state[0].copy(), state[1].copy()

    # conversions --------------------------------------------------------------------------------------------------
    def _cast(self, name: str, kind: str, to: str) -> str:
        if kind == to:
            return name
        return self.body.value(f"bitcast {kind} {name} to {to}")

    def _cut(self, piece: Piece, grain: int) -> tuple[str, str]:
        """A piece as a value of its own, of integers of ``grain`` bytes: its type and name."""
        total = size_of(piece.kind)
        whole, kind = vector(total, grain), vector(piece.length, grain)
        name = self._cast(piece.name, piece.kind, whole)
        if piece.length == total:
            return kind, name
        first, count = piece.offset // grain, piece.length // grain
        if count == 1:
            return kind, self.body.value(f"extractelement {whole} {name}, i64 {first}")
        lanes = ", ".join(f"i32 {first + k}" for k in range(count))
        return kind, self.body.value(
            f"shufflevector {whole} {name}, {whole} poison, <{count} x i32> <{lanes}>"
        )

    def _join(self, parts: list[Piece], to: str) -> str:
        if len(parts) == 1:
            piece = parts[0]
            grain = gcd(piece.offset, piece.length, size_of(piece.kind), 8)
            if piece.length == size_of(piece.kind):
                return self._cast(piece.name, piece.kind, to)
            kind, name = self._cut(piece, grain)
            return self._cast(name, kind, to)
        grain = 8
        for piece in parts:
            grain = gcd(grain, piece.offset, piece.length, size_of(piece.kind))
        total = sum(piece.length for piece in parts)
        whole, count = vector(total, grain), total // grain
        name, done = "poison", 0
        for piece in parts:
            kind, part = self._cut(piece, grain)
            more = piece.length // grain
            if more == 1:
                name = self.body.value(f"insertelement {whole} {name}, i{8 * grain} {part}, i64 {done}")
            else:
                lanes = ", ".join(
                    f"i32 {k - done}" if done <= k < done + more else "i32 poison" for k in range(count)
                )
                wide = self.body.value(
                    f"shufflevector {kind} {part}, {kind} poison, <{count} x i32> <{lanes}>"
                )
                lanes = ", ".join(f"i32 {count + k if k >= done else k}" for k in range(count))
                name = (
                    wide
                    if not done
                    else self.body.value(
                        f"shufflevector {whole} {name}, {whole} {wide}, <{count} x i32> <{lanes}>"
                    )
                )
            done += more
        return self._cast(name, whole, to)


def _merged(parts: list[Piece]) -> list[Piece]:
    """Neighbours that are neighbours in one value, as one piece."""
    found: list[Piece] = []
    for part in parts:
        last = found[-1] if found else None
        if last and last.name == part.name and last.offset + last.length == part.offset:
            found[-1] = Piece(0, last.length + part.length, last.kind, last.name, last.offset)
        else:
            found.append(part)
    return found


def _replaced(pieces: tuple[Piece, ...], new: Piece) -> tuple[Piece, ...]:
    """The pieces of a slot with a new one in the place of what it covers."""
    found, end = [], new.start + new.length
    for piece in pieces:
        stop = piece.start + piece.length
        if piece.start < new.start:
            length = min(stop, new.start) - piece.start
            found.append(Piece(piece.start, length, piece.kind, piece.name, piece.offset))
        if stop > end:
            cut = max(0, end - piece.start)
            found.append(
                Piece(piece.start + cut, piece.length - cut, piece.kind, piece.name, piece.offset + cut)
            )
    return tuple(sorted([*found, new], key=lambda piece: piece.start))
