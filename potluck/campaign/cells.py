"""What a spec's campaign consists of: its cells, and the number that every trial has among all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from potluck.campaign import spec as keys
from potluck.campaign.forced import Forced
from potluck.inject.compute import ChipSite, Registers
from potluck.isa.errors import CampaignError, DataError
from potluck.sim.dram.mapping import Mapping as DramMapping
from potluck.sim.faults.conditioned import Flips, OneFault
from potluck.sim.faults.files import read_faults
from potluck.sim.faults.footprints import MODES, Correlated
from potluck.sim.faults.models import DataDependent, EventMix, Listed, Model, Uniform, WeakCells
from potluck.sim.faults.recipes import recipe
from potluck.sim.faults.tables import RateTable, load_rates, rate_tables


@dataclass(frozen=True)
class Source:
    """One fault model of a campaign.

    Attributes:
        entry: index in the spec's list.
        label: for reports; two sources never share one.
        keys: of the spec.
        rate: BER, or number of flips.
        mode: of kind ``modes``: mode, and whether it is permanent.
        site: of kind ``registers``.
    """

    entry: int
    label: str
    keys: keys.AnyFaults
    rate: float = 0.0
    mode: tuple[str, bool] | None = None
    site: ChipSite | None = None


@dataclass(frozen=True)
class Cell:
    """A scheme under a stack and a fault model.

    Attributes:
        index: in the campaign.
        scheme: as the spec names it.
        source: of faults.
        stack: recipe.
    """

    index: int
    scheme: str
    source: Source
    stack: str


def rates_of(faults: keys.Modes | keys.Mission, base: Path) -> RateTable:
    """The table of rates that faults name; a path counts from `base`.

    Raises:
        CampaignError: see `potluck.sim.faults.tables.load_rates`.
    """
    name = faults.rates
    return load_rates(name if name in rate_tables() else base / name)


def sources(spec: keys.Spec, base: Path) -> list[Source]:
    """The fault models of a spec, in its order.

    Raises:
        CampaignError: a table of rates that cannot be read, an unknown mode, or a label that occurs twice.
    """
    found: list[Source] = []
    for index, entry in enumerate(spec.faults):
        prefix = entry.label or entry.kind
        match entry:
            case keys.Uniform() | keys.Events() | keys.Weak():
                found += [Source(index, f"{prefix} {ber:g}", entry, ber) for ber in entry.ber]
            case keys.Flips():
                found += [Source(index, f"{prefix} {count}", entry, count) for count in entry.count]
            case keys.Modes():
                found += [Source(index, f"{prefix} {mode} {_lasting(permanent)}", entry, mode=(mode, permanent))
                          for mode, permanent in _modes(entry, base, index)]  # fmt: skip
            case keys.Registers():
                found += [Source(index, f"{prefix} {site}", entry, site=site) for site in entry.sites]
            case keys.Mission():
                rates_of(entry, base)
                found.append(Source(index, prefix, entry))
            case keys.DataDependent() | keys.Curve() | keys.FaultList():
                found.append(Source(index, prefix, entry))
    labels = [source.label for source in found]
    for source in found:
        if labels.count(source.label) > 1:
            raise CampaignError(
                f"two fault models are called {source.label!r}", key=f"faults.{source.entry}.label",
                hint="Give each its own label",
            )  # fmt: skip
    return found


def _lasting(permanent: bool) -> str:
    return "permanent" if permanent else "transient"


def _modes(entry: keys.Modes, base: Path, index: int) -> list[tuple[str, bool]]:
    rates = rates_of(entry, base).rates
    for mode in entry.modes:
        if mode not in rates:
            raise CampaignError(
                f"no rate of a mode {mode!r} in {entry.rates}", key=f"faults.{index}.modes",
                hint=f"There are {', '.join(rates)} (of the modes {', '.join(MODES)})",
            )  # fmt: skip
    chosen = entry.modes or list(rates)
    both = [(mode, permanent) for mode in chosen for permanent in (False, True)]
    found = [
        (mode, permanent) for mode, permanent in both
        if (rates[mode].permanent if permanent else rates[mode].transient) > 0
    ]  # fmt: skip
    if not found:
        raise CampaignError("every rate is 0", key=f"faults.{index}.rates")
    return found


def cells(spec: keys.Spec, base: Path) -> tuple[Cell, ...]:
    """All cells, in an order that the spec alone decides.

    Raises:
        CampaignError: an unknown stack, or see `sources`.
    """
    for stack in spec.protection.stacks:
        try:
            recipe(stack)
        except DataError as problem:
            raise CampaignError(problem.message, key="protection.stacks", hint=problem.hint) from None
    places = [
        (scheme, source, stack)
        for scheme in spec.network.schemes
        for source in sources(spec, base)
        for stack in (spec.protection.stacks if source.site is None else spec.protection.stacks[:1])
    ]
    return tuple(Cell(index, *place) for index, place in enumerate(places))


def model_of(source: Source, mapping: DramMapping, dram_base: int, base: Path) -> Model:
    """The fault model of a source on a memory.

    Args:
        source: of the spec.
        mapping: of the DRAM.
        dram_base: address of DRAM.
        base: folder that paths count from.
    """
    match source.keys:
        case keys.Uniform():
            return Uniform(source.rate)
        case keys.Events():
            return EventMix(source.rate)
        case keys.DataDependent(zero_to_one=up, one_to_zero=down):
            return DataDependent(up, down)
        case keys.Weak(density=density, layout=layout):
            return WeakCells(density, source.rate, layout)
        case keys.Flips():
            return Flips(int(source.rate))
        case keys.Curve(ber=rates):
            return Forced(tuple(rates))
        case keys.Mission() as mission:
            return Correlated(mapping, rates_of(mission, base).rates, mission.hours, mission.forced)
        case keys.Modes():
            assert source.mode is not None
            return OneFault(mapping, *source.mode)
        case keys.Registers():
            assert source.site is not None
            return Registers(source.site)
        case keys.FaultList(path=path):
            try:
                return Listed(read_faults(base / path, mapping, dram_base))
            except (DataError, OSError) as problem:
                text = problem.message if isinstance(problem, DataError) else str(problem)
                raise CampaignError(text, key=f"faults.{source.entry}.path") from None


def trial_id(cell: int, number: int, count: int) -> int:
    """The id of a cell's trial in a campaign of so many cells."""
    return number * count + cell


def place_of(identity: int, count: int) -> tuple[int, int]:
    """Cell and number of an id."""
    return identity % count, identity // count
