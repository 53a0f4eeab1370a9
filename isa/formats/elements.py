"""Element formats: one declaration each, with decode and encode that are correct to the bit.

Every format except E8M0 is a sign and a magnitude code ``(exponent field << mantissa bits) | mantissa`` with
subnormals; a larger magnitude code is a larger magnitude, so rounding is integer arithmetic on codes. MXINT8
is the same thing with one exponent bit (its magnitudes are the multiples of 2^-6 up to 127/64) stored in
two's complement. E8M0 is a bare power of two: no sign, no zero, 0xFF is NaN.

Sources: OCP MX v1.0 section 5.3 (elements) and 5.4.1 (E8M0), OCP OFP8 v1.0, IEEE 754-2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError
from potluck.isa.formats.rounding import Codes, Rounding, encode
from potluck.isa.plugins import added


@dataclass(frozen=True)
class ElementFormat:
    """One number format.

    Attributes:
        name: The field's name, e.g. ``E4M3``.
        bits: Width of a code.
        exponent_bits: Width of the exponent field (INT8: 1, see the module's text).
        mantissa_bits: Width of the mantissa field.
        bias: Exponent bias; the smallest normal is 2^(1-bias) (E8M0: code 0 is 2^-bias).
        emax: Exponent of the largest power of two, as used by the MX scale rule (OCP MX v1.0 section 6.3).
        max_normal: Largest finite value.
        has_inf: Whether infinities exist (exponent field all ones, mantissa 0).
        nan: ``ieee`` (exponent all ones, mantissa not 0), ``all_ones`` (magnitude all ones), ``none``.
        dtype: The ml_dtypes or NumPy type with the same codes (INT8: the bare integers, without 2^-6).
        onnx: Name of the ``onnx.TensorProto`` data type.
        kind: ``float`` (sign-magnitude), ``int`` (two's complement), ``scale`` (E8M0).
    """

    name: str
    bits: int
    exponent_bits: int
    mantissa_bits: int
    bias: int
    emax: int
    max_normal: float
    has_inf: bool
    nan: Literal["ieee", "all_ones", "none"]
    dtype: np.dtype[Any]
    onnx: str
    kind: Literal["float", "int", "scale"] = "float"

    def __post_init__(self) -> None:
        sign_bits = 0 if self.kind == "scale" else 1
        assert self.bits == sign_bits + self.exponent_bits + self.mantissa_bits, self.name
        assert self.max_normal == self._magnitude(self.max_code), self.name
        assert 2.0**self.emax <= self.max_normal < 2.0 ** (self.emax + 1), self.name

    def __str__(self) -> str:
        return self.name

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """Unsigned NumPy type that holds one code."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16 if self.bits <= 16 else np.uint32)

    @property
    def sign_mask(self) -> int:
        """Code of the sign bit; 0 for E8M0."""
        return 0 if self.kind == "scale" else 1 << (self.bits - 1)

    @property
    def magnitude_mask(self) -> int:
        """All bits but the sign."""
        return (1 << (self.exponent_bits + self.mantissa_bits)) - 1

    @property
    def max_code(self) -> int:
        """Magnitude code of `max_normal`."""
        if self.nan == "ieee":
            return self.inf_code - 1
        return self.magnitude_mask - (self.nan == "all_ones")

    @property
    def inf_code(self) -> int:
        """Lowest code with an all-ones exponent: infinity in the IEEE-like formats."""
        return ((1 << self.exponent_bits) - 1) << self.mantissa_bits

    @property
    def nan_code(self) -> int | None:
        """Canonical (quiet, positive) NaN, or None."""
        if self.nan == "ieee":
            return self.inf_code | 1 << (self.mantissa_bits - 1)
        return self.magnitude_mask if self.nan == "all_ones" else None

    @property
    def min_normal(self) -> float:
        """Smallest normal value (E8M0: smallest value)."""
        return 2.0 ** (-self.bias if self.kind == "scale" else 1 - self.bias)

    @property
    def min_subnormal(self) -> float:
        """Smallest positive value."""
        return self.min_normal if self.kind == "scale" else self.min_normal * 2.0**-self.mantissa_bits

    def _magnitude(self, code: int) -> float:
        """Value of a finite magnitude code, exact in double precision."""
        if self.kind == "scale":
            return float(2.0 ** (code - self.bias))
        field, mantissa = code >> self.mantissa_bits, code & ((1 << self.mantissa_bits) - 1)
        significand = mantissa + ((1 << self.mantissa_bits) if field else 0)
        return float(significand * 2.0 ** (max(field, 1) - self.bias - self.mantissa_bits))

    @cached_property
    def corner_cases(self) -> NDArray[Any]:
        """Codes that every test should include: zeros, edges of each class, one, infinities, NaN.

        Returns:
            Sorted unique codes of `code_dtype`; all of them for formats of up to 6 bits.
        """
        if self.bits <= 6:
            return np.arange(1 << self.bits, dtype=self.code_dtype)
        one = (self.bias - (self.kind == "scale")) << self.mantissa_bits
        one = self.bias if self.kind == "scale" else one
        sub = 1 << self.mantissa_bits
        edges = {
            0,
            1,
            2,
            sub - 1,
            sub,
            sub + 1,
            one - 1,
            one,
            one + 1,
            one + sub,
            self.max_code - 1,
            self.max_code,
        }
        if self.nan != "none":
            # Around infinity lie the lowest signalling NaN and both ends of the quiet ones.
            edges |= {self.magnitude_mask, self.magnitude_mask - 1}
            edges |= {self.inf_code, self.inf_code + 1} if self.nan == "ieee" else set()
            edges |= {self.nan_code or 0, (self.nan_code or 0) - 1}
        edges |= {code | self.sign_mask for code in edges}
        return np.array(sorted(edges), dtype=self.code_dtype)

    @cached_property
    def _table(self) -> NDArray[np.float32]:
        """Value of every code (formats of up to 16 bits), NaN as the canonical quiet NaN."""
        code = np.arange(1 << self.bits, dtype=np.int64)
        if self.kind == "int":
            signed = np.where(code >= self.sign_mask, code - (1 << self.bits), code)
            return np.asarray(signed * self.min_subnormal, dtype=np.float32)
        magnitude = code & self.magnitude_mask
        if self.kind == "scale":
            value = np.ldexp(1.0, magnitude - self.bias)
        else:
            field = magnitude >> self.mantissa_bits
            significand = (magnitude & ((1 << self.mantissa_bits) - 1)) + ((field > 0) << self.mantissa_bits)
            value = np.ldexp(
                significand.astype(np.float64), np.maximum(field, 1) - self.bias - self.mantissa_bits
            )
        value[magnitude > self.max_code] = np.nan
        if self.has_inf:
            value[magnitude == self.inf_code] = np.inf
        value = np.where(code & self.sign_mask, -value, value)
        value[np.isnan(value)] = np.nan  # one quiet NaN, whatever the code's sign
        return np.asarray(value, dtype=np.float32)

    def decode(self, codes: ArrayLike) -> NDArray[np.float32]:
        """Values of codes; exact, since FP32 holds every value of every format here.

        Args:
            codes: Integer array, any shape, values below ``2**bits``.

        Returns:
            float32 array of the same shape. NaN codes give the canonical NaN (FP32: the code's own bits).

        Raises:
            DataError: A code does not fit the format's width.
        """
        array = np.asarray(codes)
        if self.bits == 32:
            return np.ascontiguousarray(array, dtype=np.uint32).view(np.float32).reshape(array.shape)
        try:
            return np.asarray(self._table[array], dtype=np.float32)
        except IndexError as error:
            hint = f"Codes of {self.name} are integers below {1 << self.bits:#x}; unpack packed bytes first"
            raise DataError(f"not an array of {self.name} codes ({error})", hint=hint) from error

    def encode(self, values: ArrayLike, rounding: Rounding = "rne", saturate: bool = True) -> Codes:
        """Codes of values, correctly rounded; `potluck.isa.formats.rounding` states NaN, Inf and overflow.

        Args:
            values: Array of float32 or float64 (anything else is converted to float64), any shape.
            rounding: Rounding mode.
            saturate: What overflow gives: the largest finite value, or the format's infinity or NaN.

        Returns:
            Array of `code_dtype` of the same shape.

        Raises:
            DataError: Unknown rounding mode.
        """
        return encode(self, values, rounding, saturate)


_BF16 = np.dtype(ml_dtypes.bfloat16)
_E5M2 = np.dtype(ml_dtypes.float8_e5m2)
_E4M3 = np.dtype(ml_dtypes.float8_e4m3fn)
_E3M2 = np.dtype(ml_dtypes.float6_e3m2fn)
_E2M3 = np.dtype(ml_dtypes.float6_e2m3fn)
_E2M1 = np.dtype(ml_dtypes.float4_e2m1fn)
_E8M0 = np.dtype(ml_dtypes.float8_e8m0fnu)
_MAX32, _MAXB = (2 - 2.0**-23) * 2.0**127, (2 - 2.0**-7) * 2.0**127
_F32, _F16, _I8 = np.dtype(np.float32), np.dtype(np.float16), np.dtype(np.int8)

#                     name  bits  e   m  bias emax max_normal  inf    nan         dtype  onnx
FP32 = ElementFormat("FP32", 32, 8, 23, 127, 127, _MAX32, True, "ieee", _F32, "FLOAT")
BF16 = ElementFormat("BF16", 16, 8, 7, 127, 127, _MAXB, True, "ieee", _BF16, "BFLOAT16")
FP16 = ElementFormat("FP16", 16, 5, 10, 15, 15, 65504.0, True, "ieee", _F16, "FLOAT16")
E5M2 = ElementFormat("E5M2", 8, 5, 2, 15, 15, 57344.0, True, "ieee", _E5M2, "FLOAT8E5M2")
E4M3 = ElementFormat("E4M3", 8, 4, 3, 7, 8, 448.0, False, "all_ones", _E4M3, "FLOAT8E4M3FN")
E3M2 = ElementFormat("E3M2", 6, 3, 2, 3, 4, 28.0, False, "none", _E3M2, "FLOAT6E3M2")
E2M3 = ElementFormat("E2M3", 6, 2, 3, 1, 2, 7.5, False, "none", _E2M3, "FLOAT6E2M3")
E2M1 = ElementFormat("E2M1", 4, 2, 1, 1, 2, 6.0, False, "none", _E2M1, "FLOAT4E2M1")
INT8 = ElementFormat("INT8", 8, 1, 6, 1, 0, 1.984375, False, "none", _I8, "INT8", "int")
INTEGER8 = ElementFormat("INT8", 8, 1, 6, -5, 6, 127.0, False, "none", _I8, "INT8", "int")
"""The codes of `INT8` as the integers they are, without 2^-6: ONNX's INT8, whose E8M0 scale is smaller by 2^6."""
E8M0 = ElementFormat("E8M0", 8, 8, 0, 127, 127, 2.0**127, False, "all_ones", _E8M0, "FLOAT8E8M0", "scale")

FORMATS: dict[str, ElementFormat] = {
    f.name.lower(): f
    for f in (
        FP32, BF16, FP16, E5M2, E4M3, E3M2, E2M3, E2M1, INT8, E8M0, *(f for _, f in added("potluck.formats"))
    )
}  # fmt: skip
"""Every format by its lowercase name."""


def holds(wide: ElementFormat, narrow: ElementFormat) -> bool:
    """Whether every value of ``narrow`` is a value of ``wide``: both have at most 8 bits and are no scale."""
    values = narrow.decode(np.arange(1 << narrow.bits))
    finite = values[np.isfinite(values)]
    specials = narrow.has_inf <= wide.has_inf and (narrow.nan == "none" or wide.nan != "none")
    return specials and bool(np.array_equal(wide.decode(wide.encode(finite)), finite))


def recode(codes: NDArray[np.uint8], narrow: ElementFormat, wide: ElementFormat) -> NDArray[np.uint8]:
    """Codes of the same values in a format that `holds` them, signs of zeros and NaN included."""
    if narrow is wide:
        return codes
    table = wide.encode(narrow.decode(np.arange(1 << narrow.bits)), saturate=False)
    return np.asarray(table[codes], np.uint8)
