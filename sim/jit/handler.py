"""Templates that turn a row's meaning into a handler, by the row's kind.

A handler is ``i64 handler(state, row)``. It ends either by a tail call to the next row's handler or, for the
instruction that ends a block, by returning why (``potluck.sim.state``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from potluck.isa.arithmetic.element import Type, bitcast, cast, select, type_of
from potluck.isa.arithmetic.exact import Exact
from potluck.isa.arithmetic.plain import Arithmetic
from potluck.isa.context import Context
from potluck.isa.insn import Insn, Operand
from potluck.sim import state as st
from potluck.sim.jit.ir import Body, Symbol

CHUNK_BITS = 512  # SIMD width of the host that the generated code is shaped for
SLOTS = {"rd": 8, "rs1": 12, "rs2": 16, "rs3": 20, "rs4": 24}


@dataclass(frozen=True, slots=True)
class Variant:
    """What a handler is specialised for."""

    insn: Insn
    context: Context
    masked: bool = False
    flags: bool = False
    csr: int = -1
    rm: int = 7
    halts: bool = False  # a jump to itself: an event instead of a jump
    unaligned: bool = False  # a scalar access that may have any address
    ports: int = 1  # of a strided access: requests per cycle,
    banks: int = 1  # and the banks of 64 bits over which L1 interleaves

    @property
    def name(self) -> str:
        """A symbol name equal for equal code."""
        insn, c = self.insn, self.context
        parts = [insn.mnemonic]
        if insn.is_vector or insn.kind.name == "VSET":
            parts.append("vill" if c.vill else f"e{c.sew}")
        if self.partway:
            parts.append("partway")
        needs = insn.parameters
        grouped = insn.kind.name in ("PERMUTE", "SCAN", "VSET") or "segments" in insn.attributes
        if "vlmax" in needs or grouped:
            parts.append(f"m{c.lmul}".replace("/", "o"))
        if "mx_format" in needs:
            parts.append(self.mx_format)
        if "altfmt" in needs:
            parts.append(f"alt{c.altfmt}")
        if "frm" in needs or self.exact:
            parts.append(f"rm{self.rounding}")
        if self.masked:
            parts.append("masked")
        if self.flags:
            parts.append("flags")
        if self.halts:
            parts.append("halt")
        if self.unaligned:
            parts.append("any")
        if self.ports > 1:
            parts.append(f"p{self.ports}b{self.banks}")
        if self.csr >= 0:
            parts.append(f"csr{self.csr:x}")
        return "_".join(parts)

    @property
    def partway(self) -> bool:
        """Whether it begins at element vstart, and ends its block as vstart becomes 0."""
        return self.context.partway and self.insn.is_vector and self.insn.kind.name != "VSET"

    @property
    def exact(self) -> bool:
        """Whether floating point has to know rounding mode and flags, not just the host's nearest-even results."""
        if "fp" not in self.insn.parameters:
            return False
        return self.flags or (self.insn.attributes.get("rounds", False) and self.rounding != 0)

    @property
    def mx_format(self) -> str:
        """Element format of VMXDOTP: the instruction's own, or that of fcsr."""
        return str(self.insn.attributes.get("mx_format", self.context.mx_format))

    @property
    def rounding(self) -> int:
        """Effective rounding mode: the instruction's own, or the dynamic one."""
        return self.context.frm if self.rm == 7 else self.rm


class Handler:
    """One handler under construction: access to state, row and operands."""

    def __init__(self, variant: Variant) -> None:
        self.variant, self.insn, self.context = variant, variant.insn, variant.context
        self.body = Body()
        self._slots = assign_slots(variant.insn)
        self._steps: dict[str, int] = {}
        self._allocations: list[str] = []
        self.arithmetic = Exact(variant.rounding) if variant.exact else Arithmetic()

    # state and row access -----------------------------------------------------------------------------------------
    def row(self, field: str, kind: str = "u64") -> Symbol:
        """A field of the row."""
        offset = SLOTS.get(field) or int(st.ROW.fields[field][1])  # type: ignore[index]
        width = "u32" if field in SLOTS or field == "slot" else kind
        value = self.body.load(width, self.body.offset("%r", offset))
        return cast(value, kind)  # type: ignore[no-any-return]

    def word(self, name: str, kind: str = "u64") -> Symbol:
        """A word of the state."""
        return self.body.load(kind, self.body.offset("%s", st.WORD[name]))

    def set_word(self, name: str, value: Symbol) -> None:
        """Write a word of the state."""
        self.body.store(value, self.body.offset("%s", st.WORD[name]))

    def pointer(self, operand: str) -> str:
        """Address of a register operand in the state."""
        return self.body.offset("%s", self.row(self._slots[operand]))

    def read(self, operand: Operand, kind: Type) -> Symbol:
        """A scalar register or immediate operand as ``kind``."""
        if operand.bank == "x":
            return cast(self.body.load("u64", self.pointer(operand.name)), kind)  # type: ignore[no-any-return]
        if operand.bank == "f":
            return self.unbox(self.body.load("u64", self.pointer(operand.name)), kind)
        if operand.bank == "v":  # element 0
            return self.body.load(kind, self.pointer(operand.name))
        return cast(self.row("imm", "s64"), kind)  # type: ignore[no-any-return]

    def unbox(self, raw: Symbol, kind: Type) -> Symbol:
        """A float register as ``kind``: integer kinds take the raw low bits, narrow floats check the NaN box."""
        if kind.kind != "f":
            return cast(raw, kind)  # type: ignore[no-any-return]
        if kind.bits == 64:
            return bitcast(raw, kind)  # type: ignore[no-any-return]
        boxed = raw >> kind.bits
        nan = {32: 0x7FC00000, 16: 0x7E00}[kind.bits]
        good = boxed.apply("equal", (1 << 64 - kind.bits) - 1)
        return bitcast(select(good, cast(raw, f"u{kind.bits}"), nan), kind)  # type: ignore[no-any-return]

    def write(self, operand: Operand, value: Symbol, kind: Type) -> None:
        """A result to a scalar register: integers extended by their kind, floats NaN-boxed; or element 0."""
        if value.type.kind == "b":
            value = cast(value, kind)
        if operand.bank == "x":
            value = cast(cast(value, kind), "u64")
        elif operand.bank == "f":
            bits = value if value.type.kind != "f" else bitcast(value, f"u{value.type.bits}")
            value = cast(bits, "u64")
            if bits.type.bits < 64:
                value = value | (((1 << 64) - 1) ^ ((1 << bits.type.bits) - 1))
        self.body.store(value, self.pointer(operand.name))

    def static(self, name: str) -> Any:
        """A static fact of the decode context that a meaning asked for."""
        if name == "sew":
            return self.context.sew
        if name == "frm":
            return self.variant.rounding
        if name == "mx_format":
            return self.variant.mx_format
        if name == "altfmt":
            return self.context.altfmt
        if name == "lmul":
            return self.context.lmul
        if name == "fp":
            return self.arithmetic
        raise KeyError(
            f"{self.insn.mnemonic}: the meaning asks for {name!r}, which is no operand or static fact"
        )

    def vlmax(self) -> Symbol:
        """VLMAX from the state's VLENB and the context."""
        c = self.context
        bytes_per = c.lmul * 8 / c.sew  # elements per byte of VLEN
        vlenb = self.word("vlenb")
        return vlenb * bytes_per.numerator >> (bytes_per.denominator.bit_length() - 1)

    def start(self) -> Symbol:
        """The first element to work on."""
        return self.word("vstart") if self.variant.partway else self.body.constant(0, "u64")

    def evaluate(self, values: dict[str, Any]) -> tuple[Any, Any]:
        """What the meaning returns for the given arguments: its result, and its flags or second result, or None."""
        self.arithmetic.flags = None
        returned = self.insn.meaning(**values)  # type: ignore[misc]
        return returned if isinstance(returned, tuple) else (returned, self.arithmetic.flags)

    def corrected(self, value: Symbol, doubt: Symbol, exact: Callable[[], Symbol]) -> Symbol:
        """``value``, or what ``exact`` writes if some lane is in doubt."""
        kind, slot = value.type, self.local(value.llvm)
        self.body.store(value, slot)
        wanted = self.when(self.any_lane(doubt), rare=True)
        self.body.store(exact(), slot)
        self.end_when(wanted)
        return self.body.load(kind, slot, value.lanes)

    def raise_flags(self, flags: Symbol, active: Symbol | None = None) -> None:
        """Accrue fflags, or vxsat of an instruction that saturates; with lanes, only of active ones."""
        if self.insn.attributes.get("saturates"):
            self._saturated(flags if active is None else flags & active)
            return
        if not self.variant.flags:
            return
        if active is not None:
            flags = select(active, flags.splat(active.lanes), 0)
        if flags.lanes > 1:
            kind = f"v{flags.lanes}i8"
            flags = self.body.symbol(
                self.body.intrinsic(f"llvm.vector.reduce.or.{kind}", "i8", (flags.llvm, flags.name)), "u8"
            )
        self.set_word("fcsr", self.word("fcsr") | cast(flags, "u64"))

    def _saturated(self, clipped: Symbol) -> None:
        self.set_word("vxsat", self.word("vxsat") | cast(self.any_lane(clipped), "u64"))

    def any_lane(self, condition: Symbol) -> Symbol:
        """Whether a condition holds in some lane."""
        lanes = condition.lanes
        if lanes == 1:
            return condition
        bits = self.body.value(f"bitcast {condition.llvm} {condition.name} to i{lanes}")
        return self.body.symbol(self.body.value(f"icmp ne i{lanes} {bits}, 0"), "b1")

    # control ------------------------------------------------------------------------------------------------------
    def loop(self, start: Symbol, stop: Symbol, step: int) -> tuple[str, Symbol]:
        """Open a counted loop; returns its tag and index. Close with :meth:`end_loop`."""
        tag = self.body.name("L")
        body = self.body
        body.line(f"br label %{tag}.pre")
        body.label(f"{tag}.pre")
        body.line(f"br label %{tag}.head")
        body.label(f"{tag}.head")
        index = f"%{tag}.i"
        body.line(f"{index} = phi i64 [ {start.name}, %{tag}.pre ], [ %{tag}.next, %{tag}.latch ]")
        go = body.value(f"icmp ult i64 {index}, {stop.name}")
        body.line(f"br i1 {go}, label %{tag}.body, label %{tag}.exit")
        body.label(f"{tag}.body")
        self._steps[tag] = step
        return tag, body.symbol(index, "u64")

    def end_loop(self, tag: str) -> None:
        """Close a loop."""
        body = self.body
        body.line(f"br label %{tag}.latch")
        body.label(f"{tag}.latch")
        body.line(f"%{tag}.next = add i64 %{tag}.i, {self._steps[tag]}")
        body.line(f"br label %{tag}.head")
        body.label(f"{tag}.exit")

    def span(self, start: Symbol, stop: Symbol, step: int) -> Iterator[Symbol]:
        """Write the body of a ``for`` over the indices of a counted loop."""
        tag, index = self.loop(start, stop, step)
        yield index
        self.end_loop(tag)

    def local(self, kind: str) -> str:
        """Stack space for a value carried around a loop (LLVM turns it into a register)."""
        name = self.body.name("%local")
        self._allocations.append(f"{name} = alloca {kind}, align 8")
        return name

    def when(self, condition: Symbol, rare: bool = False) -> str:
        """Open a conditional region, which is ``rare`` or not; close with :meth:`end_when`."""
        tag = self.body.name("W")
        weights = ", !prof !1" if rare else ""
        self.body.line(f"br i1 {condition.name}, label %{tag}.then, label %{tag}.end{weights}")
        self.body.label(f"{tag}.then")
        return tag

    def end_when(self, tag: str) -> None:
        """Close a conditional region."""
        self.body.line(f"br label %{tag}.end")
        self.body.label(f"{tag}.end")

    def leave(self, code: int | str) -> None:
        """Return to the driver."""
        self.body.line(f"ret i64 {code}")

    def next(self) -> None:
        """Continue with the next row."""
        if self.variant.partway:
            self.set_word("vstart", self.body.constant(0, "u64"))
            self.set_word("vtype", self.word("vtype") & ~st.PARTWAY)
            self.set_word("next_pc", self.row("next", "u64"))
            self.leave(st.DYNAMIC)
            return
        row = self.body.offset("%r", st.ROW.itemsize)
        target = self.body.value(f"load ptr, ptr {row}, align 8")
        result = self.body.value(f"musttail call i64 {target}(ptr %s, ptr {row})")
        self.body.line(f"ret i64 {result}")

    def event(self, code: int, address: Symbol | None = None) -> None:
        """Return to the driver with the row (and an address) recorded."""
        raw = self.body.value("ptrtoint ptr %r to i64")
        self.set_word("event_row", self.body.symbol(raw, "u64"))
        if address is not None:
            self.set_word("event_address", address)
        self.leave(code)

    def text(self) -> str:
        """The function in LLVM assembly."""
        lines = "\n  ".join(self._allocations + self.body.lines)
        return f'define i64 @"{self.variant.name}"(ptr noundef %s, ptr noundef %r) #0 {{\n  {lines}\n}}\n'


def assign_slots(insn: Insn) -> dict[str, str]:
    """Which row column holds which register operand: the destination in ``rd``, sources in ``rs1``..``rs4``."""
    slots: dict[str, str] = {}
    free = ["rs1", "rs2", "rs3", "rs4"]
    for operand in insn.syntax:
        if operand.bank in ("x", "f", "v"):
            slots[operand.name] = "rd" if operand.name in ("rd", "fd", "vd") else free.pop(0)
    return slots


def operand_type(operand: Operand, context: Context) -> Type:
    """An operand's concrete type under the context."""
    return operand.type.at(context.sew)


__all__ = ["CHUNK_BITS", "Handler", "Variant", "assign_slots", "operand_type", "type_of"]
