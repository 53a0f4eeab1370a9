"""What no MX quantizer writes (ours): blocks that break it are faulty, found without a check bit.

Under the floor rule the scale is that of the block's largest exponent, so a block with a scale code of 1 to 254 has an
element of at least 2^emax. Besides: codes that saturating conversion never gives (NaN and Inf of FP8, -2 of MXINT8), a
NaN scale over elements other than 0, and scales beyond the tensor's range.
"""

from __future__ import annotations

from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from potluck.isa.formats.elements import ElementFormat
from potluck.isa.formats.mx import NAN_SCALE


class Violation(IntFlag):
    """What is wrong with a block."""

    NONE = 0
    NO_LARGE_ELEMENT = 1
    UNUSED_CODE = 2
    NAN_SCALE = 4
    SCALE_RANGE = 8


def mx_violations(
    codes: NDArray[np.uint8], scales: NDArray[np.uint8], element: ElementFormat,
    scale_range: tuple[int, int] = (0, 254), floor_rule: bool = True,
) -> NDArray[np.uint8]:  # fmt: skip
    """Violations of MX blocks.

    Args:
        codes: uint8 (blocks, block size), element codes.
        scales: uint8 (blocks,), E8M0 codes.
        element: format of the elements.
        scale_range: smallest and largest scale code of the clean tensor, NaN left out.
        floor_rule: the scale rule was ``floor``, the only one that warrants the large element.

    Returns:
        uint8 (blocks,), sums of `Violation`; 0 for a block that the quantizer may have written.
    """
    value = np.abs(element.decode(np.arange(1 << element.bits)).astype(np.float64))
    large = value >= 2.0**element.emax
    unused = ~(value <= element.max_normal)
    nan_scale = scales == NAN_SCALE
    small = ~large[codes].any(axis=1) & (scales > 0) & ~nan_scale
    out = np.where(small & floor_rule, Violation.NO_LARGE_ELEMENT, 0)
    out |= np.where(unused[codes].any(axis=1), Violation.UNUSED_CODE, 0)
    out |= np.where(nan_scale & codes.any(axis=1), Violation.NAN_SCALE, 0)
    beyond = ((scales < scale_range[0]) | (scales > scale_range[1])) & ~nan_scale
    return np.asarray(out | np.where(beyond, Violation.SCALE_RANGE, 0), np.uint8)
