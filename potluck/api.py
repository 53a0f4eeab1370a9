"""The Python interface: quantize, compile, simulate, run."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from potluck.digest import digest_of
from potluck.isa.elf import Program
from potluck.isa.errors import DataError
from potluck.isa.machine import Machine, load_machine
from potluck.sim.result import Result

if TYPE_CHECKING:
    from potluck.compiler.schemes import Assignment


def load_program(path: str | Path) -> Program:
    """Read a RISC-V ELF file.

    Raises:
        ProgramError: the file is not a program for this machine.
    """
    return Program.load(Path(path))


def quantize(model: Any, scheme: str | Assignment, **options: Any) -> Any:
    """Quantize a network.

    Args:
        model: path of an ONNX file, or an onnx-ir model.
        scheme: a name of :func:`potluck.compiler.schemes.schemes`, such as ``mxfp8``, or an
            :class:`potluck.Assignment` of schemes to layers.
        options: see :func:`potluck.compiler.quantize.quantize_model`.

    Returns:
        An object with ``save(path)`` that holds a standard ONNX model (opset 24 or later).
    """
    from potluck.compiler.quantize import quantize_model

    return quantize_model(model, scheme, **options)


def compile(model: Any, machine: str | Path | Machine = "spatz-mx", **options: Any) -> Program:
    """Compile a network to a program for a machine.

    Args:
        model: path of an ONNX file, an onnx-ir model, or what :func:`quantize` returned.
        machine: preset name, TOML path or description.
        options: see :func:`potluck.compiler.compile.compile_model`.

    Raises:
        ModelError: naming every node that cannot be compiled.
    """
    from potluck.compiler.compile import compile_model

    return compile_model(model, _machine(machine), **options)


def simulate(
    program: Program | str | Path,
    inputs: Mapping[str, NDArray[Any]] | None = None,
    mode: str = "timed",
    machine: str | Path | Machine | None = None,
    **options: Any,
) -> Result:
    """Execute a program, every instruction of it.

    Args:
        program: the program or its ELF file.
        inputs: tensors by the names in the program's manifest.
        mode: ``timed``, ``functional`` (the same values, no cycles), ``traced`` (the same values and cycles, and
            ``result.trace``, for :func:`write_trace`) or ``rtl`` (the same values and cycles, and ``result.rtl``: the
            same program in RTL, compared instruction by instruction; takes Verilator and a machine of one core).
        machine: overrides the machine that the program was compiled for.
        options: ``budget`` (instructions per hart), ``threads``, ``environment`` (:class:`potluck.Environment`:
            arguments, streams and files of a program that is a Linux process), ``profile`` (True gives
            ``result.profile``: cycles by instruction and cause), ``window`` (cycles of mode traced: ``(first, end)``),
            ``engine`` (what computes nodes that the program leaves to the host; default: onnxruntime,
            :mod:`potluck.isa.host`), ``tier`` (1: hot loops are not compiled as a whole; the same result), ``waves``
            (mode rtl: file for a waveform of the last cycles before a difference).

    Raises:
        TrapError: illegal instruction or access, with pc, symbol, layer and address.
    """
    if not isinstance(program, Program):
        program = load_program(program)
    if program.manifest.host:
        from potluck.compiler.engine import OnnxEngine

        options.setdefault("engine", OnnxEngine())
    description = _machine(machine or program.manifest.machine)
    if mode == "rtl":
        from potluck.hdl.simulate import simulate_in_rtl

        return simulate_in_rtl(program, dict(inputs or {}), description, **options)
    from potluck.sim.simulate import simulate as execute

    return execute(program, dict(inputs or {}), description, mode=mode, **options)


def run(
    model: str | Path,
    inputs: Mapping[str, NDArray[Any]] | None = None,
    scheme: str | Assignment | None = None,
    machine: str | Path | Machine = "spatz-mx",
    mode: str = "timed",
    profile: bool = False,
    window: tuple[int, int] | None = None,
    dims: Mapping[str, int] | None = None,
    bind: Mapping[str, NDArray[Any]] | None = None,
    allow_host: bool = False,
    **options: Any,
) -> Result:
    """Quantize (if a scheme is given; ``options`` as there), compile and simulate in one step.

    Missing inputs are drawn from a fixed seed. A scheme that needs calibration and gets none takes the ranges of the
    inputs themselves, or of noise if there are none: enough for cycles, not for accuracy (``manifest`` says which).
    Inputs that are among the samples given are refused (:class:`DataError`).
    ``mode``, ``profile`` and ``window`` are as in :func:`simulate`, ``dims``, ``bind`` and ``allow_host`` as in
    :func:`compile`; ``manifest`` lists the nodes that the host computed.
    """
    ready = prepare(model, inputs, scheme, dims, bind, **options)
    program = ready.compiled(machine, allow_host)
    tensors = {**seeded_inputs(program), **(inputs or {})}
    result = simulate(program, tensors, mode, machine, profile=profile, window=window)
    result.manifest.update(ready.facts)
    return result


@dataclass(frozen=True)
class Prepared:
    """A network that only has to be compiled.

    Attributes:
        source: quantized, or the file.
        fixed: options of :func:`compile` that it needs: sizes and inputs that are constants.
        facts: where it came from, for manifests.
    """

    source: Any
    fixed: Mapping[str, Any]
    facts: Mapping[str, Any]

    def compiled(self, machine: str | Path | Machine, allow_host: bool = False) -> Program:
        """The program for a machine, see :func:`compile`."""
        return compile(self.source, machine, allow_host=allow_host, **self.fixed)


def prepare(
    model: str | Path,
    inputs: Mapping[str, NDArray[Any]] | None = None,
    scheme: str | Assignment | None = None,
    dims: Mapping[str, int] | None = None,
    bind: Mapping[str, NDArray[Any]] | None = None,
    **options: Any,
) -> Prepared:
    """What :func:`run` does before it compiles: quantize, if a scheme is given; its arguments."""
    calibrated = None
    if scheme and _calibrated(scheme):
        calibrated = "the samples given"
        if options.get("calibration") is None:
            calibrated = "the inputs of the run" if inputs else "seeded noise"
            options["calibration"] = inputs or _noise(model, dims, bind)
    fixed = {"dims": dims, "bind": bind}
    source = quantize(model, scheme, **fixed, **options) if scheme else model
    record = _checked(source, inputs if calibrated != "the inputs of the run" else None)
    described = _described(scheme) if scheme else "as in the file"
    facts: dict[str, Any] = {"model": Path(model).name, "scheme": described}
    if Path(model).is_file():  # otherwise the compiler says what is wrong
        facts["model_sha256"] = digest_of(model)
    if calibrated:
        facts["calibration"] = calibrated
    if record:
        facts["ptq"] = record
    return Prepared(source, {} if scheme else fixed, facts)


def _checked(model: Any, inputs: Mapping[str, NDArray[Any]] | None) -> dict[str, Any]:
    """What a network was quantized with, in memory or in a file; refuses inputs that were among its samples."""
    import onnx

    from potluck.compiler.ptq import data
    from potluck.compiler.ptq.pipeline import RECORD_KEY

    if isinstance(model, str | Path):
        try:
            proto = onnx.load(str(model), load_external_data=False)
        except Exception:  # of onnx, protobuf or the system: whoever compiles it says what is wrong
            return {}
        held = next((item.value for item in proto.metadata_props if item.key == RECORD_KEY), None)
    else:
        held = model.metadata_props.get(RECORD_KEY)
    if inputs:
        data.check_unseen(held, inputs, "input")
    return dict(json.loads(held)) if held else {}


def _calibrated(scheme: str | Assignment) -> bool:
    from potluck.compiler.schemes import calibrated

    return calibrated(scheme)


def _described(scheme: str | Assignment) -> Any:
    return scheme if isinstance(scheme, str) else scheme.to_json()


def _noise(
    model: str | Path,
    dims: Mapping[str, int] | None,
    bind: Mapping[str, NDArray[Any]] | None,
    count: int = 8,
) -> dict[str, NDArray[Any]]:
    """Standard normal calibration samples from a fixed seed."""
    from potluck.compiler.graph.nodes import shape_of
    from potluck.compiler.importer import load

    generator = np.random.Generator(np.random.Philox(1))
    return {
        value.name or "": generator.standard_normal((count, *shape_of(value)[1:])).astype(np.float32)
        for value in load(model, dims, bind).graph.inputs
    }


def write_trace(result: Result, path: str | Path, format: str | None = None) -> None:
    """Write the trace of a run in mode traced.

    Args:
        result: of :func:`simulate` or :func:`run`.
        path: ``.kanata`` for Konata, ``.json`` for Perfetto; compressed if ``.gz`` follows.
        format: ``konata`` or ``perfetto``, whatever the suffix.

    Raises:
        DataError: the run was not traced, the format is unknown, or the file cannot be written.
    """
    from potluck.views import write_trace as write

    if result.trace is None:
        raise DataError(f"a run in mode {result.mode} has no trace; use mode traced")
    write(result.trace, path, format)


def seeded_inputs(program: Program, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Standard normal inputs from a fixed seed, for a first look at a network."""
    generator = np.random.Generator(np.random.Philox(seed))
    return {
        tensor.name: generator.standard_normal(tuple(tensor.shape)).astype(tensor.dtype)
        for tensor in program.manifest.inputs
    }


def versions() -> dict[str, str]:
    """Versions of what produced a result."""
    names = ("potluck", "numpy", "numba", "llvmlite", "onnx", "onnxruntime")
    return {name: importlib.metadata.version(name) for name in names}


def _machine(machine: str | Path | Machine) -> Machine:
    return machine if isinstance(machine, Machine) else load_machine(machine)
