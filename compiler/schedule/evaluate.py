"""Runs a schedule in NumPy: transfers as copies, kernels by their contracts.

What it leaves in memory is, bit for bit, what the program leaves there, so a difference to the simulator is
an error in code generation, a kernel's code or the simulator, and a difference to the ONNX reference one in
the schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.schedule.layer import Batch, LoweredOp, Transfer
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


@dataclass
class _Array:
    """The accelerator: a batch at a time.

    Attributes:
        late: Whether a batch is carried out when it is awaited, not when it is started.
        flying: What has been started and not awaited.
    """

    ops: Sequence[LoweredOp]
    memory: FlatMemory
    late: bool
    flying: Batch | None = None

    def start(self, batch: Batch | None) -> None:
        """Starts a batch; None: nothing."""
        if batch is None:
            return
        if self.flying:
            raise ProgramError(
                f"a batch of {self._name(batch)} begins before that of {self._name(self.flying)} ends"
            )
        self.flying = batch
        if not self.late:
            self._carry_out(batch)

    def wait(self, layer: int | None) -> None:
        """Awaits a layer's batch; None: nothing."""
        if layer is None:
            return
        if self.flying and self.late:
            self._carry_out(self.flying)
        self.flying = None

    def _carry_out(self, batch: Batch) -> None:
        work = self.ops[batch.layer].offload
        assert work is not None
        work.run(self.memory, batch.groups)

    def _name(self, batch: Batch) -> str:
        return self.ops[batch.layer].name


def evaluate(ops: Sequence[LoweredOp], memory: FlatMemory, late: bool = False) -> None:
    """Runs every layer in the order in which the machine does, loads ahead included.

    An accelerator's batch may take place at any time from its start to where it is awaited. Here that is the start,
    before the transfers beside it, which may take longer; or the end, if ``late``. Where both give the same results, no
    wait is missing.

    Raises:
        ProgramError: A batch begins before the one before it is awaited.
    """
    array = _Array(ops, memory, late)
    for op in ops:
        array.wait(op.waits_first)
        for command in (*op.setup, *op.tiles[0].loads):
            transfer(memory, command)
        for index, tile in enumerate(op.tiles):
            array.wait(tile.waits)
            array.start(tile.batch)
            for command in op.beside(index):
                transfer(memory, command)
            if op.kernel is not None:
                for args in tile.args:
                    op.kernel.evaluate(memory, args)
        array.wait(op.waits_last)
        for command in op.tiles[-1].stores:
            transfer(memory, command)
