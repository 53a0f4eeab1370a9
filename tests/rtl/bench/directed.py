"""Directed lanes: every corner-case accumulator against telling sums at every shift where a rule begins or ends."""

from __future__ import annotations

import numpy as np

from potluck.isa.arithmetic.mxdot import CHUNK_ELEMENTS
from potluck.isa.formats.elements import FORMATS

SHIFTS = (-60, -50, -49, -27, -26, -25, -24, -23, -2, -1, 0, 1, 2, 23, 24, 45, 46, 69, 70, 71, 72)
"""Places of the accumulator's last bit above the sum's (fact sheet section 1.5, rule 4)."""


def chunks(fmt: str) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of operands [n, k]: nothing, one product, all products, cancelling ones, of extreme and of plain codes."""
    form, k = FORMATS[fmt], CHUNK_ELEMENTS[fmt]
    integer = fmt == "int8"
    least = 1
    one = 0x40 if integer else form.bias << form.mantissa_bits
    largest = 0x80 if integer else form.max_code
    minus = {
        code: (256 - code) & 0xFF if integer else code | form.sign_mask for code in (least, one, largest)
    }
    rows: list[tuple[list[int], list[int]]] = [([0] * k, [0] * k), ([one] * k, [0] * k)]
    for x in (least, one, largest):
        for y in (least, one, largest):
            for first, second in ((x, y), (minus[x], y), (minus[x], minus[y])):
                rows += [
                    ([first] + [0] * (k - 1), [second] + [0] * (k - 1)),
                    ([0] * (k - 1) + [first], [0] * (k - 1) + [second]),
                    ([first] * k, [second] * k),
                ]
            rows += [  # all cancels; all but one least product cancels
                ([x, minus[x]] * (k // 2), [y] * k),
                ([x, minus[x], least] + [0] * (k - 3), [y, y, least] + [0] * (k - 3)),
                ([x, minus[x], minus[least]] + [0] * (k - 3), [y, y, least] + [0] * (k - 3)),
            ]
    for code in form.corner_cases.tolist():  # specials meet zero, themselves and a finite number
        for other in (0, one, minus[one], code, code ^ form.sign_mask):
            rows += [([code] + [one] * (k - 1), [other] + [one] * (k - 1))]
            rows += [([one] * (k - 1) + [other], [one] * (k - 1) + [code])]
    a, b = (np.array(side, np.uint8) for side in zip(*rows, strict=True))
    return a, b


def directed(fmt: str, acc_format: str) -> tuple[np.ndarray, ...]:
    """All combinations as operands of `potluck.isa.arithmetic.mxdot.mxdot`: acc, a, b, sa, sb."""
    form = FORMATS[acc_format]
    a, b = chunks(fmt)
    acc = form.corner_cases
    row, which, shift = (x.reshape(-1) for x in np.meshgrid(
        np.arange(len(a)), np.arange(len(acc)), np.array(SHIFTS), indexing="ij"))  # fmt: skip
    codes = acc[which]
    field = (codes >> form.mantissa_bits).astype(np.int32) & 0xFF
    field += (field == 0) & ((codes & form.magnitude_mask) != 0)
    total = 11 + field - 127 - shift + 254  # of the two scales
    possible = (total >= 0) & (total <= 508)
    row, codes, total = row[possible], codes[possible], total[possible]
    low = np.maximum(0, total - 254)
    sa = low + (row * 7 + total) % (np.minimum(254, total) - low + 1)  # the split must not matter
    # Scales that are NaN, on either side and both, with every accumulator.
    sa, sb = sa.astype(np.uint8), (total - sa).astype(np.uint8)
    nan = np.arange(len(sa)) % 97 == 0
    sa[nan] = 255
    sb[np.arange(len(sb)) % 101 == 0] = 255
    return codes, a[row], b[row], sa, sb
