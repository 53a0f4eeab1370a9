"""Small pieces of code that many kernels emit."""

from __future__ import annotations

import numpy as np
from potluck.isa.assembler import Assembler


def add_immediate(a: Assembler, register: str, value: int, scratch: str = "t4") -> None:
    """``register += value`` with one instruction if it fits, ``scratch`` is overwritten if not."""
    if -2048 <= value <= 2047:
        if value:
            a("addi", register, register, value)
    else:
        a("li", scratch, value)
        a("add", register, register, scratch)


def float_constant(a: Assembler, register: str, value: float, scratch: str = "t4") -> None:
    """Load an FP32 constant into a floating-point register."""
    bits = int(np.float32(value).view(np.int32))
    if bits:
        a("li", scratch, bits)
    a("fmv.w.x", register, scratch if bits else "zero")


def activate(a: Assembler, register: str, low: float | None, high: float | None) -> None:
    """Clip a vector register group to the bounds in ft8 and ft9; None: not bounded."""
    if low is not None:
        a("vfmax.vf", register, register, "ft8")
    if high is not None:
        a("vfmin.vf", register, register, "ft9")


def activation_bounds(a: Assembler, low: float | None, high: float | None) -> None:
    """Load ft8 and ft9 for `activate`."""
    for register, bound in (("ft8", low), ("ft9", high)):
        if bound is not None:
            float_constant(a, register, bound)
