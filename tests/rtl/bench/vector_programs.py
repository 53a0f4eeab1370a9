"""Random programs for the vector unit, from the differential campaign's generator."""

from __future__ import annotations

import random
from functools import cache

from potluck.isa.insn import Insn, Kind
from potluck.isa.table import TABLE
from potluck.isa.verilog.control import unit
from tests.differential.generate import Rates
from tests.differential.program import Program
from tests.rtl.bench.core_programs import VLEN, ScalarGenerator
from tests.rtl.bench.core_programs import rows as scalar_rows

THEMES = ("any", "memory", "integers", "floats", "moves", "masks")


@cache
def rows() -> tuple[Insn, ...]:
    """What the vector unit executes."""
    return tuple(
        insn for insn in TABLE.values() if insn.length == 4 and insn.is_vector and unit(insn) != "none"
    )


def _theme(name: str) -> list[Insn]:
    found = list(rows())
    if name == "memory":
        found = [insn for insn in found if insn.kind in (Kind.VLOAD, Kind.VSTORE)]
    elif name == "floats":
        found = [insn for insn in found if insn.timing.startswith("vf") or insn.timing == "vmxdotp"]
    elif name == "moves":
        found = [insn for insn in found if unit(insn) == "slide"]
    elif name == "masks":
        found = [
            insn
            for insn in found
            if insn.kind in (Kind.MASK, Kind.COMPARE, Kind.REDUCE) or "v0" in insn.parameters
        ]
    elif name == "integers":
        found = [insn for insn in found if insn.timing in ("vint", "vwint", "vimul", "vidiv")]
    return found


def draw(seed: int, number: int, length: int) -> Program:
    """Random program of a seed."""
    rng = random.Random(f"vector {seed} {number}")
    others = [insn for insn in scalar_rows() if insn.kind is not Kind.COMPRESSED] + [
        TABLE["vsetvli"],
        TABLE["vsetivli"],
    ] * 9
    rates = Rates(wild=0.0, partway=0.0, end=0.0, loops=0.02)
    return ScalarGenerator(rng, VLEN, _theme(THEMES[number % len(THEMES)]), others, True, rates).program(
        length, seed, number
    )


__all__ = ["draw", "rows"]
