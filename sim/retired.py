"""Instruction by instruction: what each one wrote, for comparisons with a core that reports the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.elf import Program
from potluck.isa.errors import ProgramError, TrapError
from potluck.isa.insn import Insn, Kind
from potluck.isa.machine import Machine
from potluck.sim.cluster import Cluster
from potluck.sim.observe import FOREVER, Watch

NOTHING, FLOAT = 255, 32
_ARITHMETIC = (
    "fma",
    "fcvt",
    "fmove",
    "fdiv",
)  # timing classes of scalar FP instructions that the vector unit executes
NO_VALUE, REGISTER, STORED = range(3)
RETIRED = np.dtype(
    [
        ("pc", "u8"),
        ("cycle", "u8"),
        ("value", "u8"),
        ("address", "u8"),
        ("word", "u4"),
        ("destination", "u1"),
        ("kind", "u1"),
        ("fcsr", "u2"),
    ]
)
"""An instruction that retired: ``cycle`` in which it left the core; ``destination`` x0..x31, f0..f31 from ``FLOAT`` on,
or ``NOTHING``; ``kind`` of ``value``: none, the register's, or what was stored at ``address``; ``fcsr`` before it."""


@dataclass(frozen=True, slots=True)
class Wrote:
    """What an instruction left in the vector register file.

    Attributes:
        record: its number.
        registers: those whose bytes changed.
        values: their bytes, uint8 [n, VLEN / 8].
    """

    record: int
    registers: NDArray[np.int64]
    values: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Steps:
    """A run.

    Attributes:
        records: :data:`RETIRED` [n].
        cycles: the clock at the end.
        trap: what ended it; None: an ``ecall``.
        pc: where it ended.
        cluster: the machine as the run left it.
        vectors: of every vector instruction, in order.
        in_unit: whether each instruction is carried out by the vector unit, bool [n].
    """

    records: NDArray[np.void]
    cycles: int
    trap: TrapError | None
    pc: int
    cluster: Cluster
    vectors: tuple[Wrote, ...] = ()
    in_unit: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))


def steps(
    program: Program, machine: Machine, most: int = 1 << 20, inputs: Mapping[str, NDArray[Any]] | None = None
) -> Steps:
    """Run a program on a machine with one core to its ``ecall`` or trap, one instruction at a time, cycles included.

    Args:
        program: an executable.
        machine: with one core.
        most: instructions after which it is given up.
        inputs: tensors by the names in its manifest.

    Raises:
        ProgramError: more than ``most`` instructions.
        DataError: inputs that are not the program's.
    """
    cluster = Cluster(program, machine, watch=Watch(window=(0, FOREVER)))
    (hart,) = cluster.harts
    hart.store = hart.store.one_by_one()
    records = np.zeros(most, RETIRED)
    count = 0
    trap = None
    before = hart.state.v.copy()
    vectors: list[Wrote] = []
    in_unit = np.zeros(most, np.bool_)

    def left(insn: Insn, number: int) -> None:
        in_unit[number] = insn.is_vector or (
            insn.timing in _ARITHMETIC and not insn.mnemonic.startswith("fmv.")
        )
        if insn.is_vector:
            rows = np.flatnonzero((hart.state.v != before).any(1))
            vectors.append(Wrote(number, rows, hart.state.v[rows].copy()))
            before[rows] = hart.state.v[rows]

    try:
        cluster.begin(inputs)
    except TrapError as error:
        return Steps(records[:0], 0, error, program.entry, cluster)
    while True:
        here = hart.here()
        if count == most:
            raise ProgramError(f"more than {most:,} instructions without an end: endless loop?")
        record = records[count]
        record["pc"], record["word"], record["fcsr"] = here.pc, hart.store.word(here.pc), hart.state["fcsr"]
        address = _address(here.insn, here.fields, hart.state.x)
        try:
            event = cluster.step()
        except TrapError as error:
            if hart.instructions > count:  # the instruction went through, the next one cannot be fetched
                _result(record, here.insn, here.fields, address, cluster)
                left(here.insn, count)
                count += 1
            trap = error
            break
        if not event.paused and event.insn.mnemonic == "ecall":
            break
        _result(record, here.insn, here.fields, address, cluster)
        left(here.insn, count)
        count += 1
    seen = hart.observed().records
    assert seen.size == count == hart.instructions
    records = records[:count]
    records["cycle"] = seen["left"]
    pc = here.pc if trap is None or trap.pc is None else trap.pc
    return Steps(records, cluster.cycles, trap, pc, cluster, tuple(vectors), in_unit[:count])


def _address(insn: Insn, fields: dict[str, int], x: NDArray[np.int64]) -> int:
    """Of a scalar store."""
    if insn.kind is not Kind.STORE:
        return 0
    return int(x[fields["rs1"]]) + fields["imm"] & (1 << 64) - 1


def _result(record: np.void, insn: Insn, fields: dict[str, int], address: int, cluster: Cluster) -> None:
    """What an instruction that has been executed left."""
    state = cluster.harts[0].state
    record["destination"] = NOTHING
    if insn.kind is Kind.STORE:
        count = insn.syntax[0].type.bits // 8
        stored = cluster.memory.view(address, count, insn.mnemonic)
        record["kind"], record["address"] = STORED, address
        record["value"] = int.from_bytes(stored.tobytes(), "little")
    elif fields.get("rd", 0):
        record["kind"], record["destination"] = REGISTER, fields["rd"]
        record["value"] = int(state.x[fields["rd"]]) & (1 << 64) - 1
    elif "fd" in fields:
        record["kind"], record["destination"] = REGISTER, FLOAT + fields["fd"]
        record["value"] = int(state.f[fields["fd"]])


__all__ = ["FLOAT", "NOTHING", "NO_VALUE", "REGISTER", "RETIRED", "STORED", "Steps", "Wrote", "steps"]
