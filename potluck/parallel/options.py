"""Options and progress bar of commands that run tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Jobs = Annotated[int, typer.Option("--jobs", "-j", help="Processes of this host; -1: one per processor.")]
SchedulerAddress = Annotated[
    str | None,
    typer.Option("--scheduler", help="A Dask scheduler, tcp://HOST:PORT, instead of processes here."),
]


@contextmanager
def progress(name: str) -> Iterator[Callable[[int, int], object]]:
    """A bar on a terminal, nothing elsewhere."""
    bar = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=bar, transient=True, disable=not bar.is_terminal) as shown:
        task = shown.add_task(name, total=None)
        yield lambda done, most: shown.update(task, completed=done, total=most)
