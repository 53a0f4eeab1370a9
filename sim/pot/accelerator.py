"""The cluster's PoT accelerator: registers, commands from the queue, slots.

A command's values are worked out when the doorbell rings, its times when somebody asks: as with the DMA, a program that
touches what a command in flight reads or writes is wrong on hardware, too, and no result depends on timing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from potluck.isa.machine import Machine, Pot, PotEngine
from potluck.isa.pot.array import CODE_SETS, ROWS
from potluck.isa.pot.command import (
    BEAT_BYTES,
    BUSY,
    COMMAND_BYTES,
    DOORBELL,
    MOST_COMMANDS,
    QUEUE,
    RESET,
    STATE,
    WAIT,
    Command,
    Decoded,
    decode,
    rounds_of,
    state_word,
    weight_bytes,
)
from potluck.isa.pot.cycles import compute_cycles, decode_cycles
from potluck.isa.pot.stream import Status
from potluck.sim.dma import Dma, End, Transfer, end_in
from potluck.sim.memory import Memory
from potluck.sim.pot.schedule import Engine, Schedule, Work
from potluck.sim.pot.upset import PeStruck, PeUpset, products, strike
from potluck.sim.pot.windows import Weights, outputs, sums

NOWHERE = End(0, 0, None, None)
POT_REGISTERS = (QUEUE, DOORBELL, STATE, WAIT, RESET)


class Use(NamedTuple):
    """Work of the array.

    ``products`` of PEs, idle ones and those of padding left out; ``lines`` of weights and activations that units read;
    ``outputs`` of the PPUs; ``cycles`` of computing.
    """

    products: int = 0
    lines: int = 0
    outputs: int = 0
    cycles: int = 0

    def picojoules(self, machine: Machine) -> float:
        """Energy by the machine's table."""
        assert machine.pot is not None
        mac, line = ("pot_mac8", "pot_line8") if machine.pot.multipliers else ("pot_mac", "pot_line")
        entries = (
            (mac, self.products), (line, self.lines), ("pot_post", self.outputs), ("pot_static", self.cycles)
        )  # fmt: skip
        return sum(machine.pj(name) * count for name, count in entries)


class _Refused(Exception):
    """A command that is not carried out, with the reason."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


@dataclass
class _Slot:
    """Half of a buffer: what it holds, and who wrote and read it last."""

    data: NDArray[np.uint8]
    filled: int = 0
    weights: Weights | None = None
    writer: Work | None = None
    reader: Work | None = None


@dataclass
class Accelerator:
    """One accelerator at rest.

    Attributes:
        status: OK, or why a command was refused; later ones are discarded until reset.
        refused: its number behind its doorbell.
        use: what was computed, by pc of the doorbell.
        upset: a bit of a PE's accumulator that is to flip.
        struck: the flip, once it has happened.
        products: that PEs have added so far.
    """

    machine: Machine
    pot: Pot
    engine: PotEngine
    memory: Memory
    schedule: Schedule
    timed: bool = True
    status: Status = Status.OK
    refused: int = 0
    queue: int = 0
    use: dict[int, Use] = field(default_factory=dict)
    upset: PeUpset | None = None
    struck: PeStruck | None = None
    products: int = 0
    _inputs: list[_Slot] = field(default_factory=list)
    _weights: list[_Slot] = field(default_factory=list)
    _outputs: list[_Slot] = field(default_factory=list)
    _pc: int = 0
    _kept: NDArray[np.int64] | None = None
    _recent: list[Work | None] = field(default_factory=lambda: [None] * len(Engine))
    _fence: list[Work] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        sizes = self.pot.input_slot_bytes, 0, self.engine.output_bytes
        self._inputs, self._weights, self._outputs = (
            [_Slot(np.zeros(size, np.uint8)) for _ in range(2)] for size in sizes
        )
        self._kept = None

    def store(self, offset: int, value: int, now: int, pc: int) -> None:
        """A store of the core to a register; those that cannot be written ignore it."""
        if offset == QUEUE:
            self.queue = value
        elif offset == DOORBELL:
            self._ring(value, now, pc)
        elif offset == RESET:
            self.finish()
            self.status, self.refused = Status.OK, 0
            self._forget()

    def load(self, offset: int, now: int) -> tuple[int, int]:
        """A load: its value, and the cycle in which it returns."""
        if offset == QUEUE:
            return self.queue, now
        if offset == WAIT:
            self.finish()
            return state_word(self.status, self.refused, False), max(
                now, self.schedule.last_end
            ) if self.timed else now
        if offset != STATE:
            return 0, now
        self.advance(now)
        busy = self.timed and self.schedule.busy(now)
        word = state_word(self.status, self.refused, busy)
        return word | (BUSY if busy else 0), now

    def advance(self, now: int) -> None:
        """Let commands begin up to a cycle, before others use DRAM."""
        if self.timed:
            self.schedule.advance(now)

    @property
    def pending(self) -> bool:
        """Whether commands have not begun, so that they and others meet DRAM in the order of time."""
        return self.timed and self.schedule.pending

    def finish(self) -> None:
        """Find out when everything ends."""
        if self.timed:
            self.schedule.advance(None)

    def _ring(self, count: int, now: int, pc: int) -> None:
        """Carry out ``count`` commands of the queue."""
        if self.status is not Status.OK:
            return
        found = self.memory.find(self.queue, count * COMMAND_BYTES) if 0 < count <= MOST_COMMANDS else None
        if not 0 < count <= MOST_COMMANDS:
            self.status, self.refused = Status.BAD_SIZE, 0
            return
        if found is None or found[0] != "l1" or self.queue % 8:
            self.status, self.refused = Status.BAD_ADDRESS, 0
            return
        _, data, at = found
        self._pc = pc
        words = data[at : at + count * COMMAND_BYTES].copy().view(np.uint32).reshape(count, -1)
        arrives = self._quiet(now)
        for index, row in enumerate(words):
            arrives += decode_cycles(row, self.engine)
            try:
                self._carry_out(row, index == count - 1, arrives, pc)
            except _Refused as refusal:
                self.status, self.refused = refusal.status, index
                return

    def _quiet(self, now: int) -> int:
        """A doorbell is heard when the queue before it is done."""
        if not self.timed:
            return now
        self.finish()
        return max(now, self.schedule.last_end)

    def _carry_out(self, words: NDArray[np.uint32], ends: bool, arrives: int, pc: int) -> None:
        command, status, _ = decode(words)
        if command is None:
            raise _Refused(status)
        work = {
            Command.LOAD_INPUTS: self._load_inputs,
            Command.LOAD_WEIGHTS: self._load_weights,
            Command.COMPUTE: self._compute,
            Command.STORE: self._store,
        }
        if command.last is not ends:
            raise _Refused(Status.EARLY_LAST if command.last else Status.MISSING_LAST)
        if command.command is Command.FENCE:
            self._fence = [recent for recent in self._recent if recent]
        elif command.command in work:
            made = work[command.command](command)
            made.waits += self._fence
            made.arrives, made.pc = arrives, pc
            if made.engine is Engine.COMPUTE:
                self._count(command, made.cycles, pc)
            self._recent[made.engine] = made
            if self.timed:
                self.schedule.add(made)

    def _range(self, address: int, step: int, rows: int, size: int, written: bool = False) -> End:
        found = end_in(self.memory, address, step, rows, size)
        if found is None or (written and self.memory.protects(min(address, address + (rows - 1) * step))):
            raise _Refused(Status.BAD_ADDRESS)
        return found

    def _load_inputs(self, command: Decoded) -> Work:
        slot, size, rows = self._inputs[command["slot"]], command["row_bytes"], command["rows"]
        begin, end = command["offset"], command["offset"] + rows * size
        if end > slot.data.size or begin > slot.filled:
            raise _Refused(Status.BAD_SIZE)
        source = self._range(command["address"], command["stride"] if rows > 1 else 0, rows, size)
        assert source.view is not None
        slot.data[begin:end] = source.view.ravel()
        slot.filled = end if begin == 0 else max(slot.filled, end)
        return self._loaded(slot, Transfer(size, rows, source, NOWHERE))

    def _load_weights(self, command: Decoded) -> Work:
        slot, blocks, lines = self._weights[command["slot"]], command["blocks"], command["lines"]
        local = rounds_of(blocks, self.pot.units)
        if local * lines > self.pot.weight_slot_lines or local > self.pot.parameter_slot_groups:
            raise _Refused(Status.BAD_SIZE)
        bits = self.pot.weight_bits
        size = weight_bytes(blocks, lines, self.pot.units, bits)
        if command["address"] % (BEAT_BYTES * self.pot.units):
            raise _Refused(Status.BAD_ADDRESS)
        source = self._range(command["address"], 0, 1, size)
        assert source.view is not None
        slot.weights = Weights(source.view[0].copy(), blocks, lines, self.pot.units, bits)
        return self._loaded(slot, Transfer(size, 1, source, NOWHERE))

    def _loaded(self, slot: _Slot, transfer: Transfer) -> Work:
        work = Work(Engine.LOAD, 0, [slot.reader] if slot.reader else [], transfer=transfer)
        slot.writer = work
        return work

    def _compute(self, command: Decoded) -> Work:
        inputs, weights = self._inputs[command["inputs"]], self._weights[command["weights"]]
        output, held = self._outputs[command["outputs"]], weights.weights
        if (CODE_SETS[command["code_set"]].pot is None) is not self.pot.multipliers:
            raise _Refused(Status.BAD_MODE)
        size = command["height"] * command["width"] * command["channels"]
        filters = 4 * command.weight_blocks
        if size > inputs.filled or held is None:
            raise _Refused(Status.NOT_LOADED)
        if held.lines != command.weight_lines or held.blocks < command.weight_blocks:
            raise _Refused(Status.NOT_LOADED)
        tiles = -(-command.pixels // 4) * -(-command.weight_blocks // self.pot.units)
        parts = not (command["first"] and command["final"])
        if (
            command.window_lines(self.pot.units) > self.pot.input_lines
            or (command["final"] and command.out_size > output.data.size)
            or (parts and tiles > self.engine.accumulator_groups)
        ):
            raise _Refused(Status.BAD_SIZE)
        if not command["first"] and (self._kept is None or self._kept.shape != (command.pixels, filters)):
            raise _Refused(Status.NOT_LOADED)
        acc = sums(command, inputs.data, held)
        self._strike(command, inputs.data, held, acc)
        if not command["first"]:
            assert self._kept is not None
            acc += self._kept
        waits = [inputs.writer, weights.writer]
        work = Work(Engine.COMPUTE, 0, [], compute_cycles(command, self.pot, self.engine))
        self._kept = None if command["final"] else acc
        if command["final"]:
            found = outputs(command, acc, held)
            output.data[: found.size], output.filled = found, found.size
            waits.append(output.reader)
            output.writer = work
        work.waits = [other for other in waits if other]
        inputs.reader = weights.reader = work
        return work

    def _strike(
        self, command: Decoded, inputs: NDArray[np.uint8], held: Weights, acc: NDArray[np.int64]
    ) -> None:  # fmt: skip
        """Let the flip happen, if it comes before one of the products that give these sums."""
        upset, first = self.upset, self.products
        self.products += products(command)
        if upset is not None and first <= upset.product < self.products:
            place = upset.product - first
            found = self.struck = strike(command, inputs, held, self.pot.units, place, upset.bit, self._pc)
            acc[found.pixel, found.filter] += found.error

    def _store(self, command: Decoded) -> Work:
        slot, size, rows = self._outputs[command["slot"]], command["row_bytes"], command["rows"]
        begin, end = command["offset"], command["offset"] + rows * size
        if end > slot.data.size:
            raise _Refused(Status.BAD_SIZE)
        if end > slot.filled:
            raise _Refused(Status.NOT_LOADED)
        target = self._range(
            command["address"], command["stride"] if rows > 1 else 0, rows, size, written=True
        )
        assert target.view is not None
        for row, data in zip(target.view, slot.data[begin:end].reshape(rows, size), strict=True):
            row[:] = data  # one after the other: where rows overlap, the later one wins
        work = Work(
            Engine.STORE,
            0,
            [slot.writer] if slot.writer else [],
            # The bus has as many beats as the target's addresses make.
            transfer=Transfer(size, rows, End(target.start, target.step, None, None), target),
        )
        slot.reader = work
        return work

    def _count(self, command: Decoded, cycles: int, pc: int) -> None:
        outputs = command.pixels * command["filters"]
        lines = command.weight_blocks * command.weight_lines * -(-command.pixels // ROWS)
        use = Use(products(command), lines, outputs if command["final"] else 0, cycles)
        self.use[pc] = Use(*map(sum, zip(self.use.get(pc, Use()), use, strict=True)))


def accelerator_of(machine: Machine, memory: Memory, core: Dma, timed: bool) -> Accelerator | None:
    """The machine's accelerator with two channels to memory beside the core's; None if the cluster has none."""
    if machine.pot is None or machine.pot.engine is None:
        return None
    loads, stores = (Dma(machine, memory, core.dram) for _ in range(2))
    return Accelerator(machine, machine.pot, machine.pot.engine, memory, Schedule(loads, stores, core), timed)
