"""Four-bit weight codes to 8- or 16-bit levels in working memory: a look-up in a table of sixteen.

One table serves INT4 (two's complement codes) and every PoT code set. A byte holds the codes of an element of the first
half of the array (low nibble) and of the second half (high nibble), so that both are stored as they come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels.base import Kernel
from potluck.kernels.emission import advance

TABLE_BYTES = 32


def pack_codes(levels: NDArray[np.integer[Any]], table: NDArray[np.int16]) -> NDArray[np.uint8]:
    """The table, then an even number of levels in two halves, as `ExpandCodes` reads them.

    Raises:
        DataError: An odd number, or a level that the table lacks.
    """
    flat, entries = levels.reshape(-1), table.tolist()
    if flat.size % 2 or len(entries) != 16:
        raise DataError(f"{flat.size} codes and a table of {len(entries)} levels cannot be packed")
    codes_of = {level: code for code, level in reversed(list(enumerate(entries)))}
    missing = set(np.unique(flat).tolist()) - codes_of.keys()
    if missing:
        raise DataError(f"{sorted(missing)} are no levels of the table {entries}")
    unique, inverse = np.unique(flat, return_inverse=True)
    codes = np.array([codes_of[level] for level in unique.tolist()], np.uint8)[inverse]
    low, high = codes.reshape(2, -1)
    return np.concatenate([table.astype("<i2").view(np.uint8), low | high << 4])


@dataclass(frozen=True)
class ExpandCodes(Kernel):
    """out[i] = table[code[i]].

    Registers: a1 table, int16 [16], and behind it ``count / 2`` bytes of codes; a2 out, int8 or int16 [count]. Clobbers
    a1, t0-t5, v0-v9, v16-v18, vtype and vl; a2 and all other arguments stay.

    Attributes:
        count: Elements, even.
        bits: Of a level in memory.
    """

    count: int
    bits: Literal[8, 16] = 16

    @property
    def packed_bytes(self) -> int:
        """Bytes at a1."""
        return TABLE_BYTES + self.count // 2

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        again, half, wide = a.fresh("expand"), self.count // 2, self.bits == 16
        a("vsetivli", "zero", 16, "e16", "m2", "ta", "ma")
        a("vle16.v", "v16", "(a1)")
        if not wide:
            a("vsetvli", "zero", "zero", "e8", "m1", "ta", "ma")
            a("vnsrl.wi", "v18", "v16", 0)
        a("addi", "a1", "a1", TABLE_BYTES)
        a("li", "t0", half)
        a("mv", "t1", "a2")
        advance(a, "t2", half * self.bits // 8, source="a2")
        a.label(again)
        a("vsetvli", "t3", "t0", f"e{self.bits}", "m2" if wide else "m1", "ta", "ma")
        a("vle8.v", "v0", "(a1)")
        if wide:
            a("vzext.vf2", "v2", "v0")
        codes, table, step = ("v2", "v16", "t5") if wide else ("v0", "v18", "t3")
        a("vsrl.vi", "v4", codes, 4)
        a("vand.vi", "v2", codes, 15)
        for levels, index, to in (("v6", "v2", "t1"), ("v8", "v4", "t2")):
            a("vrgather.vv", levels, table, index)
            a(f"vse{self.bits}.v", levels, f"({to})")
        a("add", "a1", "a1", "t3")
        if wide:
            a("slli", "t5", "t3", 1)
        a("add", "t1", "t1", step)
        a("add", "t2", "t2", step)
        a("sub", "t0", "t0", "t3")
        a("bnez", "t0", again)

    def contract(self, packed: NDArray[np.uint8]) -> NDArray[np.integer[Any]]:
        """The levels bit for bit: int8 or int16 [count] from uint8 [32 + count / 2]."""
        table, codes = packed[:TABLE_BYTES].view("<i2"), packed[TABLE_BYTES:]
        levels = table[np.concatenate([codes & 15, codes >> 4])]
        return np.asarray(levels, np.int8 if self.bits == 8 else np.int16)
