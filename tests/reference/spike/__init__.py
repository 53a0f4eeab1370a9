"""Spike, the RISC-V reference simulator, in this process: see :mod:`tests.reference.spike.spike`."""

from tests.reference.spike.spike import ISA, Spike, Trap, needs_spike, unavailable

__all__ = ["ISA", "Spike", "Trap", "needs_spike", "unavailable"]
