"""A model between memories, behind the functions of `harness_calls.h`: memories and code in, what its cores did out."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.machine import Machine
from potluck.sim.memory import Memory
from potluck.sim.observation.retired import RETIRED

EVENT = np.dtype([("record", "u8"), ("place", "u8"), ("strobe", "u4"), ("kind", "u4"), ("data", "u1", 32)])
"""What a vector instruction did: ``record`` is its number; ``kind`` one of ``WROTE`` (``place``: the word of 32 bytes
of the register file), ``STORED`` (``place``: an address), ``RAISED`` (``strobe``: fflags, and 32 for vxsat)."""
WROTE, STORED, RAISED = range(3)
WAVE_CYCLES = 64
"""Cycles of a waveform before the end of the run that it is made of."""
FAILURES = {-1: "nothing retires any more", -2: "an assertion failed (its text is above)",
             -3: "memory was accessed where there is none",
             -4: "a transfer of the DMA is not inside a memory"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CoreRun:
    """What the RTL did.

    Attributes:
        records: :data:`potluck.sim.observation.retired.RETIRED` [n].
        cycles: the cycle in which it stopped, or was stopped.
        cause: code of the trap (rtl/core/core_pkg.sv); 0: it did not stop.
        pc: of the trap.
        address: of the access that trapped.
        l1, dram: memories afterwards, uint8.
        failure: why the run was given up, or "".
        events: :data:`EVENT` [m], of vector instructions, in the order in which they happened.
        others: of a cluster, what its other cores did; memories and failure are those of all.
    """

    records: NDArray[np.void]
    cycles: int
    cause: int
    pc: int
    address: int
    l1: NDArray[np.uint8]
    dram: NDArray[np.uint8]
    failure: str
    events: NDArray[np.void]
    others: tuple[CoreRun, ...] = ()


def run_harness(
    library: Path,
    settings: Mapping[str, int],
    machine: Machine,
    memory: Memory,
    most: int,
    limit: int,
    waves: tuple[Path, int] | None = None,
) -> list[CoreRun]:
    """Runs what memory holds until hart 0 has stopped.

    Args:
        library: a build of a harness, for waveforms if there are ``waves``.
        settings: what its ``Settings`` holds, in that order.
        machine: that the memory is of.
        memory: with program and inputs; holds the results afterwards.
        most: instructions of a hart after which to stop.
        limit: cycles after which to stop.
        waves: file for a waveform, and the cycle from which on it is written.

    Returns:
        What each core did.
    """
    functions = ctypes.CDLL(str(library))
    functions.harness_new.restype = ctypes.c_void_p
    functions.harness_run.restype = ctypes.c_int64
    functions.harness_events.restype = ctypes.c_uint64
    words = np.array(list(settings.values()), np.uint64)
    base = machine.memory
    regions = [(memory.l1, base.l1_base), (memory.dram, base.dram_base)]
    harness = ctypes.c_void_p(
        functions.harness_new(_address(words), *(x for array, at in regions for x in _region(array, at)))
    )
    records = [np.zeros(most, RETIRED) for _ in range(settings["harts"])]
    try:
        for address, data in memory.code.regions:
            functions.harness_code(harness, ctypes.c_uint64(address), ctypes.c_uint64(len(data)))
        for number, rows in enumerate(records):
            functions.harness_books(harness, ctypes.c_uint64(number), _address(rows), ctypes.c_uint64(most))
        if waves is not None:
            functions.harness_waves(harness, str(waves[0]).encode(), ctypes.c_uint64(waves[1]))
        failure = FAILURES.get(functions.harness_run(harness, ctypes.c_uint64(limit)), "")
        runs = []
        for number, rows in enumerate(records):
            end = np.zeros(5, np.uint64)
            functions.harness_end(harness, ctypes.c_uint64(number), _address(end))
            stopped, cause, pc, address, count = end.tolist()
            events = _events(functions, harness, number)
            runs.append(
                CoreRun(rows[:count], stopped, cause, pc, address, memory.l1, memory.dram, failure, events)
            )
    finally:
        functions.harness_free(harness)
    return runs


def _address(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _region(array: NDArray[np.uint8], at: int) -> tuple[Any, ...]:
    return _address(array), ctypes.c_uint64(at), ctypes.c_uint64(array.size)


def _events(functions: ctypes.CDLL, harness: ctypes.c_void_p, number: int) -> NDArray[np.void]:
    """A copy of a core's events."""
    where = ctypes.c_void_p()
    count = functions.harness_events(harness, ctypes.c_uint64(number), ctypes.byref(where))
    if not count:
        return np.zeros(0, EVENT)
    return np.frombuffer(ctypes.string_at(where, count * EVENT.itemsize), EVENT).copy()
