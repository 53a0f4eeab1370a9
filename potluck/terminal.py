"""What the command line shows while it works: a bar with the time left for whatever takes longer than `PATIENCE`.

Bars go to standard error, and only if that is a terminal; so results that are piped or written stay what they are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from potluck.isa.progress import Probe, Tell, listening

if TYPE_CHECKING:
    from rich.console import Console

PATIENCE = 2.0
"""Seconds of work that nobody needs a bar for."""
PERIOD = 0.25
"""Seconds between two looks."""


@dataclass(eq=False)
class _Task:
    name: str
    total: float | None
    probe: Probe | None
    began: float
    done: float = 0.0
    shown: Any = None


class Bars:
    """Draws tasks that last, until they end.

    Args:
        console: of standard error.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tasks: list[_Task] = []
        self._lock = threading.Lock()
        self._progress: Any = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def task(self, name: str, total: float | None, probe: Probe | None) -> Iterator[Tell]:
        """See `potluck.isa.progress.Listener`."""
        one = _Task(name, total, probe, time.monotonic())

        def tell(done: float, total: float | None = None) -> None:
            one.done = done
            if total is not None:
                one.total = total

        with self._lock:
            self._tasks.append(one)
            if self._thread is None:
                self._thread = threading.Thread(target=self._draw, daemon=True)
                self._thread.start()
        try:
            yield tell
        finally:
            with self._lock:
                self._tasks.remove(one)
                if one.shown is not None:
                    self._progress.remove_task(one.shown)
                if not self._tasks:
                    self._clear()

    def close(self) -> None:
        """Draw no more, and leave no trace."""
        self._over.set()
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _draw(self) -> None:
        while not self._over.wait(PERIOD):
            with self._lock:
                for one in self._tasks:
                    if time.monotonic() - one.began >= PATIENCE:
                        self._update(one)

    def _update(self, one: _Task) -> None:
        if self._progress is None:
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            # Both streams stay as they are: what is printed meanwhile may go into a file.
            self._progress = Progress(
                TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(),
                TimeRemainingColumn(),
                TextColumn("left"), console=self._console, transient=True, redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip
            self._progress.start()
        if one.shown is None:
            one.shown = self._progress.add_task(one.name, total=one.total)
        with suppress(IndexError, KeyError, RuntimeError):  # the work goes on while it is looked at
            if one.probe is not None:
                one.done = one.probe()
        self._progress.update(one.shown, completed=one.done, total=one.total)


@contextmanager
def bars() -> Iterator[None]:
    """Show how far work has come, if anybody can see it."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield
        return
    drawn = Bars(console)
    try:
        with listening(drawn):
            yield
    finally:
        drawn.close()
