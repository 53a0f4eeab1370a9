"""Binary BCH codes, shortened and systematic: data bit i is the coefficient of x^(r + i), check bit k that of x^k."""

from __future__ import annotations

from functools import cache
from itertools import combinations

from potluck.isa.errors import DataError
from potluck.sim.ecc.linear import LinearCode, table_code

FIELD_POLYNOMIALS = {6: 0x43, 7: 0x89, 8: 0x11D, 9: 0x211, 10: 0x409}


def _minimal_polynomial(power: int, bits: int, polynomial: int) -> int:
    """Of alpha^power: the product over its conjugates of (x - c), computed with coefficients in the field."""
    from potluck.sim.ecc.galois import field

    gf = field(bits, polynomial)
    conjugates = {power * (1 << k) % gf.order for k in range(bits)}
    product = [1]  # coefficients, lowest first
    for exponent in conjugates:
        root = gf.power(exponent)
        shifted = [0, *product]
        product = [s ^ gf.mul(root, p) for s, p in zip(shifted, [*product, 0], strict=True)]
    return sum(1 << k for k, c in enumerate(product) if c)


def _multiply(a: int, b: int) -> int:
    """Product of polynomials over GF(2)."""
    product = 0
    while b:
        low = b & -b
        product ^= a * low
        b ^= low
    return product


def _remainder(a: int, b: int) -> int:
    """Of polynomials over GF(2)."""
    while a.bit_length() >= b.bit_length():
        a ^= b << (a.bit_length() - b.bit_length())
    return a


@cache
def generator(bits: int, errors: int) -> int:
    """Generator polynomial of the narrow-sense binary BCH code of length 2^bits - 1 that corrects `errors`."""
    polynomial = FIELD_POLYNOMIALS[bits]
    factors = {_minimal_polynomial(k, bits, polynomial) for k in range(1, 2 * errors, 2)}
    product = 1
    for factor in factors:
        product = _multiply(product, factor)
    return product


@cache
def bch_dec(data_bits: int, extended: bool = False) -> LinearCode:
    """The double-error-correcting code of the smallest field; with `extended` a parity bit that detects any three.

    (78,64) stands for VAPI's random DEC (value-aware parity insertion, DATE 2022), (144,128) and (274,256) are the
    plain sizes.

    Raises:
        DataError: no field of the table is large enough.
    """
    for bits in FIELD_POLYNOMIALS:
        polynomial = generator(bits, 2)
        checks = polynomial.bit_length() - 1
        if data_bits + checks < 1 << bits:
            break
    else:
        raise DataError(f"no BCH code for {data_bits} data bits", hint="Split the block")
    columns = [_remainder(1 << (checks + i), polynomial) for i in range(data_bits)]
    if extended:  # odd columns, as in hamming.artifact_secded
        columns = [c | (1 - c.bit_count() % 2) << checks for c in columns]
        checks += 1
    length = data_bits + checks
    supports = [*((b,) for b in range(length)), *combinations(range(length), 2)]
    return table_code(f"bch_{length}_{data_bits}", columns, checks, supports)
