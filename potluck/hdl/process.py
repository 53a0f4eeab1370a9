"""Tools as child processes: output to a log, an error that shows its end, nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from potluck.isa.errors import RtlError

_TAIL_LINES = 60


def tail(log: Path, lines: int = _TAIL_LINES) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def run_logged(
    command: Sequence[str | Path],
    log: Path,
    environment: Mapping[str, str],
    unit: str,
    timeout: float,
    stdin: str = "",
) -> None:
    """Run a command in the log's folder.

    Args:
        command: program and arguments.
        log: file for both output streams.
        environment: all variables of the process.
        unit: named in errors.
        timeout: seconds after which it and all its children are killed.
        stdin: text it may read.

    Raises:
        RtlError: it fails or takes too long; carries the log's end.
    """
    name = Path(command[0]).name
    with log.open("w") as file:
        child = subprocess.Popen(
            [str(part) for part in command],
            cwd=log.parent,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            child.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise RtlError(f"{name} took longer than {timeout:g} s", unit=unit, log=tail(log)) from None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if child.returncode:
        raise RtlError(f"{name} exited {child.returncode}", unit=unit, log=tail(log))
