"""A transient flip of one bit of a PE's accumulator in the PoT accelerator, before a product that is drawn at random.

A PE adds up products of one row, filter and depth of each line, through all rounds of a computation (rtl/pot): a
round's sums are what four PEs have gained in it. So a flip adds or takes away a power of two in one output, and the bit
that was there, which earlier rounds have left, decides which.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.isa.pot.array import FILTERS, LANES, ROWS
from potluck.isa.pot.command import Decoded
from potluck.sim.pot.windows import Weights, windows

ACCUMULATOR_BITS = 32
ROUNDS = 4
"""Of a depthwise pass."""


@dataclass(frozen=True)
class PeUpset:
    """A flip.

    Attributes:
        product: of the run, before which the PE that adds it is struck; see `products`.
        bit: of its accumulator.

    Raises:
        DataError: no such bit.
    """

    product: int
    bit: int

    def __post_init__(self) -> None:
        if not 0 <= self.bit < ACCUMULATOR_BITS:
            raise DataError(f"bit {self.bit} of an accumulator of {ACCUMULATOR_BITS} bits")


@dataclass(frozen=True)
class PeStruck:
    """A flip that happened.

    Attributes:
        pc: of the store that rang the doorbell.
        pixel, filter: output whose sum it changes.
        unit, row, column, lane: place of the PE: vector unit, row, filter of the block, depth of the line.
        line: of the round, before which it is struck.
        held: what the accumulator held, modulo 2^32.
        bit: of it.
    """

    pc: int
    pixel: int
    filter: int
    unit: int
    row: int
    column: int
    lane: int
    line: int
    held: int
    bit: int

    @property
    def error(self) -> int:
        """What is added to the output's sum."""
        return -(1 << self.bit) if self.held >> self.bit & 1 else 1 << self.bit


def products(command: Decoded) -> int:
    """Products of a computation, idle PEs and padding left out: by pixel, filter, depth and plane, the last fastest."""
    return command.pixels * command["filters"] * command.depth * command["planes"]


def strike(
    command: Decoded, inputs: NDArray[np.uint8], weights: Weights, units: int, product: int, bit: int, pc: int
) -> PeStruck:  # fmt: skip
    """Where a flip before a product of a computation lands, and what it finds there.

    What PEs of idle rows and channels add in depthwise computations is taken as 0: it is whatever the window buffer
    held, and decides at most the sign of an error there.

    Args:
        command: the computation.
        inputs: its input slot.
        weights: its weight slot.
        units: of the array.
        product: number, below `products`.
        bit: of the accumulator.
        pc: of the doorbell.
    """
    rest, plane = divmod(product, command["planes"])
    rest, depth = divmod(rest, command.depth)
    pixel, output = divmod(rest, command["filters"])
    turn, unit = divmod(output // FILTERS, units)
    row, block = pixel % ROWS, pixel // ROWS
    if command["depthwise"]:
        column, lane, line = plane % FILTERS, output % LANES, depth * -(-command["planes"] // FILTERS)
        line += plane // FILTERS
    else:
        column, lane, line = output % FILTERS, depth % LANES, depth // LANES * command["planes"] + plane
    rounds = -(-command.weight_blocks // units)
    levels = weights.levels(command)[unit::units, :, column, lane][:rounds]
    found = windows(command, inputs)[row::ROWS].astype(np.int64)  # of the PE's row, one for each row block
    if command["depthwise"]:
        channels = (np.arange(rounds) * units + unit) * LANES + lane
        held = _depthwise(command, found, levels, channels, column, block, turn, line)
    else:
        held = _plain(command, found, levels, lane, block, turn, line)
    return PeStruck(pc, pixel, output, unit, row, column, lane, line, held % (1 << ACCUMULATOR_BITS), bit)


def _plain(
    command: Decoded, found: NDArray[np.int64], levels: NDArray[np.int64], lane: int, block: int, turn: int, line: int
) -> int:  # fmt: skip
    """What a PE has added: for every row block all rounds, which are [rounds, lines] of `levels`."""
    padded = np.zeros((block + 1, LANES * -(-command.depth // LANES)), np.int64)
    padded[:, : command.depth] = found[: block + 1, : command.depth]
    acts = np.repeat(padded[:, lane::LANES], command["planes"], axis=1)  # [row blocks, lines]
    before = acts[:block].sum(axis=0) @ levels.sum(axis=0) + acts[block] @ levels[:turn].sum(axis=0)
    return int(before + acts[block, :line] @ levels[turn, :line])


def _depthwise(
    command: Decoded, found: NDArray[np.int64], levels: NDArray[np.int64], channels: NDArray[np.int64], column: int,
    block: int, turn: int, line: int,
) -> int:  # fmt: skip
    """The same: for every four rounds all row blocks; a line is a tap of one channel, and up to four planes."""
    each = -(-command["planes"] // FILTERS)
    counts = np.arange(levels.shape[1]) % each * FILTERS + column < command["planes"]
    levels = np.where(counts, levels, 0)
    taps = np.zeros((len(found), len(channels), command.depth), np.int64)  # [row blocks, rounds, taps]
    there = channels < command["channels"]
    every = found.reshape(len(found), command.depth, -1).transpose(0, 2, 1)
    taps[:, there] = every[:, channels[there]]
    acts = np.repeat(taps, each, axis=2)
    gained = (acts * levels).sum(axis=2)
    first = turn // ROUNDS * ROUNDS
    before = gained[:, :first].sum() + gained[:block, first : first + ROUNDS].sum()
    before += gained[block, first:turn].sum()
    return int(before + acts[block, turn, :line] @ levels[turn, :line])
