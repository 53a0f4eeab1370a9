"""Zvfofp8min (draft 0.9), Zvfbfmin and Zfbfmin: conversions of BF16 and FP32 to and from FP8, and of FP32 and BF16.

vfwcvtbf16.f.f.v and vfncvtbf16.f.f.w have one encoding in both extensions: with SEW=16 they convert BF16 and
FP32 (Zvfbfmin), with SEW=8 FP8 and BF16 (Zvfofp8min). vtype.altfmt picks the FP8 format, 0 = E4M3, 1 = E5M2.
All FP8 NaNs are quiet, the canonical one is 0x7F; widening FP8 is exact and raises nothing (facts vmxdotp
§8). The draft leaves saturation to OFP8 v1.0; we let infinities raise no flag, saturating or not.
"""

from __future__ import annotations

from typing import Any

from potluck.isa.arithmetic.element import bitcast, cast, equal, fconvert, select
from potluck.isa.arithmetic.floating import bits_of, unbox_bf16
from potluck.isa.arithmetic.narrowing import BF16, E4M3, E5M2, NV, narrow
from potluck.isa.insn import Insn, Kind


def _widen(vs2: Any, sew: int, altfmt: int) -> Any:
    if sew == 16:
        size = vs2 & 0x7FFF
        value = select(size > 0x7F80, 0x7FC0, vs2)
        signalling = (size > 0x7F80) & equal(vs2 & 0x40, 0)
        return cast(value, "u32") << 16, cast(signalling, "u8") * NV
    # An E5M2 byte is the upper half of an FP16 number; E4M3 moved there is too small by 2^8.
    code = cast(vs2, "u16")
    size = code & 0x7F
    half = code << 8 if altfmt else (code & 0x80) << 8 | size << 7
    single = fconvert(bitcast(half, "f16"), "f32")
    bits = bitcast(single if altfmt else single * 256.0, "u32") >> 16
    nan = size > 0x7C if altfmt else equal(size, 0x7F)
    return select(nan, 0x7FC0, cast(bits, "u16"))


def _narrow(vs2: Any, sew: int, altfmt: int, frm: int) -> Any:
    if sew == 16:
        return narrow(vs2, BF16, frm)
    return narrow(cast(vs2, "u32") << 16, E5M2 if altfmt else E4M3, frm)


def _narrow_saturating(vs2: Any, altfmt: int, frm: int) -> Any:
    return narrow(cast(vs2, "u32") << 16, E5M2 if altfmt else E4M3, frm, saturate=True)


def _quarter(vs2: Any, altfmt: int, frm: int) -> Any:
    return narrow(vs2, E5M2 if altfmt else E4M3, frm)


def _quarter_saturating(vs2: Any, altfmt: int, frm: int) -> Any:
    return narrow(vs2, E5M2 if altfmt else E4M3, frm, saturate=True)


def _row(mnemonic: str, code: str, operands: str, meaning: Any, doc: str, sew: tuple[int, ...]) -> Insn:
    extension = "Zvfbfmin" if 16 in sew else "Zvfofp8min"
    encoding = f"010010 vm vs2 {code} 001 vd 1010111"
    return Insn(
        mnemonic, encoding, operands, Kind.MAP, "vfcvt", meaning, doc, extension, {"sew": sew, "flags": True}
    )


def _scalar_narrow(fs1: Any, frm: int) -> Any:
    return narrow(bits_of(fs1), BF16, frm)


def _scalar_widen(fs1: Any) -> Any:
    return _widen(unbox_bf16(fs1), 16, 0)


_FLAGS: dict[str, Any] = {"flags": True}

ROWS = [
    Insn("fcvt.bf16.s", "0100010 01000 fs1 rm fd 1010011", "fd:u16, fs1:f32, rm", Kind.MAP, "fcvt", _scalar_narrow,
         "Convert f32 to BF16.", "Zfbfmin", {**_FLAGS, "rounds": True}),
    Insn("fcvt.s.bf16", "0100000 00110 fs1 rm fd 1010011", "fd:u32, fs1:u64, rm", Kind.MAP, "fcvt", _scalar_widen,
         "Convert BF16 to f32.", "Zfbfmin", _FLAGS),
    _row("vfwcvtbf16.f.f.v", "01101", "vd:2u, vs2:u, vm", _widen,
         "Widen BF16 to FP32 (SEW=16), or FP8 to BF16 (SEW=8).", (8, 16)),
    _row("vfncvtbf16.f.f.w", "11101", "vd:u, vs2:2u, vm", _narrow,
         "Narrow FP32 to BF16 (SEW=16), or BF16 to FP8 (SEW=8).", (8, 16)),
    _row("vfncvtbf16.sat.f.f.w", "11111", "vd:u, vs2:2u, vm", _narrow_saturating,
         "Narrow BF16 to FP8, saturating.", (8,)),
    _row("vfncvt.f.f.q", "11001", "vd:u, vs2:4u, vm", _quarter, "Narrow FP32 to FP8.", (8,)),
    _row("vfncvt.sat.f.f.q", "11011", "vd:u, vs2:4u, vm", _quarter_saturating,
         "Narrow FP32 to FP8, saturating.", (8,)),
]  # fmt: skip
