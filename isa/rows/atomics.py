"""The A extension: Zalrsc and Zaamo. The suffixes ``.aq`` and ``.rl`` are bits of the same row."""

from __future__ import annotations

from typing import Any

from potluck.isa.arithmetic.element import maximum, minimum
from potluck.isa.insn import Insn, Kind

_OPERATIONS: dict[str, tuple[str, Any, str, str]] = {
    "amoadd": ("00000", lambda memory, rs2: memory + rs2, "Add to memory", "s"),
    "amoswap": ("00001", lambda memory, rs2: rs2, "Swap with memory", "s"),
    "amoxor": ("00100", lambda memory, rs2: memory ^ rs2, "Exclusive or with memory", "s"),
    "amoand": ("01100", lambda memory, rs2: memory & rs2, "And with memory", "s"),
    "amoor": ("01000", lambda memory, rs2: memory | rs2, "Or with memory", "s"),
    "amomin": ("10000", lambda memory, rs2: minimum(memory, rs2), "Minimum with memory", "s"),
    "amomax": ("10100", lambda memory, rs2: maximum(memory, rs2), "Maximum with memory", "s"),
    "amominu": ("11000", lambda memory, rs2: minimum(memory, rs2), "Unsigned minimum with memory", "u"),
    "amomaxu": ("11100", lambda memory, rs2: maximum(memory, rs2), "Unsigned maximum with memory", "u"),
}
_WIDTHS = ((32, "w", "010"), (64, "d", "011"))

# An amo's rs2 has the type of the comparison; rd is sign-extended whatever it is.
ROWS = [
    *(Insn(f"{name}.{letter}", f"{code} aq rl rs2 rs1 {funct3} rd 0101111",
           f"rd:s{bits}, rs2:{kind}{bits}, (rs1), aq, rl", Kind.ATOMIC, "amo", meaning,
           f"{doc}, atomically; rd gets the old value.", "A")
      for bits, letter, funct3 in _WIDTHS for name, (code, meaning, doc, kind) in _OPERATIONS.items()),
    *(Insn(f"lr.{letter}", f"00010 aq rl 00000 rs1 {funct3} rd 0101111", f"rd:s{bits}, (rs1), aq, rl",
           Kind.ATOMIC, "amo", None, "Load and reserve the address.", "A", {"reserves": True})
      for bits, letter, funct3 in _WIDTHS),
    *(Insn(f"sc.{letter}", f"00011 aq rl rs2 rs1 {funct3} rd 0101111", f"rd:s{bits}, rs2:s{bits}, (rs1), aq, rl",
           Kind.ATOMIC, "amo", None, "Store if the reservation holds; rd gets 0 if it did, else 1.", "A",
           {"conditional": True})
      for bits, letter, funct3 in _WIDTHS),
]  # fmt: skip
