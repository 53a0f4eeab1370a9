"""Which register groups an instruction may name under a decode context (V specification 3.4, 3.7, 5.2, 5.3, 7.8).

What the specification calls reserved is illegal here, without exception: a vector register read with two element
widths, a destination that overlaps a source or the mask where it may not, a group that is misaligned or too long, an
instruction that must not resume at vstart.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from typing import NamedTuple

from potluck.isa.context import Context
from potluck.isa.insn import Insn, Kind, Operand

FLOAT_WIDTHS = (16, 32, 64)
MASK_REGISTER = range(1)  # v0


class Group(NamedTuple):
    """The registers that an operand names, and its element width in bits."""

    span: range
    eew: int
    emul: Fraction


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
    if (
        insn.kind is Kind.MASK
        or insn.attributes.get("mask")
        or insn.attributes.get("selector") == operand.name
    ):
        return True
    return insn.kind is Kind.COMPARE and operand.name == "vd"


def registers(operand: Operand, insn: Insn, context: Context) -> int:
    """How many registers a vector operand names: those of its group, or of all groups of a structure."""
    fields = insn.attributes.get("segments", 1) if operand is insn.syntax[0] else 1
    return int(fields) * max(1, int(group(operand, insn, context)[1]))


def check(insn: Insn, fields: dict[str, int], context: Context) -> str | None:
    """The reason why an instruction is illegal in this context, or None."""
    if _reserved_rounding(insn, fields, context):
        return "its rounding mode is reserved (rm or frm above 4)"
    if not insn.is_vector or insn.kind is Kind.VSET:
        return None
    whole = insn.attributes.get("whole_registers")
    if context.vill and (not whole or insn.kind is Kind.MAP):  # only loads and stores do not depend on vtype
        return "vtype.vill is set: no legal vset came before"
    if whole:
        wrong = [f"v{fields[o.name]}" for o in insn.syntax if o.bank == "v" and fields[o.name] % int(whole)]
        return f"register {wrong[0]} is not aligned to {whole} registers" if wrong else None
    if context.partway and (insn.kind is Kind.REDUCE or insn.attributes.get("vstart0")):
        return "it cannot start at an element other than 0, and vstart is not 0"
    return _vtype(insn, context) or _registers(insn, fields, context)


def _vtype(insn: Insn, context: Context) -> str | None:
    """SEW and what else the context must have."""
    wanted = insn.attributes.get("sew")
    if wanted is not None and context.sew not in (wanted if isinstance(wanted, tuple | list) else (wanted,)):
        return f"needs SEW={wanted}, vtype has SEW={context.sew}"
    if insn.attributes.get("bf16_destination") and not context.bf16_destination:
        return "fcsr bit 8 (fmode.dst) must be set for a BF16 result; an FP16 result is not implemented"
    floating = any(operand.type.kind == "f" for operand in insn.syntax)
    if context.altfmt and floating and "altfmt" not in insn.parameters:
        return "with vtype.altfmt set it is reserved"
    for operand in insn.syntax:
        kind = operand.type.at(context.sew)
        if operand.bank in ("v", "f") and kind.kind == "f" and kind.bits not in FLOAT_WIDTHS:
            return f"operand {operand.name} would be a float of {kind.bits} bits"
    return None


def _reserved_rounding(insn: Insn, fields: dict[str, int], context: Context) -> bool:
    """Scalar rows with a rounding mode, vector rows on floats (V §13.1): both even if they do not round."""
    if "rm" in fields:
        return (context.frm if fields["rm"] == 7 else fields["rm"]) > 4
    floating = any(operand.type.kind == "f" for operand in insn.syntax)
    coded = {"rounds", "raises", "flags"} & insn.attributes.keys()  # BF16 and FP8 operands are integers here
    return insn.is_vector and context.frm > 4 and bool(coded or floating)


def _registers(insn: Insn, fields: dict[str, int], context: Context) -> str | None:
    groups: dict[str, Group] = {}
    for operand in insn.syntax:
        if operand.bank != "v":
            continue
        eew, emul = group(operand, insn, context)
        if eew > 64 or (eew < 8 and not is_mask(operand, insn)):
            return f"operand {operand.name} has EEW={eew}, outside 8..64"
        if not Fraction(1, 8) <= emul <= 8:
            return f"operand {operand.name} has EMUL={emul}, outside 1/8..8"
        first, count = fields[operand.name], registers(operand, insn, context)
        if emul > 1 and first % int(emul):
            return f"register v{first} of {operand.name} is not aligned to EMUL={emul}"
        if "segments" in insn.attributes and operand is insn.syntax[0]:
            if count > 8:
                return f"{insn.attributes['segments']} fields with EMUL={emul} need more than 8 registers"
            if first + count > 32:
                return f"the {count} registers from v{first} on end past v31"
        groups[operand.name] = Group(range(first, first + count), eew, emul)
    masked = fields.get("vm") == 0 or "v0" in insn.parameters
    return (
        _two_widths(insn, groups, masked)
        or _mask_overlap(insn, groups, masked)
        or _source_overlap(insn, groups)
    )


def _meet(a: range, b: range) -> bool:
    return a.start < b.stop and b.start < a.stop


def _two_widths(insn: Insn, groups: dict[str, Group], masked: bool) -> str | None:
    """No register may be read with two element widths (5.2); the mask counts as width 1.

    VMXDOTP, which is not V's, reads elements and scales of any registers (as Spatz does).
    """
    if insn.timing == "vmxdotp":
        return None
    reads = [(name, g) for name, g in groups.items() if name != "vd" or "vd" in insn.parameters]
    if masked:
        reads.append(("the mask", Group(MASK_REGISTER, 1, Fraction(1))))
    for (one, a), (other, b) in combinations(reads, 2):
        if a.eew != b.eew and _meet(a.span, b.span):
            return f"{one} and {other} read one register with element widths {a.eew} and {b.eew}"
    return None


def _mask_overlap(insn: Insn, groups: dict[str, Group], masked: bool) -> str | None:
    """A masked instruction may overwrite v0 only with a mask or with the scalar of a reduction (5.3)."""
    destination = insn.syntax[0]
    if not masked or destination.name != "vd" or destination.element0:
        return None
    if is_mask(destination, insn) and not insn.attributes.get("no_overlap"):
        return None
    return (
        "the destination overlaps the mask register v0" if _meet(groups["vd"].span, MASK_REGISTER) else None
    )


def _source_overlap(insn: Insn, groups: dict[str, Group]) -> str | None:
    """A destination may overlap a source of another EEW only where the specification lets it (5.2)."""
    if "vd" not in groups or insn.kind is Kind.REDUCE:
        return None
    vd = groups["vd"]
    never = insn.attributes.get("no_overlap") or "segments" in insn.attributes
    for name, source in groups.items():
        if name == "vd" or not _meet(vd.span, source.span):
            continue
        if never:
            return f"the destination overlaps source {name}"
        if vd.eew == source.eew:
            continue
        if vd.eew < source.eew and vd.span.start == source.span.start:
            continue  # narrower result in the lowest part of the source group
        if vd.eew > source.eew and source.emul >= 1 and source.span.stop == vd.span.stop:
            continue  # wider result, source in the highest part
        return f"the destination overlaps source {name} of another width"
    return None
