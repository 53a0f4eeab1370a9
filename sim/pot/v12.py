"""Cycles of PoTAcc's v12 array: the scheduler's events, the same in closed form, and a layer's cost.

The events are those of the authors' SystemC (facts potacc 5.2): the scheduler polls the units' input buffers,
broadcasts four rows, hands weight blocks to the units in turn, and each unit's PPU takes ``post`` cycles per block
while the unit goes on. Loads, COMPUTE and stores follow each other: v12 overlaps none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from potluck.isa.machine import Pot
from potluck.isa.pot.array import CodeSet
from potluck.isa.pot.stream import PARAMETER_BEATS, weight_depths
from potluck.sim.pot.product import Product, Tile, buffers_of, tiles

POLL = 1  # cycles to look at a unit's flag
HEADER = 1  # before a broadcast
FETCH, START, NEXT = 2, 2, 2  # of the scheduler for each weight block
PIPELINE = 8  # from the last line of products to the accumulators
HANDOVER = 3  # from the PPU's acceptance to the unit's next block
FINISH = 3  # after the last block's PPU


def tile_events(tile: Tile, units: int, broadcast: int, post: int) -> int:
    """Cycles of one COMPUTE, event by event; the reference for :func:`tile_cycles`."""
    ready = np.zeros(units, np.int64)  # when a unit can take inputs or its next block
    post_free = np.zeros(units, np.int64)
    now, last = 1, (tile.blocks - 1) % units
    for _ in range(tile.row_blocks):
        for unit in range(units):
            now = max(now, int(ready[unit])) + POLL
        now += HEADER + broadcast * tile.lines
        for block in range(tile.blocks):
            unit = block % units
            now = max(now + FETCH, int(ready[unit])) + START
            given = max(now + 1 + tile.lines + PIPELINE, int(post_free[unit]))
            ready[unit], post_free[unit] = given + HANDOVER, given + post
            now += NEXT
    for unit in range(units):
        now = max(now, int(ready[unit])) + POLL
    return max(now, int(post_free[last])) + FINISH


def tile_cycles(tile: Tile, units: int, broadcast: int, post: int) -> int:
    """The same, exactly, in closed form where units and not their scheduler are what blocks wait for.

    Events only wait for others, so the end is the longest of a few chains. A row block passes through the broadcast,
    its rounds of blocks (each as slow as the slowest of PPU, unit and dispatch) and the poll of the units that follow
    the last one; or it is held up by the PPU of the last block's unit, from the first row block on, or in the last.
    """
    dispatch = FETCH + START + NEXT
    work = START + 1 + tile.lines + PIPELINE  # of a unit for one block
    if dispatch * units > work + HANDOVER:  # many units and short blocks: PPU, dispatch and polls interleave
        return tile_events(tile, units, broadcast, post)
    rounds, last = -(-tile.blocks // units), (tile.blocks - 1) % units
    slowest, after = max(post, work + HANDOVER), (units - last) * POLL
    lead = (
        HEADER + broadcast * tile.lines + FETCH + dispatch * last + work
    )  # from poll to the last unit's first block
    row = lead + (rounds - 1) * slowest + HANDOVER + after
    rows, held = tile.row_blocks, rounds * post
    ends = (
        rows * row,
        rows * row - after - HANDOVER + post,
        lead + rows * held,
        (rows - 1) * row + lead + held,
    )
    return 1 + units * POLL + FINISH + max(ends)


def published_cycles(tile: Tile, units: int, broadcast: int, post: int) -> int:
    """The approximation of facts potacc 5.2: row blocks times the longer of PPU and flow, ends left out."""
    busy, rounds, last = tile.lines + 14, -(-tile.blocks // units), (tile.blocks - 1) % units
    flow = units + 1 + broadcast * tile.lines + (rounds - 1) * max(post, busy, 6 * units) + busy + 6 * last
    return tile.row_blocks * max(rounds * post, flow)


@dataclass(frozen=True)
class Cost:
    """What a layer takes on a board with the v12 array.

    Attributes:
        tiles: COMPUTE commands.
        compute: cycles of the array.
        input_beats: of 16 bytes.
        weight_beats: likewise.
        parameter_beats: likewise: sums, multipliers, shifts.
        transfers: DMA transfers, those of one command on all four channels counted once.
        host_bytes: im2col rows that the CPU writes, and outputs that it copies.
    """

    tiles: int
    compute: int
    input_beats: int
    weight_beats: int
    parameter_beats: int
    transfers: int
    host_bytes: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def beats(self) -> int:
        """Everything that is loaded."""
        return self.input_beats + self.weight_beats + self.parameter_beats

    @property
    def cycles(self) -> int:
        """Accelerator cycles with streams that are never short of data, loads and compute one after the other."""
        return self.compute + self.beats

    def device_seconds(self, pot: Pot) -> float:
        """Seconds of loads at DRAM's rate, and of compute."""
        return (self.compute + self.beats / pot.beats_per_cycle) / pot.clock_hz

    def host_seconds(self, pot: Pot) -> float:
        """Seconds of the CPU for this layer, in which the array waits."""
        return self.transfers * pot.transfer_seconds + self.host_bytes * pot.pack_seconds_per_byte


def layer_cost(product: Product, pot: Pot, kind: CodeSet) -> Cost:
    """A layer's cost in the tiles of v12's driver.

    Raises:
        DataError: the depth does not fit.
    """
    constants = pot.sysc if pot.constants == "sysc" else pot.hw
    found = list(tiles(product, buffers_of(pot, kind)))
    loaded = [tile for tile in found if tile.loads_weights]
    rows = [tile for tile in found if tile.loads_inputs]
    outputs = sum(16 * tile.row_blocks * tile.blocks for tile in found)
    inputs = sum(tile.row_blocks * tile.lines for tile in rows)
    words_per_line = 4 / weight_depths(kind)
    return Cost(
        tiles=len(found),
        compute=sum(
            tile_cycles(tile, pot.units, constants.broadcast_cycles, constants.post_cycles) for tile in found
        ),
        input_beats=inputs,
        weight_beats=int(sum(tile.blocks * tile.lines for tile in loaded) * words_per_line),
        parameter_beats=PARAMETER_BEATS * sum(tile.blocks for tile in loaded),
        transfers=1 + len(rows) + len(loaded) + 2 * len(found),  # CONFIG, loads, COMPUTE and results
        host_bytes=16 * inputs + outputs,
    )
