"""The PoT accelerator's figures beside those of the facts: the model of PoTAcc's v12 array, and five networks on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from potluck.benchmarks import pot_rtl, pot_table, rtl_pot
from potluck.benchmarks.pot_layers import LAYERS, layer_cycles, product_of
from potluck.benchmarks.pot_networks import NETWORKS
from potluck.isa.errors import MachineError, ToolError
from potluck.isa.machine import Pot, load_machine
from potluck.isa.pot.array import CodeSet, code_set
from potluck.sim.pot.product import Product, buffers_of, tiles
from potluck.sim.pot.v12 import layer_cost, published_cycles, tile_cycles, tile_events

Report = Callable[..., None]
MACHINES = {"pynq-z2": "Z2", "kria-kv260": "Kria"}
RANDOM_LAYERS = 200
WEIGHTS: dict[str, CodeSet] = {"W4": code_set("pot_apot"), "W8": code_set("int8")}


def array_of(machine: str, constants: str) -> Pot:
    """The accelerator of a preset, with these constants.

    Raises:
        MachineError: the machine has none.
    """
    pot = load_machine(machine, {"pot.constants": constants}).pot
    if pot is None:
        raise MachineError("the machine has no PoT accelerator", key="pot")
    return pot


def random_layers(seed: int) -> Iterator[Product]:
    """Convolutions as networks have them: 7 to 56 pixels a side, kernels of 1, 3 and 5, ragged channels."""
    rng = np.random.default_rng(seed)
    for _ in range(RANDOM_LAYERS):
        side, kernel = int(rng.integers(7, 57)), int(rng.choice([1, 3, 5]))
        channels, filters = (int(2 ** rng.uniform(3, 8.3)) for _ in range(2))
        yield Product(side * side, filters, kernel * kernel * channels)


def closed_forms(machine: str, constants: str) -> tuple[float, float, float]:
    """Over random layers, in percent of the events' cycles: the published form's mean and worst error, ours' worst."""
    pot = array_of(machine, constants)
    keys = pot.sysc if constants == "sysc" else pot.hw
    arguments = (pot.units, keys.broadcast_cycles, keys.post_cycles)
    errors = []
    for product in random_layers(0):
        found = list(tiles(product, buffers_of(pot, WEIGHTS["W4"])))
        events = sum(tile_events(tile, *arguments) for tile in found)
        published = sum(published_cycles(tile, *arguments) for tile in found)
        ours = sum(tile_cycles(tile, *arguments) for tile in found)
        errors.append((abs(published / events - 1), abs(ours / events - 1)))
    far, exact = (100 * np.array(column) for column in zip(*errors, strict=True))
    return float(far.mean()), float(far.max()), float(exact.max())


def run(report: Report) -> None:
    """All figures."""
    for machine, short in MACHINES.items():
        for constants in ("sysc", "hw"):
            mean, worst, ours = closed_forms(machine, constants)
            label = f"{short} {constants}"
            source = f"events of {RANDOM_LAYERS} random layers"
            report(f"v12 closed form, {label}: worst", ours, "%", source, "<= 1", ours <= 1)
            report(
                f"v12 facts' form, {label}: mean",
                mean,
                "%",
                f"{source}; facts: 0.22 on 49",
                "<= 1",
                mean <= 1,
            )
            report(
                f"v12 facts' form, {label}: worst",
                worst,
                "%",
                "leaves out where tiles begin and end",
                "<= 1",
                worst <= 1,
            )
    for name, (make, anchor) in NETWORKS.items():
        products = make()
        for machine, short in MACHINES.items():
            for number, (width, kind) in enumerate(WEIGHTS.items()):
                for constants in ("sysc", "hw"):
                    pot = array_of(machine, constants)
                    costs = [layer_cost(product, pot, kind) for product in products]
                    total = sum(costs[1:], costs[0])
                    found, wanted = (
                        total.cycles / pot.clock_hz * 1e3,
                        anchor.milliseconds[machine, constants][number],
                    )
                    report(f"v12 {name} {short} {constants} {width}", found, "ms", f"{wanted} (facts potacc 5.3)",
                           f"{wanted} +- 1 %", abs(found / wanted - 1) <= 0.01)  # fmt: skip
                tile_count = anchor.tiles[machine][number]
                report(f"v12 {name} {short} {width}: tiles", total.tiles, "", f"{tile_count} (facts potacc 5.3)",
                       f"{tile_count}", total.tiles == tile_count)  # fmt: skip
                if number == 0:
                    _beside_the_array(report, name, machine, products)
    _ours(report)
    pot_rtl.run(report)
    try:
        rtl_pot.pe_luts(report)
    except ToolError as error:
        report("LUTs of PEs: left out", None, "", str(error))
    pot_table.run(report)


def _ours(report: Report) -> None:
    """The cluster's accelerator and v12 on the same array, clock and DRAM; accelerator time only.

    v12's share: what its driver sends to it, so neither depthwise convolutions nor, to be alike, 8-bit weights.
    """
    machine = load_machine("spatz-mx-pot")
    one = load_machine("spatz-mx-pot", {"pot.engine.post_cycles": 16})
    pot = array_of("spatz-mx-pot", "hw")
    for name, make in LAYERS.items():
        layers = make()
        dense = [conv for conv in layers if not conv.depthwise]
        v12 = sum(layer_cost(product_of(conv), pot, WEIGHTS["W4"]).cycles for conv in dense)
        ours = sum(layer_cycles(conv, machine) for conv in dense)
        busy = 100 * sum(conv.macs for conv in dense) / (64 * pot.units * ours)
        report(f"ours {name}: cycles", ours, "cycles", f"v12 with hw constants: {v12:,}")
        report(
            f"ours {name}: faster than v12",
            v12 / ours,
            "x",
            "same layers, PEs, clock, DRAM",
            ">= 1.5",
            v12 / ours >= 1.5,
        )
        single = v12 / sum(layer_cycles(conv, one) for conv in dense)
        report(
            f"ours {name}: likewise, one requantizer",
            single,
            "x",
            "a unit's PPU as narrow as v12's",
            ">= 1.5",
            single >= 1.5,
        )
        report(f"ours {name}: utilization", busy, "%", "loads and stores included")
        if rest := [conv for conv in layers if conv.depthwise]:
            report(
                f"ours {name}: depthwise",
                sum(layer_cycles(conv, machine) for conv in rest),
                "cycles",
                "v12 has none",
            )
        eight = layer_cycles(layers[0], machine, int8=True)
        report(
            f"ours {name}: first layer, 8-bit weights",
            eight,
            "cycles",
            f"4-bit: {layer_cycles(layers[0], machine):,}",
        )


def _beside_the_array(report: Report, name: str, machine: str, products: list[Product]) -> None:
    """What four-bit weights make of the array, and what the board adds to it."""
    label, kind = f"v12 {name} {MACHINES[machine]}", WEIGHTS["W4"]
    share = NETWORKS[name][1].utilization[machine]
    pot = array_of(machine, "sysc")
    compute = sum(layer_cost(product, pot, kind).compute for product in products)
    busy = 100 * sum(product.macs for product in products) / (64 * pot.units * compute)
    report(f"{label} sysc W4: utilization", busy, "% of compute", f"{share} (facts potacc 5.3)",
           f"{share} +- 1", abs(busy - share) <= 1)  # fmt: skip
    pot = array_of(machine, "hw")
    costs = [layer_cost(product, pot, kind) for product in products]
    device, host = sum(c.device_seconds(pot) for c in costs), sum(c.host_seconds(pot) for c in costs)
    report(f"{label} hw W4: at DRAM's rate", device * 1e3, "ms", f"{pot.beats_per_cycle} beats a cycle")
    report(
        f"{label} hw W4: CPU's part",
        host * 1e3,
        "ms",
        "im2col, copies, drivers: assumed costs, none is published",
    )
