"""docs/conformance.md says what ONNX's node cases do: a seeded sample is run here, all by ``pytest -m slow``."""

from pathlib import Path

import numpy as np
import pytest

from potluck.benchmarks.conformance.cases import cases
from potluck.benchmarks.conformance.page import Row, read, renewed
from potluck.benchmarks.conformance.running import run
from potluck.isa.machine import load_machine

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
SAMPLE = 250


@pytest.fixture(scope="module")
def every():
    return cases()


def check(chosen):
    rows, _ = read(PAGE.read_text())
    stale = []
    for outcome in run(chosen, load_machine("spatz-mx")):
        stated = rows.get(outcome.case, Row("pass"))
        if outcome.status != stated.status:
            stale.append(f"{outcome.case}: {stated.status}, found: {outcome.status} {outcome.reason}")
    assert not stale, "\n".join(
        ["docs/conformance.md: run `python -m potluck.benchmarks.conformance`:", *stale]
    )


def test_a_sample_does_what_the_page_says(every):
    rng = np.random.Generator(np.random.Philox(6))
    names = sorted(name for name, case in every.items() if not case.skip)
    check([every[name] for name in rng.choice(names, SAMPLE, replace=False)])


@pytest.mark.slow
def test_every_case_does_what_the_page_says(every):
    check(list(every.values()))


def test_the_page_names_only_cases_that_exist_and_none_that_is_wrong(every):
    rows, _ = read(PAGE.read_text())
    assert set(rows) <= set(every)
    assert {name for name, case in every.items() if case.skip} == {
        name for name, row in rows.items() if row.status == "skip"
    }
    assert all(row.reason for row in rows.values())
    assert not [name for name, row in rows.items() if row.status in ("wrong", "error")]


def test_the_page_is_what_is_written_from_what_it_says(every):
    page = PAGE.read_text()
    assert renewed(page, every, []) == page
