"""V 1.0: fixed-point arithmetic (chapter 12): saturation into vxsat, rounding by vxrm.

``attributes["saturates"]``: the meaning returns ``(value, whether it was clipped)``, and the latter accrues in vxsat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from potluck.isa.arithmetic.element import cast, different, equal, select
from potluck.isa.insn import Insn, Kind

OP = "1010111"
Meaning = Callable[[Any, Any, Any], Any]  # vs2, the other operand, vxrm
SATURATES: dict[str, Any] = {"saturates": True}
_SOURCES = {  # form -> field, operand, funct3 of OPI, funct3 of OPM
    "v": ("vs1", "vs1", "000", "010"),
    "x": ("rs1", "rs1", "100", "110"),
    "i": ("imm[4:0]", "imm", "011", ""),
    "u": ("uimm[4:0]", "uimm", "011", ""),
}


def _rows(name: str, code: str, forms: str, f: Meaning, doc: str, kind: str, attributes: dict[str, Any] | None = None,
          timing: str = "vint", opm: bool = False, wide: bool = False, rounds: bool = True) -> list[Insn]:  # fmt: skip
    """Rows of ``vd[i] = f(vs2[i], operand, vxrm)``; ``wide``: vs2 has twice the width."""
    rows = []
    for form in forms:
        field, source, opi_code, opm_code = _SOURCES[form]
        suffix = ("w" if wide else "v") + ("i" if form == "u" else form)
        rows.append(
            Insn(f"{name}.{suffix}", f"{code} vm vs2 {field} {opm_code if opm else opi_code} vd {OP}",
                 f"vd:{kind}, vs2:{'2' if wide else ''}{kind}, {source}:{kind}, vm", Kind.MAP, timing,
                 _meaning(f, source, rounds), doc, "V", dict(attributes or {}))
        )  # fmt: skip
    return rows


def _meaning(f: Meaning, source: str, rounds: bool) -> Callable[..., Any]:
    """``f`` with the parameter names of a form; only what rounds asks for vxrm."""
    rounding: dict[str, Callable[..., Any]] = {
        "vs1": lambda vs2, vs1, vxrm: f(vs2, vs1, vxrm),
        "rs1": lambda vs2, rs1, vxrm: f(vs2, rs1, vxrm),
        "imm": lambda vs2, imm, vxrm: f(vs2, imm, vxrm),
        "uimm": lambda vs2, uimm, vxrm: f(vs2, uimm, vxrm),
    }
    exact: dict[str, Callable[..., Any]] = {
        "vs1": lambda vs2, vs1: f(vs2, vs1, None),
        "rs1": lambda vs2, rs1: f(vs2, rs1, None),
        "imm": lambda vs2, imm: f(vs2, imm, None),
        "uimm": lambda vs2, uimm: f(vs2, uimm, None),
    }
    return (rounding if rounds else exact)[source]


def _increment(half: Any, rest: Any, odd: Any, vxrm: Any) -> Any:
    """Whether the truncated value grows by one (section 3.8): rnu, rne, rdn, rod.

    Args:
        half: the highest bit lost.
        rest: whether a lower bit was lost.
        odd: the lowest bit kept.
        vxrm: the rounding mode.
    """
    to_odd = (half | rest) & ~odd & equal(vxrm, 3)
    return select(equal(vxrm, 0), half, select(equal(vxrm, 1), half & (rest | odd), to_odd))


def round_off(x: Any, shift: Any, vxrm: Any) -> Any:
    """``x >> shift`` rounded by vxrm; the shift is below the width."""
    unit = (x & 0 | 1) << shift
    lost = x & (unit - 1)
    top = (bits(unit)) >> 1  # 0 if nothing is shifted out
    kept = x >> shift
    half, rest = different(lost & top, 0), different(lost & ~top, 0)
    return kept + cast(_increment(half, rest, different(kept & 1, 0), vxrm), x.type)


def bits(x: Any) -> Any:
    """The same bits as an unsigned number."""
    return cast(x, f"u{x.type.bits}")


def _half_of(floor: Any, lost: Any, vxrm: Any) -> Any:
    half, odd = different(lost, 0), different(floor & 1, 0)
    return floor + cast(_increment(half, half & ~half, odd, vxrm), floor.type)


def _average(a: Any, b: Any, vxrm: Any) -> Any:
    """Half of the sum, without the carry's extra bit: a + b = 2 (a & b) + (a ^ b)."""
    return _half_of((a & b) + ((a ^ b) >> 1), (a ^ b) & 1, vxrm)


def _half_difference(a: Any, b: Any, vxrm: Any) -> Any:
    """a - b = (a ^ b) - 2 (~a & b)."""
    return _half_of(((a ^ b) >> 1) - (~a & b), (a ^ b) & 1, vxrm)


def _limits(width: int) -> tuple[int, int]:
    return -(1 << width - 1), (1 << width - 1) - 1


def _clip(value: Any, overflow: Any, negative: Any) -> tuple[Any, Any]:
    least, most = _limits(value.type.bits)
    return select(overflow, select(negative, least, value & 0 | most), value), overflow


def _saturating_add(a: Any, b: Any, _: Any) -> tuple[Any, Any]:
    total = a + b
    return _clip(total, ((a ^ total) & (total ^ b)) < 0, a < 0)


def _saturating_add_unsigned(a: Any, b: Any, _: Any) -> tuple[Any, Any]:
    total = a + b
    return select(total < a, -1, total), total < a


def _saturating_subtract(a: Any, b: Any, _: Any) -> tuple[Any, Any]:
    total = a - b
    return _clip(total, ((a ^ b) & (a ^ total)) < 0, a < 0)


def _saturating_subtract_unsigned(a: Any, b: Any, _: Any) -> tuple[Any, Any]:
    return select(a < b, 0, a - b), a < b


def _fractional_product(a: Any, b: Any, vxrm: Any) -> tuple[Any, Any]:
    """Only the square of -1 does not fit."""
    width = a.type.bits
    least, most = _limits(width)
    product = cast(a, f"s{2 * width}") * cast(b, f"s{2 * width}")
    overflow = equal(a, least) & equal(b, least)
    return select(overflow, most, cast(round_off(product, width - 1, vxrm), a.type)), overflow


def _shift(a: Any, b: Any, vxrm: Any) -> Any:
    return round_off(a, b & (a.type.bits - 1), vxrm)


def _narrow(a: Any, b: Any, vxrm: Any) -> tuple[Any, Any]:
    """Shift, round and clip to half the width."""
    width = a.type.bits // 2
    value = round_off(a, cast(b, a.type) & (a.type.bits - 1), vxrm)
    if a.type.kind == "u":
        most = (1 << width) - 1
        return cast(select(value > most, most, value), f"u{width}"), value > most
    least, most = _limits(width)
    clipped = select(value > most, most, select(value < least, least, value))
    return cast(clipped, f"s{width}"), different(clipped, value)


ROWS = [
    *_rows("vsaddu", "100000", "vxi", _saturating_add_unsigned, "Add, saturating, unsigned.", "u", SATURATES,
           rounds=False),
    *_rows("vsadd", "100001", "vxi", _saturating_add, "Add, saturating.", "s", SATURATES, rounds=False),
    *_rows("vssubu", "100010", "vx", _saturating_subtract_unsigned, "Subtract, saturating, unsigned.", "u", SATURATES,
           rounds=False),
    *_rows("vssub", "100011", "vx", _saturating_subtract, "Subtract, saturating.", "s", SATURATES, rounds=False),
    *_rows("vaaddu", "001000", "vx", _average, "Average, unsigned.", "u", opm=True),
    *_rows("vaadd", "001001", "vx", _average, "Average.", "s", opm=True),
    *_rows("vasubu", "001010", "vx", _half_difference, "Half of the difference, unsigned.", "u", opm=True),
    *_rows("vasub", "001011", "vx", _half_difference, "Half of the difference.", "s", opm=True),
    *_rows("vsmul", "100111", "vx", _fractional_product, "Product of signed fractions, saturating.", "s", SATURATES,
           "vimul"),
    *_rows("vssrl", "101010", "vxu", _shift, "Shift right logical with rounding.", "u"),
    *_rows("vssra", "101011", "vxu", _shift, "Shift right arithmetic with rounding.", "s"),
    *_rows("vnclipu", "101110", "vxu", _narrow, "Shift right, round and clip to half the width, unsigned.", "u",
           SATURATES, "vwint", wide=True),
    *_rows("vnclip", "101111", "vxu", _narrow, "Shift right, round and clip to half the width.", "s", SATURATES,
           "vwint", wide=True),
]  # fmt: skip
