"""Kernels that only move data: strided copies (NCHW and NHWC), fills, explicit im2col."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels.base import Kernel
from potluck.kernels.conv.window import Window
from potluck.kernels.emission import advance

U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class StridedCopy(Kernel):
    """Copies a block of [rows][planes][length] elements between two arrangements.

    Registers: a0 source, a1 destination, a2 rows. Clobbers a0-a7, t0-t6, v0-v15, vtype and vl.

    Attributes:
        planes: Length of the middle axis.
        length: Length of the last axis, the vector's.
        source: Byte strides of the three axes in the source.
        target: Byte strides of the three axes in the destination.
        size: Bytes of an element: 1, 2, 4 or 8.
    """

    planes: int
    length: int
    source: tuple[int, int, int]
    target: tuple[int, int, int]
    size: int = 4

    def __post_init__(self) -> None:
        if self.size not in (1, 2, 4, 8):
            raise DataError(f"elements of {self.size} bytes", hint="Copy elements of 1, 2, 4 or 8 bytes")

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a2"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        row, plane, strip, done = (a.fresh("copy") for _ in range(4))
        load = self._access("vl", self.source[2], "(a5)", "t5")
        store = self._access("vs", self.target[2], "(a6)", "t6")
        a("li", "t5", self.source[2])
        a("li", "t6", self.target[2])
        a("blez", "a2", done)
        a.label(row)
        a("mv", "t2", "a0")
        a("mv", "t3", "a1")
        a("li", "a4", self.planes)
        a.label(plane)
        a("mv", "a5", "t2")
        a("mv", "a6", "t3")
        a("li", "a7", self.length)
        a.label(strip)
        a("vsetvli", "t0", "a7", f"e{8 * self.size}", "m8", "ta", "ma")
        a(*load)
        a("mul", "t1", "t0", "t5")
        a("add", "a5", "a5", "t1")
        a(*store)
        a("mul", "t1", "t0", "t6")
        a("add", "a6", "a6", "t1")
        a("sub", "a7", "a7", "t0")
        a("bnez", "a7", strip)
        advance(a, "t2", self.source[1])
        advance(a, "t3", self.target[1])
        a("addi", "a4", "a4", -1)
        a("bnez", "a4", plane)
        advance(a, "a0", self.source[0])
        advance(a, "a1", self.target[0])
        a("addi", "a2", "a2", -1)
        a("bnez", "a2", row)
        a.label(done)

    def _access(self, kind: str, stride: int, address: str, register: str) -> tuple[str, ...]:
        if stride == self.size:
            return (f"{kind}e{8 * self.size}.v", "v0", address)
        return (f"{kind}se{8 * self.size}.v", "v0", address, register)

    def contract(self, source: U8, target: U8, rows: int) -> U8:
        """The destination's bytes after the copy; both arguments are flat uint8 buffers."""
        axes = np.ogrid[:rows, : self.planes, : self.length, : self.size]
        strides = zip((*self.source, 1), (*self.target, 1), axes, strict=True)
        read = write = np.zeros((), np.int64)
        for from_stride, to_stride, axis in strides:
            read, write = read + axis * from_stride, write + axis * to_stride
        result = target.copy()
        result[write] = source[read]
        return result


def nchw_to_nhwc(
    channels: int, height: int, width: int, *, out_channels: int | None = None, out_width: int | None = None
) -> StridedCopy:
    """FP32 NCHW image to rows of an NHWC image.

    Args:
        channels: Channels.
        height: Rows of the whole source image (the distance of its channels).
        width: Columns.
        out_channels: Elements between pixels of the destination, `channels` unless padded.
        out_width: Pixels between rows of the destination, `width` unless bordered.
    """
    pixel = 4 * (out_channels or channels)
    rows, line = (4 * width, pixel * (out_width or width)), 4 * height * width
    if width >= channels:
        return StridedCopy(channels, width, (rows[0], line, 4), (rows[1], 4, pixel))
    return StridedCopy(width, channels, (rows[0], 4, line), (rows[1], pixel, 4))


def nhwc_to_nchw(channels: int, height: int, width: int) -> StridedCopy:
    """FP32 rows of an NHWC image to an NCHW image; arguments as for `nchw_to_nhwc`."""
    other = nchw_to_nhwc(channels, height, width)
    return StridedCopy(other.planes, other.length, other.target, other.source)


@dataclass(frozen=True)
class Fill(Kernel):
    """Fills memory: ``rows`` pieces of ``length`` bytes.

    Registers: a0 first byte, a1 bytes of a piece, a2 rows, a3 bytes from one piece to the next. Clobbers a0,
    a2, t0-t2, t4, v0-v7, vtype and vl.

    Attributes:
        pattern: 32-bit pattern; unless 0, all addresses and lengths are multiples of 4 bytes.
    """

    pattern: int = 0

    @property
    def count_register(self) -> str:
        """Rows."""
        return "a2"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        row, strip, onward, done = (a.fresh("fill") for _ in range(4))
        width, shift = ("e32", 2) if self.pattern else ("e8", 0)
        a("vsetvli", "t0", "zero", width, "m8", "ta", "ma")
        if self.pattern:
            a("li", "t4", int(np.uint32(self.pattern).view(np.int32)))
            a("vmv.v.x", "v0", "t4")
        else:
            a("vmv.v.i", "v0", 0)
        a("blez", "a2", done)
        a.label(row)
        a("mv", "t1", "a0")
        a("srli", "t2", "a1", shift)
        a("beqz", "t2", onward)
        a.label(strip)
        a("vsetvli", "t0", "t2", width, "m8", "ta", "ma")
        a(f"vs{width}.v", "v0", "(t1)")
        a("sub", "t2", "t2", "t0")
        a("slli", "t0", "t0", shift)
        a("add", "t1", "t1", "t0")
        a("bnez", "t2", strip)
        a.label(onward)
        a("add", "a0", "a0", "a3")
        a("addi", "a2", "a2", -1)
        a("bnez", "a2", row)
        a.label(done)

    def contract(self, target: U8, length: int, rows: int = 1, pitch: int = 0) -> U8:
        """A flat uint8 buffer after the fill."""
        result = target.copy()
        piece = np.frombuffer(np.uint32(self.pattern).tobytes() * -(-length // 4), np.uint8)[:length]
        for row in range(rows):
            result[row * pitch : row * pitch + length] = piece
        return result


@dataclass(frozen=True)
class Im2col(Kernel):
    """Explicit im2col: out[pixel] = the pixel's window, bytes in the order (kh, kw, channel).

    Serves codes, scales and FP32 alike; `ConvMx` and `ConvFp32` do without it (implicit im2col).

    Registers: a0 first output row's window, bytes [rows][in_width][pixel_bytes], borders included; a1 output,
    bytes [rows * out_width][KH][KW][pixel_bytes]; a2 output rows. Clobbers a0-a5, t0-t4, v0-v31, vtype and
    vl.

    Attributes:
        window: Geometry.
        pixel_bytes: Bytes of an input pixel. If they are a multiple of 8 (4), addresses must be as well.
    """

    window: Window
    pixel_bytes: int

    @property
    def matrix_columns(self) -> int:
        """Bytes of an output row."""
        return self.window.kernel[0] * self.window.kernel[1] * self.pixel_bytes

    @property
    def count_register(self) -> str:
        """Output rows."""
        return "a2"

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        window = self.window
        row, pixel, line, strip, done = (a.fresh("im2col") for _ in range(5))
        size = next(size for size in (8, 4, 1) if self.pixel_bytes % size == 0)
        together = window.kernel[1] if window.dilation[1] == 1 else 1
        pieces = window.kernel[1] // together
        a("blez", "a2", done)
        a.label(row)
        a("mv", "t2", "a0")
        a("li", "a3", window.out_width)
        a.label(pixel)
        a("mv", "t3", "t2")
        a("li", "a4", window.kernel[0])
        a.label(line)
        for piece in range(pieces):
            again = f"{strip}_{piece}"
            a("mv", "a5", "t3")
            a("li", "t4", together * self.pixel_bytes // size)
            a.label(again)
            register = f"v{8 * (piece % 4)}"
            a("vsetvli", "t0", "t4", f"e{8 * size}", "m8", "ta", "ma")
            a(f"vle{8 * size}.v", register, "(a5)")
            a("sub", "t4", "t4", "t0")
            if size > 1:
                a("slli", "t0", "t0", size.bit_length() - 1)
            a("add", "a5", "a5", "t0")
            a(f"vse{8 * size}.v", register, "(a1)")
            a("add", "a1", "a1", "t0")
            a("bnez", "t4", again)
            if piece + 1 < pieces:
                advance(a, "t3", window.dilation[1] * self.pixel_bytes)
        back = (pieces - 1) * window.dilation[1] * self.pixel_bytes
        advance(a, "t3", window.dilation[0] * window.in_width * self.pixel_bytes - back)
        a("addi", "a4", "a4", -1)
        a("bnez", "a4", line)
        advance(a, "t2", window.stride[1] * self.pixel_bytes)
        a("addi", "a3", "a3", -1)
        a("bnez", "a3", pixel)
        advance(a, "a0", window.stride[0] * window.in_width * self.pixel_bytes)
        a("addi", "a2", "a2", -1)
        a("bnez", "a2", row)
        a.label(done)

    def contract(self, x: U8, out_rows: int) -> U8:
        """uint8 [rows, in_width, pixel_bytes] to uint8 [out_rows * out_width, KH, KW, pixel_bytes]."""
        kh, kw = self.window.kernel
        result = np.empty((out_rows, self.window.out_width, kh, kw, self.pixel_bytes), np.uint8)
        for i in range(kh):
            for k in range(kw):
                result[:, :, i, k] = x[self.window.view((i, k), out_rows)]
        return result.reshape(-1, kh, kw, self.pixel_bytes)
