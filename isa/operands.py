"""Operands of one instruction, text to values and back; the classes are those of ``potluck.isa.insn``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from potluck.isa.assembly.expressions import Expression
from potluck.isa.insn import COMPRESSED_REGISTERS, Insn
from potluck.isa.registers import (
    CSR_NAMES,
    CSRS,
    NAMES,
    NUMBERS,
    ROUNDING,
    ROUNDING_NAMES,
    format_vtype,
    parse_vtype,
)

ParseExpression = Callable[["str | int"], Expression]
_FENCE = "iorw"
_OFFSETS = ("imm", "uimm")
ORDER = ("aq", "rl")
"""Operands of atomic instructions that are written as suffixes of the mnemonic."""


def split_order(mnemonic: str) -> tuple[str, dict[str, int]]:
    """A mnemonic without its suffix ``.aq``, ``.rl`` or ``.aqrl``, and the bits that it means."""
    bare, dot, suffix = mnemonic.rpartition(".")
    if dot and bare and suffix in ("aq", "rl", "aqrl"):
        return bare, {"aq": int("aq" in suffix), "rl": int("rl" in suffix)}
    return mnemonic, {}


def order_suffix(values: dict[str, int]) -> str:
    """The suffix for the bits."""
    suffix = "".join(name for name in ORDER if values.get(name))
    return f".{suffix}" if suffix else ""


def default_rounding(insn: Insn) -> int:
    """The rm field when none is written: dynamic, but 0 for always exact conversions (as GNU as does)."""
    return 7 if insn.attributes.get("rounds") or "frm" in insn.parameters else 0


def width(insn: Insn, name: str) -> tuple[int, int]:
    """Lowest and one past the highest encoded bit of an operand."""
    pieces = [piece for piece in insn.pieces if piece.name == name]
    return min(piece.low for piece in pieces), max(piece.low + piece.width for piece in pieces)


def check_range(insn: Insn, name: str, value: int) -> int:
    """The raw value of an immediate written as ``value``.

    Raises:
        ValueError: it does not fit; says what would.
    """
    low, high = width(insn, name)
    if name in ("imm", "off"):
        scale = 12 if name == "imm" and low == 12 else 0  # lui and auipc are written in units of 4 KiB
        if scale and high < 32 and (1 << 20) - (1 << high - 13) <= value < 1 << 20:
            value -= 1 << 20  # c.lui takes the upper 20 bits of the sign-extended constant
        least, most = -(1 << high - 1 - scale), (1 << high - 1 - scale) - 1
        if scale and high == 32 and most < value < 1 << high - scale:
            value -= 1 << high - scale
        if not least <= value <= most:
            raise ValueError(f"{name} {value} does not fit: expected {least}..{most}")
        if name == "off" and value & (1 << low) - 1:
            raise ValueError(f"the target is {value} bytes away: expected a multiple of {1 << low}")
        if not scale and value & (1 << low) - 1:
            raise ValueError(f"{name} {value}: expected a multiple of {1 << low}")
        value <<= scale
    elif not 0 <= value < 1 << high or value & (1 << low) - 1:
        steps = f" in steps of {1 << low}" if low else ""
        raise ValueError(f"{name} {value} does not fit: expected 0..{(1 << high) - (1 << low)}{steps}")
    if value == 0 and name in insn.attributes.get("nonzero", ()):
        raise ValueError(f"{name} must not be 0 in {insn.mnemonic}")
    return value


def _register(bank: str, text: str | int, name: str) -> int:
    number = NUMBERS[bank].get(str(text).strip()) if not isinstance(text, int) else None
    if number is None:
        kind = {
            "x": "an integer register (a0, x10)",
            "f": "a floating register (fa0, f10)",
            "v": "a vector register",
        }
        raise ValueError(f"{text!r} for {name}: expected {kind[bank]}")
    if name in COMPRESSED_REGISTERS and not 8 <= number < 16:
        raise ValueError(f"{text!r} for {name}: expected one of the registers 8 to 15 (s0, s1, a0 to a5)")
    return number


def _fence(text: str | int, name: str) -> int:
    if isinstance(text, str) and re.fullmatch("i?o?r?w?", text) and text:
        return sum(8 >> _FENCE.index(letter) for letter in text)
    raise ValueError(f"{text!r} for {name}: expected a part of iorw")


def parse(insn: Insn, texts: Sequence[str | int], expression: ParseExpression) -> dict[str, Expression]:
    """Operand values of an instruction as written; range checks wait until a value is a number.

    Args:
        insn: the row.
        texts: operands in assembly order, split at commas; numbers may be integers.
        expression: parser of expressions.

    Returns:
        Values by operand name: raw encodings of registers and the like, unchecked expressions of immediates.

    Raises:
        ValueError: an operand is missing, superfluous or of the wrong kind; says what was expected.
    """
    rest = [text.strip() if isinstance(text, str) else text for text in texts]
    values: dict[str, Expression] = {}
    syntax = insn.syntax
    index = 0
    while index < len(syntax):
        operand = syntax[index]
        follower = syntax[index + 1] if index + 1 < len(syntax) else None
        if operand.name in ORDER:
            values[operand.name] = 0  # a suffix of the mnemonic
        elif operand.name == "vm":
            masked = bool(rest) and rest[0] == "v0.t"
            values["vm"] = 0 if masked else 1
            rest = rest[1:] if masked else rest
        elif operand.name == "rm":
            values["rm"] = (
                ROUNDING[str(rest.pop(0))] if rest and rest[0] in ROUNDING else default_rounding(insn)
            )
        elif not rest:
            raise ValueError(f"operand {operand.name} is missing: expected {syntax_text(insn)}")
        elif operand.name == "v0":
            if rest.pop(0) != "v0":
                raise ValueError("the mask operand must be v0")
        elif operand.name == "vtypei":
            text = ",".join(str(part) for part in rest)
            rest = []
            vtype = parse_vtype(text)
            values["vtypei"] = expression(text) if vtype is None else vtype
        elif operand.name == "sp" and not operand.memory:
            if _register("x", rest.pop(0), "sp") != 2:
                raise ValueError(f"{insn.mnemonic} works on sp alone")
        elif operand.memory or (operand.name in _OFFSETS and follower and follower.memory):
            offset, base = _split_memory(rest.pop(0), insn)
            if not operand.memory:
                values[operand.name] = expression(offset)
                index += 1
                operand = syntax[index]
            elif offset not in ("", "0"):
                raise ValueError(f"{insn.mnemonic} takes an address without an offset, e.g. (a0)")
            register = _register("x", base, operand.name)
            if operand.name != "sp":
                values[operand.name] = register
            elif register != 2:
                raise ValueError(f"{insn.mnemonic} addresses by sp alone")
        elif operand.bank in NUMBERS:
            number = values[operand.name] = _register(operand.bank, rest.pop(0), operand.name)
            if number == 0 and operand.name in insn.attributes.get("nonzero", ()):
                raise ValueError(f"{operand.name} must not be x0 in {insn.mnemonic}")
        elif operand.name == "csr":
            csr = rest.pop(0)
            values["csr"] = CSRS[csr] if isinstance(csr, str) and csr in CSRS else expression(csr)
        elif operand.name in ("pred", "succ"):
            values[operand.name] = _fence(rest.pop(0), operand.name)
        else:
            values[operand.name] = expression(rest.pop(0))
        index += 1
    if rest:
        raise ValueError(f"superfluous operand {rest[0]!r}: expected {syntax_text(insn)}")
    return values


def _split_memory(text: str | int, insn: Insn) -> tuple[str, str]:
    found = re.fullmatch(r"(.*)\((\s*\w+\s*)\)", str(text))
    if not found:
        raise ValueError(f"{text!r}: expected an address, {syntax_text(insn)}")
    return found[1].strip() or "0", found[2].strip()


def finish(insn: Insn, values: dict[str, int]) -> dict[str, int]:
    """Raw encodings from operand values as written, range-checked."""
    return {
        name: check_range(insn, name, value) if name in _CHECKED else value for name, value in values.items()
    }


_CHECKED = frozenset(["imm", "off", "uimm", "shamt", "csr", "vtypei"])


def syntax_text(insn: Insn) -> str:
    """How an instruction is written, e.g. ``lw rd, imm(rs1)``; optional operands in brackets."""
    parts: list[str] = []
    previous = ""
    for operand in insn.syntax:
        if operand.name in ORDER:
            continue
        if operand.memory:
            offset = parts.pop() if previous in _OFFSETS else ""
            parts.append(f"{offset}({operand.name})")
        else:
            parts.append(
                {"vm": "[v0.t]", "rm": "[rm]", "vtypei": "e8..e64, m1.., ta|tu, ma|mu"}.get(
                    operand.name, operand.name
                )
            )
        previous = operand.name
    return f"{insn.mnemonic} {', '.join(parts)}".strip()


def format_operands(insn: Insn, values: dict[str, int]) -> str:
    """Operands in assembly syntax; :func:`parse` reads them back."""
    parts: list[str] = []
    previous = ""
    for operand in insn.syntax:
        name = operand.name
        if name == "v0":
            parts.append("v0")
        elif operand.memory:
            offset = parts.pop() if previous in _OFFSETS else ""
            parts.append(f"{offset}({'sp' if name == 'sp' else NAMES['x'][values[name]]})")
        elif name == "sp":
            parts.append("sp")
        elif name in ORDER:
            continue
        elif name == "vm":
            parts += [] if values["vm"] else ["v0.t"]
        elif name == "rm":
            parts += [] if values["rm"] == default_rounding(insn) else [_rounding(values["rm"])]
        elif operand.bank in NAMES:
            parts.append(NAMES[operand.bank][values[name]])
        elif name == "csr":
            parts.append(CSR_NAMES.get(values[name], hex(values[name])))
        elif name == "vtypei":
            parts.append(format_vtype(values[name]))
        elif name in ("pred", "succ"):
            parts.append("".join(letter for k, letter in enumerate(_FENCE) if values[name] & 8 >> k) or "0")
        else:
            low, _ = width(insn, name)
            shifted = name == "imm" and low == 12
            parts.append(hex(values[name] >> low & 0xFFFFF) if shifted else str(values[name]))
        previous = name
    return ", ".join(parts)


def _rounding(value: int) -> str:
    return ROUNDING_NAMES.get(value, f"rm{value}")
