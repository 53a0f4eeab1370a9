"""Cycles of one computation of the cluster's accelerator.

Four output pixels at a time are a row block. While the units work on one, the address generator reads the windows of
the next, so a row block takes the longer of both; the first one's windows and the last one's work have nothing to hide
behind. Depthwise, all row blocks are gone through once for every ``fetch_bytes`` channels of each unit.

These are the cycles of `rtl/pot/pot_engine.sv`, to the cycle (tests/rtl/test_pot_engine.py).
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from potluck.isa.machine import Pot, PotEngine
from potluck.isa.pot.command import Command, Decoded, decode, rounds_of

ROWS = 4
PRODUCTS = 13
"""Products of a computation's fields that are worked out beyond those of a load or store, one a cycle."""

FINISH = 12
"""Cycles of ``fill_cycles`` that sums take which are kept: neither requantized nor written to a slot."""


def decode_cycles(words: ArrayLike, engine: PotEngine) -> int:
    """Cycles in which a command is read from the queue and checked."""
    command, _, _ = decode(words)
    return engine.command_cycles + (PRODUCTS if command and command.command is Command.COMPUTE else 0)


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
    """Cycles from the command's begin to its last output in the slot."""
    row_blocks, tail = -(-command.pixels // ROWS), command.pixels % ROWS or ROWS
    rounds = rounds_of(command.weight_blocks, pot.units)
    block = max(command.weight_lines, post_cycles(command, engine))
    if command["depthwise"]:
        reads, step = command.depth, engine.fetch_bytes // 4
        works = [min(step, rounds - start) * block for start in range(0, rounds, step)]
    else:
        reads, works = run_reads(command, engine.fetch_bytes * pot.units), [rounds * block]
    feed, last_feed = ROWS * reads, tail * reads
    first = feed if row_blocks > 1 else last_feed
    total = first - (block - command.weight_lines)  # the last round waits for nobody
    if command["final"]:
        total += engine.fill_cycles + post_cycles(command, engine) - engine.post_cycles
    else:
        total += engine.fill_cycles - FINISH
    for number, work in enumerate(works):  # what is read while a row block is worked on
        if row_blocks > 1:
            total += (row_blocks - 2) * max(feed, work) + max(last_feed, work)
        total += max(first, work) if number + 1 < len(works) else work
    return total
