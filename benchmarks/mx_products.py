"""How far MX products on the machine are from the exact products of the same codes: part of ``potluck bench formats``.

VMXDOTP adds a chunk's exact sum (8 products of FP8, 16 of FP4) to an accumulator and rounds once, so a result of K
products carries K/8 (K/16) roundings, each at most half a unit in the last place of a partial sum. That gives the bound
that is printed: K/8 2^-24 sum|ab| for FP32 accumulators and K/8 2^-8 sum|ab| for BF16, half as many for FP4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from potluck.isa.formats.blocks import layout
from potluck.isa.formats.mx import dequantize, quantize
from potluck.kernels.matmul.mx import MatmulMx

if TYPE_CHECKING:
    from potluck.benchmarks import Report

Element = Literal["e4m3", "e5m2", "e2m1"]
FORMATS: dict[Element, str] = {"e4m3": "mxfp8", "e5m2": "mxfp8_e5m2", "e2m1": "mxfp4"}
ROUNDING = {"fp32": 2.0**-24, "bf16": 2.0**-8}
DEPTHS = (72, 576, 2304)  # of layers of the packaged networks, and a multiple of no block among them
SIZE = 48


def run(report: Report) -> None:
    """Reports, for every format and accumulator, the largest error as a share of the bound."""
    for element in FORMATS:
        for accumulator in ("fp32", "bf16"):
            for k in DEPTHS:
                share = error_share(element, accumulator, k, seed=k)
                chunk = MatmulMx(SIZE, k, element).chunk
                report(
                    f"MX product {FORMATS[element]}, {accumulator.upper()}, K = {k}: largest error", 100 * share, "%",
                    f"of K/{chunk} 2^{int(np.log2(ROUNDING[accumulator]))} sum|ab|; {SIZE}x{SIZE} sums, exact in FP64",
                    "at most 100", share <= 1,
                )  # fmt: skip


def error_share(element: Element, accumulator: Literal["fp32", "bf16"], k: int, seed: int) -> float:
    """The largest |contract - exact| / bound over a product of data whose rows differ much in magnitude.

    The contract is what instruction and RTL compute bit for bit. Products of dequantized codes and their sums are exact
    in FP64 here: significands have at most 4 bits, and exponents of a row lie closer than 40.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    kernel = MatmulMx(SIZE, k, element, accumulator)
    x, w = (
        generator.standard_normal((SIZE, k)) * np.exp2(generator.integers(-4, 5, (SIZE, k)))
        for _ in range(2)
    )  # fmt: skip
    made = layout(FORMATS[element])
    a, b = (quantize(array.astype(np.float32), made) for array in (x, w))
    found = kernel.contract(
        kernel.pack_a(a.codes), a.scales, kernel.pack_b(b.codes.T), np.ascontiguousarray(b.scales.T)
    )
    values = (
        found if accumulator == "fp32" else (found.astype(np.uint32) << 16).view(np.float32)
    )  # fmt: skip
    left, right = (dequantize(tensor).astype(np.float64) for tensor in (a, b))
    bound: NDArray[np.float64] = (
        -(-k // kernel.chunk) * ROUNDING[accumulator] * (np.abs(left) @ np.abs(right).T)
    )
    error = np.abs(values.astype(np.float64) - left @ right.T)
    share = np.divide(error, bound, out=np.where(error > 0, np.inf, 0.0), where=bound > 0)
    return float(share.max())
