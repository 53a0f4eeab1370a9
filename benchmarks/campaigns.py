"""Fault-injection campaigns: how fast trials run, what memory they take, and what their intervals are worth."""

from __future__ import annotations

from collections.abc import Callable

from potluck.benchmarks import campaign_memory, campaign_statistics, campaign_throughput


def run(report: Callable[..., None]) -> None:
    """All figures of campaigns."""
    campaign_throughput.run(report)
    campaign_memory.run(report)
    campaign_statistics.run(report)
