"""Reed-Solomon codes over GF(2^m) that correct one symbol (SSC) or two (DSC), decoded in closed form.

Symbol i is data bits m*i .. m*i + m - 1, the check symbols follow. Parity-check matrix H[j][i] = alpha^(i*j), j from 0:
roots alpha^0 .. alpha^(checks-1), position i the coefficient of x^i. `extended_ssc` is the doubly extended code
instead, whose two check symbols are the plain and the weighted sum of the data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.sim.cache import configure_numba
from potluck.sim.ecc.galois import GF16, GF256, Field, gf65536
from potluck.sim.ecc.interface import Status, Words, words_of
from potluck.sim.ecc.linear import LinearCode, Located, Locator, byte_tables

configure_numba()


@numba.njit(cache=True, nogil=True, inline="always")
def mul(a: Any, b: Any, exp: Any, log: Any) -> Any:
    """Product in the field."""
    if a == 0 or b == 0:
        return np.uint32(0)
    return exp[log[a] + log[b]]


@numba.njit(cache=True, nogil=True, inline="always")
def div(a: Any, b: Any, exp: Any, log: Any) -> Any:
    """Quotient; b is not zero."""
    if a == 0:
        return np.uint32(0)
    return exp[log[a] - log[b] + (exp.size >> 1)]


@numba.njit(cache=True, nogil=True)
def single(s0: Any, s1: Any, length: int, exp: Any, log: Any) -> Any:
    """Position of the one wrong symbol whose value is s0, or -1: s0 = e, s1 = e * alpha^position."""
    if s0 == 0 or s1 == 0:
        return -1
    position = log[s1] - log[s0]
    if position < 0:
        position += exp.size >> 1
    return position if position < length else -1


@numba.njit(cache=True, nogil=True)
def double(s0: Any, s1: Any, s2: Any, s3: Any, length: int, exp: Any, log: Any) -> Any:
    """Up to two wrong symbols from four syndromes: (count or -1, position a, value a, position b, value b).

    The determinant D = s1^2 + s0 s2 vanishes for one error; otherwise the locators are the roots of
    x^2 + (s0 s3 + s1 s2)/D x + (s1 s3 + s2^2)/D.
    """
    zero = np.uint32(0)
    if s0 == 0 and s1 == 0 and s2 == 0 and s3 == 0:
        return 0, 0, zero, 0, zero
    determinant = mul(s1, s1, exp, log) ^ mul(s0, s2, exp, log)
    first = mul(s0, s3, exp, log) ^ mul(s1, s2, exp, log)
    second = mul(s1, s3, exp, log) ^ mul(s2, s2, exp, log)
    if determinant == 0:
        position = single(s0, s1, length, exp, log)
        if position < 0 or first != 0 or second != 0:
            return -1, 0, zero, 0, zero
        return 1, position, s0, 0, zero
    total = div(first, determinant, exp, log)
    product = div(second, determinant, exp, log)
    found = 0
    a = b = 0
    for position in range(length):  # Chien search
        x = exp[position]
        if mul(x, x ^ total, exp, log) == product:
            if found == 0:
                a = position
            else:
                b = position
            found += 1
    if found != 2:
        return -1, 0, zero, 0, zero
    value_a = div(s1 ^ mul(s0, exp[b], exp, log), total, exp, log)
    value_b = s0 ^ value_a
    if value_a == 0 or value_b == 0:
        return -1, 0, zero, 0, zero
    return 2, a, value_a, b, value_b


@numba.njit(cache=True, nogil=True, inline="always")
def _flip(
    data: Words, checks: Words, row: int, position: int, value: Any, bits: int, data_symbols: int
) -> None:
    if position >= data_symbols:
        checks[row] ^= np.uint64(value) << np.uint64(bits * (position - data_symbols))
        return
    start = bits * position
    data[row, start >> 6] ^= np.uint64(value) << np.uint64(start & 63)


@numba.njit(cache=True, nogil=True)
def _locate(
    syndromes: Words, to_power_sums: Words, bits: int, errors: int, data_symbols: int, length: int,
    exp: NDArray[np.uint32], log: NDArray[np.int32], status: NDArray[np.uint8], data: Words, checks: Words,
) -> None:  # fmt: skip
    mask = np.uint64((1 << bits) - 1)
    for row in range(syndromes.size):
        if syndromes[row] == 0:
            continue
        sums = np.uint64(0)
        for position in range(to_power_sums.shape[0]):
            sums ^= to_power_sums[position, (syndromes[row] >> np.uint64(8 * position)) & np.uint64(255)]
        s0 = np.uint32(sums & mask)
        s1 = np.uint32((sums >> np.uint64(bits)) & mask)
        if errors == 1:
            position = single(s0, s1, length, exp, log)
            status[row] = 2 if position < 0 else 1
            if position >= 0:
                _flip(data, checks, row, position, s0, bits, data_symbols)
            continue
        s2 = np.uint32((sums >> np.uint64(2 * bits)) & mask)
        s3 = np.uint32((sums >> np.uint64(3 * bits)) & mask)
        count, a, value_a, b, value_b = double(s0, s1, s2, s3, length, exp, log)
        status[row] = 2 if count < 0 else 1
        if count > 0:
            _flip(data, checks, row, a, value_a, bits, data_symbols)
        if count > 1:
            _flip(data, checks, row, b, value_b, bits, data_symbols)


@dataclass(frozen=True, eq=False)
class SymbolLocator:
    """Algebraic decoder of a code whose check symbols lie at the last positions of H.

    Attributes:
        field, length: of the code, symbols.
        errors: symbols corrected, 1 or 2; there are twice as many check symbols.
        to_power_sums: byte tables that turn the systematic syndrome into (S_0, S_1, ...), packed.
    """

    field: Field
    length: int
    errors: int
    to_power_sums: Words

    def locate(self, syndromes: Words) -> Located:
        """See `linear.Locator`."""
        symbols = self.length - 2 * self.errors
        status = np.full(len(syndromes), Status.CLEAN, np.uint8)
        data = np.zeros((len(syndromes), words_of(symbols * self.field.bits)), np.uint64)
        checks = np.zeros(len(syndromes), np.uint64)
        _locate(np.ascontiguousarray(syndromes), self.to_power_sums, self.field.bits, self.errors, symbols,
                self.length, self.field.exp, self.field.log, status, data, checks)  # fmt: skip
        return Located(status, data, checks)


@dataclass(frozen=True, eq=False)
class SymbolCode(LinearCode):
    """A linear code of symbols.

    Attributes:
        field: of the symbols.
        errors: symbols that it corrects.
        generator_rows: P[k][i], the factor of data symbol i in check symbol k.
    """

    field: Field
    errors: int
    generator_rows: tuple[tuple[int, ...], ...]


def bit_columns(gf: Field, rows: list[list[int]]) -> Words:
    """Columns of data bits from the symbol matrix ``rows[k][i]``: bit b of symbol i contributes 2^b * rows[k][i]."""
    columns = [
        sum(gf.mul(rows[k][i], 1 << b) << (gf.bits * k) for k in range(len(rows)))
        for i in range(len(rows[0]))
        for b in range(gf.bits)
    ]
    return np.array(columns, np.uint64)


def _code(name: str, gf: Field, length: int, errors: int) -> SymbolCode:
    checks = 2 * errors
    data = length - checks
    h = [[gf.power(i * j) for i in range(length)] for j in range(checks)]
    right = [row[data:] for row in h]
    rows = gf.solve(right, [row[:data] for row in h])
    locator = SymbolLocator(gf, length, errors, byte_tables(bit_columns(gf, right)))
    packed = tuple(tuple(row) for row in rows)
    return SymbolCode(
        name, data * gf.bits, checks * gf.bits, bit_columns(gf, rows), locator, gf, errors, packed
    )


@dataclass(frozen=True, eq=False)
class ExtendedLocator:
    """Decoder of `extended_ssc`: one syndrome alone accuses its own check symbol, both a data symbol."""

    field: Field
    data_symbols: int

    def locate(self, syndromes: Words) -> Located:
        """See `linear.Locator`."""
        bits, log = self.field.bits, self.field.log
        mask = np.uint64((1 << bits) - 1)
        s0, s1 = syndromes & mask, syndromes >> np.uint64(bits)
        both = (s0 != 0) & (s1 != 0)
        position = np.where(both, (log[s1] - log[s0]) % self.field.order, 0)
        hit = both & (position < self.data_symbols)
        status = np.where(syndromes == 0, Status.CLEAN, np.where(both & ~hit, Status.DUE, Status.CORRECTED))
        start = position * bits
        data = np.zeros((len(syndromes), words_of(self.data_symbols * bits)), np.uint64)
        rows = np.flatnonzero(hit)
        data[rows, start[rows] >> 6] = s0[rows] << (start[rows] & 63).astype(np.uint64)
        return Located(status.astype(np.uint8), data, np.where(both, np.uint64(0), syndromes))


_REVERSED = np.array([int(f"{byte:08b}"[::-1], 2) for byte in range(256)], np.uint8)


@dataclass(frozen=True)
class MsbFirst:
    """A locator of 16-bit symbols whose first data bit is the most significant one."""

    plain: Locator

    def locate(self, syndromes: Words) -> Located:
        """See `linear.Locator`."""
        located = self.plain.locate(syndromes)
        swapped = located.data.view(np.uint16).byteswap().view(np.uint8)
        return located._replace(data=_REVERSED[swapped].view(np.uint64))


@cache
def extended_ssc() -> SymbolCode:
    """RS(10,8) over GF(256) of RangeGuard's SSC, doubly extended: p0 = sum s_i, p1 = sum alpha^i s_i."""
    rows = [[1] * 8, [GF256.power(i) for i in range(8)]]
    locator = ExtendedLocator(GF256, 8)
    packed = tuple(tuple(row) for row in rows)
    return SymbolCode("rs_10_8_extended", 64, 16, bit_columns(GF256, rows), locator, GF256, 1, packed)


@cache
def dsc16() -> SymbolCode:
    """RS(12,8) over GF(16) of RangeGuard's DSC: any two symbols."""
    return _code("rs_12_8", GF16, 12, 2)


@cache
def ssc(length: int) -> SymbolCode:
    """RS(length, length - 2) over GF(256): chipkill for DDR4 x4 (18), DDR5 x4 (10), MX scale sectors (34)."""
    return _code(f"rs_{length}_{length - 2}", GF256, length, 1)


@cache
def dsc256() -> SymbolCode:
    """RS(36,32) over GF(256): two bytes, the bounded faults of nine-chip DDR5."""
    return _code("rs_36_32", GF256, 36, 2)


@cache
def hbm3_on_die() -> SymbolCode:
    """RS(19,17) over GF(2^16) of HBM3's on-die layer: 256 data and 16 metadata bits.

    The first bit of each data symbol is its most significant one; check symbols are numbers, p0 in bits 15:0.
    """
    plain = _code("rs_19_17", gf65536(), 19, 1)
    columns = plain.columns.reshape(17, 16)[:, ::-1].ravel()
    return replace(plain, columns=columns, locator=MsbFirst(plain.locator))
