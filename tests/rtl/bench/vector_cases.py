"""Random elements for the instructions of a vector lane: corner codes, operands that meet in magnitude or cancel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from potluck.isa.arithmetic.floating import BF16, IEEE, Format
from potluck.isa.context import Context
from potluck.isa.insn import Insn
from potluck.isa.verilog.vector import lane_op
from tests.rtl.bench.vector_lanes import Codes, Work

E5M2, E4M3 = Format(8, 2), Format(8, 3)


def draw(insn: Insn, context: Context, count: int, rng: np.random.Generator, vxrm: int | None = None) -> Work:
    """Work of ``count`` elements; the first are pairs of corners, all of them active. No ``vxrm``: any."""
    op = lane_op(insn)
    assert op is not None
    sew = 64 if op.mask else context.sew
    widths = [int(sew * 2.0**scale) for scale in (op.a, op.b, op.d)]
    floats = op.unit in ("fma", "noncomp", "float_divide") or op.code in ("to_float", "to_integer")
    bf16 = "bf16" in op.flags
    a, b, c = (
        float_codes(rng, form(bits, bf16), count) if floats else integers(rng, bits, count) for bits in widths
    )
    if floats and op.unit == "fma" and min(widths) > 8:
        c, a = close(op.code, a, b, c, [form(bits, bf16) for bits in widths], rng)
    active = rng.random(count) < rng.choice([0.2, 0.8, 1.0])
    first, second = (corners(bits, bf16, rng) if floats else edges(bits) for bits in widths[:2])
    pairs = np.array([(x, y) for x in first for y in second], np.uint64)[:count].T
    directed = slice(pairs.shape[1])
    a[directed], b[directed], active[directed] = *pairs, True
    if a.dtype == b.dtype:
        b[-count // 16 :] = a[-count // 16 :]
    if vxrm is None:
        vxrm = int(rng.integers(4))
    return Work(insn, context, a, b, c, rng.random(count) < 0.5, active, vxrm)


def corners(bits: int, bf16: bool, rng: np.random.Generator) -> list[int]:
    """A number of each class: zero, the least, subnormal, normal, infinite, NaN quiet and signalling."""
    of = form(bits, bf16)
    sizes = [
        0,
        1,
        int(rng.integers(1, 1 << of.mantissa)),
        of.bias << of.mantissa,
        of.infinity,
        of.nan,
        of.infinity + 1,
    ]
    return [size | of.sign * int(rng.integers(2)) for size in sizes]


def edges(bits: int) -> list[int]:
    """Ends of ranges, signed and not."""
    mask = (1 << bits) - 1
    return [0, 1, 2, mask, mask - 1, mask >> 1, (mask >> 1) - 1, (mask >> 1) + 1, (mask >> 1) + 2]


def form(bits: int, bf16: bool) -> Format:
    """The format of floats of a width; those of 8 bits are drawn as E5M2's, which have all kinds of codes."""
    return E5M2 if bits == 8 else BF16 if bits == 16 and bf16 else IEEE[bits]


def integers(rng: np.random.Generator, bits: int, count: int) -> Codes:
    """Any bits, ends of ranges, small numbers of either sign."""
    mask = (1 << bits) - 1
    anything = rng.integers(0, mask, count, np.uint64, endpoint=True)
    ends = np.array(edges(bits), np.uint64)
    small = rng.integers(-70, 70, count).astype(np.int64).view(np.uint64)
    half = np.uint64(1) << rng.integers(0, bits, count, np.uint64)
    shifted = half + rng.integers(-1, 2, count).astype(np.int64).view(np.uint64)
    kind = rng.integers(0, 6, count)
    return np.choose(kind, [anything, anything, rng.choice(ends, count), small, shifted, anything]).astype(
        f"u{bits // 8}"
    )


def float_codes(rng: np.random.Generator, of: Format, count: int) -> Codes:
    """Codes of a format: any, ends of ranges, exponents around one."""
    anything = rng.integers(0, 1 << of.bits - 1, count, np.uint64) * np.uint64(2) + rng.integers(
        0, 2, count, np.uint64
    )
    fraction = anything & np.uint64((1 << of.mantissa) - 1)
    edge = rng.choice(np.array([0, 1, 2, of.quiet_bit - 1, of.quiet_bit, of.quiet_bit + 1, (1 << of.mantissa) - 1,
                                (1 << of.mantissa) - 2], np.uint64), count)  # fmt: skip
    fraction = np.where(rng.random(count) < 0.4, edge & np.uint64((1 << of.mantissa) - 1), fraction)
    top = 2 * of.bias + 1
    near = np.clip(of.bias + rng.integers(-of.mantissa - 3, of.mantissa + 4, count), 0, top)
    ends = rng.choice([0, 0, 1, 2, top - 2, top - 1, top, top], count)
    field = np.where(rng.random(count) < 0.4, ends, near).astype(np.uint64)
    made = (anything & np.uint64(of.sign)) | field << np.uint64(of.mantissa) | fraction
    return np.where(rng.random(count) < 0.2, anything, made).astype(f"u{of.bits // 8}")


def close(
    code: str, a: Codes, b: Codes, c: Codes, forms: list[Format], rng: np.random.Generator
) -> tuple[Codes, Codes]:
    """Addends about as large as the product or sum they meet, some within a few units of cancelling it."""
    of_a, of_b, of_c = forms
    count = len(a)
    if code in ("facc", "fadd"):
        left, right, target, of_left, of_right, of_target = a, b, c, of_a, of_b, of_c
        if code == "fadd":
            left, of_left, target, of_target = b, None, a, of_a
    elif code == "fmadd":
        left, right, target, of_left, of_right, of_target = b, c, a, of_b, of_c, of_a
    else:
        return c, a
    first = np.ones(count) if of_left is None else value(left, of_left)
    with np.errstate(all="ignore"):
        product = first * value(right, of_right)
    near = encode(product, of_target)
    limit = np.uint64((1 << of_target.bits) - 1)
    steps = rng.integers(-3, 4, count).astype(np.int64).view(np.uint64)
    moved = (near + steps & limit) ^ np.where(
        rng.random(count) < 0.5, np.uint64(of_target.sign), np.uint64(0)
    )
    scaled = moved + (rng.integers(-of_target.mantissa - 4, of_target.mantissa + 5, count).astype(np.int64)
                      << of_target.mantissa).view(np.uint64) & limit  # fmt: skip
    kind = rng.integers(0, 4, count)
    chosen = np.choose(kind, [target.astype(np.uint64), target.astype(np.uint64), moved, scaled]).astype(
        target.dtype
    )
    return (c, chosen) if target is a else (chosen, a)


def value(codes: Codes, of: Format) -> NDArray[np.float64]:
    """Numbers of codes, as far as binary64 goes."""
    if of == BF16:
        with np.errstate(all="ignore"):
            return (codes.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    with np.errstate(all="ignore"):
        return codes.view(f"f{of.bits // 8}").astype(np.float64)


def encode(numbers: NDArray[np.float64], of: Format) -> NDArray[np.uint64]:
    """Codes near numbers."""
    with np.errstate(all="ignore"):
        if of == BF16:
            return (numbers.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint64)
        return numbers.astype(f"f{of.bits // 8}").view(f"u{of.bits // 8}").astype(np.uint64)
