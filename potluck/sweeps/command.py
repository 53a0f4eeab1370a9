"""``potluck sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from potluck.cli_options import Dims, JsonPath, Mode, console, fixed_inputs, write_json, written
from potluck.isa.progress import task
from potluck.parallel.options import Jobs, SchedulerAddress


def sweep(
    model: Annotated[str, typer.Argument(help="ONNX file, ELF file, demo, or a network of the zoo.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Machine key and its values: key=v1,v2; ranges a..b, a..b..step, a..b..*factor."
        ),
    ] = None,
    machine: Annotated[
        str | None, typer.Option("--machine", "-m", help="Presets or TOML files, separated by commas.")
    ] = None,
    scheme: Annotated[
        str | None, typer.Option(help="Schemes separated by commas: fp32,mxfp8,mxfp4:better.")
    ] = None,
    jobs: Jobs = -1,
    scheduler: SchedulerAddress = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The sweep's folder; default: MODEL.sweep in this directory.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=0, help="Inputs that each point runs, and whose task metric it gives.")
    ] = 0,
    data: Annotated[
        Path | None, typer.Option("--data", "--input", help="Inputs and labels as .npz; otherwise the zoo's, or noise.")
    ] = None,
    calibration: Annotated[Path | None, typer.Option(help="Samples as .npz, for schemes with fixed ranges.")] = None,
    dim: Dims = None,
    mode: Mode = "timed",
    objectives: Annotated[
        str, typer.Option(help="Of the Pareto front, separated by commas (docs/sweep.md).")
    ] = "seconds,energy_joules",
    plot: Annotated[
        Path | None, written(help="Page (.html) or image (.png, .svg, .pdf); default: report.html in the folder.")
    ] = None,
    parquet: Annotated[
        Path | None, written(help="Table of all columns; default: points.parquet in the folder.")
    ] = None,
    json_path: JsonPath = None,
) -> None:  # fmt: skip
    """Run a network on every machine of a cross product of keys: cycles, energy, area, metric, Pareto front.

    Killed, it goes on when the same command is given again; no point runs twice.
    """
    from potluck.isa.errors import DataError
    from potluck.sweeps import api
    from potluck.sweeps.figure import check_plot
    from potluck.sweeps.space import axes_of
    from potluck.sweeps.table import show

    if plot is not None:
        check_plot(plot)
    folder = out or Path(f"{Path(model).stem}.sweep")
    with task(f"sweep of {Path(model).name}") as step:
        swept = api.sweep(
            model, axes_of(settings or []), _words(machine), _words(scheme), jobs=jobs, scheduler=scheduler,
            folder=folder, samples=samples, mode=mode, dims=fixed_inputs(dim, None)["dims"], data=data,
            calibration=calibration,
            objectives=_words(objectives), step=step,
        )  # fmt: skip
    show(swept, console)
    written = swept.to_parquet(parquet or folder / "points.parquet")
    drawn = swept.report(plot or folder / "report.html")
    console.print(f"wrote {written} and {drawn}", highlight=False, soft_wrap=True)
    write_json(json_path, swept.to_json())
    if swept.failed and len(swept.failed) == len(swept.rows):
        raise DataError(f"no point could be run; the first: {swept.failed[0]['error']}")


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",")) if text else ()
