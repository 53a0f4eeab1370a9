"""From a network to a schedule in memory: everything that code generation needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Unpack

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.codegen.flat import FlatRecords
from potluck.compiler.codegen.records import Records
from potluck.compiler.graph.attention import fused
from potluck.compiler.graph.nodes import integer
from potluck.compiler.graph.rotation import rotated
from potluck.compiler.importer import Source, load
from potluck.compiler.lowering.base import LayerPlan, Target, Tensor, pattern_word
from potluck.compiler.lowering.gemv import join
from potluck.compiler.lowering.neighbours import live_longer, neighbourly
from potluck.compiler.passes import make, run_passes
from potluck.compiler.ptq.pipeline import apply
from potluck.compiler.quantize import folding
from potluck.compiler.schedule.beside import beside
from potluck.compiler.schedule.chains import lowered
from potluck.compiler.schedule.endings import ended
from potluck.compiler.schedule.file import Entry, applied, written
from potluck.compiler.schedule.fuse import fuse
from potluck.compiler.schedule.layer import LoweredOp
from potluck.compiler.schedule.memory import align, place
from potluck.compiler.schedule.memory_use import memory_use
from potluck.compiler.schedule.overlap import overlap
from potluck.compiler.schedule.signs import without_signs
from potluck.compiler.schemes import Assignment, Options, Quantization
from potluck.compiler.selection import Selector
from potluck.compiler.support import UnsupportedError, check, unsupported
from potluck.isa.errors import MachineError
from potluck.isa.progress import steps
from potluck.kernels.program.process import STACK_BYTES, FileTensor, Process

if TYPE_CHECKING:
    from potluck.isa.machine import Machine
from potluck.isa.table import table_of

TEXT_BYTES = 1 << 20
"""Room for code at the bottom of DRAM, at least; data begins above it."""
LAYER_BYTES = 1 << 12
"""Room for the code of a layer in networks of many."""
PAGE = 4096
"""Segments of a Linux program share no page."""


@dataclass(frozen=True)
class Schedule:
    """A network lowered for a machine, with every address known.

    Attributes:
        model: The graph that was lowered.
        target: The machine, with the addresses of the fill patterns.
        ops: Layers in order.
        constants: Address and bytes of everything the program carries besides code and records.
        records: Address and bytes of each layer's tile records.
        inputs: Network inputs.
        outputs: Network outputs.
        tensors: Every activation.
        end: First free address in DRAM.
        zeros: First address behind the memory that the program expects beside its data, 0 if it expects none.
        process: What surrounds the layers on a machine without L1 or DMA.
        text_bytes: Room for code.
        plans: What the layers were lowered from.
        prefetch: Of each layer, whether what it needs first may come early.
        memory: Bytes by name, see `potluck.compiler.schedule.memory_use`.
    """

    model: ir.Model
    target: Target
    ops: tuple[LoweredOp, ...]
    constants: tuple[tuple[int, bytes], ...]
    records: tuple[tuple[int, bytes], ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    tensors: tuple[Tensor, ...]
    end: int
    zeros: int = 0
    process: Process | None = None
    text_bytes: int = TEXT_BYTES
    plans: tuple[LayerPlan, ...] = ()
    prefetch: tuple[bool, ...] = ()
    memory: Mapping[str, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The schedule as a file that can be edited and fed back."""
        return written(self.plans, self.ops, self.prefetch, self.target)


def prepare(
    source: Source,
    scheme: str | Assignment | None = None,
    *,
    dims: Mapping[str, int] | None = None,
    bind: Mapping[str, NDArray[np.generic]] | None = None,
    print_after: Collection[str] = (),
    write: Callable[[str], object] = print,
    allow_host: bool = False,
    **options: Unpack[Quantization],
) -> ir.Model:
    """Imports, folds, checks and quantizes; arguments as for `potluck.compiler.compile.compile_model`.

    Raises:
        ModelError: The model is invalid, or one or more nodes cannot be compiled; lists them all.
    """
    chosen = Options.of(**options)
    model = load(source, dims, bind)
    run_passes(model, folding(), print_after, write)
    check(model, allow_host)
    if scheme is not None:
        apply(model, scheme, chosen, print_after, write)
    run_passes(model, [make("integer_products")], print_after, write)
    return model


def build(
    model: ir.Model,
    machine: Machine,
    data_base: int | None = None,
    allow_host: bool = False,
    together: bool = True,
    edits: Sequence[Entry] = (),
) -> Schedule:
    """Lowers a prepared model.

    Args:
        model: As `prepare` makes it.
        machine: What to lower for.
        data_base: First address of data in DRAM; by default above `TEXT_BYTES`, or more for more layers.
        allow_host: Whether nodes that the machine does not take become host calls.
        together: Whether cores work beside an accelerator; otherwise they wait for each of its layers.
        edits: What a schedule file says, see `potluck.compiler.schedule.file`.

    Raises:
        ModelError: A node cannot be compiled, or an edit is not legal.
        MachineError: A layer does not fit L1 or the network DRAM, or the machine has no MX products.
    """
    check(model, allow_host)
    _check_machine(model, machine)
    memory = machine.memory
    model = rotated(fused(model, Target(machine)))
    selector = Selector(model, Target(machine))
    plans = selector.run()
    ends = [selector.tensors[value] for value in (*model.graph.inputs, *model.graph.outputs)]
    plans = ended(without_signs(fuse(plans, ends)), ends, selector.target)
    plans, prefetch = applied(neighbourly(join(plans)), edits, selector.target)
    text = max(TEXT_BYTES, -(-len(plans) * LAYER_BYTES // TEXT_BYTES) * TEXT_BYTES)
    at = int(memory.dram_base) + text if data_base is None else data_base
    text = at - int(memory.dram_base)
    limit = int(memory.dram_base + memory.dram_bytes)

    constants: list[tuple[int, bytes]] = []
    fills: dict[str, int] = {}
    wanted: dict[str, int] = {}
    for plan in plans:
        for name, size in plan.fill_bytes().items():
            wanted[name] = max(size, wanted.get(name, 0))
    for name in sorted(wanted, reverse=True):
        size = wanted[name]
        if size:
            fills[name] = at
            constants.append((at, np.full(-(-size // 4), pattern_word(name), np.uint32).tobytes()))
            at = align(at + size)
    held: dict[tuple[str, str, bytes], int] = {}
    for plan in steps(plans, "weights packed"):
        for item in plan.constants():  # the steps of a recurrent layer share their weights
            key = (item.tensor, item.part, item.data)
            if key not in held:
                held[key] = at
                constants.append((at, item.data))
                at = align(at + len(item.data))
            item.address = held[key]

    inputs = tuple(selector.tensors[value] for value in model.graph.inputs)
    outputs = tuple(selector.tensors[value] for value in model.graph.outputs)
    for index, plan in enumerate(plans):
        for tensor in (*plan.reads(), *plan.writes()):
            tensor.storage.live(index)
    live_longer(plans)
    for tensor in (*inputs, *outputs):
        tensor.storage.live(-1)
        tensor.storage.live(len(plans))
    process = None
    if selector.target.flat:
        process = Process(_files(inputs), _files(outputs), base=at)
        at = align(at + len(process.data))
    start = at
    at = align(place([item for item in selector.storages if item.used], at, limit))
    activations = start, at

    target, zeros = Target(machine, fills, workspace=at), 0
    if process is None:
        apart = lowered(plans, target)
        memory_used = memory_use(apart, selector.storages, activations, constants)
        ops = beside(overlap(apart, prefetch), target, together)
    else:  # what is copied on the spot gains nothing from coming early
        ops = [plan.lower(target) for plan in steps(plans, "layers planned")]
        memory_used = memory_use(ops, selector.storages, activations, constants)
        buffer = align(at + int(memory.workspace_bytes))
        stack = align(buffer + process.buffer_bytes) + STACK_BYTES
        process = replace(process, inputs=_files(inputs), outputs=_files(outputs), buffer=buffer, stack=stack)
        constants.append((process.base, process.data))
        zeros, at = stack, align(stack, PAGE)  # records are a segment of their own
    late = {item.address: item.data for plan in plans for item in plan.addressed()}
    constants = [(address, late.get(address, data)) for address, data in constants]
    records = []
    for op in ops:
        if process is None and op.unrecorded:
            records.append((at, b""))
            continue
        data = (Records(op) if process is None else FlatRecords(op)).data().tobytes()
        records.append((at, data))
        at = align(at + len(data))
    if at > limit:
        raise MachineError(
            f"the network needs DRAM up to {at:#x}, the machine's ends at {limit:#x}",
            key="memory.dram_bytes",
            hint="Give the machine more DRAM or the network a smaller batch",
        )
    return Schedule(
        model, target, tuple(ops), tuple(constants), tuple(records), inputs, outputs, _tensors(selector), at,
        zeros, process, text, tuple(plans), tuple(prefetch), memory_used,
    )  # fmt: skip


def _check_machine(model: ir.Model, machine: Machine) -> None:
    """Refuses what the machine, rather than the compiler, cannot do.

    Raises:
        MachineError: Names the key.
        ModelError: Nodes are left to the host, which these programs do not have.
    """
    flat = Target(machine).flat
    if flat and (left := unsupported(model)):
        where = f"programs for {machine.name} run on Linux too, where nobody answers a host call"
        raise UnsupportedError([replace(item, reason=f"{item.reason}; {where}") for item in left], True)
    if flat and any(node.op_type == "MxIntegerQuantizeDequantize" for node in model.graph):
        raise MachineError(
            f"{machine.name} has no L1 with DMA or no VMXDOTP, and MXINT8 products have no kernel for such machines",
            key="isa.vmxdotp",
            hint="Use mxfp8 (E4M3), int8 or mxint8_weights, or choose a machine with VMXDOTP, L1 and DMA",
        )
    if flat and any(
        node.op_type == "MxQuantizeDequantize"
        and ir.DataType(integer(node, "to", 0)) is ir.DataType.FLOAT8E5M2
        for node in model.graph
    ):
        raise MachineError(
            f"programs for {machine.name} do without VMXDOTP, and MX products of E5M2 have no software kernel",
            key="isa.vmxdotp",
            hint="Use mxfp8 (E4M3) or mxfp4, or choose a machine with VMXDOTP, L1 and DMA",
        )
    if flat and machine.cluster.cores > 1:
        raise MachineError(
            f"{machine.name} has {machine.cluster.cores} cores, and no L1 with DMA to share tiles",
            key="cluster.cores",
            hint="Set cluster.cores=1, or memory.l1_bytes and isa.vmxdotp, which brings the DMA's instructions",
        )
    if not flat and "dmcpyi" not in table_of(machine.isa.vmxdotp_encoding):
        raise MachineError(
            f"VMXDOTP's encoding {machine.isa.vmxdotp_encoding!r} takes the opcodes of the DMA, which moves every tile",
            key="isa.vmxdotp_encoding",
            hint="Compile for the encoding 'spatz'; programs without DMA run with either",
        )


def _files(tensors: Sequence[Tensor]) -> tuple[FileTensor, ...]:
    return tuple(FileTensor(tensor.name, tensor.shape, tensor.address) for tensor in tensors)


def _tensors(selector: Selector) -> tuple[Tensor, ...]:
    """One tensor per storage that is used: aliases are left out, and what stays in registers."""
    every = [tensor for tensor in selector.tensors.values() if tensor.storage.used]
    seen = {id(tensor.storage): tensor for tensor in reversed(every)}
    return tuple(reversed(seen.values()))
