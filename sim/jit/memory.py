"""Templates for scalar loads and stores, and what vector accesses share with them.

One range check per access; the access class is recorded for the timer.
"""

from __future__ import annotations

from collections.abc import Callable

from potluck.isa.arithmetic.element import Type, cast
from potluck.sim import state as st
from potluck.sim.jit.handler import Handler, operand_type
from potluck.sim.jit.ir import Symbol
from potluck.sim.linux.pages import PAGE_SHIFT, READ, WRITE

UNIT, STRIDED = 0, 1  # access classes (``st.WAYS``): whole words; one element per port, no two in a bank


Leave = Callable[[int, Symbol], None]


def record(h: Handler, code: Symbol) -> None:
    """Store the access class and fold it into the timing memo's key (class 0 leaves the key alone)."""
    body = h.body
    slot = h.row("slot", "u64")
    body.store(cast(code, "u8"), body.offset(body.offset("%s", st.CODES), slot))
    key = h.word("code_key") + cast(code, "u64") * h.row("key", "u64")
    h.set_word("code_key", key)


def translate(
    h: Handler, address: Symbol, size: Symbol, store: bool, align: int, leave: Leave | None = None
) -> tuple[str, Symbol]:
    """Host pointer of ``size`` bytes at ``address`` and the DRAM bit.

    Outside memory or misaligned it calls ``leave`` (default: an event) with the reason and the address, which writes
    code that does not come back.
    """
    body = h.body
    leave = leave or h.event
    if align > 1:
        bad = h.when((address & (align - 1)).apply("different", 0))
        leave(st.MISALIGNED, address)
        unreachable_end(h, bad)
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
    body.line(f"br i1 {inside.name}, label %{tag}.dram, label %{tag}.paged")
    body.label(f"{tag}.paged")
    paged_host = _paged(h, tag, address, size, WRITE if store else READ)
    body.line(f"br label %{tag}.ok2")
    body.label(f"{tag}.fault")
    leave(st.FAULT, address)
    body.label(f"{tag}.dram")
    body.line(f"br label %{tag}.ok2")
    body.label(f"{tag}.ok")
    body.line(f"br label %{tag}.ok2")
    body.label(f"{tag}.ok2")
    ways = f"[ {far_host.name}, %{tag}.dram ], [ {paged_host.name}, %{tag}.mapped ]"
    host = body.value(f"phi i64 [ {near_host.name}, %{tag}.ok ], {ways}")
    code = body.value(
        f"phi i64 [ 0, %{tag}.ok ], [ {st.IN_DRAM}, %{tag}.dram ], [ {st.IN_DRAM}, %{tag}.mapped ]"
    )
    return body.value(f"inttoptr i64 {host} to ptr"), body.symbol(code, "u64")


def _paged(h: Handler, tag: str, address: Symbol, size: Symbol, need: int) -> Symbol:
    """Host address in paged memory (``potluck.sim.linux.pages``), each page of the range allowing the access.

    Goes to label ``fault`` otherwise; the code ends at label ``mapped``.
    """
    body = h.body
    near = address - h.word("page_base")
    room = h.word("page_bytes")
    inside = (near < room) & (size <= room - near)
    body.line(f"br i1 {inside.name}, label %{tag}.first, label %{tag}.fault")
    body.label(f"{tag}.first")
    first, last = address >> PAGE_SHIFT, (address + size - 1) >> PAGE_SHIFT
    table = h.word("page_table")
    body.line(f"br label %{tag}.page")
    body.label(f"{tag}.page")
    page = f"%{tag}.p"
    body.line(f"{page} = phi i64 [ {first.name}, %{tag}.first ], [ %{tag}.q, %{tag}.allowed ]")
    entry = body.value(f"add i64 {page}, {table.name}")
    flags = body.load("u8", body.value(f"inttoptr i64 {entry} to ptr"))
    allowed = (flags & need).apply("different", 0)
    body.line(f"br i1 {allowed.name}, label %{tag}.allowed, label %{tag}.fault")
    body.label(f"{tag}.allowed")
    body.line(f"%{tag}.q = add i64 {page}, 1")
    done = body.value(f"icmp eq i64 {page}, {last.name}")
    body.line(f"br i1 {done}, label %{tag}.mapped, label %{tag}.page")
    body.label(f"{tag}.mapped")
    return address + h.word("page_delta")


def unreachable_end(h: Handler, tag: str) -> None:
    """Close a conditional region that has already left."""
    h.body.label(f"{tag}.end")


def base_address(h: Handler) -> Symbol:
    """The address that the memory operand names."""
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
    align = 1 if h.variant.unaligned else size
    host, code = translate(h, base_address(h), h.body.constant(size, "u64"), False, align)
    record(h, code)
    h.write(destination, h.body.load(kind, host), kind)
    h.next()


def emit_store(h: Handler) -> None:
    """Scalar store of the low bits."""
    source = h.insn.syntax[0]
    kind = Type("u", operand_type(source, h.context).bits)
    raw = h.body.load("u64", h.pointer(source.name))
    size = kind.bits // 8
    align = 1 if h.variant.unaligned else size
    host, code = translate(h, base_address(h), h.body.constant(size, "u64"), True, align)
    record(h, code)
    h.body.store(cast(raw, kind), host)
    h.next()
