"""``potluck inject``: campaigns from the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import onnx
from rich.console import Console

from potluck.inject.campaign import Report, inject
from potluck.inject.target import Target, samples_of
from potluck.inject.trial import ROLES
from potluck.isa.errors import DataError, MachineError
from potluck.isa.machine import Machine
from potluck.isa.progress import counted
from potluck.report import aligned
from potluck.sim.dram.attach import mapping_of
from potluck.sim.ecc.interface import Status
from potluck.sim.ecc.outcomes import Outcome
from potluck.sim.ecc.stack import POLICIES, Policy
from potluck.sim.faults.faultset import FaultSet
from potluck.sim.faults.files import read_faults, write_faults
from potluck.sim.faults.footprints import Correlated
from potluck.sim.faults.models import MODELS, DataDependent, Listed, Model, WeakCells
from potluck.sim.faults.parts import Content
from potluck.sim.faults.protected import Protected
from potluck.sim.faults.recipes import recipe
from potluck.sim.faults.tables import load_ber_table, load_rates


@dataclass(frozen=True)
class Rated:
    """Faults by rate.

    Attributes:
        bers: raw bit error rates; of weak cells, the probability that one fails.
        kind: a key of `MODELS`.
        one_to_zero: rate of 1 to 0, if it is another.
        weak_density: share of weak cells, if only they fail.
    """

    bers: list[float]
    kind: str = "uniform"
    one_to_zero: float | None = None
    weak_density: float | None = None


def ber_at(table: Path, voltage: float, temperature: float) -> float:
    """Bit error rate of a user's table.

    Raises:
        DataError: see `potluck.sim.faults.tables`.
    """
    return load_ber_table(table).at(voltage, temperature)


def models(
    target: Target, rated: Rated, listed: Path | None, rates: str | None, hours: float, forced: bool
) -> list[Model]:
    """The fault models that the options ask for.

    Raises:
        DataError: none, or options that exclude each other.
    """
    if sum((bool(rated.bers), listed is not None, rates is not None)) != 1:
        raise DataError("what faults?", hint="Give one of --ber, --fault-list and --rates")
    if listed is not None:
        base = target.machine.memory.dram_base
        return [Listed(read_faults(listed, target.mapping, base))]
    if rates is not None:
        return [Correlated(target.mapping, load_rates(rates).rates, hours, forced)]
    return rate_models(rated)


def contents_of(names: list[str]) -> list[Content]:
    """What faults strike.

    Raises:
        DataError: an unknown name.
    """
    found = [known for name in names for known in get_args(Content) if known == name]
    if len(found) < len(names):
        wrong = next(name for name in names if name not in found)
        raise DataError(f"content {wrong!r}", hint=f"One of {', '.join(get_args(Content))}")
    return found


def policy_of(text: str) -> Policy:
    """The policy of that name.

    Raises:
        DataError: there is none.
    """
    for policy in POLICIES:
        if policy == text:
            return policy
    raise DataError(f"policy {text!r} on DUE", hint=f"One of {', '.join(POLICIES)}")


def rate_models(rated: Rated) -> list[Model]:
    """Models by rate.

    Raises:
        DataError: no rate, an unknown model, or two models at once.
    """
    if not rated.bers:
        raise DataError("what faults?", hint="Give --ber")
    if rated.kind not in MODELS:
        raise DataError(f"fault model {rated.kind!r}", hint=f"One of {', '.join(MODELS)}")
    if sum((rated.kind != "uniform", rated.one_to_zero is not None, rated.weak_density is not None)) > 1:
        raise DataError(
            "several fault models", hint="One of --faults events, --one-to-zero and --weak-density"
        )
    if rated.one_to_zero is not None:
        return [DataDependent(ber, rated.one_to_zero) for ber in rated.bers]
    if rated.weak_density is not None:
        return [WeakCells(rated.weak_density, ber) for ber in rated.bers]
    return [MODELS[rated.kind](ber) for ber in rated.bers]


def run(
    target: Target, stacks: list[str], faults: list[Model], trials: int, seed: int, policy: Policy,
    export: Path | None, console: Console,
) -> list[Report]:  # fmt: skip
    """Run and print campaigns: every stack under every model, each trial with the same faults for all stacks."""
    reports = []
    kept: dict[int, FaultSet] = {}
    for model in faults:
        if isinstance(model, Correlated):
            region = Protected(target.parts, recipe("none"), target.mapping).region
            given = "every trial is given one" if model.forced else "trials without one count, too"
            share = f"{model.probability(region):.3g}"
            text = f"a fault touches the constants within {model.hours:g} hours with probability {share}; {given}"
            console.print(text, highlight=False, soft_wrap=True)
    if export is not None and len(faults) != 1:
        raise DataError("one list holds one model's faults", hint="Give one --ber with --export")
    for model in faults:
        for stack in stacks:
            numbers = sorted(model.trials) if isinstance(model, Listed) else list(range(trials))
            with counted(f"{stack}, {model.name}", len(numbers)) as step:
                reports.append(inject(target, stack, model, numbers, seed, policy, step, kept))
    if export is not None:
        write_faults(export, kept, target.machine.memory.dram_base)
        console.print(f"wrote {export}")
    print_reports(reports, target.samples, target.labels is not None, console)
    return reports


def run_modules(
    source: str, data: dict[str, Any], samples: int, stored: str, stacks: list[str], faults: list[Model],
    trials: int, seed: int, policy: Policy, machine: Machine, console: Console,
) -> list[Report]:  # fmt: skip
    """Campaigns at the artifact's site, printed.

    Raises:
        DataError: no samples, or no ONNX file that can be run node by node.
    """
    from potluck.inject.modules import inject_modules

    path, inputs, labels = samples_of(source, data, samples)
    try:
        model = onnx.load(str(path))
    except Exception as problem:
        raise DataError(f"cannot read {path} as ONNX: {str(problem).splitlines()[0]}") from None
    mapping = mapping_of(machine)
    if mapping is None:
        raise MachineError("simple DRAM has no cells", key="dram.kind", hint="--set dram.kind=hbm3")
    reports = [
        inject_modules(model, inputs, labels, stored, stack, one, trials, seed, mapping, policy)
        for one in faults
        for stack in stacks
    ]
    print_reports(reports, samples, labels is not None, console)
    return reports


def print_reports(reports: list[Report], samples: int, labelled: bool, console: Console) -> None:
    """Two tables: what became of the network, and of the sectors that faults touched.

    Rows of one fault model are grouped by the check bits that their stacks store.
    """
    models = list(dict.fromkeys((r.model, r.expected_ber) for r in reports))
    reports = sorted(reports, key=lambda r: (models.index((r.model, r.expected_ber)), r.check_bits))
    what = "accuracy" if labelled else "agreement"
    lines: list[tuple[str, ...]] = [
        (
            "stack",
            "bits/256",
            "raw BER",
            "observed",
            "after on-die",
            f"{what}, %",
            "95 %",
            "wrong constants in",
        )
    ]
    for r in reports:
        mean, low, high = r.metric
        raw, after = r.observed_ber()
        failed = sum(t.failed for t in r.trials)
        count = f"{sum(t.changed for t in r.trials)} of {len(r.trials)} trials"
        lines.append((r.stack, str(r.check_bits), f"{r.expected_ber:.1e}", f"{raw:.1e}", f"{after:.1e}",
                      f"{100 * mean:.1f}", f"{100 * low:.1f} to {100 * high:.1f}",
                      count + (f", {failed} stopped" if failed else "")))  # fmt: skip
    golden = f"{100 * reports[0].golden:.1f} %" if reports else "-"
    of = "" if labelled else " with the fault-free run"
    console.print(f"{samples} samples, {what}{of} without faults {golden}", highlight=False)
    aligned(lines, {0}, console)
    states = "exact/bounded/wrong"
    lines = [("stack", "raw BER", "sectors of", "touched", *(o.name for o in Outcome),
              *(f"{s.name.lower()}: {states}" for s in Status))]  # fmt: skip
    for r in reports:
        for role, row, table in zip(ROLES, r.outcomes.tolist(), r.counts.tolist(), strict=True):
            if sum(row):
                cells = ["/".join(map(str, one)) for one in table]
                lines.append((r.stack, f"{r.expected_ber:.1e}", role, str(sum(row)), *map(str, row), *cells))
    console.print()
    aligned(lines, {0}, console)
    for note in sorted({note for r in reports for note in r.notes}):
        console.print(f"note: {note}", highlight=False, soft_wrap=True)


def to_json(reports: list[Report]) -> list[dict[str, Any]]:
    """All reports."""
    return [report.to_json() for report in reports]
