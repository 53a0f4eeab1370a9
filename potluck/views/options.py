"""What the command line asks to see of a run, checked before it begins."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from potluck.isa.errors import DataError
from potluck.replacing import replace_text
from potluck.sim.result import Result


@dataclass(frozen=True)
class Views:
    """The options ``--profile``, ``--profile-out``, ``--trace``, ``--trace-format``, ``--window`` and ``--report``."""

    profile: bool = False
    profile_out: Path | None = None
    trace: Path | None = None
    trace_format: str | None = None
    window: str | None = None
    report: Path | None = None

    def options(self, mode: str) -> dict[str, Any]:
        """Arguments of ``api.simulate``, mode included: a trace takes mode traced.

        Raises:
            DataError: the options contradict each other or the mode.
        """
        from potluck.pages.document import check_suffix
        from potluck.views import format_of

        if self.report is not None:
            check_suffix(self.report)
        if self.trace is None:
            for name, value in (("--window", self.window), ("--trace-format", self.trace_format)):
                if value is not None:
                    raise DataError(f"{name} is about a trace: give it a file by --trace FILE")
        else:
            if mode in ("functional", "rtl"):
                raise DataError(f"mode {mode} has no cycles to trace: use timed or traced")
            format_of(self.trace, self.trace_format)
            mode = "traced"
        wanted = self.profile or self.profile_out is not None
        return {"mode": mode, "profile": wanted, "window": _window(self.window)}

    def show(self, console: Console, result: Result) -> None:
        """Print and write what was asked for."""
        if self.profile and result.profile:
            from potluck.views.profile import print_profile

            print_profile(console, result.profile)
        if self.profile_out is not None and result.profile:
            replace_text(self.profile_out, json.dumps(result.profile.to_json(), indent=1) + "\n")
        if self.trace is not None and result.trace:
            from potluck.views import write_trace

            write_trace(result.trace, self.trace, self.trace_format)
            console.print(f"wrote {self.trace}: {result.trace.instructions:,} instructions")
        if self.report is not None:
            from potluck.pages.run import write_page

            words = [Path(sys.argv[0]).name, *sys.argv[1:]]
            console.print(f"wrote {write_page(result.to_json(), self.report, words)}")


def _window(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d*):(\d*)", text.replace("_", ""))
    if not found:
        raise DataError(f"--window {text!r}: expected FIRST:END in cycles; either may be left out")
    return int(found[1] or 0), int(found[2] or 1 << 62)


__all__ = ["Views"]
