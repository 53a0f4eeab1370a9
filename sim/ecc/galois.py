"""Finite fields GF(2^m) by logarithm tables, and what Numba kernels need of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError


@dataclass(frozen=True, eq=False)
class Field:
    """GF(2^m) with the primitive element 2.

    Attributes:
        bits: m.
        polynomial: primitive polynomial with its leading term, e.g. 0x11D.
        exp: uint32 (2 * order), 2^k; twice its period, so that a sum of two logarithms needs no reduction.
        log: int32 (2^m), discrete logarithm; -1 for zero.
    """

    bits: int
    polynomial: int
    exp: NDArray[np.uint32]
    log: NDArray[np.int32]

    @property
    def order(self) -> int:
        """Of the multiplicative group."""
        return (1 << self.bits) - 1

    def power(self, exponent: int) -> int:
        """2 to any integer."""
        return int(self.exp[exponent % self.order])

    def mul(self, a: int, b: int) -> int:
        """Product."""
        return int(self.exp[int(self.log[a]) + int(self.log[b])]) if a and b else 0

    def div(self, a: int, b: int) -> int:
        """Quotient.

        Raises:
            ZeroDivisionError: b is 0.
        """
        if not b:
            raise ZeroDivisionError("division by zero in a finite field")
        return self.mul(a, self.power(-int(self.log[b])))

    def solve(self, matrix: list[list[int]], right: list[list[int]]) -> list[list[int]]:
        """X of ``matrix @ X = right`` for a square regular matrix (Gauss-Jordan).

        Raises:
            DataError: the matrix is singular.
        """
        size = len(matrix)
        rows = [list(a) + list(b) for a, b in zip(matrix, right, strict=True)]
        for column in range(size):
            pivot = next((r for r in range(column, size) if rows[r][column]), None)
            if pivot is None:
                raise DataError("singular matrix over a finite field")
            rows[column], rows[pivot] = rows[pivot], rows[column]
            head = rows[column][column]
            rows[column] = [self.div(v, head) for v in rows[column]]
            for r in range(size):
                factor = rows[r][column]
                if r != column and factor:
                    rows[r] = [v ^ self.mul(factor, w) for v, w in zip(rows[r], rows[column], strict=True)]
        return [row[size:] for row in rows]


@cache
def field(bits: int, polynomial: int) -> Field:
    """The field of a primitive polynomial.

    Raises:
        DataError: 2 does not generate the multiplicative group.
    """
    order = (1 << bits) - 1
    exp = np.zeros(2 * order, np.uint32)
    log = np.full(order + 1, -1, np.int32)
    value = 1
    for k in range(order):
        if log[value] >= 0:
            raise DataError(f"{polynomial:#x} is no primitive polynomial of degree {bits}")
        exp[k] = exp[k + order] = value
        log[value] = k
        value <<= 1
        if value >> bits:
            value ^= polynomial
    return Field(bits, polynomial, exp, log)


GF16 = field(4, 0x13)
GF256 = field(8, 0x11D)


def gf65536() -> Field:
    """GF(2^16) of the HBM3 code; built at first use, as its tables take a moment."""
    return field(16, 0x1100B)
