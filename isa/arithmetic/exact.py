"""Floating-point operations in every rounding mode with exact flags; the interface of ``potluck.isa.arithmetic.plain``.

The rounding mode is static, and flags are values like any other, so nothing here depends on the state of the host's
floating-point unit: all host operations round to nearest even and their own flags are ignored.

* **Results of at most 32 bits.** The exact result is rounded to odd in binary64 (at least two bits wider than needed,
  and with exponents to spare), where ``round_pack`` sees all that it needs (Boldo and Melquiond 2008).
* **Results of 64 bits** (``potluck.isa.arithmetic.exact64``). Operands are scaled to exponents around 0, where the
  host's result and its error are exact; ``round_pack`` gets both.

NaN and infinite results come from the host's operation on the operands themselves.
"""

from __future__ import annotations

from typing import Any

from potluck.isa.arithmetic import estimates, exact64
from potluck.isa.arithmetic.element import (
    bitcast,
    cast,
    different,
    equal,
    fabs,
    fconvert,
    fdiv,
    fma,
    isnan,
    select,
)
from potluck.isa.arithmetic.floating import (
    BF16,
    DZ,
    IEEE,
    NV,
    NX,
    RDN,
    RTZ,
    TO_ODD,
    Format,
    bits_of,
    canonical,
    infinite,
    raised,
    signalling,
    signalling_code,
    to_integer,
)
from potluck.isa.arithmetic.plain import Arithmetic
from potluck.isa.arithmetic.round_pack import Unrounded, from_double, from_integer, round_pack
from potluck.isa.arithmetic.to_odd import single_of, sum_to_odd, to_odd


class Exact(Arithmetic):
    """Rounding mode ``frm`` (0..4); ``flags`` gathers what the operations raise."""

    def __init__(self, frm: int) -> None:
        self.frm = frm
        self.flags = None

    def _raise(self, flags: Any) -> None:
        self.flags = flags if self.flags is None else self.flags | flags

    def _invalid(self, condition: Any) -> None:
        self._raise(cast(condition, "u8") * NV)

    # sums and products ----------------------------------------------------------------------------------------------
    def add(self, a: Any, b: Any) -> Any:
        """Sum."""
        if a.type.bits == 64:
            return self._wide(exact64.fused(a, None, b, self.frm), a + b, a, b)
        x, y = _double(a), _double(b)
        return self._narrow(self._sum(x, y), a.type.bits, a, b)

    def sub(self, a: Any, b: Any) -> Any:
        """Difference."""
        return self.add(a, _negated(b))

    def mul(self, a: Any, b: Any) -> Any:
        """Product."""
        if a.type.bits == 64:
            return self._wide(exact64.fused(a, b, None, self.frm), a * b, a, b)
        return self._narrow(_double(a) * _double(b), a.type.bits, a, b)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """``a*b + c`` rounded once."""
        # Invalid whatever c is, even a quiet NaN, which hides it in the result.
        self._invalid((infinite(a) & equal(b, 0.0)) | (equal(a, 0.0) & infinite(b)))
        if a.type.bits == 64:
            return self._wide(exact64.fused(a, b, c, self.frm), fma(a, b, c), a, b, c)
        return self._narrow(self._sum(_double(a) * _double(b), _double(c)), c.type.bits, a, b, c)

    def fma_bf16(self, a: Any, b: Any, c: Any) -> Any:
        """``a*b + c`` of BF16 codes rounded once."""
        x, y, z = (fconvert(single_of(code), "f64") for code in (a, b, c))
        zero_by_infinity = (infinite(x) & equal(y, 0.0)) | (equal(x, 0.0) & infinite(y))
        total = self._sum(x * y, z)
        nan = isnan(x) | isnan(y) | isnan(z)
        bad = signalling_code(a, BF16) | signalling_code(b, BF16) | signalling_code(c, BF16)
        self._invalid(bad | zero_by_infinity | (isnan(total) & ~nan))
        return cast(self._rounded(total, BF16, self.frm), "u16")

    def _sum(self, x: Any, y: Any) -> Any:
        """Two doubles added to odd. A sum that is exactly zero is negative if both are, rounding down if either is."""
        total = sum_to_odd(x, y)
        if self.frm != RDN:
            return total
        sign = (bits_of(x) | bits_of(y)) & (1 << 63)
        return bitcast(select(equal(total, 0.0), sign, bits_of(total)), "f64")

    # quotients and roots --------------------------------------------------------------------------------------------
    def div(self, a: Any, b: Any) -> Any:
        """Quotient."""
        self._raise(raised((equal(b, 0.0) & (fabs(a) > 0.0) & ~infinite(a), DZ)))
        if a.type.bits == 64:
            return self._wide(exact64.divided(a, b), fdiv(a, b), a, b, special=equal(b, 0.0))
        x, y = _double(a), _double(b)
        quotient = fdiv(x, y)
        rest = fma(-quotient, y, x)  # exact; of the sign of the error times that of y
        sign = bits_of(y) & (1 << 63)
        return self._narrow(to_odd(quotient, bitcast(bits_of(rest) ^ sign, "f64")), a.type.bits, a, b)

    def sqrt(self, x: Any) -> Any:
        """Square root."""
        if x.type.bits == 64:
            return self._wide(exact64.root(x), Arithmetic.sqrt(self, x), x)
        y = _double(x)
        root = Arithmetic.sqrt(self, y)
        return self._narrow(to_odd(root, fma(-root, root, y)), x.type.bits, x)

    # conversions ----------------------------------------------------------------------------------------------------
    def widen(self, x: Any, to: str) -> Any:
        """An operand of a wider operation; a signalling NaN, which widening makes quiet, has to be seen here."""
        self._invalid(signalling(x))
        return fconvert(x, to)

    def convert(self, x: Any, to: str) -> Any:
        """To another floating width."""
        return self._convert(x, to, self.frm)

    def convert_to_odd(self, x: Any, to: str) -> Any:
        """To a narrower width: toward zero, with the last bit set if anything was lost."""
        return self._convert(x, to, TO_ODD)

    def _convert(self, x: Any, to: str, frm: int) -> Any:
        self._invalid(signalling(x))
        width = int(to[1:])
        if width >= x.type.bits:
            return canonical(fconvert(x, to))
        return _of_code(self._rounded(_double(x), IEEE[width], frm), width)

    def from_integer(self, x: Any, to: str) -> Any:
        """An integer as a float."""
        width = int(to[1:])
        code, flags = round_pack(from_integer(x), IEEE[width], self.frm)
        self._raise(flags)
        return _of_code(code, width)

    def to_integer(self, x: Any, to: str) -> Any:
        """Saturating conversion in the rounding mode."""
        return self._to_integer(x, to, self.frm)

    def truncate(self, x: Any, to: str) -> Any:
        """Saturating conversion toward zero."""
        return self._to_integer(x, to, RTZ)

    def _to_integer(self, x: Any, to: str, frm: int) -> Any:
        value, invalid, rounded = to_integer(x, to, frm)
        self._raise(raised((invalid, NV), (different(rounded, x), NX)))
        return value

    # comparisons and estimates --------------------------------------------------------------------------------------
    def minimum(self, a: Any, b: Any) -> Any:
        """IEEE minimumNumber; a signalling NaN raises invalid even where it loses."""
        self._invalid(signalling(a) | signalling(b))
        return super().minimum(a, b)

    def maximum(self, a: Any, b: Any) -> Any:
        """IEEE maximumNumber; a signalling NaN raises invalid even where it loses."""
        self._invalid(signalling(a) | signalling(b))
        return super().maximum(a, b)

    def equal(self, a: Any, b: Any) -> Any:
        """Quiet comparison: invalid for signalling NaNs."""
        self._invalid(signalling(a) | signalling(b))
        return super().equal(a, b)

    def different(self, a: Any, b: Any) -> Any:
        """Quiet comparison: invalid for signalling NaNs."""
        self._invalid(signalling(a) | signalling(b))
        return super().different(a, b)

    def less(self, a: Any, b: Any) -> Any:
        """Signalling comparison: invalid for any NaN."""
        self._invalid(isnan(a) | isnan(b))
        return super().less(a, b)

    def less_equal(self, a: Any, b: Any) -> Any:
        """Signalling comparison: invalid for any NaN."""
        self._invalid(isnan(a) | isnan(b))
        return super().less_equal(a, b)

    def reciprocal7(self, x: Any) -> Any:
        """Reciprocal estimate of vfrec7.v."""
        value, flags = estimates.reciprocal(x, self.frm)
        self._raise(flags)
        return value

    def reciprocal_root7(self, x: Any) -> Any:
        """Reciprocal square root estimate of vfrsqrt7.v."""
        value, flags = estimates.reciprocal_root(x)
        self._raise(flags)
        return value

    # the rounding ---------------------------------------------------------------------------------------------------
    def _narrow(self, odd: Any, width: int, *operands: Any) -> Any:
        """The exact result, rounded to odd in binary64, as a float of at most 32 bits."""
        self._raise_invalid(odd, operands)
        return _of_code(self._rounded(odd, IEEE[width], self.frm), width)

    def _rounded(self, x: Any, to: Format, frm: int) -> Any:
        """A double rounded once: the code in ``to`` (u64); NaN gives the canonical one."""
        code, flags = round_pack(from_double(x), to, frm)
        nan, special = isnan(x), ~(fabs(x) < float("inf"))
        self._raise(select(special, 0, flags))
        infinity = (bits_of(x) >> 63 << to.bits - 1) | to.infinity
        return select(nan, to.nan, select(special, infinity, code))

    def _wide(self, number: Unrounded, host: Any, *operands: Any, special: Any | None = None) -> Any:
        """A double from its unrounded value; ``host``, the plain result, if NaN, special or of infinite operands."""
        self._raise_invalid(host, operands)
        code, flags = round_pack(number, IEEE[64], self.frm)
        special = isnan(host) if special is None else isnan(host) | special
        for operand in operands:
            special = special | infinite(operand)
        self._raise(select(special, 0, flags))
        return bitcast(select(special, bits_of(canonical(host)), code), "f64")

    def _raise_invalid(self, result: Any, operands: tuple[Any, ...]) -> None:
        bad, nan = signalling(operands[0]), isnan(operands[0])
        for operand in operands[1:]:
            bad, nan = bad | signalling(operand), nan | isnan(operand)
        self._invalid(bad | (isnan(result) & ~nan))


def _double(x: Any) -> Any:
    return fconvert(x, "f64")


def _negated(x: Any) -> Any:
    """Also of a signalling NaN, which stays one."""
    return bitcast(bits_of(x) ^ IEEE[x.type.bits].sign, x.type)


def _of_code(code: Any, width: int) -> Any:
    return bitcast(cast(code, f"u{width}"), f"f{width}")
