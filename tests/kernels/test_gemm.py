import numpy as np
import pytest

from potluck.kernels.matmul.fp32 import GemmFp32
from potluck.kernels.matmul.int8 import GemmInt8

SHAPES = [(1, 1, 1), (5, 7, 3), (4, 64, 16), (9, 65, 5), (13, 130, 33), (8, 100, 64), (3, 600, 12)]


@pytest.mark.parametrize("rows,n,k", SHAPES)
@pytest.mark.parametrize("bias", [False, True])
def test_fp32(run, rows, n, k, bias):
    rng = np.random.default_rng([rows, n, k])
    low, high = (-0.5, 0.75) if bias else (None, None)
    kernel = GemmFp32(n, k, bias, low=low, high=high)
    shapes = {"a": (rows, k), "b": (k, n), **({"bias": (n,)} if bias else {})}
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    got = run(kernel, rows, **arrays).outputs["c"]
    assert np.array_equal(got.view(np.uint32), kernel.contract(**arrays).view(np.uint32))
    exact = arrays["a"].astype(np.float64) @ arrays["b"] + arrays.get("bias", 0.0)
    assert np.allclose(got, exact if low is None else np.clip(exact, low, high), atol=1e-5 * k)


def test_fp32_special_values(run):
    rng = np.random.default_rng(9)
    values = np.float32([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, 3e38])
    kernel = GemmFp32(33, 6, low=0.0)
    arrays = {"a": rng.choice(values, (7, 6)), "b": rng.choice(values, (6, 33))}
    got = run(kernel, 7, **arrays).outputs["c"]
    assert np.array_equal(got.view(np.uint32), kernel.contract(**arrays).view(np.uint32))


@pytest.mark.parametrize("rows,n,k", SHAPES)
@pytest.mark.parametrize("bias", [False, True])
def test_int8(run, rows, n, k, bias):
    rng = np.random.default_rng([rows, n, k])
    kernel = GemmInt8(n, k, bias)
    arrays = {
        "a": rng.integers(-128, 128, (rows, k)).astype(np.int8),
        "b": rng.integers(-128, 128, (k, n)).astype(np.int8),
    }
    if bias:
        arrays["bias"] = rng.integers(-(2**31), 2**31, n).astype(np.int32)
    got = run(kernel, rows, granule=4, **arrays).outputs["c"]
    assert np.array_equal(got, kernel.contract(**arrays))
    exact = arrays["a"].astype(object) @ arrays["b"].astype(object) + arrays.get("bias", np.int32(0)).astype(
        object
    )
    assert all((int(x) - int(y)) % 2**32 == 0 for x, y in zip(got.flat, exact.flat, strict=True))


@pytest.mark.parametrize("rows,n,cuts", [(5, 7, (3, 4)), (9, 65, (5, 30, 1)), (13, 130, (40, 24))])
def test_fp32_in_parts_is_the_whole(run, rows, n, cuts):
    """A product that goes on from the sums of another one has the bits of both as one."""
    rng = np.random.default_rng([rows, n])
    k = sum(cuts)
    a = (rng.standard_normal((rows, k)) * 10.0 ** rng.integers(-6, 7, (rows, k))).astype(np.float32)
    b = rng.standard_normal((k, n)).astype(np.float32)
    whole = GemmFp32(n, k, low=-1.0).contract(a, b)
    sums, first = None, 0
    for part in cuts:
        last = first + part == k
        kernel = GemmFp32(n, part, onto=sums is not None, low=-1.0 if last else None)
        arrays = {"a": a[:, first : first + part].copy(), "b": b[first : first + part]}
        if sums is not None:
            arrays["onto"] = sums
        got = run(kernel, rows, granule=4, **arrays).outputs["c"]
        assert np.array_equal(got.view(np.uint32), kernel.contract(**arrays).view(np.uint32))
        sums, first = got, first + part
    assert np.array_equal(sums.view(np.uint32), whole.view(np.uint32))
