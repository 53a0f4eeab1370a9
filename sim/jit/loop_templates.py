"""Templates for a loop's code, where the first tier's do not serve: memory, and what ends a block.

An access has one range check, against the memory that it met when the path was recorded.
"""

from __future__ import annotations

from collections.abc import Callable

from potluck.isa.arithmetic.element import Type, bitcast, cast, select
from potluck.isa.insn import Kind
from potluck.sim import state as st
from potluck.sim.jit import elements, masks
from potluck.sim.jit.handler import operand_type
from potluck.sim.jit.ir import Symbol
from potluck.sim.jit.loop import MOST_CHUNKS, SINK, Inline, NotTaken
from potluck.sim.jit.memory import base_address
from potluck.sim.jit.vmemory import bank_ways

MOST_ELEMENTS = 32  # of a strided access


def _host(h: Inline, address: Symbol, size: int | Symbol, store: bool) -> str:
    """Host pointer of an access that lies where it lay when the path was recorded."""
    far = h.member.code & st.IN_DRAM
    region = ("write" if store else "dram") if far else "l1"
    base, room, host = (h.fixed(f"{region}_{word}") for word in ("base", "bytes", "host"))
    near = address - h.body.symbol(base, "u64")
    if isinstance(size, int):
        h.body.intrinsics.add("declare i64 @llvm.usub.sat.i64(i64, i64)")
        limit = h.body.hoist(f"call i64 @llvm.usub.sat.i64(i64 {room}, i64 {size - 1})")
        h.guard(near < h.body.symbol(limit, "u64"))
    else:
        all_of_it = h.body.symbol(room, "u64")
        h.guard((near < all_of_it) & (size <= all_of_it - near))
    delta = h.body.hoist(f"sub i64 {host}, {base}")
    place = address + h.body.symbol(delta, "u64")
    return h.body.value(f"inttoptr i64 {place.name} to ptr")


def _aligned(h: Inline, address: Symbol, size: int) -> None:
    if size > 1:
        h.guard((address & (size - 1)).apply("equal", 0))


def _load(h: Inline) -> None:
    destination = h.insn.syntax[0]
    kind = operand_type(destination, h.context)
    address = base_address(h)
    if not h.variant.unaligned:
        _aligned(h, address, kind.bits // 8)
    host = _host(h, address, kind.bits // 8, False)
    h.write(destination, h.body.load(kind, host), kind)


def _store(h: Inline) -> None:
    source = h.insn.syntax[0]
    kind = Type("u", operand_type(source, h.context).bits)
    address = base_address(h)
    if not h.variant.unaligned:
        _aligned(h, address, kind.bits // 8)
    host = _host(h, address, kind.bits // 8, True)
    h.body.store(cast(h.body.load("u64", h.pointer(source.name)), kind), host)


def _vector_memory(h: Inline) -> None:
    insn, body = h.insn, h.body
    attributes = insn.attributes
    if h.variant.masked or attributes.get("segments", 1) > 1 or attributes.get("indexed"):
        raise NotTaken
    kind = Type("u", operand_type(insn.syntax[0], h.context).bits)
    size = kind.bits // 8
    whole = attributes.get("whole_registers")
    count = h.loop_.vlenb * int(whole) // size if whole else h.member.vl
    if attributes.get("mask"):
        count = (h.member.vl + 7) >> 3
    store = insn.kind is Kind.VSTORE
    register = h.pointer(insn.syntax[0].name)
    if not count:
        return
    address = base_address(h)
    if attributes.get("strided"):
        _strided(h, address, kind, count, store, register)
        return
    length = count * size
    if h.member.code & st.WAYS:
        _aligned(h, address, size)
        h.guard((address & 7).apply("different", 0))
    else:
        _aligned(h, address, 8)
    host = _host(h, address, length, store)
    step = min(64, h.registers.grain) // size
    if count > MOST_CHUNKS * step:
        raise NotTaken
    values = []
    for index in range(0, count, step):
        lanes = min(step, count - index)
        source = body.offset(register if store else host, index * size)
        values.append((index * size, body.load(kind, source, lanes)))
    for at, value in values:
        body.store(value, body.offset(host if store else register, at))


def _strided(h: Inline, first: Symbol, kind: Type, count: int, store: bool, register: str) -> None:
    """As :func:`potluck.sim.jit.vmemory._strided`; the class is compared with the recorded one."""
    body, size = h.body, kind.bits // 8
    if count > MOST_ELEMENTS:
        raise NotTaken
    stride = h.read(h.insn.operand("rs2"), Type("s", 64)) if count > 1 else body.constant(0, "s64")
    unsigned = bitcast(stride, "u64")
    _aligned(h, unsigned, size)
    h.guard(((stride > 1 << 32) | (stride < -(1 << 32))).apply("equal", 0))
    _aligned(h, first, size)
    ways = bank_ways(h, size, unsigned)
    ways = body.constant(ways, "u64") if isinstance(ways, int) else ways
    h.guard(ways.apply("equal", h.member.code & st.WAYS))
    span = stride * (count - 1)
    low = first + bitcast(select(span < 0, span, 0), "u64")
    extent = bitcast(select(span < 0, -span, span), "u64") + size
    _host(h, low, extent, store)
    region = ("write" if store else "dram") if h.member.code & st.IN_DRAM else "l1"
    delta = body.hoist(f"sub i64 {h.fixed(f'{region}_host')}, {h.fixed(f'{region}_base')}")
    at = first + body.symbol(delta, "u64")
    for index in range(count):
        host = body.value(f"inttoptr i64 {at.name} to ptr")
        place = body.offset(register, index * size)
        if store:
            body.store(body.load(kind, place), host)
        else:
            body.store(body.load(kind, host), place)
        at = at + unsigned


def _branch(h: Inline) -> None:
    values = {name: h.read(h.insn.operand(name), operand_type(h.insn.operand(name), h.context))
              for name in h.insn.parameters}  # fmt: skip
    taken = h.insn.meaning(**values)  # type: ignore[misc]
    h.guard(taken if h.member.way else ~taken)


def _jump(h: Inline) -> None:
    if h.variant.halts or "rs1" in [operand.name for operand in h.insn.syntax]:
        raise NotTaken
    if h.row("rd").literal != SINK:
        h.body.store(h.row("next", "u64"), h.pointer("rd"))


def _vset(h: Inline) -> None:
    """Leave unless vl comes out as recorded."""
    names = [operand.name for operand in h.insn.syntax]
    if "rs2" in names or h.context.vill:
        raise NotTaken
    vtype, mode = h.row("imm", "u64"), h.row("rs3", "u64").literal
    vlmax = h.vlmax()
    if mode == 1:
        vl = vlmax
    else:
        operand = h.insn.operand("rs1") if "rs1" in names else None
        avl = (
            bitcast(h.read(operand, operand_type(operand, h.context)), "u64")
            if operand
            else h.row("key", "u64")
        )
        wanted = h.word("vl") if mode == 2 else avl
        vl = select(wanted < vlmax, wanted, vlmax)
    h.guard(vl.apply("equal", h.member.way))
    known = h.body.constant(h.member.way, "u64")
    h.body.store(known, h.body.offset("%s", st.WORD["vl"]))
    h.set_word("vtype", vtype)
    h.body.store(known, h.pointer("rd"))


EMITTERS: dict[Kind, Callable[[Inline], None]] = {
    Kind.MAP: elements.emit_map,
    Kind.COMPARE: elements.emit_compare,
    Kind.MASK: masks.emit_mask,
    Kind.LOAD: _load,
    Kind.STORE: _store,
    Kind.VLOAD: _vector_memory,
    Kind.VSTORE: _vector_memory,
    Kind.BRANCH: _branch,
    Kind.JUMP: _jump,
    Kind.VSET: _vset,
}
