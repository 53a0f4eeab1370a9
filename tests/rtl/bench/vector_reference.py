"""What the simulator's rows say of elements: their meanings, evaluated by NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.arithmetic.exact import Exact
from potluck.isa.insn import Insn, Kind
from tests.reference.numpy_values import Array, dtype_of
from tests.rtl.bench.vector_lanes import Codes, Work

_BOX = {16: 0xFFFFFFFFFFFF0000}


def meaning(work: Work) -> tuple[Codes, NDArray[np.uint8], NDArray[np.bool_]]:
    """Result codes, fflags and saturation of each element [n]."""
    insn, context = work.insn, work.context
    if work.op.code in ("high", "fractional") and work.sew == 64:
        return _long_products(work)
    fp = Exact(context.frm)
    assert insn.meaning is not None
    found = insn.meaning(**_values(work, fp))
    count = len(work.a)
    saturated = np.zeros(count, bool)
    flags: Any = fp.flags
    if isinstance(found, tuple):
        found, second = found
        if insn.attributes.get("saturates"):
            saturated = np.broadcast_to(second.data, (count,))
        else:
            flags = second
    raised = flags.data if isinstance(flags, Array) else np.uint8(flags or 0)
    data = np.broadcast_to(found.data if isinstance(found, Array) else np.asarray(found), (count,))
    bits = work.width(work.op.d)
    if insn.kind is Kind.COMPARE:
        codes = data.astype(np.uint64)
    else:
        codes = np.ascontiguousarray(data).view(f"u{data.dtype.itemsize}").astype(f"u{bits // 8}")
    return codes, np.broadcast_to(raised, (count,)).astype(np.uint8), saturated


def _long_products(work: Work) -> tuple[Codes, NDArray[np.uint8], NDArray[np.bool_]]:
    """Products of 128 bits, which NumPy does not have, as Python's integers: high halves and fractions."""

    def signed(codes: Codes, flag: str) -> list[int]:
        return (codes.view(np.int64) if flag in work.op.flags else codes).tolist()

    products = [x * y for x, y in zip(signed(work.a, "a_signed"), signed(work.b, "b_signed"), strict=True)]
    count = len(products)
    saturated = np.zeros(count, bool)
    if work.op.code == "high":
        found = [product >> 64 for product in products]
    else:
        found = [_rounded(product, 63, work.vxrm) for product in products]
        saturated = np.array([value == 1 << 63 for value in found])
        found = [min(value, (1 << 63) - 1) for value in found]
    codes = np.array([value & (1 << 64) - 1 for value in found], np.uint64)
    return codes, np.zeros(count, np.uint8), saturated


def _rounded(number: int, shift: int, vxrm: int) -> int:
    """Section 3.8: to nearest up, to nearest even, down, to odd."""
    low, lost, half = number >> shift, number & (1 << shift) - 1, 1 << shift - 1
    up = (lost >= half, lost > half or (lost == half and low & 1), False, lost and not low & 1)[vxrm]
    return low + bool(up)


def _values(work: Work, fp: Any) -> dict[str, Any]:
    insn, context = work.insn, work.context
    operands = (work.b, work.a) if insn.kind is Kind.REDUCE else (work.a, work.b)
    given = {"vs2": operands[0], "vd": work.c} | dict.fromkeys(
        ("vs1", "rs1", "fs1", "imm", "uimm"), operands[1]
    )
    if insn.kind is Kind.REDUCE:
        given |= {"acc": work.a}
    values: dict[str, Any] = {
        "sew": context.sew, "frm": context.frm, "fp": fp, "mx_format": context.mx_format, "altfmt": context.altfmt,
        "vxrm": Array(np.array([work.vxrm], np.uint64)), "v0": Array(work.mask),
    }  # fmt: skip
    kinds = _kinds(insn, context.sew)
    for name, codes in given.items():
        if name in insn.parameters:
            values[name] = Array(_as(codes, kinds[name]))
    return {name: values[name] for name in insn.parameters}


def _kinds(insn: Insn, sew: int) -> dict[str, Any]:
    kinds = {operand.name: operand.type.at(64 if insn.kind is Kind.MASK else sew) for operand in insn.syntax}
    return kinds | ({"acc": kinds["vs1"]} if "vs1" in kinds else {})


def _as(codes: Codes, kind: Any) -> NDArray[Any]:
    """Codes as numbers of an operand's type; those of a mask are words, a raw float register is boxed."""
    size = codes.dtype.itemsize * 8
    if kind.bits < size:
        return codes.view(np.uint64)
    if kind.bits > size:
        return codes.astype(np.uint64) | np.uint64(_BOX[size])
    return codes.view(dtype_of(kind))
