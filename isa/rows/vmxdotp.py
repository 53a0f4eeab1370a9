"""VMXDOTP: scaled dot products of MX elements, accumulated into FP32 or BF16 (facts vmxdotp §1).

Encoding of the Spatz prototype (§1.4): all 32 bits are used, there is no mask bit. Its major opcodes lie where the
base ISA has longer instructions; a machine with ``isa.vmxdotp_encoding = "custom"`` has the same fields in the four
custom opcodes instead (``attributes["encodings"]``), and then neither Xdma nor Xf8, whose opcodes these are
(``attributes["takes"]``).

A vd element goes with a 64-bit chunk of elements of each operand and one scale byte of each; ``f`` forms take the
first operand and its scale from floating registers, raw bits without a NaN-box check.

The facts leave open what illegal uses do; we choose (``isa/legality.py`` enforces it) an illegal instruction
for

* SEW other than ``attributes["sew"]`` (32 for w forms, 16 for q forms), or vtype.vill;
* EMUL of a source above 8 (LMUL above 4 or 2) or a register group not aligned to its EMUL;
* vd overlapping any source group (``attributes["no_overlap"]``);
* vstart other than 0 (``attributes["vstart0"]``);
* q forms with fcsr bit 8 (fmode.dst) clear, which would ask for an FP16 result
  (``attributes["bf16_destination"]``).

vl counts vd elements; elements from vl on stay as they are, vl = 0 does nothing.
"""

from __future__ import annotations

from typing import Any

from potluck.isa.element import bitcast, cast
from potluck.isa.insn import Insn, Kind
from potluck.isa.mxdot_element import mxdot


def _single(vd: Any, a: Any, b: Any, sa: Any, sb: Any, mx_format: str, frm: int) -> tuple[Any, Any]:
    bits, flags = mxdot(vd, a, b, sa, sb, mx_format, frm, bfloat=False)
    return bitcast(bits, "f32"), flags


def _bfloat(vd: Any, a: Any, b: Any, sa: Any, sb: Any, mx_format: str, frm: int) -> tuple[Any, Any]:
    acc = bitcast(cast(vd, "u32") << 16, "f32")
    bits, flags = mxdot(acc, a, b, sa, sb, mx_format, frm, bfloat=True)
    return cast(bits >> 16, "u16"), flags


def _single_vv(vd: Any, vs1: Any, vs2: Any, vs3: Any, vs4: Any, mx_format: str, frm: int) -> tuple[Any, Any]:
    return _single(vd, vs1, vs2, vs3, vs4, mx_format, frm)


def _single_vf(vd: Any, fs1: Any, vs2: Any, fs3: Any, vs4: Any, mx_format: str, frm: int) -> tuple[Any, Any]:
    return _single(vd, fs1, vs2, fs3, vs4, mx_format, frm)


def _bfloat_vv(vd: Any, vs1: Any, vs2: Any, vs3: Any, vs4: Any, mx_format: str, frm: int) -> tuple[Any, Any]:
    return _bfloat(vd, vs1, vs2, vs3, vs4, mx_format, frm)


def _bfloat_vf(vd: Any, fs1: Any, vs2: Any, fs3: Any, vs4: Any, mx_format: str, frm: int) -> tuple[Any, Any]:
    return _bfloat(vd, fs1, vs2, fs3, vs4, mx_format, frm)


_VECTOR = "vs3 vs4[4:3] vs2 vs1 vs4[2:0] vd"
_SCALAR = "fs3 vs4[4:3] vs2 fs1 vs4[2:0] vd"
_BOTH: dict[str, Any] = {
    "no_overlap": True,
    "vstart0": True,
    "flags": True,
    "takes": {"custom": ("Xdma", "Xf8")},
}


def _single_form(fields: str, custom: str) -> dict[str, Any]:
    return {**_BOTH, "sew": 32, "encodings": {"custom": f"{fields} {custom}"}}


def _half_form(fields: str, custom: str) -> dict[str, Any]:
    return {**_BOTH, "sew": 16, "bf16_destination": True, "encodings": {"custom": f"{fields} {custom}"}}


_DOC = "Add the dot product of 64-bit chunks of {a} (scale {sa}) and vs2 (scale vs4) to each {to} element."

ROWS = [
    Insn(
        "vmxdotp.ww", f"{_VECTOR} 1111111", "vd:f32, vs1:u64, vs2:u64, vs3:u8, vs4:u8", Kind.MAP, "vmxdotp",
        _single_vv, _DOC.format(a="vs1", sa="vs3", to="FP32"), "VMXDOTP", _single_form(_VECTOR, "1111011"),
    ),
    Insn(
        "vmxdotp.wf", f"{_SCALAR} 1011111", "vd:f32, fs1:u64, vs2:u64, fs3:u8, vs4:u8", Kind.MAP, "vmxdotp",
        _single_vf, _DOC.format(a="fs1", sa="fs3", to="FP32"), "VMXDOTP", _single_form(_SCALAR, "1011011"),
    ),
    Insn(
        "vmxdotp.qq", f"{_VECTOR} 0111111", "vd:u16, vs1:u64, vs2:u64, vs3:u8, vs4:u8", Kind.MAP, "vmxdotp",
        _bfloat_vv, _DOC.format(a="vs1", sa="vs3", to="BF16"), "VMXDOTP", _half_form(_VECTOR, "0101011"),
    ),
    Insn(
        "vmxdotp.qf", f"{_SCALAR} 0011111", "vd:u16, fs1:u64, vs2:u64, fs3:u8, vs4:u8", Kind.MAP, "vmxdotp",
        _bfloat_vf, _DOC.format(a="fs1", sa="fs3", to="BF16"), "VMXDOTP", _half_form(_SCALAR, "0001011"),
    ),
]  # fmt: skip
