"""SystemVerilog made from the codes' tables: one package with every column, field and enumeration that `rtl/ecc` needs.

It is an output of a build and never committed: the codecs in Python and the circuits cannot have different matrices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

import numpy as np

from potluck.sim.ecc.blocks import Split
from potluck.sim.ecc.galois import Field
from potluck.sim.ecc.interface import Status, Words
from potluck.sim.ecc.linear import LinearCode, checks_into
from potluck.sim.ecc.rangeguard.hardware import RangeFormat
from potluck.sim.ecc.reed_solomon import SymbolCode, SymbolLocator, dsc16, extended_ssc
from potluck.sim.ecc.registry import CODES, code

PACKAGE = "potluck_ecc_pkg"


def hsiao_codes() -> list[LinearCode]:
    """The registry's Hsiao codes, by ascending data bits."""
    splits = [code(name) for name in CODES if name.startswith("hsiao_")]
    codes = [split.code for split in splits if isinstance(split, Split)]
    return sorted((c for c in codes if isinstance(c, LinearCode)), key=lambda c: c.data_bits)


def power_sum_columns(code: SymbolCode) -> Words:
    """Per bit of the codeword, data first, what it contributes to (S_0, S_1, ...), shape (data_bits + check_bits,)."""
    units = np.uint64(1) << np.arange(code.check_bits, dtype=np.uint64)
    syndromes = np.concatenate([code.columns, units])
    if not isinstance(code.locator, SymbolLocator):  # doubly extended: the syndrome is the power sums
        return syndromes
    sums = np.empty_like(syndromes)
    checks_into(syndromes[:, None], code.locator.to_power_sums, sums)
    return sums


def ecc_package() -> str:
    """Text of package ``potluck_ecc_pkg``.

    ``status_e`` and ``range_format_e``; ``hsiao_check_bits`` and ``hsiao_column`` by number of data bits; for the two
    RangeGuard codes columns of check bits and of power sums, locators of the symbols, multiplication in the field.
    """
    codes = hsiao_codes()
    widest = max(c.check_bits for c in codes)
    lines = [
        "// Generated from the tables of potluck.sim.ecc; change the tables.",
        f"package {PACKAGE};",
        *_enumeration("status_e", "", Status),
        *_enumeration("range_format_e", "RANGE_", RangeFormat),
        *(line for c in codes for line in _array(f"HSIAO_{c.data_bits}", c.columns.tolist(), c.check_bits)),
        "  function automatic int unsigned hsiao_check_bits(input int unsigned data_bits);",
        *_cases({c.data_bits: f"{c.check_bits}" for c in codes}, "0"),
        f"  function automatic logic [{widest - 1}:0] hsiao_column(",
        "    input int unsigned data_bits, input int unsigned index);",
        *_cases(
            {c.data_bits: _extended(f"HSIAO_{c.data_bits}[index]", widest - c.check_bits) for c in codes},
            "'0",
        ),
    ]
    for name, symbol_code in (("DSC", dsc16()), ("SSC", extended_ssc())):
        lines += _symbol_code(name, symbol_code)
    lines += _array("GF16_INVERSE", [0, *(dsc16().field.div(1, v) for v in range(1, 16))], 4)
    return "\n".join([*lines, "endpackage", ""])


def _symbol_code(name: str, code: SymbolCode) -> list[str]:
    locators = [code.field.power(i) for i in range((code.data_bits + code.check_bits) // code.field.bits)]
    return [
        *_array(f"{name}_COLUMNS", code.columns.tolist(), code.check_bits),
        *_array(f"{name}_SUMS", power_sum_columns(code).tolist(), code.check_bits),
        *_array(f"{name}_LOCATORS", locators, code.field.bits),
        *_multiplication(code.field),
    ]


def _enumeration(name: str, prefix: str, members: type[IntEnum]) -> list[str]:
    width = max(members).bit_length()
    entries = ",\n".join(f"    {prefix}{m.name} = {width}'d{m.value}" for m in members)
    return [f"  typedef enum logic [{width - 1}:0] {{", entries, f"  }} {name};"]


def _array(name: str, values: Sequence[int], width: int) -> list[str]:
    """A packed array; the literal begins with the last element."""
    digits = -(-width // 4)
    items = [f"{width}'h{v:0{digits}x}" for v in reversed(values)]
    rows = [", ".join(items[i : i + 8]) for i in range(0, len(items), 8)]
    head = f"  localparam logic [{len(values) - 1}:0][{width - 1}:0] {name} = {{"
    return [head, *(f"    {row}," for row in rows[:-1]), f"    {rows[-1]}", "  };"]


def _cases(values: Mapping[int, str], otherwise: str) -> list[str]:
    """Body of a function of `data_bits`, for constant expressions."""
    returns = [f"      {data_bits}: return {value};" for data_bits, value in values.items()]
    return [
        "    case (data_bits)", *returns, f"      default: return {otherwise};", "    endcase", "  endfunction",
    ]  # fmt: skip


def _extended(value: str, zeros: int) -> str:
    return f"{{{zeros}'b0, {value}}}" if zeros else value


def _multiplication(field: Field) -> list[str]:
    """Horner's rule over the bits of the second factor."""
    top, low = field.bits - 1, field.polynomial & field.order
    kind = f"logic [{top}:0]"
    return [
        f"  function automatic {kind} gf{1 << field.bits}_mul(input {kind} a, input {kind} b);",
        f"    {kind} product;",
        "    product = '0;",
        f"    for (int i = {top}; i >= 0; i--) begin",
        f"      product = {{product[{top - 1}:0], 1'b0}} ^ (product[{top}] ? {field.bits}'h{low:x} : '0);",
        "      if (b[i]) product ^= a;",
        "    end",
        "    return product;",
        "  endfunction",
    ]
