"""The transform against Sylvester's matrix, and the machine against the contract."""

import numpy as np
import pytest
from one_kernel import Bench, same

from potluck.isa.errors import DataError
from potluck.kernels.quantize.hadamard import Hadamard


def sylvester(size):
    index = np.arange(size)
    return np.array([[(-1.0) ** bin(i & j).count("1") for j in index] for i in index])


@pytest.mark.parametrize("block", [4, 8, 16, 32, 64, 128])
def test_it_is_sylvesters_matrix(block):
    rng = np.random.default_rng(block)
    whole = rng.integers(-100, 100, (3, block)).astype(np.float32)
    same(Hadamard(block, 512).contract(whole), (whole @ sylvester(block)).astype(np.float32))
    x = rng.standard_normal((5, block)).astype(np.float32)
    exact = x.astype(np.float64) @ sylvester(block)
    bound = 2.0**-24 * block.bit_length() * np.abs(x).sum(axis=1, keepdims=True)
    assert np.all(np.abs(Hadamard(block, 512).contract(x) - exact) <= bound)


@pytest.mark.parametrize(("block", "vlen"), [(4, 512), (16, 512), (32, 512), (128, 512), (8, 0), (32, 0)])
def test_the_machine_adds_as_the_contract(block, vlen):
    rng = np.random.default_rng(block)
    kernel = Hadamard(block, vlen)
    x = (rng.standard_normal((7, block)) * np.exp(rng.uniform(-40, 40, (7, block)))).astype(np.float32)
    x[1, 0], x[2, 1], x[3, 2:4], x[4] = np.inf, np.nan, (np.inf, -np.inf), -0.0
    with np.errstate(invalid="ignore"):
        want = kernel.contract(x)
    bench = Bench(kernel)
    source, out = bench.place(x), bench.output("out", np.zeros_like(x))
    same(bench.run([source, out, 7]).outputs["out"], want)


@pytest.mark.parametrize(("block", "vlen"), [(12, 512), (2, 512), (256, 512), (64, 0)])
def test_other_blocks_are_refused(block, vlen):
    with pytest.raises(DataError, match=f"blocks of {block}"):
        Hadamard(block, vlen)
