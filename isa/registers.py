"""Names of registers, CSRs and vector types, both ways."""

from __future__ import annotations

import re

X_NAMES = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1",
    *(f"a{n}" for n in range(8)), *(f"s{n}" for n in range(2, 12)), *(f"t{n}" for n in range(3, 7)),
]  # fmt: skip
F_NAMES = [
    *(f"ft{n}" for n in range(8)), "fs0", "fs1", *(f"fa{n}" for n in range(8)),
    *(f"fs{n}" for n in range(2, 12)), *(f"ft{n}" for n in range(8, 12)),
]  # fmt: skip
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
    "fflags": 0x001, "frm": 0x002, "fcsr": 0x003,
    "vstart": 0x008, "vxsat": 0x009, "vxrm": 0x00A, "vcsr": 0x00F,
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
    tail, mask = ("ta" if value >> 6 & 1 else "tu"), ("ma" if value >> 7 & 1 else "mu")
    return f"{sew}, {_LMUL_NAMES[value & 7]}, {tail}, {mask}"
