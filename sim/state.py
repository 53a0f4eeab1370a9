"""Byte layout of one hart's state and of a decoded instruction row.

Both are flat memory, shared by the generated code (which knows the offsets as constants), the Numba driver (which
reads a few words) and Python (which sees NumPy views).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

X = 0  # x0..x31; slot 32 swallows writes to x0
F = 272  # f0..f31, 64 raw bits each
_WORDS = [
    "vl", "vtype", "vstart", "vxsat", "vxrm", "fcsr", "next_pc", "event_row", "event_address", "code_key",
    "l1_base", "l1_host", "l1_bytes", "dram_base", "dram_host", "dram_bytes", "write_base", "write_host",
    "write_bytes", "hart", "vlenb", "dma_source", "dma_target", "dma_source_stride", "dma_target_stride",
    "dma_repeat", "page_base", "page_bytes", "page_delta", "page_table", "turn", "reserved",
]  # fmt: skip
_INDEX = {name: index for index, name in enumerate(_WORDS)}
WORD = {name: 528 + 8 * index for index, name in enumerate(_WORDS)}
PARTWAY = 1 << 62
"""Bit of the word ``vtype`` (not of the CSR): vstart is not 0, or the next vector instruction has to go element by
element because the memory it touches is not one piece. So the common case costs nothing: it is another context."""
CODES = 832  # access class of each memory instruction of the current block, one byte each
MAX_CODES = 64
# An access class: requests that meet at the fullest bank in a cycle in which every port asks for an element of its own
# (0: whole aligned words instead), and whether any byte lies in DRAM.
WAYS, IN_DRAM = 127, 128
KEY_MULTIPLIER = 0x9E3779B97F4A7C15
"""The word ``code_key`` of a block is the sum over its memory instructions of class x (slot + 1) x this."""
V = 1024  # v0..v31, contiguous, so that a register group is one array
PADDING = 128  # a chunk of the last group may be read and rewritten past its end

ROW = np.dtype(
    {
        "names": ["handler", "rd", "rs1", "rs2", "rs3", "rs4", "slot", "imm", "pc", "key", "next"],
        "formats": ["u8", "u4", "u4", "u4", "u4", "u4", "u4", "i8", "u8", "u8", "u8"],
        "offsets": [0, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56],
        "itemsize": 64,
    }
)
"""One decoded instruction: ``rd``..``rs4`` are byte offsets into the state, ``next`` the address of the
instruction after it; one cache line in all.
"""

# Why a block's chain of handlers returned to the driver. PIECEWISE: the instruction has to be executed again, element
# by element.
FALL, TAKEN, DYNAMIC, EVENT, FAULT, MISALIGNED, PIECEWISE = range(7)


class HartState:
    """One hart's architectural state with NumPy views on its parts."""

    def __init__(self, hart: int, vlen: int) -> None:
        vlenb = vlen // 8
        size = V + 32 * vlenb + PADDING
        raw = np.zeros(size + 64, np.uint8)
        start = -raw.ctypes.data % 64
        self.place(raw[start : start + size])
        self["hart"], self["vlenb"] = hart, vlenb
        self["vtype"] = 1 << 63  # vill until the first vset
        self["turn"], self["reserved"] = 2, (1 << 64) - 1  # alone until told otherwise; no reservation

    def place(self, raw: NDArray[np.uint8]) -> None:
        """Let the state be these bytes, whatever they hold: as many as it has, aligned to 64."""
        vlenb = (raw.size - V - PADDING) // 32
        self.raw = raw
        self.address: int = raw.ctypes.data
        self.x: NDArray[np.int64] = self.raw[X : X + 33 * 8].view(np.int64)
        self.f: NDArray[np.uint64] = self.raw[F : F + 32 * 8].view(np.uint64)
        self.v: NDArray[np.uint8] = self.raw[V : V + 32 * vlenb].reshape(32, vlenb)
        self.codes: NDArray[np.uint8] = self.raw[CODES : CODES + MAX_CODES]
        self._words: NDArray[np.uint64] = self.raw[528 : 528 + 8 * len(_WORDS)].view(np.uint64)

    def __getitem__(self, name: str) -> int:
        return self._words.item(_INDEX[name])

    def __setitem__(self, name: str, value: int) -> None:
        self._words[_INDEX[name]] = value & (1 << 64) - 1

    def dma_registers(self) -> list[int]:
        """Source, target, their strides and the repetitions of the DMA's next transfer."""
        first = _INDEX["dma_source"]
        registers: list[int] = self._words[first : first + 5].tolist()
        return registers

    def write_x(self, register: int, value: int) -> None:
        """Write an integer register, any integer modulo 2^64; x0 stays 0."""
        if register:
            self.x[register] = np.uint64(value & (1 << 64) - 1).astype(np.int64)
