"""Which layers run side by side, and on how many cores each.

Layers that do not need each other can share a step of the schedule (`potluck.compiler.lowering.abreast`). It pays
where a layer does not scale: few rows, or so little of L1 for each core that its vectors get short. Layers are joined
where the cost model expects fewer cycles of them together than one after the other; a schedule file may say otherwise.

Whether one layer needs another follows from what both read and write: no address is known yet, and memory that is
used again is given out by the order that results here.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from potluck.compiler.lowering.abreast import together
from potluck.compiler.lowering.base import LayerPlan, Target
from potluck.compiler.lowering.conv import ConvPlan
from potluck.compiler.lowering.products import format_name
from potluck.compiler.lowering.tiling import Cost, Sizes, Tiling
from potluck.compiler.schedule.memory import Storage
from potluck.isa.errors import ModelError

WINDOW = 24
"""Layers ahead among which a neighbour is looked for."""
NEIGHBOURS = 5
"""How many of them are tried."""
MOST = 4
"""Layers side by side, of the compiler's choice."""
GAIN = 0.96
"""Share of the cycles one after the other that side by side may take: the estimates err by some percent."""
FAR = 1.15
"""The same before cores have been moved from member to member."""
TRANSFERS = 16
"""Transfers of a member's tile, so that the record of all members' stays small."""
NEAR, WAYS = 1.5, 24
"""Tiles of a member that are looked at: how much more than the fewest cycles they may take, and how many."""


@dataclass(frozen=True)
class Asked:
    """What a schedule file says of a layer.

    Attributes:
        beside: Name of an earlier layer that it runs beside; empty: of none; None: nothing is said.
        cores: How many cores it has then; None: nothing is said.
    """

    beside: str | None = None
    cores: int | None = None


NOTHING = Asked()


@dataclass(frozen=True)
class Step:
    """Layers that run together.

    Attributes:
        layers: Their indices.
        plans: They; for their own cores if there are several.
        cores: Of each.
    """

    layers: tuple[int, ...]
    plans: tuple[LayerPlan, ...]
    cores: tuple[int, ...]


@dataclass(frozen=True)
class Division:
    """How layers run together.

    Attributes:
        cores: Of each.
        tilings: Of each.
        costs: Of each.
    """

    cores: tuple[int, ...]
    tilings: tuple[Tiling, ...]
    costs: tuple[Cost, ...]

    @cached_property
    def cycles(self) -> float:
        """Estimated, of all."""
        return together(self.costs)


def steps(plans: Sequence[LayerPlan], target: Target, asked: Sequence[Asked] = ()) -> list[Step]:
    """The layers in an order in which those that run together are one step.

    Args:
        plans: In order.
        target: The machine.
        asked: Of each layer, what a schedule file says; empty: nothing.

    Raises:
        ModelError: What is asked cannot be done; names the layer and why.
    """
    return _Joiner(plans, target, asked or [NOTHING] * len(plans)).steps()


def eligible(plan: LayerPlan, target: Target) -> bool:
    """Whether a layer can run beside others on a machine."""
    return target.harts > 1 and not target.flat and target.machine.pot is None and isinstance(plan, ConvPlan)


@dataclass
class _Joiner:
    """The layers so far.

    Attributes:
        groups: Indices of the layers that run together, in order, by the first of them.
        leader: Of a layer in a group, the first of it.
    """

    plans: Sequence[LayerPlan]
    target: Target
    asked: Sequence[Asked]
    groups: dict[int, list[int]] = field(default_factory=dict)
    leader: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.before = needs(self.plans)
        self.names = Counter(plan.name for plan in self.plans)
        self.divisions: dict[int, Division] = {}

    def steps(self) -> list[Step]:
        """See `steps`."""
        for index, said in enumerate(self.asked):
            if said.beside:
                self._put(index, self._named(index, said.beside))
        for first, group in self.groups.items():
            self.divisions[first] = self._forced(group)
        for index in range(len(self.plans)):
            if self._free(index):
                self._grow(index)
        for index, said in enumerate(self.asked):
            if said.cores is not None and index not in self.leader:
                raise ModelError(
                    f"the schedule sets 'cores' to {said.cores}, but it runs alone, on all {self.target.harts} cores",
                    node=self.plans[index].name,
                    hint="Name a layer that it runs beside with 'abreast', or leave 'cores' out",
                )
        return [self._step(first) for first in order(self.before, self.groups)]

    def _step(self, first: int) -> Step:
        if first not in self.groups:
            return Step((first,), (self.plans[first],), (self.target.harts,))
        group, division = self.groups[first], self.divisions[first]
        plans = []
        for index, cores, tiling in zip(group, division.cores, division.tilings, strict=True):
            plan = self._conv(index)
            plans.append(replace(plan, target=replace(self.target, cores=cores), tiles=tiling))
        return Step(tuple(group), tuple(plans), division.cores)

    def _conv(self, index: int) -> ConvPlan:
        plan = self.plans[index]
        assert isinstance(plan, ConvPlan)
        return plan

    # -- what is asked for

    def _named(self, index: int, name: str) -> int:
        """The earlier layer of a name that a layer wants to be beside."""
        plan, target = self.plans[index], self.target
        found = [at for at, other in enumerate(self.plans) if other.name == name]
        why = ""
        if not eligible(plan, target):
            why = "only convolutions and products with weights run beside others, on several cores that the DMA feeds"
        elif not found:
            why = "the network has no such layer"
        elif len(found) > 1 or self.names[plan.name] > 1:
            why = f"{name if len(found) > 1 else plan.name!r} is the name of several layers"
        elif found[0] >= index:
            why = "that layer does not come before it"
        else:
            why = self._refused(found[0], index)
        if why:
            raise ModelError(f"the schedule sets 'abreast' to {name!r}: {why}", node=plan.name)
        return found[0]

    def _refused(self, other: int, index: int) -> str:
        """Why a layer cannot be beside an earlier one; empty if it can."""
        plan, that = self.plans[index], self.plans[other]
        if not isinstance(plan, ConvPlan) or not isinstance(that, ConvPlan):
            return f"{that.name!r} is neither a convolution nor a product with weights"
        group = self.groups.get(self.leader.get(other, other), [other])
        if len(group) >= self.target.harts:
            return f"there are {len(group)} layers side by side, and {self.target.harts} cores"
        for member in group:
            if self.before[index] >> member & 1:
                return f"it needs what {self.plans[member].name!r} computes"
            if self.before[member] >> index & 1:
                return f"{self.plans[member].name!r}, which runs beside that layer, needs what it computes"
        if _format(plan) != _format(that):
            return f"it multiplies in {_format(plan)}, {that.name!r} in {_format(that)}"
        if order(self.before, {**self.groups, group[0]: [*group, index]}):
            return ""
        return "other layers that run side by side stand between them"

    def _put(self, index: int, other: int) -> None:
        first = self.leader.get(other, other)
        self.groups[first] = sorted([*self.groups.get(first, [first]), index])
        self.leader |= {first: first, index: first}

    def _forced(self, group: Sequence[int]) -> Division:
        """How layers run together that have to.

        Raises:
            ModelError: They do not fit L1, or more cores are asked for than there are.
        """
        fixed = [self.asked[index].cores for index in group]
        name, harts = self.plans[group[-1]].name, self.target.harts
        held = sum(cores or 1 for cores in fixed)
        if held > harts or any(cores is not None and cores < 1 for cores in fixed):
            said = ", ".join(
                f"{self.plans[i].name!r} {c or 'any'}" for i, c in zip(group, fixed, strict=True)
            )
            raise ModelError(
                f"the schedule sets 'cores': {said}, of {harts}; each layer has 1 at least", node=name
            )
        found = divided([self._conv(index).sizes for index in group], self.target, fixed)
        if found is None:
            beside = ", ".join(repr(self.plans[index].name) for index in group[:-1])
            raise ModelError(
                f"the schedule sets 'abreast': its smallest tiles do not fit L1 beside those of {beside}",
                node=name,
            )
        return found

    # -- what the compiler chooses

    def _free(self, index: int) -> bool:
        """Whether the compiler may join a layer to others."""
        plan = self.plans[index]
        return index not in self.leader and eligible(plan, self.target) and self.names[plan.name] == 1

    def _grow(self, first: int) -> None:
        """Joins to a layer what gains most, one layer at a time."""
        group, division = [first], None
        now = self._conv(first).estimate
        while len(group) < min(MOST, self.target.harts):
            best: tuple[float, int, Division] | None = None
            for index in self._near(group):
                apart = now + self._conv(index).estimate
                made = self._tried(group, index, apart)
                gain = apart - made.cycles if made is not None else 0.0
                if made is not None and (best is None or gain > best[0]):
                    best = gain, index, made
            if best is None:
                break
            group, division = sorted([*group, best[1]]), best[2]
            now = division.cycles
            self.groups[first] = group
        if division is not None:
            self.leader |= dict.fromkeys(group, first)
            self.divisions[first] = division

    def _near(self, group: Sequence[int]) -> list[int]:
        """The next layers that the compiler may join to a group."""
        first = group[0]
        found = (
            index
            for index in range(first + 1, min(first + WINDOW, len(self.plans)))
            if index not in group
            and self._free(index)
            and self.asked[index].beside is None
            and not any(self.before[index] >> member & 1 for member in group)
        )
        return list(itertools.islice(found, NEIGHBOURS))

    def _tried(self, group: Sequence[int], index: int, apart: float) -> Division | None:
        """How a layer runs beside a group; None if it cannot, or does not pay."""
        members = sorted([*group, index])
        plans = [self._conv(member) for member in members]
        if len({_format(plan) for plan in plans}) > 1:
            return None
        sizes = [plan.sizes for plan in plans]
        if least(sizes) > GAIN * apart:
            return None
        fixed = [self.asked[member].cores for member in members]
        if sum(cores or 1 for cores in fixed) > self.target.harts or any(cores == 0 for cores in fixed):
            return None
        made = divided(sizes, self.target, fixed, apart)
        if made is None or made.cycles >= GAIN * apart:
            return None
        return made if order(self.before, {**self.groups, members[0]: members}) else None


def _format(plan: ConvPlan) -> str:
    return format_name(plan.x, plan.weights)


# -- who needs whom


def needs(plans: Sequence[LayerPlan]) -> list[int]:
    """Of each layer the earlier ones that have to be complete before it begins, directly or not, as bits.

    Those that write what it reads or writes, and those that read what it writes.
    """
    writers: dict[Storage, int] = {}
    touched: dict[Storage, int] = {}
    before: list[int] = []
    for index, plan in enumerate(plans):
        direct = 0
        for tensor in plan.reads():
            direct |= writers.get(tensor.storage, 0)
        for tensor in plan.writes():
            direct |= touched.get(tensor.storage, 0)
        found = direct
        for other in _bits(direct):
            found |= before[other]
        before.append(found)
        for tensor in plan.reads():
            touched[tensor.storage] = touched.get(tensor.storage, 0) | 1 << index
        for tensor in plan.writes():
            writers[tensor.storage] = writers.get(tensor.storage, 0) | 1 << index
            touched[tensor.storage] = touched.get(tensor.storage, 0) | 1 << index
    return before


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def order(before: Sequence[int], groups: dict[int, list[int]]) -> list[int]:
    """An order of steps, each named by the first of its layers, as near to the old one as can be.

    Args:
        before: Of each layer, those that it needs (`needs`).
        groups: Layers that are one step, by the first of them.

    Returns:
        Empty if there is none: a step would need itself.
    """
    step_of = list(range(len(before)))
    for first, group in groups.items():
        for index in group:
            step_of[index] = first
    if not groups:
        return step_of
    missing: Counter[int] = Counter()
    after: dict[int, list[int]] = {}
    for step in set(step_of):
        mask = 0
        for index in groups.get(step, (step,)):
            mask |= before[index]
        own = {step_of[index] for index in _bits(mask)}
        if step in own:
            return []
        missing[step] = len(own)
        for other in own:
            after.setdefault(other, []).append(step)
    ready = [step for step, count in missing.items() if not count]
    heapq.heapify(ready)
    found: list[int] = []
    while ready:
        step = heapq.heappop(ready)
        found.append(step)
        for other in after.get(step, ()):
            missing[other] -= 1
            if not missing[other]:
                heapq.heappush(ready, other)
    return found if len(found) == len(missing) else []


# -- how many cores, and which tiles


def least(sizes: Sequence[Sizes]) -> float:
    """Cycles below which layers will not come together: products at the peak on all cores."""
    return sum(item.work for item in sizes) / sizes[0].target.harts


def divided(
    sizes: Sequence[Sizes], target: Target, fixed: Sequence[int | None], apart: float = math.inf
) -> Division | None:
    """The cores and tiles with which layers side by side take the fewest estimated cycles; None if they do not fit L1.

    Args:
        sizes: Of each layer.
        target: The machine.
        fixed: Cores of each, None: to be chosen.
        apart: Cycles of the layers one after the other; if cores by work are far from that, it is the end.
    """
    key = ("abreast", tuple(item.key for item in sizes), tuple(fixed), apart)
    known = target.choices
    if key not in known:
        known[key] = _divided(sizes, target, fixed, apart)
    found: Division | None = known[key]
    return found


def _divided(
    sizes: Sequence[Sizes], target: Target, fixed: Sequence[int | None], apart: float
) -> Division | None:
    best = _tiled(sizes, target, _shares(sizes, target.harts, fixed))
    while best is not None and best.cycles < FAR * apart:
        tried = [made for cores in _moves(best, fixed) if (made := _tiled(sizes, target, cores)) is not None]
        better = min(tried, key=lambda made: made.cycles, default=best)
        if better.cycles >= best.cycles:
            break
        best = better
    return best


def _shares(sizes: Sequence[Sizes], harts: int, fixed: Sequence[int | None]) -> tuple[int, ...]:
    """Cores by work: each to whose share is the largest."""
    cores = [count or 1 for count in fixed]
    open_ = [index for index, count in enumerate(fixed) if count is None]
    for _ in range(harts - sum(cores) if open_ else 0):
        cores[max(open_, key=lambda index: sizes[index].work / cores[index])] += 1
    return tuple(cores)


def _moves(division: Division, fixed: Sequence[int | None]) -> Iterator[tuple[int, ...]]:
    """Divisions with one core elsewhere."""
    cores = division.cores
    for giver, taker in itertools.permutations(range(len(cores)), 2):
        if cores[giver] > 1 and fixed[giver] is None and fixed[taker] is None:
            yield tuple(count + (index == taker) - (index == giver) for index, count in enumerate(cores))


def _tiled(sizes: Sequence[Sizes], target: Target, cores: Sequence[int]) -> Division | None:
    """The best tiles for a division of the cores, with L1 in equal parts or in parts like those of the cores."""
    whole, best = target.l1().size, None
    for shares in dict.fromkeys(((1,) * len(sizes), tuple(cores))):
        options = []
        for item, count, part in zip(sizes, cores, shares, strict=True):
            room = whole * part // sum(shares) // 1024 * 1024
            options.append(_ways(replace(item, target=replace(target, cores=count, room=room))))
        if (picked := _matched(options)) is not None:
            made = Division(tuple(cores), *zip(*picked, strict=True))
            best = made if best is None or made.cycles < best.cycles else best
    return best


Way = tuple[Tiling, Cost]


def _ways(sizes: Sizes) -> list[Way]:
    """Tiles of a member: for each number of them those of the lowest cost."""
    known, key = sizes.target.choices, ("ways", sizes.key)
    if key not in known:
        found: dict[int, Way] = {}
        for tiling in sizes.few():
            cost = sizes.estimate(tiling)
            held = found.get(cost.tiles)
            if cost.transfers <= TRANSFERS and (held is None or cost.total < held[1].total):
                found[cost.tiles] = tiling, cost
        ranked = sorted(found.values(), key=lambda way: way[1].total)
        known[key] = [way for way in ranked if way[1].total <= NEAR * ranked[0][1].total][:WAYS]
    made: list[Way] = known[key]
    return made


def _matched(options: Sequence[list[Way]]) -> list[Way] | None:
    """The members' tiles that go together best: for each way of the first, the best of the second, and so on."""
    best: tuple[float, list[Way]] | None = None
    if not all(options):
        return None
    for first in options[0]:
        picked, cycles = [first], 0.0
        for ways in options[1:]:
            costs = [cost for _, cost in picked]
            cycles, number = min((together([*costs, way[1]]), number) for number, way in enumerate(ways))
            picked.append(ways[number])
        if best is None or cycles < best[0]:
            best = cycles, picked
    return None if best is None else best[1]
