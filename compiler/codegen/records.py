"""Tile records: what the code needs to know about each tile, as data.

A record is 32-bit words: the number of transfers; what an accelerator does (`started`); room for the layer's largest
number of transfers, six words each (source, destination, bytes, source stride, destination stride, repeats); then the
arguments of every hart. Record t holds the transfers that run while tile t is computed (stores of t-1, loads of t+1)
and t's arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.lowering.base import RECORD_BYTES
from potluck.compiler.schedule.layer import LoweredOp, Tile
from potluck.isa.errors import MachineError

HEADER = 8
TRANSFER = 24
START, AWAIT = 16, 24
"""Lowest bits of which layer is started and which is awaited: 1 for the first of `LoweredOp.partners`; 0: none."""


def started(tile: Tile, number: Mapping[int, int]) -> int:
    """The second word: the number of commands, and at `START` and `AWAIT` whose they are and what is awaited first.

    The lowest bit says which buffer the commands are in.

    Args:
        tile: Of a layer.
        number: Places of the layer's `LoweredOp.partners`, from 1.
    """
    word = 0 if tile.waits is None else number[tile.waits] << AWAIT
    if tile.batch:
        word |= number[tile.batch.layer] << START | tile.batch.count << 1 | tile.batch.second
    return word


@dataclass(frozen=True)
class Records:
    """The records of one layer.

    Attributes:
        op: The layer.
    """

    op: LoweredOp

    @cached_property
    def slots(self) -> int:
        """Transfers that a record has room for."""
        return max(len(self.op.beside(index)) for index in range(len(self.op.tiles)))

    @cached_property
    def arguments(self) -> int:
        """Arguments of a hart."""
        return max((len(args) for tile in self.op.tiles for args in tile.args), default=0)

    @property
    def harts(self) -> int:
        """Harts that compute; 0 if the layer has no kernel."""
        return len(self.op.tiles[0].args)

    @property
    def arguments_offset(self) -> int:
        """Bytes from the record's start to hart 0's arguments."""
        return HEADER + self.slots * TRANSFER

    @property
    def bytes(self) -> int:
        """Bytes of a record, a multiple of 8.

        Raises:
            MachineError: More transfers than a record may have.
        """
        size = -(-(self.arguments_offset + 4 * self.harts * self.arguments) // 8) * 8
        if size > RECORD_BYTES:
            raise MachineError(
                f"layer {self.op.name!r} needs {self.slots} transfers per tile, which is too many",
                key="memory.l1_bytes",
            )
        return size

    def data(self) -> NDArray[np.uint8]:
        """All records, one after the other."""
        size = self.bytes
        words = np.zeros((len(self.op.tiles), size // 4), np.int64)
        number = {layer: place for place, layer in enumerate(self.op.partners, 1)}
        for index, tile in enumerate(self.op.tiles):
            transfers = self.op.beside(index)
            words[index, 0] = len(transfers)
            words[index, 1] = started(tile, number)
            flat = [
                word
                for t in transfers
                for word in (
                    t.source,
                    t.destination,
                    t.bytes,
                    t.source_stride,
                    t.destination_stride,
                    t.repeats,
                )
            ]
            words[index, 2 : 2 + len(flat)] = flat
            arguments = [word for args in tile.args for word in args]
            at = self.arguments_offset // 4
            words[index, at : at + len(arguments)] = arguments
        return np.asarray((words & 0xFFFFFFFF).astype(np.uint32).view(np.uint8).reshape(-1))
