"""The pages build into one site without a warning; the reference has what is declared."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from potluck.cli import app
from potluck.compiler.schemes import schemes
from potluck.isa.formats.elements import FORMATS
from potluck.isa.machine import load_machine
from potluck.isa.table import TABLE
from potluck.reference import PAGES, write
from potluck.reference.results import FIELDS, layer_fields
from potluck.sim.result import LayerResult, Result
from tests.docs.pages import ROOT, pages


def _sphinx(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("sphinx") is None:
        text = "building the pages needs `pip install -e '.[docs]'`"
        if os.environ.get("POTLUCK_REQUIRE_DOCS") == "1":
            pytest.fail(text)
        pytest.skip(text)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", folder / "trees", *arguments]
    return subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """A link to a page, a file or a heading that is not there is a warning; so is a page that no list names."""
    made = _sphinx(tmp_path, "docs", str(tmp_path / "site"))
    assert made.returncode == 0, made.stderr
    names = [page.removeprefix("docs/").removesuffix(".md") for page in pages() if page.startswith("docs/")]
    assert len(names) > 30
    for name in names:
        assert (tmp_path / "site" / f"{name}.html").exists(), name
    start = (tmp_path / "site" / "index.html").read_text()
    assert all(f'href="{name}.html"' in start for name in names if name not in ("index",) and "/" not in name)


@pytest.mark.parametrize("link", ["[x](nowhere.md)", "[x](b.md#nowhere)", "[x](nowhere.toml)"])
def test_a_broken_link_is_found(link: str, tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text('extensions = ["myst_parser"]\nmyst_heading_anchors = 4\n')
    (tmp_path / "index.md").write_text(f"# A\n\n{link}\n\n```{{toctree}}\nb\n```\n")
    (tmp_path / "b.md").write_text("# B\n")
    made = _sphinx(tmp_path, "-b", "dummy", str(tmp_path), str(tmp_path / "site"))
    assert made.returncode != 0 and "nowhere" in made.stderr


def test_the_reference_has_every_declaration(tmp_path: Path) -> None:
    texts = {path.name: path.read_text() for path in write(tmp_path)}
    assert set(texts) == set(PAGES)
    rows = [line for line in texts["instructions.md"].splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] and {row.split("`")[1] for row in rows} == set(TABLE)
    assert len(rows) == len(TABLE)
    for element in FORMATS.values():
        assert f"| `{element.name}` | {element.bits} |" in texts["formats.md"]
    for name in schemes():
        assert f"| `{name}` |" in texts["schemes.md"]
    for group, held in load_machine("spatz-mx").model_dump().items():
        if isinstance(held, dict):
            assert f"## `[{group}]`" in texts["machine.md"]
            assert all(f"| `{key}` |" in texts["machine.md"] for key in held), group
    assert "| `vlen` | integer ≥ 128, ≤ 4096 | `512` | RTL |" in texts["machine.md"]
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f"## potluck {name}\n" in texts["commands.md"]
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert all(option in texts["commands.md"] for option in parameter.opts), (
                    name,
                    parameter.name,
                )
    assert [field for field in FIELDS if f"| `{field}` |" in texts["results.md"]] == list(FIELDS)
    assert list(layer_fields()) == [field.name for field in dataclasses.fields(LayerResult)]
    result = Result({}, "timed", "m", 1.0, *[0] * 4, {}, [], {}, {}, {}, "", 0.0)  # type: ignore[arg-type]
    assert list(result.to_json()) == list(FIELDS)
    before = [path.stat().st_mtime_ns for path in write(tmp_path)]
    assert before == [path.stat().st_mtime_ns for path in write(tmp_path)]
