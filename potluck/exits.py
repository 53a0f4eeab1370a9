"""Exit statuses of the command line, declared once; ``potluck --help`` shows them."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """A status."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_MET = 3
    DIFFERENT = 4
    INTERRUPTED = 130


MEANING = {
    Exit.OK: "what was asked for is done",
    Exit.FAILED: "it cannot be done, or a check failed: one message says why, and what to do",
    Exit.USAGE: "no such command or option, or one without its value",
    Exit.NOT_MET: "a target that was set is not met; the nearest that there is was written (allocate)",
    Exit.DIFFERENT: "it was done again, or in RTL, and came out differently (replay, --mode rtl)",
    Exit.INTERRUPTED: "Ctrl-C; nothing is half-written, and what can go on goes on when called again",
}


def epilog() -> str:
    """For ``--help``."""
    lines = "  \n".join(f"{int(status)}: {meaning}." for status, meaning in MEANING.items())
    return f"Exit status\n\n{lines}\n\nsimulate gives the status of the program that it executes."
