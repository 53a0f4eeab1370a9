"""Random operands of every type, and the execution of kernels on rows and columns."""

import numpy as np
from one_kernel import Bench, halves

from potluck.kernels.expressions.graph import F32, F64, I32, I64, U32, U64
from potluck.kernels.expressions.meaning import DTYPES, HALVES, REGISTER

CORNERS = {
    F32: [
        0.0,
        -0.0,
        1.0,
        -1.0,
        np.inf,
        -np.inf,
        np.nan,
        1e-40,
        -1e-45,
        3.4e38,
        2.0**31,
        -(2.0**31),
        0.5,
        1.5,
        2.5,
    ],
    I32: [0, 1, -1, 2**31 - 1, -(2**31), 7, -16, 15, 16],
    I64: [0, 1, -1, 2**63 - 1, -(2**63), 2**31, 2**53 + 1],
    U32: [0, 1, 2**32 - 1, 2**31, 15, 16, 2**24 + 1],
    U64: [0, 1, 2**64 - 1, 2**63, 15, 16, 2**53 + 1],
}
CORNERS[F64] = [*CORNERS[F32], 1e300, -5e-324, 1 + 2.0**-24, 65504.5, 2.0**63, 1 / 3]


def numbers(rng, dtype, count):
    if dtype == "bool":
        return rng.integers(0, 2, count).astype(bool)
    kind = REGISTER[dtype]
    if kind in (F32, F64):
        kept = np.dtype(HALVES.get(dtype, dtype))
        with np.errstate(over="ignore"):
            drawn = (rng.standard_normal(count) * 2.0 ** rng.integers(-30, 30, count)).astype(kept)
    else:
        info = np.iinfo(dtype)
        drawn = rng.integers(info.min, info.max, count, dtype=dtype, endpoint=True)
    corners = np.array(CORNERS[kind], DTYPES[kind])
    if kind not in (F32, F64):
        corners = corners[(corners >= np.iinfo(dtype).min) & (corners <= np.iinfo(dtype).max)]
    chosen = rng.random(count) < 0.4
    with np.errstate(over="ignore", invalid="ignore"):
        drawn[chosen] = rng.choice(corners.astype(drawn.dtype), int(chosen.sum()))
    return drawn


def execute(kernel, operands, rows, columns):
    bench = Bench(kernel)
    pointers = [bench.place(x) for x in operands]
    want = kernel.contract(*operands, rows=rows, columns=columns)
    out = bench.output("out", np.full_like(want, 1 if kernel.out == "bool" else 99))
    shares = []
    for first, count in halves(rows):
        args = []
        for array, pointer in zip(kernel.arrays, pointers, strict=True):
            steps = {"full": columns, "column": 1, "row": 0, "scalar": 0}
            args.append(pointer + first * steps[array.extent] * array.bytes)
        shares.append((*args, out + first * columns * want.dtype.itemsize, count, columns))
    result = bench.run(*shares)
    return result.outputs["out"], want
