"""A hot loop as one LLVM function: its instructions' bodies behind one another, registers as values.

The function is ``i64 loop(state, rows, count)``: it runs up to ``count`` times through the loop's path and returns
which :class:`Exit` it left by (bits 40 up to 55), how many times it had gone through (the bits below), and why a
handler stopped (above). Whatever is not as it was when the path was recorded leaves *before* its instruction: another
way of a branch, another vl, an address outside memory or of another access class. The state is then that of the first
tier before this instruction, which goes on from there: traps and their order are the first tier's own.

Instructions that are not worth to be values are called as the first tier's handlers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from operator import or_
from typing import Any

from potluck.isa.arithmetic.element import Type, fma
from potluck.isa.arithmetic.floating import canonical
from potluck.isa.arithmetic.plain import Arithmetic
from potluck.isa.insn import Kind, Operand
from potluck.sim import state as st
from potluck.sim.jit.handler import Handler, Variant, operand_type
from potluck.sim.jit.ir import Body, Symbol
from potluck.sim.jit.registers import Piece, Place, Registers, Slots, size_of

MOST_CHUNKS = 16  # SIMD chunks or elements of one instruction that are written out
MOST_LINES = 40_000
SINK = st.X + 8 * 32
COUNT_BITS, EXIT_BITS = 40, 16
MEMORY = (Kind.LOAD, Kind.STORE, Kind.VLOAD, Kind.VSTORE)
IMPURE = ("load ", "call i64 %", "phi ")
CALLED = (Kind.MAP, Kind.COMPARE, Kind.MASK, Kind.VLOAD, Kind.VSTORE, Kind.REDUCE, Kind.PERMUTE, Kind.SCAN)
NO_EXIT, BEFORE, AFTER, STOPPED = range(
    4
)  # kinds of exits: at the head, before an instruction, after it, within it


class NotTaken(Exception):
    """An instruction, or a loop, that is left to the first tier."""


@dataclass(frozen=True, slots=True)
class Member:
    """One instruction of a loop's path.

    Attributes:
        variant: what its handler is.
        name: of the handler.
        columns: of its row: ``rd`` to ``rs4``, ``slot``, ``imm`` and ``key``.
        vl: at it.
        code: its access class when the path was recorded, -1 if it accesses no memory.
        way: whether the branch was taken, or the vl that the ``vset`` gave.
        last: whether a block ends with it.
    """

    variant: Variant
    name: str
    columns: tuple[int, ...]
    vl: int
    code: int
    way: int
    last: bool


State = tuple[Slots, set[int]]
COLUMNS = ("rd", "rs1", "rs2", "rs3", "rs4", "slot", "imm", "key")
SLOT = COLUMNS.index("slot")


@dataclass(frozen=True, slots=True)
class Exit:
    """Where the function ends: ``kind`` and the instruction's place in the path."""

    kind: int
    member: int


def name_of(path: list[Member], vlenb: int) -> str:
    """The function's name, equal for equal code."""
    parts = [f"{vlenb}", *(f"{m.name} {m.columns} {m.vl} {m.code} {m.way} {m.last}" for m in path)]
    return "loop_" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


class LoopBody(Body):
    """Text whose accesses to the state are values."""

    def __init__(self, vlenb: int) -> None:
        super().__init__()
        self.registers = Registers(self, vlenb)
        self.entry: list[str] = []  # before the loop
        self.here = "head"  # the present basic block
        self.raw: dict[str, Symbol] = {}  # floats of canonical NaN, by name, before that was seen to
        self._hoisted: dict[str, str] = {}
        self._known: dict[str, str] = {}  # what was computed on the way to here
        self._order: list[str] = []  # its keys

    def value(self, text: str) -> str:
        """See :meth:`Body.value`; nothing is computed twice."""
        if text.startswith(IMPURE):
            return super().value(text)
        name = self._known.get(text)
        if name is None:
            name = self._known[text] = super().value(text)
            self._order.append(text)
        return name

    def mark(self) -> int:
        """Where what is known stands, for :meth:`unknow`."""
        return len(self._order)

    def unknow(self, mark: int) -> None:
        """Forget what has been computed since."""
        for text in self._order[mark:]:
            del self._known[text]
        del self._order[mark:]

    def apart(self, write: Callable[[], None]) -> list[str]:
        """The lines that ``write`` appends, for a place of which nothing is known."""
        held = self.lines, self._known, self._order
        self.lines, self._known, self._order = [], {}, []
        write()
        found = self.lines
        self.lines, self._known, self._order = held
        return found

    def label(self, name: str) -> None:
        """See :meth:`Body.label`."""
        super().label(name)
        self.here = name

    def offset(self, pointer: str, by: Symbol | int) -> str:
        """See :meth:`Body.offset`; of the state only places that are known."""
        base = 0 if pointer == "%s" else pointer.at if isinstance(pointer, Place) else None
        if base is None:
            return super().offset(pointer, by)
        amount = by if isinstance(by, int) else by.literal
        if amount is None:
            raise NotTaken
        return Place.of(base + amount)

    def load(self, kind: Type | str, pointer: str, lanes: int = 1) -> Symbol:
        """See :meth:`Body.load`."""
        if not isinstance(pointer, Place):
            return super().load(kind, pointer, lanes)
        found = self.symbol("", kind, lanes)
        if pointer.at == st.X and found.type.bits == 64:
            return self.constant(0, kind)
        found.name = self.registers.read(pointer.at, found.llvm)
        return found

    def store(self, value: Symbol, pointer: str) -> None:
        """See :meth:`Body.store`."""
        if not isinstance(pointer, Place):
            super().store(value, pointer)
        elif pointer.at != SINK:
            self.registers.write(pointer.at, value.llvm, value.name)

    def hoist(self, text: str) -> str:
        """A value that is the same all the time, computed before the loop."""
        if text not in self._hoisted:
            name = self._hoisted[text] = self.name()
            self.entry.append(f"{name} = {text}")
        return self._hoisted[text]


class Inline(Handler):
    """A handler whose text becomes part of a loop's."""

    body: LoopBody

    def __init__(self, loop: Loop, place: int) -> None:
        self.member = loop.path[place]
        super().__init__(self.member.variant)
        self.loop_, self.place, self.body = loop, place, loop.body
        self._row = dict(zip(COLUMNS, self.member.columns, strict=True))
        self._regions: list[tuple[str, Any]] = []
        self.doubts: list[Symbol] = []  # whether a quick meaning's values may be others
        if type(self.arithmetic) is Arithmetic:
            self.arithmetic = LoopArithmetic(self.loop_.body)

    @property
    def registers(self) -> Registers:
        """Of the loop."""
        return self.body.registers

    def row(self, field: str, kind: str = "u64") -> Symbol:
        """Known, but for the instruction's address and the next one's."""
        if field in self._row:
            return self.body.constant(self._row[field], kind)
        offset = self.place * 2 * st.ROW.itemsize + int(st.ROW.fields[field][1])  # type: ignore[index]
        return self.body.load(kind, self.body.offset("%r", offset))

    def word(self, name: str, kind: str = "u64") -> Symbol:
        """A word of the state; some are known."""
        known = {"vl": self.member.vl, "vlenb": self.loop_.vlenb, "vstart": 0}
        return self.body.constant(known[name], kind) if name in known else super().word(name, kind)

    def fixed(self, name: str) -> str:
        """A word that the loop does not change."""
        return self.body.hoist(f"load i64, ptr {self.loop_.word_pointer(name)}, align 8")

    def pointer(self, operand: str) -> str:
        """A register operand's place."""
        return self.body.offset("%s", self.row(self._slots[operand]))

    def touched(self, operands: Iterable[Operand]) -> list[int]:
        """Slots of an element-wise instruction's register operands, and of the flags."""
        found = {st.WORD["fcsr"]} if self.variant.flags else set()
        if self.variant.masked:
            found.update(range(st.V, st.V + self.loop_.vlenb, self.registers.grain))
        for operand in operands:
            if operand.name in self._slots:
                at = self._row[self._slots[operand.name]]
                bits = operand_type(operand, self.context).bits
                end = at + (self.member.vl * bits + 7 >> 3 if operand.bank == "v" else 8)
                step = self.registers.grain if operand.bank == "v" else 8
                found.update(range(self.registers.slot(at), end, step))
        return sorted(found)

    # control ------------------------------------------------------------------------------------------------------
    def span(self, start: Symbol, stop: Symbol, step: int) -> Iterator[Symbol]:
        """The indices as constants."""
        first, last = start.literal, stop.literal
        if first is None or last is None or (last - first) > MOST_CHUNKS * step:
            raise NotTaken
        for index in range(first, last, step):
            yield self.body.constant(index, "u64")

    def loop(self, start: Symbol, stop: Symbol, step: int) -> tuple[str, Symbol]:
        """Not written out."""
        raise NotTaken

    def local(self, kind: str) -> str:
        """A place that only the loop has."""
        return self.loop_.local()

    def corrected(self, value: Symbol, doubt: Symbol, exact: Callable[[], Symbol]) -> Symbol:
        """The value; the loop has the whole instruction done again where it is in doubt."""
        self.doubts.append(self.any_lane(doubt))
        return value

    def when(self, condition: Symbol, rare: bool = False) -> str:
        """Known conditions decide here what is written."""
        known, registers = condition.literal, self.registers
        if known is not None:
            body = self.body
            held = (len(body.lines), registers.now(), registers.written.copy(), body.mark(), body.here,
                    len(self.doubts))  # fmt: skip
            self._regions.append(("known", None if known else held))
            return ""
        state, branch, here = registers.now(), len(self.body.lines), self.body.here
        tag = super().when(condition, rare)
        self._regions.append(("open", (state, branch, here, self.body.mark())))
        return tag

    def end_when(self, tag: str) -> None:
        """Values of both ways meet."""
        kind, held = self._regions.pop()
        if kind == "known":
            if held is not None:
                lines, state, written, mark, here, doubts = held
                del self.body.lines[lines:]
                self.body.unknow(mark)
                self.registers.back(state)
                self.registers.written, self.body.here = written, here
                del self.doubts[doubts:]
            return
        self.loop_.meet(tag, *held)

    def leave(self, code: int | str) -> None:
        """No instruction of a path leaves by itself."""
        raise NotTaken

    def next(self) -> None:
        """The next instruction's text follows."""

    def event(self, code: int, address: Symbol | None = None) -> None:
        """Left to the first tier."""
        raise NotTaken

    def guard(self, holds: Symbol) -> None:
        """Leave before this instruction unless a condition holds."""
        self.loop_.guard(self.place, holds)


class Loop:
    """One function under construction.

    Args:
        path: the instructions, from the loop's head to the branch back to it.
        vlenb: bytes of a vector register.
        name: of the function.
        emitters: what writes an instruction's text, by its kind.
    """

    def __init__(
        self, path: list[Member], vlenb: int, name: str, emitters: Mapping[Kind, Callable[[Inline], None]]
    ) -> None:
        self.path, self.vlenb, self.name, self._emitters = path, vlenb, name, emitters
        self.body = LoopBody(vlenb)
        self.exits = [Exit(NO_EXIT, 0)]
        self._cold: list[str] = []  # exits' text, for the end
        self._states: dict[int, tuple[object, set[int]]] = {}
        self._pending: list[tuple[str, int, State]] = []
        self._locals = 0
        self._spills: list[set[int]] = []
        for place in range(len(path)):
            self._instruction(place)
            if len(self.body.lines) > MOST_LINES:
                raise NotTaken
        if len(self.exits) >= 1 << EXIT_BITS:
            raise NotTaken

    # what instructions need ---------------------------------------------------------------------------------------
    def word_pointer(self, name: str) -> str:
        """A pointer to a word of the state, before the loop."""
        return self.body.hoist(f"getelementptr i8, ptr %s, i64 {st.WORD[name]}")

    def local(self) -> Place:
        """A new place below 0."""
        self._locals += 1
        return Place.of(-8 * self._locals)

    def guard(self, place: int, holds: Symbol) -> None:
        """Leave before instruction ``place`` unless a condition holds."""
        if holds.literal == 1:
            return
        label = self._exit(BEFORE, place, self._before)
        go = self.body.name("G")
        self.body.line(f"br i1 {holds.name}, label %{go}, label %{label}, !prof !0")
        self.body.label(go)

    def meet(self, tag: str, state: State, branch: int, before: str, mark: int) -> None:
        """End of a conditional region that began in block ``before`` with ``state`` and line ``branch``."""
        body, registers = self.body, self.body.registers
        slots, _ = registers.now()
        changed = [slot for slot, pieces in slots.items() if slot not in state[0] or state[0][slot] != pieces]
        changed = [slot for slot in changed if slot in registers.written or slot in state[0]]
        shapes = {slot: self._shape(slot, state[0].get(slot)) for slot in changed}
        values = [registers.read(at, kind) for slot in changed for at, kind in shapes[slot]]
        inside, after = body.here, registers.now()
        registers.back(state)
        body.unknow(mark)
        others: list[str] = []
        body.lines[branch:branch] = body.apart(
            lambda: others.extend(registers.read(at, kind) for slot in changed for at, kind in shapes[slot])
        )
        clean = registers.clean & after[1]
        merged = registers.slots | {s: p for s, p in after[0].items() if s not in registers.slots}
        registers.back((merged, clean))
        body.line(f"br label %{tag}.end")
        body.label(f"{tag}.end")
        places = [place for slot in changed for place in shapes[slot]]
        for (at, kind), value, other in zip(places, values, others, strict=True):
            registers.write(
                at, kind, body.value(f"phi {kind} [ {value}, %{inside} ], [ {other}, %{before} ]")
            )

    def _shape(self, slot: int, pieces: tuple[Piece, ...] | None) -> list[tuple[int, str]]:
        """Places and types of the values that a slot consists of, or the slot as one value of its own type."""
        if pieces and all(piece.offset == 0 and piece.length == size_of(piece.kind) for piece in pieces):
            return [(slot + piece.start, piece.kind) for piece in pieces]
        return [(slot, self.body.registers.kind(slot))]

    # instructions -------------------------------------------------------------------------------------------------
    def _instruction(self, place: int) -> None:
        registers, member = self.body.registers, self.path[place]
        self._before = registers.now()
        kind = member.variant.insn.kind
        emit = self._emitters.get(kind)
        state, lines, mark = registers.now(), len(self.body.lines), self.body.mark()
        held = registers.written.copy(), self.body.here, len(self._pending), len(self.exits)
        try:
            if emit is None:
                raise NotTaken
            inline = Inline(self, place)
            emit(inline)
            if inline.doubts:
                self._again(inline)
        except NotTaken:
            if member.last and kind in (Kind.BRANCH, Kind.JUMP, Kind.VSET):
                raise
            del self.body.lines[lines:]
            self.body.unknow(mark)
            registers.back(state)
            registers.written, self.body.here = held[0], held[1]
            del self._pending[held[2] :], self.exits[held[3] :]
            self._call(place)

    def _exit(self, kind: int, place: int, state: State) -> str:
        """The label of an exit."""
        wanted = Exit(kind, place)
        if self.exits[-1] == wanted:
            return self._pending[-1][0]
        label = f"x{len(self.exits)}"
        self.exits.append(wanted)
        self._pending.append((label, len(self.exits) - 1, state))
        return label

    def _call(self, place: int) -> None:
        """The first tier's handler, with all registers in memory."""
        body, registers, member = self.body, self.body.registers, self.path[place]
        if member.variant.partway or member.variant.insn.kind not in CALLED:
            raise NotTaken
        registers.store_all(sorted(registers.slots))
        self._spills.append(set(registers.slots))
        body.line(f"; {len(self._spills) - 1}")  # for those that are written later
        result = self._handler(place)
        gone = body.value(f"icmp ne i64 {result}, 0")
        label = f"x{len(self.exits)}"
        self.exits.append(Exit(STOPPED, place))
        go = body.name("G")
        body.line(f"br i1 {gone}, label %{label}, label %{go}, !prof !1")
        body.label(go)
        shifted = f"%{label}.r"
        self._cold += [
            f"{label}:", f"{shifted} = shl i64 {result}, {COUNT_BITS + EXIT_BITS}",
            f"%{label}.o = or i64 {shifted}, {(len(self.exits) - 1) << COUNT_BITS}",
            f"%{label}.c = or i64 %{label}.o, %count", f"ret i64 %{label}.c",
        ]  # fmt: skip
        for slot in self._changed_by(member):
            registers.forget(slot)
        if member.code >= 0:
            pointer = body.value(f"getelementptr i8, ptr %s, i64 {st.CODES + member.columns[SLOT]}")
            code = body.value(f"load i8, ptr {pointer}, align 1")
            same = body.symbol(body.value(f"icmp eq i8 {code}, {member.code}"), "b1")
            label = self._exit(AFTER, place, registers.now())
            go = body.name("G")
            body.line(f"br i1 {same.name}, label %{go}, label %{label}, !prof !0")
            body.label(go)

    def _again(self, inline: Inline) -> None:
        """The first tier's handler, with its operands as they were, where a quick meaning's values are in doubt."""
        registers, (slots, clean) = self.body.registers, self._before
        wanted = inline.when(reduce(or_, inline.doubts), rare=True)
        changed = inline.touched(inline.insn.syntax[:1])
        for slot in changed:
            registers.slots.pop(slot, None)
            if slot in slots:
                registers.slots[slot] = slots[slot]
            (registers.clean.add if slot in clean else registers.clean.discard)(slot)
        registers.store_all(inline.touched(inline.insn.syntax))
        self._handler(inline.place)
        for slot in changed:
            registers.forget(slot)
        inline.end_when(wanted)

    def _handler(self, place: int) -> str:
        """A call of an instruction's handler, which ends with it; what it returns."""
        row = self.body.value(f"getelementptr i8, ptr %r, i64 {place * 2 * st.ROW.itemsize}")
        target = self.body.value(f"load ptr, ptr {row}, align 8")
        return self.body.value(f"call i64 {target}(ptr %s, ptr {row})")

    def _changed_by(self, member: Member) -> list[int]:
        """Slots that a handler may write: its destination's group, and what flags go to."""
        registers, insn = self.body.registers, member.variant.insn
        found = [st.WORD["fcsr"], st.WORD["vxsat"]]
        destination = insn.syntax[0]
        if insn.kind in (Kind.STORE, Kind.VSTORE) or destination.bank not in ("x", "f", "v"):
            return []
        at = member.columns[0]
        if destination.bank != "v":
            return [*found, at] if at != SINK else found
        # No group is longer than eight registers.
        end = min(at + 8 * self.vlenb, st.V + 32 * self.vlenb)
        return [*found, *range(registers.slot(at), end, registers.grain)]

    # the whole ----------------------------------------------------------------------------------------------------
    def text(self) -> str:
        """The module in LLVM assembly."""
        body, registers = self.body, self.body.registers
        written = sorted(slot for slot in registers.written if slot >= 0)
        latch = {slot: registers.whole(slot) for slot in written}
        end, after = body.here, body.lines
        state = registers.now()
        after = self._with_spills(after, written)
        cold = list(self._cold)
        registers.raw = body.raw
        for label, number, held in [*self._pending, ("x0", 0, state)]:
            registers.back(held)
            stores = body.apart(lambda: registers.store_all(written))
            count = "%more" if not number else "%count"
            code = f"%{label}.c = or i64 {count}, {number << COUNT_BITS}"
            cold += [f"{label}:", *stores, code, f"ret i64 %{label}.c"]
        entry, head = list(body.entry), []
        for slot in sorted(registers.heads | set(written)):
            kind = registers.kind(slot)
            name = f"e{slot}" if slot in latch else f"h{slot}"
            entry.append(f"%p{slot} = getelementptr i8, ptr %s, i64 {slot}")
            entry.append(f"%{name} = load {kind}, ptr %p{slot}, align 1")
            if slot in latch:
                head.append(f"%h{slot} = phi {kind} [ %e{slot}, %entry ], [ {latch[slot]}, %{end} ]")
        lines = [
            "entry:", *entry, "br label %head", "head:", *head,
            f"%count = phi i64 [ 0, %entry ], [ %more, %{end} ]", *after, "%more = add i64 %count, 1",
            "%again = icmp ult i64 %more, %n", "br i1 %again, label %head, label %x0, !prof !0", *cold,
        ]  # fmt: skip
        joined = "\n  ".join(_needed(lines))
        function = f'define i64 @"{self.name}"(ptr noalias %s, ptr %r, i64 %n) #0 {{\n  {joined}\n}}\n'
        tail = 'attributes #0 = { nounwind "no-trapping-math"="true" "prefer-vector-width"="512" }\n'
        tail += '!0 = !{!"branch_weights", i32 1000, i32 1}\n!1 = !{!"branch_weights", i32 1, i32 1000}\n'
        return "\n".join([function, *sorted(body.intrinsics), tail])

    def _with_spills(self, lines: list[str], written: list[int]) -> list[str]:
        """The text in which calls find also the registers that only later instructions write."""
        body, registers, found = self.body, self.body.registers, []
        for line in lines:
            found.append(line)
            if line[0] == ";":
                registers.back(({}, set()))
                late = [slot for slot in written if slot not in self._spills[int(line[2:])]]
                found += body.apart(partial(registers.store_all, late))
        return found


def _needed(lines: list[str]) -> list[str]:
    """The lines without those whose value nobody uses."""
    used = {
        name for line in lines if " = phi " in line for name in _NAMES.findall(line)
    }  # of the turn before
    found = []
    for line in reversed(lines):
        name, _, rest = line.partition(" = ")
        if rest and name not in used and not rest.startswith("call i64 %"):
            continue
        used.update(_NAMES.findall(rest or line))
        found.append(line)
    return found[::-1]


_NAMES = re.compile(r"%[\w.]+")


class LoopArithmetic(Arithmetic):
    """Operations whose result is NaN for any NaN do not ask that their operands' NaN be canonical."""

    def __init__(self, body: LoopBody) -> None:
        self._body = body

    def _raw(self, x: Any) -> Any:
        return self._body.raw.get(x.name, x)

    def _canonical(self, x: Any) -> Any:
        found = canonical(x)
        self._body.raw[found.name] = x
        return found

    def add(self, a: Any, b: Any) -> Any:
        """See :class:`Arithmetic`."""
        return self._canonical(self._raw(a) + self._raw(b))

    def sub(self, a: Any, b: Any) -> Any:
        """See :class:`Arithmetic`."""
        return self._canonical(self._raw(a) - self._raw(b))

    def mul(self, a: Any, b: Any) -> Any:
        """See :class:`Arithmetic`."""
        return self._canonical(self._raw(a) * self._raw(b))

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """See :class:`Arithmetic`."""
        if a.type.bits == 16:
            return super().fma(a, b, c)
        return self._canonical(fma(self._raw(a), self._raw(b), self._raw(c)))
