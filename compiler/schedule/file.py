"""The chosen schedule as a text that people read, edit and feed back.

One table a layer, in order. A key that is left out keeps the compiler's choice, so does a layer that is left out:

    [[layer]]
    name = "layers.0.query"    # its node; layers of the same name are told apart by their order
    op = "MatMul"              # has to be the layer's
    rows = 8                   # what `LayerPlan.choices` has: tiles, order, split over the cores
    prefetch = true            # whether what it needs first comes while the layer before it ends
"""

from __future__ import annotations

import difflib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from potluck.compiler.lowering.abreast import AbreastPlan, Member
from potluck.compiler.lowering.base import Choice, LayerPlan, Setting, Target
from potluck.compiler.lowering.conv import ConvPlan
from potluck.compiler.schedule.abreast import NOTHING, Asked, eligible, steps
from potluck.compiler.schedule.layer import LoweredOp
from potluck.isa.documents import toml_of
from potluck.isa.errors import MachineError, ModelError

VERSION = 1
PREFETCH, ABREAST, CORES = "prefetch", "abreast", "cores"
HEADER = f"""\
# The schedule of a network: edit it and compile with --schedule. What is left out, the compiler chooses.
# Keys and their legal values: docs/schedule.md. No edit changes a bit of the results.
version = {VERSION}
"""


@dataclass(frozen=True)
class Entry:
    """What a file says of one layer.

    Attributes:
        name: Its node.
        op: Its operator, empty if the file does not say.
        settings: The other keys.
    """

    name: str
    op: str
    settings: Mapping[str, Setting | bool]


def read(path: Path) -> list[Entry]:
    """The entries of a file.

    Raises:
        ModelError: It cannot be read, or is not a schedule.
    """
    try:
        text = path.read_bytes()
    except OSError as problem:
        hint = "Write one: potluck compile MODEL -o P.elf --schedule-out FILE"
        raise ModelError(f"cannot read the schedule {str(path)!r}: {problem.strerror}", hint=hint) from None
    return parse(text, str(path))


def save(text: str, path: Path) -> None:
    """Writes a schedule's text, all of it or nothing.

    Raises:
        OSError: The file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def parse(text: str | bytes, where: str = "schedule") -> list[Entry]:
    """The entries of a text.

    Args:
        text: TOML.
        where: Its name, for messages.

    Raises:
        ModelError: It is not a schedule.
    """
    try:
        data = toml_of(text)
    except ValueError as error:
        raise ModelError(f"{where} is no TOML: {error}") from error
    if data.get("version") != VERSION:
        raise ModelError(f"{where} is of version {data.get('version')}, not {VERSION}")
    unknown = sorted(set(data) - {"version", "layer"})
    layers = data.get("layer", [])
    if unknown or not isinstance(layers, list):
        raise ModelError(f"{where} has keys {unknown or ['layer']}: there are version and tables [[layer]]")
    found = []
    for number, table in enumerate(layers):
        if not isinstance(table, dict) or not isinstance(table.get("name"), str):
            raise ModelError(f"{where}: layer {number} has no name")
        rest = {key: value for key, value in table.items() if key not in ("name", "op")}
        found.append(Entry(table["name"], str(table.get("op", "")), rest))
    return found


def applied(
    plans: Sequence[LayerPlan], entries: Sequence[Entry], target: Target
) -> tuple[list[LayerPlan], list[bool]]:
    """The layers as the entries want them, those that run side by side as one, and which of them are prefetched.

    Raises:
        ModelError: An entry names no layer, or sets a key that its layer does not have, or a value that is not legal;
            it names layer and key.
    """
    entry_of = _matched(plans, entries)
    asked = [_asked(plan, entry_of.get(index), target) for index, plan in enumerate(plans)]
    made: list[LayerPlan] = []
    prefetch: list[bool] = []
    for step in steps(plans, target, asked):
        changed = []
        for index, plan in zip(step.layers, step.plans, strict=True):
            entry = entry_of.get(index)
            changed.append(_applied(plan, entry, target) if entry is not None else (plan, True))
        prefetch.append(all(early for _, early in changed))
        made.append(_together([plan for plan, _ in changed], step.cores, target))
    return made, prefetch


def _matched(plans: Sequence[LayerPlan], entries: Sequence[Entry]) -> dict[int, Entry]:
    """What is said of each layer, by its index."""
    places: dict[str, list[int]] = {}
    for index, plan in enumerate(plans):
        places.setdefault(plan.name, []).append(index)
    seen: Counter[str] = Counter()
    found: dict[int, Entry] = {}
    for entry in entries:
        held, number = places.get(entry.name, []), seen[entry.name]
        seen[entry.name] += 1
        if number >= len(held):
            raise ModelError(_no_layer(entry.name, number, places), node=entry.name)
        plan = plans[held[number]]
        if entry.op not in ("", plan.op):
            raise ModelError(
                f"the schedule says that its op is {entry.op!r}, it is {plan.op!r}",
                node=plan.name,
                hint="Make a new schedule for this network with --schedule-out",
            )
        found[held[number]] = entry
    return found


def _asked(plan: LayerPlan, entry: Entry | None, target: Target) -> Asked:
    """Beside which layer, and on how many cores, an entry wants its layer."""
    if entry is None or not eligible(plan, target):
        return NOTHING
    beside, cores = entry.settings.get(ABREAST), entry.settings.get(CORES)
    if beside is not None and not isinstance(beside, str):
        raise _illegal(plan, ABREAST, beside, 'the name of an earlier layer, or ""')
    if cores is not None and (isinstance(cores, bool) or not isinstance(cores, int)):
        raise _illegal(plan, CORES, cores, f"1 to {target.harts - 1}")
    if cores is not None and not 0 < cores < target.harts:
        raise _illegal(plan, CORES, cores, f"1 to {target.harts - 1}")
    return Asked(beside, cores)


def _together(plans: Sequence[LayerPlan], cores: Sequence[int], target: Target) -> LayerPlan:
    """The layers of a step as one."""
    if len(plans) == 1:
        return plans[0]
    members = [
        Member(plan, count) for plan, count in zip(plans, cores, strict=True) if isinstance(plan, ConvPlan)
    ]
    joint = AbreastPlan(tuple(members), target)
    try:
        joint.check()
    except MachineError as error:
        raise ModelError(f"the schedule's tiles: {error.message}", node=joint.name) from error
    return joint


def _no_layer(name: str, number: int, places: Mapping[str, list[int]]) -> str:
    if number:
        return f"the schedule has {number + 1} layers of this name, the network {number}"
    near = difflib.get_close_matches(name, places, n=1, cutoff=0.0)
    return "the schedule names it, but the network has no such layer" + (
        f"; near is {near[0]!r}" if near else ""
    )


def _applied(plan: LayerPlan, entry: Entry, target: Target) -> tuple[LayerPlan, bool]:
    settings = dict(entry.settings)
    prefetch = settings.pop(PREFETCH, True)
    if not isinstance(prefetch, bool):
        raise _illegal(plan, PREFETCH, prefetch, "true and false")
    beside = (ABREAST, CORES) if eligible(plan, target) else ()
    for key in beside:
        settings.pop(key, None)
    choices = plan.choices(target)
    changed: dict[str, Setting] = {}
    for key, value in settings.items():
        if key not in choices:
            known = ", ".join((*choices, *beside, PREFETCH))
            raise ModelError(f"the schedule sets {key!r}, this layer has {known}", node=plan.name)
        choice = choices[key]
        if isinstance(value, bool) or type(value) is not type(choice.value) or value not in choice.legal:
            raise _illegal(plan, key, value, _legal(choice))
        if value != choice.value:
            changed[key] = value
    if not changed:
        return plan, prefetch
    try:
        return plan.chosen(target, changed), prefetch
    except MachineError as error:
        said = ", ".join(f"{key} = {json.dumps(value)}" for key, value in changed.items())
        raise ModelError(f"the schedule sets {said}: {error.message}", node=plan.name) from error


def _illegal(plan: LayerPlan, key: str, value: object, legal: str) -> ModelError:
    return ModelError(f"the schedule sets {key!r} to {value!r}, legal are {legal}", node=plan.name)


def _legal(choice: Choice) -> str:
    if not isinstance(choice.legal, range):
        return ", ".join(json.dumps(value) for value in choice.legal)
    step = f" in steps of {choice.legal.step}" if choice.legal.step > 1 else ""
    return f"{choice.legal[0]} to {choice.legal[-1]}{step}"


def written(
    plans: Sequence[LayerPlan], ops: Sequence[LoweredOp], prefetch: Sequence[bool], target: Target
) -> str:
    """The text of a schedule.

    Args:
        plans: The layers.
        ops: The same, lowered.
        prefetch: Of each, whether it is prefetched.
        target: The machine.
    """
    lines = [HEADER]
    for index, (plan, op, early) in enumerate(zip(plans, ops, prefetch, strict=True)):
        held = sum(high - low for low, high in op.footprint)
        tiles = f"{len(op.tiles)} tile{'s' if len(op.tiles) > 1 else ''}"
        about = f"{index}: {op.format}, {op.macs} MAC, {tiles}, {op.bytes_moved} B by DMA, {held} B of L1"
        joint = plan.members if isinstance(plan, AbreastPlan) else ()
        if joint:
            about += f", {len(joint)} layers side by side"
        for number, member in enumerate([item.plan for item in joint] or [plan]):
            keys: dict[str, Setting | bool] = {"name": member.name, "op": member.op}
            keys |= {key: choice.value for key, choice in member.choices(target).items()}
            if eligible(member, target):
                keys[ABREAST] = joint[0].plan.name if number else ""
            if joint:
                keys[CORES] = joint[number].cores
            lines.append(f"[[layer]]  # {index}: beside the one above" if number else f"[[layer]]  # {about}")
            lines += [f"{key} = {json.dumps(value)}" for key, value in (keys | {PREFETCH: early}).items()]
            lines.append("")
    return "\n".join(lines)
