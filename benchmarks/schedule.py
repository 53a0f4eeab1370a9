"""Schedules and the simulator's speed: ``potluck bench schedule``.

Utilization of whole networks beside the bound of each class of layers, what more cores give, SCALE-Sim beside us, how
host time and memory grow with the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from potluck.benchmarks import (
    schedule_cores,
    schedule_curve,
    schedule_scalesim,
    schedule_speed,
    schedule_utilization,
)

if TYPE_CHECKING:
    from potluck.benchmarks import Report


def run(report: Report) -> None:
    """Reports every part."""
    schedule_utilization.run(report)
    schedule_cores.run(report)
    schedule_scalesim.run(report)
    schedule_speed.run(report)
    schedule_curve.run(report)
