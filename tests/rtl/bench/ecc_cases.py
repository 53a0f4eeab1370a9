"""Operations for the code units with what the Python codecs make of them: all correctable errors, samples beyond."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from potluck.sim.ecc.hsiao import hsiao
from potluck.sim.ecc.interface import Status, Words, int_rows
from potluck.sim.ecc.linear import LinearCode
from potluck.sim.ecc.reed_solomon import SymbolCode, dsc16, extended_ssc
from potluck.sim.ecc.verilog import hsiao_codes
from tests.rtl.bench.vectors import Ports, Rows, Vectors

HSIAO = {code.data_bits: code for code in hsiao_codes()}
RANGE_CODES = {4: dsc16(), 8: extended_ssc()}  # by symbol bits
assert HSIAO[64] is hsiao(64, 8)


def hsiao_ports(data_bits: int) -> tuple[Ports, Ports]:
    """Of encoder and decoder."""
    checks = HSIAO[data_bits].check_bits
    encoder = Ports({"data_i": data_bits}, {"data_o": data_bits, "checks_o": checks})
    decoder = Ports(
        {"data_i": data_bits, "checks_i": checks, "null_i": 1},
        {"data_o": data_bits, "single_o": 1, "double_o": 1},
    )
    return encoder, decoder


def rs_ports(symbol_bits: int) -> Ports:
    """Of `rs_decoder`, whose tag is a byte."""
    data = 8 * symbol_bits
    return Ports(
        {"symbols_i": data, "checks_i": 16, "tag_i": 8},
        {"symbols_o": data, "error_o": data, "status_o": 2, "tag_o": 8},
    )


def rows(values: NDArray[np.generic] | Words, bits: int) -> Rows:
    """Columns of ports from uint64 words (n, words) or single values (n,)."""
    wide = np.ascontiguousarray(values, np.uint64).reshape(len(values), -1).view(np.uint32)
    return np.ascontiguousarray(wide[:, : -(-bits // 32)])


def random_words(rng: np.random.Generator, count: int, bits: int) -> Words:
    """Data of rows of words; bits beyond are zero."""
    raw = np.zeros((count, -(-bits // 64) * 8), np.uint8)
    raw[:, : bits // 8] = rng.integers(0, 256, (count, bits // 8), np.uint8)
    return raw.view(np.uint64)


def supports(length: int, *weights: int) -> list[tuple[int, ...]]:
    """All sets of so many positions."""
    return [s for weight in weights for s in combinations(range(length), weight)]


def errors_of(code: LinearCode, positions: Iterable[tuple[int, ...]]) -> tuple[Words, Words]:
    """Data (n, words) and check bits (n,) that flip; check bit r has number ``data_bits + r``."""
    values = [sum(1 << p for p in support) for support in positions]
    low = (1 << code.data_bits) - 1
    return int_rows([v & low for v in values], code.data_bits), np.array(
        [v >> code.data_bits for v in values], np.uint64
    )


def random_supports(rng: np.random.Generator, length: int, weight: int, count: int) -> list[tuple[int, ...]]:
    """Sampled sets of positions."""
    return [tuple(rng.choice(length, weight, replace=False).tolist()) for _ in range(count)]


def hsiao_encoded(code: LinearCode, data: Words) -> Vectors:
    """Data with their check bits."""
    n = code.data_bits
    return Vectors(
        {"data_i": rows(data, n)},
        {"data_o": rows(data, n), "checks_o": rows(code.checks_of(data), code.check_bits)},
    )


def hsiao_decoded(code: LinearCode, data: Words, checks: Words, null: NDArray[np.generic]) -> Vectors:
    """What the Python decoder makes of received words."""
    n = code.data_bits
    right, status = code.decode(data, checks[:, None])
    double = status[:, 0] == Status.DUE
    right = np.where((double & null.astype(np.bool_))[:, None], np.uint64(0), right)
    return Vectors(
        {"data_i": rows(data, n), "checks_i": rows(checks, code.check_bits), "null_i": rows(null, 1)},
        {
            "data_o": rows(right, n),
            "single_o": rows(status[:, 0] == Status.CORRECTED, 1),
            "double_o": rows(double, 1),
        },
    )


def rs_decoded(code: SymbolCode, symbols: Words, checks: Words) -> Vectors:
    """Likewise of `rs_decoder`; symbols are (n,) words."""
    n = code.data_bits
    right, status = code.decode(symbols[:, None], checks[:, None])
    tag = rows(np.arange(len(symbols)) & 255, 8)
    return Vectors(
        {"symbols_i": rows(symbols, n), "checks_i": rows(checks, 16), "tag_i": tag},
        {
            "symbols_o": rows(right, n),
            "error_o": rows(right[:, 0] ^ symbols, n),
            "status_o": rows(status, 2),
            "tag_o": tag,
        },
    )


def symbol_errors(code: SymbolCode, wrong: int) -> tuple[Words, Words]:
    """Every error of exactly `wrong` symbols: what flips in data (n,) and checks (n,)."""
    bits = code.field.bits
    values = np.arange(1, 1 << bits, dtype=np.uint64)
    data, checks = [], []
    for positions in combinations(range(8 + 16 // bits), wrong):
        grid = np.meshgrid(*[values] * wrong, indexing="ij")
        flips = [np.zeros(grid[0].size, np.uint64), np.zeros(grid[0].size, np.uint64)]
        for position, value in zip(positions, grid, strict=True):
            place = position if position < 8 else position - 8
            flips[position >= 8] |= value.ravel() << np.uint64(bits * place)
        data.append(flips[0])
        checks.append(flips[1])
    return np.concatenate(data), np.concatenate(checks)


def clean_words(code: SymbolCode, rng: np.random.Generator, count: int) -> tuple[Words, Words]:
    """Random codewords: symbols and checks."""
    symbols = random_words(rng, count, 64)[:, 0] & np.uint64((1 << code.data_bits) - 1)
    return symbols, code.checks_of(symbols[:, None])
