"""Hsiao SEC-DED: columns of odd weight, rows balanced (M. Y. Hsiao, IBM J. R&D 14(4), 1970).

Columns of weight 3 come first, then those of weight 5, and so on. A weight of which all are needed is taken in
lexicographic order. Otherwise the choice is greedy: next comes the column with the smallest (largest load among its
rows, sum of the loads of its rows, rows in lexicographic order), the load of a row being the columns so far that
contain it.
"""

from __future__ import annotations

from functools import cache, partial
from itertools import combinations

from potluck.isa.errors import DataError
from potluck.sim.ecc.linear import LinearCode, table_code


def _load(load: list[int], rows: tuple[int, ...]) -> tuple[int, int, tuple[int, ...]]:
    loads = [load[row] for row in rows]
    return max(loads), sum(loads), rows


def hsiao_columns(data_bits: int, check_bits: int) -> list[int]:
    """Data columns in order of choice.

    Raises:
        DataError: fewer odd-weight columns than data bits.
    """
    load = [0] * check_bits
    chosen: list[int] = []
    for weight in range(3, check_bits + 1, 2):
        free = list(combinations(range(check_bits), weight))
        all_needed = len(free) <= data_bits - len(chosen)
        while free and len(chosen) < data_bits:
            best = free[0] if all_needed else min(free, key=partial(_load, load))
            free.remove(best)
            for row in best:
                load[row] += 1
            chosen.append(sum(1 << row for row in best))
    if len(chosen) < data_bits:
        raise DataError(
            f"no SEC-DED code of {data_bits} data and {check_bits} check bits", hint="Add check bits"
        )
    return chosen


@cache
def hsiao(data_bits: int, check_bits: int) -> LinearCode:
    """Hsiao (data + check, data): corrects any single bit, detects any two."""
    columns = hsiao_columns(data_bits, check_bits)
    singles = [(b,) for b in range(data_bits + check_bits)]
    return table_code(f"hsiao_{data_bits + check_bits}_{data_bits}", columns, check_bits, singles)
