"""Pointwise kernels: the machine's bits are the contract's, for random expressions of every operation and type."""

import numpy as np
import pytest
from drawing import CORNERS, execute, numbers
from one_kernel import same

from potluck.isa.errors import DataError
from potluck.kernels.expressions import graph
from potluck.kernels.expressions.graph import F32, F64, I32, I64, MASK, U32, U64, constant
from potluck.kernels.expressions.meaning import DTYPES as DTYPES_OF
from potluck.kernels.pointwise import Array, Pointwise, arguments

DTYPES = ("float32", "int32", "int64", "bool", "int8", "uint8", "int16", "uint16", "uint32", "uint64", "float64",
          "float16", "bfloat16")  # fmt: skip
OUTPUTS = {
    F32: ["float32", "float16", "bfloat16"],
    F64: ["float64"],
    U32: ["uint32"],
    U64: ["uint64"],
    I32: ["int32", "int8", "uint8", "int16", "uint16"],
    I64: ["int64"],
    MASK: ["bool"],
}


def literal(rng, type):
    if type == MASK:
        return constant(int(rng.integers(2)), MASK)
    return constant(rng.choice(np.array(CORNERS[type], DTYPES_OF[type])).item(), type)


def grow(rng, leaves, steps):
    """A random expression: each step applies one operation to values of the right types made so far."""
    values = list(leaves)

    def some(type):
        fitting = [value for value in values if value.type == type]
        return fitting[rng.integers(len(fitting))] if fitting and rng.random() < 0.85 else literal(rng, type)

    for _ in range(steps):
        kind = str(rng.choice([F32, F32, F32, I32, I64, MASK, F64, U32, U64]))
        choice = rng.random()
        if kind == F32 and choice < 0.25:
            values.append(graph.fma(some(F32), some(F32), some(F32)))
        elif kind == F32 and choice < 0.35:
            values.append(
                graph.unary(str(rng.choice(["neg", "abs", "sqrt"])), some(str(rng.choice([F32, F64]))))
            )
        elif kind == F32 and choice < 0.4:
            values.append(graph.copysign(some(F32), some(F32)))
        elif kind != MASK and choice < 0.55:
            values.append(graph.select(some(MASK), some(kind), some(kind)))
        elif choice < 0.65:
            op, source = list(graph.CASTS)[rng.integers(len(graph.CASTS))]
            values.append(graph.cast(op, some(source)))
        elif kind == MASK and choice < 0.75:
            values.append(~some(MASK) if rng.random() < 0.5 else some(MASK) ^ some(MASK))
        elif choice < 0.85:
            type = str(rng.choice([F32, I32, I64, F64, U32, U64]))
            values.append(graph.binary(str(rng.choice(graph.COMPARISONS)), some(type), some(type)))
        else:
            ops = {F32: graph.FLOATS, F64: graph.FLOATS, MASK: graph.MASKS}.get(kind, graph.SAME)
            values.append(graph.binary(str(rng.choice(ops)), some(kind), some(kind)))
    return values[-1]


def sized(rng, array, rows, columns):
    high, wide = array.shape(rows, columns)
    return numbers(rng, array.dtype, high * wide)


@pytest.mark.parametrize("seed", range(60))
def test_random_expressions(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 6))
    extents = ["full", *rng.choice(["full", "row", "column", "scalar"], count - 1)]
    arrays = tuple(Array(str(rng.choice(DTYPES)), str(extent)) for extent in extents)
    leaves = arguments(*(array.dtype for array in arrays))
    value = grow(rng, leaves, int(rng.integers(1, 12)))
    try:
        kernel = Pointwise(value, arrays, str(rng.choice(OUTPUTS[value.type])))
        rows, columns = int(rng.integers(1, 7)), int(rng.integers(1, 90))
        got, want = execute(kernel, [sized(rng, array, rows, columns) for array in arrays], rows, columns)
    except DataError as error:
        assert "vector registers" in str(error)
        return
    same(got, want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("extent", ["full", "row", "column", "scalar"])
def test_every_type_at_every_extent(dtype, extent):
    rng = np.random.default_rng(7)
    arrays = (Array("bool", "full"), Array(dtype, extent), Array(dtype, "full"))
    where, x, y = arguments("bool", dtype, dtype)
    kernel = Pointwise(graph.select(where, x, y), arrays, dtype)
    operands = [sized(rng, array, 5, 70) for array in arrays]
    got, want = execute(kernel, operands, 5, 70)
    shape = {"full": (5, 70), "row": (1, 70), "column": (5, 1), "scalar": (1, 1)}[extent]
    expected = np.where(operands[0].reshape(5, 70), operands[1].reshape(shape), operands[2].reshape(5, 70))
    wide = np.float32 if dtype == "bfloat16" else got.dtype  # NumPy's comparison knows no NaN of other types
    np.testing.assert_array_equal(got.astype(wide), expected.astype(wide))
    same(got, want)


def test_refusals():
    x, y = arguments("float32", "int32")
    with pytest.raises(DataError, match="no operation add of f32 and i32"):
        x + y
    with pytest.raises(DataError, match="cannot be stored as int64"):
        Pointwise(x, (Array("float32"),), "int64")
    with pytest.raises(DataError, match="takes up to 5"):
        Pointwise(x, (Array("float32"),) * 6)
