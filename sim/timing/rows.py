"""Timing rows: what the timer needs to know of one decoded instruction, as integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from potluck.isa.context import Context
from potluck.isa.insn import Insn, Kind
from potluck.isa.legality import registers
from potluck.isa.machine import Machine
from potluck.sim.dram.attach import core_latency, core_rate
from potluck.sim.timing.classes import cycles, timing_class

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
VFU, VLSU, VSLDU, VALU = range(4)
FPU, IPU = range(2)
# Modes of instructions of the core: it divides; it loads and stores.
DIVIDES, ATOMIC = 1, 1

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
PORT_WORD = 39  # consecutive elements of an element-wise access that are one port's
GRAIN = 40  # elements per request of such an access: a byte holds 8 mask bits
PACE = 41  # cycles in which a register of the result is made; 0: they are taken to be ready together
DRAM_UNIT = 64
ROW = 42

_UNITS = {"float": VFU, "integer": VFU, "slide": VSLDU}
_PATHS = {
    "load": LOAD, "amo": LOAD, "store": STORE, "fload": FLOAT_LOAD, "fstore": FLOAT_STORE, "branch": BRANCH,
    "jump": BRANCH, "fence_i": STORE,
}  # fmt: skip
_UNIT_PATHS = {"core": SCALAR, "float": FLOAT, "controller": VSET}
_FCSR = (0x001, 0x002, 0x003, 0x800)


def timing_row(insn: Insn, fields: dict[str, int], context: Context, machine: Machine) -> NDArray[np.int32]:
    """The row of an instruction under a context; int32 [ROW]."""
    row = np.zeros(ROW, np.int32)
    row[[XD, XS1, XS2, FD, FS1, FS2, FS3, VD]] = -1
    row[NUMERATOR] = row[DENOMINATOR] = row[FIELDS] = row[PORT_WORD] = row[GRAIN] = 1
    _scalar_operands(row, insn, fields)
    known = timing_class(insn)
    row[DRAM_LATENCY], row[IN_FLIGHT] = core_latency(machine), machine.vector.in_flight
    row[QUEUE] = machine.vector.queue_depth
    if insn.is_vector and insn.kind is not Kind.VSET:
        _vector(row, insn, fields, context, machine)
        return row
    row[PATH] = _PATHS[insn.timing] if insn.timing in _PATHS else _UNIT_PATHS[known.unit]
    row[LATENCY] = cycles(known.latency, insn, context, machine) if known.latency else 1
    if insn.timing == "amo":
        row[MODE] = ATOMIC
    elif insn.timing == "div":
        row[MODE] = DIVIDES
    elif known.rate and known.unit == "core":  # branches, and fence.i, which always refills the fetch stage
        row[TAKEN_PENALTY] = cycles(known.rate, insn, context, machine)
    elif insn.kind is Kind.CSR and fields["csr"] in _FCSR:
        row[PATH] = DRAIN
    elif insn.kind is Kind.VSET:
        row[PATH], row[LATENCY] = VSET, 2
    elif insn.mnemonic.startswith("fmv."):
        row[PATH], row[LATENCY] = MOVE, cycles("float_result", insn, context, machine)
    elif known.unit == "float":
        row[PATH] = FLOAT
        row[LATENCY] += cycles("float_result", insn, context, machine)
        row[EXTRA] = cycles(known.rate, insn, context, machine) - 1 if known.rate else 0
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
    known = timing_class(insn)
    integer = known.unit == "integer"
    row[UNIT], row[MODE] = _UNITS[known.unit], IPU if integer else FPU
    if (
        vector.integer_unit == "separate"
    ):  # nothing switches: products run on the multipliers of the floating unit
        row[UNIT], row[MODE] = VALU if integer and not known.product else row[UNIT], FPU
    row[LATENCY] = cycles(known.latency, insn, context, machine)
    _rate(row, insn, fields, context, machine)
    _pace(row, insn, context, machine)
    if insn.kind in (Kind.REDUCE, Kind.COMPARE, Kind.MASK) or insn.timing in ("vgather", "vscan"):
        row[AT_END] = 1
    widths = {operand.type.at(context.sew).bits for operand in insn.syntax if operand.bank == "v"}
    row[CREDIT] = 2 if len(widths) > 1 and row[UNIT] != VSLDU else 1
    if integer:  # a word is written when its last part is there
        row[CREDIT] *= max(1, machine.vector.lanes // machine.vector.integer_lanes)
    if insn.mnemonic.startswith("vslideup"):
        row[CHAINS] = 0


def _rate(
    row: NDArray[np.int32], insn: Insn, fields: dict[str, int], context: Context, machine: Machine
) -> None:
    """Cycles of operand reads: EXTRA + vl * NUMERATOR / DENOMINATOR."""
    vector, known = machine.vector, timing_class(insn)
    lanes = vector.integer_lanes if known.unit == "integer" else vector.lanes
    rate = cycles(known.rate, insn, context, machine) if known.rate else 0
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
        row[NUMERATOR], row[DENOMINATOR] = rate, lanes
    elif insn.timing in ("vgather", "vscan"):
        row[NUMERATOR], row[DENOMINATOR] = rate, 1
    elif insn.timing in ("vred", "vfred"):
        row[EXTRA] = rate
    elif insn.syntax[0].element0 or insn.syntax[0].bank != "v":
        row[NUMERATOR], row[EXTRA] = 0, 1


def _pace(row: NDArray[np.int32], insn: Insn, context: Context, machine: Machine) -> None:
    """Cycles in which a register of a result is made, if each takes as many."""
    result = insn.syntax[0]
    if result.bank == "v" and not result.element0 and row[NUMERATOR]:
        cycles_of_all = machine.vector.vlen // result.type.at(context.sew).bits * row[NUMERATOR]
        row[PACE] = 0 if cycles_of_all % row[DENOMINATOR] else cycles_of_all // row[DENOMINATOR]


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
    row[LATENCY] = cycles(timing_class(insn).latency, insn, context, machine)
    eew = insn.syntax[0].type.at(context.sew).bits
    whole, mask = insn.attributes.get("whole_registers"), bool(insn.attributes.get("mask"))
    if whole:
        row[FIXED_VL] = int(whole) * machine.vector.vlen // eew
    row[NUMERATOR], row[DENOMINATOR] = (1 if mask else eew), 64 * ports
    row[DRAM_BITS] = DRAM_UNIT * row[NUMERATOR]
    row[DRAM_RATE] = max(1, round(8 * DRAM_UNIT * core_rate(machine)))
    # One element per port (or request) and cycle instead, times the bank conflicts of the access class. A port takes
    # the elements of its own 64 bits of a register file word (RTL), so a short vector keeps few ports busy.
    row[MODE] = machine.vector.element_requests or ports
    row[FIELDS] = insn.attributes.get("segments", 1)
    row[GRAIN] = 8 if mask else 1
    if not machine.vector.element_requests and row[FIELDS] == 1:
        row[PORT_WORD] = 64 // eew
    if insn.attributes.get("strided") or insn.attributes.get("indexed"):
        row[CHAINS] = 0
    elif load and row[FIELDS] == 1 and not mask:
        _pace(row, insn, context, machine)


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
