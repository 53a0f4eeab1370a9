"""The study's page is the tables that its command makes, and nothing else."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from potluck.benchmarks.campaign_study import (
    DECODED,
    FLIPS,
    SCHEMES,
    STACKS,
    decoders,
    interval,
    page,
    separated,
    table,
)

PAGE = Path(__file__).parents[2] / "docs" / "study" / "README.md"


def tables(text: str) -> list[list[str]]:
    """Of a page, in order."""
    found: list[list[str]] = []
    for block in text.split("\n\n"):
        if block.startswith("|"):
            found.append(block.strip().splitlines())
    return found


def cells(line: str, count: int) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.split("|")[1 : count + 1])


def test_the_page_around_the_tables_is_the_generators() -> None:
    """Its text with the number of trials it names, and a row for everything that was asked."""
    text = PAGE.read_text()
    trials = int(text.split("--trials ")[1].split("`")[0])
    found = tables(text)
    assert text == "\n".join(page(found, trials)) and len(found) == 5
    for one in found[:2]:
        assert {cells(line, 2) for line in one[2:]} == {
            (scheme, stack) for scheme in SCHEMES for stack in STACKS
        }
    assert {cells(line, 1) for line in found[2][2:]} == {(kind,) for kind, _ in DECODED}
    assert [cells(line, 2) for line in found[3][2:]] == [(f"flips {n}", s) for n in FLIPS for s in SCHEMES]
    assert len(found[4]) == 2 + len(FLIPS) * len(list(combinations(SCHEMES, 2)))
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120


def test_tables_and_intervals_read_well() -> None:
    assert interval({"estimate": 0.25, "low": 0.125, "high": 0.5}, 100) == "25 [12, 50]"
    assert table(["a", "b"], iter([["1", "2"]])) == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]


def test_formats_are_ranked_where_intervals_lie_apart() -> None:
    many, few = (
        {"scheme": name, "outcomes": {"sdc": n}, "trials": 400} for name, n in (("a", 80), ("b", 20))
    )
    assert separated(many, few) == separated(few, many) == "a"
    near = {"scheme": "c", "outcomes": {"sdc": 70}, "trials": 400}
    assert separated(many, near) == separated(near, many) == "not separated"


def test_real_and_oracle_decoders_side_by_side() -> None:
    """A row for each kind, fault, scheme and on-die code; the difference lies between -100 and 100 points."""
    rows = [line.split("|")[1:-1] for line in decoders(3, 1)[2:]]
    assert len(rows) == 2 * 2 * 2 * 2
    for row in rows:
        low, high = row[6].split("[")[1].strip(" ]").split(",")
        assert -100 <= float(low) <= float(high) <= 100 and 0 <= int(row[7]) <= 3
