"""Reductions: the machine's bits are the contract's, and the contract is what NumPy and exact sums say."""

import math

import numpy as np
import pytest
from drawing import numbers
from one_kernel import Bench, halves, same

from potluck.isa.errors import DataError
from potluck.kernels.expressions import functions, graph
from potluck.kernels.expressions.graph import F32, argument, cast, select
from potluck.kernels.pointwise import Array, arguments
from potluck.kernels.reduction import Reduction

TYPES = {"float32": ["float32"], "int32": ["int32", "int8", "uint16"], "int64": ["int64"], "bool": ["bool"],
         "int8": ["int8", "int32"], "uint8": ["uint8"], "uint32": ["uint32"], "uint64": ["uint64"],
         "float16": ["float32"], "float64": ["float64"]}  # fmt: skip
SIZES = {
    "full": lambda r, c: r * c,
    "row": lambda r, c: c,
    "column": lambda r, c: r,
    "scalar": lambda r, c: 1,
}


def execute(kernel, operands, rows, columns):
    bench = Bench(kernel)
    pointers = [bench.place(x) for x in operands]
    want = kernel.contract(*operands, rows=rows, columns=columns)
    out = bench.output("out", np.full_like(want, 1 if kernel.out == "bool" else 77))
    shares = []
    by_rows = kernel.along == "rows"
    for first, count in halves(columns if by_rows else rows):
        steps = {"full": 1, "column": 0, "row": 1} if by_rows else {"full": columns, "column": 1, "row": 0}
        args = [
            p + first * steps.get(x.extent, 0) * x.bytes for x, p in zip(kernel.arrays, pointers, strict=True)
        ]
        sizes = (rows, count, columns) if by_rows else (count, columns)
        shares.append((*args, out + first * want.dtype.itemsize, *sizes))
    return bench.run(*shares).outputs["out"], want


@pytest.mark.parametrize("along", ["columns", "rows"])
@pytest.mark.parametrize("op", ["add", "mul", "min", "max"])
@pytest.mark.parametrize("dtype", TYPES)
def test_every_operation_and_type(dtype, op, along):
    rng = np.random.default_rng(3)
    out = TYPES[dtype][rng.integers(len(TYPES[dtype]))]
    if dtype == "bool" and op in ("add", "mul"):
        out = "int32"
    (x,) = arguments(dtype)
    value = select(x, graph.constant(1, "i32"), graph.constant(0, "i32")) if dtype == "bool" else x
    kernel = Reduction(op, value, (Array(dtype),), out, along, lanes=int(rng.choice([2, 8, 32])))
    rows, columns = int(rng.integers(1, 9)), int(rng.integers(1, 150))
    operand = numbers(rng, dtype, rows * columns)
    if dtype in ("float32", "float16", "float64") and op in ("add", "mul"):
        operand[:] = np.where(np.isfinite(operand), np.clip(operand, -9, 9), 1)
    got, want = execute(kernel, [operand], rows, columns)
    same(got, want)
    floating = dtype in ("float32", "float16", "float64")
    whole = np.uint64 if dtype == "uint64" else np.int64
    wide = operand.reshape(rows, columns).astype(np.float64 if floating else whole)
    axis = 1 if along == "columns" else 0
    with np.errstate(all="ignore"):
        exact = {"add": np.sum, "mul": np.prod, "min": np.fmin.reduce, "max": np.fmax.reduce}[op](
            wide, axis=axis
        )
    if floating:
        scale = np.abs(wide).sum(axis) if op == "add" else np.abs(exact)
        with np.errstate(all="ignore"):
            reached = np.abs(got - exact) <= 2e-5 * scale + 1e-37
        assert (reached | (got == exact) | (np.isnan(got) & np.isnan(exact)) | np.isinf(got)).all()
    else:
        np.testing.assert_array_equal(got, exact.astype(out))


@pytest.mark.parametrize("along", ["columns", "rows"])
@pytest.mark.parametrize("seed", range(6))
def test_expressions_before_and_after(seed, along):
    """Sums of squares of differences, exponentials and several operands of every extent."""
    rng = np.random.default_rng(seed)
    extents = ["full", *rng.choice(["full", "row", "column", "scalar"], 2)]
    arrays = tuple(
        Array(str(dtype), str(e)) for dtype, e in zip(("float32", "float32", "int32"), extents, strict=True)
    )
    x, mean, count = arguments("float32", "float32", "int32")
    difference = x - mean
    value = [difference * difference + cast("float", count), functions.exp(graph.minimum(difference, 1.0)),
             graph.unary("abs", difference)][seed % 3]  # fmt: skip
    post = [None, graph.unary("sqrt", argument(0, F32)), functions.log(argument(0, F32) * 0.125) + 1.5][
        seed // 2
    ]
    kernel = Reduction("add", value, arrays, along=along, lanes=32, post=post)
    rows, columns = int(rng.integers(1, 12)), int(rng.integers(1, 100))
    operands = [rng.standard_normal(SIZES[a.extent](rows, columns)).astype(np.float32) for a in arrays[:2]]
    operands.append(rng.integers(0, 5, SIZES[arrays[2].extent](rows, columns)).astype(np.int32))
    got, want = execute(kernel, operands, rows, columns)
    same(got, want)


def test_first_place_of_the_maximum():
    """ArgMax as two reductions: the places where the row's maximum lies, then the smallest."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 5, (7, 40)).astype(np.float32)
    top = x.max(1)
    values, highest, place = arguments("float32", "float32", "int64")
    value = select(graph.equal(values, highest), place, graph.constant(40, "i64"))
    arrays = (Array("float32"), Array("float32", "column"), Array("int64", "row"))
    kernel = Reduction("min", value, arrays, "int64", lanes=16)
    got, _ = execute(kernel, [x.ravel(), top, np.arange(40)], 7, 40)
    np.testing.assert_array_equal(got, x.argmax(1))


def test_the_order_of_a_sum_is_that_of_the_text():
    """Lane i mod lanes ascending, then halves."""
    x = np.array([1e8, 1.0, -1e8, 1.0, 1.0, 3.0, 1.0], np.float32)
    got, _ = execute(Reduction("add", argument(0, F32), (Array("float32"),), lanes=4), [x], 1, 7)
    lanes = np.array([x[0] + x[4], x[1] + x[5], x[2] + x[6], x[3]], np.float32)
    assert got[0] == np.float32(np.float32(lanes[0] + lanes[2]) + np.float32(lanes[1] + lanes[3]))
    assert math.isfinite(got[0])


def test_refusals():
    (x,) = arguments("float32")
    with pytest.raises(DataError, match="cannot be stored as int64"):
        Reduction("add", x, (Array("float32"),), "int64")
    with pytest.raises(DataError, match="takes up to 3"):
        Reduction("add", x, (Array("float32"),) * 4)
    with pytest.raises(DataError, match="no further expression"):
        Reduction("add", arguments("int32")[0], (Array("int32"),), "int8", post=argument(0, "i32"))
