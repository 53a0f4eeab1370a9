"""Energies of the PoT array's events, from gates that Yosys counts: entries of `spatz-mx-pot.toml` and their bands.

A gate's energy at 45 nm and 0.9 V is what Horowitz (ISSCC 2014) gives for an 8-bit multiplication, divided by the gates
of a multiplier that comes out of the same synthesis; memories' reads are his. To the cluster's 12LPP (a 14 nm process
with tighter libraries) at 0.8 V leads the polynomial of Stillmaker and Baas (Integration 58, 2017, table 5), its
neighbours 10 and 16 nm being the band. Wires, clock and leakage of the array are in ``pot_static``, which is a choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from potluck.benchmarks import rtl_pot
from potluck.hdl.synthesis import Design, generic_gates
from potluck.isa.machine import load_machine

Report = Callable[..., None]
FACTORS: Final = {  # a V^2 + b V + c of an operation's energy, high-performance models
    65: (3.755, -4.398, 1.975),
    45: (1.018, -0.3107, 0.1539),
    32: (0.8367, -0.4341, 0.1701),
    16: (0.2958, -0.1241, 0.03024),
    14: (0.2363, -0.09675, 0.02239),
    10: (0.2068, -0.09311, 0.02375),
}
FROM, TO = (45, 0.9), ((10, 0.8), (14, 0.8), (16, 0.8))
MULTIPLY8, MULTIPLY32, ADD32 = 0.2, 3.1, 0.1
"""pJ at 45 nm, Horowitz."""
READ = (10.0, 20.0, 20.0)
"""pJ of reading 64 bits at 45 nm, Horowitz: of 8 KiB, of 32 KiB, and of 32 KiB again."""
ACTIVATION_WORDS = 2
"""Words of 64 bits of activations that a unit reads for a line: four depths of four rows."""


class Band(NamedTuple):
    """Picojoules at 12LPP."""

    low: float
    pj: float
    high: float


def factor(node: int, volts: float) -> float:
    """Energy of an operation at a node, in the paper's unit."""
    a, b, c = FACTORS[node]
    return a * volts * volts + b * volts + c


def scaled(low: float, pj: float, high: float) -> Band:
    """Picojoules at 45 nm and 0.9 V, at 12LPP and 0.8 V."""
    return Band(*(value * factor(*to) / factor(*FROM) for value, to in zip((low, pj, high), TO, strict=True)))


def gates(counted: float, multiplier: float, booth: float, adder: float) -> Band:
    """Of so many gates whose inputs are random.

    Args:
        counted: NAND2 equivalents.
        multiplier: of the 8x8 multiplier as synthesized: the value.
        booth: of the smallest multiplier: the upper end.
        adder: of a 32-bit accumulator with its register: the lower end.
    """
    return scaled(counted * ADD32 / adder, counted * MULTIPLY8 / multiplier, counted * MULTIPLY8 / booth)


def line(words: int) -> Band:
    """A unit's reads for a line: weights of so many 64-bit words, and activations."""
    return scaled(*(pj * (words + ACTIVATION_WORDS) for pj in READ))


def requantization() -> Band:
    """A 32-bit multiplication, and twice to four times a 32-bit addition for rounding, shift and clamp."""
    return scaled(MULTIPLY32, MULTIPLY32 + 2 * ADD32, MULTIPLY32 + 4 * ADD32)


def run(report: Report) -> None:
    """Every entry beside what it is derived from.

    Raises:
        ToolError: Yosys is not installed.
        RtlError: a design does not synthesize.
    """
    multiplier = generic_gates(rtl_pot.OPERATOR).nand2
    booth = generic_gates(rtl_pot.pe(rtl_pot.BOOTH)).nand2
    adder = generic_gates(rtl_pot.ACCUMULATOR).nand2

    def of(design: Design) -> Band:
        return gates(generic_gates(design).nand2, multiplier, booth, adder)

    machine = load_machine("spatz-mx-pot")
    for name, band in (
        ("pot_mac", of(rtl_pot.mac(rtl_pot.ANY))),
        ("pot_mac8", of(rtl_pot.mac(rtl_pot.BOOTH))),
        ("pot_line", line(1)),
        ("pot_line8", line(2)),
        ("pot_post", requantization()),
    ):
        entry = machine.energy[name]
        same = all(
            abs(ours / stated - 1) < 0.05
            for ours, stated in zip(band, (entry.low, entry.pj, entry.high), strict=True)
        )
        text = (
            f"{band.low:.3g} to {band.high:.3g}; spatz-mx-pot.toml {entry.pj} ({entry.low} to {entry.high})"
        )
        report(f"energy.{name}", band.pj, "pJ", text, "the entry's, within 5 %", same)
