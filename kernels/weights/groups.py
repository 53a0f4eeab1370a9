"""Four-bit weight codes in groups to bytes in working memory: each code times the multiple of its group and channel.

A group's scale is a small multiple of its output channel's, so that code times multiple is an integer of 8 bits and
sums over groups need no scale of their own. A byte of codes holds a channel of the first half of a row (low nibble,
two's complement) and of the second half (high nibble).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels.base import Kernel, S, loop, saved
from potluck.kernels.emission import advance

MOST_CODE = 8
"""Largest magnitude of a code."""


def multiples_of(levels: NDArray[np.integer[Any]], group: int) -> NDArray[np.int8]:
    """A multiple for every group of [KH, KW, C, N] integers along C: the least that makes 4-bit codes of them.

    Raises:
        DataError: There is none for some group.
    """
    kh, kw, depth, channels = levels.shape
    blocks = -(-depth // group)
    padded = np.pad(levels.astype(np.int64), [(0, 0)] * 2 + [(0, blocks * group - depth), (0, 0)])
    grouped = padded.reshape(kh, kw, blocks, group, channels)
    found = np.zeros((kh, kw, blocks, channels), np.int8)
    for multiple in range(1, 128 // (MOST_CODE - 1) + 1):
        codes, rest = np.divmod(grouped, multiple)
        fits = ~rest.any(axis=3) & (codes.min(axis=3) >= -MOST_CODE) & (codes.max(axis=3) < MOST_CODE)
        found[(found == 0) & fits] = multiple
    if not found.all():
        raise DataError(f"a group of {group} weights is no multiple of 4-bit codes")
    return found


def pack_groups(levels: NDArray[np.integer[Any]], group: int) -> NDArray[np.uint8]:
    """Multiples [KH, KW, groups of C, N], then codes [KH, KW, C, N / 2], of integers [KH, KW, C, N]; N is even."""
    multiples = multiples_of(levels, group)
    spread = np.repeat(multiples.astype(np.int64), group, axis=2)[:, :, : levels.shape[2]]
    codes = (levels.astype(np.int64) // spread & 15).astype(np.uint8)
    half = levels.shape[3] // 2
    packed = codes[..., :half] | codes[..., half:] << 4
    return np.concatenate([multiples.view(np.uint8).reshape(-1), packed.reshape(-1)])


@dataclass(frozen=True)
class ExpandGroups(Kernel):
    """out[t, k, n] = code[t, k, n] multiple[t, k / group, n].

    Registers: a1 data as `pack_groups` makes them; a2 out, int8 [taps][depth][row]. Clobbers a1, t0-t6, v0-v19, vtype
    and vl; a2 and all other arguments stay. 48 bytes below sp are used.

    Attributes:
        taps: Positions of the kernel.
        depth: Input channels of a tap.
        row: Output channels, those that fill a row up included; even.
        group: Input channels that share a multiple.
    """

    taps: int
    depth: int
    row: int
    group: int = 32

    def __post_init__(self) -> None:
        if min(self.taps, self.depth, self.row, self.group) < 1 or self.row % 2 or self.row > 2046:
            raise DataError(f"no weights {self}", hint="Use an even row of at most 2046 channels")

    @property
    def groups(self) -> int:
        """Multiples of a tap and channel."""
        return -(-self.depth // self.group)

    @property
    def count(self) -> int:
        """Elements."""
        return self.taps * self.depth * self.row

    @property
    def packed_bytes(self) -> int:
        """Bytes at a1."""
        return self.taps * self.groups * self.row + self.count // 2

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        full, rest = divmod(self.depth, self.group)
        again = a.fresh("expand_strip")
        a.comment(f"4-bit codes in groups of {self.group} to bytes")
        with saved(a, S[:5]):
            advance(a, "s0", self.taps * self.groups * self.row, source="a1")
            a("mv", "s1", "a2")
            a("li", "s2", self.row // 2)
            a.label(again)
            a("vsetvli", "t0", "s2", "e8", "m4", "ta", "ma")
            for to, source in (("t4", "s0"), ("t5", "s1"), ("t6", "a1")):
                a("mv", to, source)
            a("li", "t1", self.taps)
            with loop(a, "t1", name="expand_tap"):
                if full:
                    a("li", "t2", full)
                    with loop(a, "t2", name="expand_group"):
                        self._rows(a, self.group)
                if rest:
                    self._rows(a, rest)
            for register in ("s0", "s1", "a1"):
                a("add", register, register, "t0")
            a("sub", "s2", "s2", "t0")
            a("bnez", "s2", again)

    def _rows(self, a: Assembler, rows: int) -> None:
        """One group of a strip in both halves of its rows; t4, t5 and t6 advance past it."""
        half = self.row // 2
        a("vle8.v", "v4", "(t6)")
        a("addi", "t3", "t6", half)
        a("vle8.v", "v8", "(t3)")
        a("addi", "t6", "t6", self.row)
        a("li", "s3", rows)
        with loop(a, "s3", name="expand_row"):
            a("vle8.v", "v0", "(t4)")
            a("vsll.vi", "v12", "v0", 4)
            a("vsra.vi", "v12", "v12", 4)
            a("vsra.vi", "v16", "v0", 4)
            a("vmul.vv", "v12", "v12", "v4")
            a("vmul.vv", "v16", "v16", "v8")
            a("vse8.v", "v12", "(t5)")
            a("addi", "t3", "t5", half)
            a("vse8.v", "v16", "(t3)")
            a("addi", "t4", "t4", half)
            a("addi", "t5", "t5", self.row)

    def contract(self, packed: NDArray[np.uint8]) -> NDArray[np.int8]:
        """The integers bit for bit: int8 [taps, depth, row] from uint8 [packed_bytes]."""
        split = self.taps * self.groups * self.row
        multiples = packed[:split].view(np.int8).reshape(self.taps, self.groups, self.row)
        codes = packed[split:].reshape(self.taps, self.depth, -1).view(np.int8)
        whole = np.concatenate([codes << 4 >> 4, codes >> 4], axis=2)
        spread = np.repeat(multiples, self.group, axis=1)[:, : self.depth]
        return np.asarray(whole * spread, np.int8)
