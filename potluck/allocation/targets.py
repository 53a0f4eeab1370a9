"""What an allocation may cost: ``size=40000``, ``bops=30%``, ``cycles=1.2e6``, ``joules=25%``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from potluck.isa.errors import DataError

UNITS = {"size": "bytes", "bops": "bit operations", "cycles": "cycles", "joules": "J"}
"""Kind of target -> unit of its cost."""
ON_MACHINE = ("cycles", "joules")
"""Costs that only a simulation tells."""


@dataclass(frozen=True)
class Target:
    """An upper bound on a cost.

    Attributes:
        kind: One of `UNITS`.
        amount: The bound, or a share of the start's cost (the highest scheme everywhere).
        relative: Which of both.
    """

    kind: str
    amount: float
    relative: bool

    def bound(self, start: float) -> float:
        """The bound in the cost's unit."""
        return self.amount * start if self.relative else self.amount

    def __str__(self) -> str:
        return f"{self.kind}={100 * self.amount:g}%" if self.relative else f"{self.kind}={self.amount:g}"


def parse(text: str) -> Target:
    """A target as users write it; a percentage is of the start's cost.

    Raises:
        DataError: Another kind, or no positive number.
    """
    kind, equals, amount = text.partition("=")
    if kind not in UNITS or not equals:
        raise DataError(f"--target {text!r}", hint=f"Use one of {', '.join(UNITS)}, with a bound: size=75%")
    share = amount.endswith("%")
    try:
        value = float(amount.removesuffix("%")) / (100 if share else 1)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise DataError(f"--target {text!r}: {amount!r} is not a positive number")
    return Target(kind, value, share)
