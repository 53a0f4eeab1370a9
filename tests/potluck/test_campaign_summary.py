"""Summaries are counts and sequences: whatever the order of trials, and what all values at once would give."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from potluck.benchmarks.campaign_memory import CELLS, INPUTS, campaign, facts, record, spec
from potluck.campaign import store as stores
from potluck.campaign.statistics import Binary, Bounded, mcnemar
from potluck.campaign.store import FORMAT, Store
from potluck.campaign.summary import summarize
from potluck.parallel.folder import Seen
from potluck.parallel.journal import Journal

TRIALS = 400


def written(folder: Path, order: list[int]) -> Store:
    """A campaign's folder with these trials in one journal."""
    store, one = Store(folder), spec(TRIALS)
    store.register({
        "format": FORMAT, "hash": one.hash, "spec": one.model_dump(mode="json"), "base": str(folder), "files": {},
        "versions": {}, "cells": [facts(cell) for cell in range(CELLS)],
    })  # fmt: skip
    with Journal(store.journals) as journal:
        for identity in order:
            journal.append(record(identity))
    return store


def plain(found: dict) -> dict:
    """Without host times, and to 12 digits: a product of matrices depends on where they lie in memory."""
    text = json.dumps({key: value for key, value in found.items() if key != "trial_seconds"})
    return json.loads(text, parse_float=lambda digits: float(f"{float(digits):.12g}"))


def test_the_order_of_trials_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From journals, from tables of several groups, and of a campaign that ran."""
    ids = list(range(CELLS * TRIALS))
    wanted = plain(summarize(written(tmp_path / "ordered", ids)))
    for seed in range(2):
        random.Random(seed).shuffle(ids)
        store = written(tmp_path / f"shuffled{seed}", ids)
        assert plain(summarize(store)) == wanted
        monkeypatch.setattr(stores, "GROUP", 7)
        assert store.compact() == CELLS * TRIALS and not list(store.journals.iterdir())
        assert plain(summarize(store)) == wanted
    seen, found = campaign(tmp_path / "ran", TRIALS)
    assert plain(found) == wanted and seen


def test_summaries_are_those_of_all_values_at_once(tmp_path: Path) -> None:
    """Shares look by look, metrics, and the paired test, from the records themselves."""
    found = summarize(written(tmp_path, list(range(CELLS * TRIALS))))
    silent = []
    for cell, row in enumerate(found["cells"]):
        records = [record(CELLS * number + cell) for number in range(TRIALS)]
        assert row["trials"] == TRIALS and row["stopped_by"] == "max_trials"
        accuracy = Bounded(0.05).update([r["accuracy"] for r in records])
        assert row["accuracy"] == pytest.approx(accuracy.to_json(), rel=1e-12)
        loss = Bounded(0.05, -20, 20).update([r["delta_nll"] for r in records])
        assert row["delta_nll"] == pytest.approx(loss.to_json(), rel=1e-12)
        hits = Bounded(0.05).update([r["sdc1"] / INPUTS for r in records])
        assert row["inputs"]["sdc1"] == pytest.approx(hits.to_json(), rel=1e-12)
        sequence = Binary(0.05)
        for first in range(0, TRIALS, 50):
            sequence.update(sum(r["outcome"] == "sdc" for r in records[first : first + 50]), 50)
        assert row["shares"]["sdc"] == sequence.interval.to_json()
        silent.append({r["number"] for r in records if r["outcome"] == "sdc"})
    (pair,) = found["comparisons"]
    counts = len(silent[1] - silent[0]), len(silent[0] - silent[1])
    assert (pair["only_stack"], pair["only_against"]) == counts and pair["p"] == mcnemar(*counts)


def test_ids_are_bits() -> None:
    rng = random.Random(3)
    ids, seen = [rng.randrange(10**6) for _ in range(2000)], Seen()
    known: set[int] = set()
    for identity in ids:
        assert seen.add(identity) == (identity not in known)
        known.add(identity)
    for identity in range(0, 10**6, 997):
        assert (identity in seen) == (identity in known)
    for end in (0, 1, 8, 12345, 10**6):
        assert seen.below(end).bit_count() == sum(one < end for one in known)
