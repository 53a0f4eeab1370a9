"""docs/isa_coverage.md, which the campaign wrote: every legal place was met, and nothing is unexplained."""

from __future__ import annotations

from pathlib import Path

from tests.differential.campaign import Campaign, all_groups, cells
from tests.differential.coverage import markdown
from tests.differential.latitude import LATITUDE
from tests.differential.scope import groups

PAGE = (Path(__file__).parents[2] / "docs" / "isa_coverage.md").read_text()
RENEW = "run the campaign again: docs/differential.md"


def test_the_page_shows_every_row_at_every_legal_place() -> None:
    complete = Campaign(1)
    complete.coverage.update(cell for rows in groups().values() for row in rows for cell in cells(row))
    _, wanted = markdown(complete).split("## Rows that did not run")
    assert PAGE.split("## Rows that did not run")[1] == wanted, RENEW


def test_the_page_counts_a_million_instructions_of_each_group_and_no_unexplained_difference() -> None:
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.count(" | ") == 4]
    figures = {row[0]: row[1:] for row in rows if row[0] in all_groups()}
    assert sorted(figures) == sorted(all_groups()), RENEW
    for name, (instructions, _, unexplained, latitude) in figures.items():
        assert int(instructions.replace(",", "")) >= 1_000_000, (name, RENEW)
        assert unexplained == "0", (name, RENEW)
        met = [] if latitude == "none" else [part.rpartition(": ")[0] for part in latitude.split(", ")]
        assert set(met) <= set(LATITUDE), name
