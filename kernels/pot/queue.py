"""Starting the cluster's PoT accelerator, and waiting for it."""

from __future__ import annotations

from dataclasses import dataclass

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.pot.command import DOORBELL, QUEUE, WAIT


@dataclass(frozen=True)
class PotQueue:
    """Two routines of hart 0 that return to t2; both clobber t0.

    Attributes:
        base: address of the accelerator's registers.
    """

    base: int

    def emit_start(self, a: Assembler) -> None:
        """Starts the a1 commands at a0 in L1; what it began before has ended."""
        a("li", "t0", self.base)
        a("sd", "a0", f"{QUEUE}(t0)")
        a("sd", "a1", f"{DOORBELL}(t0)")
        a("jr", "t2")

    def emit_wait(self, a: Assembler) -> None:
        """Waits until it has ended. A refused command ends the program with its status; clobbers a0, a7."""
        over = a.fresh("pot_over")
        a("li", "t0", self.base)
        a("ld", "a0", f"{WAIT}(t0)")
        a("andi", "a0", "a0", 0xFF)
        a("beqz", "a0", over)
        a("li", "a7", 93)
        a("ecall")
        a.label(over)
        a("jr", "t2")
