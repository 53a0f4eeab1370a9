"""Potluck: compile ONNX networks to a modeled RISC-V VMXDOTP machine and run them bit-exactly.

    q = potluck.quantize("model.onnx", scheme="mxfp8")
    p = potluck.compile(q, machine="spatz-mx")
    r = potluck.simulate(p, {"input": x})

Names are loaded on first use, so that ``import potluck`` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "Assignment", "Campaign", "Environment", "PotluckError", "Program", "compile", "load_program", "quantize", "run",
    "simulate", "sweep", "write_trace",
]  # fmt: skip

_HOME = {
    "quantize": "potluck.api",
    "compile": "potluck.api",
    "simulate": "potluck.api",
    "run": "potluck.api",
    "load_program": "potluck.api",
    "write_trace": "potluck.api",
    "Assignment": "potluck.compiler.schemes.assignment",
    "Campaign": "potluck.campaign.api",
    "Environment": "potluck.sim.linux.process",
    "sweep": "potluck.sweeps.api",
    "Program": "potluck.isa.elf",
    "PotluckError": "potluck.isa.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'potluck' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
