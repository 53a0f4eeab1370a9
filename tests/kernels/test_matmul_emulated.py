"""The software-emulated baseline against its contract, and the contract against real arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from potluck.isa import mx
from potluck.isa.blocks import layout
from potluck.isa.machine import load_machine
from potluck.kernels import standalone
from potluck.kernels.matmul_emulated import MatmulEmulated
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
