"""The command of the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from potluck import completion
from potluck.cli_options import (
    JsonPath,
    MachineName,
    Mode,
    Settings,
    console,
    machine_of,
    write_json,
    written,
)
from potluck.isa.errors import DataError


def zoo(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NETWORK]", help="Lists all if none is named.", autocompletion=completion.networks
        ),
    ] = None,
    output: Annotated[Path | None, written("--output", "-o", help="Write the network as ONNX.")] = None,
    samples: Annotated[Path | None, written(help="Write its inputs and labels as .npz.")] = None,
    calibration: Annotated[
        Path | None,
        written(help="Write other inputs as .npz, for --calibration of other commands."),
    ] = None,
    execute: Annotated[
        bool, typer.Option("--run", help="Compare schemes: onnxruntime, quantized ONNX, machine.")
    ] = False,
    scheme: Annotated[
        str | None, typer.Option(help="With --run, separated by commas: fp32,mxfp8,mxfp4:clip+gptq.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="With --run: samples on the machine (4).")] = None,
    prompt: Annotated[
        str | None, typer.Option("--generate", metavar="PROMPT", help="Go on with a text, token by token.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="With --generate: most tokens to make.")] = 16,
    mode: Mode = "timed",
    fetching: Annotated[
        bool, typer.Option("--fetch", help="Download the packages of the named networks, or of all.")
    ] = False,
    machine: MachineName = "spatz-mx",
    settings: Settings = None,
    json_path: JsonPath = None,
) -> None:
    """Trained networks with real inputs: list them, write them out, or run one in several schemes."""
    from potluck.zoo import command, registry

    if fetching:
        return write_json(json_path, command.fetch(names or [], console))
    if not names:
        if execute or output or samples or calibration or prompt is not None:
            raise DataError("name a network of the zoo", hint=f"There are: {', '.join(registry.PLACES)}")
        return write_json(json_path, command.listing(console))
    if len(names) > 1:
        raise DataError("one network at a time, please, but for --fetch")
    network = registry.find(names[0])
    if not (execute or output or samples or calibration or prompt is not None):
        raise DataError(
            f"say what to do with {network.name}",
            hint="Give --run, --generate, -o, --samples or --calibration",
        )
    if execute and prompt is not None:
        raise DataError("--run and --generate are two commands: give one")
    command.write(network, output, samples, calibration, console)
    if prompt is not None:
        one = command.chosen(scheme or "fp32", network)
        if len(one) > 1:
            raise DataError("--generate takes one scheme")
        made = command.talk(network, prompt, tokens, one[0], machine_of(machine, settings), mode, console)
        write_json(json_path, made)
    elif execute:
        schemes = command.chosen(scheme, network)
        found = command.run(network, schemes, machine_of(machine, settings), count, mode, console)
        write_json(json_path, found)
