"""Starting the cluster's PoT accelerator, and waiting for it."""

from __future__ import annotations

from dataclasses import dataclass

from potluck.isa.assembler import Assembler
from potluck.isa.pot_command import DOORBELL, QUEUE, WAIT


@dataclass(frozen=True)
class PotQueue:
    """Arguments: a0 address of the commands in L1, a1 how many (0: nothing is done).

    A refused command ends the program with its status. Clobbers t0, t1, a0, a7.

    Attributes:
        base: address of the accelerator's registers.
    """

    base: int

    def emit(self, a: Assembler) -> None:
        """Appends the code."""
        over = a.fresh("pot_over")
        a("beqz", "a1", over)
        a("li", "t0", self.base)
        a("sd", "a0", f"{QUEUE}(t0)")
        a("sd", "a1", f"{DOORBELL}(t0)")
        a("ld", "t1", f"{WAIT}(t0)")
        a("andi", "t1", "t1", 0xFF)
        a("beqz", "t1", over)
        a("mv", "a0", "t1")
        a("li", "a7", 93)
        a("ecall")
        a.label(over)
