"""The matrix product that a layer is for the array, and the tiles that a driver of v12 cuts it into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from potluck.isa.errors import DataError
from potluck.isa.machine import Pot
from potluck.isa.pot.array import DEPTH_STEP, FILTERS, LANES, ROWS, CodeSet
from potluck.isa.pot.stream import Buffers


@dataclass(frozen=True)
class Product:
    """rows (output pixels) times filters times depth (kernel height, width, channels)."""

    rows: int
    filters: int
    depth: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates, padding left out."""
        return self.rows * self.filters * self.depth


class Tile(NamedTuple):
    """One COMPUTE: blocks of four rows, weight blocks, and the padded depth in lines of four.

    ``loads_weights`` and ``loads_inputs``: what has to be loaded before it.
    """

    row_blocks: int
    blocks: int
    lines: int
    loads_weights: bool
    loads_inputs: bool


def buffers_of(pot: Pot, kind: CodeSet) -> Buffers:
    """The buffers of the machine's array for a code set, in the array's words.

    The INT8 build has the same bits for weights, so half the lines.
    """
    multipliers = kind.pot is None
    lines = pot.weight_lines * 4 // kind.weight_bits
    return Buffers(pot.units, lines, pot.input_lines, pot.global_lines, pot.parameter_groups, multipliers)


def round_up(value: int, step: int) -> int:
    """The least multiple of ``step`` that is not below ``value``."""
    return -(-value // step) * step


def tiles(product: Product, buffers: Buffers) -> Iterator[Tile]:
    """Tiles in the order of v12's driver: row tiles outside, filter tiles inside.

    A row tile's inputs are loaded once; weights are loaded for each tile, but once where one tile holds all filters.

    Raises:
        DataError: the depth exceeds a buffer (v12 does not tile the depth).
    """
    depth = round_up(product.depth, DEPTH_STEP)
    lines, units = depth // LANES, buffers.units
    if lines > buffers.input_lines or lines > buffers.weight_lines or lines > buffers.global_lines:
        most = LANES * min(buffers.input_lines, buffers.weight_lines, buffers.global_lines)
        raise DataError(f"depth {depth} does not fit into the array's buffers, which hold {most}")
    rows, filters = round_up(product.rows, 2), round_up(product.filters, FILTERS)
    held = LANES * FILTERS * buffers.weight_lines  # weights of one unit
    step = min(
        filters, held * units // depth // FILTERS * FILTERS, FILTERS * units * buffers.parameter_groups
    )
    blocks = step // FILTERS
    # The driver counts all left-over blocks on one unit; where nothing else is there, they fit all the same.
    if blocks > units and (blocks // units + blocks % units) * FILTERS * depth > held:
        step -= blocks % units * FILTERS
    row_step = min(rows, LANES * ROWS * buffers.global_lines // depth // ROWS * ROWS)
    for row in range(0, rows, row_step):
        for column in range(0, filters, step):
            yield Tile(
                round_up(min(row_step, rows - row), ROWS) // ROWS,
                min(step, filters - column) // FILTERS,
                lines,
                loads_weights=row == 0 or step < filters,
                loads_inputs=column == 0,
            )
