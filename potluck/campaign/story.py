"""One trial again, and its story: where each faulty bit lies, what was read there, and what became of the answers."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from rich.console import Console

from potluck.campaign.cells import Cell, place_of
from potluck.campaign.record import ELSEWHERE, Record, essence, observed, record_of, tensor_of, width_of
from potluck.campaign.store import Store
from potluck.campaign.worker import bench_of
from potluck.inject.compute import ComputeArm
from potluck.inject.target import End
from potluck.inject.trial import DramArm, Observation, patch_of
from potluck.isa.assembly.disassembler import disassemble_word
from potluck.isa.errors import CampaignError
from potluck.sim.dram.kind import SECTOR
from potluck.sim.dram.tensors import INSTRUCTIONS, TensorBit, field_of, names_of
from potluck.sim.ecc.interface import Status, Words
from potluck.sim.ecc.outcomes import Data, Outcome
from potluck.sim.faults.faultset import SORT_NAMES, Action, FaultSet, Sort
from potluck.sim.faults.parts import Part
from potluck.sim.faults.protected import BlockReads

SHOWN = 20
MOST = 4096
"""Faulty bits that a story tells of; the record counts all."""


@dataclass(frozen=True)
class Story:
    """A trial that was run again.

    Attributes:
        record: as it was written down now.
        again: whether it is the record in the campaign, bit by bit; None: the trial had not run.
        cell: scheme, faults and stack.
        flips: what became of faulty bits, the first `MOST` of them.
        answers: of inputs whose answers changed: top-1 and its confidence before and after, how the run ended.
        visible: of the first of these inputs (of the first input, if there is none), on the machine: the layer that
            first left another value in DRAM than without faults, and where; None: none did, or runs cannot be compared.
    """

    record: Record
    again: bool | None
    cell: dict[str, str]
    flips: list[dict[str, Any]]
    answers: list[dict[str, Any]]
    visible: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(vars(self))

    def print(self, console: Console) -> None:
        """For people."""
        record, cell = self.record, self.cell
        said = {
            None: "it had not run before",
            True: "bit for bit the recorded one",
            False: "NOT the recorded one",
        }
        lines = [
            f"trial {record['id']}: number {record['number']} of {cell['scheme']}, {cell['faults']}, {cell['stack']}",
            f"outcome {record['outcome']}; {said[self.again]}",
            f"{record['faults']} faulty bits, {record['raw']} wrong in cells in use, "
            f"{record['after_on_die']} leave the devices",
        ]
        for flip in self.flips[:SHOWN]:
            lines.append(f"  {flip['where']}: {flip['what']}")
            lines.append(f"      {flip['verdict']}")
        if record["faults"] > SHOWN:
            lines.append(f"  ... {record['faults'] - min(SHOWN, len(self.flips))} more")
        if self.visible is not None:
            lines.append(f"first visible in {self.visible['what']}")
        lines.append(f"{len(self.answers)} inputs have other answers")
        for one in self.answers[:SHOWN]:
            lines.append(f"  input {one['input']}: {one['what']}")
        for line in lines:
            console.print(line, soft_wrap=True, markup=False, highlight=False)


def tell(store: Store, identity: int) -> Story:
    """Run a trial of a campaign again.

    Args:
        store: the campaign's folder.
        identity: of the trial.

    Raises:
        CampaignError: no such trial.
    """
    held, spec = store.registration(), store.spec()
    bench = bench_of(store.folder.resolve(), spec.hash)
    index, number = place_of(identity, len(bench.cells))
    facts = held["cells"][index]
    limit = spec.stop.trials if facts["numbers"] is None else len(facts["numbers"])
    if identity < 0 or number >= limit:
        raise CampaignError(f"there is no trial {identity}", key="stop.trials",
                            hint=f"Ids go from 0 to {limit * len(bench.cells) - 1}")  # fmt: skip
    cell = bench.cells[index]
    arm, judge = bench.arm(cell), bench.judge(cell)
    seen = observed(bench, cell, number)
    record = record_of(bench, cell, number, seen)
    before = store.record(identity)
    flips = _flips(arm, seen) if isinstance(arm, DramArm) else []
    if isinstance(arm, ComputeArm):
        flips = arm.story(seen.number)
    answers = _answers(seen, np.asarray(judge.golden))
    return Story(
        record, None if before is None else essence(before) == record, _named(cell), flips, answers,
        _visible(arm, seen, answers[0]["input"] if answers else 0) if isinstance(arm, DramArm) else None,
    )  # fmt: skip


def _named(cell: Cell) -> dict[str, str]:
    return {"scheme": cell.scheme, "faults": cell.source.label, "stack": cell.stack}


def _visible(arm: DramArm, seen: Observation, sample: int) -> dict[str, Any] | None:
    """Where the fault first showed."""
    found = arm.target.visible(sample, patch_of(arm.parts, seen.reads)) if seen.answers is not None else None
    if found is None:
        return None
    layer = f"layer {found.layer} ({found.op})" if found.layer else "code of no layer"
    did = "stopped there" if found.address is None else f"left another value at {found.address:#x}"
    return {
        "input": sample, "layer": found.layer, "op": found.op, "address": found.address,
        "instructions": found.instructions, "what": f"{layer}, which {did} (input {sample})",
    }  # fmt: skip


def _flips(arm: DramArm, seen: Observation) -> list[dict[str, Any]]:
    """What became of each faulty bit."""
    protected, reads = arm.protected, {read.part: read for read in seen.reads}
    base = arm.target.machine.memory.dram_base
    found: list[dict[str, Any]] = []
    for number, mine in sorted(protected.by_part(seen.struck).items()):
        part = protected.parts[number]
        for k in range(min(len(mine), MOST - len(found))):
            one = mine.where(np.arange(len(mine)) == k)
            found.append(_flip(arm, part, base, one, reads.get(number)))
    return found


def _flip(arm: DramArm, part: Part, base: int, one: FaultSet, read: BlockReads | None) -> dict[str, Any]:
    sector, bit, sort = int(one.sectors[0]), int(one.bits[0]), Sort(int(one.sorts[0]))
    action = Action(int(one.actions[0])).name.lower()
    flip: dict[str, Any] = {
        "tensor": tensor_of(part), "format": part.format, "sort": SORT_NAMES[sort], "action": action,
        "permanent": bool(one.permanent[0]),
    }  # fmt: skip
    if sort is Sort.METADATA:
        flip |= {"where": f"word {sector} of the range table, bit {bit}", "what": f"{action} for {flip['tensor']}",
                 "verdict": _verdict(flip, read, None)}  # fmt: skip
        return flip
    address = base + (part.first + sector) * SECTOR
    row = None
    if read is not None:
        at = int(np.searchsorted(read.rows, sector))
        row = at if at < len(read.rows) and read.rows[at] == sector else None
    if sort in ELSEWHERE:
        flip |= {"address": address, "bit": bit, "where": f"{address:#x}, {ELSEWHERE[sort]} bit {bit}",
                 "what": f"{action} beside {flip['tensor']}", "verdict": _verdict(flip, read, row)}  # fmt: skip
        return flip
    place = _place(arm, address + bit // 8, bit % 8)
    width = width_of(part)
    first = (sector * 256 + bit) // width
    before = _code(part.clean, sector, bit, width)
    struck = _struck(before, (sector * 256 + bit) % width, action)
    flip |= {
        "address": address + bit // 8, "bit": bit % 8, "element": first,
        "index": list(place.index) if place else None,
        "field": place.field if place else field_of(part.format, (sector * 256 + bit) % width),
        "block": list(place.block) if place and place.block else None,
        "code_before": before, "code_struck": struck, "value_before": _value(arm, part, before),
        "value_struck": _value(arm, part, struck),
    }  # fmt: skip
    after = before if row is None or read is None else _code(read.data, row, bit, width)
    flip |= {"code_read": after, "value_read": _value(arm, part, after)}
    block = f", block {flip['block']}" if flip["block"] else ""
    flip["where"] = f"{flip['address']:#x} bit {bit % 8}, {flip['tensor']}{flip['index'] or ''}{block}"
    flip["what"] = (
        f"{part.format} {flip['field']}, {action}{', stuck' if flip['permanent'] else ''}: "
        f"{_shown(flip, 'before', width)} -> {_shown(flip, 'struck', width)}"
    )
    flip["verdict"] = _verdict(flip, read, row) + f"; read as {_shown(flip, 'read', width)}"
    return flip


def _place(arm: DramArm, address: int, bit: int) -> TensorBit | None:
    names = names_of(arm.target.program.manifest, address, bit)
    return names[0] if names else None


def _code(words: Words, row: int, bit: int, width: int) -> int | None:
    """The element that a bit of a sector belongs to; None of one that goes beyond the sector."""
    start = (row * 256 + bit) // width * width - row * 256
    if start < 0 or start + width > 256:
        return None
    whole = int.from_bytes(np.ascontiguousarray(words[row]).tobytes(), "little")
    return whole >> start & (1 << width) - 1


def _struck(code: int | None, bit: int, action: str) -> int | None:
    if code is None:
        return None
    mask = 1 << bit
    return {"flip": code ^ mask, "set0": code & ~mask, "set1": code | mask}[action]


def _value(arm: DramArm, part: Part, code: int | None) -> float | str | None:
    """Of a code; text if JSON has no such number, and of an instruction."""
    if part.content == "text" and code is not None:
        return disassemble_word(code, arm.target.machine.isa.vmxdotp_encoding)
    if part.element is None or code is None:
        return None
    kind = np.uint8 if part.element.bits <= 8 else np.uint16 if part.element.bits <= 16 else np.uint32
    value = float(np.asarray(part.element.decode(np.array([code], kind)), np.float64)[0])
    return value if isfinite(value) else str(value)


def _shown(flip: dict[str, Any], when: str, width: int) -> str:
    code, value = flip[f"code_{when}"], flip[f"value_{when}"]
    if code is None:
        return "?"
    text = f"{code:#0{2 + -(-width // 4)}x}"
    if flip["format"] == INSTRUCTIONS:
        return f"{text} ({value})"
    return text if value is None else f"{text} ({float(value):g})"


def _verdict(flip: dict[str, Any], read: BlockReads | None, row: int | None) -> str:
    """What the decoder said of the sector, and what of its data is true."""
    if read is None or row is None:
        flip |= {"status": None, "data": None, "outcome": None}
        return "not seen: the stack uses no such bit, or its own code corrected it"
    status, state = Status(int(read.status[row])), Data(int(read.state[row]))
    outcome = Outcome(int(read.outcome[row]))
    flip |= {"status": status.name, "data": state.name, "outcome": outcome.name}
    return f"decoder: {status.name.lower()}, the sector's data are {state.name.lower()} ({outcome.name})"


def _answers(seen: Observation, golden: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    """Inputs with other answers than the golden ones."""
    if seen.answers is None:
        return []
    found = []
    for k, (before, after) in enumerate(zip(golden, seen.answers.values, strict=True)):
        if before.tobytes() == after.tobytes():
            continue
        end = End(int(seen.answers.ends[k]))
        top, now = int(before.ravel().argmax()), int(np.nan_to_num(after.ravel(), nan=-np.inf).argmax())
        what = f"top-1 {top} ({before.ravel()[top]:g}) -> {now} ({after.ravel()[now]:g})"
        what = what if end is End.WHOLE else f"the run ended by a {end.name.lower()}"
        largest = float(np.nanmax(np.abs(after.astype(np.float64) - before), initial=0.0))
        found.append({"input": k, "end": end.name.lower(), "top1_before": top, "top1_after": now,
                      "largest_change": largest, "what": what})  # fmt: skip
    return found
