"""Weights of 16-bit floating point to FP32 values in working memory: exact, as every such number is one of FP32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.isa.formats.elements import FORMATS, ElementFormat
from potluck.kernels.base import Kernel

HalfElement = Literal["bf16", "fp16"]
_WIDEN = {"bf16": "vfwcvtbf16.f.f.v", "fp16": "vfwcvt.f.f.v"}


@dataclass(frozen=True)
class WidenWeights(Kernel):
    """out[i] = half[i], in FP32; a NaN becomes the canonical one, as instructions make it.

    Registers: a2 out, FP32 [count]; a3 elements, 16 bits each [count], apart from ``out``.
    Clobbers a3, t0-t3, v0-v15, vtype and vl; all other arguments stay.

    Attributes:
        count: Elements, those of channels that fill a row up included.
        element: ``bf16`` or ``fp16``.
    """

    count: int
    element: HalfElement = "bf16"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise DataError(f"no weights {self}", hint="Use sizes of 1 or more")

    @property
    def format(self) -> ElementFormat:
        """Of an element."""
        return FORMATS[self.element]

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        a.comment(f"{self.element} weights to FP32")
        a("mv", "t0", "a2")
        a("li", "t1", self.count)
        strip = a.fresh("widen_strip")
        a.label(strip)
        a("vsetvli", "t2", "t1", "e16", "m4", "ta", "ma")
        a("vle16.v", "v0", "(a3)")
        a("sub", "t1", "t1", "t2")
        a("slli", "t3", "t2", 1)
        a("add", "a3", "a3", "t3")
        a(_WIDEN[self.element], "v8", "v0")
        a("vsetvli", "zero", "t2", "e32", "m8", "ta", "ma")
        a("vse32.v", "v8", "(t0)")
        a("slli", "t3", "t2", 2)
        a("add", "t0", "t0", "t3")
        a("bnez", "t1", strip)

    def contract(self, elements: NDArray[np.uint16]) -> NDArray[np.float32]:
        """The output bit for bit: float32 [count] from the bits of the elements."""
        values = self.format.decode(elements.reshape(-1)).astype(np.float32)
        return np.where(np.isnan(values), np.uint32(0x7FC00000).view(np.float32), values)
