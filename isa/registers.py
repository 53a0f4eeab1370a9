"""Names of registers, CSRs and vector types, both ways."""

from __future__ import annotations

import re

X_NAMES = ["zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6"]
F_NAMES = ["ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2", "fa3", "fa4", "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11"]
V_NAMES = [f"v{n}" for n in range(32)]
NAMES = {"x": X_NAMES, "f": F_NAMES, "v": V_NAMES}
"""Preferred (ABI) names by bank."""

NUMBERS: dict[str, dict[str, int]] = {
    "x": {**{name: n for n, name in enumerate(X_NAMES)}, **{f"x{n}": n for n in range(32)}, "fp": 8},
    "f": {**{name: n for n, name in enumerate(F_NAMES)}, **{f"f{n}": n for n in range(32)}},
    "v": {name: n for n, name in enumerate(V_NAMES)},
}
"""Register numbers by bank and name, ABI and numeric."""

CSRS = {
    "fflags": 0x001, "frm": 0x002, "fcsr": 0x003, "vstart": 0x008, "vxsat": 0x009, "vxrm": 0x00A, "vcsr": 0x00F,
    "fmode": 0x800, "mcycle": 0xB00, "minstret": 0xB02, "cycle": 0xC00, "time": 0xC01, "instret": 0xC02,
    "vl": 0xC20, "vtype": 0xC21, "vlenb": 0xC22, "mhartid": 0xF14,
}  # fmt: skip
"""CSR numbers by name; ``fmode`` is Snitch's (facts vmxdotp §1.3)."""
CSR_NAMES = {number: name for name, number in CSRS.items()}

ROUNDING = {"rne": 0, "rtz": 1, "rdn": 2, "rup": 3, "rmm": 4, "dyn": 7}
ROUNDING_NAMES = {number: name for name, number in ROUNDING.items()}

_LMUL = {"m1": 0, "m2": 1, "m4": 2, "m8": 3, "mf8": 5, "mf4": 6, "mf2": 7}
_LMUL_NAMES = {number: name for name, number in _LMUL.items()}


def parse_vtype(text: str) -> int | None:
    """``e32,m2,ta,ma`` as a vtype immediate (``e8alt`` sets altfmt, bit 8), None if it is not of that form.

    A missing LMUL means m1, missing policies mean undisturbed, as in GNU as.
    """
    found = re.fullmatch(r"e(8|16|32|64)(alt)?((?:,\w+)*)", re.sub(r"\s+", "", text))
    if not found:
        return None
    value = ((int(found[1]) // 8).bit_length() - 1) << 3 | (1 << 8 if found[2] else 0)
    rest = found[3].split(",")[1:]
    if rest and rest[0] in _LMUL:
        value |= _LMUL[rest.pop(0)]
    for names, bit in ((("tu", "ta"), 6), (("mu", "ma"), 7)):
        if rest and rest[0] in names:
            value |= names.index(rest.pop(0)) << bit
    return None if rest else value


def format_vtype(value: int) -> str:
    """The text of a vtype immediate; a plain number if it has no name."""
    if value >> 9 or value & 7 == 4 or value >> 5 & 1:
        return str(value)
    sew = f"e{8 << (value >> 3 & 3)}{'alt' if value >> 8 & 1 else ''}"
    return f"{sew}, {_LMUL_NAMES[value & 7]}, {'ta' if value >> 6 & 1 else 'tu'}, {'ma' if value >> 7 & 1 else 'mu'}"
