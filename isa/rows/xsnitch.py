"""Snitch's extensions that the VMXDOTP kernels use: DMA control (Xdma) and byte float loads (Xf8).

Xdma encodings are Snitch's (custom-1). Snitch's own ``flb`` sits on LOAD-FP with width 000, where V 1.0 has
``vle8.v``; both cannot live in one table, so the byte float accesses and FP8 conversions take custom-0 here.
"""

from __future__ import annotations

from typing import Any

from potluck.isa.arithmetic.element import bitcast, cast, fconvert, select
from potluck.isa.insn import Insn, Kind


def decode_fp8(code: Any, mx_format: str) -> Any:
    """FP8 code (u8) to f16, exactly; NaN becomes canonical."""
    if mx_format == "e5m2":
        value = bitcast(cast(code, "u16") << 8, "f16")
        return select((code & 0x7F) > 0x7C, float("nan"), value)
    magnitude = bitcast(cast(code & 0x7F, "u16") << 7, "f16") * 256.0  # E4M3's bias is 8 below FP16's
    signed = bitcast(bitcast(magnitude, "u16") | cast(code & 0x80, "u16") << 8, "f16")
    return select((code & 0x7F) >= 0x7F, float("nan"), signed)


def _half(fs1: Any, mx_format: str) -> Any:
    return decode_fp8(fs1, mx_format)


def _single(fs1: Any, mx_format: str) -> Any:
    return fconvert(decode_fp8(fs1, mx_format), "f32")


def _bfloat(fs1: Any, mx_format: str) -> Any:
    return cast(bitcast(fconvert(decode_fp8(fs1, mx_format), "f32"), "u32") >> 16, "u16")


_BF16: dict[str, Any] = {"rounds": True, "raises": True, "sew": 16}

ROWS = [
    Insn("dmsrc", "0000000 rs2 rs1 000 00000 0101011", "rs1, rs2", Kind.SYSTEM, "dma", None,
         "Set the DMA source address.", "Xdma"),
    Insn("dmdst", "0000001 rs2 rs1 000 00000 0101011", "rs1, rs2", Kind.SYSTEM, "dma", None,
         "Set the DMA destination address.", "Xdma"),
    Insn("dmcpyi", "0000010 uimm[4:0] rs1 000 rd 0101011", "rd, rs1, uimm", Kind.SYSTEM, "dma", None,
         "Queue a transfer of rs1 bytes a row; uimm bit 1: two-dimensional; rd = transfer id.", "Xdma"),
    Insn("dmstati", "0000100 uimm[4:0] 00000 000 rd 0101011", "rd, uimm", Kind.SYSTEM, "dma", None,
         "DMA status: 0 = last completed transfer id, 2 = busy.", "Xdma"),
    Insn("dmstr", "0000110 rs2 rs1 000 00000 0101011", "rs1, rs2", Kind.SYSTEM, "dma", None,
         "Set the DMA source and destination strides.", "Xdma"),
    Insn("dmrep", "0000111 00000 rs1 000 00000 0101011", "rs1", Kind.SYSTEM, "dma", None,
         "Set the number of DMA rows.", "Xdma"),
    Insn("flb", "imm[11:0] rs1 000 fd 0001011", "fd:u8, imm(rs1)", Kind.LOAD, "fload", None,
         "Load a byte into a float register.", "Xf8"),
    Insn("fsb", "imm[11:5] fs2 rs1 001 imm[4:0] 0001011", "fs2:u8, imm(rs1)", Kind.STORE, "fstore", None,
         "Store the low byte of a float register.", "Xf8"),
    Insn("fcvt.h.b", "0000000 00000 fs1 010 fd 0001011", "fd:f16, fs1:u8", Kind.MAP, "fcvt", _half,
         "FP8 (format from fcsr) to FP16.", "Xf8"),
    Insn("fcvt.s.b", "0000001 00000 fs1 010 fd 0001011", "fd:f32, fs1:u8", Kind.MAP, "fcvt", _single,
         "FP8 (format from fcsr) to FP32.", "Xf8"),
    # Spatz widens FP8 vectors by ``vfwadd.vf`` with 0.0 (facts vmxdotp §3.4); V 1.0 has no FP8 for that row, so the
    # operation stands here on its own, in the same unit and with the same latency.
    Insn("vfwcvt.h.b", "000010 vm vs2 00000 011 vd 0001011", "vd:u16, vs2:u8, vm", Kind.MAP, "vfma",
         lambda vs2, mx_format: bitcast(decode_fp8(vs2, mx_format), "u16"),
         "Widen FP8 elements (format from fcsr) to FP16.", "Xf8", {"sew": 8}),
    # Spatz's alternate 16-bit format, chosen in fcsr there, as rows of their own (facts vmxdotp §3.4).
    Insn("fcvt.bf16.b", "0000010 00000 fs1 010 fd 0001011", "fd:u16, fs1:u8", Kind.MAP, "fcvt", _bfloat,
         "FP8 (format from fcsr) to BF16.", "Xf8"),
    Insn("vfmacc.bf16.vf", "000011 vm vs2 fs1 101 vd 0001011", "vd:u16, fs1:u16, vs2:u16, vm", Kind.MAP, "vfma",
         lambda vd, fs1, vs2, fp: fp.fma_bf16(fs1, vs2, vd), "BF16 multiply-add.", "Xf8", _BF16),
    Insn("vfmacc.bf16.vv", "000011 vm vs2 vs1 100 vd 0001011", "vd:u16, vs1:u16, vs2:u16, vm", Kind.MAP, "vfma",
         lambda vd, vs1, vs2, fp: fp.fma_bf16(vs1, vs2, vd), "BF16 multiply-add.", "Xf8", _BF16),
]  # fmt: skip
