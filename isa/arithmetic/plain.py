"""Floating-point operations as the rows' meanings ask for them, in the plain case.

A meaning with a parameter ``fp`` gets one of two objects of the same interface. This module's :class:`Arithmetic`
rounds to nearest even and raises nothing: every operation is the host's own. ``potluck.isa.arithmetic.exact`` has the
other, for every rounding mode and with flags. NaN results are canonical in both.

Values are of the types f16, f32 and f64; BF16 numbers are codes of type u16.
"""

from __future__ import annotations

from typing import Any

from potluck.isa.arithmetic import estimates
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
    sqrt,
    to_float,
)
from potluck.isa.arithmetic.floating import BF16, IEEE, RNE, RTZ, bits_of, canonical, sign_bit, to_integer
from potluck.isa.arithmetic.mxdot_element import round_once
from potluck.isa.arithmetic.to_odd import single_of, sum_to_odd, to_odd_narrow


class Arithmetic:
    """Nearest even, no flags.

    Attributes:
        frm: the rounding mode.
        flags: fflags raised so far (u8), or None.
    """

    frm = RNE
    flags: Any = None

    def add(self, a: Any, b: Any) -> Any:
        """Sum."""
        return canonical(a + b)

    def sub(self, a: Any, b: Any) -> Any:
        """Difference."""
        return canonical(a - b)

    def mul(self, a: Any, b: Any) -> Any:
        """Product."""
        return canonical(a * b)

    def div(self, a: Any, b: Any) -> Any:
        """Quotient."""
        return canonical(fdiv(a, b))

    def sqrt(self, x: Any) -> Any:
        """Square root by magnitude, as LLVM folds a choice between NaN and the root of ``x`` itself into that root."""
        root = bits_of(sqrt(fabs(x)))
        bits = select(equal(x, 0.0), bits_of(x), root)  # the root of -0 is -0
        return bitcast(select(isnan(x) | (x < 0.0), IEEE[x.type.bits].nan, bits), x.type)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """``a*b + c`` rounded once."""
        if a.type.bits > 16:
            return canonical(fma(a, b, c))
        x, y, z = (fconvert(value, "f32") for value in (a, b, c))  # the product is exact in FP32
        return canonical(fconvert(sum_to_odd(x * y, z), a.type))

    def fma_bf16(self, a: Any, b: Any, c: Any) -> Any:
        """``a*b + c`` of BF16 codes rounded once: the product is exact in binary64, the sum goes to odd there."""
        x, y, z = (fconvert(single_of(value), "f64") for value in (a, b, c))
        result = bits_of(round_once(sum_to_odd(z, x * y), RNE, True)) >> 16
        nan = (result & 0x7FFF) > BF16.infinity
        return cast(select(nan, BF16.nan, result), "u16")

    def widen(self, x: Any, to: str) -> Any:
        """An operand of a wider operation, exactly; its NaN is of no concern."""
        return fconvert(x, to)

    def widen_bf16(self, code: Any) -> Any:
        """A BF16 code as an operand in f32, exactly."""
        return single_of(code)

    def convert(self, x: Any, to: str) -> Any:
        """To another floating width; widening is exact."""
        if x.type.bits == 64 and to == "f16":
            return canonical(fconvert(to_odd_narrow(x, "f32"), to))
        return canonical(fconvert(x, to))

    def convert_to_odd(self, x: Any, to: str) -> Any:
        """To a narrower width: toward zero, with the last bit set if anything was lost."""
        return to_odd_narrow(x, to)

    def from_integer(self, x: Any, to: str) -> Any:
        """An integer as a float."""
        return to_float(x, to)

    def to_integer(self, x: Any, to: str) -> Any:
        """Saturating conversion in the rounding mode."""
        return to_integer(x, to, self.frm)[0]

    def truncate(self, x: Any, to: str) -> Any:
        """Saturating conversion toward zero."""
        return to_integer(x, to, RTZ)[0]

    def minimum(self, a: Any, b: Any) -> Any:
        """IEEE minimumNumber: a NaN loses against a number, -0 is below +0."""
        smaller = select((a < b) | (equal(a, b) & sign_bit(a)), a, b)
        return canonical(select(isnan(a), b, select(isnan(b), a, smaller)))

    def maximum(self, a: Any, b: Any) -> Any:
        """IEEE maximumNumber: a NaN loses against a number, +0 is above -0."""
        larger = select((a > b) | (equal(a, b) & sign_bit(b)), a, b)
        return canonical(select(isnan(a), b, select(isnan(b), a, larger)))

    def equal(self, a: Any, b: Any) -> Any:
        """Quiet comparison."""
        return equal(a, b)

    def different(self, a: Any, b: Any) -> Any:
        """Quiet comparison; NaN differs from everything."""
        return different(a, b)

    def less(self, a: Any, b: Any) -> Any:
        """Signalling comparison."""
        return a < b

    def less_equal(self, a: Any, b: Any) -> Any:
        """Signalling comparison."""
        return a <= b

    def reciprocal7(self, x: Any) -> Any:
        """Reciprocal estimate of vfrec7.v."""
        return estimates.reciprocal(x, self.frm)[0]

    def reciprocal_root7(self, x: Any) -> Any:
        """Reciprocal square root estimate of vfrsqrt7.v."""
        return estimates.reciprocal_root(x)[0]
