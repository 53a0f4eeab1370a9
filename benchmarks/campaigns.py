"""Fault-injection campaigns: what their intervals are worth."""

from __future__ import annotations

from collections.abc import Callable

from potluck.benchmarks import campaign_statistics


def run(report: Callable[..., None]) -> None:
    """All figures of campaigns."""
    campaign_statistics.run(report)
