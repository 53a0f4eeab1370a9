"""Templates for vector loads and stores.

The usual case checks the whole range of an access once. If that fails (an end of memory, a misaligned element, a
stride that wraps), the handler asks to be executed again element by element (``st.PIECEWISE``): that variant, which
also resumes at vstart, finds the element that faults, or that none does because the others are masked off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from potluck.isa.arithmetic.element import Type, bitcast, cast, select
from potluck.isa.insn import Kind
from potluck.sim import state as st
from potluck.sim.jit.elements import active_bit
from potluck.sim.jit.handler import Handler, operand_type
from potluck.sim.jit.ir import Symbol
from potluck.sim.jit.memory import STRIDED, UNIT, base_address, record, translate, unreachable_end

Where = Callable[[Symbol, int], str]  # host address of (element, byte offset of the field)


@dataclass(slots=True)
class _Access:
    """What all accesses of one instruction have in common.

    Attributes:
        h: the handler.
        size: bytes of an element.
        fields: elements of a structure, in as many register groups.
        count: elements (structures).
        store: whether memory is written.
    """

    h: Handler
    kind: Type
    size: int
    fields: int
    count: Symbol
    store: bool

    def register(self, index: Symbol, field: int) -> str:
        """Address of an element in the register file."""
        h = self.h
        place = h.body.offset(h.pointer(h.insn.syntax[0].name), index * self.size)
        if not field:
            return place
        emul = h.context.lmul * self.kind.bits / h.context.sew
        return h.body.offset(place, h.word("vlenb") * (field * max(1, int(emul))))

    def move(self, index: Symbol, field: int, memory: str) -> None:
        """One element from or to memory."""
        body, place = self.h.body, self.register(index, field)
        source, target = (place, memory) if self.store else (memory, place)
        body.store(body.load(self.kind, source), target)

    def each(self, where: Where) -> None:
        """Every active element, its fields in order."""
        h = self.h
        tag, index = h.loop(h.body.constant(0, "u64"), self.count, 1)
        guard = h.when(active_bit(h, index)) if h.variant.masked else None
        for field in range(self.fields):
            self.move(index, field, where(index, field * self.size))
        if guard:
            h.end_when(guard)
        h.end_loop(tag)

    def again(self, code: int, address: Symbol) -> None:
        """Leave to come back element by element."""
        self.h.event(st.PIECEWISE)


def emit_vector_memory(h: Handler) -> None:
    """Unit-stride, strided (rs2) and indexed (vs2) loads and stores, of single elements or structures."""
    insn = h.insn
    kind = Type("u", operand_type(insn.syntax[0], h.context).bits)
    whole = insn.attributes.get("whole_registers")
    if whole:
        count = h.word("vlenb") * int(whole) >> (kind.bits // 8).bit_length() - 1
    elif insn.attributes.get("mask"):
        count = (h.word("vl") + 7) >> 3
    else:
        count = h.word("vl")
    access = _Access(
        h, kind, kind.bits // 8, insn.attributes.get("segments", 1), count, insn.kind is Kind.VSTORE
    )
    some = h.when(count > h.start())
    if h.variant.partway:
        _piecewise(access)
    elif insn.attributes.get("indexed"):
        _indexed(access)
    elif insn.attributes.get("strided"):
        _strided(access)
    else:
        _unit(access)
    h.end_when(some)
    none = h.when(count <= h.start())
    record(h, h.body.constant(UNIT, "u64"))
    h.end_when(none)
    h.next()


def _copy(h: Handler, target: str, source: str, count: Symbol) -> None:
    """Copy bytes: whole host vectors inline, the remainder by memcpy."""
    body = h.body
    whole = count & ((1 << 64) - 64)
    tag, index = h.loop(body.constant(0, "u64"), whole, 64)
    body.store(body.load("u8", body.offset(source, index), 64), body.offset(target, index))
    h.end_loop(tag)
    rest = count & 63
    partial = h.when(rest > 0)
    body.intrinsics.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    to, start = body.offset(target, whole), body.offset(source, whole)
    body.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {start}, i64 {rest.name}, i1 false)")
    h.end_when(partial)


def _unit(access: _Access) -> None:
    h, size, fields = access.h, access.size, access.fields
    length = access.count * (size * fields)
    address = base_address(h)
    host, dram = translate(h, address, length, access.store, size, access.again)
    if fields > 1:
        record(h, dram | STRIDED)
        access.each(lambda index, at: h.body.offset(host, index * (size * fields) + at))
        return
    record(h, dram | cast((address & 7).apply("different", 0), "u64"))
    if h.variant.masked:
        access.each(lambda index, at: h.body.offset(host, index * size))
        return
    register = h.pointer(h.insn.syntax[0].name)
    _copy(h, host, register, length) if access.store else _copy(h, register, host, length)


def _strided(access: _Access) -> None:
    """The first and the last element bound the range: both must lie in one memory.

    A stride beyond 2^32 would wrap that reasoning; with a single element it does not matter and is taken as zero.
    """
    h, size, count = access.h, access.size, access.count
    body = h.body
    stride = select(count > 1, h.read(h.insn.operand("rs2"), Type("s", 64)), 0)
    first = base_address(h)
    odd = (stride > 1 << 32) | (stride < -(1 << 32)) | (stride & size - 1).apply("different", 0)
    bad = h.when(odd)
    access.again(st.FAULT, first)
    unreachable_end(h, bad)
    span = stride * bitcast(count - 1, "s64")
    low = first + bitcast(select(span < 0, span, 0), "u64")
    extent = bitcast(select(span < 0, -span, span), "u64") + size * access.fields
    host, dram = translate(h, low, extent, access.store, size, access.again)
    start = body.offset(host, first - low)
    unsigned = bitcast(stride, "u64")
    record(h, dram | (bank_ways(h, size, unsigned) if access.fields == 1 else STRIDED))
    access.each(lambda index, at: body.offset(start, index * unsigned + at))


def bank_ways(h: Handler, size: int, stride: Symbol) -> Symbol | int:
    """Requests of one cycle at the same bank, for a stride that is a multiple of the element size.

    A port fills its own 64 bits of a register file word, one element per cycle (RTL, spatz_vlsu: the offset of port p
    is p * 8 elements' bytes times the stride in elements). So the requests of a cycle lie 8 / size elements apart,
    which is stride / size words; banks interleave by words. Their addresses form a subgroup of banks / gcd banks.
    """
    ports, banks = h.variant.ports, h.variant.banks
    if ports == 1:
        return STRIDED
    step = (stride >> size.bit_length() - 1) | banks  # the lowest bit set is gcd(step, banks)
    meet = (step & (~step + 1)) * ports >> banks.bit_length() - 1
    return select(meet > 1, meet, 1)  # type: ignore[no-any-return]


def _offset(access: _Access, index: Symbol) -> Symbol:
    """Byte offset of an element of an indexed access."""
    h = access.h
    kind = operand_type(h.insn.operand("vs2"), h.context)
    place = h.body.offset(h.pointer("vs2"), index * (kind.bits // 8))
    return cast(h.body.load(Type("u", kind.bits), place), "u64")  # type: ignore[no-any-return]


def _element_by_element(access: _Access, start: Symbol, addresses: Callable[[Symbol], Symbol],
                        leave: Callable[[int, Symbol, Symbol, Callable[[], None]], None]) -> None:  # fmt: skip
    """Each element checked on its own; those before a fault have been transferred.

    ``leave`` gets the reason, the address, the element and what records the access class.
    """
    h, size, body = access.h, access.size, access.h.body
    worst = h.local("i64")
    body.store(body.constant(STRIDED, "u64"), worst)

    def finish() -> None:
        record(h, body.load("u64", worst))

    tag, index = h.loop(start, access.count, 1)
    guard = h.when(active_bit(h, index)) if h.variant.masked else None
    address = addresses(index)
    for field in range(access.fields):
        host, dram = translate(
            h, address + field * size, body.constant(size, "u64"), access.store, size,
            lambda code, where: leave(code, where, index, finish),
        )  # fmt: skip
        body.store(body.load("u64", worst) | dram, worst)
        access.move(index, field, host)
    if guard:
        h.end_when(guard)
    h.end_loop(tag)
    finish()


def _indexed(access: _Access) -> None:
    """An element that faults is tried again as the first one: those before it may have changed their own index."""
    h = access.h
    base = base_address(h)

    def leave(code: int, address: Symbol, index: Symbol, finish: Callable[[], None]) -> None:
        h.set_word("vstart", index)
        h.event(st.PIECEWISE)

    _element_by_element(access, h.start(), lambda index: base + _offset(access, index), leave)


def _piecewise(access: _Access) -> None:
    """From vstart on; a fault leaves vstart at its element, or shortens vl if the load is fault-only-first."""
    h = access.h
    base = base_address(h)
    attributes = h.insn.attributes

    def address(index: Symbol) -> Symbol:
        if attributes.get("indexed"):
            return base + _offset(access, index)
        if attributes.get("strided"):
            return base + index * h.read(h.insn.operand("rs2"), Type("u", 64))
        return base + index * (access.size * access.fields)

    def leave(code: int, where: Symbol, index: Symbol, finish: Callable[[], None]) -> None:
        if attributes.get("first_fault"):
            later = h.when(index > 0)
            h.set_word("vl", index)
            finish()
            h.next()
            unreachable_end(h, later)
        h.set_word("vstart", index)
        h.event(code, where)

    _element_by_element(access, h.start(), address, leave)
