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
        rules: names of the rules of docs/timing.md that say how these keys become cycles.
        product: integer work that a separate integer unit leaves to the multipliers of the floating unit.
    """

    unit: str
    latency: str = ""
    rate: str = ""
    rules: str = ""
    product: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """Dotted machine keys that the time of such an instruction depends on, beside those that all share."""
        timing = tuple(f"timing.{key}" for key in (self.latency, self.rate) if key)
        return timing + _UNIT_KEYS.get(self.unit, ())


_UNIT_KEYS = {
    "float": ("vector.lanes",),
    "slide": ("vector.lanes",),
    "integer": ("vector.integer_lanes", "vector.integer_unit"),
    "vlsu": ("vector.ports", "vector.element_requests", "dram.latency_cycles", "dram.bytes_per_cycle"),
}
_MEMORY_RULES = (
    "memory-unit-stride memory-element-by-element memory-bank-conflict memory-segment memory-latency"
)

CLASSES = {
    "alu": TimingClass("core", rules="core-single-cycle"),
    "mul": TimingClass("core", "mul", rules="core-multiply"),
    "div": TimingClass("core", "div", rules="core-divide core-one-division"),
    "branch": TimingClass("core", rate="branch_taken", rules="core-branch"),
    "jump": TimingClass("core", rate="jump", rules="core-branch"),
    "csr": TimingClass("core", rules="core-single-cycle core-drain"),
    "system": TimingClass("core", rules="core-single-cycle"),
    "fence": TimingClass("core", rules="core-single-cycle"),
    "fence_i": TimingClass("core", rate="fence_i", rules="core-fence-i core-after-floats"),
    "dma": TimingClass("core", rules="core-single-cycle dma-transfer dma-overlap"),
    "load": TimingClass(
        "lsu",
        "load",
        rules="core-load core-one-load core-load-after-vector-store core-after-floats core-far-load",
    ),
    "store": TimingClass(
        "lsu", "load", rules="core-single-cycle core-store-after-vector-access core-after-floats"
    ),
    "amo": TimingClass("lsu", "amo", rules="core-atomic core-after-floats"),
    "fload": TimingClass("sequencer", "float_load", rules="sequencer-float-loads sequencer-float-order"),
    "fstore": TimingClass("sequencer", "load", rules="sequencer-float-order"),
    "fma": TimingClass("float", "fma", rules="sequencer-arithmetic"),
    "fcvt": TimingClass("float", "convert", rules="sequencer-arithmetic"),
    "fmove": TimingClass("float", "noncomp", rules="sequencer-arithmetic sequencer-move"),
    "fdiv": TimingClass("float", "fma", "divide_per_element", rules="sequencer-divide"),
    "vset": TimingClass("controller", rules="controller-vset-id controller-vset-result"),
    "vfma": TimingClass("float", "fma", rules="unit-float-rate unit-latency"),
    "vfnoncomp": TimingClass("float", "noncomp", rules="unit-float-rate unit-latency unit-estimates"),
    "vfcvt": TimingClass("float", "convert", rules="unit-float-rate unit-latency"),
    "vfdiv": TimingClass("float", "fma", "divide_per_element", rules="unit-divide"),
    "vfred": TimingClass("float", "fma", "reduction_tail", rules="unit-reduction"),
    "vmxdotp": TimingClass("float", "vmxdotp", rules="unit-vmxdotp-rate unit-scale-conflict unit-latency"),
    "vint": TimingClass("integer", "integer", rules="unit-integer-rate unit-integer-latency"),
    "vwint": TimingClass("integer", "integer", rules="unit-integer-rate unit-integer-latency"),
    "vmask": TimingClass("integer", "integer", rules="unit-integer-rate chain-at-end"),
    "vimul": TimingClass(
        "integer",
        "integer",
        rules="unit-integer-rate unit-integer-latency unit-separate-integers",
        product=True,
    ),
    "vidiv": TimingClass(
        "integer", "integer", "divide_per_element", rules="unit-divide unit-separate-integers", product=True
    ),
    "vred": TimingClass("integer", "integer", "reduction_tail", rules="unit-reduction"),
    "vmove": TimingClass("slide", "move", rules="unit-slide unit-latency"),
    "vslide": TimingClass("slide", "move", rules="unit-slide unit-latency"),
    "vxs": TimingClass("slide", "move", rules="controller-scalar-result"),
    "vgather": TimingClass("slide", "move", "gather_per_element", rules="unit-gather"),
    "vscan": TimingClass("slide", "move", "gather_per_element", rules="unit-gather"),
    "vload": TimingClass("vlsu", "vector_load", rules=_MEMORY_RULES + " memory-dram"),
    "vstore": TimingClass("vlsu", "vector_store", rules=_MEMORY_RULES + " memory-dram"),
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
