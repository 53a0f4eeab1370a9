"""The part of the machine state that decoding depends on; constant within a basic block."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

FORMATS = {"e5m2": 0, "e4m3": 1}
VILL = 1 << 9  # our place for vtype's vill bit in a context key
PARTWAY = 1 << 10
"""Our place in a context key for "vector instructions start at element vstart and go element by element"."""


class Context(NamedTuple):
    """vtype and the control bits of fcsr. A tuple, because it is hashed whenever a block is looked up.

    Attributes:
        vtype: low nine bits as in the CSR (vlmul, vsew, vta, vma, altfmt), bit 9 = vill, bit 10 = partway.
        control: fcsr bits 13:5 (frm, then the VMXDOTP format bits of facts vmxdotp §1.3).
    """

    vtype: int
    control: int = 0

    @property
    def vill(self) -> bool:
        """Whether vector instructions that depend on vtype are illegal."""
        return bool(self.vtype & VILL)

    @property
    def partway(self) -> bool:
        """Whether the next vector instruction starts at element vstart."""
        return bool(self.vtype & PARTWAY)

    @property
    def sew(self) -> int:
        """Selected element width in bits."""
        return 8 << (self.vtype >> 3 & 7)

    @property
    def lmul(self) -> Fraction:
        """Register group multiplier."""
        code = self.vtype & 7
        return Fraction(1 << code) if code < 4 else Fraction(1, 1 << 8 - code)

    @property
    def altfmt(self) -> int:
        """Alternate format bit (Zvfofp8min: 0 = E4M3, 1 = E5M2)."""
        return self.vtype >> 8 & 1

    @property
    def frm(self) -> int:
        """Dynamic rounding mode."""
        return self.control & 7

    @property
    def bf16_destination(self) -> bool:
        """fmode.dst, fcsr bit 8: must be set for the 16-bit VMXDOTP forms."""
        return bool(self.control >> 3 & 1)

    @property
    def mx_format(self) -> str:
        """Element format of VMXDOTP: fcsr.src_fmt = 8 selects E2M1, else fmode.src picks the FP8 format."""
        if self.control >> 5 & 15 == 8:
            return "e2m1"
        return "e4m3" if self.control >> 4 & 1 else "e5m2"

    def vlmax(self, vlen: int) -> int:
        """Largest vl."""
        return int(vlen * self.lmul / self.sew)


def legal_vtype(vtype: int, elen: int = 64) -> bool:
    """Whether a vtype immediate is supported: known LMUL and SEW, SEW at most LMUL*ELEN, altfmt with SEW=8 alone."""
    context = Context(vtype)
    reserved = vtype >> 9 or vtype & 7 == 4 or vtype >> 3 & 7 > 3 or (context.altfmt and context.sew != 8)
    return not reserved and context.sew <= elen and context.sew <= context.lmul * elen
