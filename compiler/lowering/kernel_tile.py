"""A kernel as a layer uses it: the emitter, beside what subclasses say of its contract on memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from potluck.compiler.schedule.layer import Memory
from potluck.isa.assembly.assembler import Assembler
from potluck.kernels.base import Kernel

K = TypeVar("K", bound=Kernel)


@dataclass(frozen=True)
class KernelTile(ABC, Generic[K]):
    """A `TileKernel` whose code is a kernel's."""

    kernel: K

    def emit(self, a: Assembler) -> None:
        """See `TileKernel`."""
        self.kernel.emit(a)

    @abstractmethod
    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
