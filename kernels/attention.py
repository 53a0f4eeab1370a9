"""Attention of a few rows of queries to one group's keys and values: scores from keys as they lie, then mixing values.

Both products run as fast as FP32 multiply-adds go: a register group of keys (strided loads, a lane per position) or of
values (a lane per column) is used by up to four rows. Between them is `potluck.kernels.softmax`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels import fp32math
from potluck.kernels.base import Kernel, add_immediate, float_constant
from potluck.kernels.fp32math import F32

TOGETHER = 4
"""Rows whose sums are in registers."""
ACC = [f"v{4 * row}" for row in range(TOGETHER)]
BUFFERS = ("v16", "v20", "v24", "v28")
UNROLL = 4
POINTERS = ("t2", "t3", "t4", "t5")
SCALE = "fa0"
LENGTHS = 64
"""Positions of a strip at most; the vector unit takes fewer where a register group holds fewer."""


def _scalar(row: int, step: int) -> str:
    """The register of a row's factor; two sets take turns."""
    return f"ft{row + TOGETHER * (step % 2)}"


def row_groups(rows: int) -> Iterator[range]:
    """Rows that are computed together."""
    return (range(first, min(first + TOGETHER, rows)) for first in range(0, rows, TOGETHER))


def key_pitch(depth: int) -> int:
    """Bytes from key to key in L1: an odd number of 64-bit words, so that strided loads meet every bank."""
    return 8 * (-(-depth // 2) | 1)


@dataclass(frozen=True)
class Scores(Kernel):
    """S[r, t] = (sum over d of Q[r, d] K[t, d]) scale + mask[r mod masks, t]; fused multiply-adds in ascending d.

    Registers: a0 Q, FP32 [rows][depth]; a1 K, FP32 [count][depth], rows `key_pitch` bytes apart; a2 S, FP32
    [rows][count], rows ``pitch`` elements apart; a3 mask, FP32 [masks][count], rows ``mask_pitch`` elements apart;
    a4 count (may be 0); a5 positions of a strip, see `potluck.kernels.base.even_strip`.

    Attributes:
        rows: Rows of queries.
        depth: Length of a key.
        scale: Factor.
        pitch: Of S.
        masks: Rows of the mask, 0: none.
        mask_pitch: Of the mask.
    """

    rows: int
    depth: int
    scale: float
    pitch: int
    masks: int = 0
    mask_pitch: int = 0

    def __post_init__(self) -> None:
        if self.rows < 1 or self.depth < 1:
            raise DataError(f"{self.name}: {self.rows} rows of {self.depth}", hint="Use sizes of 1 or more")

    @property
    def macs(self) -> int:
        """Per position."""
        return self.rows * self.depth

    @property
    def count_register(self) -> str:
        """Positions."""
        return "a4"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        head, done = a.fresh("scores_strip"), a.fresh("scores_done")
        a("beqz", "a4", done)
        float_constant(a, SCALE, self.scale)
        a("li", "a6", key_pitch(self.depth))
        a.label(head)
        fits = a.fresh("scores_length")
        a("mv", "t1", "a5")
        a("bgeu", "a4", "a5", fits)
        a("mv", "t1", "a4")
        a.label(fits)
        a("vsetvli", "t0", "t1", "e32", "m4", "ta", "ma")
        for rows in row_groups(self.rows):
            self._products(a, rows)
            self._finish(a, rows)
        a("mul", "t1", "t0", "a6")
        a("add", "a1", "a1", "t1")
        a("slli", "t1", "t0", 2)
        a("add", "a2", "a2", "t1")
        a("add", "a3", "a3", "t1")
        a("sub", "a4", "a4", "t0")
        a("bnez", "a4", head)
        a.label(done)

    def _products(self, a: Assembler, rows: range) -> None:
        """The sums of some rows for a strip: a step is one element of the keys, loaded a step ahead."""
        for at, row in enumerate(rows):
            add_immediate(a, POINTERS[at], 4 * self.depth * row, source="a0")
        a("mv", "t6", "a1")
        for at, _ in enumerate(rows):
            a("vmv.v.i", ACC[at], 0)
        self._load(a, len(rows), 0, 0)
        turns, rest = divmod(self.depth - 1, UNROLL)
        if turns:
            head = a.fresh("scores_depth")
            if turns > 1:
                a("li", "a7", turns)
                a.label(head)
            for step in range(UNROLL):
                self._load(a, len(rows), step + 1, step + 1)
                self._multiply(a, len(rows), step)
            for at, _ in enumerate(rows):
                a("addi", POINTERS[at], POINTERS[at], 4 * UNROLL)
            if turns > 1:
                a("addi", "a7", "a7", -1)
                a("bnez", "a7", head)
        for step in range(rest):
            self._load(a, len(rows), step + 1, step + 1)
            self._multiply(a, len(rows), step)
        self._multiply(a, len(rows), rest)

    @staticmethod
    def _load(a: Assembler, rows: int, step: int, offset: int) -> None:
        a("vlse32.v", BUFFERS[step % 2], "(t6)", "a6")
        a("addi", "t6", "t6", 4)
        for row in range(rows):
            a("flw", _scalar(row, step), f"{4 * offset}({POINTERS[row]})")

    @staticmethod
    def _multiply(a: Assembler, rows: int, step: int) -> None:
        for row in range(rows):
            a("vfmacc.vf", ACC[row], _scalar(row, step), BUFFERS[step % 2])

    def _finish(self, a: Assembler, rows: range) -> None:
        """Scale, mask, store."""
        for at, row in enumerate(rows):
            if self.masks and (not at or self.masks > 1):
                add_immediate(a, "t1", 4 * self.mask_pitch * (row % self.masks), source="a3")
                a("vle32.v", BUFFERS[2 + at % 2 * (self.masks > 1)], "(t1)")
            a("vfmul.vf", ACC[at], ACC[at], SCALE)
            if self.masks:
                a("vfadd.vv", ACC[at], ACC[at], BUFFERS[2 + at % 2 * (self.masks > 1)])
        for at, row in enumerate(rows):
            add_immediate(a, "t1", 4 * self.pitch * row, source="a2")
            a("vse32.v", ACC[at], "(t1)")

    def contract(self, q: F32, k: F32, mask: F32 | None = None) -> F32:
        """S bit for bit: float32 [rows, count] from q [rows, depth], k [count, depth], mask [masks, count]."""
        acc: F32 = np.zeros((self.rows, len(k)), np.float32)
        for d in range(self.depth):
            acc = fp32math.fma(q[:, d, None], k[None, :, d], acc)
        acc = fp32math.mul(acc, np.float32(self.scale))
        if mask is None:
            return acc
        return fp32math.add(acc, mask[np.arange(self.rows) % self.masks])


@dataclass(frozen=True)
class Mix(Kernel):
    """O[r, c] = O[r, c] + sum over t of S[r, t] V[t, c], fused multiply-adds in ascending t.

    Registers: a0 S, FP32 [rows][count], rows ``pitch`` elements apart; a1 V, FP32 [count][columns], rows ``width``
    elements apart; a2 O, FP32 [rows][columns], rows ``width`` apart; a4 count; a5 columns (may be 0); a6: 0 to begin
    from +0 instead of O.

    Attributes:
        rows: Rows of queries.
        width: Of V and O.
        pitch: Of S.
    """

    rows: int
    width: int
    pitch: int

    @property
    def macs(self) -> int:
        """Per position."""
        return self.rows * self.width

    @property
    def count_register(self) -> str:
        """Positions."""
        return "a4"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        head, done = a.fresh("mix_strip"), a.fresh("mix_done")
        a("beqz", "a5", done)
        a("li", "a3", 4 * self.width)
        a.label(head)
        a("vsetvli", "t0", "a5", "e32", "m4", "ta", "ma")
        for rows in row_groups(self.rows):
            self._begin(a, rows)
            self._positions(a, rows)
            for at, row in enumerate(rows):
                add_immediate(a, "t1", 4 * self.width * row, source="a2")
                a("vse32.v", ACC[at], "(t1)")
        a("slli", "t1", "t0", 2)
        a("add", "a1", "a1", "t1")
        a("add", "a2", "a2", "t1")
        a("sub", "a5", "a5", "t0")
        a("bnez", "a5", head)
        a.label(done)

    def _begin(self, a: Assembler, rows: range) -> None:
        again, ready = a.fresh("mix_again"), a.fresh("mix_ready")
        a("bnez", "a6", again)
        for at, _ in enumerate(rows):
            a("vmv.v.i", ACC[at], 0)
        a("j", ready)
        a.label(again)
        for at, row in enumerate(rows):
            add_immediate(a, "t1", 4 * self.width * row, source="a2")
            a("vle32.v", ACC[at], "(t1)")
        a.label(ready)

    def _positions(self, a: Assembler, rows: range) -> None:
        """All positions: some at a time, whose values are loaded as many ahead, then the rest one by one."""
        many, last, few, single, over = (
            a.fresh(f"mix_{name}") for name in ("many", "last", "few", "single", "over")
        )
        for at, row in enumerate(rows):
            add_immediate(a, POINTERS[at], 4 * self.pitch * row, source="a0")
        a("mv", "t6", "a1")
        a("srli", "a7", "a4", UNROLL.bit_length() - 1)
        a("beqz", "a7", few)
        for step in range(UNROLL):
            self._load(a, step)
        self._factors(a, len(rows), 0)
        a("addi", "a7", "a7", -1)
        a("beqz", "a7", last)
        a.label(many)
        for step in range(UNROLL):
            self._multiply(a, len(rows), step, following=step + 1)
            self._load(a, step)
        self._advance(a, len(rows), UNROLL)
        a("addi", "a7", "a7", -1)
        a("bnez", "a7", many)
        a.label(last)
        for step in range(UNROLL):
            self._multiply(a, len(rows), step, following=(step + 1) % UNROLL)
        self._advance(a, len(rows), UNROLL)
        a.label(few)
        a("andi", "a7", "a4", UNROLL - 1)
        a("beqz", "a7", over)
        a.label(single)
        self._load(a, 0)
        self._factors(a, len(rows), 0)
        self._multiply(a, len(rows), 0, following=0)
        self._advance(a, len(rows), 1)
        a("addi", "a7", "a7", -1)
        a("bnez", "a7", single)
        a.label(over)

    @staticmethod
    def _load(a: Assembler, step: int) -> None:
        a("vle32.v", BUFFERS[step], "(t6)")
        a("add", "t6", "t6", "a3")

    @staticmethod
    def _factors(a: Assembler, rows: int, step: int) -> None:
        for row in range(rows):
            a("flw", _scalar(row, 0), f"{4 * step}({POINTERS[row]})")

    @staticmethod
    def _advance(a: Assembler, rows: int, steps: int) -> None:
        for row in range(rows):
            a("addi", POINTERS[row], POINTERS[row], 4 * steps)

    @staticmethod
    def _multiply(a: Assembler, rows: int, step: int, following: int) -> None:
        """A step, and each row's factor for the one ``following``; 0: none."""
        for row in range(rows):
            a("vfmacc.vf", ACC[row], _scalar(row, 0), BUFFERS[step])
            if following:
                a("flw", _scalar(row, 0), f"{4 * following}({POINTERS[row]})")

    def contract(self, s: F32, v: F32, start: F32 | None = None) -> F32:
        """O bit for bit: float32 [rows, columns] from s [rows, count], v [count, columns], and O before."""
        acc: F32 = np.zeros((self.rows, v.shape[1]), np.float32) if start is None else start
        for t in range(len(v)):
            acc = fp32math.fma(s[:, t, None], v[None, t], acc)
        return acc
