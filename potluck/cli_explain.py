"""``potluck explain``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from potluck.cli_options import (
    JsonPath,
    MachineName,
    SchemeName,
    Settings,
    console,
    machine_of,
    write_json,
)


def explain(
    run: Annotated[
        str,
        typer.Argument(
            help="A result (JSON) of run or simulate; or what is to be run: ONNX, ELF, demo, zoo."
        ),
    ],
    layer: Annotated[str | None, typer.Option(help="Only this layer, in full.")] = None,
    scheme: SchemeName = None,
    inputs: Annotated[
        Path | None,
        typer.Option("--input", help="Of a network that is run, as .npz; otherwise seeded noise."),
    ] = None,
    machine: MachineName = "spatz-mx",
    settings: Settings = None,
    json_path: JsonPath = None,
) -> None:
    """Say where the cycles of layers went, what bounds each, and how far it is from the bound."""
    from potluck import explain as explaining
    from potluck import saved

    result = saved.load(run) if run.endswith(".json") else _made(run, scheme, inputs, machine, settings)
    layers = explaining.explain(result)
    if layer is None:
        explaining.show(layers, console)
    else:
        layers = explaining.find(layers, layer)
        for one in layers:
            explaining.show_layer(one, console)
    console.print(
        f"timing error: {result['timing_error_band']}", highlight=False, soft_wrap=True, markup=False
    )
    found = {"layers": [one.to_json() for one in layers], "sum": explaining.summed(layers)}
    write_json(json_path, found)


def _made(
    name: str, scheme: str | None, inputs: Path | None, machine: str, settings: list[str] | None
) -> dict[str, Any]:
    """The result of a run that is made now."""
    from potluck import api
    from potluck.arrays import load_npz
    from potluck.sweeps.plan import zoo

    description = machine_of(machine, settings)
    if name.endswith(".elf"):
        program = api.load_program(name)
        return api.simulate(
            program, {**api.seeded_inputs(program), **load_npz(inputs)}, machine=description
        ).to_json()
    network = zoo(name)
    if network is None:
        return api.run(name, load_npz(inputs), scheme, description).to_json()
    network.check()
    given = {key: array[:1] for key, array in network.samples().inputs.items()} | load_npz(inputs)
    options = dict(network.options.get(scheme, {})) | (
        {"calibration": network.calibration()} if scheme else {}
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{network.name}.onnx"
        path.write_bytes(network.model().SerializeToString())
        return api.run(path, given, scheme, description, dims=network.dims, **options).to_json()
