"""The study's page is the tables that its command makes, and nothing else."""

from __future__ import annotations

from pathlib import Path

from potluck.benchmarks.campaign_study import SCHEMES, STACKS, interval, page, table

PAGE = Path(__file__).parents[2] / "docs" / "study" / "README.md"


def test_the_page_around_the_tables_is_the_generators() -> None:
    """Its text with the number of trials it names, a row for every scheme and stack, and for both kinds of flips."""
    text = PAGE.read_text()
    trials = int(text.split("--trials ")[1].split("`")[0])
    first, second = ([line for line in part.splitlines() if line.startswith("|")]
                     for part in text.split("## The machine"))  # fmt: skip
    assert text == "\n".join(page(first, second, trials))
    assert {tuple(cell.strip() for cell in line.split("|")[1:3]) for line in first[2:]} == {
        (scheme, stack) for scheme in SCHEMES for stack in STACKS
    }
    assert len(second) == 2 + 2 * len(SCHEMES)
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120


def test_tables_and_intervals_read_well() -> None:
    assert interval({"estimate": 0.25, "low": 0.125, "high": 0.5}, 100) == "25 [12, 50]"
    assert table(["a", "b"], iter([["1", "2"]])) == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]
