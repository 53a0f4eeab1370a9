"""``potluck explain``: where a layer's cycles went, what bounds it, and how far it is from the bound."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from potluck.isa.errors import DataError
from potluck.isa.manifest import members
from potluck.report import aligned

BUSY = 0.5
"""A resource bounds a layer if it is busy for this share of its cycles; below it, the layer mostly waits."""
COMPUTE = 0.9
"""Share of the vector unit's busy cycles from which on multiply-accumulates are what keeps it busy."""
NAMES = {
    "compute": "compute peak", "vfu": "vector arithmetic", "l1_ports": "L1 ports", "slide": "slide unit",
    "valu": "integer unit", "issue": "instruction issue", "dma": "DMA bus", "dram": "DRAM roofline",
    "pot": "PoT accelerator",
}  # fmt: skip
"""Resource of `potluck.sim.timing.bounds.BOUNDS` -> in words."""
WAITS = {
    "sync": "synchronization", "dma": "waiting for DMA", "dram": "DRAM latency", "pot": "waiting for the accelerator",
    "bank_conflict": "bank conflicts",
}  # fmt: skip
"""Cause -> what a layer waits for that no resource bounds; other causes are latencies of dependent instructions."""


@dataclass(frozen=True)
class Explained:
    """One layer.

    Attributes:
        name: of the layer.
        op: operator.
        format: of its products.
        cycles: of hart 0.
        macs: multiply-accumulates.
        dram_bytes: of DRAM's bursts.
        bounds: cycles that each resource would need for the layer's work alone.
        bound: the largest of them, a key of ``bounds``; empty if there is none.
        reason: what bounds the layer, in words.
        reached: ``bounds[bound]`` over ``cycles``: 1 is at the bound.
        utilization: of the format's peak.
        intensity: FLOP per byte of DRAM traffic; None without traffic or products.
        ridge: intensity from which on compute bounds the machine, not DRAM; None as above.
        roofline: attainable share of the compute peak at this intensity.
        harts: cycles of each hart by cause.
    """

    name: str
    op: str
    format: str
    cycles: int
    macs: int
    dram_bytes: int
    bounds: Mapping[str, float]
    bound: str
    reason: str
    reached: float
    utilization: float
    intensity: float | None
    ridge: float | None
    roofline: float | None
    harts: Sequence[Mapping[str, int]]

    @property
    def least(self) -> float:
        """Cycles at the bound."""
        return self.bounds[self.bound] if self.bound else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def explained(layer: Mapping[str, Any]) -> Explained:
    """What a layer of a result's JSON did."""
    bounds, cycles, macs = layer["bounds"], layer["cycles"], layer["macs"]
    bound = max(bounds, key=lambda name: bounds[name], default="")
    if bound == "vfu" and bounds.get("compute", -1) >= COMPUTE * bounds["vfu"]:
        bound = "compute"
    reached = bounds[bound] / cycles if bound and cycles else 0.0
    intensity = ridge = roofline = None
    if macs and layer["dram_bytes"]:
        intensity = 2 * macs / layer["dram_bytes"]
    if intensity and bounds.get("dram") and bounds.get("compute"):
        ridge = intensity * bounds["dram"] / bounds["compute"]
        roofline = min(1.0, intensity / ridge)
    return Explained(
        layer["name"], layer["op"], layer["format"], cycles, macs, layer["dram_bytes"], bounds, bound,
        _reason(bound, reached, layer["stalls"]), reached, layer["utilization"], intensity, ridge, roofline,
        layer["harts"],
    )  # fmt: skip


def _reason(bound: str, reached: float, stalls: Mapping[str, int]) -> str:
    if reached >= BUSY:
        return NAMES.get(bound, bound)
    waits = {cause: cycles for cause, cycles in stalls.items() if cause != "issue" and cycles}
    if not waits:
        return NAMES.get(bound, "nothing")
    return WAITS.get(max(waits, key=lambda cause: waits[cause]), "latency")


def explain(result: Mapping[str, Any]) -> list[Explained]:
    """All layers of a result's JSON.

    Raises:
        DataError: it has no layers.
    """
    if not result["layers"]:
        raise DataError("the result has no layers", hint="Use a timed run of a compiled network")
    return [explained(layer) for layer in result["layers"]]


def find(layers: Sequence[Explained], name: str) -> list[Explained]:
    """The layers of a name; one that runs beside others is in what they are together.

    Raises:
        DataError: there is none; names near ones.
    """
    found = [layer for layer in layers if name in (layer.name, *members(layer.name))]
    if not found:
        names = [layer.name for layer in layers]
        near = (
            difflib.get_close_matches(name, names, 3, 0.4)
            or [n for n in names if name.lower() in n.lower()][:3]
        )
        raise DataError(
            f"no layer {name!r}", hint=f"Near: {', '.join(near)}" if near else "List them: leave out --layer"
        )
    return found


def show(layers: Sequence[Explained], console: Console) -> None:
    """Print a line per layer and the sum."""
    lines = [
        ["layer", "op", "format", "cycles", "util %", "FLOP/B", "roof %", "bound by", "at bound", "reached %"]
    ]
    for layer in layers:
        lines.append([
            layer.name, layer.op, layer.format, f"{layer.cycles:,}",
            f"{100 * layer.utilization:.1f}" if layer.macs else "", f"{layer.intensity:.1f}" if layer.intensity else "",
            f"{100 * layer.roofline:.1f}" if layer.roofline else "",
            layer.reason, f"{layer.least:,.0f}", f"{100 * layer.reached:.1f}",
        ])  # fmt: skip
    total = summed(layers)
    lines.append([
        "sum", "", "", f"{total['cycles']:,}", f"{100 * total['utilization']:.1f}", "", "", "each at its bound",
        f"{total['least']:,.0f}", f"{100 * total['least'] / max(1, total['cycles']):.1f}",
    ])  # fmt: skip
    aligned(lines, {0, 1, 2, 7}, console)
    shares: dict[str, int] = {}
    for layer in layers:
        shares[layer.reason] = shares.get(layer.reason, 0) + layer.cycles
    text = ", ".join(
        f"{reason} {100 * cycles / max(1, total['cycles']):.1f} %"
        for reason, cycles in sorted(shares.items(), key=lambda item: -item[1])
    )
    console.print(f"cycles by what bounds their layers: {text}", highlight=False, soft_wrap=True)


def summed(layers: Sequence[Explained]) -> dict[str, float]:
    """Cycles of all layers, cycles if each were at its bound, and the utilization of all."""
    cycles = sum(layer.cycles for layer in layers)
    ideal = sum(layer.bounds.get("compute", 0.0) for layer in layers)
    return {"cycles": cycles, "least": sum(layer.least for layer in layers), "ideal": ideal,
            "utilization": ideal / cycles if cycles else 0.0}  # fmt: skip


def show_layer(layer: Explained, console: Console) -> None:
    """Print where one layer's cycles went."""

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    say(f"{layer.name}: {layer.op}, {layer.format}, {layer.cycles:,} cycles, {layer.macs:,} MACs"
        + (f", {100 * layer.utilization:.1f} % of the peak" if layer.macs else ""))  # fmt: skip
    if layer.bound:
        lost = max(0.0, layer.cycles - layer.least)
        say(f"bound by {layer.reason}; {NAMES.get(layer.bound, layer.bound)} needs the most, {layer.least:,.0f} "
            f"cycles, "
            f"{100 * layer.reached:.1f} % of those that passed: {lost:,.0f} are lost")  # fmt: skip
    if layer.intensity and layer.ridge and layer.roofline:
        side = "compute" if layer.intensity >= layer.ridge else "DRAM"
        say(f"arithmetic intensity {layer.intensity:.2f} FLOP/B, ridge of the roofline at {layer.ridge:.2f}: {side} "
            f"limits to {100 * layer.roofline:.1f} % of the peak")  # fmt: skip
    lines = [["resource", "cycles at least", "busy %"]]
    for name, cycles in sorted(layer.bounds.items(), key=lambda item: -item[1]):
        lines.append([NAMES.get(name, name), f"{cycles:,.0f}", f"{100 * cycles / max(1, layer.cycles):.1f}"])
    aligned(lines, {0}, console)
    causes = (
        [cause for cause in layer.harts[0] if any(hart.get(cause) for hart in layer.harts)]
        if layer.harts
        else []
    )
    head = [f"hart {k}" for k in range(len(layer.harts))]
    table = [["cause", *head, *(f"{name} %" for name in head)]]
    sums = [max(1, sum(hart.values())) for hart in layer.harts]
    for cause in sorted(causes, key=lambda cause: -layer.harts[0][cause]):
        counts = [hart.get(cause, 0) for hart in layer.harts]
        table.append([cause, *(f"{count:,}" for count in counts),
                      *(f"{100 * count / whole:.1f}" for count, whole in zip(counts, sums, strict=True))])  # fmt: skip
    aligned(table, {0}, console)
