"""``potluck where`` and ``potluck inject``: what lies in DRAM, and faults there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from potluck.cli_options import (
    JsonPath,
    MachineName,
    SchemeName,
    Settings,
    console,
    machine_of,
    write_json,
    written,
)
from potluck.isa.errors import DataError


def where(
    program: Path,
    what: Annotated[list[str], typer.Argument(help="0xADDRESS[:BIT] or TENSOR[#PART][[INDEX,...]][:BIT].")],
    machine: Annotated[
        str | None, typer.Option("--machine", "-m", help="Default: the program's own.")
    ] = None,
    settings: Settings = None,
    json_path: JsonPath = None,
) -> None:
    """Say where bits of a program's tensors lie in DRAM, or which bits lie at an address.

    Each bit with its address, tensor, element, block and field, and with channel, bank, row, beat, pin and device.
    """
    from potluck import api
    from potluck.where import locate, print_rows

    loaded = api.load_program(program)
    description = machine_of(machine or loaded.manifest.machine, settings)
    rows = [row for text in what for row in locate(loaded, text, description)]
    print_rows(rows, console)
    write_json(json_path, rows)


def inject(
    source: Annotated[str, typer.Argument(help="demo, an ONNX file, or an ELF file.")],
    stack: Annotated[
        list[str] | None,
        typer.Option(help="[ondie+]SYSTEM[+FILTER...]; repeatable. Default: the usual four."),
    ] = None,
    ber: Annotated[list[float] | None, typer.Option(help="Raw bit error rate; repeatable.")] = None,
    faults: Annotated[
        str, typer.Option(help="Model of --ber: uniform or events (RangeGuard's mix).")
    ] = "uniform",
    one_to_zero: Annotated[
        float | None, typer.Option(help="Rate of 1 to 0, with --ber that of 0 to 1: data-dependent errors.")
    ] = None,
    weak_density: Annotated[
        float | None,
        typer.Option(help="Share of weak cells, the same in all trials; each fails with the rate --ber."),
    ] = None,
    ber_table: Annotated[
        Path | None,
        typer.Option(help="CSV of voltage, temperature, ber: --ber by --voltage and --temperature."),
    ] = None,
    voltage: Annotated[float, typer.Option(help="In V, with --ber-table.")] = 1.1,
    temperature: Annotated[float, typer.Option(help="In degrees Celsius, with --ber-table.")] = 45.0,
    fault_list: Annotated[Path | None, typer.Option(help="Faults as .csv or .parquet.")] = None,
    rates: Annotated[
        str | None, typer.Option(help="FIT by mode: sridharan2012, rangeguard_mix or a TOML file.")
    ] = None,
    hours: Annotated[float, typer.Option(help="Of exposure, with --rates.")] = 61320.0,
    forced: Annotated[bool, typer.Option(help="With --rates: at least one fault in every trial.")] = False,
    trials: Annotated[int, typer.Option(min=1)] = 20,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    data: Annotated[
        Path | None, typer.Option(help="Samples as .npz: an array per input, and labels.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Use the first so many.")] = 100,
    policy: Annotated[str, typer.Option(help="On DUE: pass, null, retry or fail.")] = "pass",
    engine: Annotated[str, typer.Option(help="auto, onnx or sim.")] = "auto",
    site: Annotated[
        str,
        typer.Option(help="dram: weights; module_outputs: weights once and every layer's output, in FP32."),
    ] = "dram",
    stored: Annotated[str, typer.Option(help="Of site module_outputs: fp32, bf16 or fp16.")] = "bf16",
    content: Annotated[
        list[str] | None, typer.Option(help="What faults strike: constants (default), text, pointers.")
    ] = None,
    scheme: SchemeName = None,
    export: Annotated[Path | None, written(help="Write the faults as .csv or .parquet.")] = None,
    machine: MachineName = "spatz-mx",
    settings: Settings = None,
    json_path: JsonPath = None,
) -> None:
    """Put faults into a network's weights in DRAM, read them through a protection stack, and count what happens.

    Trial N of a seed has the same faults for every stack, and can be run again alone.
    """
    from potluck.arrays import load_npz
    from potluck.inject import command
    from potluck.inject.target import load_target
    from potluck.sim.faults.recipes import NAMED

    description = machine_of(machine, settings)
    bers = list(ber or [])
    if ber_table:
        bers.append(command.ber_at(ber_table, voltage, temperature))
    rated = command.Rated(bers, faults, one_to_zero, weak_density)
    if site == "module_outputs":
        if fault_list or rates or scheme or export or content:
            raise DataError("site module_outputs takes --ber and an FP32 network alone")
        drawn = command.rate_models(rated)
        reports = command.run_modules(
            source, load_npz(data), samples, stored, stack or list(NAMED), drawn, trials, seed,
            command.policy_of(policy), description, console,
        )  # fmt: skip
        return write_json(json_path, command.to_json(reports))
    if site != "dram":
        raise DataError(f"site {site!r}", hint="One of dram, module_outputs")
    contents = command.contents_of(content or ["constants"])
    target = load_target(source, scheme, description, load_npz(data), samples, engine, contents=contents)
    drawn = command.models(target, rated, fault_list, rates, hours, forced)
    on_due = command.policy_of(policy)
    reports = command.run(target, stack or list(NAMED), drawn, trials, seed, on_due, export, console)
    write_json(json_path, command.to_json(reports))
