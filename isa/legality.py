"""Which register groups an instruction may name under a decode context (V specification §3.4, §5.2)."""

from __future__ import annotations

from fractions import Fraction

from potluck.isa.context import Context
from potluck.isa.insn import Insn, Kind, Operand

FLOAT_WIDTHS = (16, 32, 64)


def group(operand: Operand, insn: Insn, context: Context) -> tuple[int, Fraction]:
    """EEW in bits and EMUL of a vector operand; mask operands count as one register."""
    if is_mask(operand, insn) or operand.element0:
        return 1 if is_mask(operand, insn) else operand.type.at(context.sew).bits, Fraction(1)
    whole = insn.attributes.get("whole_registers")
    if whole:
        return operand.type.at(8).bits, Fraction(int(whole))
    eew = operand.type.at(context.sew).bits
    return eew, context.lmul * Fraction(eew, context.sew)


def is_mask(operand: Operand, insn: Insn) -> bool:
    """Whether a vector operand is a mask register."""
    if insn.kind is Kind.MASK or insn.attributes.get("mask"):
        return True
    return insn.kind is Kind.COMPARE and operand.name == "vd"


def check(insn: Insn, fields: dict[str, int], context: Context) -> str | None:
    """The reason why an instruction is illegal in this context, or None."""
    if not insn.is_vector or insn.kind is Kind.VSET:
        return None
    whole = insn.attributes.get("whole_registers")
    if whole:
        wrong = [f"v{fields[o.name]}" for o in insn.syntax if o.bank == "v" and fields[o.name] % int(whole)]
        return f"register {wrong[0]} is not aligned to {whole} registers" if wrong else None
    if context.vill:
        return "vtype.vill is set: no legal vset came before"
    wanted = insn.attributes.get("sew")
    if wanted is not None and context.sew not in (wanted if isinstance(wanted, tuple | list) else (wanted,)):
        return f"needs SEW={wanted}, vtype has SEW={context.sew}"
    if insn.attributes.get("bf16_destination") and not context.bf16_destination:
        return "fcsr bit 8 (fmode.dst) must be set for a BF16 result; an FP16 result is not implemented"
    result = insn.syntax[0].type.at(context.sew)
    if insn.timing == "vfma" and result.kind == "f" and result.bits == 16 and "vd" in insn.parameters:
        return "fused multiply-add into FP16 (Zvfh) is not modeled"
    groups: dict[str, tuple[int, int, Fraction]] = {}
    for operand in insn.syntax:
        if operand.bank not in ("v", "f"):
            continue
        kind = operand.type.at(context.sew)
        if kind.kind == "f" and kind.bits not in FLOAT_WIDTHS:
            return f"operand {operand.name} would be a float of {kind.bits} bits"
        if operand.bank == "f":
            continue
        eew, emul = group(operand, insn, context)
        if eew > 64 or (eew < 8 and not is_mask(operand, insn)):
            return f"operand {operand.name} has EEW={eew}, outside 8..64"
        if not Fraction(1, 8) <= emul <= 8:
            return f"operand {operand.name} has EMUL={emul}, outside 1/8..8"
        register = fields[operand.name]
        if emul > 1 and register % int(emul):
            return f"register v{register} of {operand.name} is not aligned to EMUL={emul}"
        groups[operand.name] = (register, eew, emul)
    return _mask_overlap(insn, fields, groups) or _source_overlap(insn, groups)


def _span(register: int, emul: Fraction) -> range:
    return range(register, register + max(1, int(emul)))


def _mask_overlap(
    insn: Insn, fields: dict[str, int], groups: dict[str, tuple[int, int, Fraction]]
) -> str | None:
    destination = insn.syntax[0]
    masked = fields.get("vm") == 0 or "v0" in insn.parameters
    if not masked or destination.name != "vd" or destination.element0 or insn.kind is Kind.COMPARE:
        return None
    if groups["vd"][0] == 0 and not is_mask(destination, insn):
        return "the destination overlaps the mask register v0"
    return None


def _source_overlap(insn: Insn, groups: dict[str, tuple[int, int, Fraction]]) -> str | None:
    """A destination may overlap a source of another EEW only where the specification lets it."""
    if "vd" not in groups or insn.kind in (Kind.VLOAD, Kind.REDUCE):
        return None
    vd, eew, emul = groups["vd"]
    never = insn.attributes.get("no_overlap") or insn.timing == "vmxdotp"
    for name, (register, source_eew, source_emul) in groups.items():
        if name == "vd" or not set(_span(vd, emul)) & set(_span(register, source_emul)):
            continue
        if never:
            return f"the destination overlaps source {name}"
        if eew == source_eew:
            continue
        if eew < source_eew and vd == register:
            continue  # narrower result in the lowest part of the source group
        if eew > source_eew and source_emul >= 1 and register + int(source_emul) == vd + int(emul):
            continue  # wider result, source in the highest part
        return f"the destination overlaps source {name} of another width"
    return None
