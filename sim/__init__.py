"""What happens when a program runs: interpreter, timing, cluster, DMA, energy."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {"simulate": "potluck.sim.simulate", "Cluster": "potluck.sim.cluster", "Result": "potluck.sim.result"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'potluck.sim' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
