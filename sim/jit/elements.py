"""Templates for instructions that compute: element-wise maps, compares, reductions, mask operations, permutations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from potluck.isa.arithmetic.element import cast, select
from potluck.isa.insn import Operand
from potluck.sim import state as st
from potluck.sim.jit.flags import compute
from potluck.sim.jit.handler import CHUNK_BITS, Handler, operand_type
from potluck.sim.jit.ir import Symbol, llvm_type


def emit_map(h: Handler) -> None:
    """Scalar or element-wise computation."""
    destination = h.insn.syntax[0]
    if destination.bank == "v" and not destination.element0:
        _over_elements(h, destination, _store_map)
    elif destination.bank == "v":  # element 0, only if vl > 0
        tag = h.when(h.word("vl") > h.start())
        _scalar(h, destination)
        h.end_when(tag)
    else:
        _scalar(h, destination)
    h.next()


def emit_compare(h: Handler) -> None:
    """Element-wise condition into a mask register."""
    _over_elements(h, h.insn.syntax[0], _store_mask)
    h.next()


def _scalar(h: Handler, destination: Operand) -> None:
    values = {name: _scalar_argument(h, name) for name in h.insn.parameters}
    kind = operand_type(destination, h.context)
    value = compute(h, values)
    if not isinstance(value, Symbol):
        value = h.body.constant(value, kind)
    h.write(destination, value, kind)


def _scalar_argument(h: Handler, name: str) -> Any:
    for operand in h.insn.syntax:
        if operand.name == name:
            return h.read(operand, operand_type(operand, h.context))
    if name == "pc":
        return h.row("pc", "u64")
    if name == "vlmax":
        return h.vlmax()
    if name in ("vl", "vxrm"):
        return h.word(name)
    return h.static(name)


def mask_chunk(h: Handler, index: Symbol, lanes: int) -> Symbol:
    """Bits of v0 for the elements from ``index`` on."""
    pointer = h.body.offset(h.body.offset("%s", st.V), index >> 3)
    bits = h.body.load(f"u{lanes}", pointer)
    return h.body.symbol(h.body.value(f"bitcast i{lanes} {bits.name} to <{lanes} x i1>"), "b1", lanes)


def tail_chunk(h: Handler, rest: Symbol, lanes: int) -> Symbol:
    """Lanes below ``rest`` (at most ``lanes``)."""
    iota = ", ".join(f"i8 {lane}" for lane in range(lanes))
    limit = cast(rest, "u8").splat(lanes)
    return h.body.symbol(h.body.value(f"icmp ult <{lanes} x i8> <{iota}>, {limit.name}"), "b1", lanes)


def chunk_lanes(h: Handler) -> int:
    """Elements per chunk: the widest vector operand fills the SIMD width."""
    widest = max(operand_type(o, h.context).bits for o in h.insn.syntax if o.bank == "v" and o.name != "vm")
    return CHUNK_BITS // max(widest, h.context.sew if h.insn.kind.name == "COMPARE" else 8)


Store = Callable[[Handler, Operand, str, Symbol, Symbol, "Symbol | None"], None]


def _over_elements(h: Handler, destination: Operand, store: Store) -> None:
    """Whole chunks first, then one partial chunk that keeps the tail undisturbed.

    From vstart on, every chunk is partial: what lies before it is kept as well.
    """
    lanes = chunk_lanes(h)
    insn, body = h.insn, h.body
    whole_registers = insn.attributes.get("whole_registers")
    vl = h.word("vlenb") * int(whole_registers) if whole_registers else h.word("vl")
    scalars: dict[str, Any] = {}
    pointers: dict[str, str] = {}
    for operand in insn.syntax:
        if operand.bank == "v" and not operand.element0:
            pointers[operand.name] = h.pointer(operand.name)
        elif operand.name in insn.parameters:
            scalars[operand.name] = h.read(operand, operand_type(operand, h.context))
    for name in insn.parameters:
        if name not in scalars and name not in pointers and name not in ("i", "v0"):
            scalars[name] = _scalar_argument(h, name)
    kind = operand_type(destination, h.context)

    def chunk(index: Symbol, active: Symbol | None, lanes: int = lanes) -> None:
        values = dict(scalars)
        for operand in insn.syntax:
            if operand.name in pointers and operand.name in insn.parameters:
                kind_of = operand_type(operand, h.context)
                where = body.offset(pointers[operand.name], index * (kind_of.bits // 8))
                values[operand.name] = body.load(kind_of, where, lanes)
        if "i" in insn.parameters:
            values["i"] = _indices(h, index, lanes)
        if "v0" in insn.parameters:
            values["v0"] = mask_chunk(h, index, lanes)
        if h.variant.masked:
            mask = mask_chunk(h, index, lanes)
            active = mask if active is None else active & mask
        value = compute(h, values, active)
        if not isinstance(value, Symbol):
            value = body.constant(value, kind)
        store(h, destination, pointers[destination.name], index, value.splat(lanes), active)

    if h.variant.partway:
        start = h.start()
        if whole_registers:  # elements are of SEW there, not bytes (16.6)
            start = start * (h.context.sew // 8)
        some = h.when(start < vl)
        tag, index = h.loop(start & ~(lanes - 1), vl, lanes)
        rest, skipped = vl - index, start - index
        head = ~tail_chunk(h, select(start > index, skipped, 0), lanes)
        chunk(index, head & tail_chunk(h, select(rest < lanes, rest, lanes), lanes))
        h.end_loop(tag)
        h.end_when(some)
        return
    whole = vl & ~(lanes - 1) & ((1 << 64) - 1)
    for index in h.span(body.constant(0, "u64"), whole, lanes):
        chunk(index, None)
    rest = vl & (lanes - 1)
    count = rest.literal  # known in a loop's code
    bits = h.variant.masked or store is _store_mask or {"i", "v0"} & set(insn.parameters)
    if count and count & (count - 1) == 0 and (count >= 8 or not bits):
        chunk(whole, None, count)
        return
    partial = h.when(rest > 0)
    chunk(whole, tail_chunk(h, rest, lanes))
    h.end_when(partial)


def _indices(h: Handler, index: Symbol, lanes: int) -> Symbol:
    kind = f"u{h.context.sew}"
    iota = ", ".join(f"i{h.context.sew} {lane}" for lane in range(lanes))
    base = cast(index, kind).splat(lanes)
    name = h.body.value(f"add {base.llvm} <{iota}>, {base.name}")
    return h.body.symbol(name, kind, lanes)


def _store_map(
    h: Handler, destination: Operand, base: str, index: Symbol, value: Symbol, active: Symbol | None
) -> None:
    kind = operand_type(destination, h.context)
    if value.type.kind == "b":
        value = cast(value, kind)
    where = h.body.offset(base, index * (kind.bits // 8))
    if active is not None:
        value = select(active, value, h.body.load(value.type, where, value.lanes))
    h.body.store(value, where)


def _store_mask(
    h: Handler, destination: Operand, base: str, index: Symbol, value: Symbol, active: Symbol | None
) -> None:
    lanes, body = value.lanes, h.body
    where = body.offset(base, index >> 3)

    def as_bits(bits: Symbol) -> Symbol:
        return body.symbol(body.value(f"bitcast <{lanes} x i1> {bits.name} to i{lanes}"), f"u{lanes}")

    result = as_bits(value)
    if active is not None:
        keep = as_bits(active)
        result = (result & keep) | (body.load(f"u{lanes}", where) & ~keep)
    body.store(result, where)


def active_bit(h: Handler, index: Symbol, base: str | None = None) -> Symbol:
    """Bit ``index`` of v0 (or of the mask register at ``base``)."""
    pointer = h.body.offset(base or h.body.offset("%s", st.V), index >> 3)
    byte = h.body.load("u8", pointer)
    return cast(byte >> cast(index & 7, "u8"), "b1")  # type: ignore[no-any-return]


def emit_reduce(h: Handler) -> None:
    """vd[0] = fold over the active elements of vs2, in order, starting from vs1[0]; nothing if vl = 0."""
    body, insn = h.body, h.insn
    destination = insn.syntax[0]
    kind = operand_type(destination, h.context)
    source = insn.operand("vs2")
    kind2 = operand_type(source, h.context)
    vl = h.word("vl")
    some = h.when(vl > 0)
    slot = h.local(llvm_type(kind))
    start = body.load(operand_type(insn.operand("vs1"), h.context), h.pointer("vs1"))
    body.store(start, slot)
    base = h.pointer("vs2")
    tag, index = h.loop(body.constant(0, "u64"), vl, 1)
    guard = h.when(active_bit(h, index)) if h.variant.masked else None
    element = body.load(kind2, body.offset(base, index * (kind2.bits // 8)))
    first, second = insn.parameters[0], insn.parameters[1]
    values = {first: body.load(kind, slot), second: element}
    values |= {name: _scalar_argument(h, name) for name in insn.parameters[2:]}
    value = compute(h, values)
    body.store(value, slot)
    if guard:
        h.end_when(guard)
    h.end_loop(tag)
    body.store(body.load(kind, slot), h.pointer(destination.name))
    h.end_when(some)
    h.next()


def emit_permute(h: Handler) -> None:
    """vd[i] = vs2[meaning(i, ...)], 0 beyond VLMAX; a meaning may return (index, condition to write)."""
    body, insn = h.body, h.insn
    destination = insn.syntax[0]
    kind = operand_type(destination, h.context)
    size = kind.bits // 8
    vl, vlmax = h.word("vl"), h.vlmax()
    base, target = h.pointer("vs2"), h.pointer(destination.name)
    tag, index = h.loop(h.start(), vl, 1)
    guard = h.when(active_bit(h, index)) if h.variant.masked else None
    values: dict[str, Any] = {}
    for name in insn.parameters:
        if name == "i":
            values[name] = index
        elif name == "vs1":
            kind1 = operand_type(insn.operand("vs1"), h.context)
            element = body.load(kind1, body.offset(h.pointer("vs1"), index * (kind1.bits // 8)))
            values[name] = cast(element, "u64")
        elif name == "vlmax":
            values[name] = vlmax
        else:
            values[name] = _scalar_argument(h, name)
    source, condition = h.evaluate(values)
    write = h.when(condition) if condition is not None else None
    inside = source < vlmax
    safe = select(inside, source, 0)
    value = body.load(f"u{kind.bits}", body.offset(base, safe * size))
    body.store(select(inside, value, 0), body.offset(target, index * size))
    if write:
        h.end_when(write)
    if guard:
        h.end_when(guard)
    h.end_loop(tag)
    if "insert" in insn.attributes:
        _insert(h, vl, target)
    h.next()


def _insert(h: Handler, vl: Symbol, target: str) -> None:
    """The scalar of a slide by one enters at the first or the last element."""
    body, insn = h.body, h.insn
    first = insn.attributes["insert"] == "first"
    some = h.when((vl > 0) & h.start().apply("equal", 0) if first else vl > h.start())
    place = body.constant(0, "u64") if first else vl - 1
    guard = h.when(active_bit(h, place)) if h.variant.masked else None
    scalar = insn.syntax[2]
    kind = operand_type(scalar, h.context)
    body.store(h.read(scalar, kind), body.offset(target, place * (kind.bits // 8)))
    if guard:
        h.end_when(guard)
    h.end_when(some)
