"""What several commands share: their options, and how the values of options are read and results written."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from potluck import completion
from potluck.isa.errors import DataError
from potluck.replacing import replace_text

console = Console()


def placed(path: Path | None) -> Path | None:
    """Of an option that names a file to be written: refuses a place that cannot hold it, before any work.

    Raises:
        DataError: the folder is not there or cannot be written, or the path is a folder.
    """
    if path is None:
        return None
    folder = path.absolute().parent
    if not folder.is_dir():
        raise DataError(
            f"cannot write {path}: there is no folder {folder}", hint="Create it, or name another place"
        )
    if path.is_dir() or not os.access(folder, os.W_OK):
        what = "it is a folder" if path.is_dir() else f"the folder {folder} is not yours to write in"
        raise DataError(f"cannot write {path}: {what}", hint="Name another place")
    return path


def written(*names: str, help: str = "") -> Any:
    """An option that names a file to be written."""
    return typer.Option(*names, callback=placed, help=help or None)


def _placed_json(path: Path | None) -> Path | None:
    """As `placed`; with ``-`` the JSON takes standard output, and what is for people goes to standard error."""
    if path is not None and str(path) == "-":
        console.stderr = True
        return path
    return placed(path)


JsonPath = Annotated[
    Path | None,
    typer.Option(
        "--json", callback=_placed_json, help="Write the result as JSON to this file; -: standard output."
    ),
]
MachineName = Annotated[
    str,
    typer.Option("--machine", "-m", help="Machine preset or TOML file.", autocompletion=completion.machines),
]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Override a machine key: key=value.")]
Mode = Annotated[str, typer.Option(help="timed, functional, traced or rtl.", autocompletion=completion.modes)]
ProfileFlag = Annotated[
    bool,
    typer.Option(
        "--profile", help="Print the hottest blocks as assembly with cycles and what they wait for."
    ),
]
ProfileOut = Annotated[
    Path | None,
    written("--profile-out", help="Write cycles by core, instruction and cause as JSON."),
]
TraceOut = Annotated[
    Path | None,
    written(
        "--trace",
        help="Write every instruction: .kanata for Konata, .json for Perfetto; also .gz.",
    ),
]
TraceFormat = Annotated[
    str | None, typer.Option("--trace-format", help="konata or perfetto, whatever the suffix.")
]
ReportOut = Annotated[
    Path | None,
    written("--report", help="Write the run as one page, .html, that loads nothing."),
]
Window = Annotated[str | None, typer.Option(help="Trace only these cycles: FIRST:END.")]
SchemeName = Annotated[
    str | None,
    typer.Option(
        help="Quantize first: mxfp8, mxfp4, ... (`potluck schemes`).", autocompletion=completion.schemes
    ),
]
AssignPath = Annotated[
    Path | None, typer.Option("--assign", help="Which layer has which scheme, as JSON (docs/formats.md).")
]
Exclude = Annotated[list[str] | None, typer.Option(help="Node or weight to leave unquantized; repeatable.")]
MinChannels = Annotated[int, typer.Option(help="Leave products that contract fewer elements unquantized.")]
Requantize = Annotated[
    str, typer.Option(help="How integer sums are rounded: ort_float_rne, tflite_single, tflite_double.")
]
BlockSize = Annotated[int, typer.Option(help="Elements per scale of MX schemes.")]
SmallK = Annotated[
    bool,
    typer.Option("--mx-small-k", help="Block the flattened windows of convolutions of few channels (MX)."),
]
ScaleRule = Annotated[str, typer.Option(help="MX scales of blocks: floor (OCP), rceil, even or mse.")]
Dims = Annotated[
    list[str] | None, typer.Option("--dim", help="Size of a dynamic dimension: NAME=8; repeatable.")
]
Binds = Annotated[
    list[str] | None,
    typer.Option("--bind", help="Make an input a constant: NAME=FILE.npy; repeatable."),
]
AllowHost = Annotated[
    bool,
    typer.Option(
        "--allow-host", help="Run nodes that the machine cannot compute on the host, and count them."
    ),
]
SparedLayers = Annotated[
    str, typer.Option("--spared", help="Layers that MX and NVFP4 spare: bf16 (weights of 16 bits) or fp32.")
]
Calibration = Annotated[Path | None, typer.Option(help="Samples as .npz, for schemes with fixed ranges.")]
CalibrationMethod = Annotated[
    str, typer.Option(help="Ranges from samples: minmax, percentile[=99.9], entropy, mse.")
]
Ptq = Annotated[
    str, typer.Option(help="Better quantization, e.g. better, or equalize,gptq,bias (`potluck schemes`).")
]
Keep = Annotated[
    list[str] | None,
    typer.Option(
        help="Layer at higher precision: a name, first, last, depthwise, sensitive[=N] or none; repeatable."
    ),
]
Tuning = Annotated[
    Path | None, typer.Option(help="Samples as .npz for what --ptq learns; otherwise those of --calibration.")
]
QatSteps = Annotated[
    int | None,
    typer.Option(
        "--qat", min=1, help="Train what was quantized for so many steps to do what it did in FP32 (torch)."
    ),
]
CompatRelease = Annotated[
    bool,
    typer.Option("--compat-release", help="QKeras PoT weights with the 127/128 mixture of PoTAcc's release."),
]


def trainer(steps: int | None) -> Any:
    """What trains quantized networks, None if nothing shall."""
    if steps is None:
        return None
    from potluck.train import Finetune

    return Finetune(steps)


def machine_of(name: str, settings: list[str] | None) -> Any:
    """A machine by name or file, with keys overridden."""
    from potluck.isa.machine import load_machine

    return load_machine(name, pairs("--set", settings))


def pairs(option: str, settings: list[str] | None) -> dict[str, str]:
    """key=value as a dictionary."""
    found: dict[str, str] = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise DataError(f"{option} {setting!r}: expected key=value")
        found[key] = value
    return found


def scheme_of(scheme: str | None, assign: Path | None) -> Any:
    """A scheme's name, an assignment, or None."""
    if assign is None:
        return scheme
    if scheme is not None:
        raise DataError(
            "--scheme and --assign exclude each other", hint="The file's 'default' is for other layers"
        )
    from potluck.compiler.schemes.assignment import load

    return load(assign)


def quantization(
    exclude: list[str] | None,
    min_channels: int,
    spared: str,
    calibration: Path | None,
    requantization: str,
    block_size: int,
    scale_rule: str,
    mx_small_k: bool,
    calibration_method: str,
    ptq: str,
    keep: list[str] | None,
    tuning: Path | None,
    compat_release: bool,
) -> dict[str, Any]:
    """Options of `potluck.compiler.quantize.quantize_model`."""
    from potluck.arrays import load_npz

    return {
        "exclude": tuple(exclude or ()),
        "min_channels": min_channels,
        "spared": spared,
        "calibration": load_npz(calibration) if calibration is not None else None,
        "requantization": requantization,
        "block_size": block_size,
        "scale_rule": scale_rule,
        "mx_small_k": mx_small_k,
        "calibration_method": calibration_method,
        "ptq": ptq,
        "keep": [word for item in keep for word in item.split(",")] if keep is not None else None,
        "tuning": load_npz(tuning) if tuning is not None else None,
        "compat_release": compat_release,
    }


def fixed_inputs(dims: list[str] | None, binds: list[str] | None) -> dict[str, Any]:
    """What is known of the inputs when a network is compiled."""
    import numpy as np

    sizes: dict[str, int] = {}
    for name, size in pairs("--dim", dims).items():
        if not size.isdecimal():
            raise DataError(f"--dim {name}={size}: expected a whole number")
        sizes[name] = int(size)
    values: dict[str, Any] = {}
    for name, path in pairs("--bind", binds).items():
        try:
            values[name] = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {path} as .npy: {error}", tensor=name) from None
    return {"dims": sizes, "bind": values}


def write_json(path: Path | None, value: Any) -> None:
    """Writes a JSON file, all of it or nothing; none without a path."""
    if path is None:
        return
    if str(path) == "-":
        sys.stdout.write(json.dumps(value, indent=1, default=str) + "\n")
        return
    replace_text(path, json.dumps(value, indent=1, default=str) + "\n")
