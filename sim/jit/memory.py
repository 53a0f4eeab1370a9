"""Templates for loads and stores: one range check per instruction, access class recorded for the timer."""

from __future__ import annotations

from collections.abc import Callable

from potluck.isa.element import Type, bitcast, cast, select
from potluck.sim import state as st
from potluck.sim.jit.elements import active_bit
from potluck.sim.jit.handler import Handler, operand_type
from potluck.sim.jit.ir import Symbol

UNIT, STRIDED, DRAM = 0, 1, 8  # access classes; 1..4 = one element per port with 1..4-way bank conflicts


def _record(h: Handler, code: Symbol) -> None:
    """Store the access class and fold it into the timing memo's key (class 0 leaves the key alone)."""
    body = h.body
    slot = h.row("slot", "u64")
    body.store(cast(code, "u8"), body.offset(body.offset("%s", st.CODES), slot))
    key = h.word("code_key") + cast(code, "u64") * h.row("key", "u64")
    h.set_word("code_key", key)


def _translate(h: Handler, address: Symbol, size: Symbol, store: bool, align: int) -> tuple[str, Symbol]:
    """Host pointer of ``size`` bytes at ``address`` and the DRAM bit; leaves with a fault if outside memory."""
    body = h.body
    if align > 1:
        bad = h.when((address & (align - 1)).apply("different", 0))
        h.event(st.MISALIGNED, address)
        _unreachable_end(h, bad)
    tag = body.name("A")
    near = address - h.word("l1_base")
    room = h.word("l1_bytes")
    inside = (near < room) & (size <= room - near)
    near_host = near + h.word("l1_host")
    body.line(f"br i1 {inside.name}, label %{tag}.ok, label %{tag}.far, !prof !0")
    body.label(f"{tag}.far")
    region = "write" if store else "dram"
    far = address - h.word(f"{region}_base")
    room = h.word(f"{region}_bytes")
    inside = (far < room) & (size <= room - far)
    far_host = far + h.word(f"{region}_host")
    body.line(f"br i1 {inside.name}, label %{tag}.dram, label %{tag}.fault")
    body.label(f"{tag}.fault")
    h.event(st.FAULT, address)
    body.label(f"{tag}.dram")
    body.line(f"br label %{tag}.ok2")
    body.label(f"{tag}.ok")
    body.line(f"br label %{tag}.ok2")
    body.label(f"{tag}.ok2")
    host = body.value(f"phi i64 [ {near_host.name}, %{tag}.ok ], [ {far_host.name}, %{tag}.dram ]")
    code = body.value(f"phi i64 [ 0, %{tag}.ok ], [ {DRAM}, %{tag}.dram ]")
    return body.value(f"inttoptr i64 {host} to ptr"), body.symbol(code, "u64")


def _unreachable_end(h: Handler, tag: str) -> None:
    """Close a conditional region that has already left."""
    h.body.label(f"{tag}.end")


def _address(h: Handler) -> Symbol:
    base = next(operand for operand in h.insn.syntax if operand.memory)
    address = h.read(base, Type("u", 64))
    if any(operand.name == "imm" for operand in h.insn.syntax):
        address = address + h.row("imm", "u64")
    return address


def emit_load(h: Handler) -> None:
    """Scalar load; an integer is extended by its kind, a float boxed."""
    destination = h.insn.syntax[0]
    kind = operand_type(destination, h.context)
    size = kind.bits // 8
    host, code = _translate(h, _address(h), h.body.constant(size, "u64"), False, size)
    _record(h, code)
    h.write(destination, h.body.load(kind, host), kind)
    h.next()


def emit_store(h: Handler) -> None:
    """Scalar store of the low bits."""
    source = h.insn.syntax[0]
    kind = Type("u", operand_type(source, h.context).bits)
    raw = h.body.load("u64", h.pointer(source.name))
    size = kind.bits // 8
    host, code = _translate(h, _address(h), h.body.constant(size, "u64"), True, size)
    _record(h, code)
    h.body.store(cast(raw, kind), host)
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


def emit_vector_memory(h: Handler) -> None:
    """Unit-stride, strided (rs2) and indexed (vs2) vector loads and stores."""
    insn = h.insn
    store = insn.kind.name == "VSTORE"
    data = insn.syntax[0]
    kind = Type("u", operand_type(data, h.context).bits)
    names = [operand.name for operand in insn.syntax]
    whole = insn.attributes.get("whole_registers")
    if whole:
        count = h.word("vlenb") * int(whole) >> (kind.bits // 8).bit_length() - 1
    elif insn.attributes.get("mask"):
        count = (h.word("vl") + 7) >> 3
    else:
        count = h.word("vl")
    some = h.when(count > 0)
    if "vs2" in names:
        _indexed(h, kind, count, store)
    elif "rs2" in names:
        _strided(h, kind, count, store)
    else:
        _unit(h, kind, count, store)
    h.end_when(some)
    none = h.when(count.apply("equal", 0))
    _record(h, h.body.constant(UNIT, "u64"))
    h.end_when(none)
    h.next()


def _unit(h: Handler, kind: Type, count: Symbol, store: bool) -> None:
    size = kind.bits // 8
    address = _address(h)
    host, dram = _translate(h, address, count * size, store, size)
    _record(h, dram | cast((address & 7).apply("different", 0), "u64"))
    register = h.pointer(h.insn.syntax[0].name)
    if not h.variant.masked:
        _copy(h, host, register, count * size) if store else _copy(h, register, host, count * size)
        return
    _each(h, kind, count, lambda index: h.body.offset(host, index * size), store)


def _each(h: Handler, kind: Type, count: Symbol, where: Callable[[Symbol], str], store: bool) -> None:
    """Element by element, honouring the mask."""
    body = h.body
    size = kind.bits // 8
    register = h.pointer(h.insn.syntax[0].name)
    tag, index = h.loop(body.constant(0, "u64"), count, 1)
    guard = h.when(active_bit(h, index)) if h.variant.masked else None
    element = body.offset(register, index * size)
    memory = where(index)
    body.store(body.load(kind, element), memory) if store else body.store(body.load(kind, memory), element)
    if guard:
        h.end_when(guard)
    h.end_loop(tag)


def _strided(h: Handler, kind: Type, count: Symbol, store: bool) -> None:
    """The first and the last element bound the range: both must lie in one memory.

    A stride beyond 2^32 would wrap that reasoning and cannot stay inside a memory with two elements; with a single
    element the stride does not matter and is taken as zero.
    """
    body = h.body
    size = kind.bits // 8
    stride = select(count > 1, h.read(h.insn.operand("rs2"), Type("s", 64)), 0)
    first = _address(h)
    huge = (stride > 1 << 32) | (stride < -(1 << 32))
    bad = h.when(huge)
    h.event(st.FAULT, first + bitcast(stride, "u64"))
    _unreachable_end(h, bad)
    span = stride * bitcast(count - 1, "s64")
    low = first + bitcast(select(span < 0, span, 0), "u64")
    extent = bitcast(select(span < 0, -span, span), "u64") + size
    if size > 1:
        odd = h.when((bitcast(stride, "u64") & (size - 1)).apply("different", 0))
        h.event(st.MISALIGNED, first + bitcast(stride, "u64"))
        _unreachable_end(h, odd)
    host, dram = _translate(h, low, extent, store, size)
    start = body.offset(host, first - low)
    # Four ports ask for four consecutive elements in a cycle; banks interleave by 8 bytes over 128.
    step = (bitcast(stride, "u64") >> 3) & 15
    aligned = (stride & 7).apply("equal", 0)
    ways = select(aligned & step.apply("equal", 0), body.constant(4, "u64"), 1)
    ways = select(aligned & step.apply("equal", 8), body.constant(2, "u64"), ways)
    _record(h, dram | ways)
    unsigned = bitcast(stride, "u64")
    _each(h, kind, count, lambda index: body.offset(start, index * unsigned), store)


def _indexed(h: Handler, kind: Type, count: Symbol, store: bool) -> None:
    """Each element checked on its own; elements before a fault have been transferred."""
    body = h.body
    size = kind.bits // 8
    base = _address(h)
    index_kind = operand_type(h.insn.operand("vs2"), h.context)
    offsets = h.pointer("vs2")
    register = h.pointer(h.insn.syntax[0].name)
    worst = h.local("i64")
    body.store(body.constant(STRIDED, "u64"), worst)
    tag, index = h.loop(body.constant(0, "u64"), count, 1)
    guard = h.when(active_bit(h, index)) if h.variant.masked else None
    element = body.load(Type("u", index_kind.bits), body.offset(offsets, index * (index_kind.bits // 8)))
    host, dram = _translate(h, base + cast(element, "u64"), body.constant(size, "u64"), store, size)
    body.store(body.load("u64", worst) | dram, worst)
    place = body.offset(register, index * size)
    body.store(body.load(kind, place), host) if store else body.store(body.load(kind, host), place)
    if guard:
        h.end_when(guard)
    h.end_loop(tag)
    _record(h, body.load("u64", worst))
