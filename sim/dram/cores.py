"""What the cores' own accesses do to DRAM: bursts of an instruction."""

from __future__ import annotations

from potluck.isa.context import Context
from potluck.isa.insn import Insn, Kind
from potluck.isa.machine import Machine
from potluck.sim.dram.system import Counts


def access(insn: Insn, context: Context, vl: int, machine: Machine, burst: int) -> Counts:
    """One execution of a memory instruction whose range lies in DRAM.

    Every scalar access and every element of a strided or indexed one is a burst, contiguous elements share bursts;
    each run of bursts finds its bank closed, as the timer charges it. Misalignment adds no burst.

    Args:
        insn: a load, store or atomic access.
        context: it was decoded under.
        vl: when it was executed.
        machine: for the vector register length.
        burst: bytes of a burst.
    """
    writes = insn.kind in (Kind.STORE, Kind.VSTORE)
    bits = insn.syntax[0].type.at(context.sew).bits
    if not insn.is_vector:
        runs, size = 1, bits // 8
    else:
        fields = insn.attributes.get("segments", 1)
        whole = insn.attributes.get("whole_registers")
        count = int(whole) * machine.vector.vlen // bits if whole else vl
        if insn.attributes.get("strided") or insn.attributes.get("indexed"):
            runs, size = count, fields * bits // 8
        else:
            mask = bool(insn.attributes.get("mask"))
            runs, size = int(count > 0), -(-count // 8) if mask else count * fields * bits // 8
    bursts = runs * -(-size // burst)
    both = insn.kind is Kind.ATOMIC
    reads = 0 if writes else bursts
    stores = bursts if writes or both else 0
    return Counts(
        reads=reads, writes=stores, row_closed=runs, row_hits=reads + stores - runs, activations=runs,
        bytes=(reads + stores) * burst,
    )  # fmt: skip
