"""Energy of instructions: a fixed part and a part per element, by component, from the machine's energy table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from potluck.isa.context import Context
from potluck.isa.insn import Insn, Kind
from potluck.isa.legality import is_mask
from potluck.isa.machine import Machine

COMPONENTS = ("core", "fpu", "ipu", "vrf", "l1")
CORE, FPU, IPU, VRF, L1 = range(5)

_INTEGER = ("vint", "vimul", "vwint", "vidiv", "vred", "vmask")
_SIMPLE = ("vfnoncomp", "vfcvt")


def instruction_energy(insn: Insn, context: Context, machine: Machine) -> NDArray[np.float64]:
    """Picojoules of one execution: float64 [2, components], fixed and per vl element."""
    energy = np.zeros((2, len(COMPONENTS)))
    energy[0, CORE] = machine.pj("instruction")
    if not insn.is_vector:
        if insn.kind in (Kind.LOAD, Kind.STORE, Kind.ATOMIC):
            energy[0, L1] = insn.syntax[0].type.at(context.sew).bits / 8 * machine.pj("l1")
        elif insn.timing in ("fma", "fcvt", "fdiv"):
            energy[0, FPU] = machine.pj("fma64" if insn.mnemonic.endswith(".d") else "fma32")
        return energy
    if insn.kind is Kind.VSET or context.vill:
        return energy
    vector = [operand for operand in insn.syntax if operand.bank == "v" and not operand.element0]
    widths = {operand.name: _bytes(operand.name, insn, context) for operand in vector}
    accessed = sum(widths.values()) + (widths.get("vd", 0.0) if "vd" in insn.parameters else 0.0)
    if insn.kind in (Kind.VLOAD, Kind.VSTORE):
        data = insn.syntax[0].type.at(context.sew).bits / 8 * insn.attributes.get("segments", 1)
        whole = insn.attributes.get("whole_registers")
        row, scale = (0, int(whole) * machine.vector.vlen / 8) if whole else (1, data)
        energy[row, L1] += scale * machine.pj("l1")
        energy[row, VRF] += scale * machine.pj("vrf")
        return energy
    whole = insn.attributes.get("whole_registers")
    if whole:  # a move of registers reads and writes all their bytes, whatever vl is
        energy[0, VRF] += 2 * int(whole) * machine.vector.vlen / 8 * machine.pj("vrf")
        return energy
    if insn.timing == "vmxdotp":
        # The accumulator's whole 64-bit share of a word is read every cycle (facts vmxdotp §2.1).
        accessed = accessed - widths["vd"] + 8
        energy[1, FPU] = machine.pj("vmxdotp")
    elif insn.timing in ("vfma", "vfdiv", "vfred"):
        widest = int(8 * max(widths.values(), default=4.0))
        energy[1, FPU] = machine.pj(f"fma{min(64, max(16, widest))}")
    elif insn.timing in _SIMPLE:
        energy[1, FPU] = max(widths.values(), default=4.0) / 8 * machine.pj("noncomp")
    elif insn.timing in _INTEGER:
        energy[1, IPU] = max(widths.values(), default=4.0) / 8 * machine.pj("integer")
    energy[1, VRF] = accessed * machine.pj("vrf")
    return energy


def _bytes(name: str, insn: Insn, context: Context) -> float:
    """Bytes per element of a vector operand."""
    operand = insn.operand(name)
    return 0.125 if is_mask(operand, insn) else operand.type.at(context.sew).bits / 8
