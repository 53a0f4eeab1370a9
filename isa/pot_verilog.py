"""SystemVerilog made from the PoT code sets and streams: constants for `rtl/pot`.

It is an output of a build and never committed: hardware and Python cannot have different tables.

A set's own PE adds the terms of its fields. The PE of all sets needs one adder for any of them, as every level is
``odd << shift`` with odd one of 1, 3 and 5: the activation, plus twice or four times itself, and then one shifter.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from potluck.isa.pot import SIGN, Field, PotFormat
from potluck.isa.pot_array import CODE_SETS, code_set
from potluck.isa.pot_stream import END, FAILED, Opcode, Status

PACKAGE = "potluck_pot_pkg"
NOTHING = 8
"""What stands for a shift where a field contributes nothing."""
ODD = {1: 0b00, 3: 0b10, 5: 0b11}
"""Odd factor of a level: bit 1 says that there is a second term, bit 0 that it is four times the activation."""


def pot_package() -> str:
    """Text of package ``potluck_pot_pkg``.

    ``code_set_e``; by its value ``PRODUCT_BITS``, ``FIRST_BITS`` (magnitude bits of the first field; the second has
    the rest), ``FIRST_SHIFTS`` and ``SECOND_SHIFTS`` by value of the field, ``NOTHING`` for no contribution; by value
    and magnitude code ``LEVEL_PRESENT`` (it is not 0), ``LEVEL_SHIFT`` and ``LEVEL_ODD``. ``SET_INT8`` and
    ``SET_ANY`` are the values of a module's parameter ``CodeSet`` beyond those of one set. Of the streams ``status_e``,
    the opcodes ``OP_*``, ``END_WORD`` and ``FAILED_WORD``.
    """
    sets = [kind.pot for kind in CODE_SETS if kind.pot]
    assert [kind.number for kind in CODE_SETS if kind.pot] == list(range(len(sets)))
    width = (len(sets) - 1).bit_length()
    names = ",\n".join(f"    {pot.name.upper()} = {width}'d{number}" for number, pot in enumerate(sets))
    levels = [[_level(value) for value in pot.magnitudes.tolist()] for pot in sets]
    lines = [
        "// Generated from potluck.isa.pot and potluck.isa.pot_stream; change them.",
        f"package {PACKAGE};",
        f"  typedef enum logic [{width - 1}:0] {{",
        names,
        "  } code_set_e;",
        f"  localparam int unsigned SET_INT8 = {code_set('int8').number};",
        f"  localparam int unsigned SET_ANY = {len(CODE_SETS)};",
        *_enumeration(Status),
        *(f"  localparam logic [31:0] OP_{code.name} = 32'd{code.value};" for code in Opcode),
        f"  localparam logic [31:0] END_WORD = 32'd{END};",
        f"  localparam logic [31:0] FAILED_WORD = 32'h{FAILED:08x};",
        f"  localparam logic [3:0] NOTHING = 4'd{NOTHING};",
        *_table("PRODUCT_BITS", "4:0", [f"5'd{pot.product_bits}" for pot in sets]),
        *_table("FIRST_BITS", "1:0", [f"2'd{(len(pot.fields[0]) - 1).bit_length()}" for pot in sets]),
        *_table("FIRST_SHIFTS", "7:0][3:0", [_shifts(pot.fields[0]) for pot in sets]),
        *_table("SECOND_SHIFTS", "7:0][3:0", [_shifts(_second(pot)) for pot in sets]),
        *_table("LEVEL_PRESENT", "7:0", [_eight([row[0] for row in rows], 1) for rows in levels]),
        *_table("LEVEL_SHIFT", "7:0][2:0", [_eight([row[1] for row in rows], 3) for rows in levels]),
        *_table("LEVEL_ODD", "7:0][1:0", [_eight([row[2] for row in rows], 2) for rows in levels]),
        "endpackage",
        "",
    ]
    return "\n".join(lines)


def _enumeration(members: type[IntEnum]) -> list[str]:
    width = max(members).bit_length()
    entries = ",\n".join(f"    {member.name} = {width}'d{member.value}" for member in members)
    return [f"  typedef enum logic [{width - 1}:0] {{", entries, f"  }} {members.__name__.lower()}_e;"]


def _second(pot: PotFormat) -> Field:
    return pot.fields[1] if len(pot.fields) > 1 else (None,)


def _level(level: int) -> tuple[int, int, int]:
    """Whether it is not 0, its shift, and the code of its odd factor.

    Raises:
        KeyError: an odd factor that the PE of all sets does not have.
    """
    if not level:
        return 0, 0, 0
    shift = (level & -level).bit_length() - 1
    return 1, shift, ODD[level >> shift]


def _shifts(field: Field) -> str:
    """Shifts by value of the field; values that it does not have contribute nothing."""
    padded = [*field, *[None] * (SIGN - len(field))]
    return _eight([NOTHING if shift is None else shift for shift in padded], 4)


def _eight(values: Sequence[int], width: int) -> str:
    """A packed array, whose literal begins with the last element."""
    return "{" + ", ".join(f"{width}'d{value}" for value in reversed(values)) + "}"


def _table(name: str, element: str, values: Sequence[str]) -> list[str]:
    """A packed array over the sets."""
    head = f"  localparam logic [{len(values) - 1}:0][{element}] {name} = {{"
    return [head, ",\n".join(f"    {value}" for value in reversed(values)), "  };"]
