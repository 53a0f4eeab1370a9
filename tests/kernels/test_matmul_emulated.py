"""The software-emulated baseline against its contract, and the contract against real arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from potluck.isa.formats import mx
from potluck.isa.formats.blocks import layout
from potluck.isa.formats.elements import BF16
from potluck.isa.machine import load_machine
from potluck.kernels.matmul.emulated import MatmulEmulated
from potluck.kernels.matmul.emulated_bf16 import MatmulEmulatedBf16, multiply_add
from potluck.kernels.program import standalone
from potluck.sim.simulate import simulate

MACHINE = load_machine("spatz-mx")


@pytest.mark.parametrize("seed", range(6))
def test_execution_equals_the_contract(seed: int) -> None:
    generator = np.random.Generator(np.random.Philox(seed))
    rows, n = int(generator.integers(1, 12)), int(generator.integers(1, 150))
    kernel = MatmulEmulated(
        n, int(generator.integers(1, 100)), ("e4m3", "e5m2")[seed % 2], (32, 16, 7)[seed % 3]
    )  # type: ignore[arg-type]
    shapes = [x.full_shape(rows) for x in kernel.operands if not x.output]
    codes = [generator.integers(0, 256, shape).astype(np.uint8) for shape in shapes]
    for scales in (1, 3):
        codes[scales] = generator.integers(110, 140, shapes[scales]).astype(np.uint8)
    inputs = dict(zip(("a", "a_scales", "b", "b_scales"), codes, strict=True))
    result = simulate(standalone.build(kernel, rows), inputs, MACHINE)
    want = kernel.contract(*codes)
    np.testing.assert_array_equal(result.outputs["c"].view(np.uint32), want.view(np.uint32))


def test_contract_is_the_matrix_product() -> None:
    generator = np.random.Generator(np.random.Philox(1))
    x, y = generator.standard_normal((5, 96), np.float32), generator.standard_normal((96, 40), np.float32)
    left, right = (mx.quantize(v, layout("mxfp8"), axis=axis) for v, axis in ((x, 1), (y, 0)))
    got = MatmulEmulated(40, 96).contract(left.codes, left.scales, right.codes, right.scales)
    exact = mx.dequantize(left).astype(np.float64) @ mx.dequantize(right).astype(np.float64)
    np.testing.assert_allclose(got, exact, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_bf16_execution_equals_the_contract(seed: int) -> None:
    generator = np.random.Generator(np.random.Philox(seed))
    rows, n = 4 * int(generator.integers(1, 5)), int(generator.integers(1, 65))
    kernel = MatmulEmulatedBf16(n, 32 * int(generator.integers(1, 4)))
    shapes = [x.full_shape(rows) for x in kernel.operands if not x.output]
    codes = [generator.integers(0, 256, shape).astype(np.uint8) for shape in shapes]
    for scales in (1, 3):
        codes[scales] = generator.integers(115, 135, shapes[scales]).astype(np.uint8)
    if seed % 2:  # without NaN codes
        codes[0] &= 0xBF
        codes[2] &= 0xBF
    inputs = dict(zip(("a", "a_scales", "b", "b_scales"), codes, strict=True))
    result = simulate(standalone.build(kernel, rows, granule=4), inputs, MACHINE)
    np.testing.assert_array_equal(result.outputs["c"], kernel.contract(*codes))


def test_bf16_multiply_add_rounds_once() -> None:
    """Against exact rationals, subnormal and cancelling sums included."""
    generator = np.random.Generator(np.random.Philox(7))
    x, y, z = (generator.integers(0, 1 << 16, 4000).astype(np.uint16) for _ in range(3))
    near = generator.random(4000) < 0.7
    z[near] = (z[near] & 0x807F) | (((x[near] >> 7 & 255) + (y[near] >> 7 & 255) - 127 & 255) << 7)
    got = multiply_add(x, y, z)
    values = [[Fraction(float(v)) if np.isfinite(v) else None for v in BF16.decode(w)] for w in (x, y, z)]
    checked = 0
    for a, b, c, bits in zip(*values, got.tolist(), strict=True):
        if a is None or b is None or c is None or a * b + c == 0:
            continue
        exact = a * b + c
        value = float(BF16.decode(np.array([bits], np.uint16))[0])
        if np.isinf(value):
            assert abs(exact) >= Fraction(2) ** 128 * (1 - Fraction(1, 512))
            continue
        neighbours = [bits + d for d in (-1, 1) if 0 < (bits & 0x7FFF) + d < 0x7F80]
        other = BF16.decode(np.array(neighbours, np.uint16)).tolist() if neighbours else []
        distance = abs(exact - Fraction(value))
        for number, code in zip(other, neighbours, strict=True):
            assert distance < abs(exact - Fraction(number)) or (
                distance == abs(exact - Fraction(number)) and bits % 2 == 0 and code % 2 == 1
            )
        checked += 1
    assert checked > 2000
