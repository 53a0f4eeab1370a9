"""Cycles of one computation of the cluster's accelerator.

Four output pixels at a time are a row block. While the units work on one, the address generator reads the windows of
the next, so a row block takes the longer of both; the first one's windows and the last one's work have nothing to hide
behind. Depthwise, each unit reads channels of its own, sixteen at a time.
"""

from __future__ import annotations

from potluck.isa.machine import Pot, PotEngine
from potluck.isa.pot_command import Decoded

ROWS = 4


def run_reads(command: Decoded, fetch_bytes: int) -> int:
    """Reads of one window: runs of neighbouring bytes, each as many whole reads as it needs.

    A kernel row is one run where its pixels are neighbours. What lies beyond the border is read as well.
    """
    runs, length = command["kernel_height"], command["kernel_width"] * command["channels"]
    if command["dilation_width"] > 1:
        runs, length = runs * command["kernel_width"], command["channels"]
    return runs * -(-length // fetch_bytes)


def post_cycles(command: Decoded, engine: PotEngine) -> int:
    """Cycles of a unit's PPU for a block: FP32 outputs leave through a port of four bytes, too."""
    return engine.post_cycles * command.out_bytes


def compute_cycles(command: Decoded, pot: Pot, engine: PotEngine) -> int:
    """Cycles from the first read to the last result."""
    pixels, planes = command.pixels, command["planes"]
    row_blocks, tail = -(-pixels // ROWS), pixels % ROWS or ROWS
    if command["depthwise"]:
        return _depthwise_cycles(command, pot, engine, row_blocks)
    lines = command.weight_lines // planes
    reads = run_reads(command, engine.fetch_bytes)
    rounds = -(-command.weight_blocks // pot.units)
    feed, last_feed = max(ROWS * reads, lines), max(tail * reads, lines)
    work = rounds * max(lines * planes, post_cycles(command, engine))
    first = feed if row_blocks > 1 else last_feed
    between = (row_blocks - 2) * max(feed, work) + max(last_feed, work) if row_blocks > 1 else 0
    return first + between + work + engine.fill_cycles


def _depthwise_cycles(command: Decoded, pot: Pot, engine: PotEngine, row_blocks: int) -> int:
    """Each unit reads ``fetch_bytes`` channels of a pixel at once and works through them, four at a time."""
    taps, blocks = command.depth, command.weight_blocks
    per_unit = engine.fetch_bytes // 4  # weight blocks that a unit's reads feed
    feed, total, work = ROWS * taps, 0, 0
    for start in range(0, blocks, per_unit * pot.units):
        work = min(per_unit, blocks - start) * max(command.weight_lines, post_cycles(command, engine))
        total += row_blocks * max(feed, work)
    return feed + total - max(feed, work) + work + engine.fill_cycles
