"""SystemVerilog made from the instruction table: a package of encodings, a decoder of every row of 32 bits, and what a
core decodes in the place of a compressed instruction.

All are outputs of a build and never committed. The text is plain enough for every tool: no wildcard cases.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from potluck.isa.decode import expansion
from potluck.isa.insn import COMPRESSED_REGISTERS, Insn, Piece
from potluck.isa.table import TABLE

PACKAGE = "potluck_isa_pkg"
MODULE = "isa_decoder"
EXPANDER = "isa_expander"
_SIGNED = ("imm", "off")
_Format = tuple[Piece, ...]


def op_name(mnemonic: str) -> str:
    """Name of an instruction in the enumeration: ``vmxdotp.wf`` is ``OP_VMXDOTP_WF``."""
    return "OP_" + re.sub(r"\W", "_", mnemonic).upper()


def op_codes(insns: Iterable[Insn] | None = None) -> dict[str, int]:
    """Value of ``op_e`` by mnemonic; 0 is ``OP_NONE``, no instruction."""
    return {insn.mnemonic: code for code, insn in enumerate(_rows(insns), 1)}


def operand_widths(insns: Iterable[Insn] | None = None) -> dict[str, int]:
    """Operands of :func:`isa_decoder` and the width of its outputs in bits; ``imm`` and ``off`` are signed."""
    widths: dict[str, int] = {}
    for form in (form for insn in _rows(insns) for form in _formats(insn)):
        widths[form[0].name] = max(widths.get(form[0].name, 0), _width(form))
    return dict(sorted(widths.items()))


def isa_package(insns: Iterable[Insn] | None = None) -> str:
    """Text of package ``potluck_isa_pkg`` (default: of the table's rows of 32 bits).

    ``op_e`` and per row ``MASK_*`` and ``MATCH_*``; ``decode(word)``; for every place in a word where some operand
    stands ``get_NAME_HIGH_LOW...(word)``, named after the bit ranges that it gathers.

    Raises:
        ValueError: two mnemonics give one name.
    """
    rows = _rows(insns)
    names = [op_name(insn.mnemonic) for insn in rows]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two instructions are called {name} in SystemVerilog")
    width = len(rows).bit_length()
    entries = ["OP_NONE", *names]
    lines = [
        "// Generated from the instruction table; change the table.",
        f"package {PACKAGE};",
        f"  typedef enum logic [{width - 1}:0] {{",
        ",\n".join(f"    {name} = {width}'d{code}" for code, name in enumerate(entries)),
        "  } op_e;",
    ]
    for insn, name in zip(rows, names, strict=True):
        bare = name.removeprefix("OP_")
        lines.append(f"  localparam logic [31:0] MASK_{bare} = 32'h{insn.mask:08x};")
        lines.append(f"  localparam logic [31:0] MATCH_{bare} = 32'h{insn.match:08x};")
    # A function reads only its own bits of the word.
    unused = ("  // verilator lint_off UNUSEDSIGNAL", "  // verilator lint_on UNUSEDSIGNAL")
    lines += [*_decode(rows), unused[0], *_getters(rows), unused[1], "endpackage", ""]
    return "\n".join(lines)


def isa_decoder(insns: Iterable[Insn] | None = None) -> str:
    """Text of module ``isa_decoder``: word to ``op_o`` and one output per operand, 0 where a row lacks it."""
    rows = _rows(insns)
    widths = operand_widths(rows)
    ports = [f"  output {_type(name, width)} {name}_o" for name, width in widths.items()]
    users: dict[str, dict[_Format, list[str]]] = {name: {} for name in widths}
    for insn in rows:
        for form in _formats(insn):
            users[form[0].name].setdefault(form, []).append(op_name(insn.mnemonic))
    lines = [
        "// Generated from the instruction table; change the table.",
        f"module {MODULE}",
        f"  import {PACKAGE}::*;",
        "(",
        "  input logic [31:0] word_i,",
        ",\n".join(["  output op_e op_o", *ports]),
        ");",
        "  assign op_o = decode(word_i);",
    ]
    for name, forms in users.items():
        lines += ["  always_comb begin", f"    {name}_o = '0;", "    case (op_o)"]
        for form, ops in forms.items():
            value = f"{_getter(form)}(word_i)"
            if _width(form) < widths[name]:
                value = f"{widths[name]}'({value})"
            lines += ["      " + ",\n      ".join(ops) + f": {name}_o = {value};"]
        lines += ["      default: ;", "    endcase", "  end"]
    return "\n".join([*lines, "endmodule", ""])


def isa_expander() -> str:
    """Text of module ``isa_expander``: a parcel of 16 bits to the word that it stands for, 0 if it is none."""
    rows = [insn for insn in TABLE.values() if insn.length == 2]
    carved = {name for insn in rows for name in insn.attributes["carved"]}
    rows.sort(key=lambda insn: insn.mnemonic not in carved)
    lines = [
        "// Generated from the instruction table; change the table.",
        f"module {EXPANDER} (",
        "  input  logic [15:0] parcel_i,",
        "  output logic [31:0] word_o",
        ");",
        "  // A function reads only its own bits of the parcel, and writes only the low bits of most operands.",
        "  // verilator lint_off UNUSEDSIGNAL",
        *(line for insn in rows for line in _expanded(insn)),
        "  // verilator lint_on UNUSEDSIGNAL",
        "  always_comb begin",
        "    word_o = '0;",
    ]
    for number, insn in enumerate(rows):
        holds = [f"(parcel_i & 16'h{insn.mask:04x}) == 16'h{insn.match:04x}"]
        holds += [f"(parcel_i & 16'h{bits:04x}) != '0" for bits in insn.nonzero]
        name = op_name(insn.mnemonic).lower()
        lines.append(f"    {'else ' * (number > 0)}if ({' && '.join(holds)}) word_o = {name}(parcel_i);")
    return "\n".join([*lines, "  end", "endmodule", ""])


def _expanded(insn: Insn) -> list[str]:
    """The function that builds the word of a compressed row: its operands, each moved to its places there."""
    base, operands = expansion(insn)
    values, pieces, word = [], [], base.match
    for form in _formats(insn):
        name, width = form[0].name, _width(form)
        low = min(piece.low for piece in form)
        fill = f"{{{32 - width}{{parcel[{_top(form)}]}}}}" if name in _SIGNED else f"{32 - width}'d0"
        parts = sorted(form, key=lambda piece: -piece.low)
        bits = [f"parcel[{piece.at + piece.width - 1}:{piece.at}]" for piece in parts]
        if name in COMPRESSED_REGISTERS:
            fill, bits = f"{31 - width}'d0", ["1'b1", *bits]
        bits += [f"{low}'d0"] * (low > 0)
        values.append(f"    {name} = {{{', '.join([fill, *bits])}}};")
    for name, source in operands.items():
        for piece in (piece for piece in base.pieces if piece.name == name):
            if isinstance(source, int):
                word |= (source >> piece.low & (1 << piece.width) - 1) << piece.at
            else:
                high = piece.low + piece.width - 1
                pieces.append(
                    f"    word[{piece.at + piece.width - 1}:{piece.at}] = {source}[{high}:{piece.low}];"
                )
    names = ", ".join(form[0].name for form in _formats(insn))
    return [
        f"  function automatic logic [31:0] {op_name(insn.mnemonic).lower()}(input logic [15:0] parcel);",
        *([f"    logic [31:0] {names};"] if names else []),
        "    logic [31:0] word;",
        f"    word = 32'h{word:08x};",
        *values,
        *pieces,
        "    return word;",
        "  endfunction",
    ]


def _top(form: _Format) -> int:
    """Place in the word of an operand's highest bit."""
    piece = max(form, key=lambda piece: piece.low)
    return piece.at + piece.width - 1


def _rows(insns: Iterable[Insn] | None) -> list[Insn]:
    return [insn for insn in (TABLE.values() if insns is None else insns) if insn.length == 4]


def _formats(insn: Insn) -> list[_Format]:
    """The pieces of each operand of a row."""
    names = dict.fromkeys(piece.name for piece in insn.pieces)
    return [tuple(piece for piece in insn.pieces if piece.name == name) for name in names]


def _width(form: _Format) -> int:
    return max(piece.low + piece.width for piece in form)


def _type(name: str, width: int) -> str:
    return f"logic {'signed ' * (name in _SIGNED)}[{width - 1}:0]"


def _getter(form: _Format) -> str:
    # Two formats may gather the same bits into other places (branches and stores): those places name them, too.
    spans = [f"{piece.at + piece.width - 1}_{piece.at}" for piece in form]
    top = _width(form)
    straight = [piece.low + piece.width for piece in form]
    if straight != [top - sum(piece.width for piece in form[:number]) for number in range(len(form))]:
        spans += ["to", *(str(piece.low) for piece in form)]
    elif form[-1].low:
        spans += ["to", str(form[-1].low)]
    return "_".join([f"get_{form[0].name}", *spans])


def _decode(rows: list[Insn]) -> list[str]:
    """A chain per major opcode; encodings do not overlap, so their order is of no account."""
    opcodes: dict[int, list[Insn]] = {}
    for insn in rows:
        if insn.mask & 0x7F != 0x7F:
            raise ValueError(f"instruction {insn.mnemonic!r} does not fix its major opcode")
        opcodes.setdefault(insn.match & 0x7F, []).append(insn)
    lines = [
        "  function automatic op_e decode(input logic [31:0] word);",
        "    op_e op;",
        "    op = OP_NONE;",
    ]
    lines += ["    case (word[6:0])"]
    for opcode, group in sorted(opcodes.items()):
        lines.append(f"      7'h{opcode:02x}: begin")
        for insn in group:
            name = op_name(insn.mnemonic)
            bare = name.removeprefix("OP_")
            lines.append(f"        if ((word & MASK_{bare}) == MATCH_{bare}) op = {name};")
        lines.append("      end")
    return [*lines, "      default: ;", "    endcase", "    return op;", "  endfunction"]


def _getters(rows: list[Insn]) -> list[str]:
    forms = {form: None for insn in rows for form in _formats(insn)}
    lines = []
    for form in sorted(forms, key=_getter):
        name, width = form[0].name, _width(form)
        lines += [
            f"  function automatic {_type(name, width)} {_getter(form)}(input logic [31:0] word);",
            f"    logic [{width - 1}:0] value;",
            "    value = '0;",
            *(f"    value[{piece.low + piece.width - 1}:{piece.low}] = word[{piece.at + piece.width - 1}:{piece.at}];"
              for piece in form),
            "    return value;",
            "  endfunction",
        ]  # fmt: skip
    return lines
