"""A trial as it is written down: plain values, a pure function of (spec, trial), beside who computed it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from potluck.campaign.bench import Bench
from potluck.campaign.cells import Cell, place_of, trial_id
from potluck.inject.compute import ComputeArm
from potluck.inject.target import End
from potluck.inject.trial import ROLES, DramArm, Observation
from potluck.isa.formats.elements import FORMATS
from potluck.sim.dram.tensors import bits_of, field_of
from potluck.sim.ecc.interface import Status
from potluck.sim.ecc.outcomes import Outcome
from potluck.sim.faults.faultset import FaultSet, Sort
from potluck.sim.faults.parts import Part
from potluck.sim.faults.protected import Protected

Record = dict[str, Any]
HOST = ("seconds", "worker")
"""Columns that say how a record was made; all others depend on the spec and the trial alone."""
ELSEWHERE = {
    Sort.SIDEBAND: "check bits", Sort.ON_DIE: "on-die check bits", Sort.METADATA: "range table",
    Sort.DATA_PINS: "pins", Sort.SIDEBAND_PINS: "pins",
}  # fmt: skip
"""Fields of struck bits that are no bits of an element."""


def record_trial(bench: Bench, identity: int) -> Record:
    """Run a trial and write it down.

    Args:
        bench: of the campaign.
        identity: the trial's id.
    """
    index, number = place_of(identity, len(bench.cells))
    cell = bench.cells[index]
    start = time.perf_counter()
    made = record_of(bench, cell, number, observed(bench, cell, number))
    return made | {
        "seconds": round(time.perf_counter() - start, 6),
        "worker": f"{socket.gethostname()}-{os.getpid()}",
    }


def observed(bench: Bench, cell: Cell, number: int) -> Observation:
    """Run a trial of a cell; of a fault list, the trial with that place in it."""
    listed = bench.numbers(cell)
    return bench.arm(cell).observe(number if listed is None else listed[number])


def record_of(bench: Bench, cell: Cell, number: int, seen: Observation) -> Record:
    """A trial as it is written down, without what it cost."""
    arm = bench.arm(cell)
    outcome, found = bench.judge(cell).judge(seen)
    ends = seen.answers.ends if seen.answers is not None else np.zeros(0, np.uint8)
    tensors, fields = strikes(arm.protected, seen.struck) if isinstance(arm, DramArm) else ({}, {})
    if isinstance(arm, ComputeArm) and seen.faults:
        fields = {arm.site: 1}
    labelled = found.accuracy == found.accuracy
    return {
        "id": trial_id(cell.index, number, len(bench.cells)), "cell": cell.index, "number": number,
        "outcome": outcome.value, "faults": seen.faults, "raw": seen.raw, "after_on_die": seen.after_on_die,
        "changed": seen.changed, "stopped": seen.stopped, **found.hits, "nonfinite": found.nonfinite,
        "crashed": int((ends == End.CRASH).sum()),
        "hung": int((ends == End.HANG).sum()), "accuracy": found.accuracy if labelled else None,
        "delta_nll": found.delta_nll if labelled else None, "clipped": found.clipped,
        "sectors": sectors(seen), "tensors": tensors, "fields": fields,
    }  # fmt: skip


def sectors(seen: Observation) -> dict[str, int]:
    """Sectors that faults touched, by ``role status outcome``, such as ``elements DUE DUE``; none that are 0."""
    found: dict[str, int] = {}
    for role, statuses, outcomes in zip(
        ROLES, seen.tally.counts.sum(axis=2), seen.tally.outcomes, strict=True
    ):
        found |= {f"{role} status {Status(k).name}": int(n) for k, n in enumerate(statuses) if n}
        found |= {f"{role} {Outcome(k).name}": int(n) for k, n in enumerate(outcomes) if n}
    return found


def strikes(protected: Protected, faults: FaultSet) -> tuple[dict[str, int], dict[str, int]]:
    """Struck bits by tensor and by field.

    Args:
        protected: parts under a stack.
        faults: in DRAM.
    """
    tensors: dict[str, int] = {}
    fields: dict[str, int] = {}
    for number, mine in sorted(protected.by_part(faults).items()):
        part = protected.parts[number]
        _count(tensors, {tensor_of(part): len(mine)})
        data = mine.where(mine.sorts == Sort.DATA)
        width = width_of(part)
        bits, counts = np.unique((data.sectors * 256 + data.bits) % width, return_counts=True)
        _count(
            fields, {field_name(part, bit): n for bit, n in zip(bits.tolist(), counts.tolist(), strict=True)}
        )
        for sort, name in ELSEWHERE.items():
            _count(fields, {name: int((mine.sorts == sort).sum())})
    return tensors, fields


def tensor_of(part: Part) -> str:
    """The buffer's name, without the number of a slice."""
    return part.name.split("#")[0]


def width_of(part: Part) -> int:
    """Bits of an element, or of an instruction or pointer; bytes where there is no format."""
    if part.content != "constants":
        return bits_of(part.format)
    return part.element.bits if part.element is not None else 8


def field_name(part: Part, bit: int) -> str:
    """What a bit of a part's element is, with the format: ``E4M3 exponent 2``; of a code book's, a bit of the code."""
    known = part.element is None or part.format.lower() in FORMATS
    return f"{part.format} {field_of(part.format, bit) if known else f'code {bit}'}"


def _count(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        if count:
            total[name] = total.get(name, 0) + count


def essence(record: Mapping[str, Any]) -> Record:
    """A record without what depends on the host."""
    return {key: value for key, value in record.items() if key not in HOST}
