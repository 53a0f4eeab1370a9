"""Hamming codes with columns in ascending order: DRAM's on-die SEC, and SEC-DED as RangeGuard's artifact builds it."""

from __future__ import annotations

from functools import cache
from itertools import count, islice

from potluck.sim.ecc.linear import LinearCode, table_code


def ascending_columns(number: int) -> list[int]:
    """The smallest integers that are no power of two: 3, 5, 6, 7, 9, ..."""
    return list(islice((c for c in count(3) if c & (c - 1)), number))


@cache
def on_die_sec(data_bits: int = 128, check_bits: int = 8) -> LinearCode:
    """On-die SEC, (136,128) as in DDR5 (JESD79-5).

    Vendors keep their matrices secret (BEER, MICRO 2020); ascending columns are our choice. Most double errors are
    "corrected" into triple ones.
    """
    singles = [(b,) for b in range(data_bits + check_bits)]
    columns = ascending_columns(data_bits)
    return table_code(f"ondie_{data_bits + check_bits}_{data_bits}", columns, check_bits, singles)


@cache
def artifact_secded() -> LinearCode:
    """SEC-DED (272,256) of the artifact: 15 Hamming check bits and a parity over all other 271 bits.

    The parity bit sees the check bits as well; in systematic form that completes every column to odd weight. Only
    nine of the fifteen Hamming rows carry data, hence the many mis-corrections.
    """
    columns = [c | (1 - c.bit_count() % 2) << 15 for c in ascending_columns(256)]
    return table_code("secded_artifact", columns, 16, [(b,) for b in range(272)])
