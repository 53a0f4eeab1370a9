"""What a stack costs: check bits, cycles of a read, picojoules.

On-die codes work inside the devices' own read latency and cost no cycle here. Check bits are moved like data: sideband
bits through array and pins, on-die bits through the array alone.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from potluck.sim.dram.kind import SECTOR, Kind
from potluck.sim.dram.mapping import Mapping
from potluck.sim.faults.placement import Placement, place
from potluck.sim.faults.recipes import GUARDS, Recipe

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Cost:
    """Of a stack.

    Attributes:
        sideband_bits, on_die_bits, inline_bits: stored per 256 data bits.
        cycles: that a read takes longer.
        codec_pj: per 32 bytes read or written.
        check_pj: per 32 bytes, of moving check bits; inline ones are bursts of their own (`placement.traffic`).
        band: low and high of ``codec_pj``.
        sources: of the codec figures.
    """

    sideband_bits: int
    on_die_bits: int
    inline_bits: int
    cycles: int
    codec_pj: float
    check_pj: float
    band: tuple[float, float]
    sources: tuple[str, ...]

    @property
    def bits(self) -> int:
        """Stored per 256 data bits."""
        return self.sideband_bits + self.on_die_bits + self.inline_bits

    def picojoules(self, data_bytes: int) -> float:
        """Of reading or writing so many bytes."""
        return (self.codec_pj + self.check_pj) * data_bytes / SECTOR


@cache
def _codecs() -> dict[str, Any]:
    return tomllib.loads((FOLDER / "codecs.toml").read_text())


def layer_name(recipe: Recipe) -> str:
    """Entry of ``codecs.toml`` for a recipe's system code."""
    if recipe.system in GUARDS:
        scheme, objective = GUARDS[recipe.system]
        return f"{'rgx' if objective == 'tails' else 'rg'}-{scheme}"
    return recipe.system if recipe.system in _codecs()["layers"] else "other"


def cost_of(recipe: Recipe, mapping: Mapping) -> Cost:
    """What a recipe costs on a memory.

    Raises:
        DataError: it does not fit, see `placement.place`.
    """
    placement: Placement = place(recipe, mapping)
    kind: Kind = mapping.kind
    data, energy = _codecs(), {name: entry.pj for name, entry in kind.energy.items()}
    layers = [data["layers"][layer_name(recipe)], *(data["layers"]["filter"] for _ in recipe.filters)]
    gates = sum(layer["gates"] for layer in layers)
    per_gate = data["energy"]
    sideband = 0 if placement.inline else placement.check_bits
    on_die = kind.organization.on_die_bits if recipe.on_die else 0
    return Cost(
        sideband, on_die, placement.check_bits if placement.inline else 0, sum(layer["cycles"] for layer in layers),
        gates * per_gate["fj_per_gate"] / 1000,
        sideband * (energy["read"] + energy["io"]) + on_die * energy["read"],
        (gates * per_gate["low"] / 1000, gates * per_gate["high"] / 1000),
        tuple(layer["source"] for layer in layers),
    )  # fmt: skip
