"""The register tiles of the MX matrix product: software-pipelined across k steps, row groups and columns.

A tile is R rows times one vector of columns. Each k step issues R ``vmxdotp``, and after each of them the
load of the same row's next chunk into the register just read, so the scalar loads run a step ahead; the next
step's B chunks stream into the other of two vector buffers (facts vmxdotp 3.2).

Between tiles nothing drains: the last step loads the next tile's first operands, a finished row is stored LAG
multiply-adds after its last one, for the trailing rows within the next tile's first step, and each accumulator
is set to zero or bias on the slide unit right before its first ``vmxdotp``. Row groups are the inner loop,
columns the outer; where there is no next tile, valid addresses are read again. Two B scale registers take
turns so that a reload never waits for readers: Y serves each block's last step and X the others; with few rows, whose
loads are the bound, blocks take turns.

Registers: s0-s7 A rows, s8 A scales, s9 next tile's C, s10 C rows to store, s11 C pitch, t0 B, t1 B stride,
t2 B scales, t3 their pitch, t4 k loop counter and, from a tile's last step to the next one's first, the
finished tile's columns left, t5 row groups left in this column, t6 scratch, a7 columns left, a2, a3, a6 the
column's B, its scales and bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels.base import F, add_immediate

DATA, SCALE, BOUNDS = F[:8], F[8:16], F[16:18]
REACH = 2047
LAG = 4
"""Slots between a row's last multiply-add and its store."""


@dataclass(frozen=True)
class Problem:
    """Static facts of a matrix product; see `potluck.kernels.matmul.mx.MatmulMx`.

    Attributes:
        n: Columns.
        steps: Chunks of K.
        chunks: Chunks of a block.
        wide: FP32 accumulators (w-forms), else BF16 (q-forms).
        packed: B in the order of use.
        bias: Accumulators start from the bias.
        low: Lower bound at the store.
        high: Upper bound at the store.
        c_pitch: Bytes between rows of C.
        vlen: Vector register bits.
    """

    n: int
    steps: int
    chunks: int
    wide: bool
    packed: bool
    bias: bool
    low: float | None
    high: float | None
    c_pitch: int
    vlen: int

    @property
    def blocks(self) -> int:
        """Scales of a row."""
        return -(-self.steps // self.chunks)


class Tiles:
    """Emits all tiles of ``rows`` rows: ``a5 / rows`` row groups; a0, a1, a4, a5 advance past them."""

    def __init__(self, a: Assembler, problem: Problem, rows: int) -> None:
        self.a, self.p, self.rows = a, problem, rows
        self.double = double = (
            rows <= 2
        )  # longer vectors: few rows would leave the vector unit to wait for loads
        lmul = (2 if problem.wide else 1) * (2 if double else 1)
        self.vtype = ("e32" if problem.wide else "e16", f"m{lmul}", "ta", "ma")
        self.item = 4 if problem.wide else 2
        self.columns = problem.vlen // 16 * (2 if double else 1)
        self.acc = [f"v{lmul * r}" for r in range(rows)]
        self.b = ["v8", "v16"] if double else ["v16", "v20", "v24"]
        self.x, self.y, self.start = ("v24", "v25", "v28") if double else ("v28", "v29", "v30")
        self.period = problem.chunks * (2 if double else 1 + problem.chunks % 2)
        self.ragged = problem.n > self.columns and problem.n % self.columns != 0
        self.lag = min(LAG, rows)
        self.row_bytes = 8 * problem.steps
        span = 8 * (2 * self.period + 4)
        self.per_base = min(rows, max(1, (REACH - span) // self.row_bytes + 1))
        self.bases = [f"s{i}" for i in range(-(-rows // self.per_base))]
        if (rows - 1) * problem.blocks + 2 * self.period // problem.chunks + 2 > REACH or span > REACH:
            raise DataError(
                f"matrix product of {problem.steps} chunks along K: scales of {rows} rows out of reach",
                hint="Split the product along K or use smaller row groups",
            )
        self.origin = 0  # chunk the A bases stand at
        self.scale_at = 0  # block the B scale pointer stands at

    # -- static assignment of buffers to steps

    def _buffer(self, step: int) -> str:
        """B's buffer: alternating; with odd counts the first step's is a third one, if there is room."""
        if step:
            return self.b[step % 2]
        return self.b[2] if self.p.steps % 2 and len(self.b) > 2 else self.b[0]

    def _scale(self, step: int) -> str:
        """B's scale register; the first step's is not the last one's."""
        if self.double:  # a register a block: fewer loads
            blocks = self.p.blocks
            return "v26" if step == 0 and blocks % 2 else (self.x, self.y)[step // self.p.chunks % 2]
        if step:
            last = step % 2 == 0 if self.p.chunks == 1 else step % self.p.chunks == self.p.chunks - 1
            return self.y if last else self.x
        return self.y if self.p.steps > 1 and self._scale(self.p.steps - 1) == self.x else self.x

    # -- pieces

    def emit(self) -> None:
        """The whole loop nest."""
        a, rows = self.a, self.rows
        skip = a.fresh("mx_skip")
        a("srli", "t5", "a5", rows.bit_length() - 1)
        a("beqz", "t5", skip)
        self._constants()
        self._set_vl("a7")
        if self.p.steps == 1:
            self._single()
        else:
            self._pipeline()
        a("srli", "t5", "a5", rows.bit_length() - 1)  # advance the arguments
        for register, pitch in (("a0", self.row_bytes), ("a1", self.p.blocks), ("a4", self.p.c_pitch)):
            a("li", "t6", rows * pitch)
            a("mul", "t6", "t6", "t5")
            a("add", register, register, "t6")
        columns = (self.p.n - 1) // self.columns * self.columns
        add_immediate(a, "a2", -columns * (8 if self.p.packed else self.row_bytes))
        add_immediate(a, "a3", -columns)
        add_immediate(a, "a4", -columns * self.item)
        if self.p.bias:
            add_immediate(a, "a6", -columns * self.item)
        a("andi", "a5", "a5", rows - 1)
        a.label(skip)

    def _constants(self) -> None:
        """Registers that stay, and the first tile's pointers."""
        a, p = self.a, self.p
        a("li", "a7", p.n)
        if p.packed and 8 * p.n > REACH:
            a("li", "t1", 8 * p.n)
        if not p.packed:
            a("li", "t1", self.row_bytes)
        if p.n > REACH:
            a("li", "t3", p.n)
        if p.c_pitch > REACH:
            a("li", "s11", p.c_pitch)
        self._column_start()
        a("mv", "s10", "s9")

    def _column_start(self) -> None:
        """Pointers of A, its scales and C to the first row group of the column in a4."""
        for i, register in enumerate(self.bases):
            add_immediate(self.a, register, i * self.per_base * self.row_bytes, source="a0")
        self.a("mv", "s8", "a1")
        self.a("mv", "s9", "a4")

    def _set_vl(self, register: str) -> None:
        self.a("vsetvli", "zero", register, *self.vtype)

    def _load_b(self, step: int) -> None:
        """B chunks of a step; t0 advances."""
        a, p = self.a, self.p
        if step == 0:
            a("mv", "t0", "a2")
        if p.packed:
            a("vle64.v", self._buffer(step), "(t0)")
        else:
            a("vlse64.v", self._buffer(step), "(t0)", "t1")
        if step < p.steps - 1:
            if p.packed and 8 * p.n > REACH:
                a("add", "t0", "t0", "t1")
            else:
                a("addi", "t0", "t0", 8 * p.n if p.packed else 8)

    def _load_b_scale(self, step: int) -> None:
        """B scales of a step's block."""
        a, block = self.a, step // self.p.chunks
        if step == 0:
            a("mv", "t2", "a3")
        elif block != self.scale_at:
            a("add", "t2", "t2", "t3") if self.p.n > REACH else a("addi", "t2", "t2", self.p.n)
        self.scale_at = block
        a("vle8.v", self._scale(step), "(t2)")

    def _load_a(self, row: int, step: int, scale: bool) -> None:
        """A's chunk, and its scale, of one row and step."""
        base, at = self.bases[row // self.per_base], row % self.per_base * self.row_bytes
        self.a("fld", DATA[row], f"{at + 8 * (step - self.origin)}({base})")
        if scale:
            at = row * self.p.blocks + (step - self.origin) // self.p.chunks
            self.a("flb", SCALE[row], f"{at}(s8)")

    def _load_start(self) -> None:
        """The bias or nothing: zeros need no register group."""
        if self.p.bias:
            self.a("vle32.v" if self.p.wide else "vle16.v", self.start, "(a6)")

    def _begin(self, row: int) -> None:
        """Accumulator of a row to bias or zero."""
        if self.p.bias:
            self.a("vmv.v.v", self.acc[row], self.start)
        else:
            self.a("vmv.v.i", self.acc[row], 0)

    def _store(self, row: int) -> None:
        """Activation and store of a row; s10 advances."""
        a, p, v = self.a, self.p, self.acc[row]
        if p.low is not None:
            a("vfmax.vf", v, v, BOUNDS[0]) if p.wide else a("vmax.vx", v, v, "zero")
        if p.high is not None and p.wide:
            a("vfmin.vf", v, v, BOUNDS[1])
        elif p.high is not None:
            a("li", "t6", int(np.float32(p.high).view(np.int32)) >> 16)
            a("vmin.vx", v, v, "t6")
        a("vse32.v" if p.wide else "vse16.v", v, "(s10)")
        a("add", "s10", "s10", "s11") if p.c_pitch > REACH else a("addi", "s10", "s10", p.c_pitch)

    def _store_previous(self, row: int) -> None:
        """Store a row of the previous tile, whose vl may differ."""
        if self.ragged:
            self._set_vl("t4")
        self._store(row)
        if self.ragged:
            self._set_vl("a7")

    def _step(self, step: int, before: Callable[[int], None], after: Callable[[int], None]) -> None:
        """All multiply-adds of a step, with what stands around them."""
        form = "vmxdotp.wf" if self.p.wide else "vmxdotp.qf"
        for row in range(self.rows):
            before(row)
            self.a(form, self.acc[row], DATA[row], self._buffer(step), SCALE[row], self._scale(step))
            after(row)

    def _vectors_for(self, step: int, row: int) -> None:
        """Loads of the next step's B: behind the first multiply-add, or the last if it reads the target."""
        now, last = step - 1, self.rows - 1
        change = step // self.p.chunks != now // self.p.chunks or self._scale(step) != self._scale(now)
        chunks = row == (last if self._buffer(step) == self._buffer(now) else 0)
        scales = change and row == (last if self._scale(step) == self._scale(now) else 0)
        if scales and self.double:  # a product that waits for its scales cannot run along with the loads of B
            self._load_b_scale(step)
        if chunks:
            self._load_b(step)
        if scales and not self.double:
            self._load_b_scale(step)

    def _middle(self, step: int) -> None:
        """A step that is neither first nor last: load what the next one needs."""
        block = (step + 1) // self.p.chunks != step // self.p.chunks

        def after(row: int) -> None:
            self._vectors_for(step + 1, row)
            self._load_a(row, step + 1, block)

        self._step(step, lambda row: None, after)

    def _steps_between(self) -> None:
        """Steps 1 to T-2: a loop over periods, then the rest."""
        step, count = 1, self.p.steps - 2
        if count >= 2 * self.period:
            turns = count // self.period
            self.a("li", "t4", turns)
            head = self.a.fresh("mx_k")
            self.a.label(head)
            for i in range(self.period):
                self._middle(1 + i)
            for register in self.bases:
                self.a("addi", register, register, 8 * self.period)
            self.a("addi", "s8", "s8", self.period // self.p.chunks)
            self.a("addi", "t4", "t4", -1)
            self.a("bnez", "t4", head)
            self.origin = turns * self.period
            self.scale_at += (turns - 1) * (self.period // self.p.chunks)
            step += self.origin
        for at in range(step, self.p.steps - 1):
            self._middle(at)

    def _next_tile(self) -> None:
        """Pointers to the next tile: t5 groups left, 0 if this was the last tile."""
        a, p = self.a, self.p
        same, done, out = a.fresh("mx_same"), a.fresh("mx_done"), a.fresh("mx_next")
        a("mv", "t4", "a7")
        a("addi", "t5", "t5", -1)
        a("bnez", "t5", same)
        if p.n > self.columns:
            a("addi", "t6", "a7", -self.columns)
            a("blez", "t6", done)
            a("mv", "a7", "t6")
            a("srli", "t5", "a5", self.rows.bit_length() - 1)
            add_immediate(a, "a2", self.columns * (8 if p.packed else self.row_bytes))
            a("addi", "a3", "a3", self.columns)
            a("addi", "a4", "a4", self.columns * self.item)
            if p.bias:
                a("addi", "a6", "a6", self.columns * self.item)
            a.label(done)
        self._column_start()
        a("j", out)
        a.label(same)
        for register in self.bases:
            add_immediate(a, register, self.rows * self.row_bytes - 8 * self.origin)
        add_immediate(a, "s8", self.rows * p.blocks - self.origin // p.chunks)
        add_immediate(a, "s9", self.rows * p.c_pitch)
        a.label(out)
        self.origin = self.scale_at = 0

    def _last(self) -> None:
        """The last step of a tile: loads for the next tile, stores of its leading rows."""
        step, last = self.p.steps - 1, self.rows - 1
        early = self._buffer(0) != self._buffer(step)

        def around(load: Callable[[], None]) -> None:
            if self.ragged:
                self._set_vl("a7")
            load()
            if self.ragged:
                self._set_vl("t4")

        def loads() -> None:
            self._load_b_scale(0)
            self._load_start()
            if early:
                self._load_b(0)

        def after(row: int) -> None:
            if row == 0:
                self._next_tile()
                around(loads)
            if row == last and not early:
                around(lambda: self._load_b(0))
            self._load_a(row, 0, True)

        def before(row: int) -> None:
            if row >= self.lag:
                self._store(row - self.lag)

        self._step(step, before, after)

    def _first(self, previous: bool) -> None:
        """The first step of a tile; ``previous``: store the trailing rows of the tile before."""
        block = self.p.chunks == 1
        if self.ragged and previous:
            self._set_vl("a7")

        def before(row: int) -> None:
            if previous:
                if row < self.lag:
                    self._store_previous(self.rows - self.lag + row)
                if row == self.lag - 1:
                    self.a("mv", "s10", "s9")
            self._begin(row)

        def after(row: int) -> None:
            self._vectors_for(1, row)
            free = self.lag - 1 if previous else 0  # scalar loads wait for stores
            for other in range(row + 1) if row == free else [row] if row > free else []:
                self._load_a(other, 1, block)

        self._step(0, before, after)

    def _prologue(self) -> None:
        self._load_b_scale(0)
        self._load_b(0)
        self._load_start()
        for row in range(self.rows):
            self._load_a(row, 0, True)

    def _pipeline(self) -> None:
        a = self.a
        body, drain = a.fresh("mx_tile"), a.fresh("mx_drain")
        self._prologue()
        self._first(previous=False)
        a.label(body)
        self._steps_between()
        self._last()
        a("beqz", "t5", drain)
        self._first(previous=True)
        a("j", body)
        a.label(drain)
        if self.ragged:
            self._set_vl("t4")
        for row in range(self.rows - self.lag, self.rows):
            self._store(row)

    def _single(self) -> None:
        """One step of K: tiles one after the other."""
        head = self.a.fresh("mx_single")
        self.a.label(head)
        if self.ragged:
            self._set_vl("a7")
        self._prologue()
        self._step(0, self._begin, lambda row: None)
        for row in range(self.rows):
            self._store(row)
        self._next_tile()
        self.a("mv", "s10", "s9")
        self.a("bnez", "t5", head)
