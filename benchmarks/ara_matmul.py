"""A double-precision matrix product on the machine ``ara-like`` beside cycles of Ara's RTL.

The schedule is that of Ara's own ``fmatmul`` (pulp-platform/ara, apps/fmatmul): a block of rows accumulates in
registers, one row of B at a time is multiplied by a scalar of A for each of them, and the next row of B and the next
scalars are loaded meanwhile. How many rows a block has depends on the size. The cycles of the RTL with 4 lanes and
VLEN 4096 are those that a user posted from that program's output (pulp-platform/ara, issue 314).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program
from potluck.isa.machine import Machine, load_machine
from potluck.isa.manifest import Manifest, Tensor
from potluck.sim.cluster import Cluster

Report = Callable[..., None]
RTL_CYCLES = {4: 745, 8: 932, 16: 2632, 32: 11455}
"""Cycles of Ara's RTL by matrix size, from the call of the kernel to its return, caches cold."""

SIZES = (4, 8, 16, 32, 64, 128, 256)
SEED = 6
BASE = 0x8010_0000
SCALARS = [*(f"ft{n}" for n in range(8)), "fs0", "fs1", *(f"fa{n}" for n in range(6))]


def block_rows(size: int) -> int:
    """Rows that accumulate at once; their groups of 16 / rows registers leave two more for rows of B."""
    if size <= 4 or size > 128:
        return 4
    return 16 if 8 < size <= 64 else 8


def program(size: int) -> Program:
    """C = A B of float64 [size, size] each; ``size`` is even and a multiple of its :func:`block_rows`."""
    rows, row_bytes = block_rows(size), 8 * size
    group = 16 // rows
    even, odd = "v16", f"v{16 + group}"  # rows of B in turn
    a = Assembler()
    a.text(".text\n.globl _start\n_start:")
    matrices = {name: BASE + n * (size * row_bytes) for n, name in enumerate("abc")}
    for register, value in (("s1", size), ("s2", row_bytes), ("s3", matrices["b"]), ("s4", matrices["c"])):
        a("li", register, value)
    a.label("columns")  # s1 are left
    a("vsetvli", "s5", "s1", f"e64, m{group}, ta, ma")
    a("li", "s6", matrices["a"])
    a("mv", "s7", "s4")
    a("li", "s8", size // rows)
    a.label("block")
    for row in range(rows):
        a("vmv.v.i", f"v{row * group}", 0)
    a("mv", "t0", "s3")
    _row_of_b(a, even)
    a("mv", "t1", "s6")
    for row in range(rows):
        _scalar(a, row)
    a("mv", "t2", "s6")
    a("li", "t3", size // 2)
    a.label("step")
    _step(a, rows, even, odd)
    a("addi", "t3", "t3", -1)
    a("beqz", "t3", "last")
    _step(a, rows, odd, even)
    a("j", "step")
    a.label("last")
    for row in range(rows):
        a("vfmacc.vf", f"v{row * group}", SCALARS[row], odd)
        a("vse64.v", f"v{row * group}", "(s7)")
        a("add", "s7", "s7", "s2")
    a("li", "t4", rows * row_bytes)
    a("add", "s6", "s6", "t4")
    a("addi", "s8", "s8", -1)
    a("bnez", "s8", "block")
    a("slli", "t4", "s5", 3)
    a("add", "s3", "s3", "t4")
    a("add", "s4", "s4", "t4")
    a("sub", "s1", "s1", "s5")
    a("bnez", "s1", "columns")
    a("csrr", "t0", "fcsr")  # the last stores count
    a.text("li a7, 93\nli a0, 0\necall")
    tensors = [
        Tensor(name, "float64", [size, size], "row", at, size * row_bytes) for name, at in matrices.items()
    ]
    return a.assemble().program(Manifest(machine="ara-like", inputs=tensors[:2], outputs=tensors[2:]))


def _row_of_b(a: Assembler, register: str) -> None:
    a("vle64.v", register, "(t0)")
    a("add", "t0", "t0", "s2")


def _scalar(a: Assembler, row: int) -> None:
    a("fld", SCALARS[row], "0(t1)")
    a("add", "t1", "t1", "s2")


def _step(a: Assembler, rows: int, this: str, following: str) -> None:
    """One k: products with a row of B, beside the loads for the next k."""
    a("addi", "t2", "t2", 8)
    a("mv", "t1", "t2")
    for row in range(rows):
        a("vfmacc.vf", f"v{row * 16 // rows}", SCALARS[row], this)
        _scalar(a, row)
        if row == 0:
            _row_of_b(a, following)


def measure(size: int, machine: Machine | None = None) -> tuple[int, float]:
    """Cycles of the whole program, and the largest difference from NumPy's product relative to its largest element."""
    generator = np.random.default_rng([SEED, size])
    inputs: dict[str, Any] = {name: generator.standard_normal((size, size)) for name in "ab"}
    cluster = Cluster(program(size), machine or load_machine("ara-like"))
    found = cluster.run(inputs)["c"]
    expected = inputs["a"] @ inputs["b"]
    return cluster.harts[0].cycles, float(np.abs(found - expected).max() / np.abs(expected).max())


def run(report: Report) -> None:
    """Cycles beside the RTL's, and the share of cycles in which every lane multiplies."""
    lanes = load_machine("ara-like").vector.lanes
    for size in SIZES:
        cycles, error = measure(size)
        name = f"ara-like fmatmul {size}x{size}x{size}"
        if size in RTL_CYCLES:
            theirs = RTL_CYCLES[size]
            report(f"{name}: cycles", cycles, "cycles", f"Ara RTL, cold caches: {theirs} (issue 314)")
            report(f"{name}: error", 100 * (cycles / theirs - 1), "%", "to Ara RTL; no cache, no CVA6 here")
        published = (
            "Ara paper: up to 97 % (256x256, 16 lanes)"
            if size == 256
            else f"result within {error:.1g} of NumPy's"
        )
        report(f"{name}: utilization", 100 * size**3 / lanes / cycles, "%", published)
