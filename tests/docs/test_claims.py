"""docs/claims.md: commands that exist, verdicts that it declares, and numbers that stand on the pages it names."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass

import pytest

from potluck.benchmarks import BENCHMARKS
from tests.docs.pages import ROOT, text_of

PAGE = "docs/claims.md"


@dataclass(frozen=True)
class Row:
    claim: str
    command: str
    here: str
    on: str
    verdict: str


def _rows() -> list[Row]:
    found = []
    for line in text_of(PAGE).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 5 and cells[0] != "claim" and not set(line) <= set("|-"):
            found.append(Row(*cells))
    return found


ROWS = _rows()
VERDICTS = re.findall(r"^\| ([a-z ]+) \| [^|]+ \|$", text_of(PAGE), re.M)[1:]


def test_there_are_claims_of_every_paper() -> None:
    assert len(ROWS) >= 30
    assert text_of(PAGE).count("\n## ") == 5
    assert VERDICTS[:3] == ["reproduced", "fitted", "exceeded"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.claim[:50])
def test_the_row_can_be_checked(row: Row) -> None:
    assert row.verdict.startswith((*VERDICTS, "not claimed")), row.verdict
    commands = re.findall(r"`((?:potluck|python) [^`]*)`", row.command)
    assert commands or row.verdict.startswith("not tested") or row.command.startswith("the same with `--")
    for command in commands:
        words = command.split()
        if words[:2] == ["potluck", "bench"]:
            assert set(words[2:]) <= set(BENCHMARKS)
        elif words[:3] == ["python", "-m", "pytest"]:
            assert all((ROOT / word).exists() for word in words[3:])
        elif words[0] == "python":
            assert importlib.util.find_spec(words[2])
        for word in words:
            if word.startswith("examples/"):
                assert (ROOT / word).exists()


@pytest.mark.parametrize("row", [row for row in ROWS if row.here], ids=lambda row: row.claim[:50])
def test_its_numbers_stand_on_the_page_it_names(row: Row) -> None:
    match = re.search(r"\]\(([^)#]+)", row.on)
    assert match, row.claim
    target = (ROOT / "docs" / match[1]).resolve().relative_to(ROOT)
    page = text_of(str(target))
    for number in re.findall(r"(?<![\w-])[-−]?\.?\d[\d,.]*(?:e-\d+)?(?![\w-])", row.here):
        number = number.rstrip(",.")
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d])", page), (row.claim, number, str(target))
