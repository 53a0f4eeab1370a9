"""Attention of many rows of queries: the three phases of a tile, four rows at a time.

Rows are taken in fours (`GRANULE`), counted from a head's first row; what is left at its end, one by one. A hart
computes every ``step``-th four. Under a causal mask a row looks at no position behind the last one that its four see:
scores there are not computed, shares are zero. So it follows from the row alone what is computed, on every machine.

Scores, softmax and mixing are those of `potluck.kernels.attention` and `potluck.kernels.softmax`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from potluck.isa.assembly.assembler import Assembler
from potluck.kernels.attention import LENGTHS, Mix, Scores
from potluck.kernels.base import Kernel, add_immediate, emit_even_strip, saved
from potluck.kernels.fp32math import F32
from potluck.kernels.softmax import STRIP, Softmax, emit_constants

GRANULE = 4
"""Rows that are computed together, and see the same positions under a causal mask."""
WORD = 4
MINUS_INFINITY = -(1 << 23)
"""Its bits, sign-extended."""
KEPT = tuple(f"s{i}" for i in range(7))
"""Hold a0-a6 while rows pass."""


def granules(rows: int, step: int) -> Iterator[tuple[int, int]]:
    """(first row, number) of what a hart computes of its ``rows`` rows, which begin with its first four."""
    for first in range(0, rows, GRANULE * step):
        if rows - first >= GRANULE:
            yield first, GRANULE
        else:
            yield from ((row, 1) for row in range(first, rows))


def seen(limit: int, first: int, count: int) -> int:
    """Positions that rows see under a causal mask, where the first four see ``limit``."""
    return limit + first + count - GRANULE


def _each(
    a: Assembler, step: int, pitches: Mapping[str, int], limit: str, rows: str, body: Callable[[int], None]
) -> None:
    """Runs ``body(rows together)`` for what a hart computes.

    Args:
        a: Assembler.
        step: See the module.
        pitches: Registers, and the bytes from row to row by which they advance.
        limit: Register with the positions that the current rows see, which advances as well; empty: all see all.
        rows: Register with the rows that are left.
        body: Emits the work.
    """
    many, few, single, done = (a.fresh(f"rows_{name}") for name in ("many", "few", "single", "done"))
    a("li", "t0", GRANULE)
    a("blt", rows, "t0", few)
    a.label(many)
    body(GRANULE)
    for register, size in pitches.items():
        add_immediate(a, register, size * GRANULE * step)
    if limit:
        a("addi", limit, limit, GRANULE * step)
    a("addi", rows, rows, -GRANULE * step)
    a("li", "t0", GRANULE)
    a("bge", rows, "t0", many)
    a.label(few)
    a("blez", rows, done)
    if limit:
        a("addi", limit, limit, 1 - GRANULE)
    a.label(single)
    body(1)
    for register, size in pitches.items():
        add_immediate(a, register, size)
    if limit:
        a("addi", limit, limit, 1)
    a("addi", rows, rows, -1)
    a("bnez", rows, single)
    a.label(done)


def _keep(a: Assembler, count: int) -> None:
    for register in range(count):
        a("mv", KEPT[register], f"a{register}")


def _visible(a: Assembler, register: str, causal: bool, skip: str) -> None:
    """``register`` = positions of this tile that the current rows see; leaves to ``skip`` if there are none."""
    a("mv", register, "s4")
    if causal:
        every = a.fresh("rows_every")
        a("bge", "s5", "s4", every)
        a("mv", register, "s5")
        a("blez", register, skip)
        a.label(every)


@dataclass(frozen=True)
class RowScores(Kernel):
    """S = scale Q Kᵀ + mask for some rows and some positions.

    Registers: a0 Q, FP32 [rows][depth]; a1 K, as `potluck.kernels.attention.Scores` takes it; a2 S, FP32, rows
    ``pitch`` elements apart; a3 mask, one row or one for each; a4 positions; a5 how many of them the first four rows
    see, negative if they end before (if ``causal``); a6 rows, from the hart's first one. 64 bytes below sp are used.

    Attributes:
        depth: Length of a key.
        scale: Factor.
        pitch: Of S.
        step: A hart computes every step-th four rows.
        masks: 0: none, 1: the same for all rows, else each row has one.
        mask_pitch: Elements from row to row of the mask.
        causal: Whether rows see only what lies before them.
    """

    depth: int
    scale: float
    pitch: int
    step: int
    masks: int = 0
    mask_pitch: int = 0
    causal: bool = False

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a6"

    def of(self, rows: int) -> Scores:
        """What computes so many rows."""
        masks = rows if self.masks > 1 else self.masks
        return Scores(rows, self.depth, self.scale, self.pitch, masks, self.mask_pitch)

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        pitches = {"s0": WORD * self.depth, "s2": WORD * self.pitch}
        if self.masks > 1:
            pitches["s3"] = WORD * self.mask_pitch
        with saved(a, KEPT):
            _keep(a, 7)
            _each(a, self.step, pitches, "s5" if self.causal else "", "s6", lambda rows: self._rows(a, rows))

    def _rows(self, a: Assembler, rows: int) -> None:
        skip = a.fresh("rows_skip")
        _visible(a, "a4", self.causal, skip)
        emit_even_strip(a, "a5", "a4", LENGTHS)
        for register in range(4):
            a("mv", f"a{register}", f"s{register}")
        self.of(rows).emit(a)
        a.label(skip)

    def contract(self, q: F32, k: F32, s: F32, mask: F32 | None, limit: int) -> F32:
        """S [rows, pitch] bit for bit, from what it was and q [rows, depth], k [positions, depth], mask."""
        s = s.copy()
        for first, count in granules(len(q), self.step):
            n = min(len(k), seen(limit, first, count)) if self.causal else len(k)
            if n > 0:
                part = slice(first, first + count)
                added = None if mask is None else mask[part if self.masks > 1 else slice(0, 1), :n]
                s[part, :n] = self.of(count).contract(q[part], k[:n], added)
        return s


@dataclass(frozen=True)
class RowShares(Kernel):
    """Softmax of rows in place.

    Registers: a0 S, FP32, rows ``pitch`` elements apart; a4 positions; a5 and a6 as `RowScores`. 64 bytes below sp are
    used.

    Attributes:
        pitch: Of S.
        step: A hart computes every step-th four rows.
        causal: Whether rows see only what lies before them.
    """

    pitch: int
    step: int
    causal: bool = False

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a6"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        with saved(a, KEPT):
            _keep(a, 7)
            emit_constants(a)
            limit = "s5" if self.causal else ""
            _each(a, self.step, {"s0": WORD * self.pitch}, limit, "s6", lambda rows: self._rows(a, rows))

    def _rows(self, a: Assembler, rows: int) -> None:
        skip = a.fresh("rows_skip")
        _visible(a, "a7", self.causal, skip)
        if self.causal and rows == GRANULE:
            self._hide(a)
        for register in ("a0", "a1"):
            a("mv", register, "s0")
        emit_even_strip(a, "a6", "a7", STRIP)
        Softmax(0, self.pitch).emit_rows(a, rows)
        a.label(skip)

    def _hide(self, a: Assembler) -> None:
        """What the four rows do not all see."""
        a("slli", "t1", "a7", 2)
        a("add", "t1", "t1", "s0")
        a("li", "t2", MINUS_INFINITY)
        for row in range(GRANULE - 1):
            for behind in range(1, GRANULE - row):
                offset = WORD * (self.pitch * row - behind)
                if offset > 2047:
                    add_immediate(a, "t3", offset, source="t1")
                a("sw", "t2", "0(t3)" if offset > 2047 else f"{offset}(t1)")

    def contract(self, s: F32, positions: int, limit: int) -> F32:
        """S [rows, pitch] bit for bit, from what it was."""
        s = s.copy()
        for first, count in granules(len(s), self.step):
            n = seen(limit, first, count) if self.causal else positions
            part = s[first : first + count, :n]
            if self.causal and count == GRANULE:
                for row in range(GRANULE - 1):
                    part[row, n - (GRANULE - 1 - row) :] = -np.inf
            part[:] = Softmax(n).contract(part)
        return s


@dataclass(frozen=True)
class RowMix(Kernel):
    """O = O + S V for some rows and some positions.

    Registers: a0 S, FP32, rows ``pitch`` elements apart; a1 V, FP32 [positions][width]; a2 O, FP32 [rows][width]; a3: 0
    to begin from +0 instead of O; a4, a5 and a6 as `RowScores`. 64 bytes below sp are used.

    Attributes:
        width: Of V and O.
        pitch: Of S.
        step: A hart computes every step-th four rows.
        causal: Whether rows see only what lies before them.
    """

    width: int
    pitch: int
    step: int
    causal: bool = False

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a6"

    def of(self, rows: int) -> Mix:
        """What computes so many rows."""
        return Mix(rows, self.width, self.pitch)

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        pitches = {"s0": WORD * self.pitch, "s2": WORD * self.width}
        with saved(a, KEPT):
            _keep(a, 7)
            _each(a, self.step, pitches, "s5" if self.causal else "", "s6", lambda rows: self._rows(a, rows))

    def _rows(self, a: Assembler, rows: int) -> None:
        skip = a.fresh("rows_skip")
        _visible(a, "a4", self.causal, skip)
        for register in range(3):
            a("mv", f"a{register}", f"s{register}")
        a("mv", "a6", "s3")
        a("li", "a5", self.width)
        self.of(rows).emit(a)
        a.label(skip)

    def contract(self, s: F32, v: F32, o: F32, again: bool, limit: int) -> F32:
        """O [rows, width] bit for bit, from s [rows, positions], v [positions, width] and O before."""
        o = o.copy()
        for first, count in granules(len(o), self.step):
            n = min(len(v), seen(limit, first, count)) if self.causal else len(v)
            if n > 0:
                part = slice(first, first + count)
                o[part] = self.of(count).contract(s[part, :n], v[:n], o[part] if again else None)
        return o
