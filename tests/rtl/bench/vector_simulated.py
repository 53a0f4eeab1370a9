"""What the simulator's compiled handlers make of elements, a register group at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.insn import Kind
from potluck.sim import state as st
from potluck.sim.jit.compile import compiler
from potluck.sim.jit.handler import Variant
from tests.rtl.bench.vector_lanes import Codes, Work
from tests.sim.test_handlers import call_handler

VLEN = 4096
FIELDS = {"vd": 24, "vs2": 8, "vs1": 16, "rs1": 11, "fs1": 11, "vm": 1, "imm": 0, "uimm": 0}


def group(work: Work) -> int:
    """Elements of a call."""
    return VLEN // (work.sew if not work.op.mask else 64)


def simulated(work: Work) -> tuple[Codes, NDArray[np.uint8], NDArray[np.bool_]]:
    """Result codes [n]; fflags and vxsat of each group of :func:`group` elements, all of which are active.

    A scalar or immediate is the same for a group: its first element's ``b``, five bits of it for an immediate.
    """
    insn, context, size = work.insn, work.context, group(work)
    flags = bool(insn.attributes.get("raises") or insn.attributes.get("flags"))
    variant = Variant(insn, context, flags=flags)
    address = compiler().addresses({variant.name: variant})
    hart = st.HartState(0, VLEN)
    found: list[Codes] = []
    raised, saturated = [], []
    for first in range(0, len(work.a), size):
        part = slice(first, first + size)
        count = len(work.a[part])
        fields = dict(FIELDS)
        hart["vl"], hart["fcsr"], hart["vxrm"], hart["vxsat"] = count, context.control << 5, work.vxrm, 0
        if work.op.mask:
            hart["vl"] = 64 * count
        _put(hart, 0, np.packbits(work.mask[part], bitorder="little"))
        for register, codes in ((FIELDS["vs2"], work.a), (FIELDS["vs1"], work.b), (FIELDS["vd"], work.c)):
            _put(hart, register, codes[part])
        scalar = int(work.b[first])
        hart.x[11] = np.uint64(scalar).view(np.int64)
        bits = work.b.dtype.itemsize * 8
        hart.f[11] = np.uint64(scalar | (1 << 64) - (1 << bits))
        if work.op.source in ("signed", "unsigned"):
            fields["imm"] = immediate(scalar, work.op.source)
        call_handler(variant, address, hart, fields, VLEN)
        if insn.kind is Kind.COMPARE:
            raw = hart.raw[st.V + FIELDS["vd"] * VLEN // 8 :][: -(-count // 8)]
            found.append(np.unpackbits(raw, bitorder="little")[:count].astype(np.uint64))
        else:
            kind = f"u{work.width(work.op.d) // 8}"
            raw = hart.raw[st.V + FIELDS["vd"] * VLEN // 8 :][: count * np.dtype(kind).itemsize]
            found.append(raw.copy().view(kind))
        raised.append(hart["fcsr"] & 31)
        saturated.append(bool(hart["vxsat"]))
    return np.concatenate(found), np.array(raised, np.uint8), np.array(saturated)


def immediate(code: int, source: str) -> int:
    """The five bits of an immediate as the handler gets them."""
    low = code & 31
    return low - 32 if source == "signed" and low > 15 else low


def uniform(work: Work) -> Work:
    """The same work with what the instruction takes from a scalar or an immediate equal within each group."""
    if work.op.source in ("none", "vector"):
        return work
    size = group(work)
    b = np.repeat(work.b[::size], size)[: len(work.b)]
    if work.op.source in ("signed", "unsigned"):
        limit = (1 << work.b.dtype.itemsize * 8) - 1
        b = np.array([immediate(int(code), work.op.source) & limit for code in b], work.b.dtype)
    changed: dict[str, Any] = {"b": b}
    return Work(**{**{name: getattr(work, name) for name in Work.__dataclass_fields__}, **changed})


def _put(hart: st.HartState, register: int, values: NDArray[Any]) -> None:
    raw = np.ascontiguousarray(values).view(np.uint8)
    start = st.V + register * VLEN // 8
    hart.raw[start : start + raw.size] = raw
