"""Small pieces of code that the network kernels emit; t4 is their scratch register."""

from __future__ import annotations

from potluck.isa.assembly.assembler import Assembler
from potluck.kernels import base

SCRATCH = "t4"


def advance(a: Assembler, register: str, value: int, source: str = "") -> None:
    """``register = source + value`` (``source`` defaults to ``register``); large values overwrite t4."""
    base.add_immediate(a, register, value, SCRATCH, source)


def float_constant(a: Assembler, register: str, value: float) -> None:
    """Load an FP32 constant into a floating-point register; t4 is overwritten."""
    base.float_constant(a, register, value, SCRATCH)


def activate(a: Assembler, register: str, low: float | None, high: float | None) -> None:
    """Clip a vector register group to the bounds in ft8 and ft9; None: not bounded."""
    if low is not None:
        a("vfmax.vf", register, register, "ft8")
    if high is not None:
        a("vfmin.vf", register, register, "ft9")


def activation_bounds(a: Assembler, low: float | None, high: float | None) -> None:
    """Load ft8 and ft9 for `activate`; t4 is overwritten."""
    for register, bound in (("ft8", low), ("ft9", high)):
        if bound is not None:
            float_constant(a, register, bound)
