"""Runs a schedule in NumPy: transfers as copies, kernels by their contracts.

What it leaves in memory is, bit for bit, what the program leaves there, so a difference to the simulator is
an error in code generation, a kernel's code or the simulator, and a difference to the ONNX reference one in
the schedule.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.schedule import LoweredOp, Transfer
from potluck.isa.errors import ProgramError


class FlatMemory:
    """Memory regions as NumPy arrays.

    Args:
        regions: (base address, bytes) of each; all bytes start as 0xA5, so whatever reads memory that nobody
            has written gives itself away.
    """

    def __init__(self, *regions: tuple[int, int]) -> None:
        self._regions = [(base, np.full(size, 0xA5, np.uint8)) for base, size in regions]

    def view(self, address: int, count: int) -> NDArray[np.uint8]:
        """A writable view.

        Raises:
            ProgramError: The range is not inside one region.
        """
        for base, data in self._regions:
            if base <= address and address + count <= base + data.size:
                return data[address - base : address - base + count]
        raise ProgramError(f"{count} bytes at {address:#x} are outside the memory", pc=None)

    def write(self, address: int, data: bytes | NDArray[np.generic]) -> None:
        """Copies bytes in."""
        raw = np.frombuffer(
            data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes(), np.uint8
        )
        self.view(address, raw.size)[:] = raw


def transfer(memory: FlatMemory, command: Transfer) -> None:
    """One DMA command."""
    for row in range(command.repeats):
        source = memory.view(command.source + row * command.source_stride, command.bytes).copy()
        memory.view(command.destination + row * command.destination_stride, command.bytes)[:] = source


def evaluate(ops: Sequence[LoweredOp], memory: FlatMemory) -> None:
    """Runs every layer in the order in which the machine does, loads ahead included."""
    for op in ops:
        for command in (*op.setup, *op.tiles[0].loads):
            transfer(memory, command)
        for index, tile in enumerate(op.tiles):
            for command in op.beside(index):
                transfer(memory, command)
            if op.kernel is not None:
                for args in tile.args:
                    op.kernel.evaluate(memory, args)
        for command in op.tiles[-1].stores:
            transfer(memory, command)
