"""Operands of the PoT array's parts with what the contract makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.pot.array import CODE_SETS, pe_product, ppu
from potluck.isa.pot.codes import POT_FORMATS
from tests.rtl.bench.bins import Coverage

POT_SETS = list(POT_FORMATS.values())
INT8, ANY = len(POT_SETS), len(POT_SETS) + 1
"""Values of the parameter CodeSet beyond those of one set."""
Columns = dict[str, NDArray[np.int64]]


def pe_modes(code_set: int) -> list[int]:
    """Values of ``code_set_i`` that a build is tried with; one that it ignores is among them."""
    return list(range(len(POT_SETS))) if code_set == ANY else [(code_set + 1) % len(POT_SETS)]


def pe_vectors(code_set: int, mode: int, thin: int = 1) -> tuple[Columns, Columns]:
    """All weights times all (every `thin`-th) activations of a PE: inputs, and outputs of the contract."""
    weight_bits = 8 if code_set == INT8 else 4
    weight, activation = (
        grid.reshape(-1) for grid in np.meshgrid(np.arange(1 << weight_bits), np.arange(-128, 128, thin))
    )
    kind = CODE_SETS[mode if code_set == ANY else code_set]
    codes = np.where((code_set == INT8) & (weight > 127), weight - 256, weight)
    results = [pe_product(kind, w, x) for w, x in zip(codes.tolist(), activation.tolist(), strict=True)]
    subtract, product = (np.array(column, np.int64) for column in zip(*results, strict=True))
    inputs = {"activation_i": activation & 0xFF, "weight_i": weight, "code_set_i": np.full_like(weight, mode)}
    return inputs, {"product_o": product & 0xFFFF, "subtract_o": subtract}


GOLDEN = (  # facts 6.1: multiplier, t, accumulator, result of the single rounding
    (1352399302, 40, 12345, 15), (1352399302, 40, -12345, -15), (1 << 30, 37, 64, 1), (1 << 30, 37, -64, 0),
    (1 << 30, 37, 192, 2), (1 << 30, 37, -192, -1), (2061584302, 36, 12345, 127), (2061584302, 36, 64, 2),
    (1 << 30, 31, 12345, 127), (1 << 30, 31, 1, 1), (1 << 30, 31, -1, 0), (1 << 30, 31, -3, -1),
)  # fmt: skip
MODES = (
    (0, -128, 127),
    (-128, -128, 127),
    (127, -128, 127),
    (3, 3, 127),
    (-5, -128, 42),
    (7, 7, 7),
    (-128, 10, 20),
)
"""Zero point, low and high of layers."""


@dataclass(frozen=True)
class PpuBlock:
    """A block for the PPU and what must come out.

    Attributes:
        sums: int32 [4 rows, 4 filters].
        multipliers: [4].
        shifts: [4].
        mode: zero point, low, high.
        results: int8 [4, 4].
    """

    sums: NDArray[np.int32]
    multipliers: NDArray[np.int32]
    shifts: NDArray[np.int32]
    mode: tuple[int, int, int]
    results: NDArray[np.int8]


def golden_blocks() -> list[PpuBlock]:
    """The published vectors, one filter each; their results are those, not the contract's."""
    blocks = []
    for m, t, acc, result in GOLDEN:
        sums, results = np.zeros((4, 4), np.int32), np.zeros((4, 4), np.int8)
        sums[1, 2], results[1, 2] = acc, result
        multipliers, shifts = np.zeros(4, np.int32), np.full(4, 31, np.int32)
        multipliers[2], shifts[2] = m, t
        blocks.append(PpuBlock(sums, multipliers, shifts, MODES[0], results))
    return blocks


def ppu_blocks(rng: np.random.Generator, count: int) -> list[PpuBlock]:
    """Random blocks: any words, results within or a little beyond int8, exact ties, extreme sums."""
    blocks = []
    for _ in range(count):
        kind = rng.integers(0, 4)
        multipliers = rng.integers(1 << 30, 1 << 31, 4)
        shifts = rng.integers(0, 64, 4)
        sums = rng.integers(-(1 << 31), 1 << 31, (4, 4))
        if kind == 1:  # results of a layer
            shifts = rng.integers(31, 55, 4)
            sums = np.rint(rng.normal(0, 90, (4, 4)) * np.exp2(shifts) / multipliers)
        elif kind == 2:  # ties: multipliers and sums of few bits
            multipliers = 1 << rng.integers(0, 31, 4)
            shifts = rng.integers(1, 34, 4)
            odd = 2 * rng.integers(-150, 150, (4, 4)) + 1
            sums = odd * np.exp2(np.maximum(shifts - 1 - np.log2(multipliers), 0))
        elif kind == 3:
            multipliers = rng.choice([0, 1, 1 << 30, (1 << 31) - 1], 4)
            sums = rng.choice([-(1 << 31), (1 << 31) - 1, -1, 0, 1], (4, 4))
        sums = np.clip(sums, -(1 << 31), (1 << 31) - 1).astype(np.int32)
        mode = MODES[rng.integers(len(MODES))]
        results = ppu(sums, multipliers, shifts, *mode)
        blocks.append(PpuBlock(sums, multipliers.astype(np.int32), shifts.astype(np.int32), mode, results))
    return blocks


def ppu_bins() -> list[str]:
    """What a run must have seen."""
    bins = [f"shift {t}" for t in range(64)] + [f"mode {mode}" for mode in MODES]
    bins += [f"tie {sign}" for sign in "+-"] + [f"saturated {sign}" for sign in "+-"]
    return [*bins, "clamped low", "clamped high", "inside", "zero"]


def ppu_cover(coverage: Coverage, block: PpuBlock) -> None:
    """Count what a block is about, from its operands."""
    zero_point, low, high = block.mode
    coverage.hit(f"mode {block.mode}")
    for row, results in zip(block.sums.tolist(), block.results.tolist(), strict=True):
        for acc, m, t, result in zip(
            row, block.multipliers.tolist(), block.shifts.tolist(), results, strict=True
        ):
            coverage.hit(f"shift {t}")
            product = acc * m
            sign = "+" if product > 0 else "-"
            scaled = product + (1 << t >> 1) >> t
            if t and product % (1 << t) == 1 << t - 1:
                coverage.hit(f"tie {sign}")
            if not -(1 << 31) <= scaled < 1 << 31:
                coverage.hit(f"saturated {sign}")
            if not product:
                coverage.hit("zero")
            moved = scaled + zero_point
            coverage.hit("clamped low" if moved < low else "clamped high" if moved > high else "inside")
            assert low <= result <= high
