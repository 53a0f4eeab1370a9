"""Which trials come next depends on outcomes alone, not on the order or the pieces in which they came."""

from __future__ import annotations

import random

import numpy as np
import pytest

from potluck.campaign.cells import place_of
from potluck.campaign.plan import Progress
from potluck.campaign.spec import Spec, validated
from potluck.campaign.statistics import Binary, Pooled

SHARES = (0.02, 0.5, 0.0, 0.3)
FIT = (90.0, 3.0, 5.0, 20.0)


def spec(**stop: object) -> Spec:
    faults = [{"kind": "flips"}]
    return validated({"seed": 1, "network": {"model": "demo"}, "faults": faults, "stop": stop})


def facts(fit: bool = False, numbers: list[int] | None = None) -> list[dict]:
    made = [{"cell": k, "numbers": numbers, "scheme": "a", "entry": 0, "stack": "none"} for k in range(4)]
    return (
        [one | {"fit": FIT[k], "exposure": 1.0, "faults": str(k)} for k, one in enumerate(made)]
        if fit
        else made
    )


def outcome(identity: int) -> str:
    cell, number = place_of(identity, 4)
    u = np.random.Generator(np.random.Philox(key=[cell, number])).random()
    return "sdc" if u < SHARES[cell] else "masked" if u < 0.9 else "due"


def finish(progress: Progress, shuffle: random.Random | None = None, piece: int = 10**9) -> list[int]:
    """Run to the end; ids in the order in which they were asked for."""
    asked = []
    while due := progress.due():
        if shuffle is not None:
            shuffle.shuffle(due)
        asked += due[:piece]
        progress.add({"id": k, "outcome": outcome(k)} for k in due[:piece])
        assert progress.done <= progress.most
    return asked


@pytest.mark.parametrize("fit", [False, True])
@pytest.mark.parametrize("goal", [{"relative": 0.5}, {"half_width": 0.06}, {}])
def test_pieces_and_order_change_nothing(fit: bool, goal: dict) -> None:
    if fit:
        goal = {key: value * 100 if key == "half_width" else value for key, value in goal.items()}
    one = spec(trials=300, every=20, allocation="neyman" if fit else "equal", **goal)
    calm = Progress(one, facts(fit))
    asked = finish(calm)
    for seed in range(3):
        pieces = Progress(one, facts(fit))
        assert sorted(finish(pieces, random.Random(seed), 7)) == sorted(asked)
        assert pieces.final == calm.final and pieces.reasons == calm.reasons
        assert [pieces.batches(k) for k in range(4)] == [calm.batches(k) for k in range(4)]
    assert calm.done == len(asked) == sum(calm.final) == calm.most
    again = Progress(one, facts(fit))
    again.add({"id": k, "outcome": outcome(k)} for k in reversed(asked))
    assert again.due() == [] and again.final == calm.final


def test_a_cell_stops_where_its_sequence_is_narrow() -> None:
    progress = Progress(spec(trials=400, every=20, half_width=0.08), facts())
    finish(progress)
    for cell, (count, reason) in enumerate(zip(progress.final, progress.reasons, strict=True)):
        widths, sequence = [], Binary(0.05)
        for first in range(0, count, 20):
            found = [outcome(4 * n + cell) for n in range(first, first + 20)]
            widths.append(sequence.update(found.count("sdc"), 20).half_width)
        assert reason == ("half_width" if count < 400 else reason)
        assert widths[-1] <= 0.08 or count == 400
        assert all(width > 0.08 for width in widths[:-1])
    assert progress.final[2] < progress.final[1]  # a certain outcome is known sooner


def test_trials_go_where_they_narrow_the_rate() -> None:
    """Of four modes, those that weigh little get the least; the interval is that of the batches, and holds the rate."""
    one = spec(trials=2000, every=50, relative=0.25, allocation="neyman")
    progress = Progress(one, facts(True))
    finish(progress)
    final = progress.final
    assert set(progress.reasons) == {"relative"} and sum(final) < 8000
    assert final[3] > final[1] and final[3] > final[2] and sum(final) % 200 == 0
    pooled, done = Pooled({str(k): FIT[k] for k in range(4)}, 0.05), [0] * 4
    for sizes in zip(*(progress.batches(k) for k in range(4)), strict=True):
        counts = {}
        for k, size in enumerate(sizes):
            found = [outcome(4 * n + k) for n in range(done[k], done[k] + size)]
            counts[str(k)], done[k] = (found.count("sdc"), size), done[k] + size
        pooled.update_binary(counts)
    assert done == final
    truth = sum(weight * share for weight, share in zip(FIT, SHARES, strict=True))
    assert pooled.interval.half_width <= 0.25 * pooled.interval.estimate and truth in pooled.interval


def test_lists_end_where_they_end() -> None:
    progress = Progress(spec(trials=50), facts(numbers=[4, 7, 9]))
    assert len(finish(progress)) == 12 and progress.final == [3] * 4 and progress.most == 12


def test_what_ran_beyond_the_end_does_not_count() -> None:
    """Another host's orphans may write on: a stopped cell keeps its number."""
    progress = Progress(spec(trials=100, every=10, threshold=0.9), facts())
    finish(progress)
    final = progress.final
    assert max(final) < 100
    progress.add({"id": k, "outcome": "sdc"} for k in range(400))
    assert progress.final == final and progress.due() == []
