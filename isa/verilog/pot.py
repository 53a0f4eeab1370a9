"""SystemVerilog made from the PoT code sets and streams: constants for `rtl/pot`.

It is an output of a build and never committed: hardware and Python cannot have different tables.

A set's own PE adds the terms of its fields. The PE of all sets needs one adder for any of them, as every level is
``odd << shift`` with odd one of 1, 3 and 5: the activation, plus twice or four times itself, and then one shifter.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from potluck.isa.pot import command as pot_command
from potluck.isa.pot.array import CODE_SETS, LAWS, code_set
from potluck.isa.pot.codes import SIGN, Field, PotFormat
from potluck.isa.pot.command import FIELDS, FLOAT_BOUNDS, INFINITY, MODES, Command
from potluck.isa.pot.stream import END, FAILED, Opcode, Status

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
        "// Generated from potluck.isa.pot.codes and potluck.isa.pot.stream; change them.",
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


def command_package() -> str:
    """Text of package ``potluck_pot_command_pkg``: the commands of the cluster's accelerator.

    ``command_t``, the words; opcodes ``CMD_*``; laws ``LAW_*``; per command with fields a struct ``<command>_t`` and
    a function ``<command>_of`` that takes it from the words. ``known``, ``bad_mode`` and ``bad_size`` find what
    `potluck.isa.pot.command.decode` finds.
    """
    mode: list[str] = []
    size: list[str] = []
    reserved: list[str] = []
    lines: list[str] = []
    for command, fields in FIELDS.items():
        name = command.name.lower()
        if fields:
            members = [f"    logic {_shape(field)}{_member(key)};" for key, field in fields.items()]
            parts = [f"    found.{_member(key)} = {_bits(field)};" for key, field in fields.items()]
            lines += ["  typedef struct packed {", *members, f"  }} {name}_t;",
                      f"  function automatic {name}_t {name}_of(input command_t words);", f"    {name}_t found;",
                      *parts, "    return found;", "  endfunction"]  # fmt: skip
        for wanted, found in ((True, mode), (False, size)):
            tests = [
                test
                for key, field in fields.items()
                if (key in MODES) is wanted
                for test in _illegal(key, field)
            ]
            if command is Command.COMPUTE:
                tests += (
                    [f"$signed({_bits(fields['low'])}) > $signed({_bits(fields['high'])})",
                     *(f"words[{fields[key].word}][30:0] > 31'h{INFINITY:08x}" for key in FLOAT_BOUNDS)]
                    if wanted
                    else [f"(words[{fields['depthwise'].word}][{fields['depthwise'].low}] && ("
                          f"{_bits(fields['filters'])} != {_bits(fields['channels'])} || !{_bits(fields['first'])}"
                          f" || !{_bits(fields['final'])}))"]
                )  # fmt: skip
            if tests:
                found.append(f"      CMD_{command.name}: return {' || '.join(tests)};")
        words = ", ".join(f"32'h{mask:08x}" for mask in reversed(_unused(command)))
        reserved.append(f"      CMD_{command.name}: return |(words & {{{words}}});")
    known = " || ".join(f"opcode == CMD_{command.name}" for command in Command)
    return "\n".join([
        "// Generated from potluck.isa.pot.command; change it.",
        "package potluck_pot_command_pkg;",
        f"  typedef logic [{pot_command.WORDS - 1}:0][31:0] command_t;",
        *(f"  localparam logic [7:0] CMD_{command.name} = 8'd{command.value};" for command in Command),
        *(f"  localparam logic [1:0] LAW_{law.upper()} = 2'd{number};" for number, law in enumerate(LAWS)),
        f"  localparam int unsigned MOST_COMMANDS = {pot_command.MOST_COMMANDS};",
        *(f"  localparam logic [7:0] REGISTER_{name} = 8'd{getattr(pot_command, name)};" for name in
          ("QUEUE", "DOORBELL", "STATE", "WAIT", "RESET")),
        *lines,
        f"  function automatic logic known(input logic [7:0] opcode);\n    return {known};\n  endfunction",
        *_by_opcode("bad_mode", mode), *_by_opcode("bad_size", size), *_by_opcode("reserved", reserved),
        "endpackage",
        "",
    ])  # fmt: skip


def _member(key: str) -> str:
    """A field's name in a struct; ``final`` is a word of the language."""
    return f"{key}_part" if key in ("first", "final") else key


def _shape(field: pot_command.Field) -> str:
    """Sign and width of a member."""
    sign = "signed " if field.least < 0 else ""
    return f"{sign}[{field.bits - 1}:0] " if field.bits > 1 else sign


def _bits(field: pot_command.Field) -> str:
    """A field in ``words``."""
    if field.bits > 32:
        return f"{{words[{field.word + 1}], words[{field.word}]}}"
    high = field.low + field.bits - 1
    return (
        f"words[{field.word}][{high}:{field.low}]" if field.bits > 1 else f"words[{field.word}][{field.low}]"
    )


def _illegal(key: str, field: pot_command.Field) -> list[str]:
    """Conditions under which a field's value is illegal."""
    found = [f"{_bits(field)} < {field.bits}'d{field.least}"] if field.least > 0 else []
    if field.highest < (1 << field.bits) - 1 and field.least >= 0:
        found.append(f"{_bits(field)} > {field.bits}'d{field.highest}")
    return found


def _unused(command: Command) -> list[int]:
    """Masks of the bits that belong to no field."""
    free = [0xFFFF_FFFF] * pot_command.WORDS
    free[0] &= ~0x1FF
    for field in FIELDS[command].values():
        mask = (1 << field.bits) - 1 << field.low
        free[field.word] &= ~mask
        if field.bits > 32:
            free[field.word + 1] &= ~(mask >> 32)
    return free


def _by_opcode(name: str, cases: Sequence[str]) -> list[str]:
    """A function that tells of a command's words."""
    return [f"  function automatic logic {name}(input command_t words);", "    case (words[0][7:0])", *cases,
            "      default: return 1'b0;", "    endcase", "  endfunction"]  # fmt: skip


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
