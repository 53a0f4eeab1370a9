"""Timing classes: where the instructions of a class execute and which machine keys time them.

An instruction names its class in its row of the table; this is the only list of classes. A class that is not here is
an error, never a default.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from potluck.isa.context import Context
from potluck.isa.errors import MachineError
from potluck.isa.insn import Insn
from potluck.isa.latency import LONGEST
from potluck.isa.legality import is_mask
from potluck.isa.machine import Machine


@dataclass(frozen=True, slots=True)
class TimingClass:
    """Where and how long.

    Attributes:
        unit: ``core``, ``lsu`` (the core's memory port), ``sequencer``, ``controller``, ``float`` and ``integer`` (the
            vector unit's arithmetic; scalar floats run there as well), ``vlsu``, ``slide``.
        latency: key of ``[timing]`` from operand read to result; empty: one cycle.
        rate: key of ``[timing]`` that slows elements down or follows the last one; empty: full rate.
        product: integer work that a separate integer unit leaves to the multipliers of the floating unit.
    """

    unit: str
    latency: str = ""
    rate: str = ""
    product: bool = False


CLASSES = {
    "alu": TimingClass("core"),
    "mul": TimingClass("core", "mul"),
    "div": TimingClass("core", "div"),
    "branch": TimingClass("core", rate="branch_taken"),
    "jump": TimingClass("core", rate="jump"),
    "csr": TimingClass("core"),
    "system": TimingClass("core"),
    "fence": TimingClass("core"),
    "fence_i": TimingClass("core", rate="fence_i"),
    "dma": TimingClass("core"),
    "load": TimingClass("lsu", "load"),
    "store": TimingClass("lsu", "load"),
    "amo": TimingClass("lsu", "amo"),
    "fload": TimingClass("sequencer", "float_load"),
    "fstore": TimingClass("sequencer", "load"),
    "fma": TimingClass("float", "fma"),
    "fcvt": TimingClass("float", "convert"),
    "fmove": TimingClass("float", "noncomp"),
    "fdiv": TimingClass("float", "fma", "divide_per_element"),
    "vset": TimingClass("controller"),
    "vfma": TimingClass("float", "fma"),
    "vfnoncomp": TimingClass("float", "noncomp"),
    "vfcvt": TimingClass("float", "convert"),
    "vfdiv": TimingClass("float", "fma", "divide_per_element"),
    "vfred": TimingClass("float", "fma", "reduction_tail"),
    "vmxdotp": TimingClass("float", "vmxdotp"),
    "vint": TimingClass("integer", "integer"),
    "vwint": TimingClass("integer", "integer"),
    "vmask": TimingClass("integer", "integer"),
    "vimul": TimingClass("integer", "integer", product=True),
    "vidiv": TimingClass("integer", "integer", "divide_per_element", product=True),
    "vred": TimingClass("integer", "integer", "reduction_tail"),
    "vmove": TimingClass("slide", "move"),
    "vslide": TimingClass("slide", "move"),
    "vxs": TimingClass("slide", "move"),
    "vgather": TimingClass("slide", "move", "gather_per_element"),
    "vscan": TimingClass("slide", "move", "gather_per_element"),
    "vload": TimingClass("vlsu", "vector_load"),
    "vstore": TimingClass("vlsu", "vector_store"),
}


def timing_class(insn: Insn) -> TimingClass:
    """The class of an instruction.

    Raises:
        MachineError: its row names none that exists.
    """
    if insn.timing not in CLASSES:
        raise MachineError(
            f"instruction {insn.mnemonic} has the timing class {insn.timing!r}, which does not exist",
            hint=f"Classes: {', '.join(CLASSES)}",
        )
    return CLASSES[insn.timing]


def cycles(key: str, insn: Insn, context: Context, machine: Machine) -> int:
    """A key of ``[timing]`` for an instruction under a context.

    Raises:
        MachineError: a formula gives no positive number of cycles (0 is allowed where the key allows it).
    """
    value = getattr(machine.timing, key)
    if isinstance(value, int):
        return value
    vector = machine.vector
    integer = timing_class(insn).unit == "integer"
    names: dict[str, int | Fraction] = {
        "sew": context.sew, "width": width(insn, context), "lmul": context.lmul, "vlen": vector.vlen,
        "vlmax": context.vlmax(vector.vlen), "lanes": vector.integer_lanes if integer else vector.lanes,
        "ports": vector.ports, "nf": insn.attributes.get("segments", 1),
    }  # fmt: skip
    found = int(value.at(names, f"timing.{key}"))
    if not (0 if key in ("float_result", "reduction_tail") else 1) <= found <= LONGEST:
        raise MachineError(f"{value.source!r} gives {found} cycles for {insn.mnemonic}", key=f"timing.{key}")
    return found


def width(insn: Insn, context: Context) -> int:
    """Bits of the widest vector operand that is no mask, else of the widest float, else of the widest integer."""
    for bank in "vfx":
        found = [o.type.at(context.sew).bits for o in insn.syntax if o.bank == bank and not is_mask(o, insn)]
        if found:
            return max(found)
    return context.sew if insn.is_vector else 64
