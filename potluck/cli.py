"""The command line. Exit status 0 only on success; errors of Potluck's own kind are one message and status 1."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from potluck import completion
from potluck.campaign.command import campaign
from potluck.cli_explain import explain
from potluck.cli_formats import allocate, formats
from potluck.cli_memory import inject, where
from potluck.cli_options import (
    AllowHost,
    AssignPath,
    Binds,
    BlockSize,
    Calibration,
    CalibrationMethod,
    CompatRelease,
    Dims,
    Exclude,
    JsonPath,
    Keep,
    MachineName,
    MinChannels,
    Mode,
    ProfileFlag,
    ProfileOut,
    Ptq,
    QatSteps,
    ReportOut,
    Requantize,
    ScaleRule,
    SchemeName,
    Settings,
    SmallK,
    SparedLayers,
    TraceFormat,
    TraceOut,
    Tuning,
    Window,
    console,
    fixed_inputs,
    machine_of,
    pairs,
    quantization,
    scheme_of,
    trainer,
    write_json,
    written,
)
from potluck.cli_runs import compare, replay
from potluck.cli_zoo import zoo
from potluck.exits import Exit, epilog
from potluck.isa.errors import DataError, ExitError, PotluckError
from potluck.scale.command import scale
from potluck.sweeps.command import sweep

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=__doc__.split(".")[0] + ".",
    epilog=epilog(),
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def demo(
    images: Annotated[int, typer.Option(min=1, max=1000, help="Held-out images to run.")] = 100,
    machine: MachineName = "spatz-mx",
    json_path: JsonPath = None,
) -> None:
    """Run a packaged, trained ResNet-8 on held-out Fashion-MNIST images: FP32, MXFP8 and MXFP4."""
    from potluck.demo import run_demo

    write_json(json_path, run_demo(images, machine, console))


@app.command()
def run(
    context: typer.Context,
    model: Path,
    scheme: SchemeName = None,
    assign: AssignPath = None,
    exclude: Exclude = None,
    min_channels: MinChannels = 16,
    spared: SparedLayers = "bf16",
    calibration: Calibration = None,
    requantization: Requantize = "ort_float_rne",
    block_size: BlockSize = 32,
    scale_rule: ScaleRule = "floor",
    mx_small_k: SmallK = False,
    calibration_method: CalibrationMethod = "minmax",
    ptq: Ptq = "",
    keep: Keep = None,
    tuning: Tuning = None,
    compat_release: CompatRelease = False,
    dim: Dims = None,
    bind: Binds = None,
    allow_host: AllowHost = False,
    machine: MachineName = "spatz-mx",
    inputs: Annotated[
        Path | None, typer.Option("--input", help="Inputs as .npz; otherwise seeded noise.")
    ] = None,
    output: Annotated[Path | None, written("--output", "-o", help="Write the outputs as .npz.")] = None,
    mode: Mode = "timed",
    profile: ProfileFlag = False,
    profile_out: ProfileOut = None,
    trace: TraceOut = None,
    trace_format: TraceFormat = None,
    window: Window = None,
    report: ReportOut = None,
    settings: Settings = None,
    json_path: JsonPath = None,
) -> None:
    """Quantize, compile and simulate a network."""
    from potluck import api
    from potluck.arrays import load_npz, save_npz
    from potluck.report import print_result
    from potluck.runs.recipe import record
    from potluck.views.options import Views

    options = quantization(
        exclude, min_channels, spared, calibration, requantization, block_size, scale_rule, mx_small_k,
        calibration_method, ptq, keep, tuning, compat_release,
    )  # fmt: skip
    views = Views(profile, profile_out, trace, trace_format, window, report)
    description = machine_of(machine, settings)
    result = api.run(
        model,
        load_npz(inputs),
        scheme_of(scheme, assign),
        description,
        **views.options(mode),
        **options,
        **fixed_inputs(dim, bind),
        allow_host=allow_host,
    )
    record(context, result, description)
    if output:
        save_npz(output, result.outputs)
    print_result(console, result)
    views.show(console, result)
    write_json(json_path, result.to_json())
    if result.rtl and result.rtl.difference:
        raise typer.Exit(Exit.DIFFERENT)


@app.command()
def quantize(
    model: Path,
    output: Annotated[Path, written("--output", "-o", help="Where to write the quantized ONNX model.")],
    scheme: SchemeName = None,
    assign: AssignPath = None,
    exclude: Exclude = None,
    min_channels: MinChannels = 16,
    spared: SparedLayers = "bf16",
    calibration: Calibration = None,
    requantization: Requantize = "ort_float_rne",
    block_size: BlockSize = 32,
    scale_rule: ScaleRule = "floor",
    mx_small_k: SmallK = False,
    calibration_method: CalibrationMethod = "minmax",
    ptq: Ptq = "",
    keep: Keep = None,
    tuning: Tuning = None,
    compat_release: CompatRelease = False,
    qat: QatSteps = None,
    dim: Dims = None,
    bind: Binds = None,
    json_path: JsonPath = None,
) -> None:
    """Quantize a network to standard ONNX."""
    from potluck import api
    from potluck.compiler.ptq.pipeline import record_of
    from potluck.report import print_quantization

    chosen = scheme_of(scheme, assign)
    if chosen is None:
        raise DataError("there is nothing to quantize to", hint="Give --scheme or --assign")
    options = quantization(
        exclude, min_channels, spared, calibration, requantization, block_size, scale_rule, mx_small_k,
        calibration_method, ptq, keep, tuning, compat_release,
    )  # fmt: skip
    made = api.quantize(model, chosen, train=trainer(qat), **options, **fixed_inputs(dim, bind))
    made.save(output)
    record = record_of(made)
    print_quantization(console, record)
    write_json(json_path, record)
    console.print(f"wrote {output}")


app.command()(allocate)
app.command()(formats)
app.command()(explain)
app.command()(compare)
app.command()(replay)
app.command()(sweep)
app.command()(scale)
app.command()(zoo)


@app.command()
def schemes(json_path: JsonPath = None) -> None:
    """List the quantization schemes (operands and instruction path) and the methods of --ptq."""
    from rich.table import Table

    from potluck.compiler.ptq import recipe
    from potluck.compiler.schemes import schemes as known

    table = Table("scheme", "operands and path", box=None)
    for scheme in known().values():
        table.add_row(scheme.name, scheme.summary)
    console.print(table)
    methods = Table("--ptq", "what it does", box=None)
    for name, method in recipe.METHODS.items():
        number = f" (={method.default:g}: {method.number})" if method.number else ""
        methods.add_row(name, method.summary + number)
    for name, stands_for in recipe.PRESETS.items():
        methods.add_row(name, stands_for)
    console.print(methods)
    listed = {scheme.name: scheme.summary for scheme in known().values()}
    ways = {
        name: {"summary": method.summary, "default": method.default}
        for name, method in recipe.METHODS.items()
    }
    write_json(json_path, {"schemes": listed, "ptq": ways, "presets": dict(recipe.PRESETS)})


@app.command(name="import-gguf")
def import_gguf(
    model: Path,
    weights: Annotated[Path, typer.Argument(help="A GGUF file with Q4_0, Q8_0, MXFP4, F16 or F32 tensors.")],
    output: Annotated[Path, written("--output", "-o", help="Where to write the ONNX model.")],
    name: Annotated[
        list[str] | None,
        typer.Option(help="WEIGHT=TENSOR, where the file calls a weight otherwise; repeatable."),
    ] = None,
    dim: Dims = None,
    json_path: JsonPath = None,
) -> None:
    """Put the block-quantized weights of a GGUF file into a network, as standard ONNX."""
    from potluck.compiler.quantize import import_gguf as with_blocks

    with_blocks(model, weights, pairs("--name", name), dims=fixed_inputs(dim, None)["dims"]).save(output)
    console.print(f"wrote {output}")
    write_json(json_path, {"wrote": [output]})


@app.command(name="compile")
def compile_command(
    model: Path,
    output: Annotated[Path, written("--output", "-o", help="Where to write the ELF file.")],
    machine: MachineName = "spatz-mx",
    scheme: SchemeName = None,
    assign: AssignPath = None,
    exclude: Exclude = None,
    min_channels: MinChannels = 16,
    spared: SparedLayers = "bf16",
    calibration: Calibration = None,
    requantization: Requantize = "ort_float_rne",
    block_size: BlockSize = 32,
    scale_rule: ScaleRule = "floor",
    mx_small_k: SmallK = False,
    calibration_method: CalibrationMethod = "minmax",
    ptq: Ptq = "",
    keep: Keep = None,
    tuning: Tuning = None,
    compat_release: CompatRelease = False,
    dim: Dims = None,
    bind: Binds = None,
    allow_host: AllowHost = False,
    schedule: Annotated[
        Path | None,
        typer.Option(help="Tiles, split and prefetch of each layer, as --schedule-out writes them."),
    ] = None,
    schedule_out: Annotated[Path | None, typer.Option(help="Write the schedule: TOML to edit.")] = None,
    settings: Settings = None,
    json_path: JsonPath = None,
) -> None:
    """Compile a network to a RISC-V ELF file with a manifest."""
    from potluck import api

    options = quantization(
        exclude, min_channels, spared, calibration, requantization, block_size, scale_rule, mx_small_k,
        calibration_method, ptq, keep, tuning, compat_release,
    )  # fmt: skip
    chosen = scheme_of(scheme, assign)
    fixed = fixed_inputs(dim, bind)
    source: Any = api.quantize(model, chosen, **options, **fixed) if chosen else model
    program = api.compile(
        source, machine_of(machine, settings), allow_host=allow_host, schedule=schedule, schedule_out=schedule_out,
        **({} if chosen else fixed),
    )  # fmt: skip
    program.save(output)
    made = program.manifest
    host = f", {len(made.host)} of {made.nodes} nodes left to the host" if made.host else ""
    console.print(
        f"wrote {output}: {len(made.layers)} layers, {program.text_bytes} bytes of code{host}",
        highlight=False,
    )
    held = made.memory
    console.print(
        f"L1: {held['l1_peak']} bytes at most, {held['l1_live']} of them filled; DRAM: {held['dram_activations']} "
        f"bytes of activations, {held['dram_live']} live at once, {held['dram_constants']} bytes of constants",
        highlight=False,
    )
    write_json(
        json_path,
        {
            "layers": len(made.layers),
            "code_bytes": program.text_bytes,
            "memory": held,
            "machine": made.machine,
        },
    )


@app.command()
def simulate(
    context: typer.Context,
    program: Path,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="The program's own arguments, after --.")
    ] = None,
    inputs: Annotated[Path | None, typer.Option("--input", help="Inputs as .npz.")] = None,
    output: Annotated[Path | None, written("--output", "-o", help="Write the outputs as .npz.")] = None,
    machine: Annotated[
        str | None, typer.Option("--machine", "-m", help="Default: the program's own.")
    ] = None,
    mode: Mode = "timed",
    waves: Annotated[
        Path,
        typer.Option(
            help="Mode rtl: folder for a waveform of the last cycles before a difference.", file_okay=False
        ),
    ] = Path(),
    signature: Annotated[
        Path | None, written(help="Write memory from begin_signature to end_signature.")
    ] = None,
    budget: Annotated[int, typer.Option(help="Instructions per hart before giving up.")] = 20_000_000_000,
    root: Annotated[
        Path | None, typer.Option(help="Directory that the program sees as /; otherwise it sees no file.")
    ] = None,
    variables: Annotated[
        list[str] | None, typer.Option("--env", help="Environment variable: NAME=value.")
    ] = None,
    profile: ProfileFlag = False,
    profile_out: ProfileOut = None,
    trace: TraceOut = None,
    trace_format: TraceFormat = None,
    window: Window = None,
    report: ReportOut = None,
    settings: Settings = None,
    json_path: JsonPath = None,
) -> None:
    """Execute an ELF program, every instruction of it.

    A static Linux executable gets the arguments, standard input and output; where it ran, standard error tells. The
    exit status is the program's own; that of an error of the simulation (a trap, a bad file) is 1, with a message.
    """
    from potluck import api
    from potluck.arrays import load_npz, save_npz
    from potluck.report import print_result

    loaded = api.load_program(program)
    description = machine_of(machine or loaded.manifest.machine, settings)
    from potluck.runs.recipe import record
    from potluck.sim.linux.process import Environment
    from potluck.sim.result import Result
    from potluck.views.options import Views

    views = Views(profile, profile_out, trace, trace_format, window, report)
    observed = views.options(mode) | ({"waves": waves} if mode == "rtl" else {})
    environment = Environment(
        arguments or [], pairs("--env", variables), str(program), sys.stdin.buffer, root,
        sys.stdout.buffer, sys.stderr.buffer,
    )  # fmt: skip
    status = 0
    try:
        result = api.simulate(
            loaded,
            load_npz(inputs),
            machine=description,
            budget=budget,
            signature=signature,
            environment=environment,
            **observed,
        )
    except ExitError as error:
        if not loaded.foreign or not isinstance(error.result, Result):
            raise  # a compiled network has no status of its own to tell
        result, status = error.result, error.status & 0xFF
    record(context, result, description)
    if output:
        save_npz(output, result.outputs)
    terminal = Console(stderr=True) if loaded.foreign else console
    print_result(terminal, result)
    views.show(terminal, result)
    write_json(json_path, result.to_json())
    if result.rtl and result.rtl.difference:
        raise typer.Exit(Exit.DIFFERENT)
    if status:
        raise typer.Exit(status)


@app.command()
def unpack(
    arrays: Annotated[Path, typer.Argument(help="Inputs as .npz.")],
    folder: Annotated[Path, typer.Argument(help="Where to write NAME.npy of every array.")],
    json_path: JsonPath = None,
) -> None:
    """Write the arrays of an .npz file as the files that a compiled program reads under Linux."""
    from potluck.arrays import load_npz
    from potluck.tensor_files import write_files

    paths = list(write_files(load_npz(arrays), folder))
    for path in paths:
        console.print(f"wrote {path}")
    write_json(json_path, {"wrote": paths})


@app.command()
def pack(
    files: Annotated[list[Path], typer.Argument(help=".npy files, as a compiled program writes them.")],
    output: Annotated[Path, written("--output", "-o", help="Where to write them as .npz.")],
    json_path: JsonPath = None,
) -> None:
    """Collect .npy files in one .npz file, each array under its file's name."""
    from potluck.arrays import save_npz
    from potluck.tensor_files import read_files

    save_npz(output, read_files(files))
    console.print(f"wrote {output}")
    write_json(json_path, {"wrote": [output]})


@app.command()
def asm(
    source: Path,
    output: Annotated[
        Path,
        written(
            "--output",
            "-o",
        ),
    ],
    machine: MachineName = "spatz-mx",
    settings: Settings = None,
    json_path: JsonPath = None,
) -> None:
    """Assemble GNU-syntax source to an ELF file, in the encodings of a machine."""
    from potluck.isa.assembly.assembler import assemble_file

    program = assemble_file(source, machine_of(machine, settings).isa.vmxdotp_encoding)
    program.save(output)
    console.print(f"wrote {output}: {program.text_bytes} bytes of code")
    write_json(json_path, {"wrote": [output], "code_bytes": program.text_bytes, "symbols": program.symbols})


@app.command()
def disasm(
    program: Path, machine: MachineName = "spatz-mx", settings: Settings = None, json_path: JsonPath = None
) -> None:
    """Disassemble an ELF file, in the encodings of a machine."""
    from potluck import api

    text = api.load_program(program).disassemble(machine_of(machine, settings).isa.vmxdotp_encoding)
    if str(json_path) != "-":
        print(text)
    write_json(json_path, {"lines": text.splitlines()})


@app.command()
def isa(
    mnemonic: Annotated[str | None, typer.Argument()] = None,
    machine: MachineName = "spatz-mx",
    extension: Annotated[str | None, typer.Option(help="List the rows of this extension only.")] = None,
    settings: Settings = None,
    json_path: JsonPath = None,
) -> None:
    """List the instructions, or show all that is known of one: encoding, meaning, timing and energy on a machine."""
    from potluck.instruction import describe
    from potluck.report import find_instruction, print_instruction, print_instructions

    description = machine_of(machine, settings)
    encoding = description.isa.vmxdotp_encoding
    if not mnemonic:
        rows = print_instructions(console, extension, encoding)
        return write_json(json_path, rows)
    about = describe(find_instruction(mnemonic, encoding), description)
    print_instruction(console, about)
    write_json(json_path, about)


@app.command()
def machine(
    name: Annotated[str, typer.Argument(autocompletion=completion.machines)] = "spatz-mx",
    settings: Settings = None,
    json_path: JsonPath = None,
) -> None:
    """Show a machine description with every key."""
    description = machine_of(name, settings)
    if str(json_path) != "-":
        console.print_json(description.model_dump_json())
    write_json(json_path, description.model_dump(mode="json"))


app.command()(where)
app.command()(inject)


@app.command()
def bench(
    names: Annotated[list[str] | None, typer.Argument(autocompletion=completion.benchmarks)] = None,
    json_path: JsonPath = None,
) -> None:
    """Print the project's own figures beside their references."""
    from potluck.benchmarks import run_benchmarks

    write_json(json_path, run_benchmarks(names or [], console))


@app.command()
def doctor(
    required: Annotated[
        list[str] | None,
        typer.Option("--require", help="Fail if a tool of this group (rtl, ...) is missing."),
    ] = None,
    json_path: JsonPath = None,
) -> None:
    """Show which external tools are installed, what they are for and how to get the others."""
    from potluck import doctor as tools

    report = tools.examine(console, required or [])
    write_json(json_path, report)
    tools.check(report)


app.add_typer(campaign, name="campaign")


def main() -> None:
    """Entry point of the ``potluck`` command."""
    from potluck.terminal import bars

    console.stderr = False
    try:
        with bars():
            app()
    except PotluckError as error:
        Console(stderr=True).print(
            f"[bold red]{type(error).__name__}[/]: {escape(str(error))}", highlight=False
        )
        sys.exit(error.status & 0xFF or Exit.FAILED if isinstance(error, ExitError) else Exit.FAILED)
    except OSError as error:  # of what no command expects: a full disk, a file that goes away
        if isinstance(error, BrokenPipeError):
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
            )  # who read has gone; there is no one to tell
            sys.exit(Exit.FAILED)
        where = f" {error.filename}" if error.filename else ""
        _say(
            f"{error.strerror or error}:{where}", "Make room or name another place; nothing was half-written"
        )
    except MemoryError:
        _say("out of memory", "Run with fewer samples, smaller sizes (--dim) or --jobs 1")


def _say(message: str, hint: str) -> NoReturn:
    Console(stderr=True).print(f"[bold red]SystemError[/]: {escape(message)}. {hint}", highlight=False)
    sys.exit(Exit.FAILED)
