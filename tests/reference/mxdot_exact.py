"""Independent reference of one VMXDOTP lane in exact arithmetic on Python integers.

Written only from section 1.5 of the VMXDOTP fact sheet; imports nothing of Potluck, shares no idea with
`potluck.isa.arithmetic.mxdot` and aims at being obviously right. Every finite number is an integer multiple of a power
of two small enough for all: elements of 2^-16, their products of 2^-32, accumulators and sums of 2^-300.
"""

from functools import cache

NV, OF, UF, NX = 16, 4, 2, 1
FINITE, INF, NAN, SNAN = range(4)
UNIT = 300

# (exponent bits, mantissa bits, bias, IEEE-like specials, NaN only at all ones)
ELEMENTS = {
    "e5m2": (5, 2, 15, True, False),
    "e4m3": (4, 3, 7, False, True),
    "e3m2": (3, 2, 3, False, False),
    "e2m3": (2, 3, 1, False, False),
    "e2m1": (2, 1, 1, False, False),
}
MANTISSA_BITS = {"fp32": 23, "bf16": 7}


@cache
def decode_element(code: int, fmt: str) -> tuple[int, int, int]:
    """Class, sign (1 or -1) and, if finite, value in units of 2^-16."""
    if fmt == "int8":  # multiples of 2^-6 in two's complement
        value = code - 256 if code >= 128 else code
        return FINITE, -1 if value < 0 else 1, value << 10
    ebits, mbits, bias, ieee, all_ones = ELEMENTS[fmt]
    sign = -1 if code >> (ebits + mbits) & 1 else 1
    field = code >> mbits & (1 << ebits) - 1
    mantissa = code & (1 << mbits) - 1
    top = field == (1 << ebits) - 1
    if ieee and top:
        if mantissa == 0:
            return INF, sign, 0
        return (NAN if mantissa >> (mbits - 1) else SNAN), sign, 0
    if all_ones and top and mantissa == (1 << mbits) - 1:
        return NAN, sign, 0
    significand = mantissa if field == 0 else mantissa + (1 << mbits)
    exponent = max(field, 1) - bias - mbits
    return FINITE, sign, sign * (significand << (16 + exponent))


def round_exact(v: int, mbits: int, frm: str) -> tuple[int, int]:
    """Rounds a non-zero number of units 2^-300 to 8 exponent and ``mbits`` mantissa bits: (bits, flags)."""
    negative, magnitude = v < 0, abs(v)
    exponent = magnitude.bit_length() - 1 - UNIT  # 2^exponent <= |v| < 2^(exponent + 1)
    ulp_log2 = max(exponent, -126) - mbits + UNIT
    low, rest, half = magnitude >> ulp_log2, magnitude & (1 << ulp_log2) - 1, 1 << (ulp_log2 - 1)
    if frm == "rne":
        up = rest > half or (rest == half and low % 2 == 1)
    elif frm == "rmm":
        up = rest >= half
    elif frm == "rtz":
        up = False
    else:
        up = rest > 0 and negative == (frm == "rdn")
    rounded = (low + up) << ulp_log2
    sign_bit = 1 << (8 + mbits) if negative else 0
    flags = NX if rounded != magnitude else 0
    if rounded >= 1 << (128 + UNIT):
        to_infinity = frm in ("rne", "rmm") or (frm != "rtz" and negative == (frm == "rdn"))
        return sign_bit | (255 << mbits if to_infinity else (255 << mbits) - 1), OF | NX
    if rounded < 1 << (UNIT - 126):
        return sign_bit | rounded >> (UNIT - 126 - mbits), flags | (UF if flags else 0)
    exponent = rounded.bit_length() - 1 - UNIT
    mantissa = (rounded >> (exponent - mbits + UNIT)) - (1 << mbits)
    return sign_bit | (exponent + 127) << mbits | mantissa, flags


def mxdot_lane(
    acc: int, a: list[int], b: list[int], sa: int, sb: int, fmt: str, acc_format: str, frm: str
) -> tuple[int, int]:
    """One lane: accumulator bits, element codes, scale codes -> (result bits, fflags)."""
    mbits = MANTISSA_BITS[acc_format]
    qnan = 255 << mbits | 1 << (mbits - 1)
    field, mantissa = acc >> mbits & 255, acc & (1 << mbits) - 1
    acc_sign = -1 if acc >> (8 + mbits) & 1 else 1
    acc_nan = field == 255 and mantissa != 0
    acc_snan = acc_nan and mantissa >> (mbits - 1) == 0
    acc_inf = field == 255 and mantissa == 0

    pairs = [(decode_element(x, fmt), decode_element(y, fmt)) for x, y in zip(a, b, strict=True)]
    classes = {element[0] for pair in pairs for element in pair}

    # Rule 1: infinity times zero, in either order.
    for x, y in pairs:
        for (first, _, _), (second, _, value) in ((x, y), (y, x)):
            if first == INF and second == FINITE and value == 0:
                return qnan, NV
    # Rule 2: any NaN.
    if NAN in classes or SNAN in classes or sa == 255 or sb == 255 or acc_nan:
        return qnan, NV if acc_snan or SNAN in classes else 0
    # Rule 3: any infinity.
    signs = {x[1] * y[1] for x, y in pairs if INF in (x[0], y[0])} | ({acc_sign} if acc_inf else set())
    if len(signs) == 2:
        return qnan, NV
    if signs:
        return 255 << mbits | (1 << (8 + mbits) if -1 in signs else 0), 0

    # Rule 4: finite.
    s = (sa - 127) + (sb - 127)
    sop = sum(x[2] * y[2] for x, y in pairs)  # in units of 2^-32
    effective = field if field else (1 if mantissa else 0)
    sh = 11 - s + effective - 127
    if sh > 70:
        return acc, NX if sop != 0 else 0
    if sh < -24 and sop == 0:
        return acc, 0
    significand = mantissa + (1 << mbits) if field else mantissa
    acc_value = acc_sign * significand << (UNIT + max(field, 1) - 127 - mbits)
    v = acc_value + (sop << (UNIT - 32 + s))
    if v == 0:
        return 0, 0
    return round_exact(v, mbits, frm)
