"""Operations for the VMXDOTP unit with their expected results, made from the lane contract."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from potluck.isa.arithmetic.mxdot import CHUNK_ELEMENTS, mxdot
from potluck.isa.formats.rounding import ROUNDINGS
from tests.reference.mxdot_lanes import lanes

ELEM_FORMATS = ("e5m2", "e4m3", "e2m1", "e3m2", "e2m3", "int8")  # as numbered by elem_fmt_e
ACC_FORMATS = ("fp32", "bf16")  # as numbered by fp_fmt_e


def packed(codes: np.ndarray) -> np.ndarray:
    """64-bit operands [n] of element codes [n, k], element 0 in the lowest bits."""
    width = np.uint64(64 // codes.shape[1])
    shifts = np.arange(codes.shape[1], dtype=np.uint64) * width
    return np.bitwise_or.reduce(codes.astype(np.uint64) << shifts, axis=1)


@dataclass(frozen=True)
class Lanes:
    """Lane operations in the unit's own encoding, and what they must give; all arrays [n]."""

    a: np.ndarray
    b: np.ndarray
    scale_a: np.ndarray
    scale_b: np.ndarray
    acc: np.ndarray
    elem_fmt: np.ndarray
    acc_fmt: np.ndarray
    rm: np.ndarray
    result: np.ndarray
    flags: np.ndarray

    def __len__(self) -> int:
        return len(self.a)

    @classmethod
    def concatenate(cls, parts: list[Lanes]) -> Lanes:
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in cls.__annotations__))

    def part(self, first: int, end: int) -> Lanes:
        return Lanes(*(getattr(self, name)[first:end] for name in self.__annotations__))

    def shuffled(self, rng: np.random.Generator) -> Lanes:
        order = rng.permutation(len(self))
        return Lanes(*(getattr(self, name)[order] for name in self.__annotations__))


def encoded(
    lane: tuple[np.ndarray, ...], fmt: str, acc_format: str, frm: str, result: np.ndarray, flags: np.ndarray
) -> Lanes:
    """Lanes of the contract as the unit takes and gives them: BF16 in the upper half of 32 bits."""
    acc, a, b, sa, sb = lane
    upper = np.uint32(16 if acc_format == "bf16" else 0)
    n = len(acc)
    # What lies below a BF16 accumulator, and above FP6 elements in their bytes, must not matter.
    noise = packed(b) * np.uint64(0x9E3779B97F4A7C15)
    below = (noise >> np.uint64(40)).astype(np.uint32) & ((np.uint32(1) << upper) - np.uint32(1))
    above = np.uint64(0xC0C0C0C0C0C0C0C0 if fmt in ("e3m2", "e2m3") else 0)
    return Lanes(
        packed(a) | noise & above, packed(b) | ~noise & above, sa, sb, acc.astype(np.uint32) << upper | below,
        np.full(n, ELEM_FORMATS.index(fmt), np.uint8), np.full(n, ACC_FORMATS.index(acc_format), np.uint8),
        np.full(n, ROUNDINGS.index(frm), np.uint8), result.astype(np.uint32) << upper, flags,
    )  # fmt: skip


def mixed(rng: np.random.Generator, count: int, formats: tuple[str, ...] = ELEM_FORMATS) -> Lanes:
    """About ``count`` lanes of all forms and rounding modes in random order."""
    forms = [(f, acc, frm) for f in formats for acc in ACC_FORMATS for frm in ROUNDINGS]
    parts = []
    for fmt, acc_format, frm in forms:
        lane = lanes(rng, fmt, acc_format, -(-count // len(forms)))
        parts.append(encoded(lane, fmt, acc_format, frm, *mxdot(*lane, fmt, acc_format, frm)))
    return Lanes.concatenate(parts).shuffled(rng)


assert set(ELEM_FORMATS) == set(CHUNK_ELEMENTS)
