"""Kernels that move elements: between two arrangements, and from or to places that a table names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels.base import Kernel, add_immediate, saved

U8 = NDArray[np.uint8]
Reduction = Literal["none", "add", "mul", "min", "max"]
AXES = 5
"""Axes of a `Move`: their counts fill the argument registers."""
SIZES = (1, 2, 4, 8)
"""Bytes of an element."""
_INDEX_GROUPS = {1: 2, 2: 4, 4: 8, 8: 8}
"""Bytes of an element -> LMUL at which a 32-bit index per element takes at most eight registers."""


def _check_size(size: int) -> None:
    if size not in SIZES:
        raise DataError(f"elements of {size} bytes", hint="Move elements of 1, 2, 4 or 8 bytes")


@dataclass(frozen=True)
class Move(Kernel):
    """Copies a box of elements between two arrangements; the last axis is the vector's.

    Registers: a0 source, a1 destination, a2... the counts of the axes, outermost first (0 is possible). Clobbers a*,
    t*, v0-v7, vtype and vl.

    Attributes:
        source: Bytes from one element to the next along each axis, of any sign; 0 repeats.
        target: The same in the destination.
        size: Bytes of an element: 1, 2, 4 or 8.
    """

    source: tuple[int, ...]
    target: tuple[int, ...]
    size: int = 4

    def __post_init__(self) -> None:
        _check_size(self.size)
        if not 1 <= len(self.source) == len(self.target) <= AXES:
            raise DataError(f"a box of {len(self.source)} axes", hint=f"Move boxes of 1 to {AXES} axes")

    @property
    def count_register(self) -> str:
        """Of the outermost axis."""
        return "a2"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        rank, bits, done = len(self.source), 8 * self.size, a.fresh("move_done")
        registers = ["t2", "t3", "t4", "s2", "s3", "s8", "s9", "s10", "s11", "s4", "s5", "s6"][
            : 3 * (rank - 1)
        ]
        levels = [("a0", "a1", "a2"), *zip(registers[::3], registers[1::3], registers[2::3], strict=True)]
        for axis in range(rank):
            a("blez", f"a{2 + axis}", done)
        with saved(a, [register for register in registers if register.startswith("s")]):
            a("li", "t5", self.source[-1])
            a("li", "t6", self.target[-1])
            strips, over = a.fresh("move_strips"), a.fresh("move_over")
            last = f"a{1 + rank}"
            a("vsetvli", "t0", last, f"e{bits}", "m8", "ta", "ma")
            a("bne", "t0", last, strips)
            # One vector is a whole line: vl stays what it is, and no pointer moves along the line.
            with self._outer(a, levels, rank - 1):
                source, target, _ = levels[max(0, rank - 2)]
                a(*self._access("vl", self.source[-1], source, "t5"))
                a(*self._access("vs", self.target[-1], target, "t6"))
            a("j", over)
            a.label(strips)
            with self._outer(a, levels, rank):
                source, target, count = levels[-1]
                a("vsetvli", "t0", count, f"e{bits}", "m8", "ta", "ma")
                a(*self._access("vl", self.source[-1], source, "t5"))
                a("mul", "t1", "t0", "t5")
                a("add", source, source, "t1")
                a(*self._access("vs", self.target[-1], target, "t6"))
                a("mul", "t1", "t0", "t6")
                a("add", target, target, "t1")
                a("sub", count, count, "t0")
            a.label(over)
        a.label(done)

    @contextmanager
    def _outer(self, a: Assembler, levels: Sequence[tuple[str, str, str]], depth: int) -> Iterator[None]:
        """Loops over the first ``depth`` axes around the body; the last of all axes counts down in the body itself."""
        heads = []
        for axis, (source, target, count) in enumerate(levels[:depth]):
            if axis:  # begin where the level around is
                a("mv", source, levels[axis - 1][0])
                a("mv", target, levels[axis - 1][1])
                a("mv", count, f"a{2 + axis}")
            heads.append(a.fresh("move"))
            a.label(heads[-1])
        yield
        for axis in reversed(range(depth)):
            source, target, count = levels[axis]
            if axis < len(self.source) - 1:
                add_immediate(a, source, self.source[axis], "t1")
                add_immediate(a, target, self.target[axis], "t1")
                a("addi", count, count, -1)
            a("bnez", count, heads[axis])

    def _access(self, kind: str, stride: int, address: str, register: str) -> tuple[str, ...]:
        if stride == self.size:
            return (f"{kind}e{8 * self.size}.v", "v0", f"({address})")
        return (f"{kind}se{8 * self.size}.v", "v0", f"({address})", register)

    def places(self, counts: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Byte offsets of every byte read, and of every byte written."""
        axes = np.ogrid[tuple(slice(count) for count in (*counts, self.size))]
        read = sum(axis * stride for axis, stride in zip(axes, (*self.source, 1), strict=True))
        write = sum(axis * stride for axis, stride in zip(axes, (*self.target, 1), strict=True))
        shape = (*counts, self.size)
        return np.broadcast_to(np.asarray(read), shape), np.broadcast_to(np.asarray(write), shape)

    def contract(
        self, source: U8, target: U8, counts: tuple[int, ...], read_from: int = 0, write_to: int = 0
    ) -> U8:
        """The destination's bytes after the copy.

        Args:
            source: Flat bytes around the box.
            target: The same.
            counts: Of the axes.
            read_from: Where the first element is in ``source``.
            write_to: Where it goes in ``target``.
        """
        read, write = self.places(counts)
        result = target.copy()
        result[write + write_to] = source[read + read_from]
        return result


@dataclass(frozen=True)
class Fetch(Kernel):
    """out[o, p, :] = the elements of the source from byte ``o * pitch + table[p]`` on.

    Registers: a0 source, a1 table (unsigned 32-bit byte offsets), a2 output, a3 entries of the table, a4 outer count,
    a5 elements of a piece (unused if they are single). Clobbers a0-a5, t*, v0-v15, vtype and vl. Any count may be 0.

    Attributes:
        pitch: Bytes of the source from one outer place to the next.
        single: Whether pieces are single elements, which are gathered a vector at a time.
        size: Bytes of an element: 1, 2, 4 or 8.
    """

    pitch: int = 0
    single: bool = True
    size: int = 4

    def __post_init__(self) -> None:
        _check_size(self.size)

    @property
    def count_register(self) -> str:
        """Entries of the table."""
        return "a3"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        outer, entry, done = (a.fresh("fetch") for _ in range(3))
        bits, shift = 8 * self.size, self.size.bit_length() - 1
        for register in ("a3", "a4") if self.single else ("a3", "a4", "a5"):
            a("blez", register, done)
        a.label(outer)
        a("mv", "t2", "a1")
        a("mv", "t3", "a3")
        a.label(entry)
        if self.single:
            a("vsetvli", "t0", "t3", f"e{bits}", f"m{_INDEX_GROUPS[self.size]}", "ta", "ma")
            a("vle32.v", "v0", "(t2)")
            a("vluxei32.v", "v8", "(a0)", "v0")
            a(f"vse{bits}.v", "v8", "(a2)")
            a("slli", "t1", "t0", 2)
            a("add", "t2", "t2", "t1")
            a("slli", "t1", "t0", shift)
            a("add", "a2", "a2", "t1")
            a("sub", "t3", "t3", "t0")
        else:
            strip = a.fresh("fetch")
            a("lwu", "t4", "0(t2)")
            a("add", "t4", "t4", "a0")
            a("mv", "t5", "a5")
            a.label(strip)
            a("vsetvli", "t0", "t5", f"e{bits}", "m8", "ta", "ma")
            a(f"vle{bits}.v", "v0", "(t4)")
            a("slli", "t1", "t0", shift)
            a("add", "t4", "t4", "t1")
            a(f"vse{bits}.v", "v0", "(a2)")
            a("add", "a2", "a2", "t1")
            a("sub", "t5", "t5", "t0")
            a("bnez", "t5", strip)
            a("addi", "t2", "t2", 4)
            a("addi", "t3", "t3", -1)
        a("bnez", "t3", entry)
        add_immediate(a, "a0", self.pitch, "t1")
        a("addi", "a4", "a4", -1)
        a("bnez", "a4", outer)
        a.label(done)

    def places(self, table: NDArray[np.uint32], outer: int, length: int) -> NDArray[np.int64]:
        """Byte offsets of every byte read, in the order in which they are written."""
        start = np.arange(outer)[:, None, None] * self.pitch + table.astype(np.int64)[None, :, None]
        return start + np.arange((1 if self.single else length) * self.size)

    def contract(self, source: U8, table: NDArray[np.uint32], outer: int = 1, length: int = 1) -> U8:
        """The output's bytes [outer, entries, bytes of a piece]; the source is flat bytes."""
        return np.asarray(source[self.places(table, outer, length)])


_FLOAT_OPERATIONS = {"add": "vfadd", "mul": "vfmul", "min": "vfmin", "max": "vfmax"}
_INTEGER_OPERATIONS = {"add": "vadd", "mul": "vmul", "min": "vmin", "max": "vmax"}
_FUNCTIONS: dict[str, Any] = {"add": np.add, "mul": np.multiply, "min": np.fmin, "max": np.fmax}


@dataclass(frozen=True)
class Deposit(Kernel):
    """The elements of the destination from byte ``table[p]`` on become updates[p, :], or are reduced with them.

    Entries take effect in their order, so the last of several to one place stays.

    Registers: a0 destination, a1 table (unsigned 32-bit byte offsets), a2 updates, a3 entries of the table, a4 elements
    of a piece. Clobbers a0-a4, t*, v0-v15, vtype and vl. Any count may be 0.

    Attributes:
        dtype: NumPy name of the elements; reductions are of integers and FP32.
        reduction: ``none`` replaces.
        single: Whether pieces are single elements.
    """

    dtype: str = "float32"
    reduction: Reduction = "none"
    single: bool = True

    def __post_init__(self) -> None:
        _check_size(self.size)
        if self.reduction != "none" and np.dtype(self.dtype).kind not in "iu" and self.dtype != "float32":
            raise DataError(f"a reduction of {self.dtype}", hint="Reduce integers or FP32")

    @property
    def size(self) -> int:
        """Bytes of an element."""
        return int(np.dtype(self.dtype).itemsize)

    @property
    def count_register(self) -> str:
        """Entries of the table."""
        return "a3"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        entry, done = a.fresh("deposit"), a.fresh("deposit_done")
        bits, shift = 8 * self.size, self.size.bit_length() - 1
        a("blez", "a3", done)
        if not self.single:
            a("blez", "a4", done)
        a.label(entry)
        if self.single and self.reduction == "none":
            a("vsetvli", "t0", "a3", f"e{bits}", f"m{_INDEX_GROUPS[self.size]}", "ta", "ma")
            a("vle32.v", "v0", "(a1)")
            a(f"vle{bits}.v", "v8", "(a2)")
            a("vsoxei32.v", "v8", "(a0)", "v0")  # ordered: the last of several to one place stays
            a("slli", "t1", "t0", 2)
            a("add", "a1", "a1", "t1")
            a("slli", "t1", "t0", shift)
            a("add", "a2", "a2", "t1")
            a("sub", "a3", "a3", "t0")
        else:
            strip = a.fresh("deposit")
            a("lwu", "t4", "0(a1)")
            a("add", "t4", "t4", "a0")
            a("li", "t5", 1) if self.single else a("mv", "t5", "a4")
            a.label(strip)
            a("vsetvli", "t0", "t5", f"e{bits}", "m8", "ta", "ma")
            a(f"vle{bits}.v", "v8", "(a2)")
            if self.reduction != "none":
                a(f"vle{bits}.v", "v0", "(t4)")
                a(f"{self._operation}.vv", "v8", "v0", "v8")
            a(f"vse{bits}.v", "v8", "(t4)")
            a("slli", "t1", "t0", shift)
            a("add", "t4", "t4", "t1")
            a("add", "a2", "a2", "t1")
            a("sub", "t5", "t5", "t0")
            a("bnez", "t5", strip)
            a("addi", "a1", "a1", 4)
            a("addi", "a3", "a3", -1)
        a("bnez", "a3", entry)
        a.label(done)

    @property
    def _operation(self) -> str:
        if self.dtype == "float32":
            return _FLOAT_OPERATIONS[self.reduction]
        unsigned = np.dtype(self.dtype).kind == "u" and self.reduction in ("min", "max")
        return _INTEGER_OPERATIONS[self.reduction] + "u" * unsigned

    def contract(
        self, target: U8, table: NDArray[np.uint32], updates: NDArray[np.generic], length: int = 1
    ) -> U8:
        """The destination's bytes; it is flat, the updates are of its type."""
        result, pieces = target.copy(), np.asarray(updates).reshape(len(table), -1)
        size = (1 if self.single else length) * self.size
        for start, piece in zip(table.tolist(), pieces, strict=True):
            old = result[start : start + size].view(self.dtype)
            with np.errstate(all="ignore"):
                new = piece if self.reduction == "none" else _FUNCTIONS[self.reduction](old, piece)
            result[start : start + size] = np.ascontiguousarray(new.astype(self.dtype)).view(np.uint8)
        return result
