"""Four-bit weight codes to 16-bit levels in working memory: a look-up in a table of sixteen.

One table serves INT4 (two's complement codes) and every PoT code set. A byte holds the codes of an element of the first
half of the array (low nibble) and of the second half (high nibble), so that both are stored as they come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembler import Assembler
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

    Registers: a1 table, int16 [16], and behind it ``count / 2`` bytes of codes; a2 out, int16 [count]. Clobbers a1,
    t0-t5, v0-v9, v16, v17, vtype and vl; a2 and all other arguments stay.

    Attributes:
        count: Elements, even.
    """

    count: int

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        again, half = a.fresh("expand"), self.count // 2
        a("vsetivli", "zero", 16, "e16", "m2", "ta", "ma")
        a("vle16.v", "v16", "(a1)")
        a("addi", "a1", "a1", TABLE_BYTES)
        a("li", "t0", half)
        a("mv", "t1", "a2")
        advance(a, "t2", 2 * half, source="a2")
        a.label(again)
        a("vsetvli", "t3", "t0", "e16", "m2", "ta", "ma")
        a("vle8.v", "v0", "(a1)")
        a("vzext.vf2", "v2", "v0")
        a("vsrl.vi", "v4", "v2", 4)
        a("vand.vi", "v2", "v2", 15)
        a("vrgather.vv", "v6", "v16", "v2")
        a("vrgather.vv", "v8", "v16", "v4")
        a("vse16.v", "v6", "(t1)")
        a("vse16.v", "v8", "(t2)")
        a("add", "a1", "a1", "t3")
        a("slli", "t5", "t3", 1)
        a("add", "t1", "t1", "t5")
        a("add", "t2", "t2", "t5")
        a("sub", "t0", "t0", "t3")
        a("bnez", "t0", again)

    def contract(self, packed: NDArray[np.uint8]) -> NDArray[np.int16]:
        """The levels bit for bit: int16 [count] from uint8 [32 + count / 2]."""
        table, codes = packed[:TABLE_BYTES].view("<i2"), packed[TABLE_BYTES:]
        return np.asarray(table[np.concatenate([codes & 15, codes >> 4])], np.int16)
