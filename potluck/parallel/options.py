"""Options of commands that run tasks."""

from __future__ import annotations

from typing import Annotated

import typer

Jobs = Annotated[int, typer.Option("--jobs", "-j", help="Processes of this host; -1: one per processor.")]
SchedulerAddress = Annotated[
    str | None,
    typer.Option("--scheduler", help="A Dask scheduler, tcp://HOST:PORT, instead of processes here."),
]
