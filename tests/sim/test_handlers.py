"""Every computing row, compiled by LLVM, against its meaning evaluated by NumPy: values, masks and tails.

The two back ends of the element language share nothing but the meaning, so this finds errors of the code generator,
of element widths, and of host-compiler surprises; the meanings themselves are checked against outside references.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from potluck.isa.arithmetic.exact import Exact
from potluck.isa.arithmetic.floating import DZ, NX
from potluck.isa.arithmetic.plain import Arithmetic
from potluck.isa.context import Context
from potluck.isa.insn import Insn, Kind
from potluck.isa.legality import check
from potluck.isa.table import TABLE
from potluck.sim import state as st
from potluck.sim.jit.compile import compiler
from potluck.sim.jit.handler import Variant, assign_slots
from tests.reference.numpy_values import Array, dtype_of

VLEN = 512
SPECIAL = np.array(
    [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0x7C00, 0xFC00, 0x7E00, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001,
     0x3F800000, 0x80000000, 0x00000001, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FF0 << 48, 0xFFF0 << 48, 0x7FF8 << 48, 1 << 63,
     0x3FF0 << 48, 0xFFFFFFFFFFFFFFFF, 0x4F000000, 0xCF000000, 0x41DFFFFFFFC00000, 0x43E0 << 48],
    np.uint64,
)  # fmt: skip
REGISTERS = {"vd": 8, "vs2": 16, "vs1": 24, "vs3": 4, "vs4": 5, "rs1": 11, "rs2": 12, "rd": 10, "fs1": 11, "fs2": 12,
             "fs3": 13, "fd": 10}  # fmt: skip


def contexts(insn: Insn) -> list[Context]:
    if not insn.is_vector:
        return [Context(0)]
    found = [Context(sew << 3 | 1) for sew in range(4)]
    fields = {**REGISTERS, "vm": 1, "imm": 0, "uimm": 0}
    return [context for context in found if check(insn, fields, context) is None]


CASES = [
    pytest.param(insn, context, masked, id=f"{insn.mnemonic}-e{context.sew}{'-masked' if masked else ''}")
    for insn in TABLE.values()
    if insn.kind in (Kind.MAP, Kind.COMPARE) and insn.timing != "vmxdotp"
    for context in contexts(insn)
    if not (
        ("mulh" in insn.mnemonic or "vsmul" in insn.mnemonic) and (not insn.is_vector or context.sew == 64)
    )  # NumPy has no 128-bit integers
    for masked in ((False, True) if insn.maskable else (False,))
]


def random_bytes(generator: np.random.Generator, count: int) -> np.ndarray:
    """Random words with special values of every width strewn in."""
    words = generator.integers(0, 1 << 64, count // 8, np.uint64)
    pick = generator.random(words.size) < 0.3
    words[pick] = generator.choice(SPECIAL, int(pick.sum()))
    return words.view(np.uint8)


def run_handler(variant: Variant, hart: st.HartState, fields: dict[str, int]) -> None:
    call_handler(variant, compiler().addresses({variant.name: variant}), hart, fields, VLEN)


def call_handler(
    variant: Variant, address: dict[str, int], hart: st.HartState, fields: dict[str, int], vlen: int
) -> None:
    raw = np.zeros(4 * 64, np.uint8)
    rows = raw[-raw.ctypes.data % 64 :][: 2 * 64].view(st.ROW)
    rows[0]["handler"], rows[1]["handler"] = address[variant.name], address["end"]
    for name, column in assign_slots(variant.insn).items():
        bank = variant.insn.operand(name).bank
        base = {"x": st.X, "f": st.F, "v": st.V}[bank]
        rows[0][column] = base + fields[name] * (vlen // 8 if bank == "v" else 8)
    rows[0]["imm"], rows[0]["pc"] = fields.get("imm", 0), 0x80001000
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint64)(int(rows[0]["handler"]))
    assert function(hart.address, rows.ctypes.data) == st.FALL


def as_array(raw: np.ndarray, kind: Any) -> Array:
    return Array(np.ascontiguousarray(raw).view(dtype_of(kind)))


def expected_values(
    insn: Insn, context: Context, before: st.HartState, fields: dict[str, int], lanes: int, exact: bool
) -> tuple[Any, Any]:
    """The meaning on all lanes at once: values, and flags if it has any."""
    fp = Exact(context.frm) if exact else Arithmetic()
    values: dict[str, Any] = {}
    for operand in insn.syntax:
        if operand.name not in insn.parameters or operand.name == "v0":
            continue
        kind = operand.type.at(context.sew)
        size = kind.bits // 8
        if operand.bank == "v":
            group = before.raw[st.V + fields[operand.name] * VLEN // 8 :]
            values[operand.name] = as_array(group[: (1 if operand.element0 else lanes) * size], kind)
            continue
        if operand.bank == "x":
            raw = before.x[fields[operand.name]]
        elif operand.bank == "f":
            raw = before.f[fields[operand.name]]
            if kind.kind == "f" and kind.bits < 64 and int(raw) >> kind.bits != (1 << 64 - kind.bits) - 1:
                raw = np.uint64({32: 0x7FC00000, 16: 0x7E00}[kind.bits])
        else:
            raw = np.int64(fields["imm"])
        values[operand.name] = as_array(np.array([raw]).view(np.uint8)[:size], kind)
    extra = {
        "sew": context.sew,
        "frm": context.frm,
        "fp": fp,
        "mx_format": context.mx_format,
        "altfmt": context.altfmt,
    }
    for name in insn.parameters:
        if name in extra:
            values[name] = extra[name]
        elif name == "pc":
            values[name] = as_array(np.array([0x80001000], np.uint64).view(np.uint8), "u64")
        elif name == "vxrm":
            values[name] = Array(np.array([before["vxrm"]], np.uint64))
        elif name == "i":
            values[name] = Array(np.arange(lanes).astype(f"u{context.sew // 8}"))
        elif name == "v0":
            values[name] = Array(np.unpackbits(before.v[0], bitorder="little")[:lanes].astype(bool))
    result = insn.meaning(**values)  # type: ignore[misc]
    return result if isinstance(result, tuple) else (result, fp.flags)


@pytest.mark.parametrize(("insn", "context", "masked"), CASES)
def test_handler_equals_meaning(insn: Insn, context: Context, masked: bool) -> None:
    agree(insn, context, masked, flags=False)


EXACT_ROWS = [
    case
    for case in CASES
    if (case.values[0].attributes.get("raises") or case.values[0].attributes.get("flags"))
    and case.values[2] == case.values[0].maskable
]
EXACT_CASES = [  # one in three in the normal run: test_float_spike goes through all rows, too
    pytest.param(*case.values, number % 5, id=f"{case.id}-rm{number % 5}",
                 marks=[pytest.mark.slow] if number % 3 else [])
    for number, case in enumerate(EXACT_ROWS)
]  # fmt: skip


@pytest.mark.parametrize(("insn", "context", "masked", "frm"), EXACT_CASES)
def test_handler_with_flags_equals_meaning(insn: Insn, context: Context, masked: bool, frm: int) -> None:
    """In some rounding mode; inactive and tail elements raise nothing, and flags only ever grow."""
    agree(insn, Context(context.vtype, frm), masked, flags=True)


def agree(insn: Insn, context: Context, masked: bool, flags: bool) -> None:
    generator = np.random.Generator(np.random.Philox(key=[len(insn.mnemonic), context.sew]))
    destination = insn.syntax[0]
    kind = destination.type.at(context.sew)
    for trial in range(4):
        hart = st.HartState(0, VLEN)
        hart.raw[st.V : st.V + 32 * VLEN // 8] = random_bytes(generator, 32 * VLEN // 8)
        hart.x[1:32] = random_bytes(generator, 31 * 8).view(np.int64)
        hart.f[:] = random_bytes(generator, 32 * 8).view(np.uint64)
        if trial % 2:  # properly boxed singles
            hart.f[:] |= np.uint64(0xFFFFFFFF00000000)
        vlmax = context.vlmax(VLEN)
        vl = (vlmax, vlmax - 1, 1, vlmax // 2 + 1)[trial]
        hart["vl"], hart["vxrm"] = vl, trial
        fields = {**REGISTERS, "imm": int(generator.integers(-16, 16)) if "imm" in insn.operands else 0}
        if "uimm" in insn.operands or "shamt" in insn.operands:
            fields["imm"] = int(generator.integers(0, 32))
        before = st.HartState(0, VLEN)
        before.raw[:] = hart.raw
        hart["fcsr"] = before["fcsr"] = context.control << 5 | (0, DZ, NX, DZ | NX)[trial]
        run_handler(Variant(insn, context, masked, flags), hart, fields)

        lanes = vl if destination.bank == "v" and not destination.element0 else 1
        lanes = int(insn.attributes.get("whole_registers", 0)) * VLEN // 8 or lanes
        value, raised = expected_values(insn, context, before, fields, lanes, flags)
        if flags:
            each = np.broadcast_to(
                raised.data if isinstance(raised, Array) else np.uint8(raised or 0), (lanes,)
            )
            chosen = (
                np.unpackbits(before.v[0], bitorder="little")[:lanes].astype(bool) if masked else slice(None)
            )
            assert hart["fcsr"] == before["fcsr"] | int(np.bitwise_or.reduce(each[chosen]))
        data = np.broadcast_to(value.data if isinstance(value, Array) else np.asarray(value), (lanes,))
        if insn.kind is Kind.COMPARE:
            bits = np.unpackbits(before.v[fields["vd"]], bitorder="little")
            active = (
                np.unpackbits(before.v[0], bitorder="little")[:lanes].astype(bool) if masked else slice(None)
            )
            bits[:lanes][active] = data.astype(np.uint8)[active]
            want = np.packbits(bits, bitorder="little")
            assert (hart.v[fields["vd"]] == want).all()
            continue
        if data.dtype == bool:
            data = data.astype(dtype_of(kind))
        if insn.attributes.get("saturates"):
            bits = np.unpackbits(before.v[0], bitorder="little")[:lanes].astype(bool)
            assert hart["vxsat"] == int((raised.data & bits if masked else raised.data).any())
        if destination.bank == "v":
            start = st.V + fields["vd"] * VLEN // 8
            size = kind.bits // 8
            group = before.raw[start : start + 8 * VLEN // 8].copy()
            raw = np.ascontiguousarray(data).view(np.uint8).reshape(lanes, -1)
            old = group[: lanes * size].reshape(lanes, size)
            active = (
                np.unpackbits(before.v[0], bitorder="little")[:lanes].astype(bool)
                if masked
                else np.ones(lanes, bool)
            )
            old[active] = raw[active]
            np.testing.assert_array_equal(hart.raw[start : start + group.size], group)
        elif destination.bank == "x":
            want = data.astype(dtype_of(kind)) if kind.kind == "s" else data
            signed = want.view(dtype_of(f"{kind.kind}{want.dtype.itemsize * 8}"))
            assert int(hart.x[10]) & (1 << 64) - 1 == int(signed[0]) & (1 << 64) - 1
        else:
            raw_bits = int(np.ascontiguousarray(data).view(f"u{data.dtype.itemsize}")[0])
            if data.dtype.itemsize < 8:
                raw_bits |= (1 << 64) - (1 << 8 * data.dtype.itemsize)
            assert int(hart.f[10]) == raw_bits


@pytest.mark.parametrize(("mnemonic", "signs"), [("mulh", "ss"), ("mulhsu", "su"), ("mulhu", "uu")])
def test_high_products_of_64_bits(mnemonic: str, signs: str) -> None:
    """The rows that need 128-bit products, against Python's integers, scalar and vector."""
    generator = np.random.Generator(np.random.Philox(3))
    hart = st.HartState(0, VLEN)
    hart.raw[st.V : st.V + 32 * VLEN // 8] = random_bytes(generator, 32 * VLEN // 8)
    hart.x[1:32] = random_bytes(generator, 31 * 8).view(np.int64)
    hart["vl"] = 15

    def high(a: int, b: int) -> int:
        values = [
            v - (1 << 64) if sign == "s" and v >> 63 else v for v, sign in zip((a, b), signs, strict=True)
        ]
        return (values[0] * values[1] >> 64) & (1 << 64) - 1

    word = (1 << 64) - 1
    run_handler(Variant(TABLE[mnemonic], Context(0)), hart, REGISTERS)
    assert int(hart.x[10]) & word == high(int(hart.x[11]) & word, int(hart.x[12]) & word)
    run_handler(Variant(TABLE[f"v{mnemonic}.vv"], Context(3 << 3 | 1)), hart, REGISTERS)
    words = hart.raw[st.V : st.V + 32 * VLEN // 8].view(np.uint64).reshape(32, -1)
    a, b, d = (words[r : r + 2].ravel() for r in (16, 24, 8))
    assert [int(v) for v in d[:15]] == [high(int(x), int(y)) for x, y in zip(a[:15], b[:15], strict=True)]


PERMUTES = {
    "vslideup.vx": lambda d, s, x: [d[i] if i < x else s[i - x] for i in range(len(d))],
    "vslidedown.vx": lambda d, s, x: [s[i + x] if i + x < len(s) else 0 for i in range(len(d))],
    "vslide1up.vx": lambda d, s, x: [x if i == 0 else s[i - 1] for i in range(len(d))],
    "vslide1down.vx": lambda d, s, x: [x if i == len(d) - 1 else s[i + 1] for i in range(len(d))],
    "vrgather.vx": lambda d, s, x: [s[x] if x < len(s) else 0 for _ in d],
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("mnemonic", PERMUTES)
@pytest.mark.parametrize("x", [0, 1, 3, 31, 32, 1000])
def test_permutations_move_elements(mnemonic: str, x: int, masked: bool) -> None:
    """Against the specification's element rules written out; tail and inactive elements stay."""
    generator = np.random.Generator(np.random.Philox(x))
    hart = st.HartState(0, VLEN)
    hart.raw[st.V : st.V + 32 * VLEN // 8] = random_bytes(generator, 32 * VLEN // 8)
    hart.x[11], vl, context = x, 27, Context(2 << 3 | 1)
    hart["vl"] = vl
    words = hart.raw[st.V : st.V + 32 * VLEN // 8].view(np.uint32).reshape(32, -1)
    source, old = words[16:18].ravel().tolist(), words[8:10].ravel().tolist()
    active = np.unpackbits(hart.v[0], bitorder="little")[:vl].astype(bool).tolist() if masked else [True] * vl
    want = PERMUTES[mnemonic](old[:vl], source, x)
    run_handler(Variant(TABLE[mnemonic], context, masked), hart, {**REGISTERS, "rs1": 11})
    got = words[8:10].ravel().tolist()
    assert got == [w if a else o for w, a, o in zip(want, active, old[:vl], strict=True)] + old[vl:]
