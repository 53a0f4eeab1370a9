"""Schedules and the simulator's speed: ``potluck bench schedule``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from potluck.benchmarks import schedule_scalesim

if TYPE_CHECKING:
    from potluck.benchmarks import Report


def run(report: Report) -> None:
    """Reports every part."""
    schedule_scalesim.run(report)
