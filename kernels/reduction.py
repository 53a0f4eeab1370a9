"""Reductions of any expression: out = f(x0, ...) combined along the columns or along the rows of a matrix.

The order of a floating-point sum is part of the contract. Along the rows it is the order of the rows. Along the
columns there are `Reduction.lanes` partial results (column i belongs to partial result i mod lanes, ascending), which
are then combined by halves: i with i + lanes / 2, and so on. It depends on no property of the machine that runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels.base import Kernel, add_immediate, float_constant, saved
from potluck.kernels.expressions.emit import (
    LOADS,
    SCRATCH,
    SPARE_FLOAT,
    Source,
    Strip,
    double_constant,
    instruction,
    set_width,
    store,
)
from potluck.kernels.expressions.graph import (
    F32,
    F64,
    FLOATING,
    I32,
    I64,
    U32,
    U64,
    WIDTHS,
    Value,
    argument,
    binary,
)
from potluck.kernels.expressions.meaning import DTYPES, REGISTER, evaluate
from potluck.kernels.expressions.meaning import store as stored
from potluck.kernels.expressions.registers import Pool, bits_of, multiplier
from potluck.kernels.pointwise import FLOATS, Array, load_number

Operation = Literal["add", "mul", "min", "max"]
Along = Literal["columns", "rows"]
MOST = 3
"""Operands that the registers suffice for."""
_POINTERS = ("t2", "t3", "t4")
_STEPS = {1: "s2", 2: "s3", 4: "s4", 8: "s5"}
"""Bytes from row to row, by the size of an element."""
_NUMBERS = ("s6", "s7", "s8")
_NEXT = ("s9", "s10", "s11")
_OUTPUTS = {
    F32: ("float32",),
    I32: ("int32", "int8", "uint8", "int16", "uint16", "bool"),
    I64: ("int64",),
    U32: ("uint32",),
    U64: ("uint64",),
    F64: ("float64",),
}


def identity(op: Operation, type: str) -> float | int:
    """What changes nothing."""
    if op in ("add", "mul"):
        return int(op == "mul")
    if type in FLOATING:
        return -np.inf if op == "max" else np.inf
    limits = np.iinfo(DTYPES[type])
    return int(limits.min if op == "max" else limits.max)


@dataclass(frozen=True)
class Reduction(Kernel):
    """out[r] = op over c of value, or out[c] = op over r of value; then out = post(out).

    Registers: a0... the operands in order, then out, rows, columns, and along the rows the stride: elements from one
    row of a full operand to the next. Along the columns rows follow each other without gaps. Clobbers a*, t*, all
    floating-point registers, v0-v31, vtype and vl. Addresses are multiples of the element sizes. Nothing to reduce
    gives the operation's identity.

    Attributes:
        op: That combines.
        value: Of arguments 0... (`potluck.kernels.pointwise.arguments`).
        arrays: Types and extents of the operands, at most `MOST`.
        out: Type of the result in memory.
        along: What is reduced.
        lanes: Partial results along columns, a power of two from 2 to VLEN / 16.
        post: Of argument 0, which is the combined value; its type is the result's in memory. None leaves it.
    """

    op: Operation
    value: Value
    arrays: tuple[Array, ...]
    out: str = "float32"
    along: Along = "columns"
    lanes: int = 8
    post: Value | None = None

    def __post_init__(self) -> None:
        if len(self.arrays) > MOST:
            raise DataError(f"{len(self.arrays)} operands", hint=f"A reduction takes up to {MOST}")
        counts = self.out == "bool" and self.op in ("add", "mul")
        if counts or self.out not in _OUTPUTS.get(self.value.type, ()):
            raise DataError(f"a reduction of type {self.value.type} cannot be stored as {self.out}")
        if self.post is not None and WIDTHS[self.value.type] != LOADS[self.out]:
            raise DataError(f"a result stored as {self.out} has no further expression")

    @property
    def count_register(self) -> str:
        """What has a result each: rows along the columns, columns along the rows."""
        return f"a{len(self.arrays) + (1 if self.along == 'columns' else 2)}"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        _Emitter(a, self).emit()

    def contract(self, *operands: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
        """The output, [rows] or [columns], bit for bit.

        Args:
            operands: Flat arrays of the operands' types, as long as their extent says.
            rows: Rows.
            columns: Columns.
        """
        views = [x.reshape(kind.shape(rows, columns)) for x, kind in zip(operands, self.arrays, strict=True)]
        values = np.broadcast_to(evaluate(self.value, views), (rows, columns))
        kind = self.value.type
        combine = binary(self.op, argument(0, kind), argument(1, kind))
        start = partial(np.full, fill_value=identity(self.op, kind), dtype=DTYPES[kind])
        if self.along == "rows":
            found = start(columns)
            for row in values:
                found = evaluate(combine, [found, row])
        else:
            lanes = start((rows, self.lanes))
            for begin in range(0, columns, self.lanes):
                part = values[:, begin : begin + self.lanes]
                width = part.shape[1]
                lanes[:, :width] = evaluate(combine, [lanes[:, :width], part])
            half = self.lanes
            while half > 1:
                half //= 2
                lanes = evaluate(combine, np.split(lanes, [half], axis=1))
            found = lanes[:, 0]
        return stored(found if self.post is None else evaluate(self.post, [found]), self.out)


class _Emitter:
    """Emits one kernel."""

    def __init__(self, a: Assembler, kernel: Reduction) -> None:
        self.a, self.kernel = a, kernel
        count = len(kernel.arrays)
        self.out, self.rows, self.columns = f"a{count}", f"a{count + 1}", f"a{count + 2}"
        self.type, self.by_rows = kernel.value.type, kernel.along == "rows"
        floats, numbers, pointers, next_numbers = (list(x) for x in (FLOATS, _NUMBERS, _POINTERS, _NEXT))
        self.sources: dict[int, Source] = {}
        self.numbers: dict[int, str] = {}  # where a column's next number lies
        for index, array in enumerate(kernel.arrays):
            if array.extent in ("column", "scalar"):
                register = (floats if REGISTER[array.dtype] in FLOATING else numbers).pop()
                self.sources[index] = Source(register, array.dtype, vector=False)
                self.numbers[index] = next_numbers.pop() if self.by_rows else f"a{index}"
            else:  # a pointer of its own begins anew: at each strip along the rows, at each row along the columns
                own = (array.extent == "full") == self.by_rows
                self.sources[index] = Source(pointers.pop() if own else f"a{index}", array.dtype)
        self.strip = Strip(a, kernel.value, self.sources, tuple(floats))
        rest = tuple(floats[len(self.strip.floats) :])
        address = self.out if self.by_rows else "s2"
        self.post = (
            None if kernel.post is None else Strip(a, kernel.post, {0: Source(address, kernel.out)}, rest)
        )
        self.item = LOADS[kernel.out] // 8

    def emit(self) -> None:
        a, done = self.a, self.a.fresh("reduction_done")
        a("beqz", self.columns if self.by_rows else self.rows, done)
        numbers = {source.register for source in self.sources.values()} & set(_NUMBERS)
        with saved(
            a, [f"s{i}" for i in range(2, 12)] if self.by_rows else ["s2", "s3", "s4", *sorted(numbers)]
        ):
            for strip in (self.strip, self.post):
                if strip is not None:
                    strip.constants()
            for index, array in enumerate(self.kernel.arrays):
                if array.extent == "scalar":
                    self._number(index, f"a{index}")
            (self._along_rows if self.by_rows else self._along_columns)()
        a.label(done)

    def _along_columns(self) -> None:
        a = self.a
        row, strip, rest, ended = (a.fresh(f"reduction_{name}") for name in ("row", "strip", "rest", "ended"))
        a("mv", "s2", self.out)
        a("mv", "s3", self.rows)
        a("li", "s4", self.kernel.lanes)
        a.label(row)
        for index, array in enumerate(self.kernel.arrays):
            if array.extent == "column":
                self._number(index, f"a{index}", advance=True)
            elif array.extent == "row":
                a("mv", self.sources[index].register, f"a{index}")
        a("vsetvli", "t0", "s4", "e32", multiplier(32), "ta", "ma")
        total = self._start()
        a("mv", "t5", self.columns)
        a("bltu", "t5", "s4", rest)
        a.label(strip)
        self._combine()
        self._advance(("full", "row"), self.kernel.lanes)
        a("addi", "t5", "t5", -self.kernel.lanes)
        a("bgeu", "t5", "s4", strip)
        a.label(rest)
        a("beqz", "t5", ended)
        a("vsetvli", "t0", "t5", "e32", multiplier(32), "ta", "ma")
        self._combine(whole=False)
        self._advance(("full", "row"), 0)
        a.label(ended)
        pool = Pool()
        pool.take(bits_of(self.type))
        other, half = f"v{pool.take(bits_of(self.type))}", self.kernel.lanes // 2
        bits = WIDTHS[self.type]
        while half:
            if half < 32:
                a("vsetivli", "t0", half, f"e{bits}", multiplier(bits), "ta", "ma")
                a("vslidedown.vi", other, total, half)
            else:
                a("li", "t1", half)
                a("vsetvli", "t0", "t1", f"e{bits}", multiplier(bits), "ta", "ma")
                a("vslidedown.vx", other, total, "t1")
            a(f"{instruction(self.kernel.op, self.type)}.vv", total, total, other)
            half //= 2
        store(a, total, self.type, self.out, self.kernel.out, pool)
        a("addi", self.out, self.out, self.item)
        a("addi", self.rows, self.rows, -1)
        a("bnez", self.rows, row)
        if self.post is not None:
            self._post_all()

    def _post_all(self) -> None:
        """The further expression of all results, from s2 on, s3 of them."""
        assert self.post is not None
        a, strip = self.a, self.a.fresh("reduction_post")
        a.label(strip)
        a("vsetvli", "t0", "s3", "e32", multiplier(32), "ta", "ma")
        self.post.emit("s2", self.kernel.out)
        a("slli", "t1", "t0", self.item.bit_length() - 1)
        a("add", "s2", "s2", "t1")
        a("sub", "s3", "s3", "t0")
        a("bnez", "s3", strip)

    def _along_rows(self) -> None:
        a, arrays = self.a, self.kernel.arrays
        strip, row, ended = (a.fresh(f"reduction_{name}") for name in ("strip", "row", "ended"))
        full = [index for index, array in enumerate(arrays) if array.extent == "full"]
        for size in sorted({arrays[index].bytes for index in full}):
            a("slli", _STEPS[size], f"a{len(arrays) + 3}", size.bit_length() - 1)
        a("mv", "t5", self.columns)
        a.label(strip)
        a("vsetvli", "t0", "t5", "e32", multiplier(32), "ta", "ma")
        total = self._start()
        for index, array in enumerate(arrays):
            if array.extent == "full":
                a("mv", self.sources[index].register, f"a{index}")
            elif array.extent == "column":
                a("mv", self.numbers[index], f"a{index}")
        a("mv", "t1", self.rows)
        a("beqz", "t1", ended)
        a.label(row)
        for index, array in enumerate(arrays):
            if array.extent == "column":
                self._number(index, self.numbers[index], advance=True)
        self._combine()
        for index in full:
            a("add", self.sources[index].register, self.sources[index].register, _STEPS[arrays[index].bytes])
        a("addi", "t1", "t1", -1)
        a("bnez", "t1", row)
        a.label(ended)
        pool = Pool()
        pool.take(bits_of(self.type))
        store(a, total, self.type, self.out, self.kernel.out, pool)
        if self.post is not None:
            set_width(a, 32)
            self.post.emit(self.out, self.kernel.out)
        for index, array in enumerate(arrays):
            if array.extent in ("full", "row"):
                self._step(f"a{index}", array.bytes)
        self._step(self.out, self.item)
        a("sub", "t5", "t5", "t0")
        a("bnez", "t5", strip)

    def _start(self) -> str:
        """The group of the partial results, set to the identity; SEW is 32 before and afterwards."""
        a, number = self.a, identity(self.kernel.op, self.type)
        total, wide = f"v{Pool().take(bits_of(self.type))}", WIDTHS[self.type] != 32
        if wide:
            set_width(a, WIDTHS[self.type])
        if self.type in FLOATING:
            load = float_constant if self.type == F32 else double_constant
            load(a, SPARE_FLOAT, float(number), SCRATCH)
            a("vfmv.v.f", total, SPARE_FLOAT)
        else:
            a("li", SCRATCH, int(number) - (1 << 64) if number >= 1 << 63 else int(number))
            a("vmv.v.x", total, SCRATCH)
        if wide:
            set_width(a, 32)
        return total

    def _combine(self, whole: bool = True) -> None:
        """One strip into the partial results; those beyond a short one stay. SEW is 32 before and after whole ones."""
        pool = Pool()
        total = f"v{pool.take(bits_of(self.type))}"
        value = self.strip.compute(pool)
        if not whole or self.strip.sew != WIDTHS[self.type]:
            set_width(self.a, WIDTHS[self.type], "ta" if whole else "tu")
        self.a(f"{instruction(self.kernel.op, self.type)}.vv", total, total, value)
        if whole and WIDTHS[self.type] != 32:
            set_width(self.a, 32)

    def _number(self, index: int, address: str, advance: bool = False) -> None:
        array = self.kernel.arrays[index]
        load_number(self.a, array.dtype, self.sources[index].register, address)
        if advance:
            self.a("addi", address, address, array.bytes)

    def _advance(self, extents: tuple[str, ...], columns: int) -> None:
        """Moves pointers behind so many columns; 0: those of the strip."""
        for index, array in enumerate(self.kernel.arrays):
            if array.extent not in extents:
                continue
            if columns:
                add_immediate(self.a, self.sources[index].register, columns * array.bytes)
            else:
                self._step(self.sources[index].register, array.bytes)

    def _step(self, register: str, size: int) -> None:
        """Moves a pointer behind the strip."""
        if size > 1:
            self.a("slli", "t6", "t0", size.bit_length() - 1)
        self.a("add", register, register, "t6" if size > 1 else "t0")
