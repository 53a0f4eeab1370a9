"""Kernels as layers use them: the emitter beside its NumPy contract, on bytes instead of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.lowering.kernel_tile import KernelTile
from potluck.compiler.schedule.layer import Memory
from potluck.isa.assembly.assembler import Assembler
from potluck.kernels.conv.depthwise import DepthwiseFp32
from potluck.kernels.conv.depthwise_int8 import DepthwiseInt8
from potluck.kernels.conv.fp32 import ConvFp32
from potluck.kernels.conv.int8 import ConvInt8
from potluck.kernels.conv.mx import ConvMx
from potluck.kernels.conv.mx_int8 import ConvMxInt8
from potluck.kernels.elementwise import Add, Clip, ColumnAffine
from potluck.kernels.pool import GlobalAveragePool, Pool
from potluck.kernels.softmax import Softmax

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


def floats(memory: Memory, address: int, *shape: int) -> F32:
    """A copy of FP32 values."""
    raw = memory.view(address, 4 * int(np.prod(shape))).copy()
    return np.asarray(raw.view(np.float32).reshape(shape))


def octets(memory: Memory, address: int, *shape: int) -> U8:
    """A copy of bytes."""
    return np.asarray(memory.view(address, int(np.prod(shape))).copy().reshape(shape))


def write(memory: Memory, address: int, values: NDArray[np.generic]) -> None:
    """Writes an array's bytes."""
    raw = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    memory.view(address, raw.size)[:] = raw


class ConvMxTile(KernelTile[ConvMx]):
    """Arguments: codes, scales, weights, weight scales, bias, output, output rows."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        k, (codes, scales, weights, weight_scales, bias, out, rows) = self.kernel, args
        if not rows:
            return
        height, width, blocks = k.window.rows(rows), k.window.in_width, k.scales
        kernel = k.window.kernel
        result = k.contract(
            _edge(memory, codes, height, width, k.pixel_bytes, k.window.columns(k.window.out_width)),
            _edge(memory, scales, height, width, blocks, k.window.columns(k.window.out_width)),
            octets(memory, weights, *kernel, k.chunks, k.out_channels, 8),
            octets(memory, weight_scales, *kernel, blocks, k.weight_scale_pitch),
            floats(memory, bias, k.out_channels),
            rows,
        )
        write(memory, out, result)


class ConvMxInt8Tile(KernelTile[ConvMxInt8]):
    """Arguments as for `ConvMxTile`."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        k, (codes, scales, weights, weight_scales, bias, out, rows) = self.kernel, args
        if not rows:
            return
        height, width, columns = k.window.rows(rows), k.window.in_width, k.window.columns(k.window.out_width)
        kernel = k.window.kernel
        result = k.contract(
            _edge(memory, codes, height, width, k.pixel_bytes, columns),
            _edge(memory, scales, height, width, k.scales, columns),
            octets(memory, weights, *kernel, k.pixel_bytes, k.row_bytes).view(np.int8),
            octets(memory, weight_scales, *kernel, k.scales, k.weight_scale_pitch),
            floats(memory, bias, k.out_channels),
            rows,
        )
        write(memory, out, result)


def _edge(memory: Memory, address: int, rows: int, width: int, pixel: int, columns: int) -> U8:
    """Rows of an image of which the last may end after ``columns`` pixels: what follows is not ours."""
    missing = (width - columns) * pixel
    data = octets(memory, address, rows * width * pixel - missing)
    return np.pad(data, (0, missing)).reshape(rows, width, pixel)


class ConvFp32Tile(KernelTile[ConvFp32]):
    """Arguments as for `ConvMxTile`; the scales are not used."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        k, (x, _, weights, _, bias, out, rows) = self.kernel, args
        if not rows:
            return
        height, width = k.window.rows(rows), k.window.in_width
        columns = k.window.columns(k.window.out_width)
        pitch = k.out_channels + k.out_channels % 2
        image = _edge(memory, x, height, width, k.pixel_bytes, columns).view(np.float32)
        result = k.contract(
            image,
            floats(memory, weights, *k.window.kernel, k.in_channels, pitch),
            floats(memory, bias, k.out_channels),
            rows,
        )
        write(memory, out, result)


class ConvInt8Tile(KernelTile[ConvInt8]):
    """Arguments as for `ConvMxTile`; no scales are used, and the bias is the rows of constants."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        k, (x, _, weights, _, constants, out, rows) = self.kernel, args
        if not rows:
            return
        image = codes(memory, x, k, rows)
        pitch = k.row_bytes
        packed = octets(memory, weights, *k.window.kernel, k.in_channels, pitch)
        levels: NDArray[Any] = packed.view(np.int8 if k.weight_bits == 8 else np.int16)
        table = words(memory, constants, k.finish.rows, k.out_channels)
        write(memory, out, k.contract(image, levels, table, rows))


def words(memory: Memory, address: int, *shape: int) -> NDArray[np.int32]:
    """A copy of int32 values."""
    return octets(memory, address, 4 * int(np.prod(shape))).view(np.int32).reshape(shape)


def codes(memory: Memory, address: int, kernel: ConvInt8 | DepthwiseInt8, rows: int) -> NDArray[Any]:
    """A copy of the 8-bit activations that a convolution's ``rows`` output rows read."""
    window = kernel.window
    channels = kernel.in_channels if isinstance(kernel, ConvInt8) else kernel.channels
    columns = window.columns(window.out_width)
    image = _edge(memory, address, window.rows(rows), window.in_width, channels, columns)
    return image.view(np.uint8 if kernel.unsigned else np.int8)


class DepthwiseTile(KernelTile[DepthwiseFp32]):
    """Arguments: input, weights, bias, output, output rows."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        k, (x, weights, bias, out, rows) = self.kernel, args
        if not rows:
            return
        columns = k.window.columns(k.window.out_width)
        image = _edge(memory, x, k.window.rows(rows), k.window.in_width, 4 * k.channels, columns)
        result = k.contract(
            image.view(np.float32),
            floats(memory, weights, *k.window.kernel, k.channels),
            floats(memory, bias, k.channels),
            rows,
        )
        write(memory, out, result)


class PoolTile(KernelTile[Pool]):
    """Arguments: input, output, output rows, factors."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        k, (x, out, rows, factors) = self.kernel, args
        if not rows:
            return
        columns = k.window.columns(k.window.out_width)
        image = _edge(memory, x, k.window.rows(rows), k.window.in_width, 4 * k.channels, columns)
        counted = floats(memory, factors, rows, k.window.out_width) if k.counted else None
        write(memory, out, k.contract(image.view(np.float32), rows, counted))


@dataclass(frozen=True)
class GlobalPoolTile:
    """Arguments: input, output, images; the kernel runs once per image, never in a hart without work."""

    kernel: GlobalAveragePool
    pixels: int

    def emit(self, a: Assembler) -> None:
        """See `TileKernel`."""
        again, done = a.fresh("images"), a.fresh("images_done")
        channels = self.kernel.channels
        a("addi", "sp", "sp", -32)
        a("beqz", "a2", done)
        a.label(again)
        a("sd", "a0", "0(sp)")
        a("sd", "a1", "8(sp)")
        a("sd", "a2", "16(sp)")
        a("li", "a2", self.pixels)
        self.kernel.emit(a)
        a("ld", "a0", "0(sp)")
        a("ld", "a1", "8(sp)")
        a("ld", "a2", "16(sp)")
        a("li", "t0", 4 * channels * self.pixels)
        a("add", "a0", "a0", "t0")
        a("li", "t0", 4 * channels)
        a("add", "a1", "a1", "t0")
        a("addi", "a2", "a2", -1)
        a("bnez", "a2", again)
        a.label(done)
        a("addi", "sp", "sp", 32)

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        x, out, images = args
        channels = self.kernel.channels
        for image in range(images):
            data = floats(memory, x + 4 * image * self.pixels * channels, self.pixels, channels)
            write(memory, out + 4 * image * channels, self.kernel.contract(data))


class AddTile(KernelTile[Add]):
    """Arguments: two inputs, output, elements."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        x, y, out, count = args
        write(memory, out, self.kernel.contract(floats(memory, x, count), floats(memory, y, count)))


class ClipTile(KernelTile[Clip]):
    """Arguments: input, output, elements."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        x, out, count = args
        write(memory, out, self.kernel.contract(floats(memory, x, count)))


class SoftmaxTile(KernelTile[Softmax]):
    """Arguments: input, output, rows."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        x, out, rows = args
        if rows:
            write(memory, out, self.kernel.contract(floats(memory, x, rows, self.kernel.columns)))


@dataclass(frozen=True)
class ColumnTile:
    """Arguments: input, output, bias, rows."""

    kernel: ColumnAffine

    def emit(self, a: Assembler) -> None:
        """See `TileKernel`."""
        a("mv", "a4", "a3")  # a3 is the scale, which is not used
        self.kernel.emit(a)

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        x, out, bias, rows = args
        columns = self.kernel.columns
        write(
            memory, out, self.kernel.contract(floats(memory, x, rows, columns), floats(memory, bias, columns))
        )
