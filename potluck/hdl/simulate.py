"""Mode rtl of a simulation: the same program on the simulator and in RTL, one result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.hdl.cluster import ClusterBuild
from potluck.hdl.lockstep import Build, LockStep, lock_step
from potluck.isa.elf import Program
from potluck.isa.errors import ProgramError, RtlError
from potluck.isa.machine import Machine
from potluck.sim.linux.process import Environment, is_process
from potluck.sim.observation.listing import LayerOf
from potluck.sim.result import InRtl, Result, RtlLayer
from potluck.sim.simulate import OUTSIDE, simulate

MOST = 1 << 24
"""Instructions whose records fit into memory beside each other."""
OPTIMIZE = "-O1"
"""A build of a minute, of half the speed that two more minutes would give."""


def simulate_in_rtl(
    program: Program,
    inputs: Mapping[str, NDArray[Any]],
    machine: Machine,
    waves: str | Path | None = None,
    build: Build | None = None,
    **options: Any,
) -> Result:
    """Execute a program on both, compare every retired instruction, and simulate it as in mode timed.

    Args:
        program: an executable.
        inputs: tensors by the names in its manifest.
        machine: one that the RTL can be built for (:func:`potluck.hdl.cluster.cluster_parameters`).
        waves: file for a waveform of the last cycles before a difference; default: none is written.
        build: of the RTL; default: one for ``machine``, built on first use and kept.
        options: of :func:`potluck.sim.simulate.simulate`.

    Returns:
        The simulator's result; ``rtl`` tells of the RTL's run and of the first difference.

    Raises:
        DataError: inputs that are not the program's.
        MachineError: the RTL cannot be built for the machine.
        ProgramError: the program is a Linux process, leaves nodes to the host, or is too long.
        ToolError: a tool is missing, see ``potluck doctor``.
        RtlError: the RTL does not build, or it differs where the simulator traps.
        TrapError: the program does something illegal, in RTL as well.
    """
    _check(program, machine, options.get("environment"))
    build = build or ClusterBuild(machine, OPTIMIZE)
    most = min(int(options.get("budget", MOST)), MOST)
    found = lock_step(program, build, None if waves is None else Path(waves), most=most, inputs=inputs)
    if found.difference and found.end != "ecall":
        raise RtlError(f"RTL and simulator differ\n{found.difference}", unit="cluster")
    result = simulate(program, inputs, machine, "timed", **options)
    return replace(result, mode="rtl", rtl=_told(program, found))


def _check(program: Program, machine: Machine, environment: Environment | None) -> None:
    """Whether the RTL has what it takes."""
    if is_process(program, machine, environment):
        raise ProgramError(
            "a Linux process asks an operating system for what it does, and the RTL has none",
            hint="Compile a network without --target linux, or simulate in mode timed",
        )
    if "tohost" in program.symbols:
        raise ProgramError("the program ends by a store to tohost, a comparison by ecall",
                           hint="End it by ecall with 93 in a7 and the exit code in a0")  # fmt: skip


def layers_of(program: Program, found: LockStep) -> list[RtlLayer]:
    """Cycles by layer, on both: an instruction's are those since the one before it left."""
    layers = [*program.manifest.layers, OUTSIDE]
    cycles = np.zeros((len(layers), 2), np.int64)
    since = np.diff(found.left[:, 1:].astype(np.int64), axis=0, prepend=0)
    np.add.at(cycles, LayerOf(program.manifest.layers).all(found.left[:, 0]), since)
    return [
        RtlLayer(layer.name, *row) for layer, row in zip(layers, cycles.tolist(), strict=True) if any(row)
    ]


def _told(program: Program, found: LockStep) -> InRtl:
    """The comparison."""
    return InRtl(found.instructions, found.cycles, found.rtl_cycles, found.difference,
                 "" if found.waves is None else str(found.waves), layers_of(program, found))  # fmt: skip


__all__ = ["layers_of", "simulate_in_rtl"]
