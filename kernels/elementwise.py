"""Elementwise FP32 kernels: sums, activations, and operations with one value per column of a matrix.

All take element counts and rows at run time. Bounds are those of `potluck.kernels.fp32math.clip`: ReLU is low
= 0.0; a NaN becomes the first bound applied (ONNX would keep it), -0 becomes +0.
"""

from __future__ import annotations

from dataclasses import dataclass

from potluck.isa.assembly.assembler import Assembler
from potluck.kernels import fp32math
from potluck.kernels.base import Kernel
from potluck.kernels.emission import activate, activation_bounds, advance
from potluck.kernels.fp32math import F32


def strips(
    a: Assembler, count: str, lmul: int, pointers: tuple[str, ...], body: list[tuple[str, ...]]
) -> None:
    """Run ``body`` over ``count`` FP32 elements in strips.

    Args:
        a: Assembler.
        count: Register with the number of elements, counted down to 0.
        lmul: Register group size.
        pointers: Registers that advance by the bytes of a strip.
        body: Instructions.
    """
    loop, done = a.fresh("strip"), a.fresh("strip_done")
    a("blez", count, done)
    a.label(loop)
    a("vsetvli", "t0", count, "e32", f"m{lmul}", "ta", "ma")
    a("slli", "t1", "t0", 2)
    for instruction in body:
        a(*instruction)
    for pointer in pointers:
        a("add", pointer, pointer, "t1")
    a("sub", count, count, "t0")
    a("bnez", count, loop)
    a.label(done)


def _bounds(register: str, low: float | None, high: float | None) -> list[tuple[str, ...]]:
    """The activation as instructions on ``register``; ft8 and ft9 hold the bounds."""
    body: list[tuple[str, ...]] = []
    if low is not None:
        body.append(("vfmax.vf", register, register, "ft8"))
    if high is not None:
        body.append(("vfmin.vf", register, register, "ft9"))
    return body


@dataclass(frozen=True)
class Add(Kernel):
    """out[i] = clip(x[i] + y[i]).

    Registers: a0 x, a1 y, a2 out (may be x or y), FP32; a3 elements. Clobbers a0-a3, t0, t1, t4, ft8, ft9,
    v0-v15, vtype and vl.

    Attributes:
        low: Lower bound (0.0: ReLU), None: none.
        high: Upper bound, None: none.
    """

    low: float | None = None
    high: float | None = None

    @property
    def count_register(self) -> str:
        """Elements."""
        return "a3"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        activation_bounds(a, self.low, self.high)
        body = [
            ("vle32.v", "v0", "(a0)"),
            ("vle32.v", "v8", "(a1)"),
            ("vfadd.vv", "v0", "v0", "v8"),
            *_bounds("v0", self.low, self.high),
            ("vse32.v", "v0", "(a2)"),
        ]
        strips(a, "a3", 8, ("a0", "a1", "a2"), body)

    def contract(self, x: F32, y: F32) -> F32:
        """The output bit for bit; float32 arrays of one shape."""
        return fp32math.clip(fp32math.add(x, y), self.low, self.high)


@dataclass(frozen=True)
class Clip(Kernel):
    """out[i] = clip(x[i]).

    Registers: a0 x, a1 out (may be x), FP32; a2 elements. Clobbers a0-a2, t0, t1, t4, ft8, ft9, v0-v7, vtype
    and vl.

    Attributes:
        low: Lower bound (0.0: ReLU), None: none.
        high: Upper bound, None: none.
    """

    low: float | None = 0.0
    high: float | None = None

    @property
    def count_register(self) -> str:
        """Elements."""
        return "a2"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        activation_bounds(a, self.low, self.high)
        load, store = ("vle32.v", "v0", "(a0)"), ("vse32.v", "v0", "(a1)")
        strips(a, "a2", 8, ("a0", "a1"), [load, *_bounds("v0", self.low, self.high), store])

    def contract(self, x: F32) -> F32:
        """The output bit for bit."""
        return fp32math.clip(x, self.low, self.high)


@dataclass(frozen=True)
class ColumnAffine(Kernel):
    """out[r, c] = clip(x[r, c] + bias[c]), or with ``scaled`` clip(x[r, c] * scale[c] + bias[c]), fused.

    Bias over the rows of a matrix or the pixels of an NHWC image; batch normalization when scaled.

    Registers: a0 x, a1 out (may be x), FP32 [rows][columns]; a2 bias, a3 scale (if ``scaled``), FP32
    [columns]; a4 rows. Clobbers a0-a7, t0-t6, ft8, ft9, v0-v31, vtype and vl.

    Attributes:
        columns: Columns.
        scaled: Whether there is a scale.
        low: Lower bound (0.0: ReLU), None: none.
        high: Upper bound, None: none.
    """

    columns: int
    scaled: bool = False
    low: float | None = None
    high: float | None = None

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a4"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code: strips of columns, rows alternating between two register groups."""
        strip, loop, end, done = (a.fresh("affine") for _ in range(4))
        activation_bounds(a, self.low, self.high)
        a("blez", "a4", done)
        a("li", "a5", self.columns)
        a.label(strip)
        a("vsetvli", "t0", "a5", "e32", "m4", "ta", "ma")
        a("slli", "t1", "t0", 2)
        a("vle32.v", "v16", "(a2)")
        if self.scaled:
            a("vle32.v", "v20", "(a3)")
        a("mv", "t2", "a0")
        a("mv", "t3", "a1")
        a("mv", "a6", "a4")
        a.label(loop)
        self._row(a, "v0")
        a("addi", "a6", "a6", -1)
        a("beqz", "a6", end)
        self._row(a, "v4")
        a("addi", "a6", "a6", -1)
        a("bnez", "a6", loop)
        a.label(end)
        for pointer in ("a0", "a1", "a2", *(("a3",) if self.scaled else ())):
            a("add", pointer, pointer, "t1")
        a("sub", "a5", "a5", "t0")
        a("bnez", "a5", strip)
        a.label(done)

    def _row(self, a: Assembler, register: str) -> None:
        a("vle32.v", register, "(t2)")
        advance(a, "t2", 4 * self.columns)
        if self.scaled:
            a("vfmadd.vv", register, "v20", "v16")
        else:
            a("vfadd.vv", register, register, "v16")
        activate(a, register, self.low, self.high)
        a("vse32.v", register, "(t3)")
        advance(a, "t3", 4 * self.columns)

    def contract(self, x: F32, bias: F32, scale: F32 | None = None) -> F32:
        """The output bit for bit; x float32 [rows, columns], bias and scale [columns]."""
        result = fp32math.add(x, bias) if scale is None else fp32math.fma(x, scale, bias)
        return fp32math.clip(result, self.low, self.high)
