"""Random programs for the scalar core, from the differential campaign's generator."""

from __future__ import annotations

import random
from functools import cache

from potluck.isa.decode import expansion
from potluck.isa.insn import Insn, Kind
from potluck.isa.machine import Machine, load_machine
from potluck.isa.table import TABLE
from potluck.isa.verilog.core import route
from tests.differential.generate import Generator, Rates
from tests.differential.program import (
    CORNERS,
    SANDBOX,
    SANDBOX_BYTES,
    TEXT,
    TEXT_BYTES,
    Program,
)
from tests.differential.scope import LEFT_OUT

VLEN = 512
ELSEWHERE = ("none", "dma", "float", "vset", "vector", "vector_load", "vector_store")
THEMES = ("any", "memory", "arithmetic", "control", "floats")


def machine(overrides: dict[str, object] | None = None) -> Machine:
    """One core with the memories of random programs, DRAM near enough that loading registers does not take long."""
    sizes = {"cluster.cores": 1, "memory.l1_bytes": SANDBOX_BYTES, "memory.dram_bytes": TEXT_BYTES,
             "dram.kind": "simple", "dram.latency_cycles": 21}  # fmt: skip
    return load_machine("spatz-mx", {**sizes, **(overrides or {})})


@cache
def rows() -> tuple[Insn, ...]:
    """What the core executes and a program may go on after."""
    found = []
    for insn in TABLE.values():
        base = expansion(insn)[0] if "expands" in insn.attributes else insn
        if route(base) not in ELSEWHERE and insn.mnemonic not in LEFT_OUT:
            found.append(insn)
    return tuple(found)


def _theme(name: str) -> list[Insn]:
    kinds = {
        "memory": (Kind.LOAD, Kind.STORE, Kind.ATOMIC), "arithmetic": (Kind.MAP,),
        "control": (Kind.BRANCH, Kind.JUMP, Kind.CSR, Kind.COMPRESSED),
    }  # fmt: skip
    if name == "any":
        return list(rows())
    if name == "floats":
        return [insn for insn in rows() if any(operand.bank == "f" for operand in insn.syntax)]
    return [insn for insn in rows() if insn.kind in kinds[name]]


class ScalarGenerator(Generator):
    """Draws programs without vector instructions."""

    def _refresh(self) -> None:
        """New corner values into FP registers, as results tend to zeros and ones."""
        bits = self.rng.choice(list(CORNERS))
        load = TABLE[{16: "flh", 32: "flw", 64: "fld"}[bits]]
        for register in self.rng.sample(range(32), 2):
            imm = self.rng.randrange(0, 2048, 8)
            self._add(load, {"fd": register, "rs1": CORNERS[bits], "imm": imm})

    def _csr(self, insn: Insn) -> None:
        """Without vstart, which only a vector instruction sets back."""
        before = len(self.items)
        super()._csr(insn)
        if self.partway:
            del self.items[before:]
            self.partway = False


def draw(seed: int, number: int, length: int) -> Program:
    """Random program of a seed."""
    rng = random.Random(f"core {seed} {number}")
    own = _theme(THEMES[number % len(THEMES)])
    maker = ScalarGenerator(rng, VLEN, own, list(rows()), True, Rates(partway=0.0, loops=0.02))
    return maker.program(length, seed, number)


__all__ = [
    "SANDBOX",
    "SANDBOX_BYTES",
    "TEXT",
    "TEXT_BYTES",
    "VLEN",
    "ScalarGenerator",
    "draw",
    "machine",
    "rows",
]
