"""VMXDOTP: scaled dot products of MX elements, accumulated into FP32 or BF16 (facts vmxdotp §1).

Encoding of the Spatz prototype (§1.4): all 32 bits are used, there is no mask bit. Its major opcodes lie where the
base ISA has longer instructions. Machines with another ``isa.vmxdotp_encoding`` have other rows in these rows' place
(``attributes["instead"]``):

* ``custom``: the same fields in the four custom opcodes, and then neither Xdma nor Xf8, whose opcodes these are
  (``attributes["takes"]``);
* ``wide64``: 64-bit words with a mask bit, a rounding mode and an element format: fixed (``vmxdotp.ww.e4m3``, all
  formats of OCP MX) or, code 7, that of fcsr (``vmxdotp.ww``). Fixed ones need no fcsr bit 8.

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

from potluck.isa.arithmetic.element import bitcast, cast
from potluck.isa.arithmetic.mxdot_element import mxdot, mxdot_mostly
from potluck.isa.insn import Insn, Kind


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


def _quick(chunk: str, scale: str) -> Any:
    """Attribute ``quick`` of a w form: see ``potluck.isa.insn``."""

    def quick(mx_format: str, frm: int, **v: Any) -> tuple[Any, Any] | None:
        if mx_format != "e4m3" or frm:
            return None
        return mxdot_mostly(v["vd"], v[chunk], v["vs2"], v[scale], v["vs4"])

    return quick


def _bfloat_vv(vd: Any, vs1: Any, vs2: Any, vs3: Any, vs4: Any, mx_format: str, frm: int) -> tuple[Any, Any]:
    return _bfloat(vd, vs1, vs2, vs3, vs4, mx_format, frm)


def _bfloat_vf(vd: Any, fs1: Any, vs2: Any, fs3: Any, vs4: Any, mx_format: str, frm: int) -> tuple[Any, Any]:
    return _bfloat(vd, fs1, vs2, fs3, vs4, mx_format, frm)


_VECTOR = "vs3 vs4[4:3] vs2 vs1 vs4[2:0] vd"
_SCALAR = "fs3 vs4[4:3] vs2 fs1 vs4[2:0] vd"
_DOC = "Add the dot product of 64-bit chunks of {a} (scale {sa}) and vs2 (scale vs4) to each {to} element."
FORMATS = ("e5m2", "e4m3", "e3m2", "e2m3", "e2m1", "int8")
"""Element formats by their code in a 64-bit word; 7 takes the format from fcsr."""
_DYNAMIC = 7


def _row(form: str, opcodes: tuple[str, str], meaning: Any) -> Insn:
    """A form (``ww``, ...) with its opcodes in Spatz's and the custom encoding."""
    wide, scalar = form[0] == "w", form[1] == "f"
    s1, s3, fields = ("fs1", "fs3", _SCALAR) if scalar else ("vs1", "vs3", _VECTOR)
    facts: dict[str, Any] = {"sew": 32 if wide else 16, "no_overlap": True, "vstart0": True, "flags": True}
    if wide:
        facts["quick"] = _quick(s1, s3)
    operands = f"vd:{'f32' if wide else 'u16'}, {s1}:u64, vs2:u64, {s3}:u8, vs4:u8"
    doc = _DOC.format(a=s1, sa=s3, to="FP32" if wide else "BF16")
    dynamic = facts if wide else {**facts, "bf16_destination": True}
    variant = ("wf", "ww", "qf", "qq").index(form)

    def insn(encoding: str, suffix: str = "", more: str = "", attributes: dict[str, Any] = dynamic) -> Insn:
        return Insn(
            f"vmxdotp.{form}{suffix}",
            encoding,
            operands + more,
            Kind.MAP,
            "vmxdotp",
            meaning,
            doc,
            "VMXDOTP",
            attributes,
        )

    def word(code: int) -> str:
        return f"{'0' * 16} rm {code:03b} vs4 {s3} 000000 vm vs2 {s1} {variant:03b} vd 0111111"

    long = [insn(word(_DYNAMIC), more=", vm, rm")]
    for code, name in enumerate(FORMATS):
        long.append(insn(word(code), f".{name}", ", vm, rm", {**facts, "mx_format": name}))
    others = {"custom": [insn(f"{fields} {opcodes[1]}")], "wide64": long}
    return insn(f"{fields} {opcodes[0]}", attributes={**dynamic, "instead": others, "takes": _TAKES})


_TAKES = {"custom": ("Xdma", "Xf8")}
ROWS = [
    _row("ww", ("1111111", "1111011"), _single_vv),
    _row("wf", ("1011111", "1011011"), _single_vf),
    _row("qq", ("0111111", "0101011"), _bfloat_vv),
    _row("qf", ("0011111", "0001011"), _bfloat_vf),
]
