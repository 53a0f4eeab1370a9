"""The programs whose cycles are compared with RTL (`potluck bench rtl_core`): the tests' kernels and more shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.elf import Program
from potluck.kernels.base import Kernel
from potluck.kernels.conv.depthwise import DepthwiseFp32
from potluck.kernels.conv.fp32 import ConvFp32
from potluck.kernels.conv.window import Window
from potluck.kernels.elementwise import Add, Clip, ColumnAffine
from potluck.kernels.elementwise_int8 import AddInt8, Affine, DequantizeInt8, QuantizeInt8
from potluck.kernels.matmul.fp32 import GemmFp32
from potluck.kernels.matmul.int8 import GemmInt8
from potluck.kernels.move import Move
from potluck.kernels.pool import GlobalAveragePool, Pool
from potluck.kernels.quantize.mx import QuantizeMx
from potluck.kernels.softmax import Softmax
from tests.rtl.bench.vector_kernels import KERNELS, codes, mx, normal, operands, program

PAPER = {
    "MX matrix product, MXFP8 into FP32, 32 x 64 x 512": 8,
    "MX matrix product, MXFP4 into FP32, 32 x 64 x 1024": 16,
}
"""One core's half of the paper's best cases, and the products of a lane in a cycle."""


def _depthwise(channels: int, pixels: int, stride: int) -> Program:
    width = (pixels - 1) * stride + 3
    window = Window(width, pixels, (3, 3), (stride, stride), (1, 1))
    rows = 4
    x, weights = normal(1, window.rows(rows), width, channels), normal(2, 3, 3, channels)
    registers = {"a0": x, "a1": weights, "a2": normal(3, channels),
                 "a3": np.zeros((rows, pixels, channels), np.float32), "a4": rows}  # fmt: skip
    return program(DepthwiseFp32(window, channels, low=0.0), registers)


def _conv() -> Program:
    window = Window(10, 8, (3, 3))
    kernel = ConvFp32(window, 8, 40, low=0.0)
    weights = normal(2, 3 * 3 * 8 * 64)  # room for the packed ones: cycles do not depend on values
    registers = {"a0": normal(1, window.rows(3), 10, 8), "a2": weights, "a4": normal(3, 64),
                 "a5": np.zeros((3, 8, 40), np.float32), "a6": 3}  # fmt: skip
    return program(kernel, registers)


def _pool(average: bool) -> Program:
    window = Window(16, 8, (2, 2), (2, 2))
    registers = {"a0": normal(1, window.rows(4), 16, 48), "a1": np.zeros((4, 8, 48), np.float32), "a2": 4}
    return program(Pool(window, 48, average), registers)


def _softmax(rows: int, columns: int) -> Program:
    return program(Softmax(columns), {"a0": normal(5, rows, columns), "a1": np.zeros((rows, columns), np.float32),
                                      "a2": rows})  # fmt: skip


def _one(kernel: Kernel, *arrays: NDArray[Any], count: int, last: str) -> Program:
    """A kernel of arrays from a0 on and a count."""
    return program(kernel, {**{f"a{k}": array for k, array in enumerate(arrays)}, last: count})


def _zeros(*shape: int, dtype: str = "float32") -> NDArray[Any]:
    return np.zeros(shape, dtype)


SHAPES: dict[str, Callable[[], Program]] = {
    **KERNELS,
    "MX matrix product, MXFP8 into FP32, 32 x 64 x 64": lambda: mx("e4m3", "fp32", 32, 64, 64),
    "MX matrix product, MXFP8 into BF16, 32 x 64 x 128": lambda: mx("e4m3", "bf16", 32, 64, 128),
    "MX matrix product, MXFP8 into FP32, 7 x 24 x 160": lambda: mx("e4m3", "fp32", 7, 24, 160),
    "MX matrix product, MXFP8 into FP32, 32 x 64 x 512": lambda: mx("e4m3", "fp32", 32, 64, 512),
    "MX matrix product, MXFP4 into FP32, 32 x 64 x 128": lambda: mx("e2m1", "fp32", 32, 64, 128),
    "MX matrix product, MXFP4 into FP32, 32 x 64 x 1024": lambda: mx("e2m1", "fp32", 32, 64, 1024),
    "FP32 matrix product, 16 x 64 x 64": lambda: operands(GemmFp32(64, 64), 16, a=normal(1, 16, 64),
                                                          b=normal(2, 64, 64)),
    "FP32 matrix product, 3 x 20 x 50": lambda: operands(GemmFp32(20, 50), 3, a=normal(1, 3, 50), b=normal(2, 50, 20)),
    "INT8 matrix product, 16 x 64 x 64": lambda: operands(GemmInt8(64, 64), 16, a=codes(1, 16, 64),
                                                          b=codes(2, 64, 64)),
    "INT8 matrix product, 3 x 20 x 50": lambda: operands(GemmInt8(20, 50), 3, a=codes(1, 3, 50), b=codes(2, 50, 20)),
    "MX quantization to E4M3, 16 x 128": lambda: operands(QuantizeMx(128, "e4m3"), 16, x=normal(4, 16, 128)),
    "MX quantization to E2M1, 16 x 128": lambda: operands(QuantizeMx(128, "e2m1"), 16, x=normal(4, 16, 128)),
    "softmax, 16 x 10": lambda: _softmax(16, 10),
    "softmax, 8 x 197": lambda: _softmax(8, 197),
    "depthwise convolution, 3 x 3, 4 x 8 x 32": lambda: _depthwise(32, 8, 1),
    "depthwise convolution, 3 x 3, stride 2, 4 x 6 x 72": lambda: _depthwise(72, 6, 2),
    "FP32 convolution, 3 x 3, 8 to 40 channels, 3 x 8": _conv,
    "maximum pooling, 2 x 2, 4 x 8 x 48": lambda: _pool(False),
    "average pooling, 2 x 2, 4 x 8 x 48": lambda: _pool(True),
    "global average pooling, 49 x 96": lambda: _one(GlobalAveragePool(96, 1 / 49), normal(1, 49, 96), _zeros(96),
                                                    count=49, last="a2"),
    "addition of 3,000": lambda: _one(Add(0.0, None), normal(6, 3000), normal(7, 3000), _zeros(3000),
                                      count=3000, last="a3"),
    "bounds of 2,000": lambda: _one(Clip(0.0, 6.0), normal(6, 2000), _zeros(2000), count=2000, last="a2"),
    "bias and scale of 20 x 96": lambda: _one(ColumnAffine(96, scaled=True), normal(6, 20, 96), _zeros(20, 96),
                                              normal(7, 96), normal(8, 96), count=20, last="a4"),
    "INT8 quantization of 3,000": lambda: _one(QuantizeInt8(Affine(0.03, 5)), normal(8, 3000),
                                               _zeros(3000, dtype="int8"), count=3000, last="a2"),
    "INT8 dequantization of 3,000": lambda: _one(DequantizeInt8(Affine(0.03, 5)), codes(8, 3000), _zeros(3000),
                                                 count=3000, last="a2"),
    "INT8 addition of 2,000": lambda: _one(AddInt8(Affine(0.03), Affine(0.02, 3), Affine(0.04, -2), -128, 127),
                                           codes(8, 2000), codes(9, 2000), _zeros(2000, dtype="int8"),
                                           count=2000, last="a3"),
    "move of 12 rows of 200 bytes": lambda: program(Move((256, 1), (200, 1), 1), {"a0": codes(1, 12, 256),
                                                    "a1": _zeros(12, 200, dtype="int8"), "a2": 12, "a3": 200}),
    "transposition of 24 x 40": lambda: program(Move((4, 160), (96, 4)), {"a0": normal(1, 24, 40),
                                                "a1": _zeros(40, 24), "a2": 40, "a3": 24}),
}  # fmt: skip
"""Programs by what they are."""
__all__ = ["PAPER", "SHAPES"]
