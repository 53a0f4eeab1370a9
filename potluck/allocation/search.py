"""SigmaQuant's two phases over any costs and metrics.

Phase 1 clusters the layers by the standard deviation of their weights (`potluck.allocation.clusters`) and gives
clusters of larger deviation more bits, with a growing penalty on unequal clusters until the metric or the cost is near
its target. Phase 2 raises the layers of the largest KL divergence while the metric is short and lowers those of the
smallest while the cost is too high, two at a time, until both targets are met, none of its rounds has brought the
targets nearer for a while, or both are missed beyond their buffers (the "abandon zone").

Training can repair a harsh first clustering, calibration cannot. So without training the abandon zone does not end the
search: it goes on from the last stable assignment, the cheapest one whose metric met its target (``resume``).

Left open by the paper and decided here: no assignment is tried twice (the next layers by rank move instead, so the
search cannot swing between two); of two targets missed within their buffers, the one missed by more buffers is served;
what is returned without success is the assignment that missed by least.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain, combinations, islice

from potluck.allocation.clusters import cluster, normalized

Choice = tuple[str, ...]
"""A scheme for each layer."""
TRIED = 10_000
"""Most groups of layers looked at for one that leads somewhere new."""


@dataclass(frozen=True)
class Problem:
    """Layers, what they may be, and how an assignment is judged.

    Attributes:
        layers: Names.
        ladders: Schemes of each layer, cost and fidelity ascending.
        sigmas: Standard deviation of each layer's weights.
        divergence: KL of (layer, scheme), or another measure of what the scheme does to the layer.
        metric: Of an assignment; larger is better.
        cost: Of an assignment, predicted if it takes a simulation to know.
        measure: The cost itself, where `cost` is a prediction.
    """

    layers: tuple[str, ...]
    ladders: Mapping[str, tuple[str, ...]]
    sigmas: Mapping[str, float]
    divergence: Callable[[str, str], float]
    metric: Callable[[Choice], float]
    cost: Callable[[Choice], float]
    measure: Callable[[Choice], float] | None = None


@dataclass(frozen=True)
class Settings:
    """Targets and the paper's constants.

    Attributes:
        least: The metric's target.
        most: The cost's.
        metric_buffer: How far below `least` phase 1 may end, and phase 2 still hopes.
        cost_buffer: The same above `most`.
        penalty: First penalty of the clustering, and its step.
        first_rounds: Of phase 1.
        rounds: Of phase 2.
        per_round: Layers that move in one.
        patience: Rounds without a smaller miss before it ends.
        resume: Leave the abandon zone for the last stable assignment instead of ending there.
    """

    least: float
    most: float
    metric_buffer: float = 0.01
    cost_buffer: float = 0.0
    penalty: float = 0.1
    first_rounds: int = 3
    rounds: int = 40
    per_round: int = 2
    patience: int = 5
    resume: bool = True


@dataclass(frozen=True)
class Step:
    """One assignment that was tried.

    Attributes:
        phase: 0: the start; 1 or 2.
        round: Within the phase, from 1.
        reason: Why: ``start``, ``clusters``, ``raise``, ``lower``.
        origin: Index of the step it moved away from.
        moved: Layer -> (scheme before, after).
        divergence: Normalized KL of the layers that moved, before.
        penalty: Of the clustering; None in phase 2.
        clusters: Cluster of each layer; empty in phase 2.
        metric: Found.
        cost: Found or predicted.
        measured: The cost where it was simulated.
        zone: Where this leaves the search: ``target``, ``raise``, ``lower`` or ``abandon``.
        choice: The assignment.
    """

    phase: int
    round: int
    reason: str
    origin: int
    moved: Mapping[str, tuple[str, str]]
    divergence: Mapping[str, float]
    penalty: float | None
    clusters: tuple[int, ...]
    metric: float
    cost: float
    measured: float | None
    zone: str
    choice: Choice


@dataclass
class _Search:
    problem: Problem
    settings: Settings
    steps: list[Step] = field(default_factory=list)
    visited: set[Choice] = field(default_factory=set)
    factor: float = 1.0

    def missed(self, metric: float, cost: float) -> tuple[float, float]:
        """How many buffers metric and cost miss their targets by."""
        s = self.settings
        short, over = max(0.0, s.least - metric), max(0.0, cost - s.most)
        return short / max(s.metric_buffer, 1e-12), over / max(s.cost_buffer, 1e-12 * s.most)

    def zone(self, metric: float, cost: float) -> str:
        short, over = self.missed(metric, cost)
        if short == 0 and over == 0:
            return "target"
        if short > 1 and over > 1:
            return "abandon"
        return "raise" if short > over else "lower"

    def take(self, choice: Choice, phase: int, count: int, reason: str, origin: Step | None = None,
             penalty: float | None = None, clusters: tuple[int, ...] = ()) -> Step:  # fmt: skip
        """Judges an assignment and writes it down."""
        p = self.problem
        before = origin.choice if origin is not None else choice
        moved = {name: (a, b) for name, a, b in zip(p.layers, before, choice, strict=True) if a != b}
        scores = self.divergences(before) if moved else {}
        metric, predicted = p.metric(choice), p.cost(choice)
        cost, measured = predicted * self.factor, None
        zone = self.zone(metric, cost)
        if p.measure is not None and zone == "target":
            measured = cost = p.measure(choice)
            self.factor = measured / predicted if predicted > 0 else 1.0
            zone = self.zone(metric, cost)
        place = self.steps.index(origin) if origin is not None else 0
        step = Step(phase, count, reason, place, moved, {name: scores[name] for name in moved}, penalty, clusters,
                    metric, cost, measured, zone, choice)  # fmt: skip
        self.visited.add(choice)
        self.steps.append(step)
        return step

    def divergences(self, choice: Choice) -> dict[str, float]:
        """KL of each layer's scheme over the largest of them."""
        p = self.problem
        raw = {name: p.divergence(name, scheme) for name, scheme in zip(p.layers, choice, strict=True)}
        largest = max(raw.values(), default=0.0)
        return {name: value / largest if largest > 0 else 0.0 for name, value in raw.items()}

    def stable(self) -> Step | None:
        """The cheapest assignment whose metric met its target."""
        met = [step for step in self.steps if step.metric >= self.settings.least]
        return min(met, key=lambda step: step.cost, default=None)

    def clustered(self, penalty: float) -> tuple[Choice, tuple[int, ...]]:
        """Phase 1's assignment: more bits for clusters of larger deviation."""
        p = self.problem
        steps = max(len(ladder) for ladder in p.ladders.values())
        found = cluster(normalized([p.sigmas[name] for name in p.layers]), steps, penalty)
        spare = steps - len(found.means)  # fewer layers than widths: the highest ones
        choice = []
        for name, j in zip(p.layers, found.of, strict=True):
            ladder = p.ladders[name]
            place = (j + spare) / (steps - 1) if steps > 1 else 1.0
            choice.append(ladder[round(place * (len(ladder) - 1))])
        return tuple(choice), found.of

    def moved(self, choice: Choice, by: int) -> Choice | None:
        """Layers one step up or down by rank of their divergence; None if that leads nowhere new."""
        p, scores = self.problem, self.divergences(choice)
        movable = []
        for name, scheme in zip(p.layers, choice, strict=True):
            place = p.ladders[name].index(scheme) + by
            if 0 <= place < len(p.ladders[name]):
                movable.append(name)
        ranked = sorted(movable, key=lambda name: -by * scores[name])
        sizes = range(min(self.settings.per_round, len(ranked)), 0, -1)
        groups = chain.from_iterable(sorted_combinations(ranked, size) for size in sizes)
        for group in islice(groups, TRIED):
            made = tuple(
                p.ladders[name][p.ladders[name].index(scheme) + by] if name in group else scheme
                for name, scheme in zip(p.layers, choice, strict=True)
            )
            if made not in self.visited:
                return made
        return None


def sorted_combinations(ranked: list[str], size: int) -> list[tuple[str, ...]]:
    """Groups of so many, those of the best ranks first."""
    places = combinations(range(len(ranked)), size)
    best = sorted(islice(places, TRIED), key=lambda group: (sum(group), group))
    return [tuple(ranked[i] for i in group) for group in best]


@dataclass(frozen=True)
class Outcome:
    """What a search found.

    Attributes:
        step: The assignment returned.
        status: ``met``, ``infeasible`` (no assignment can cost so little), ``unreachable`` (the metric is short even
            with the highest schemes) or ``not met``.
        reason: The status in words.
        steps: All that were tried, in order.
    """

    step: Step
    status: str
    reason: str
    steps: tuple[Step, ...]


def search(problem: Problem, settings: Settings) -> Outcome:
    """Runs both phases."""
    s, run = settings, _Search(problem, settings)
    top = tuple(problem.ladders[name][-1] for name in problem.layers)
    start = run.take(top, 0, 1, "start")
    lowest = tuple(problem.ladders[name][0] for name in problem.layers)
    floor = problem.cost(lowest)
    if floor * run.factor > s.most and problem.measure is not None:
        floor = problem.measure(lowest)
    if floor > s.most:
        step = run.take(lowest, 0, 2, "lower", start)
        cheapest = (
            "the cheapest assignment, by the table of single layers," if problem.measure else "no assignment"
        )
        costs = "costs" if problem.measure else "of these schemes costs less than"
        reason = f"{cheapest} {costs} {floor:,.6g}; the target is {s.most:,.6g}"
        return Outcome(step, "infeasible", reason, tuple(run.steps))
    if start.zone == "target":
        return Outcome(start, "met", "the highest schemes meet both targets", tuple(run.steps))
    if start.metric < s.least:
        reason = f"the highest schemes reach {start.metric:.6g}; the target is {s.least:.6g}"
        return Outcome(start, "unreachable", reason, tuple(run.steps))

    step = start
    for count in range(1, s.first_rounds + 1):
        penalty = s.penalty * count
        choice, clusters = run.clustered(penalty)
        if choice in run.visited:
            continue
        step = run.take(choice, 1, count, "clusters", start, penalty, clusters)
        short, over = run.missed(step.metric, step.cost)
        if short <= 1 or over <= 1:
            break

    best, since = step, 0
    for count in range(1, s.rounds + 1):
        if step.zone == "target":
            return Outcome(step, "met", f"after {count - 1} rounds of phase 2", tuple(run.steps))
        if step.zone == "abandon":
            stable = run.stable() if s.resume else None
            if stable is None:
                return _ended(run, "both targets are missed beyond their buffers")
            step = stable
        next_choice = run.moved(step.choice, 1 if step.zone == "raise" else -1)
        if next_choice is None:
            return _ended(run, f"no layer is left to {step.zone}")
        step = run.take(next_choice, 2, count, step.zone, step)
        if max(run.missed(step.metric, step.cost)) < max(run.missed(best.metric, best.cost)):
            best, since = step, 0
        else:
            since += 1
        if since >= s.patience and step.zone != "target":
            return _ended(run, f"{since} rounds brought the targets no nearer")
    if step.zone == "target":
        return Outcome(step, "met", f"after {s.rounds} rounds of phase 2", tuple(run.steps))
    return _ended(run, f"{s.rounds} rounds of phase 2 were not enough")


def _ended(run: _Search, why: str) -> Outcome:
    """Back to the assignment that missed by least."""
    step = min(run.steps, key=lambda step: max(run.missed(step.metric, step.cost)))
    s, parts = run.settings, []
    if step.metric < s.least:
        parts.append(f"metric {step.metric:.6g} instead of {s.least:.6g}")
    if step.cost > s.most:
        parts.append(f"cost {step.cost:,.6g} instead of {s.most:,.6g}")
    return Outcome(step, "not met", f"{why}; nearest: {', '.join(parts)}", tuple(run.steps))
