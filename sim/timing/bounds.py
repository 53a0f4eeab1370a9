"""Lower bounds of a layer's cycles: what each resource alone would need for the layer's work.

A layer cannot take fewer cycles than the largest of them, and where it takes many more, something waits. Bounds count
the work that a layer's own instructions ask for; the end of it (a transfer that was asked for early, a vector
instruction still running) may fall into the next layer's cycles, so a bound can exceed the cycles of a short layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from potluck.isa.machine import Machine
from potluck.sim.dram.attach import core_rate
from potluck.sim.timing import rows as tr

if TYPE_CHECKING:
    from potluck.sim.blocks import BlockStore
    from potluck.sim.hart import Usage

UNITS = ("vfu", "l1_ports", "slide", "valu")
"""Bounds by the vector unit's parts, in the order of `potluck.sim.timing.rows.VFU` and the following."""
BOUNDS = ("compute", *UNITS, "issue", "dma", "dram", "pot")
"""All bounds: multiply-accumulates at the format's peak; the unit that arithmetic, memory accesses, slides and (where
they have one) integers occupy; one instruction per cycle; the DMA's bus; DRAM's pins; the PoT accelerator."""
_OFFLOADED = (tr.FLOAT, tr.VECTOR, tr.VECTOR_LOAD, tr.VECTOR_STORE)


def unit_cycles(store: BlockStore, use: Usage) -> NDArray[np.int64]:
    """Cycles that each executed block occupied each unit, [executed, units]: the lengths of `potluck.sim.timing.timer`.

    Bank conflicts are left out, and accesses that go element by element count as if they were contiguous.
    """
    found = np.zeros((use.block.size, len(UNITS)), np.int64)
    first, count = store.arrays.info[use.block, 0], store.arrays.info[use.block, 1]
    entry = np.repeat(np.arange(use.block.size), count)
    index = np.arange(entry.size) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    offloaded = np.isin(store.arrays.timing_rows[index, tr.PATH], _OFFLOADED)
    entry, rows = entry[offloaded], store.arrays.timing_rows[index[offloaded]].astype(np.int64)
    elements = np.where(rows[:, tr.FIXED_VL] > 0, rows[:, tr.FIXED_VL], use.vl[entry]) * rows[:, tr.FIELDS]
    length = -(-elements * rows[:, tr.NUMERATOR] // rows[:, tr.DENOMINATOR]) + rows[:, tr.EXTRA]
    scalar = rows[:, tr.PATH] == tr.FLOAT
    length = np.maximum(1, np.where(scalar, 1 + rows[:, tr.EXTRA], length))
    unit = np.where(scalar, tr.VFU, rows[:, tr.UNIT])
    np.add.at(found, (entry, unit), length * use.count[entry])
    return found


def lower_bounds(
    machine: Machine,
    ideal: float,
    units: NDArray[np.int64],
    instructions: NDArray[np.int64],
    moved: int,
    dram_bytes: int,
    accelerator: int,
) -> dict[str, float]:
    """Bounds of a layer in cycles, by the names of `BOUNDS`; those that are 0 are left out.

    Args:
        machine: that ran it.
        ideal: cycles of its multiply-accumulates at the peak of their format.
        units: [harts, units], cycles that they were occupied.
        instructions: [harts], retired.
        moved: bytes that the DMA moved.
        dram_bytes: bytes of DRAM bursts.
        accelerator: cycles of the PoT accelerator.
    """
    every = dict(zip(UNITS, units.max(0).tolist(), strict=True))
    every |= {
        "compute": ideal, "issue": int(instructions.max()), "dma": moved / (machine.dma.width_bits / 8),
        "dram": dram_bytes / core_rate(machine), "pot": accelerator,
    }  # fmt: skip
    return {name: every[name] for name in BOUNDS if every[name]}
