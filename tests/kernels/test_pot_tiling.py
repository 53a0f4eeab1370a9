"""How a layer is cut for the PoT accelerator: what the planner says of a tiling, and what its commands do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from potluck.isa.machine import load_machine
from potluck.isa.pot.array import Requantizer, code_set
from potluck.isa.pot.command import Command, decode, weight_bytes
from potluck.kernels.pot.conv import PotLayer, plan
from potluck.kernels.pot.tiling import Planner, PotConv, Tiling

MACHINE = load_machine("spatz-mx-pot")
SMALL = load_machine(
    "spatz-mx-pot", {"pot.weight_lines": 256, "pot.global_lines": 512, "pot.parameter_groups": 16}
)
KIND = code_set("pot_apot")
LAYERS = {
    "dense": PotConv(14, 14, 96, 576, KIND),
    "window": PotConv(32, 32, 16, 16, KIND, (3, 3), pads=(1, 1, 1, 1)),
    "depthwise": PotConv(28, 28, 96, 96, KIND, (3, 3), pads=(1, 1, 1, 1), depthwise=True),
    "deep": PotConv(7, 7, 960, 320, KIND),
}


def layer_of(conv: PotConv, machine: object, tiling: Tiling) -> PotLayer:
    """The layer's commands, all weights alike."""
    codes = np.zeros((conv.filters, *conv.kernel, 1 if conv.depthwise else conv.channels), np.uint8)
    ones = np.ones(conv.filters, np.int32)
    return plan(
        conv, codes, Requantizer(ones, ones, ones), machine, (0x8100_0000, 0x8200_0000, 0x8400_0000), tiling
    )


def loaded(layer: PotLayer) -> int:
    """Bytes that the commands load."""
    total = 0
    for row in layer.commands:
        command, _, _ = decode(row)
        assert command is not None
        if command.command is Command.LOAD_INPUTS:
            total += command["rows"] * command["row_bytes"]
        elif command.command is Command.LOAD_WEIGHTS:
            total += weight_bytes(command["blocks"], command["lines"], 4, 4)
    return total


@pytest.mark.parametrize("machine", [MACHINE, SMALL], ids=["whole", "small"])
@pytest.mark.parametrize("name", LAYERS)
def test_what_is_loaded(name: str, machine: object) -> None:
    """The planner's bytes are those of the commands.

    Exactly, but for smaller last tiles, where windows do not overlap and the depth is whole; within a factor of two
    else, as slots may keep a part of the depth and the first tile lies at the border.
    """
    conv = LAYERS[name]
    planner = Planner.of(conv, machine)
    tilings = list(planner.tilings())
    for tiling in tilings[:: max(1, len(tilings) // 12)]:
        actual, said = loaded(layer_of(conv, machine, tiling)), planner.loaded(tiling)
        if conv.kernel == (1, 1) and tiling.channels == conv.channels:
            whole = conv.out_height % tiling.rows == conv.out_width % tiling.columns == 0
            assert actual <= said and (said <= 1.3 * actual or not whole), tiling
        else:
            assert actual / 2 <= said <= 2 * actual, tiling


@pytest.mark.parametrize("name", LAYERS)
def test_bands_are_done_one_after_the_other(name: str) -> None:
    """Rows that are stored never come again, and no more is loaded than allowed."""
    conv = LAYERS[name]
    planner = Planner.of(conv, MACHINE)
    best = planner.best()
    found = planner.in_bands(best, 3, 4.0)
    assert found is not None and planner.loaded(found) <= 4 * planner.loaded(best)
    parts = layer_of(conv, MACHINE, found).parts
    assert len({part.written for part in parts}) >= 3
    assert all(one.written[0] <= other.written[0] for one, other in pairwise(parts))
    assert planner.in_bands(best, conv.out_height + 1, 10.0) is None
    assert planner.in_bands(best, 3, 0.1) is None
