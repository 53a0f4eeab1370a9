"""Packed 4- or 6-bit elements to bytes in working memory: a look-up in a table of what each code becomes.

Codes lie in planes, so that every byte of the output comes from whole vectors. Four bits: byte i holds elements i (low
nibble) and i + n/2. Six bits, with quarters q0..q3 of n/4 elements: plane j < 3 holds q_j in the low six bits and two
bits of q3 above (bits 2j, 2j + 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels.base import Kernel
from potluck.kernels.emission import advance

U8 = NDArray[np.uint8]
Bits = Literal[4, 6]
GRANULE = 32
"""Elements that a count is a multiple of: planes are whole 64-bit words."""


def packed_bytes(count: int, bits: Bits) -> int:
    """Bytes of the table and of so many codes."""
    return (1 << bits) + count * bits // 8


def pack_elements(codes: U8, table: U8, bits: Bits) -> U8:
    """The table and the planes of flat codes.

    Raises:
        DataError: A number of codes that is no multiple of `GRANULE`, or a table of another length.
    """
    if codes.size % GRANULE or table.size != 1 << bits:
        raise DataError(
            f"{codes.size} codes of {bits} bits and a table of {table.size} bytes cannot be packed"
        )
    if bits == 4:
        low, high = codes.reshape(2, -1)
        return np.concatenate([table, low | high << 4])
    *quarters, last = codes.reshape(4, -1)
    planes = [quarter | (last >> 2 * j & 3) << 6 for j, quarter in enumerate(quarters)]
    return np.concatenate([table, *planes])


@dataclass(frozen=True)
class ExpandElements(Kernel):
    """out[i] = table[code[i]].

    Registers: a1 table, uint8 [2^bits], and behind it the planes; a2 out, uint8 [count]. Clobbers a1, t0-t5, v0-v31,
    vtype and vl; a2 and all other arguments stay.

    Attributes:
        count: Elements, a multiple of `GRANULE`.
        bits: Of a code.
    """

    count: int
    bits: Bits

    def __post_init__(self) -> None:
        if self.count % GRANULE or self.bits not in (4, 6):
            raise DataError(
                f"{self.name}: {self.count} codes of {self.bits} bits",
                hint=f"Use a multiple of {GRANULE} codes of 4 or 6 bits",
            )

    @property
    def planes(self) -> int:
        """Arrays of bytes that are read together."""
        return 1 if self.bits == 4 else 3

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        again, parts = a.fresh("expand"), self.planes + 1
        part = self.count // parts
        a.comment(f"{self.count} codes of {self.bits} bits to bytes")
        a("li", "t0", 1 << self.bits)
        a("vsetvli", "zero", "t0", "e8", "m4", "ta", "ma")
        a("vle8.v", "v16", "(a1)")
        a("add", "a1", "a1", "t0")
        a("li", "t0", part)
        a("mv", "t1", "a2")
        a.label(again)
        a("vsetvli", "t3", "t0", "e8", "m4", "ta", "ma")
        planes = [f"v{4 * j}" for j in range(self.planes)]
        for j, plane in enumerate(planes):
            advance(a, "t5", j * part, source="a1")
            a("vle8.v", plane, "(t5)")
        if self.bits == 4:
            self._look_up(a, "v20", "v0", 0, part, mask=15)
            a("vsrl.vi", "v24", "v0", 4)
            self._look_up(a, "v20", "v24", 1, part)
        else:
            a("li", "t2", 63)
            for j, plane in enumerate(planes):
                a("vand.vx", "v24", plane, "t2")
                self._look_up(a, "v20", "v24", j, part)
                a("vsrl.vi", plane, plane, 6)
            for j, plane in enumerate(planes[1:], 1):
                a("vsll.vi", plane, plane, 2 * j)
                a("vor.vv", "v0", "v0", plane)
            self._look_up(a, "v20", "v0", 3, part)
        a("add", "a1", "a1", "t3")
        a("add", "t1", "t1", "t3")
        a("sub", "t0", "t0", "t3")
        a("bnez", "t0", again)

    def _look_up(self, a: Assembler, out: str, codes: str, index: int, part: int, mask: int = 0) -> None:
        """Stores what the codes become as the ``index``-th part of the output."""
        if mask:
            a("vand.vi", "v24", codes, mask)
            codes = "v24"
        a("vrgather.vv", out, "v16", codes)
        advance(a, "t5", index * part, source="t1")
        a("vse8.v", out, "(t5)")

    def contract(self, packed: U8) -> U8:
        """The bytes: uint8 [count] from the table and the planes."""
        table, planes = packed[: 1 << self.bits], packed[1 << self.bits :].reshape(self.planes, -1)
        if self.bits == 4:
            codes = np.concatenate([planes[0] & 15, planes[0] >> 4])
        else:
            last = planes[0] >> 6 | planes[1] >> 6 << 2 | planes[2] >> 6 << 4
            codes = np.concatenate([*(planes & 63), last])
        return np.asarray(table[codes], np.uint8)
