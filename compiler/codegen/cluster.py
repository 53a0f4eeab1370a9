"""Machine code of a schedule: start, one loop over tiles per layer, end.

This is the code for a cluster with L1 and DMA; `potluck.compiler.codegen.flat` has that for machines without.
Registers that live across kernels: s0 hart id, s1 number of harts (`potluck.kernels.program.runtime`), s4 next tile
record in DRAM, s5 this tile's record in L1, s6 tiles left, s7 distance of the two record slots (their addresses differ
in this bit only).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from potluck.compiler.codegen import flat
from potluck.compiler.codegen.records import AWAIT, HEADER, START, TRANSFER, Records
from potluck.compiler.lowering.base import REGISTERS, RING_BYTES, Target
from potluck.compiler.schedule.layer import LayerLoop, LoweredOp, Transfer
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError, ModelError
from potluck.isa.progress import steps
from potluck.kernels.pot.queue import PotQueue
from potluck.kernels.program import runtime
from potluck.kernels.program.process import Process


def layer_label(index: int) -> str:
    """Symbol at the first instruction of a layer; ``_end`` follows its last one."""
    return f"layer_{index}"


def emit_program(
    a: Assembler, ops: Sequence[LoweredOp], records: Sequence[int], target: Target, process: Process | None
) -> None:
    """Appends the whole program; its entry is the first instruction, ``_start``.

    Args:
        a: Assembler.
        ops: Layers in order.
        records: DRAM address of each layer's tile records.
        target: The machine.
        process: What surrounds the layers on a machine without L1 or DMA; None for a cluster with DMA.

    Raises:
        ModelError: A kernel cannot be emitted for a layer's shape.
    """
    if process is None:
        _emit_start(a, target)
    else:
        flat.emit_start(a, process)
    for index, (op, address) in enumerate(steps([*zip(ops, records, strict=True)], "code of layers")):
        a.label(layer_label(index))
        a.comment(f"{op.name}: {op.op} {op.format}")
        try:
            if process is not None:
                flat.emit_layer(a, op, address)
            elif op.bare:
                _emit_bare(a, op)
            elif (own := op.own_loop) is not None:
                _emit_own(a, op, own)
            elif op.chained:
                _emit_chained(a, op)
            else:
                _Layer(a, op, address, target).emit()
                if op.offload:
                    _emit_routines(a, index, PotQueue(int(target.machine.memory.pot_base)))
        except DataError as error:  # a kernel refuses the shape
            raise ModelError(error.message, node=op.name, hint=error.hint) from error
        a.label(f"{layer_label(index)}_end")
    if process is None:
        _emit_end(a)
    else:
        flat.emit_end(a, process)


def _start_label(layer: int) -> str:
    return f"{layer_label(layer)}_start"


def _await_label(layer: int) -> str:
    return f"{layer_label(layer)}_await"


def _emit_routines(a: Assembler, layer: int, queue: PotQueue) -> None:
    """What starts and awaits an offloaded layer: in its own code, so that it is accounted to that layer."""
    over = a.fresh("routines_over")
    a("j", over)
    a.label(_start_label(layer))
    queue.emit_start(a)
    a.label(_await_label(layer))
    queue.emit_wait(a)
    a.label(over)


def _emit_start(a: Assembler, target: Target) -> None:
    runtime.start(a, int(target.machine.memory.l1_bytes))
    a("li", "s7", RING_BYTES // 2)


def _emit_end(a: Assembler) -> None:
    stop = a.fresh("stop")
    runtime.barrier(a)
    a("bnez", runtime.HART, stop)
    runtime.dma_wait(a)
    a.label(stop)
    runtime.leave(a)


def emit_transfer(a: Assembler, transfer: Transfer) -> None:
    """One DMA command with immediate operands; clobbers t0-t2."""
    a("li", "t0", transfer.source)
    a("dmsrc", "t0", "zero")
    a("li", "t0", transfer.destination)
    a("dmdst", "t0", "zero")
    two_dimensional = transfer.repeats > 1
    if two_dimensional:
        a("li", "t1", transfer.source_stride)
        a("li", "t2", transfer.destination_stride)
        a("dmstr", "t1", "t2")
        a("li", "t1", transfer.repeats)
        a("dmrep", "t1")
    a("li", "t0", transfer.bytes)
    a("dmcpyi", "zero", "t0", 2 if two_dimensional else 0)


def _emit_bare(a: Assembler, op: LoweredOp) -> None:
    """Transfers only: the DMA carries them out in order, behind the stores of what they read."""
    over = a.fresh("moved")
    a("bnez", runtime.HART, over)
    for transfer in (*op.setup, *(load for tile in op.tiles for load in tile.loads), *op.ahead):
        emit_transfer(a, transfer)
    a.label(over)


def _emit_own(a: Assembler, op: LoweredOp, own: LayerLoop) -> None:
    """A layer with a loop of its own."""
    ready = a.fresh("ready")
    a("bnez", runtime.HART, ready)
    for transfer in (*op.setup, *op.tiles[0].loads):
        emit_transfer(a, transfer)
    a.label(ready)

    def ahead() -> None:
        for transfer in op.ahead:
            emit_transfer(a, transfer)

    own.emit(a, ahead)


def _emit_chained(a: Assembler, op: LoweredOp) -> None:
    """A layer of one tile in a chain: no record, and no waiting for transfers but in front of the first."""
    (tile,), kernel = op.tiles, op.kernel
    assert kernel is not None
    before, begin, over = a.fresh("chain_ready"), a.fresh("chain_begin"), a.fresh("chain_over")
    if not op.joined:
        a("bnez", runtime.HART, before)
        for transfer in (*op.setup, *tile.loads):
            emit_transfer(a, transfer)
        runtime.dma_wait(a)
        a.label(before)
        runtime.barrier(a)
    if op.ahead:
        a("bnez", runtime.HART, begin)
        for transfer in op.ahead:
            emit_transfer(a, transfer)
        a.label(begin)
    _emit_arguments(a, tile.args)
    kernel.emit(a)
    runtime.barrier(a)
    a("bnez", runtime.HART, over)
    for transfer in tile.stores:
        emit_transfer(a, transfer)
    a.label(over)


def _emit_arguments(a: Assembler, args: Sequence[Sequence[int]]) -> None:
    """a0, a1, ...: words of each hart, those that all share first."""
    shared = [len(set(words)) == 1 for words in zip(*args, strict=True)]
    for at, word in enumerate(args[0]):
        if shared[at]:
            a("li", f"a{at}", word)
    if all(shared):
        return
    done = a.fresh("arguments")
    for hart, words in enumerate(args):
        other, last = a.fresh("other_hart"), hart + 1 == len(args)
        if not last:
            a("li", "t0", hart)
            a("bne", runtime.HART, "t0", other)
        for at, word in enumerate(words):
            if not shared[at]:
                a("li", f"a{at}", word)
        if not last:
            a("j", done)
            a.label(other)
    a.label(done)


class _Layer:
    """Emits one layer."""

    def __init__(self, a: Assembler, op: LoweredOp, records: int, target: Target) -> None:
        self.a, self.op, self.address, self.ring = a, op, records, target.ring
        self.buffers = target.command_buffers
        self.records = Records(op)

    def emit(self) -> None:
        """The layer's code, as `potluck.compiler.schedule.layer` states it."""
        a, op = self.a, self.op
        loop, compute, end, over = (a.fresh(name) for name in ("tile", "compute", "layer_end", "layer_over"))
        self._first(op)
        a.label(loop)
        issue = a.fresh("issue")
        a("bnez", runtime.HART, issue)
        runtime.dma_wait(a)
        if any(tile.waits is not None for tile in op.tiles):
            a("lwu", "a1", "4(s5)")
            self._call(AWAIT, _await_label)
        a.label(issue)
        runtime.barrier(a)
        a("bnez", runtime.HART, compute)
        self._issue()
        if op.batches:
            self._begin()
        a.label(compute)
        if op.kernel is not None:
            self._arguments()
            op.kernel.emit(a)
        a("xor", "s5", "s5", "s7")
        a("addi", "s6", "s6", -1)
        a("beqz", "s6", end)
        a("j", loop)
        a.label(end)
        runtime.barrier(a)
        if op.tiles[-1].stores or op.waits_last is not None:
            a("bnez", runtime.HART, over)
            if op.waits_last is not None:
                a("jal", "t2", _await_label(op.waits_last))
            for transfer in op.tiles[-1].stores:
                emit_transfer(a, transfer)
            a.label(over)

    def _first(self, op: LoweredOp) -> None:
        """The first record, what the layer needs once, and the first tile's loads."""
        a, ready, size = self.a, self.a.fresh("ready"), self.records.bytes
        a("li", "s5", self.ring)
        a("li", "s6", len(op.tiles))
        a("bnez", runtime.HART, ready)
        if op.waits_first is not None:
            a("jal", "t2", _await_label(op.waits_first))
        for transfer in (Transfer(self.address, self.ring, size), *op.setup, *op.tiles[0].loads):
            emit_transfer(a, transfer)
        a("li", "s4", self.address + size)
        a.label(ready)

    def _issue(self) -> None:
        """Hart 0: this record's transfers, then the next record."""
        a = self.a
        transfers, pull, last = a.fresh("transfer"), a.fresh("pull"), a.fresh("last")
        a("lwu", "t0", "0(s5)")
        a("addi", "t1", "s5", HEADER)
        a("beqz", "t0", pull)
        a.label(transfers)
        for word in range(TRANSFER // 4):
            a("lwu", f"a{word}", f"{4 * word}(t1)")
        a("dmsrc", "a0", "zero")
        a("dmdst", "a1", "zero")
        a("dmstr", "a3", "a4")
        a("dmrep", "a5")
        a("dmcpyi", "zero", "a2", 2)
        a("addi", "t1", "t1", TRANSFER)
        a("addi", "t0", "t0", -1)
        a("bnez", "t0", transfers)
        a.label(pull)
        a("addi", "t0", "s6", -1)
        a("beqz", "t0", last)
        a("dmsrc", "s4", "zero")
        a("xor", "t0", "s5", "s7")
        a("dmdst", "t0", "zero")
        a("li", "t1", self.records.bytes)
        a("dmcpyi", "zero", "t1", 0)
        a("add", "s4", "s4", "t1")
        a.label(last)

    def _begin(self) -> None:
        """Hart 0: this record's batch, if it has one."""
        a, first, none = self.a, self.a.fresh("first_buffer"), self.a.fresh("no_batch")
        a("lwu", "a1", "4(s5)")
        a("slli", "t0", "a1", 64 - START)
        a("beqz", "t0", none)
        a("li", "a0", self.buffers[0])
        a("andi", "t1", "a1", 1)
        a("beqz", "t1", first)
        a("li", "a0", self.buffers[1])
        a.label(first)
        a("srli", "a2", "t0", 64 - START + 1)
        self._call(START, _start_label, count="a2")
        a.label(none)

    def _call(self, field: int, label: Callable[[int], str], count: str = "") -> None:
        """The routine of the layer that a1 names in a byte of its word; none if it is 0. Then a1 is ``count``."""
        a, over = self.a, self.a.fresh("called")
        a("srli", "t1", "a1", field)
        a("andi", "t1", "t1", 0xFF)
        if count:
            a("mv", "a1", count)
        for number, layer in enumerate(self.op.partners, 1):
            other = a.fresh("other")
            a("li", "t0", number)
            a("bne", "t1", "t0", other)
            a("jal", "t2", label(layer))
            a("j", over)
            a.label(other)
        a.label(over)

    def _arguments(self) -> None:
        """a0 to a7; where there are more, t0 points to all of them."""
        a, count, offset = self.a, self.records.arguments, self.records.arguments_offset
        a("li", "t0", 4 * count)
        a("mul", "t0", "t0", runtime.HART)
        a("add", "t0", "t0", "s5")
        for word in range(min(count, REGISTERS)):
            a("lwu", f"a{word}", f"{offset + 4 * word}(t0)")
        if count > REGISTERS:
            a("addi", "t0", "t0", offset)
