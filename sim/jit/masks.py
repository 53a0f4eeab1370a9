"""Templates for mask registers: logic, counts and searches on 64-bit words, and scans along a mask."""

from __future__ import annotations

from typing import Any

from potluck.isa.arithmetic.element import cast, select
from potluck.sim import state as st
from potluck.sim.jit.elements import active_bit
from potluck.sim.jit.handler import Handler, operand_type
from potluck.sim.jit.ir import Symbol

ALL = (1 << 64) - 1


def emit_mask(h: Handler) -> None:
    """Logic on vl bits; a count or a search with a scalar result; or a search with a mask as its result."""
    vl = h.word("vl")
    if h.insn.syntax[0].bank == "x":
        _mask_to_scalar(h, vl)
    elif h.insn.attributes.get("first"):
        _first(h, vl)
    else:
        _logic(h, vl)
    h.next()


def _below(h: Handler, count: Symbol) -> Symbol:
    """A word with the bits below ``count`` set; all of them from 64 on."""
    return select(count < 64, (h.body.constant(1, "u64") << (count & 63)) - 1, ALL)  # type: ignore[no-any-return]


def _logic(h: Handler, vl: Symbol) -> None:
    body, start = h.body, h.start()
    for index in h.span(start & ~63, vl, 64):
        values = {
            name: body.load("u64", body.offset(h.pointer(name), index >> 3)) for name in h.insn.parameters
        }
        keep = _below(h, vl - index)
        if h.variant.partway:
            keep = keep & ~_below(h, select(start > index, start - index, 0))
        where = body.offset(h.pointer("vd"), index >> 3)
        value = h.insn.meaning(**values)  # type: ignore[misc]
        body.store((value & keep) | (body.load("u64", where) & ~keep), where)


def _active_word(h: Handler, index: Symbol) -> Symbol | None:
    """64 bits of v0 if the instruction is masked."""
    if not h.variant.masked:
        return None
    return h.body.load("u64", h.body.offset(h.body.offset("%s", st.V), index >> 3))


def _mask_to_scalar(h: Handler, vl: Symbol) -> None:
    """vcpop.m and vfirst.m: the meaning folds (acc, word, index of the word's first element)."""
    body, insn = h.body, h.insn
    slot = h.local("i64")
    start = -1 if insn.attributes.get("search") else 0
    body.store(body.constant(start, "u64"), slot)
    tag, index = h.loop(body.constant(0, "u64"), vl, 64)
    word = body.load("u64", body.offset(h.pointer("vs2"), index >> 3)) & _below(h, vl - index)
    active = _active_word(h, index)
    if active is not None:
        word = word & active
    value = insn.meaning(body.load("u64", slot), word, index)  # type: ignore[misc]
    body.store(value, slot)
    h.end_loop(tag)
    body.store(body.load("u64", slot), h.pointer(insn.syntax[0].name))


def _first(h: Handler, vl: Symbol) -> None:
    """vmsbf.m, vmsif.m, vmsof.m: the meaning of the word with the first set bit; 0 after it."""
    body = h.body
    going = h.local("i64")  # all ones until the bit is found
    body.store(body.constant(ALL, "u64"), going)
    tag, index = h.loop(body.constant(0, "u64"), vl, 64)
    keep = _below(h, vl - index)
    active = _active_word(h, index)
    if active is not None:
        keep = keep & active
    word = body.load("u64", body.offset(h.pointer("vs2"), index >> 3)) & keep
    before = body.load("u64", going)
    value = h.insn.meaning(word & -word) & before  # type: ignore[misc]
    where = body.offset(h.pointer("vd"), index >> 3)
    body.store((value & keep) | (body.load("u64", where) & ~keep), where)
    body.store(select(word.apply("equal", 0), before, 0), going)
    h.end_loop(tag)


def emit_scan(h: Handler) -> None:
    """viota.m and vcompress.vm; see ``potluck.isa.rows.vscan``."""
    body, insn = h.body, h.insn
    destination = insn.syntax[0]
    kind = operand_type(destination, h.context)
    size = kind.bits // 8
    counter = h.local("i64")
    body.store(body.constant(0, "u64"), counter)
    tag, index = h.loop(body.constant(0, "u64"), h.word("vl"), 1)
    guard = h.when(active_bit(h, index)) if h.variant.masked else None
    bit = active_bit(h, index, h.pointer(insn.attributes["selector"]))
    count = body.load("u64", counter)
    values: dict[str, Any] = {"i": index, "count": count, "bit": bit}
    if "vs2" in insn.parameters:
        values["vs2"] = body.load(kind, body.offset(h.pointer("vs2"), index * size))
    place, value, condition = insn.meaning(**{name: values[name] for name in insn.parameters})  # type: ignore[misc]
    write = h.when(condition) if condition is not None else None
    body.store(cast(value, kind), body.offset(h.pointer(destination.name), place * size))
    if write:
        h.end_when(write)
    body.store(count + cast(bit, "u64"), counter)
    if guard:
        h.end_when(guard)
    h.end_loop(tag)
    h.next()
