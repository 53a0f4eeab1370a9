"""A row times an MX matrix without a pause: weights stream through a ring of buffers in L1, sums stay in registers.

Harts share the columns. A group is one vector of columns of each hart; its pieces are parts of K, one DMA transfer
each, all of a layer one behind the other in DRAM. A piece is straight code at the speed of the ports to L1: two
vectors of weights take turns. Where one ends, the next is there already, as hart 0 queues transfers one or two
pieces ahead of that: waiting for one's number, and the barrier, take place while the vector unit still works. A buffer
is filled again when the piece behind its own is computed, so that no load of it is under way.

A finished group's sums move to other registers and are stored from them within the next piece; the DMA takes them to
DRAM from the piece behind that on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from potluck.isa.assembly.assembler import Assembler
from potluck.kernels.base import Element, add_immediate, float_constant, set_format
from potluck.kernels.program import runtime

RINGS = (3, 4)
"""Buffers for pieces: all but one of them come before the layer begins, nearly always while others run."""
SUMS_RING = 8
"""Groups whose sums have room in L1, at least: a store to DRAM is behind fewer loads, so it ends before its room is
reused."""
LEAST_STEPS, MOST_STEPS, MOST_COLUMNS = 4, 96, 248
"""Of straight code: with two steps before the loads for later pieces; immediates reach all of it."""
ACC, DONE, WEIGHTS, SCALES = "v0", "v4", ("v8", "v16"), ("v24", "v25")
BASE, AT, SCALES_AT = "s2", "s3", "t5"  # this hart's part of the piece
X, X_SCALES = "s8", "s9"
GROUPS, PIECES, SUMS = "s10", "a2", "s11"
CODES_OFFSET, SCALES_OFFSET = "a0", "a1"
COMPLETE, STORED = "a3", "a4"  # whether there are sums in `DONE`; in L1 and not in DRAM
SOURCE, TARGET, LOADS = "s4", "s5", "s6"  # hart 0: the next piece's transfer
NUMBERS = ("a5", "a6", "a7")  # hart 0: of the transfers of the pieces that follow
RESULT, RESULT_SUMS = "t3", "t4"  # hart 0: the next store
SCRATCH = "t6"


@dataclass(frozen=True)
class Layout:
    """Where things are.

    Attributes:
        ring: L1 address of the first buffer.
        x: L1 address of the row's codes.
        x_scales: L1 address of its scales.
        sums: L1 address of results.
        weights: DRAM address of the first piece.
        size: Bytes of a piece's transfer.
        results: DRAM address and bytes of each matrix's product, in order.
    """

    ring: int
    x: int
    x_scales: int
    sums: int
    weights: int
    size: int
    results: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class MxStream:
    """y = clip(x W), one row.

    A piece is codes uint8 [harts][steps][columns][8], then at a multiple of 64 bytes scales [harts][blocks][columns].

    Attributes:
        columns: Of a hart's vector.
        harts: Cores.
        steps: Chunks of 64 bits in a piece.
        chunks: Of a block.
        pieces: Of a group.
        groups: In all.
        element: Element format.
        pitch: Bytes from piece to piece, in DRAM and L1.
        scales: Bytes from a piece's start to its scales.
        layout: Addresses.
        ring: Buffers.
        depth: Groups whose sums have room in L1; `SUMS_RING` at least, unless there are fewer.
        low: Lower bound of the fused activation, None: none.
        high: Upper bound.
    """

    columns: int
    harts: int
    steps: int
    chunks: int
    pieces: int
    groups: int
    element: Element
    pitch: int
    scales: int
    layout: Layout
    ring: int
    depth: int
    low: float | None = None
    high: float | None = None

    @property
    def first(self) -> int:
        """Pieces that come before the first is computed."""
        return self.ring - 1

    @property
    def waited(self) -> tuple[str, ...]:
        """Registers for numbers of transfers."""
        return NUMBERS[: self.first]

    @property
    def tiles(self) -> int:
        """Pieces of all groups."""
        return self.pieces * self.groups

    @property
    def blocks(self) -> int:
        """Scales of a column in a piece."""
        return self.steps // self.chunks

    @property
    def stored(self) -> int:
        """Bytes of a group's results."""
        return 4 * self.columns * self.harts

    def emit(self, a: Assembler, ahead: Callable[[], None]) -> None:
        """The layer's code behind the commands for the first pieces and the row.

        Clobbers what kernels do, s2-s6 and s8-s11.

        Args:
            a: Assembler.
            ahead: Emits hart 0's commands for the next layer; may clobber t0-t2.
        """
        piece, again, over = (a.fresh(f"stream_{name}") for name in ("piece", "again", "over"))
        self._start(a, ahead)
        a.label(piece)
        self._piece(a, ahead)
        self._next_buffer(a, BASE, self.layout.ring)
        add_immediate(a, X, 8 * self.steps)
        a("addi", X_SCALES, X_SCALES, self.blocks)
        a("addi", PIECES, PIECES, -1)
        a("bnez", PIECES, again)
        a("vmv.v.v", DONE, ACC)
        a("vmv.v.i", ACC, 0)
        a("li", COMPLETE, 1)
        self._row(a)
        a("addi", GROUPS, GROUPS, -1)
        a("beqz", GROUPS, over)
        a.label(again)
        self._wait(a)
        a("j", piece)
        a.label(over)
        self._end(a)

    def _start(self, a: Assembler, ahead: Callable[[], None]) -> None:
        """Waits for what is under way, then registers."""
        ready, at = a.fresh("stream_ready"), self.layout
        a("bnez", runtime.HART, ready)
        runtime.dma_wait(a)
        a.label(ready)
        runtime.barrier(a)
        set_format(a, self.element)
        a("li", SCRATCH, self.columns)
        a("vsetvli", "zero", SCRATCH, "e32", "m4", "ta", "ma")
        a("vmv.v.i", ACC, 0)
        for register, part, offset in (
            (CODES_OFFSET, 8 * self.steps * self.columns, 0), (SCALES_OFFSET, self.blocks * self.columns, self.scales),
            (SUMS, 4 * self.columns, at.sums),
        ):  # fmt: skip
            a("li", SCRATCH, part)
            a("mul", register, SCRATCH, runtime.HART)
            a("li", SCRATCH, offset)
            a("add", register, register, SCRATCH)
        for register, value in ((BASE, at.ring), (GROUPS, self.groups), (COMPLETE, 0), (STORED, 0)):
            a("li", register, value)
        self._row(a)
        for register, bound in (("ft8", self.low), ("ft9", self.high)):
            if bound is not None:
                float_constant(a, register, bound)
        rest = a.fresh("stream_rest")
        a("bnez", runtime.HART, rest)
        for register, value in (
            (SOURCE, at.weights + self.first * self.pitch), (TARGET, at.ring + self.first * self.pitch),
            (RESULT, at.results[0][0]), (RESULT_SUMS, at.sums), *((register, 0) for register in self.waited),
        ):  # fmt: skip
            a("li", register, value)
        a("li", LOADS, max(0, self.tiles - self.first))
        if self.tiles <= self.first:
            ahead()
        a.label(rest)

    def _row(self, a: Assembler) -> None:
        """Back to the row's beginning."""
        a("li", X, self.layout.x)
        a("li", X_SCALES, self.layout.x_scales)
        a("li", PIECES, self.pieces)

    def _piece(self, a: Assembler, ahead: Callable[[], None]) -> None:
        """All steps of a piece; the loads of a step before the product of the one before it."""
        a("add", AT, BASE, CODES_OFFSET)
        a("add", SCALES_AT, BASE, SCALES_OFFSET)
        self._operands(a, 0)
        for step in range(self.steps):
            scales = SCALES[step // self.chunks % 2]
            a("vmxdotp.wf", ACC, f"ft{step % 2}", WEIGHTS[step % 2], f"fa{step // self.chunks % 2}", scales)
            if step + 1 < self.steps:
                self._operands(a, step + 1)
            if step == 1:
                self._transfers(a, ahead)
                self._store(a)

    def _operands(self, a: Assembler, step: int) -> None:
        """Loads of a step."""
        turn = step // self.chunks % 2
        if not step % self.chunks:
            a("vle8.v", SCALES[turn], f"({SCALES_AT})")
            a("addi", SCALES_AT, SCALES_AT, self.columns)
            a("flb", f"fa{turn}", f"{step // self.chunks}({X_SCALES})")
        a("vle64.v", WEIGHTS[step % 2], f"({AT})")
        a("addi", AT, AT, 8 * self.columns)
        a("fld", f"ft{step % 2}", f"{8 * step}({X})")

    def _transfers(self, a: Assembler, ahead: Callable[[], None]) -> None:
        """Hart 0: sums to DRAM, the piece for the buffer that is free; behind the last, what the next layer needs."""
        over, full, none = (a.fresh(f"stream_{name}") for name in ("over", "full", "none"))
        a("bnez", runtime.HART, over)
        a("beqz", STORED, full)
        self._result(a)
        a("li", STORED, 0)
        a.label(full)
        if self.tiles > self.first:
            a("beqz", LOADS, none)
            self._load(a, self.waited[-1])
            a("addi", LOADS, LOADS, -1)
            a("bnez", LOADS, none)
            ahead()
            a.label(none)
        a.label(over)

    def _load(self, a: Assembler, number: str) -> None:
        """Asks for the next piece; its transfer's number goes to a register."""
        a("dmsrc", SOURCE, "zero")
        a("dmdst", TARGET, "zero")
        a("li", SCRATCH, self.layout.size)
        a("dmcpyi", number, SCRATCH, 0)
        add_immediate(a, SOURCE, self.pitch, scratch=SCRATCH)
        self._next_buffer(a, TARGET, self.layout.ring)

    def _next_buffer(self, a: Assembler, register: str, first: int) -> None:
        """A pointer to the ring moves on."""
        self._advance(a, register, self.pitch, first, self.ring)

    @staticmethod
    def _advance(a: Assembler, register: str, pitch: int, first: int, count: int) -> None:
        """A pointer moves on within a ring of so many places; clobbers t1."""
        same = a.fresh("stream_same")
        add_immediate(a, register, pitch, scratch=SCRATCH)
        a("li", SCRATCH, first + count * pitch)
        a("bltu", register, SCRATCH, same)
        a("li", SCRATCH, -count * pitch)
        a("add", register, register, SCRATCH)
        a.label(same)

    def _store(self, a: Assembler) -> None:
        """A finished group's sums to L1, if there are any."""
        none = a.fresh("stream_none")
        a("beqz", COMPLETE, none)
        self._sums(a)
        a("li", COMPLETE, 0)
        a("li", STORED, 1)
        a.label(none)

    def _sums(self, a: Assembler) -> None:
        if self.low is not None:
            a("vfmax.vf", DONE, DONE, "ft8")
        if self.high is not None:
            a("vfmin.vf", DONE, DONE, "ft9")
        a("vse32.v", DONE, f"({SUMS})")
        self._advance(a, SUMS, self.stored, self.layout.sums, self.depth)

    def _result(self, a: Assembler) -> None:
        """Hart 0: the oldest sums to DRAM."""
        a("dmsrc", RESULT_SUMS, "zero")
        a("dmdst", RESULT, "zero")
        a("li", SCRATCH, self.stored)
        a("dmcpyi", "zero", SCRATCH, 0)
        add_immediate(a, RESULT, self.stored, scratch=SCRATCH)
        for (first, size), (following, _) in pairwise(self.layout.results):
            within = a.fresh("stream_within")
            a("li", SCRATCH, first + size)
            a("bne", RESULT, SCRATCH, within)
            a("li", RESULT, following)
            a.label(within)
        self._advance(a, RESULT_SUMS, self.stored, self.layout.sums, self.depth)

    def _wait(self, a: Assembler) -> None:
        """Until the next piece is there and every hart has asked for all of this one."""
        poll, there = a.fresh("stream_poll"), a.fresh("stream_there")
        a("bnez", runtime.HART, there)
        a.label(poll)
        a("dmstati", SCRATCH, 0)
        a("bltu", SCRATCH, self.waited[0], poll)
        for to, source in pairwise(self.waited):
            a("mv", to, source)
        a.label(there)
        runtime.barrier(a)

    def _end(self, a: Assembler) -> None:
        """The last sums."""
        over, last = a.fresh("stream_over"), a.fresh("stream_last")
        self._sums(a)
        runtime.barrier(a)
        a("bnez", runtime.HART, over)
        a("beqz", STORED, last)
        self._result(a)
        a.label(last)
        self._result(a)
        a.label(over)
