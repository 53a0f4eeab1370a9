"""What a program needs around its kernels: start, stack, barrier, exit, DMA (docs/architecture.md).

The schedule keeps the hart id in s0 and the number of harts in s1; kernels preserve both.
"""

from __future__ import annotations

from potluck.isa.assembly.assembler import Assembler

L1_BASE = 0x1000_0000
L1_BYTES = 128 * 1024
CLUSTER = 0x1100_0000
HARTS, BARRIER, TIMER = 0, 8, 16
"""Offsets of the cluster registers."""
DRAM_BASE = 0x8000_0000
STACK_BYTES = 512
"""Stack of a hart."""
EXIT = 93
HART, COUNT = "s0", "s1"


def l1_free(harts: int, l1_bytes: int = L1_BYTES) -> int:
    """First L1 address of the stacks: data goes below it."""
    return L1_BASE + l1_bytes - harts * STACK_BYTES


def start(a: Assembler, l1_bytes: int = L1_BYTES) -> None:
    """Entry: ``_start``, s0 = hart id, s1 = number of harts, sp = a stack at the end of L1, vector unit idle."""
    a.label("_start")
    a("mv", HART, "a0")
    a("mv", COUNT, "a1")
    a("li", "sp", L1_BASE + l1_bytes)
    a("li", "t0", STACK_BYTES)
    a("mul", "t0", "t0", "a0")
    a("sub", "sp", "sp", "t0")


def barrier(a: Assembler, scratch: str = "t0") -> None:
    """Wait until every hart is here."""
    a("li", scratch, CLUSTER)
    a("ld", scratch, f"{BARRIER}({scratch})")
    a("mv", scratch, scratch)  # the load answers when all harts have arrived


def leave(a: Assembler, code: int = 0) -> None:
    """End this hart with an exit code."""
    a("li", "a0", code)
    a("li", "a7", EXIT)
    a("ecall")


def hart_share(a: Assembler, rows: int, granule: int, first: str, count: str) -> None:
    """This hart's share of ``rows`` rows: ``first`` row and ``count`` (0 is possible), clobbers t0.

    Harts get equal numbers of granules, the first ones one more; the last granule may be ragged.
    """
    units = -(-rows // granule)
    if units == 1:  # no division for what one hart does
        a("snez", first, HART)
        a("li", "t0", rows)
        a("mul", first, first, "t0")
        a("sub", count, "t0", first)
        return
    a("li", "t0", units)
    a("mul", first, "t0", HART)
    a("add", first, first, COUNT)
    a("addi", first, first, -1)
    a("divu", first, first, COUNT)  # ceil(units * hart / harts)
    a("addi", count, HART, 1)
    a("mul", count, count, "t0")
    a("add", count, count, COUNT)
    a("addi", count, count, -1)
    a("divu", count, count, COUNT)
    a("li", "t0", granule)
    a("mul", first, first, "t0")
    a("mul", count, count, "t0")
    if units * granule != rows:
        a("li", "t0", rows)
        keep = a.fresh("share")
        a("ble", count, "t0", keep)
        a("mv", count, "t0")
        a.label(keep)
    a("sub", count, count, first)


def dma_copy(a: Assembler, destination: str, source: str, size: str) -> None:
    """Queue a contiguous copy; the registers hold addresses and bytes. Hart 0 only."""
    a("dmsrc", source, "zero")
    a("dmdst", destination, "zero")
    a("dmcpyi", "zero", size, 0)


def dma_copy_2d(
    a: Assembler, destination: str, source: str, size: str, to_stride: str, from_stride: str, rows: str
) -> None:
    """Queue ``rows`` copies of ``size`` bytes; addresses move by the strides (all in registers). Hart 0 only."""
    a("dmsrc", source, "zero")
    a("dmdst", destination, "zero")
    a("dmstr", from_stride, to_stride)
    a("dmrep", rows)
    a("dmcpyi", "zero", size, 2)


def dma_wait(a: Assembler) -> None:
    """Wait until every queued transfer is complete. Hart 0 only."""
    a("wfi")
