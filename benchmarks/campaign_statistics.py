"""Simulated campaigns with known answers: how often intervals hold, and how many trials they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.benchmarks.campaign_oracles import hedged_capital, neyman_size, stratified_wilson_size
from potluck.campaign.statistics import (
    Binary,
    Bounded,
    Curve,
    FaultCount,
    Interval,
    Pooled,
    Stop,
    Stratified,
    bootstrap,
    clopper_pearson,
    leveugle,
    wilson,
)

Report = Callable[..., None]
Floats = NDArray[np.float64]
CAMPAIGNS = 1000
REPEATS = 30
"""Campaigns that a mean number of trials comes from."""
LEVEL = 0.95
GOAL = 0.2
"""Half-width over the truth at which trials are counted."""
MOST = 10**8


@dataclass(frozen=True)
class Strata:
    """A population: shares, and the probability of an event in each."""

    name: str
    weights: tuple[float, ...]
    events: tuple[float, ...]

    @property
    def truth(self) -> float:
        """Probability of an event."""
        return float(np.dot(self.weights, self.events))

    @property
    def named(self) -> dict[str, float]:
        """Weights as estimators take them."""
        return {str(place): weight for place, weight in enumerate(self.weights)}

    def strike(self, rng: np.random.Generator, trials: dict[str, int]) -> dict[str, tuple[int, int]]:
        """Events and trials of each stratum."""
        return {name: (int(rng.binomial(n, self.events[int(name)])), n) for name, n in trials.items()}


FIELDS = Strata(  # top exponent bit, other exponent bits, sign, mantissa, of FP32 weights
    "bit fields", (1 / 32, 7 / 32, 1 / 32, 23 / 32), (0.3, 0.002, 0.001, 0.0)
)
RARE = Strata("rare modes", (0.01, 0.09, 0.9), (0.1, 0.001, 0.0))
MODES = Strata("eight modes", (0.125,) * 8, (0.1, 0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4, 0.0))
ALIKE = Strata("eight alike", (0.125,) * 8, (0.01,) * 8)


Looks = Iterator[tuple[Interval, int]]
"""Interval and trials so far, look by look, without end."""
Path = Callable[[np.random.Generator], Looks]
"""A way to run a campaign."""


def looks(growth: float, least: int = 1) -> Iterator[int]:
    """Sizes of batches between looks that grow with the campaign."""
    done = 0
    while True:
        batch = max(least, int(done * growth))
        done += batch
        yield batch


def binary(p: float, growth: float = 0.02) -> Path:
    """A share, looked at after every trial up to 1 / growth, from then on after 1 + growth times as many."""

    def path(rng: np.random.Generator) -> Looks:
        sequence = Binary(1 - LEVEL)
        for batch in looks(growth):
            yield sequence.update(int(rng.binomial(batch, p)), batch), sequence.trials

    return path


def peeking(p: float, growth: float = 0.02) -> Path:
    """The same looks at Wilson's interval: what not to do."""

    def path(rng: np.random.Generator) -> Looks:
        events = trials = 0
        for batch in looks(growth):
            events, trials = events + int(rng.binomial(batch, p)), trials + batch
            yield wilson(events, trials, LEVEL), trials

    return path


def images(rng: np.random.Generator, count: int) -> Floats:
    """Shares of 64 images that a fault changes: most faults none, some a few, some all."""
    kind = rng.random(count)
    return np.where(kind < 0.9, 0.0, np.where(kind < 0.98, rng.binomial(64, 0.05, count) / 64, 1.0))


IMAGES = 0.08 * 0.05 + 0.02


def losses(rng: np.random.Generator, count: int) -> Floats:
    """Changes of NLL clipped to [-1, 10]: heavy tail upwards, small noise both ways."""
    heavy = np.where(rng.random(count) < 0.1, rng.pareto(1.5, count), 0.0)
    return np.clip(heavy + 0.01 * rng.standard_normal(count), -1.0, 10.0)


LOSSES = 0.1 * (2 * (1 - 11**-0.5))
"""Mean of min(Pareto - 1, 10) with exponent 1.5: the integral of (1 + x)^-1.5 from 0 to 10; noise adds little."""


def bounded(draw: Callable[[np.random.Generator, int], Floats], low: float, high: float) -> Path:
    """A bounded metric."""

    def path(rng: np.random.Generator) -> Looks:
        sequence = Bounded(1 - LEVEL, low, high)
        for batch in looks(0.2, 40):
            yield sequence.update(draw(rng, batch)), sequence.trials

    return path


def simple(p: float) -> Path:
    """Simple random sampling under the sequence that pooled strata and curves have."""

    def path(rng: np.random.Generator) -> Looks:
        sequence = Bounded(1 - LEVEL)
        for batch in looks(0.2, 80):
            events = int(rng.binomial(batch, p))
            sequence.add([value for value, n in ((0, batch - events), (1, events)) if n],
                         [n for n in (batch - events, events) if n])  # fmt: skip
            yield sequence.interval, sequence.trials

    return path


def stratified(of: Strata) -> Path:
    """Strata at alpha / H under adaptive Neyman allocation."""

    def path(rng: np.random.Generator) -> Looks:
        sequence = Stratified(of.named, 1 - LEVEL)
        for batch in looks(0.2, 10 * len(of.weights)):
            for name, (events, trials) in of.strike(rng, sequence.allocate(batch)).items():
                sequence.update_binary(name, events, trials)
            yield sequence.interval, sequence.trials

    return path


def pooled(of: Strata) -> Path:
    """All strata in one sequence, reweighted, under adaptive Neyman allocation."""

    def path(rng: np.random.Generator) -> Looks:
        sequence = Pooled(of.named, 1 - LEVEL)
        for batch in looks(0.2, 10 * len(of.weights)):
            interval = sequence.update_binary(of.strike(rng, sequence.allocate(batch)))
            yield interval, sequence.trials

    return path


BITS = 630_000
RATES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4)
DEADLY = 0.01
"""Probability that a flipped bit changes the answer, each for itself."""


def curve(place: int) -> Path:
    """One rate of a curve that one campaign of forced faults serves."""

    def path(rng: np.random.Generator) -> Looks:
        sequence = Curve(BITS, RATES, 1 - LEVEL)
        for batch in looks(0.4, 200):
            counts = sequence.draw(rng.random(batch))
            sequence.update(counts, rng.random(batch) < 1 - (1 - DEADLY) ** counts)
            yield sequence.interval(place), sequence.trials

    return path


def forced(rate: float) -> Path:
    """One rate, forced faults only."""
    count = FaultCount([(BITS, rate)])

    def path(rng: np.random.Generator) -> Looks:
        sequence = Binary(1 - LEVEL)
        for batch in looks(0.02):
            events = rng.random(batch) < 1 - (1 - DEADLY) ** count.draw(rng.random(batch))
            yield count.whole(sequence.update(int(events.sum()), batch)), sequence.trials

    return path


def difference(first: float, second: float) -> Path:
    """Two stacks on the same faults: of those that beat the better one, all beat the other, too."""

    def path(rng: np.random.Generator) -> Looks:
        sequence = Bounded(1 - LEVEL, -1, 1)
        for batch in looks(0.2, 40):
            mark = rng.random(batch)
            interval = sequence.update((mark < first) * 1.0 - (mark < second))
            yield interval, sequence.trials

    return path


def deadly(rate: float) -> float:
    """Probability that a trial at this rate changes the answer."""
    return 1 - (1 - DEADLY * rate) ** BITS


PATHS: dict[str, tuple[Path, float, float]] = {
    "binary, p 0.5": (binary(0.5), 0.5, 0.1),
    "binary, p 0.01": (binary(0.01), 0.01, 0.3),
    "bounded, share of images": (bounded(images, 0, 1), IMAGES, 0.3),
    "bounded, clipped dNLL": (bounded(losses, -1, 10), LOSSES, 0.3),
    "strata at alpha/H, Neyman": (stratified(FIELDS), FIELDS.truth, 0.5),
    "strata pooled, Neyman": (pooled(FIELDS), FIELDS.truth, 0.3),
    "strata pooled, eight modes": (pooled(MODES), MODES.truth, 0.3),
    "reweighted, BER 1e-8": (curve(0), deadly(1e-8), 0.3),
    "reweighted, BER 1e-6": (curve(2), deadly(1e-6), 0.3),
    "reweighted, BER 1e-4": (curve(4), deadly(1e-4), 0.3),
    "forced faults": (forced(1e-7), deadly(1e-7), 0.3),
    "paired difference": (difference(0.05, 0.02), 0.03, 0.3),
}
"""Paths with the truth and the goal of their stopping rule: half-width over the estimate."""


def campaign(path: Path, truth: float, stop: Stop, rng: np.random.Generator) -> tuple[bool, bool, int]:
    """Run until the rule says so.

    Returns:
        Whether the truth was inside at the end, whether at every look, and trials.
    """
    always = True
    for interval, trials in path(rng):
        always &= truth in interval
        if stop.check(interval, trials):
            return truth in interval, always, trials
    raise AssertionError("a path has no end")


def campaigns(path: Path, truth: float, stop: Stop, count: int, seed: int) -> tuple[float, float, float]:
    """Share of campaigns that held at the end, at every look, and mean number of trials."""
    found = [
        campaign(path, truth, stop, np.random.Generator(np.random.Philox(key=[seed, number])))
        for number in range(count)
    ]
    held, always, trials = np.array(found, np.float64).mean(axis=0)
    return float(held), float(always), float(trials)


def coverage(report: Report, count: int = CAMPAIGNS) -> None:
    """How often intervals hold where looking at them stops the campaign."""
    for seed, (name, (path, truth, goal)) in enumerate(PATHS.items()):
        held, always, trials = campaigns(path, truth, Stop(MOST, relative=goal), count, seed)
        report(
            f"coverage {name}", 100 * held, "%",
            f"at every look {100 * always:.1f} %; {count} campaigns, to {goal:.0%} in {trials:,.0f} trials",
            ">= 95", held >= 0.95,
        )  # fmt: skip
    for p, goal in ((0.5, 0.1), (0.01, 0.3)):
        held, always, trials = campaigns(peeking(p), p, Stop(MOST, relative=goal), count, 100)
        report(
            f"coverage Wilson, looked at, p {p}", 100 * held, "%",
            f"same looks and rule; at every look {100 * always:.1f} %; stops after {trials:,.0f}",
        )  # fmt: skip


def fixed(report: Report, count: int = CAMPAIGNS) -> None:
    """Leveugle's sample size with Wilson's interval beside a sequence with the same goal."""
    for p, goal in ((0.5, 0.1), (0.01, 0.3)):
        size = leveugle(goal * p, share=p)
        rng = np.random.Generator(np.random.Philox(7))
        events = rng.binomial(size, p, count)
        for name, interval in (("Wilson", wilson), ("Clopper-Pearson", clopper_pearson)):
            each = {k: p in interval(k, size, LEVEL) for k in np.unique(events).tolist()}
            held = float(np.mean([each[k] for k in events.tolist()]))
            report(
                f"coverage {name}, n fixed, p {p}", 100 * held, "%",
                f"{size:,} trials, Leveugle's number where p is known; {leveugle(goal * p):,} where it is not",
            )  # fmt: skip


def _trials(path: Path, truth: float, seed: int) -> float:
    return campaigns(path, truth, Stop(MOST, half_width=GOAL * truth), REPEATS, seed)[2]


def resampling(report: Report, count: int = CAMPAIGNS) -> None:
    """The bootstrap of a number of trials fixed beforehand, where few of them carry the mean."""
    for size in (100, 1000):
        held = [
            LOSSES
            in bootstrap(losses(np.random.Generator(np.random.Philox(key=[8, number])), size), number, LEVEL)
            for number in range(count)
        ]
        report(
            f"coverage fixed-n bootstrap, dNLL, n {size}",
            100 * float(np.mean(held)),
            "%",
            "approximate by nature",
        )


def published(report: Report) -> None:
    """Half-widths of the hedged capital process over ours, on the same values."""
    draws: dict[str, Callable[[np.random.Generator, int], Floats]] = {
        "share of images": images,
        "uniform": lambda rng, n: rng.random(n),
        "events, p 0.01": lambda rng, n: np.where(rng.random(n) < 0.01, 1.0, 0.0),
    }
    for name, draw in draws.items():
        for size in (1000, 10_000):
            ratios = []
            for number in range(REPEATS):
                values = draw(np.random.Generator(np.random.Philox(key=[9, number])), size)
                low, high = hedged_capital(values, 1 - LEVEL)
                ratios.append((high - low) / 2 / Bounded(1 - LEVEL).update(values).half_width)
            report(f"hedged capital over ours, {name}, n {size}", float(np.mean(ratios)), "x half-width",
                   "Waudby-Smith and Ramdas 2024, one look at the end")  # fmt: skip


def oracles(report: Report) -> None:
    """Trials of a sequence over those of somebody who knows p and fixes their number."""
    for p in (0.5, 0.01, 0.001):
        oracle = neyman_size([1.0], [p], GOAL * p)
        ratio = _trials(binary(p), p, 200) / oracle
        report(f"trials over oracle's, p {p}", ratio, "x", f"{oracle:,.0f} for a half-width of {GOAL:.0%}",
               "<= 6", ratio <= 6)  # fmt: skip


def strata(report: Report) -> None:
    """Trials with strata, without, and of oracles."""
    for of in (FIELDS, RARE, MODES, ALIKE):
        plain = _trials(simple(of.truth), of.truth, 201)
        pool, union = _trials(pooled(of), of.truth, 202), _trials(stratified(of), of.truth, 203)
        normal = neyman_size(of.weights, of.events, GOAL * of.truth)
        score = stratified_wilson_size(of.weights, of.events, GOAL * of.truth)
        alone = neyman_size([1.0], [of.truth], GOAL * of.truth)
        rare = of.truth < 0.01 - 1e-9
        report(f"{of.name}: pooled, fewer", plain / pool, "x",
               f"{pool:,.0f}, simple random {plain:,.0f}; half-width {GOAL:.0%} of {of.truth:.4f}; oracles' gain "
               f"{alone / score:.1f}", ">= 3" if rare else "", plain / pool >= 3 if rare else None)  # fmt: skip
        report(f"{of.name}: alpha/H, fewer", plain / union, "x", f"{union:,.0f} trials")
        report(f"{of.name}: pooled over oracle's", pool / score, "x",
               f"{score:,.0f}: stratified Wilson, best n_h known", "<= 6", pool / score <= 6)  # fmt: skip
        report(f"{of.name}: pooled over Neyman's", pool / normal, "x",
               f"{normal:,.0f}: normal, p_h = 0 taken for granted")  # fmt: skip


def forcing(report: Report) -> None:
    """Trials with forced faults and without."""
    rate = 1e-7
    truth = deadly(rate)
    plain, force = _trials(binary(truth, 0.1), truth, 204), _trials(forced(rate), truth, 205)
    some = FaultCount([(BITS, rate)]).some
    report("forced faults: fewer", plain / force, "x",
           f"{force:,.0f}, simple random {plain:,.0f}; BER {rate:g}, P(K >= 1) {some:.3f}",
           ">= 3", plain / force >= 3)  # fmt: skip
    each = sum(_trials(simple(deadly(r)), deadly(r), 206) for r in RATES)
    whole = max(_trials(curve(place), deadly(r), 207) for place, r in enumerate(RATES))
    report("one forced campaign for five BERs: fewer", each / whole, "x",
           f"{whole:,.0f}, simple random {each:,.0f}", ">= 3", each / whole >= 3)  # fmt: skip


def run(report: Report) -> None:
    """All figures."""
    coverage(report)
    fixed(report)
    resampling(report)
    published(report)
    oracles(report)
    strata(report)
    forcing(report)
