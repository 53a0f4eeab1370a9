"""What all kernels share: the kernel's interface, register lists, loops and constants.

Calling convention. A kernel's code is entered at its first instruction and falls through at its end.
Arguments are in a0-a7 (each kernel documents its own). It clobbers a0-a7, t0-t6, every f and v register,
vtype, vl and the format bits of fcsr; it preserves sp, ra, gp, tp and s0-s11 (a kernel that needs more
registers saves them below sp with `saved`). The outermost count (rows) is an argument, so that harts share
one code with different ranges; all other dimensions are static fields.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from potluck.isa.assembly.assembler import Assembler

Element = Literal["e4m3", "e5m2", "e2m1"]
"""Element formats that VMXDOTP multiplies."""
Stored = Literal["e4m3", "e5m2", "e2m1", "int8"]
"""Element formats of MX operands in memory; INT8 ones are multiplied by integer instructions."""
Accumulator = Literal["fp32", "bf16"]
"""Accumulator formats of VMXDOTP."""

A = tuple(f"a{i}" for i in range(8))
T = tuple(f"t{i}" for i in range(7))
S = tuple(f"s{i}" for i in range(12))
FT = tuple(f"ft{i}" for i in range(12))
FA = tuple(f"fa{i}" for i in range(8))
FS = tuple(f"fs{i}" for i in range(12))
F = (*FT[:8], *FA, *FS, *FT[8:])
"""All 32 floating-point registers; kernels may use every one of them."""

FCSR_BF16 = 1 << 8
"""fmode.dst: q-forms accumulate in BF16 (facts vmxdotp 1.3)."""
FCSR_E5M2 = 0
FCSR_E4M3 = 1 << 9
FCSR_E2M1 = 1 << 13
FCSR = {"e5m2": FCSR_E5M2, "e4m3": FCSR_E4M3, "e2m1": FCSR_E2M1}
"""fcsr source format bits by element format."""
CHUNK = {"e5m2": 8, "e4m3": 8, "e2m1": 16, "int8": 8}
"""Elements in 64 bits, one operand of VMXDOTP."""
BITS = {"e5m2": 8, "e4m3": 8, "e2m1": 4, "int8": 8}
"""Bits of an element."""


@dataclass(frozen=True)
class Operand:
    """One array argument of a kernel, as it lies in memory.

    Attributes:
        register: Argument register that holds its address.
        name: Name for reports and the manifest.
        dtype: NumPy dtype name of the stored elements (packed formats: ``uint8``).
        shape: Shape for one unit of the outermost count if ``per_row``, else the whole shape.
        per_row: Whether the array has one such slice per row; other operands are shared by all rows.
        output: Whether the kernel writes it.
    """

    register: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    per_row: bool = False
    output: bool = False

    @property
    def item_bytes(self) -> int:
        """Bytes of one element."""
        return int(np.dtype(self.dtype).itemsize)

    @property
    def row_bytes(self) -> int:
        """Bytes between the slices of neighbouring rows; 0 for a shared operand."""
        return int(np.prod(self.shape)) * self.item_bytes if self.per_row else 0

    def full_shape(self, rows: int) -> tuple[int, ...]:
        """Shape of the array for ``rows`` rows."""
        return (rows, *self.shape) if self.per_row else self.shape

    def bytes(self, rows: int) -> int:
        """Bytes of the array for ``rows`` rows."""
        return int(np.prod(self.full_shape(rows))) * self.item_bytes


class Kernel(ABC):
    """One operator on the machine; subclasses are frozen dataclasses whose fields are the static options."""

    @property
    def name(self) -> str:
        """Short name for layers and reports."""
        return type(self).__name__

    @property
    def macs(self) -> int:
        """Multiply-accumulates per unit of the outermost count; 0 for operators without products."""
        return 0

    @property
    def operands(self) -> tuple[Operand, ...]:
        """The array arguments, for `potluck.kernels.program.standalone` and the compiler's planner."""
        raise NotImplementedError(f"{self.name} does not list its operands")

    @property
    def count_register(self) -> str:
        """Argument register of the outermost count."""
        raise NotImplementedError(f"{self.name} does not name its count register")

    @abstractmethod
    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""

    @abstractmethod
    def contract(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs in NumPy, bit for bit what the code computes."""


@contextmanager
def loop(a: Assembler, counter: str, step: int = 1, name: str = "loop") -> Iterator[str]:
    """A loop that runs while ``counter`` stays above 0, at least once; its end subtracts ``step``.

    Yields:
        The label of the loop's head.
    """
    head = a.fresh(name)
    a.label(head)
    yield head
    a("addi", counter, counter, -step)
    a("bgtz", counter, head)


@contextmanager
def saved(a: Assembler, registers: Sequence[str]) -> Iterator[None]:
    """Keep integer registers below sp during the body (16-byte aligned frame)."""
    frame = -(-8 * len(registers) // 16) * 16
    if frame:
        a("addi", "sp", "sp", -frame)
    for i, register in enumerate(registers):
        a("sd", register, f"{8 * i}(sp)")
    yield
    for i, register in enumerate(registers):
        a("ld", register, f"{8 * i}(sp)")
    if frame:
        a("addi", "sp", "sp", frame)


def even_strip(count: int, most: int) -> int:
    """Elements of a strip, so that as few as possible of at most ``most`` are about equally long."""
    return -(-count // max(1, -(-count // most)))


def emit_even_strip(a: Assembler, register: str, count: str, most: int, scratch: str = "t0") -> None:
    """``register`` = `even_strip` of what is in ``count``, above 0; ``most`` is a power of two."""
    a("addi", scratch, count, most - 1)
    a("srli", scratch, scratch, most.bit_length() - 1)
    a("add", register, count, scratch)
    a("addi", register, register, -1)
    a("divu", register, register, scratch)


def add_immediate(a: Assembler, register: str, value: int, scratch: str = "t6", source: str = "") -> None:
    """``register = source + value`` (default: ``register``); large values overwrite ``scratch``."""
    origin = source or register
    if -2048 <= value <= 2047:
        if value or origin != register:
            a("addi", register, origin, value)
    else:
        a("li", scratch, value)
        a("add", register, origin, scratch)


def float_constant(a: Assembler, register: str, value: float, scratch: str = "t6") -> None:
    """Load an FP32 constant into a floating-point register."""
    bits = int(np.float32(value).view(np.int32))
    if bits:
        a("li", scratch, bits)
    a("fmv.w.x", register, scratch if bits else "zero")


def set_format(
    a: Assembler, element: Element, accumulator: Accumulator = "fp32", scratch: str = "t6"
) -> None:
    """Choose VMXDOTP's formats in fcsr: round to nearest even, flags cleared; waits for the vector unit."""
    bits = FCSR[element] | (FCSR_BF16 if accumulator == "bf16" else 0)
    a("li", scratch, bits)
    a("csrw", "fcsr", scratch)
