"""Random operands of every type, and the execution of kernels on rows and columns."""

import numpy as np
from one_kernel import Bench, halves

from potluck.kernels.expressions.graph import F32, I32, I64

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
}


def numbers(rng, dtype, count):
    if dtype == "bool":
        return rng.integers(0, 2, count).astype(bool)
    if dtype == "float32":
        drawn = (rng.standard_normal(count) * 2.0 ** rng.integers(-30, 30, count)).astype(np.float32)
    else:
        info = np.iinfo(dtype)
        drawn = rng.integers(info.min, info.max, count, dtype=dtype, endpoint=True)
    kind = F32 if dtype == "float32" else I64 if dtype == "int64" else I32
    corners = np.array(CORNERS[kind])
    if dtype != "float32":
        corners = corners[(corners >= np.iinfo(dtype).min) & (corners <= np.iinfo(dtype).max)]
    chosen = rng.random(count) < 0.4
    drawn[chosen] = rng.choice(corners.astype(dtype), int(chosen.sum()))
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
