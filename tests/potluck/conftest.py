"""The command line, run in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from potluck import cli


@pytest.fixture
def potluck(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs a command through the real entry point; gives its exit status and everything printed."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["potluck", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        else:
            status = 0
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run
