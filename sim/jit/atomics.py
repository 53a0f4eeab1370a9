"""Template of the A extension.

Harts of one cluster take turns (``potluck.sim.cluster``): the word ``turn`` is 0 when the hart has to ask the cluster
first, 1 for one access, and 2 when there is nobody to ask. An ``lr`` leaves the turn to its ``sc``, so nothing comes
between them unless the hart is interrupted, which drops the reservation.
"""

from __future__ import annotations

from potluck.isa.arithmetic.element import cast, select
from potluck.sim import state as st
from potluck.sim.jit.handler import Handler, operand_type
from potluck.sim.jit.memory import base_address, record, translate

NOTHING = (1 << 64) - 1
"""The word ``reserved`` when no reservation holds; no aligned access has this address."""


def emit_atomic(h: Handler) -> None:
    """``lr``, ``sc`` and ``amo*``."""
    body = h.body
    ask = h.when(h.word("turn").apply("equal", 0))
    h.event(st.EVENT)
    body.label(f"{ask}.end")
    destination = h.insn.syntax[0]
    kind = operand_type(destination, h.context)
    size = kind.bits // 8
    address = base_address(h)
    host, code = translate(
        h, address, body.constant(size, "u64"), not h.insn.attributes.get("reserves"), size
    )
    record(h, code)
    old = body.load(kind, host)
    if h.insn.attributes.get("reserves"):
        h.set_word("reserved", address)
        h.write(destination, old, kind)
        h.next()
        return
    source = h.insn.operand("rs2")
    new = h.read(source, operand_type(source, h.context))
    if h.insn.attributes.get("conditional"):
        good = h.word("reserved").apply("equal", address)
        body.store(select(good, cast(new, kind), old), host)
        h.set_word("reserved", body.constant(NOTHING, "u64"))
        result = cast(~cast(good, "u64") & 1, kind)
    else:
        assert h.insn.meaning is not None
        body.store(cast(h.insn.meaning(cast(old, new.type), new), kind), host)
        result = old
    h.set_word("turn", h.word("turn") & 2)
    h.write(destination, result, kind)
    h.next()
