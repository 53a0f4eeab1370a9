"""docs/campaigns.md: its example runs as written, and it says every key."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from potluck.campaign.spec import Spec, load_spec
from potluck.cli import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "campaigns.md").read_text()


def test_the_example_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    commands = [line.strip() for line in PAGE.splitlines() if line.startswith("    potluck campaign ")]
    assert len(commands) == 3
    for command in commands:
        words = shlex.split(command)[1:]
        result = CliRunner().invoke(app, [*words, "-j", "1"] if "run" in words else words)
        assert result.exit_code == 0, f"{result.output} {result.exception}"
    assert (tmp_path / "resnet8.campaign" / "report.html").exists()


def test_python_in_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(code.replace("trials=100", "trials=2, samples=4"), {})
    assert (tmp_path / "report.html").exists()


def test_the_page_and_the_example_know_every_table() -> None:
    spec = load_spec(ROOT / "examples" / "campaigns" / "resnet8.toml")
    for name in Spec.model_fields:
        assert f"`[{name}]`" in PAGE or f"`[[{name}]]`" in PAGE or f"`{name}`" in PAGE or name == "name"
        assert name in spec.model_fields_set
    schema = (ROOT / "docs" / "campaign.schema.json").read_text()
    for kind in re.findall(r'"const": "([a-z-]+)"', schema):
        assert f"`{kind}`" in PAGE
