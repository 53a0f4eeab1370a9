"""Random VMXDOTP lanes that visit what a uniform choice of bits would miss."""

import numpy as np

from potluck.isa.arithmetic.mxdot import CHUNK_ELEMENTS
from potluck.isa.formats.elements import FORMATS
from potluck.isa.formats.rounding import ROUNDINGS


def lanes(rng: np.random.Generator, fmt: str, acc_format: str, n: int) -> tuple[np.ndarray, ...]:
    """Random lanes in three kinds: moderate, corner cases everywhere, and near-cancelling ones."""
    element, acc, k = FORMATS[fmt], FORMATS[acc_format], CHUNK_ELEMENTS[fmt]
    kind = rng.integers(0, 4, n)
    a, b = (rng.integers(0, 1 << element.bits, (n, k), dtype=np.uint8) for _ in range(2))
    if element.nan != "none":
        # Specials in every other lane only, or hardly a lane would be finite.
        finite = element.max_code
        for x in (a, b):
            bad = (x & element.magnitude_mask) > finite
            x[bad & (kind < 3)[:, None]] &= 0x8F  # clears high exponent bits
    corner = (kind == 3)[:, None] & (rng.random((n, k)) < 0.3)
    a[corner] = rng.choice(element.corner_cases, int(corner.sum()))
    sparse = (rng.random(n) < 0.2)[:, None] & (rng.random((n, k)) < 0.8)
    a[sparse] = 0
    sa, sb = (rng.integers(110, 145, n, dtype=np.uint8) for _ in range(2))
    wild = rng.random(n) < 0.25
    sa[wild] = rng.integers(0, 256, int(wild.sum()))
    sb[wild] = rng.integers(0, 256, int(wild.sum()))
    bits = rng.integers(0, 1 << acc.bits, n, dtype=np.uint32).astype(acc.code_dtype)
    near = kind == 0  # the accumulator meets the sum of products, or is minus it
    with np.errstate(all="ignore"):
        dot = (element.decode(a).astype(np.float64) * element.decode(b)).sum(-1)
        dot *= np.exp2(sa.astype(np.float64) + sb - 254)
    bits[near] = acc.encode(-dot[near], rng.choice(ROUNDINGS))
    bits[near] ^= rng.integers(0, 4, int(near.sum())).astype(acc.code_dtype)
    pick = (kind == 3) & (rng.random(n) < 0.5)
    bits[pick] = rng.choice(acc.corner_cases, int(pick.sum()))
    return bits, a, b, sa, sb
