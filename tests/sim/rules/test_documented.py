"""docs/timing.md and the tests of the rules name the same rules, each in the file that the document says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
DOCUMENT = FOLDER.parents[2] / "docs" / "timing.md"


def documented(text: str) -> dict[str, list[str]]:
    """Rules by the test file that the heading above their table names."""
    found: dict[str, list[str]] = {}
    file = ""
    for line in text.splitlines():
        if line.startswith("#"):
            named = re.search(r"`tests/sim/rules/(\w+\.py)`", line)
            file = named.group(1) if named else ""
        elif (row := re.match(r"\| `([a-z0-9-]+)` \|", line)) and file:
            assert len(line.split(" | ")) == 4, f"a rule needs text, source and key: {line}"
            found.setdefault(file, []).append(row.group(1))
    return found


def proven(file: str) -> list[str]:
    """Rules that a file has a test for, in order."""
    tree = ast.parse((FOLDER / file).read_text())
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [name.removeprefix("test_").replace("_", "-") for name in names if name.startswith("test_")]


FILES = sorted(path.name for path in FOLDER.glob("test_*.py") if path != Path(__file__))


@pytest.mark.parametrize("file", FILES)
def test_every_rule_has_a_test_and_every_test_a_rule(file: str) -> None:
    rules = documented(DOCUMENT.read_text()).get(file, [])
    assert sorted(rules) == sorted(proven(file)) and len(set(rules)) == len(rules) > 0


def test_every_documented_file_exists() -> None:
    assert sorted(documented(DOCUMENT.read_text())) == FILES


def test_every_table_of_rules_is_read() -> None:
    """No table with a column for rules stands outside the sections that name a file."""
    text = DOCUMENT.read_text()
    assert text.count("| rule | what | source | key |") == len(FILES)
    assert sum(len(rules) for rules in documented(text).values()) == len(
        re.findall(r"^\| `[a-z0-9-]+` \|", text, re.M)
    )


def test_every_rule_is_proven_on_both_sides() -> None:
    """A test that never asserts a cycle before and the cycle itself proves no rule; the few others say how they do."""
    other = {"core-issue", "core-single-cycle", "core-branch", "controller-issue", "unit-whole-at-vstart"}
    for file in FILES:
        tree = ast.parse((FOLDER / file).read_text())
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                called = {c.func.attr if isinstance(c.func, ast.Attribute) else getattr(c.func, "id", "")
                          for c in ast.walk(node) if isinstance(c, ast.Call)}  # fmt: skip
                rule = node.name.removeprefix("test_").replace("_", "-")
                both = called & {"opens_at", "occupies", "first_word", "busy"}
                assert both or rule in other, rule
