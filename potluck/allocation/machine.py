"""Cycles and joules of every layer in every scheme, from one simulation of the whole network per scheme.

In a network of one scheme each layer has its usual neighbours, so its cost includes what surrounds it: quantizers are
counted with the product behind them, unless the product before them ends with them; sums, pools and the rest with the
product before them. The costs of a uniform assignment add up to its simulation exactly; those of a mixed one are a
prediction, as borders between formats add or save conversions. The table is kept on disk by content: network, scheme,
machine, and Potluck's own sources.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import onnx_ir as ir

from potluck.isa.machine import Machine
from potluck.isa.manifest import members
from potluck.replacing import replace_text
from potluck.sim.cache import cache_directory
from potluck.sim.result import Result

QUANTIZERS = ("Quantize", "BbqQuantize")
"""How operators begin that make codes for the product behind them."""


@dataclass(frozen=True)
class LayerCost:
    """One layer in one scheme."""

    cycles: float
    joules: float


def attribute(result: Result, layers: Collection[str]) -> dict[str, LayerCost]:
    """What a run spent on each layer and what surrounds it; the costs add up to the run's.

    Layers that ran side by side have equal parts of what they took together.

    Args:
        result: Of a timed run.
        layers: Names of products.
    """
    order = [name for layer in result.layers for name in members(layer.name) if name in layers]
    found = {name: [0.0, 0.0] for name in order}
    at = 0
    for layer in result.layers:
        owners = [name for name in members(layer.name) if name in found]
        if owners:
            at = order.index(owners[-1])
        else:
            follows = layer.op.startswith(QUANTIZERS) and at + 1 < len(order)
            started = found[order[at]][0] > 0
            owners = [order[at + 1] if follows and started else order[at]]
        for owner in owners:
            found[owner][0] += layer.cycles / len(owners)
            found[owner][1] += layer.energy_joules / len(owners)
    if order:  # what no layer's code spent: start and end
        found[order[-1]][0] += result.cycles - sum(cycles for cycles, _ in found.values())
        found[order[-1]][1] += result.energy_joules - sum(joules for _, joules in found.values())
    return {name: LayerCost(cycles, joules) for name, (cycles, joules) in found.items()}


def simulate(model: ir.Model, machine: Machine, inputs: Mapping[str, Any]) -> Result:
    """One batch of a quantized network on the machine, with cycles."""
    from potluck import api

    program = api.compile(model, machine)
    wanted = {tensor.name: tuple(tensor.shape) for tensor in program.manifest.inputs}
    return api.simulate(
        program, {name: inputs[name][: shape[0]] for name, shape in wanted.items()}, "timed", machine
    )


def layer_costs(
    model: ir.Model, machine: Machine, inputs: Mapping[str, Any], layers: Collection[str]
) -> dict[str, LayerCost]:
    """The table's column of one quantized network, simulated unless it is on disk.

    Args:
        model: Quantized to one scheme.
        machine: To simulate.
        inputs: Samples; the first batch is run. Cycles do not depend on values.
        layers: Names of products.

    Raises:
        ModelError: The network cannot be compiled.
    """
    key = hashlib.sha256(ir.to_proto(model).SerializeToString(deterministic=True))
    key.update(machine.model_dump_json().encode() + _sources())
    path = cache_directory() / "layers" / f"{key.hexdigest()[:32]}.json"
    if path.is_file():
        return {name: LayerCost(*pair) for name, pair in json.loads(path.read_text()).items()}
    found = attribute(simulate(model, machine, inputs), layers)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps({name: [cost.cycles, cost.joules] for name, cost in found.items()}))
    return found


@cache
def _sources() -> bytes:
    """Digest of what turns networks into programs; the folder's name has that of the rest."""
    import potluck.compiler
    import potluck.kernels

    digest = hashlib.sha256()
    for package in (potluck.compiler, potluck.kernels):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.digest()
