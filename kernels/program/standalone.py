"""A program that runs one kernel with its operands resident in L1: what tests and benchmarks execute.

All harts run the kernel on their share of the rows, meet at the barrier and end. Inputs and outputs stand in
the manifest at their L1 addresses. With ``repeat`` the kernel runs several times over the same rows, so that
the difference of two programs' cycles is that of a warm run.
"""

from __future__ import annotations

from collections.abc import Sequence

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program
from potluck.isa.errors import ProgramError
from potluck.isa.manifest import Layer, Manifest, Tensor
from potluck.kernels.base import Kernel, Operand
from potluck.kernels.program import runtime

ALIGN = 64
"""Operands begin at multiples of a superbank (facts vmxdotp 4)."""


def place(
    operands: Sequence[Operand], rows: int, base: int = runtime.L1_BASE, skew: int = 0
) -> dict[str, int]:
    """Addresses by operand name, one after the other.

    Args:
        operands: What to place.
        rows: Outermost count.
        base: First address.
        skew: Bytes between the operands beyond alignment, to try other bank placements.
    """
    addresses, at = {}, base
    for operand in operands:
        addresses[operand.name] = at
        at += -(-operand.bytes(rows) // ALIGN) * ALIGN + skew
    return addresses


def build(
    kernel: Kernel,
    rows: int,
    operands: Sequence[Operand] | None = None,
    granule: int = 1,
    repeat: int = 1,
    harts: int = 2,
    l1_bytes: int = runtime.L1_BYTES,
    machine: str = "spatz-mx",
    addresses: dict[str, int] | None = None,
    encoding: str = "spatz",
) -> Program:
    """The program.

    Args:
        kernel: What to run.
        rows: Outermost count over all harts.
        operands: The kernel's arrays, if it does not list them itself.
        granule: Harts get multiples of so many rows (8 for the MX matrix product).
        repeat: How often the kernel runs.
        harts: Most harts that will run it (stacks are kept free for them).
        l1_bytes: Size of L1.
        machine: Name for the manifest.
        addresses: Of the operands, default `place`.
        encoding: The machine's `isa.vmxdotp_encoding`.

    Raises:
        ProgramError: The operands do not fit into L1.
    """
    arrays = tuple(kernel.operands if operands is None else operands)
    where = addresses or place(arrays, rows)
    end = max(where[x.name] + x.bytes(rows) for x in arrays)
    if end > runtime.l1_free(harts, l1_bytes):
        raise ProgramError(
            f"{kernel.name} with {rows} rows needs {end - runtime.L1_BASE} bytes of L1",
            hint=f"{runtime.l1_free(harts, l1_bytes) - runtime.L1_BASE} are free: use fewer rows",
        )
    a = Assembler(encoding)
    runtime.start(a, l1_bytes)
    runtime.hart_share(a, rows, granule, "s2", "s3")
    runtime.barrier(a)
    a("li", "s4", repeat)
    a.label("repeat")
    for operand in arrays:
        a("li", operand.register, where[operand.name])
        if operand.per_row:
            a("li", "t1", operand.row_bytes)
            a("mul", "t1", "t1", "s2")
            a("add", operand.register, operand.register, "t1")
    a("mv", kernel.count_register, "s3")
    a.label("kernel")
    kernel.emit(a)
    a.label("kernel_end")
    runtime.barrier(a)
    a("addi", "s4", "s4", -1)
    a("bnez", "s4", "repeat")
    runtime.leave(a)
    program = a.assemble(text_base=runtime.DRAM_BASE).program()
    program.manifest = Manifest(
        machine=machine,
        inputs=[_tensor(x, rows, where) for x in arrays if not x.output],
        outputs=[_tensor(x, rows, where) for x in arrays if x.output],
        layers=[
            Layer(
                kernel.name,
                kernel.name,
                program.symbols["kernel"],
                program.symbols["kernel_end"],
                kernel.macs * rows * repeat,
            )
        ],
    )
    return program


def _tensor(operand: Operand, rows: int, where: dict[str, int]) -> Tensor:
    shape = list(operand.full_shape(rows))
    return Tensor(operand.name, operand.dtype, shape, "row", where[operand.name], operand.bytes(rows))
