"""A proxy of area from a machine's keys, in gates (NAND2 equivalents): for ordering points, not for building chips.

Counted: the vector units' floating and MX lanes, register files, L1, and the PoT accelerator with its buffers. Not
counted, because no key changes them much: scalar cores, integer lanes, instruction caches, interconnect, DMA, DRAM
controllers and PHYs.
"""

from __future__ import annotations

from potluck.isa.machine import Machine

FMA_LANE = 15_352.0
"""Gates of a lane of multiply-adds: ``bf16_fma_lane`` of docs/rtl.md, which stands for all floating formats."""
MX_LANE = 29_222.0
"""Gates of a VMXDOTP lane for FP8 and FP4, docs/rtl.md."""
SHIFT_PE, MULTIPLIER_PE = 996.0, 1_370.0
"""Gates of a PE of the PoT accelerator with its accumulator (``spatz-mx-pot.toml``, energy.pot_mac, pot_mac8)."""
SRAM_BIT = 1.5
"""Gates of a bit of SRAM: six transistors, where a NAND2 has four. Decoders and sense amplifiers are left out."""
LATCH_BIT = 4.0
"""Gates of a bit of the register file, a latch: CHOICE, four NAND2."""


def area_gates(machine: Machine) -> float:
    """The proxy of a machine."""
    vector, cores = machine.vector, machine.cluster.cores
    lane = FMA_LANE + (MX_LANE if machine.isa.vmxdotp else 0.0)
    gates = cores * (vector.lanes * lane + 32 * vector.vlen * LATCH_BIT)
    gates += 8 * machine.memory.l1_bytes * SRAM_BIT
    pot = machine.pot
    if pot is not None:
        pe = MULTIPLIER_PE if pot.multipliers else SHIFT_PE
        bits = pot.units * (64 * pot.weight_lines + 128 * pot.input_lines) + 64 * pot.global_lines
        gates += 64 * pot.units * pe + bits * SRAM_BIT
    return gates
