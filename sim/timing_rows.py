"""Timing rows: what the timer needs to know of one decoded instruction, as integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from potluck.isa.context import Context
from potluck.isa.insn import Insn, Kind
from potluck.isa.legality import registers
from potluck.isa.machine import Machine

# What kind of path the instruction takes.
(
    SCALAR,
    LOAD,
    STORE,
    BRANCH,
    DRAIN,
    FLOAT_LOAD,
    FLOAT_STORE,
    FLOAT,
    VSET,
    VECTOR,
    VECTOR_LOAD,
    VECTOR_STORE,
    MOVE,
) = range(13)
VFU, VLSU, VSLDU = range(3)
FPU, IPU = range(2)

# Columns.
(
    PATH, LATENCY, XD, XS1, XS2, FD, FS1, FS2, FS3, UNIT, MODE, NUMERATOR, DENOMINATOR, EXTRA, CHAINS, CREDIT, READS,
    FIRST_READ,
) = range(18)  # fmt: skip
IN_FLIGHT = 27
VD, VD_COUNT = 28, 29
TAKEN_PENALTY = 30
DRAM_LATENCY = 31
QUEUE = 32  # entries of the unit's queue, the executing instruction included
CONFLICTS = 33  # bit m: the m-th fetch of a scale word meets an element word in its bank
AT_END = 34  # the result is not there word by word but at the end
DRAM_BITS, DRAM_RATE = 35, 36  # bits per element and per cycle of a vector access to DRAM, in 1 / DRAM_UNIT
FIXED_VL = 37  # elements of an access whose length does not depend on vl; 0: vl elements
FIELDS = 38  # elements of a structure (segment loads and stores), else 1
DRAM_UNIT = 64
ROW = 40

_SCALAR_LATENCY = {"mul": "mul", "div": "div"}
_FLOAT_LATENCY = {"fma": "fma", "fcvt": "convert", "fmove": "noncomp"}
_VECTOR_LATENCY = {
    "vfma": "fma", "vfnoncomp": "noncomp", "vfcvt": "convert", "vmxdotp": "vmxdotp", "vint": "integer",
    "vimul": "integer", "vwint": "integer", "vmask": "integer", "vmove": "move", "vslide": "move", "vgather": "move",
    "vxs": "move", "vscan": "move", "vidiv": "integer", "vfdiv": "fma", "vred": "integer", "vfred": "fma",
}  # fmt: skip
_INTEGER = ("vint", "vimul", "vwint", "vmask", "vidiv", "vred")
_SLIDE = ("vmove", "vslide", "vgather", "vxs", "vscan")
_FCSR = (0x001, 0x002, 0x003, 0x800)


def timing_row(insn: Insn, fields: dict[str, int], context: Context, machine: Machine) -> NDArray[np.int32]:
    """The row of an instruction under a context; int32 [ROW]."""
    row = np.zeros(ROW, np.int32)
    row[[XD, XS1, XS2, FD, FS1, FS2, FS3, VD]] = -1
    row[NUMERATOR] = row[DENOMINATOR] = row[FIELDS] = 1
    _scalar_operands(row, insn, fields)
    t = machine.timing
    row[DRAM_LATENCY], row[IN_FLIGHT] = machine.dram.latency_cycles, machine.vector.in_flight
    row[QUEUE] = machine.vector.queue_depth
    if insn.timing in ("load", "store", "fload", "fstore", "amo"):
        row[PATH] = {"load": LOAD, "amo": LOAD, "store": STORE, "fload": FLOAT_LOAD, "fstore": FLOAT_STORE}[
            insn.timing
        ]
        row[LATENCY] = t.float_load if insn.timing == "fload" else t.load
    elif insn.kind in (Kind.BRANCH, Kind.JUMP):
        row[PATH] = BRANCH
        row[LATENCY] = 1
        row[TAKEN_PENALTY] = t.branch_taken if insn.kind is Kind.BRANCH else t.jump
    elif insn.kind is Kind.CSR:
        row[PATH] = DRAIN if fields["csr"] in _FCSR else SCALAR
        row[LATENCY] = 1
    elif insn.kind is Kind.VSET:
        row[PATH], row[LATENCY] = VSET, 2
    elif insn.is_vector:
        _vector(row, insn, fields, context, machine)
    elif insn.mnemonic.startswith("fmv."):
        row[PATH] = MOVE
        row[LATENCY] = t.float_result
    elif insn.timing in ("fma", "fcvt", "fdiv", "fmove"):
        row[PATH] = FLOAT
        row[LATENCY] = t.fma if insn.timing == "fdiv" else getattr(t, _FLOAT_LATENCY[insn.timing])
        row[LATENCY] += t.float_result
        row[EXTRA] = t.divide_per_element - 1 if insn.timing == "fdiv" else 0
    else:
        row[PATH] = SCALAR
        row[LATENCY] = getattr(t, _SCALAR_LATENCY[insn.timing]) if insn.timing in _SCALAR_LATENCY else 1
    return row


def _scalar_operands(row: NDArray[np.int32], insn: Insn, fields: dict[str, int]) -> None:
    xs, fs = [XS1, XS2], [FS1, FS2, FS3]
    for operand in insn.syntax:
        number = fields.get(operand.name, -1)
        if operand.bank == "x" and number:  # x0 is always ready and never written
            row[XD if operand.name == "rd" else xs.pop(0)] = number
        elif operand.bank == "f":
            row[FD if operand.name == "fd" else fs.pop(0)] = number


def _vector(
    row: NDArray[np.int32], insn: Insn, fields: dict[str, int], context: Context, machine: Machine
) -> None:
    vector = machine.vector
    row[CHAINS] = int(vector.chaining)
    _groups(row, insn, fields, context, machine)
    if insn.kind in (Kind.VLOAD, Kind.VSTORE):
        _memory(row, insn, context, machine)
        return
    row[PATH] = VECTOR
    row[UNIT] = VSLDU if insn.timing in _SLIDE else VFU
    row[MODE] = IPU if insn.timing in _INTEGER else FPU
    row[LATENCY] = getattr(machine.timing, _VECTOR_LATENCY[insn.timing])
    _rate(row, insn, fields, context, machine)
    if insn.kind in (Kind.REDUCE, Kind.COMPARE, Kind.MASK) or insn.timing in ("vgather", "vscan"):
        row[AT_END] = 1
    widths = {operand.type.at(context.sew).bits for operand in insn.syntax if operand.bank == "v"}
    row[CREDIT] = 2 if len(widths) > 1 and row[UNIT] == VFU else 1
    if row[UNIT] == VFU and row[MODE] == IPU:  # a word is written when its last part is there
        row[CREDIT] *= max(1, machine.vector.lanes // machine.vector.integer_lanes)
    if insn.mnemonic.startswith("vslideup"):
        row[CHAINS] = 0


def _rate(
    row: NDArray[np.int32], insn: Insn, fields: dict[str, int], context: Context, machine: Machine
) -> None:
    """Cycles of operand reads: EXTRA + vl * NUMERATOR / DENOMINATOR."""
    t, vector = machine.timing, machine.vector
    lanes = vector.integer_lanes if insn.timing in _INTEGER else vector.lanes
    row[NUMERATOR], row[DENOMINATOR] = _width(insn, context), 64 * lanes
    whole = insn.attributes.get("whole_registers")
    if whole:  # vl does not matter
        row[NUMERATOR], row[EXTRA] = 0, int(whole) * vector.vlen // (64 * lanes)
    elif insn.kind is Kind.MASK:
        row[NUMERATOR] = 1
    elif insn.timing == "vmxdotp":
        row[NUMERATOR], row[DENOMINATOR] = 1, vector.lanes
        row[CONFLICTS] = _scale_conflicts(fields, machine)
    elif insn.timing in ("vfdiv", "vidiv"):
        row[NUMERATOR], row[DENOMINATOR] = t.divide_per_element, lanes
    elif insn.timing in ("vgather", "vscan"):
        row[NUMERATOR], row[DENOMINATOR] = t.gather_per_element, 1
    elif insn.timing in ("vred", "vfred"):
        row[EXTRA] = t.reduction_tail
    elif insn.syntax[0].element0 or insn.syntax[0].bank != "v":
        row[NUMERATOR], row[EXTRA] = 0, 1


def _scale_conflicts(fields: dict[str, int], machine: Machine) -> int:
    """Which fetches of scale words meet an element word in the same bank (vs3 with vs2, vs4 with vs1).

    A word of scales serves 8 cycles; word w of register r lies in bank (w + r * words + r / 8) mod banks
    (facts vmxdotp §2.1, §4). The ``f`` forms read no vs1 and no vs3, so they have no conflict.
    """
    if "vs1" not in fields:
        return 0
    words = max(1, machine.vector.vlen // (64 * machine.vector.lanes))

    def bank(register: int, word: int) -> int:
        return (word + register * words + (register + word // words) // 8) % machine.vector.vrf_banks

    found = 0
    for fetch in range(31):
        for scale, element in (("vs3", "vs2"), ("vs4", "vs1")):
            if bank(fields[scale], fetch) == bank(fields[element], 8 * fetch):
                found |= 1 << fetch
    return found


def _memory(row: NDArray[np.int32], insn: Insn, context: Context, machine: Machine) -> None:
    load = insn.kind is Kind.VLOAD
    ports = machine.vector.ports
    row[PATH], row[UNIT] = VECTOR_LOAD if load else VECTOR_STORE, VLSU
    row[LATENCY] = machine.timing.vector_load if load else machine.timing.vector_store
    eew = insn.syntax[0].type.at(context.sew).bits
    whole, mask = insn.attributes.get("whole_registers"), bool(insn.attributes.get("mask"))
    if whole:
        row[FIXED_VL] = int(whole) * machine.vector.vlen // eew
    row[NUMERATOR], row[DENOMINATOR] = (1 if mask else eew), 64 * ports
    row[DRAM_BITS] = DRAM_UNIT * row[NUMERATOR]
    row[DRAM_RATE] = max(1, round(8 * DRAM_UNIT * machine.dram.bytes_per_cycle))
    # One element per port and cycle instead, times the bank conflicts of the access class; a byte holds 8 mask bits.
    row[MODE] = 8 * ports if mask else ports
    row[FIELDS] = insn.attributes.get("segments", 1)
    if insn.attributes.get("strided") or insn.attributes.get("indexed"):
        row[CHAINS] = 0


def _width(insn: Insn, context: Context) -> int:
    """Bits per element that pace the datapath: the widest vector operand."""
    widths = [o.type.at(context.sew).bits for o in insn.syntax if o.bank == "v" and not o.element0]
    return max(widths, default=context.sew)


def _groups(
    row: NDArray[np.int32], insn: Insn, fields: dict[str, int], context: Context, machine: Machine
) -> None:
    """Vector register groups read and written; a masked instruction reads v0."""
    reads: list[tuple[int, int]] = []
    for operand in insn.syntax:
        if operand.bank != "v":
            continue
        span = fields[operand.name], registers(operand, insn, context)
        source = operand.name != "vd"
        if not source:
            row[VD], row[VD_COUNT] = span
        if source or "vd" in insn.parameters:
            reads.append(span)
    if fields.get("vm") == 0 or "v0" in insn.parameters:
        reads.append((0, 1))
    row[READS] = len(reads)
    for index, (first, count) in enumerate(reads):
        row[FIRST_READ + 2 * index], row[FIRST_READ + 2 * index + 1] = first, count
