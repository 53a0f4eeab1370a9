"""Code for machines without a scratchpad or its DMA: tiles are copied by the core to and from working memory in DRAM.

Layers run as `potluck.compiler.schedule.layer` states it, with each transfer done on the spot by a routine. A layer's
data is a list of transfers that come first, one record per tile, and a list of what follows the last tile. A list is
8 bytes with its number of transfers and 24 bytes each (source, destination, bytes, source stride, destination
stride, repeats); a record is a list with room for the layer's longest one, then the kernel's arguments.

The program starts and ends by `potluck.kernels.program.process`, alone on the machine or as a Linux process.

Registers that live across kernels: s4 this tile's record, s6 tiles left; s2 and s3 belong to the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.codegen.records import HEADER, TRANSFER
from potluck.compiler.schedule.layer import LoweredOp, Transfer
from potluck.isa.assembly.assembler import Assembler
from potluck.kernels.base import add_immediate
from potluck.kernels.program.process import Process

WORD = 4
"""Bytes of a record's fields, and of an FP32 value."""


@dataclass(frozen=True)
class FlatRecords:
    """The data of one layer.

    Attributes:
        op: The layer, for one hart.
    """

    op: LoweredOp

    @cached_property
    def slots(self) -> int:
        """Transfers that a tile's record has room for."""
        return max(len(self._beside(index)) for index in range(len(self.op.tiles)))

    @property
    def arguments(self) -> int:
        """Arguments of the kernel."""
        return max((len(args) for tile in self.op.tiles for args in tile.args), default=0)

    @property
    def arguments_offset(self) -> int:
        """Bytes from a record's start to its arguments."""
        return HEADER + TRANSFER * self.slots

    @property
    def bytes(self) -> int:
        """Bytes of a tile's record, a multiple of 8."""
        return -(-(self.arguments_offset + WORD * self.arguments) // 8) * 8

    @property
    def item(self) -> int:
        """Bytes that the layer's transfers move at a time: words, or single bytes where codes are moved."""
        op = self.op
        moves = [*op.setup, *op.tiles[0].loads, *op.tiles[-1].stores]
        moves += [transfer for index in range(len(op.tiles)) for transfer in op.beside(index)]
        fields = (
            word
            for t in moves
            for word in (t.source, t.destination, t.bytes, t.source_stride, t.destination_stride)
        )
        return 1 if any(word % WORD for word in fields) else WORD

    def _beside(self, index: int) -> list[Transfer]:
        return _nonempty(self.op.beside(index))

    def data(self) -> NDArray[np.uint8]:
        """Lists and records, one after the other."""
        op = self.op
        words = _list(_nonempty((*op.setup, *op.tiles[0].loads)))
        for index, tile in enumerate(op.tiles):
            record = _list(self._beside(index))
            record += [0] * (self.arguments_offset // WORD - len(record))
            record += [word for args in tile.args for word in args]
            words += record + [0] * (self.bytes // WORD - len(record))
        words += _list(_nonempty(op.tiles[-1].stores))
        return np.array(words, np.int64).astype(np.uint32).view(np.uint8)


def _nonempty(transfers: Sequence[Transfer]) -> list[Transfer]:
    return [transfer for transfer in transfers if transfer.total]


def _list(transfers: Sequence[Transfer]) -> list[int]:
    words = [len(transfers), 0]
    for t in transfers:
        words += [t.source, t.destination, t.bytes, t.source_stride, t.destination_stride, t.repeats]
    return words


def emit_layer(a: Assembler, op: LoweredOp, address: int) -> None:
    """Appends one layer's code.

    Args:
        a: Assembler.
        op: The layer.
        address: Of its `FlatRecords.data`.
    """
    records, loop, over = FlatRecords(op), a.fresh("tile"), a.fresh("layer_over")
    routine = a.fresh("layer_transfers")  # every layer has its own, so that its cycles count as the layer's
    a("li", "a6", address)
    a("call", routine)
    a("mv", "s4", "a6")
    a("li", "s6", len(op.tiles))
    a.label(loop)
    a("mv", "a6", "s4")
    a("call", routine)
    if op.kernel is not None:
        add_immediate(a, "t0", records.arguments_offset, source="s4")
        for word in range(records.arguments):
            a("lwu", f"a{word}", f"{WORD * word}(t0)")
        op.kernel.emit(a)
    add_immediate(a, "s4", records.bytes)
    a("addi", "s6", "s6", -1)
    a("bnez", "s6", loop)
    if op.tiles[-1].stores:
        a("mv", "a6", "s4")
        a("call", routine)
    a("j", over)
    _emit_transfers(a, routine, records.item)
    a.label(over)


def emit_start(a: Assembler, process: Process) -> None:
    """Appends what comes before the first layer; the program's entry."""
    process.emit_start(a)


def emit_end(a: Assembler, process: Process) -> None:
    """Appends what comes after the last layer, and the routines for files."""
    process.emit_end(a)


def _emit_transfers(a: Assembler, routine: str, item: int) -> None:
    """Does the list of transfers at a6, which ends behind it; clobbers a0-a5, a7, t0-t6, v0-v7, vtype and vl.

    Args:
        a: Assembler.
        routine: Its label.
        item: Bytes that all addresses, sizes and strides are multiples of, 1 or 4.
    """
    wide, shift = 8 * item, item.bit_length() - 1
    following, row, strip, column, onward, done = (a.fresh("transfers") for _ in range(6))
    a.label(routine)
    a("lwu", "a7", "0(a6)")
    a("addi", "a6", "a6", HEADER)
    a("beqz", "a7", done)
    a.label(following)
    for word in range(TRANSFER // WORD):
        a("lwu", f"a{word}", f"{WORD * word}(a6)")
    a("addi", "a6", "a6", TRANSFER)
    a("li", "t0", item)
    a("beq", "a2", "t0", column)
    a.label(row)
    a("mv", "t1", "a0")
    a("mv", "t2", "a1")
    a("srli", "t3", "a2", shift)
    a.label(strip)
    a("vsetvli", "t4", "t3", f"e{wide}", "m8", "ta", "ma")
    a(f"vle{wide}.v", "v0", "(t1)")
    a(f"vse{wide}.v", "v0", "(t2)")
    a("sub", "t3", "t3", "t4")
    a("slli", "t4", "t4", shift)
    a("add", "t1", "t1", "t4")
    a("add", "t2", "t2", "t4")
    a("bnez", "t3", strip)
    a("add", "a0", "a0", "a3")
    a("add", "a1", "a1", "a4")
    a("addi", "a5", "a5", -1)
    a("bnez", "a5", row)
    a("j", onward)
    a.label(column)  # single items far apart, or one repeated
    a("vsetvli", "t4", "a5", f"e{wide}", "m8", "ta", "ma")
    a(f"vlse{wide}.v", "v0", "(a0)", "a3")
    a(f"vsse{wide}.v", "v0", "(a1)", "a4")
    a("mul", "t5", "t4", "a3")
    a("add", "a0", "a0", "t5")
    a("mul", "t5", "t4", "a4")
    a("add", "a1", "a1", "t5")
    a("sub", "a5", "a5", "t4")
    a("bnez", "a5", column)
    a.label(onward)
    a("addi", "a7", "a7", -1)
    a("bnez", "a7", following)
    a.label(done)
    a("ret")
