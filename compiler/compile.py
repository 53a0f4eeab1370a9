"""The compiler's entry: a network and a machine in, an ELF program with its manifest out."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.build import Schedule, build, prepare
from potluck.compiler.codegen.cluster import emit_program, layer_label
from potluck.compiler.importer import Source
from potluck.compiler.lowering.host import HostTile, in_memory
from potluck.compiler.schedule.file import read, save
from potluck.compiler.schedule.layer import Operand, describe
from potluck.compiler.schemes import Assignment, Quantization
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.assembly.link import Object
from potluck.isa.elf import Program, Section
from potluck.isa.errors import MachineError
from potluck.isa.manifest import Buffer, Layer, Manifest

if TYPE_CHECKING:
    from potluck.isa.machine import Machine


def compile_model(
    source: Source,
    machine: Machine,
    scheme: str | Assignment | None = None,
    *,
    dims: Mapping[str, int] | None = None,
    bind: Mapping[str, NDArray[np.generic]] | None = None,
    print_after: Collection[str] = (),
    write: Callable[[str], object] = print,
    allow_host: bool = False,
    schedule: str | os.PathLike[str] | None = None,
    schedule_out: str | os.PathLike[str] | None = None,
    **options: Unpack[Quantization],
) -> Program:
    """Compiles a network for a machine.

    Args:
        source: Path of an ONNX file, an onnx-ir model (quantized or not) or a ModelProto.
        machine: What to compile for.
        scheme: Quantize first, see `potluck.compiler.schemes` (a name, or which layer has which); None takes the
            network as it is.
        dims: Sizes of dynamic dimensions; ``batch`` and ``N`` are 1 unless given.
        bind: Values of inputs that become constants, such as a shape that an exporter left open.
        print_after: Passes after which the graph is written as text; ``all`` for every one, ``schedule`` for
            the layers with their tiles, transfers and addresses.
        write: Takes that text.
        allow_host: Leave nodes that the machine cannot compute to the host (`potluck.isa.host`), where onnxruntime, or
            onnx's reference evaluator, computes them in no time of the machine. The manifest lists them.
        schedule: File that says how layers are cut into tiles, as ``schedule_out`` writes it (docs/schedule.md).
        schedule_out: Where to write the schedule that was chosen.
        options: Of the quantization, see `potluck.compiler.schemes.Options`.

    Returns:
        The program; its manifest names inputs, outputs, layers and buffers.

    Raises:
        ModelError: The network is invalid, or nodes of it cannot be compiled: one error lists them all; or the schedule
            is not legal: it names layer and key.
        MachineError: A layer does not fit L1, or the network DRAM.
    """
    shown = [name for name in print_after if name != "schedule"]
    model = prepare(
        source,
        scheme,
        dims=dims,
        bind=bind,
        print_after=shown,
        write=write,
        allow_host=allow_host,
        **options,
    )
    edits = read(Path(schedule)) if schedule is not None else ()
    built = build(model, machine, allow_host=allow_host, edits=edits)
    if "schedule" in print_after or "all" in print_after:
        write(describe(built.ops))
    if schedule_out is not None:
        save(built.text, Path(schedule_out))
    return generate(built)


def generate(schedule: Schedule) -> Program:
    """Machine code, data and manifest of a schedule.

    Raises:
        MachineError: The code does not fit below the data.
    """
    a = Assembler(schedule.target.machine.isa.vmxdotp_encoding)
    addresses = [address for address, _ in schedule.records]
    emit_program(a, schedule.ops, addresses, schedule.target, schedule.process)
    base = int(schedule.target.machine.memory.dram_base)
    code = a.assemble(text_base=base)
    if len(code.text) > schedule.text_bytes:
        raise MachineError(
            f"the program's code takes {len(code.text)} bytes, more than the {schedule.text_bytes} set aside for it",
            key="memory.dram_base",
        )
    sections = [
        _section(".data", schedule.constants, schedule.zeros),
        _section(".tiles", schedule.records),
    ]
    return code.program(_manifest(schedule, code), [item for item in sections if item is not None])


def _section(name: str, parts: Sequence[tuple[int, bytes]], until: int = 0) -> Section | None:
    """One section of several pieces of memory, with zeros between them, and behind them up to address ``until``."""
    if not parts:
        return None
    start, end = parts[0][0], parts[-1][0] + len(parts[-1][1])
    data = bytearray(end - start)
    for address, piece in parts:
        data[address - start : address - start + len(piece)] = piece
    return Section(name, start, bytes(data), False, True, max(0, until - end))


def _manifest(schedule: Schedule, code: Object) -> Manifest:
    layers = []
    for index, op in enumerate(schedule.ops):
        label = layer_label(index)
        start, end = code.symbols[label], code.symbols[f"{label}_end"]
        layers.append(Layer(op.name, op.op, start, end, op.macs, op.format))
    buffers: dict[tuple[int, str], Buffer] = {}
    for op in schedule.ops:
        for operand in op.operands:
            buffers.setdefault((operand.address, operand.tensor), _buffer(operand))
    machine = schedule.target.machine
    return Manifest(
        machine=machine.name,
        inputs=[in_memory(item, item.name) for item in schedule.inputs],
        outputs=[in_memory(item, item.name) for item in schedule.outputs],
        layers=layers,
        buffers=sorted(buffers.values(), key=lambda buffer: buffer.address),
        nodes=len(schedule.model.graph),
        host=[op.kernel.node for op in schedule.ops if isinstance(op.kernel, HostTile)],
        memory=dict(schedule.memory),
    )


def _buffer(operand: Operand) -> Buffer:
    name = f"{operand.tensor}.{operand.layout.split()[-1]}" if " " in operand.layout else operand.tensor
    return Buffer(
        name,
        operand.tensor,
        operand.address,
        operand.bytes,
        operand.format,
        list(operand.shape),
        operand.layout,
        operand.region,
    )
