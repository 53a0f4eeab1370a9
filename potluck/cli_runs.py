"""``potluck compare`` and ``potluck replay``: runs that were written down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from potluck.cli_options import JsonPath, console, write_json
from potluck.exits import Exit

SHOWN = 10
"""Differences that are printed."""


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Results (JSON) of run or simulate.")
    ],
    json_path: JsonPath = None,
) -> None:
    """Set runs side by side: cycles, energy and outputs, layer by layer, and what differs in their manifests."""
    from potluck.runs import compare as comparing

    found = comparing.compare(runs)
    comparing.show(found, console)
    write_json(json_path, found)


def replay(
    run: Annotated[
        Path, typer.Argument(help="A result (JSON) of run or simulate; or a campaign's or sweep's folder.")
    ],
    folder: Annotated[
        Path | None, typer.Option(help="Where a run's files are now; default: where they were.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Trials or points at most; default: all.")] = None,
    any_version: Annotated[
        bool, typer.Option("--any-version", help="Also with other versions of packages.")
    ] = False,
    json_path: JsonPath = None,
) -> None:
    """Do a run again from its manifest, and compare every figure and the bytes of every output.

    The exit status is 0 if all are the same, 4 if not.
    """
    from potluck.runs.replay import replay as again

    found = again(run, folder, any_version, count)
    different = found["different"]
    for key, (old, new) in list(different.items())[:SHOWN]:
        console.print(f"{key}: {old} then, {new} now", highlight=False, markup=False, soft_wrap=True)
    many = {"run": "the run", "campaign": f"{found['many']} trials", "sweep": f"{found['many']} points"}[
        found["what"]
    ]
    verdict = f"{len(different)} values differ" if different else "every byte is the same"
    console.print(f"{many} again: {verdict}", highlight=False)
    write_json(json_path, found)
    if different:
        raise typer.Exit(Exit.DIFFERENT)
