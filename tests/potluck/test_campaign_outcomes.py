"""What makes an answer silently wrong: against SciPy's softmax and sorted lists, and against the definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from potluck.campaign.outcomes import Judge, TrialOutcome
from potluck.campaign.spec import Metrics
from potluck.inject.target import Answers, End
from potluck.inject.trial import Observation, Tally
from potluck.isa.errors import CampaignError
from potluck.sim.ecc.interface import Status

N, CLASSES = 40, 12


@pytest.fixture
def golden() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 2, (N, CLASSES)).astype(np.float32)


def faulty(golden: np.ndarray, spread: float, seed: int = 2) -> np.ndarray:
    return golden + np.random.default_rng(seed).normal(0, spread, golden.shape).astype(np.float32)


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.5, 3.0, 20.0])
@pytest.mark.parametrize("outputs", ["logits", "probabilities"])
def test_measures_by_definition(golden: np.ndarray, spread: float, outputs: str) -> None:
    labels = np.random.default_rng(3).integers(0, CLASSES, N)
    given = faulty(golden, spread)
    before, after = softmax(golden.astype(float), axis=1), softmax(given.astype(float), axis=1)
    shown = (golden, given) if outputs == "logits" else (before, after)
    found = Judge(shown[0], labels, Metrics()).measures(shown[1])  # logits or probabilities: by itself
    order = np.argsort(-given, axis=1)
    top = golden.argmax(1)
    left = [top[k] not in order[k, :5] for k in range(N)]
    shift = np.abs(after[np.arange(N), top] / before[np.arange(N), top] - 1)
    assert found.hits["sdc1"] == (order[:, 0] != top).sum()
    assert found.hits["sdc5"] == sum(left)
    assert found.hits["sdc10"] == (shift > 0.1).sum() and found.hits["sdc20"] == (shift > 0.2).sum()
    assert found.hits["critical"] == ((top == labels) & (order[:, 0] != labels)).sum()
    assert found.accuracy == pytest.approx((order[:, 0] == labels).mean())
    rows = np.arange(N)
    change = (
        log_softmax(golden.astype(float), 1)[rows, labels] - log_softmax(given.astype(float), 1)[rows, labels]
    )
    assert found.delta_nll == pytest.approx(np.clip(change, -20, 20).mean(), abs=1e-9)
    assert found.clipped == (np.abs(change) > 20).sum()
    assert found.alike == (spread == 0) and found.nonfinite == 0
    if spread == 20.0:
        assert found.hits["sdc5"] and found.clipped


def test_sdc10_is_not_sdc20(golden: np.ndarray) -> None:
    found = Judge(golden, None, Metrics()).measures(faulty(golden, 0.5))
    assert N > found.hits["sdc10"] > found.hits["sdc20"] > found.hits["sdc5"]


def test_not_a_number_is_a_wrong_answer(golden: np.ndarray) -> None:
    given = golden.copy()
    given[0, 3], given[1, golden[1].argmax()], given[2, golden[2].argmin()] = np.nan, np.inf, -np.inf
    found = Judge(golden, None, Metrics()).measures(given)
    assert found.nonfinite == 3 and found.hits["sdc1"] == 1 and found.hits["sdc5"] == 1
    assert np.isfinite(found.delta_nll) and found.hits["difference"] == 3
    whole = Judge(golden, None, Metrics()).measures(np.full_like(golden, np.nan))
    assert whole.accuracy == 0 and whole.delta_nll == 20 and whole.hits["sdc10"] == N


def test_positions_count_with_their_input() -> None:
    golden = np.zeros((3, 4, 6), np.float32)
    golden[..., 2] = 5
    given = golden.copy()
    given[1, 2] = [9, 0, 5, 0, 0, 0]
    labels = np.full((3, 4), 2)
    found = Judge(golden, labels, Metrics()).measures(given)
    assert found.hits["sdc1"] == 1 and found.accuracy == pytest.approx(11 / 12)
    change = log_softmax(golden[1, 2].astype(float))[2] - log_softmax(given[1, 2].astype(float))[2]
    assert found.delta_nll == pytest.approx(change / 12)


def observation(values: np.ndarray | None, ends: dict[int, End] | None = None, due: bool = False,
                stopped: bool = False) -> Observation:  # fmt: skip
    tally = Tally()
    tally.counts[0, Status.DUE if due else Status.CORRECTED, 0] = 1
    answers = None
    if values is not None:
        kinds = np.zeros(len(values), np.uint8)
        for k, end in (ends or {}).items():
            kinds[k] = end
        answers = Answers(values, kinds)
    return Observation(0, 1, 1, 1, tally, values is not None, stopped, answers)


def test_one_outcome_each(golden: np.ndarray) -> None:
    judge = Judge(golden, None, Metrics())
    wrong, spoiled, near = faulty(golden, 9.0), golden.copy(), golden.copy()
    spoiled[0, 0] = np.nan
    near[0, 0] += np.float32(1e-3)
    for seen, outcome in (
        (observation(None), TrialOutcome.MASKED),
        (observation(golden.copy()), TrialOutcome.MASKED),
        (observation(near), TrialOutcome.TOLERABLE),
        (observation(wrong), TrialOutcome.SDC),
        (observation(spoiled), TrialOutcome.NONFINITE),
        (observation(spoiled, {1: End.HANG}), TrialOutcome.HANG),
        (observation(spoiled, {1: End.HANG, 2: End.CRASH}), TrialOutcome.CRASH),
        (observation(wrong, due=True), TrialOutcome.DUE),
        (observation(None, stopped=True), TrialOutcome.DUE),
    ):
        assert judge.judge(seen)[0] is outcome


def test_how_many_inputs_and_which_criterion_make_an_sdc(golden: np.ndarray) -> None:
    given = golden.copy()
    given[:3] = -given[:3]
    for metrics, outcome in (
        (Metrics(inputs=3), TrialOutcome.SDC),
        (Metrics(inputs=4), TrialOutcome.TOLERABLE),
        (Metrics(sdc="difference", tolerance=0.5, inputs=3), TrialOutcome.SDC),
        (Metrics(sdc="difference", tolerance=1e9), TrialOutcome.TOLERABLE),
    ):
        assert Judge(golden, None, metrics).judge(observation(given))[0] is outcome


def test_networks_without_classes() -> None:
    golden = np.ones((4, 1), np.float32)
    with pytest.raises(CampaignError, match=r"metrics.sdc.*needs classes"):
        Judge(golden, None, Metrics())
    found = Judge(golden, None, Metrics(sdc="difference")).measures(golden * np.float32(1.02))
    assert found.hits["difference"] == 4 and found.accuracy != found.accuracy
    with pytest.raises(CampaignError, match="has 3 labels for 2 answers"):
        Judge(np.ones((2, 5)), np.zeros(3, int), Metrics())
