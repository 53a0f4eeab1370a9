"""The commands that compare and choose formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from potluck.cli_options import (
    Binds,
    BlockSize,
    Calibration,
    CalibrationMethod,
    Dims,
    Exclude,
    JsonPath,
    Keep,
    MachineName,
    MinChannels,
    Ptq,
    QatSteps,
    Requantize,
    ScaleRule,
    Settings,
    SmallK,
    SparedLayers,
    console,
    fixed_inputs,
    machine_of,
    trainer,
    write_json,
    written,
)
from potluck.exits import Exit

DataPath = Annotated[
    Path, typer.Option("--data", help="Samples as .npz: arrays by input name, and `labels` if there are any.")
]


def allocate(
    model: Path,
    target: Annotated[
        str,
        typer.Option(help="size, bops, cycles or joules: size=60% of the start's, cycles=2e5 in its unit."),
    ],
    data: DataPath,
    output: Annotated[Path, written("--output", "-o", help="Where to write the assignment.")],
    calibration: Calibration = None,
    schemes: Annotated[
        str | None, typer.Option(help="Candidates, fidelity ascending, with commas: mxfp4,mxfp8,fp32.")
    ] = None,
    loss: Annotated[float, typer.Option(help="Points of the metric that may be lost against FP32.")] = 1.0,
    least: Annotated[float | None, typer.Option(help="The metric's target itself (points, or dB).")] = None,
    metric: Annotated[str, typer.Option(help="accuracy, agreement with FP32, sqnr, or auto.")] = "auto",
    sensitivity: Annotated[
        str, typer.Option(help="What ranks layers: noise (measured) or kl (of weights, as in the paper).")
    ] = "noise",
    penalty: Annotated[float, typer.Option(help="First penalty of the clustering, and its step.")] = 0.1,
    rounds: Annotated[int, typer.Option(help="Most rounds of phase 2.")] = 40,
    per_round: Annotated[int, typer.Option(help="Layers that move in a round.")] = 2,
    patience: Annotated[int, typer.Option(help="Rounds without progress before it stops.")] = 5,
    exclude: Exclude = None,
    requantization: Requantize = "ort_float_rne",
    block_size: BlockSize = 32,
    scale_rule: ScaleRule = "floor",
    mx_small_k: SmallK = False,
    calibration_method: CalibrationMethod = "minmax",
    ptq: Ptq = "",
    qat: QatSteps = None,
    training: Annotated[
        Path | None, typer.Option(help="Samples as .npz for --qat; otherwise those that fix ranges.")
    ] = None,
    network: Annotated[
        Path | None,
        written(help="Write the network of the assignment, too (trained, with --qat)."),
    ] = None,
    machine: MachineName = "spatz-mx",
    settings: Settings = None,
    dim: Dims = None,
    bind: Binds = None,
    limit: Annotated[int | None, typer.Option(help="Use the first so many samples.")] = None,
    batch: Annotated[int, typer.Option(help="Samples at a time, where the network leaves it free.")] = 32,
    json_path: JsonPath = None,
) -> None:
    """Choose a scheme for each layer under a target (SigmaQuant): writes an assignment for --assign.

    The exit status is 0 only if the targets are met; otherwise it is 3, and the nearest assignment is written.
    """
    from potluck.allocation.command import run as carry_out

    options = {
        "requantization": requantization, "block_size": block_size, "scale_rule": scale_rule,
        "calibration_method": calibration_method, "ptq": ptq, "mx_small_k": mx_small_k,
    }  # fmt: skip
    found, report = carry_out(
        model, target, data, output, console, calibration=calibration, machine=machine_of(machine, settings),
        train=trainer(qat), training=training, network=network,
        schemes=schemes.split(",") if schemes else None, metric=metric, sensitivity=sensitivity, exclude=exclude,
        limit=limit, batch=batch, options={**options, **fixed_inputs(dim, bind)}, loss=loss / 100,
        least=None if least is None else least if metric == "sqnr" else least / 100,
        penalty=penalty, rounds=rounds, per_round=per_round, patience=patience,
    )  # fmt: skip
    write_json(json_path, report)
    if not found.met:
        raise typer.Exit(Exit.NOT_MET)


def formats(
    model: Path,
    data: DataPath,
    calibration: Calibration = None,
    schemes: Annotated[
        str | None,
        typer.Option(
            help="With commas, also as SCHEME:METHOD+METHOD of --ptq; default: all for FP32 networks."
        ),
    ] = None,
    assign: Annotated[
        list[Path] | None, typer.Option("--assign", help="Mixed precision, a row each; repeatable.")
    ] = None,
    trained: Annotated[
        list[Path] | None, typer.Option(help="Network trained in its format (QAT), a row each; repeatable.")
    ] = None,
    plot: Annotated[Path | None, written(help="Write the Pareto plot: .svg, .png or .pdf.")] = None,
    csv: Annotated[Path | None, written(help="Write the table as CSV.")] = None,
    page: Annotated[
        Path | None, written("--report", help="Write plot, table and layers as a page: .html.")
    ] = None,
    cycles: Annotated[bool, typer.Option(help="Simulate a batch for cycles, energy, instructions.")] = True,
    metric: Annotated[str, typer.Option(help="accuracy, agreement with FP32, sqnr, or auto.")] = "auto",
    exclude: Exclude = None,
    min_channels: MinChannels = 16,
    spared: SparedLayers = "bf16",
    requantization: Requantize = "ort_float_rne",
    block_size: BlockSize = 32,
    scale_rule: ScaleRule = "floor",
    mx_small_k: SmallK = False,
    calibration_method: CalibrationMethod = "minmax",
    ptq: Ptq = "",
    keep: Keep = None,
    machine: MachineName = "spatz-mx",
    settings: Settings = None,
    dim: Dims = None,
    bind: Binds = None,
    limit: Annotated[int | None, typer.Option(help="Use the first so many samples.")] = None,
    batch: Annotated[int, typer.Option(help="Samples at a time, where the network leaves it free.")] = 32,
    json_path: JsonPath = None,
) -> None:
    """Compare formats on a network: metric with interval, noise by layer, bytes, cycles, energy, instructions."""
    from potluck.comparison.command import run as carry_out

    options = {
        "exclude": exclude or [], "min_channels": min_channels, "spared": spared, "requantization": requantization,
        "block_size": block_size, "scale_rule": scale_rule, "calibration_method": calibration_method, "ptq": ptq,
        "mx_small_k": mx_small_k,
        "keep": None if keep is None else [word for item in keep for word in item.split(",")],
    }  # fmt: skip
    report = carry_out(
        model, data, console, calibration=calibration, names=schemes.split(",") if schemes else None,
        assignments=assign or [], trained=trained or [], machine=machine_of(machine, settings) if cycles else None,
        metric=metric, limit=limit, batch=batch, options={**options, **fixed_inputs(dim, bind)}, plot=plot, csv=csv,
        report=page,
    )  # fmt: skip
    write_json(json_path, report)
