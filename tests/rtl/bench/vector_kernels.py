"""The library's kernels, each small, as executables for one hart with their operands in L1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program, Section
from potluck.kernels.base import Kernel
from potluck.kernels.conv.depthwise import DepthwiseFp32
from potluck.kernels.conv.window import Window
from potluck.kernels.elementwise import Add
from potluck.kernels.elementwise_int8 import Affine, QuantizeInt8
from potluck.kernels.matmul.fp32 import GemmFp32
from potluck.kernels.matmul.int8 import GemmInt8
from potluck.kernels.matmul.mx import MatmulMx
from potluck.kernels.quantize.mx import QuantizeMx
from potluck.kernels.softmax import Softmax
from tests.rtl.bench.core_programs import SANDBOX, SANDBOX_BYTES, TEXT

Array = NDArray[Any]
ALIGN = 64


def program(kernel: Kernel, registers: Mapping[str, int | Array], repeat: int = 1) -> Program:
    """A program that runs a kernel ``repeat`` times with numbers, or the addresses of arrays, in registers."""
    top, sections, values = SANDBOX, [], {}
    for register, value in registers.items():
        if isinstance(value, np.ndarray):
            data = np.ascontiguousarray(value).tobytes()
            sections.append(Section(f".data{len(sections)}", top, data, False, True))
            values[register] = top
            top += -(-len(data) // ALIGN) * ALIGN
        else:
            values[register] = int(value)
    assert top < SANDBOX + SANDBOX_BYTES - 4096
    a = Assembler()
    a("li", "sp", SANDBOX + SANDBOX_BYTES)
    for number in range(repeat):
        for register, place in values.items():
            a("li", register, place)
        a.label(f"kernel{number}")
        kernel.emit(a)
    a("csrr", "a0", "fcsr")  # when all is done
    a("li", "a0", 0)
    a("li", "a7", 93)
    a("ecall")
    return a.assemble(text_base=TEXT).program(None, sections)


def operands(kernel: Any, rows: int, repeat: int = 1, **arrays: Array) -> Program:
    """A kernel that lists its operands; outputs begin as zeros."""
    registers: dict[str, int | Array] = {}
    for operand in kernel.operands:
        registers[operand.register] = arrays.get(operand.name, np.zeros(operand.bytes(rows), np.uint8))
    return program(kernel, {**registers, kernel.count_register: rows}, repeat)


def normal(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def codes(seed: int, *shape: int) -> NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def mx(element: str, accumulator: str, rows: int, n: int, k: int, repeat: int = 1) -> Program:
    kernel = MatmulMx(n=n, k=k, element=element, accumulator=accumulator)  # type: ignore[arg-type]
    rng = np.random.default_rng(k)
    codes = [
        rng.integers(0, 8 if element == "e2m1" else 0x78, shape).astype(np.uint8)
        for shape in ((rows, k), (k, n))
    ]
    return operands(kernel, rows, repeat, a=kernel.pack_a(codes[0]), b=kernel.pack_b(codes[1]),
                     a_scales=rng.integers(120, 135, (rows, kernel.blocks)).astype(np.uint8),
                     b_scales=rng.integers(120, 135, (kernel.blocks, n)).astype(np.uint8))  # fmt: skip


def _depthwise() -> Program:
    window = Window(12, 10, (3, 3), (1, 1), (1, 1))
    x, weights, bias = normal(1, window.rows(4), 12, 40), normal(2, 3, 3, 40), normal(3, 40)
    registers = {"a0": x, "a1": weights, "a2": bias, "a3": np.zeros((4, 10, 40), np.float32), "a4": 4}
    return program(DepthwiseFp32(window, 40, low=0.0), registers)


KERNELS: dict[str, Callable[[], Program]] = {
    "MX matrix product, MXFP8, FP32 sums": lambda: mx("e4m3", "fp32", 8, 32, 64),
    "MX matrix product, MXFP4, BF16 sums": lambda: mx("e2m1", "bf16", 8, 40, 96),
    "FP32 matrix product": lambda: operands(GemmFp32(70, 24), 5, a=normal(1, 5, 24), b=normal(2, 24, 70)),
    "INT8 matrix product": lambda: operands(GemmInt8(70, 24), 5, a=codes(1, 5, 24), b=codes(2, 24, 70)),
    "MX quantization": lambda: operands(QuantizeMx(72, "e4m3"), 6, x=normal(4, 6, 72)),
    "softmax": lambda: program(Softmax(70), {"a0": normal(5, 2, 70), "a1": np.zeros((2, 70), np.float32), "a2": 2}),
    "addition": lambda: program(Add(0.0, 1.0), {"a0": normal(6, 300), "a1": normal(7, 300),
                                                "a2": np.zeros(300, np.float32), "a3": 300}),
    "depthwise convolution": _depthwise,
    "INT8 quantization": lambda: program(QuantizeInt8(Affine(0.03, 5)), {"a0": normal(8, 300),
                                         "a1": np.zeros(300, np.int8), "a2": 300}),
}  # fmt: skip
"""Programs by what they are."""
__all__ = ["KERNELS", "codes", "mx", "normal", "operands", "program"]
