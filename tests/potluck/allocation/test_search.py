"""The two phases on problems whose answers are known, and against every assignment there is."""

import dataclasses
import itertools

import numpy as np
import pytest

from potluck.allocation.search import Problem, Settings, search
from potluck.allocation.targets import parse
from potluck.isa.errors import DataError

WIDTHS = ("2", "4", "6", "8")


def problem(seed=0, count=6, widths=WIDTHS, **given):
    """Layers with sizes and sensitivities; a step of bits takes a quarter of the noise's power away."""
    rng = np.random.default_rng(seed)
    names = tuple(f"layer{i}" for i in range(count))
    sizes = dict(zip(names, rng.integers(1, 40, count) * 10, strict=True))
    noise = dict(zip(names, rng.random(count) + 0.1, strict=True))

    def divergence(name, width):
        return noise[name] * 4.0 ** -widths.index(width)

    def metric(choice):
        return 1 - sum(divergence(*pair) for pair in zip(names, choice, strict=True)) / 4

    def cost(choice):
        return float(sum(sizes[name] * int(width) for name, width in zip(names, choice, strict=True)))

    sigmas = dict(zip(names, rng.random(count), strict=True))
    ladders = dict.fromkeys(names, widths)
    return dataclasses.replace(Problem(names, ladders, sigmas, divergence, metric, cost), **given)


def bounds(p, share, loss):
    top = tuple(p.ladders[name][-1] for name in p.layers)
    return Settings(p.metric(top) - loss, share * p.cost(top), 0.01, 0.05 * p.cost(top))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("share", "loss"), [(0.8, 0.02), (0.6, 0.05), (0.5, 0.3), (0.35, 0.05), (0.2, 0.01)])
def test_what_it_says_is_so(seed, share, loss):
    p = problem(seed)
    s = bounds(p, share, loss)
    found = search(p, s)
    every = [(p.metric(c), p.cost(c)) for c in itertools.product(*(p.ladders[name] for name in p.layers))]
    possible = any(metric >= s.least and cost <= s.most for metric, cost in every)
    choice = found.step.choice
    assert (found.step.metric, found.step.cost) == (p.metric(choice), p.cost(choice))
    if found.status == "met":
        assert found.step.metric >= s.least
        assert found.step.cost <= s.most
    else:
        assert (found.status == "infeasible") == (min(cost for _, cost in every) > s.most)
    if not possible:
        assert found.status != "met"
    tried = [step.choice for step in found.steps]
    assert len(set(tried)) == len(tried)


def test_most_feasible_targets_are_found():
    hits = total = 0
    for seed, share in itertools.product(range(10), (0.6, 0.7, 0.8)):
        p = problem(seed, 5)
        s = bounds(p, share, 0.15)
        every = itertools.product(*(p.ladders[name] for name in p.layers))
        if any(p.metric(c) >= s.least and p.cost(c) <= s.most for c in every):
            total += 1
            hits += search(p, s).status == "met"
    assert total >= 15
    assert hits >= 0.85 * total


def test_phase_1_gives_clusters_of_larger_deviation_more_bits():
    deviations = [0.1157, 0.0513, 0.0421, 0.0380, 0.0365, 0.0092, 0.0101, 0.0280]
    p = problem(count=8)
    p = dataclasses.replace(p, sigmas=dict(zip(p.layers, deviations, strict=True)))
    found = search(p, bounds(p, 0.6, 0.3))
    first = next(step for step in found.steps if step.phase == 1)
    assert list(first.choice) == [str(bits) for bits in (8, 8, 6, 6, 4, 2, 2, 4)]
    assert (first.penalty, first.clusters) == (0.1, (3, 3, 2, 2, 1, 0, 0, 1))


def test_rounds_move_the_layers_of_extreme_divergence():
    p = problem(3, count=7)
    found = search(p, dataclasses.replace(bounds(p, 0.7, 0.004), resume=True))
    rounds = [step for step in found.steps if step.phase == 2]
    assert rounds
    for step in rounds:
        origin = found.steps[step.origin]
        widths = dict(zip(p.layers, origin.choice, strict=True))
        assert 1 <= len(step.moved) <= 2
        for name, (before, after) in step.moved.items():
            assert widths[name] == before
            assert WIDTHS.index(after) - WIDTHS.index(before) == (1 if step.reason == "raise" else -1)
        # the origin's first round takes exactly the extreme ones
        if not any(
            other.origin == step.origin and other.reason == step.reason
            for other in rounds[: rounds.index(step)]
        ):
            sign = -1 if step.reason == "raise" else 1
            end = WIDTHS[-1] if step.reason == "raise" else WIDTHS[0]
            free = sorted(
                (n for n in p.layers if widths[n] != end), key=lambda n: sign * p.divergence(n, widths[n])
            )
            made = tuple(step.moved[n][1] if n in step.moved else widths[n] for n in p.layers)
            if set(step.moved) != set(free[:2]):
                expected = tuple(
                    WIDTHS[WIDTHS.index(widths[n]) - sign] if n in free[:2] else widths[n] for n in p.layers
                )
                assert expected in [other.choice for other in found.steps[: found.steps.index(step)]]
                assert made == step.choice


def test_impossible_targets_are_said_to_be():
    p = problem()
    found = search(p, bounds(p, 0.2, 0.05))
    assert found.status == "infeasible"
    assert found.step.choice == ("2",) * 6
    assert "no assignment" in found.reason
    s = bounds(p, 0.6, 0)
    found = search(p, dataclasses.replace(s, least=s.least + 0.1))
    assert found.status == "unreachable"
    assert found.step.choice == ("8",) * 6


def test_abandon_zone_ends_the_paper_s_search_and_resumes_ours():
    p = problem(1, sigmas={f"layer{i}": 1.0 - i for i in range(6)})
    p = dataclasses.replace(p, metric=lambda choice: 1.0 if "2" not in choice else 0.0)
    s = dataclasses.replace(bounds(p, 0.6, 0.01), cost_buffer=1.0)
    ours, paper = search(p, s), search(p, dataclasses.replace(s, resume=False))
    assert ours.status == "met"
    if paper.steps[-1].zone == "abandon":
        assert paper.status == "not met"
        assert "beyond their buffers" in paper.reason


def test_predictions_are_corrected_by_measurements():
    p = problem(2)
    measured = []

    def measure(choice):
        measured.append(choice)
        return 1.2 * p.cost(choice)

    s = bounds(p, 0.9, 0.15)
    found = search(dataclasses.replace(p, measure=measure), s)
    assert found.status == "met"
    assert found.step.measured == 1.2 * p.cost(found.step.choice) <= s.most
    assert measured[-1] == found.step.choice


def test_layers_of_one_scheme_stay():
    p = problem(4)
    p = dataclasses.replace(p, ladders={**p.ladders, "layer0": ("8",)})
    found = search(p, bounds(p, 0.7, 0.05))
    assert {step.choice[0] for step in found.steps} == {"8"}


def test_targets():
    assert parse("size=75%").bound(1000) == 750
    assert parse("cycles=2e5").bound(1) == 2e5
    assert str(parse("joules=25%")) == "joules=25%"
    for text in ("size", "weight=3", "size=-1", "size=many", "size=0%", "bops=inf"):
        with pytest.raises(DataError, match="--target"):
            parse(text)
