"""What people and programs see of a command: bars on a terminal, silence in a pipe, JSON, statuses, completion."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.main import get_command

from potluck import cli, terminal
from potluck.assets import model_path
from potluck.exits import MEANING, Exit
from potluck.isa import progress

EAGER = """
import sys
from potluck import cli, terminal
terminal.PATIENCE, terminal.PERIOD = 0.0, 0.02
sys.argv = ["potluck", *sys.argv[1:]]
cli.main()
"""
NO_RESULT = {"campaign schema"}
"""Commands whose output is a file's text itself."""


def _read(descriptor: int) -> bytes:
    found = b""
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # Linux's way of saying that the other end is closed
            return found
        if not part:
            return found
        found += part


def _timeless(text: str) -> str:
    return re.sub(r"in [\d.]+ s of host time \(\d+ MIPS\)", "", text)


def test_bars_on_a_terminal_and_nothing_in_a_pipe(tmp_path: Path) -> None:
    """Standard output is the same, byte by byte, whether anybody watches or not."""
    words = [sys.executable, "-c", EAGER, "run", str(model_path()), "--scheme", "mxfp8"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    piped = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert piped.stderr == "" and "\x1b" not in piped.stdout
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=theirs, cwd=tmp_path, env=environment
    ) as process:
        os.close(theirs)
        shown = _read(ours).decode()
        assert process.stdout is not None
        told = process.stdout.read().decode()
    os.close(ours)
    assert process.returncode == 0 and _timeless(told) == _timeless(piped.stdout)
    assert "simulation" in shown and "left" in shown and "Traceback" not in shown


def test_a_bar_shows_what_is_done_of_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "PATIENCE", 0.0)
    monkeypatch.setattr(terminal, "PERIOD", 0.01)
    console = Console(force_terminal=True, width=100, file=open(os.devnull, "w"), record=True)  # noqa: SIM115
    bars = terminal.Bars(console)
    with progress.listening(bars):
        with progress.task("half of it", 8) as tell, progress.task("asked", 4, lambda: 1.0):
            tell(4, None)
            until = time.monotonic() + 20
            while "50%" not in (text := console.export_text(clear=False)) or "25%" not in text:
                assert time.monotonic() < until, text
                time.sleep(0.02)
        seen = list(progress.steps([1, 2, 3], "few"))
    bars.close()
    assert seen == [1, 2, 3] and list(progress.steps([4], "unheard")) == [4]


def _commands() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, command in get_command(cli.app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {f"{name} {key}": value for key, value in inner.items()} if inner else {name: command}
    return found


def test_every_command_with_a_result_writes_json() -> None:
    without = {
        name for name, one in _commands().items() if "--json" not in [o for p in one.params for o in p.opts]
    }
    assert without == NO_RESULT


@pytest.mark.parametrize("words", ["schemes", "isa", "doctor"])
def test_json_on_standard_output(words: str) -> None:
    """Nothing else is there; what is for people goes to standard error."""
    command = [sys.executable, "-m", "potluck", words, "--json", "-"]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(made.stdout) and made.stderr


def test_statuses(potluck: Any, tmp_path: Path) -> None:
    """All are in the help; the others have tests of their own: allocate, replay, an interrupt."""
    told = potluck("--help")[1]
    for status, meaning in MEANING.items():
        assert f"{int(status)}: {meaning[:20]}" in told
    assert set(MEANING) == set(Exit)
    assert potluck("schemes")[0] == Exit.OK
    assert potluck("isa", "vad.vv")[0] == Exit.FAILED
    assert potluck("simulate")[0] == potluck("nothing")[0] == potluck("isa", "--nothing")[0] == Exit.USAGE


@pytest.mark.parametrize(
    ("line", "wanted"),
    [("run --machine s", "spatz-mx"), ("run --scheme mxfp", "mxfp8"), ("zoo mob", "mobilenetv2"),
     ("compile --sched", "--schedule-out")],
)  # fmt: skip
def test_completion(line: str, wanted: str) -> None:
    words = ["potluck", *line.split()]
    environment = os.environ | {
        "_POTLUCK_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)
    }  # fmt: skip
    code = "import sys; sys.argv = ['potluck']; from potluck.cli import main; main()"
    made = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert wanted in made.stdout.split(), made
