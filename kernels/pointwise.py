"""Elementwise kernels of any expression: out[r, c] = f(operands at r, c), over a matrix whose operands may repeat.

What an operand is at (r, c) is its *extent*: ``full`` x[r, c], ``row`` x[c] (the same row again and again, a bias),
``column`` x[r] (one number per row, a mean) or ``scalar`` x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels.base import Kernel, saved
from potluck.kernels.expressions.emit import LOADS, Source, Strip
from potluck.kernels.expressions.graph import F32, F64, FLOATING, I32, I64, MASK, U32, U64, Value, argument
from potluck.kernels.expressions.meaning import HALVES, REGISTER, evaluate, store
from potluck.kernels.expressions.registers import multiplier

Extent = Literal["full", "row", "column", "scalar"]
MOST = 5
"""Operands that fit the argument registers, with output, rows and columns."""
FLOATS = (
    tuple(f"ft{i}" for i in range(10))
    + tuple(f"fa{i}" for i in range(8))
    + tuple(f"fs{i}" for i in range(12))
)
_STORES = {
    F32: ("float32", "float16", "bfloat16"),
    F64: ("float64",),
    I32: ("int32", "int8", "uint8", "int16", "uint16"),
    I64: ("int64",),
    U32: ("uint32",),
    U64: ("uint64",),
    MASK: ("bool",),
}


@dataclass(frozen=True)
class Array:
    """One operand.

    Attributes:
        dtype: In memory; `potluck.kernels.expressions.meaning.REGISTER` lists them.
        extent: See the module's text.
    """

    dtype: str
    extent: Extent = "full"

    @property
    def bytes(self) -> int:
        """Of an element."""
        return LOADS[self.dtype] // 8

    def shape(self, rows: int, columns: int) -> tuple[int, int]:
        """What there is of it for a matrix; 1 where it repeats."""
        return (
            rows if self.extent in ("full", "column") else 1,
            columns if self.extent in ("full", "row") else 1,
        )

    def size(self, rows: int, columns: int) -> int:
        """Bytes of `shape`."""
        high, wide = self.shape(rows, columns)
        return high * wide * self.bytes


def arguments(*dtypes: str) -> tuple[Value, ...]:
    """The arguments of an expression whose operands have these types in memory."""
    return tuple(argument(index, REGISTER[dtype]) for index, dtype in enumerate(dtypes))


@dataclass(frozen=True)
class Pointwise(Kernel):
    """out[r, c] = value.

    Registers: a0... the operands in order, then out, rows, columns. Clobbers a*, t*, all floating-point registers,
    v0-v31, vtype and vl. Addresses are multiples of the element sizes. Rows of full operands and of the output
    follow each other without gaps.

    Attributes:
        value: Of arguments 0... (`arguments`).
        arrays: Types and extents, at most `MOST`.
        out: Type of the result in memory.
    """

    value: Value
    arrays: tuple[Array, ...]
    out: str = "float32"

    def __post_init__(self) -> None:
        if len(self.arrays) > MOST:
            raise DataError(f"{len(self.arrays)} operands", hint=f"A pointwise kernel takes up to {MOST}")
        if self.out not in _STORES[self.value.type]:
            raise DataError(f"a result of type {self.value.type} cannot be stored as {self.out}")

    @property
    def count_register(self) -> str:
        """Rows."""
        return f"a{len(self.arrays) + 1}"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        _Emitter(a, self).emit()

    def contract(self, *operands: NDArray[Any], rows: int = 1, columns: int | None = None) -> NDArray[Any]:
        """The output [rows, columns] bit for bit.

        Args:
            operands: Flat arrays of the operands' types, as long as their extent says.
            rows: Rows.
            columns: Columns; by default what the first full operand has.
        """
        if columns is None:
            columns = next(
                x.size // rows for x, kind in zip(operands, self.arrays, strict=True) if kind.extent == "full"
            )
        views = [
            np.asarray(x).reshape(kind.shape(rows, columns))
            for x, kind in zip(operands, self.arrays, strict=True)
        ]
        return store(np.broadcast_to(evaluate(self.value, views), (rows, columns)), self.out)


class _Emitter:
    """Emits one kernel."""

    def __init__(self, a: Assembler, kernel: Pointwise) -> None:
        self.a, self.kernel = a, kernel
        count = len(kernel.arrays)
        self.out, self.rows, self.columns = f"a{count}", f"a{count + 1}", f"a{count + 2}"
        floats, integers, pointers = (
            list(FLOATS),
            ["s2", "s3", "s8", "s9", "s10"],
            ["t2", "t3", "t4", "s11", "s7"],
        )
        self.sources: dict[int, Source] = {}
        for index, array in enumerate(kernel.arrays):
            if array.extent in ("column", "scalar"):
                pool = floats if REGISTER[array.dtype] in FLOATING else integers
                self.sources[index] = Source(pool.pop(), array.dtype, vector=False)
            else:
                register = pointers.pop(0) if array.extent == "row" else f"a{index}"
                self.sources[index] = Source(register, array.dtype)
        self.strip = Strip(a, kernel.value, self.sources, tuple(floats))
        used = {source.register for source in self.sources.values()}
        self.kept = sorted(register for register in used if register.startswith("s"))

    def emit(self) -> None:
        a = self.a
        row, strip, done = a.fresh("pointwise_row"), a.fresh("pointwise"), a.fresh("pointwise_done")
        a("beqz", self.rows, done)
        with saved(a, self.kept):
            self.strip.constants()
            self._scalars("scalar")
            a.label(row)
            self._scalars("column")
            for index, array in enumerate(self.kernel.arrays):
                if array.extent == "row":
                    a("mv", self.sources[index].register, f"a{index}")
            a("mv", "t5", self.columns)
            a.label(strip)
            a("vsetvli", "t0", "t5", "e32", multiplier(32, self.strip.ratio), "ta", "ma")
            self.strip.emit(self.out, self.kernel.out)
            self._advance()
            a("sub", "t5", "t5", "t0")
            a("bnez", "t5", strip)
            a("addi", self.rows, self.rows, -1)
            a("bnez", self.rows, row)
        a.label(done)

    def _scalars(self, extent: Extent) -> None:
        for index, array in enumerate(self.kernel.arrays):
            if array.extent != extent:
                continue
            register, address = self.sources[index].register, f"a{index}"
            load_number(self.a, array.dtype, register, address)
            if extent == "column":
                self.a("addi", address, address, array.bytes)

    def _advance(self) -> None:
        """Moves every pointer behind the strip; t1 is scratch."""
        moving = [
            (self.sources[index].register, array.bytes)
            for index, array in enumerate(self.kernel.arrays)
            if array.extent in ("full", "row")
        ]
        moving.append((self.out, LOADS[self.kernel.out] // 8))
        for size in sorted({size for _, size in moving}):
            step = "t0"
            if size > 1:
                step = "t1"
                self.a("slli", "t1", "t0", size.bit_length() - 1)
            for register, bytes in moving:
                if bytes == size:
                    self.a("add", register, register, step)


SCALAR_LOADS = {
    "float32": "flw", "int32": "lw", "int64": "ld", "bool": "lbu", "int8": "lb", "uint8": "lbu", "int16": "lh",
    "uint16": "lhu", "uint32": "lwu", "uint64": "ld", "float64": "fld", "float16": "flh", "bfloat16": "flh",
}  # fmt: skip


def load_number(a: Assembler, dtype: str, register: str, address: str) -> None:
    """One element into a scalar register of its register type."""
    a(SCALAR_LOADS[dtype], register, f"0({address})")
    if dtype in HALVES:
        a("fcvt.s.h" if dtype == "float16" else "fcvt.s.bf16", register, register)
