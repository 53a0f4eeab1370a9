"""What an accelerator's layers do for the layers of the cores around them, so that both can work at once.

Their order, their tiles and how long their memory is kept; `potluck.compiler.schedule.beside` then finds what can
overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from potluck.compiler.lowering.base import LayerPlan
from potluck.compiler.lowering.pot import PotPlan
from potluck.kernels.pot.tiling import Planner

BANDS = 4
"""Bands of rows that a layer is cut into at least, beside the cores."""
MORE = 1.3
"""Times as many bytes as without bands may be loaded: weights that come again for each band cost energy."""


def neighbourly(plans: Sequence[LayerPlan]) -> list[LayerPlan]:
    """The same layers in an order and with tiles that let cores and accelerator work at once."""
    found = _ordered(plans)
    return [
        _banded(plan, found[max(0, index - 1) : index + 2]) if isinstance(plan, PotPlan) else plan
        for index, plan in enumerate(found)
    ]


def live_longer(plans: Sequence[LayerPlan]) -> None:
    """Keeps memory of an accelerator's layers from being used again by the layers around them."""
    for index, plan in enumerate(plans):
        if isinstance(plan, PotPlan):
            for tensor in (*plan.reads(), *plan.writes()):
                for layer in (index - 1, index + 1):
                    if 0 <= layer < len(plans):
                        tensor.storage.live(layer)


def _ordered(plans: Sequence[LayerPlan]) -> list[LayerPlan]:
    """The longest of an accelerator's layers in a row behind those that do not need it.

    It is the last of a row that works beside the cores.
    """
    found = list(plans)
    for at in reversed(range(len(found) - 1)):
        here = at
        while here + 1 < len(found) and _later(found[here], found[here + 1]):
            found[here : here + 2] = reversed(found[here : here + 2])
            here += 1
    return found


def _later(one: LayerPlan, other: LayerPlan) -> bool:
    """Whether a layer changes places with the one behind it."""
    return (
        isinstance(one, PotPlan)
        and isinstance(other, PotPlan)
        and not _feeds(one, other)
        and one.work > other.work
    )


def _feeds(one: LayerPlan, other: LayerPlan) -> bool:
    """Whether a layer reads what another writes."""
    return any(x.storage is y.storage for x in other.reads() for y in one.writes())


def _banded(plan: PotPlan, around: Sequence[LayerPlan]) -> PotPlan:
    """A layer in bands of rows if it costs less than half of what the cores beside it can hide.

    They take a cycle for an element, at least.
    """
    elements = sum(
        tensor.elements
        for other in around
        if not isinstance(other, PotPlan) and (_feeds(plan, other) or _feeds(other, plan))
        for tensor in other.writes()
    )
    if not elements:
        return plan
    planner = Planner.of(plan.conv, plan.target.machine)
    tiling = planner.in_bands(plan.tiling, BANDS, MORE)
    if tiling is None:
        return plan
    least = planner.estimate(plan.tiling)
    hidden = min(elements, least * (1 - 1 / BANDS))
    return replace(plan, tiling=tiling) if planner.estimate(tiling) - least < hidden / 2 else plan
