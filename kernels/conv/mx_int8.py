"""MXINT8 convolution: ``vwmacc.vx`` of a pixel's bytes with a vector of weights, scaled in FP32 once per block.

The sum of a block is an exact int32. It becomes FP32, is multiplied by the pixel's scale and then, fused, by the
weights' scales into the accumulator: one rounding per block, as long as the sum has 24 bits (blocks of up to 1040) and
the scaled sum is a normal number.

As with `potluck.kernels.conv.int8`, data are in integer registers, of which four are free here; scales are in
floating-point registers, and one base register reaches all pixels of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.isa.formats.mx import MxTensor
from potluck.kernels import fp32math
from potluck.kernels.base import FS, S
from potluck.kernels.conv.int8 import pack_weights_int8
from potluck.kernels.conv.pipeline import SCALE
from potluck.kernels.conv.tile import BIAS, ConvTile
from potluck.kernels.conv.window import Plan, Step, plan
from potluck.kernels.emission import activate, advance

U8 = NDArray[np.uint8]
I8 = NDArray[np.int8]
F32 = NDArray[np.float32]
DATA = ("s3", "s4", "s5", "ra")
_SCALES = "v26"
_SUBNORMAL = 0x00400000  # 2^-127, E8M0 code 0


def pack_weights_mxint8(weights: MxTensor) -> I8:
    """Integers [KH, KW, C padded to 8, Cout padded to 8] of MXINT8 weights [Cout, C, KH, KW]."""
    levels = np.pad(weights.codes.view(np.int8), [(0, 0), (0, -weights.codes.shape[1] % 8), (0, 0), (0, 0)])
    return pack_weights_int8(levels, 8).astype(np.int8)


def scale_values(codes: U8) -> F32:
    """E8M0 codes as the kernel's FP32 factors: 0xFF is infinity, which makes NaN of the zeros of its block."""
    bits = np.maximum(codes.astype(np.uint32) << np.uint32(23), np.uint32(_SUBNORMAL))
    return np.asarray(bits.view(np.float32))


@dataclass(frozen=True)
class ConvMxInt8(ConvTile):
    """out[y, x, :] = clip(bias + sum over (kh, kw, block) of (sum over the block of x * weights) * scales).

    Registers: a0 integers of the first output row's window, int8 [rows][in_width][C padded to 8]; a1 their scales,
    E8M0 [rows][in_width][ceil(C / block)]; a2 weights as `pack_weights_mxint8` makes them; a3 their scales, E8M0
    [KH][KW][ceil(C / block)][Cout padded to 8], none of them 0xFF; a4 bias, FP32 [Cout]; a5 output, FP32
    [rows][out_width][Cout]; a6 output rows. Clobbers a2-a7, t*, fa*, fs*, ft8, ft9, v0-v31, vtype and vl.

    Attributes:
        window: Geometry; borders (zeros, any scale but 0xFF) are in the buffer.
        in_channels: C.
        out_channels: Cout.
        low: Lower bound of the fused activation (0.0: ReLU), None: none.
        high: Upper bound, None: none.
        tile: Output channels per vector, at most VLEN / 16.
        block: Channels per scale, a multiple of 8.
    """

    block: int = 32

    def __post_init__(self) -> None:
        if min(self.in_channels, self.out_channels, self.tile, self.block) < 1 or self.block % 8:
            raise DataError(
                f"no MXINT8 convolution {self}",
                hint="Use sizes of 1 or more and a block that is a multiple of 8",
            )

    @property
    def pixel_bytes(self) -> int:
        """Bytes of an input pixel's integers."""
        return -(-self.in_channels // 8) * 8

    @property
    def scales(self) -> int:
        """Scales of an input pixel."""
        return -(-self.in_channels // self.block)

    @property
    def plan(self) -> Plan:
        """The order of the K steps."""
        return plan(self.window, 1, self.pixel_bytes, self.block, self.window.in_width * self.pixel_bytes)

    @property
    def data(self) -> tuple[str, ...]:
        """Integer registers: the data bases that are not used, and ra."""
        return DATA

    @property
    def kept(self) -> tuple[str, ...]:
        """ra is used as well."""
        return (*S, "ra")

    @property
    def base_registers(self) -> int:
        """The other three hold data."""
        return 1

    @property
    def most_pixels(self) -> int:
        """As many as there are data registers."""
        return len(DATA)

    @property
    def data_load(self) -> str:
        """A byte with its sign."""
        return "lb"

    @property
    def weight_bytes(self) -> int:
        """Bytes of a weight."""
        return 1

    @property
    def row_bytes(self) -> int:
        """Bytes of a step's weights in memory."""
        return self.weight_scale_pitch

    @property
    def turns(self) -> bool:
        """Not with the changes of vtype."""
        return False

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        a.comment(f"MXINT8 convolution, {self.window}")
        super().emit(a)

    def load_weights(self, a: Assembler, parity: int) -> None:
        """Bytes of the next step: v16 or v17."""
        a("vle8.v", f"v{16 + parity}", "(s7)")
        advance(a, "s7", self.row_bytes)

    def load_weight_scales(self, a: Assembler, parity: int) -> None:
        """Codes of the scales: v24 or v25."""
        a("vle8.v", f"v{24 + parity}", "(s8)")

    def _floats(self, a: Assembler, on: bool) -> None:
        """The vtype of sums, or of integers; vl stays."""
        a("vsetvli", "zero", "zero", *(("e32", "m2") if on else ("e16", "m1")), "ta", "ma")

    def multiply(self, a: Assembler, pixel: int, parity: int, step: Step) -> None:
        """One widening multiply-add; a segment's first also makes its scales FP32 numbers."""
        if step.first and pixel == 0:
            self._floats(a, True)
            a("vzext.vf4", _SCALES, f"v{24 + parity}")
            a("vsll.vi", _SCALES, _SCALES, 23)
            a("li", "t4", _SUBNORMAL)
            a("vmaxu.vx", _SCALES, _SCALES, "t4")
            self._floats(a, False)
        if step.first:
            a("fmv.x.w", "t4", SCALE[pixel])
            a("andi", "t4", "t4", 255)
            a("seqz", "t5", "t4")
            a("slli", "t5", "t5", 22)
            a("slli", "t4", "t4", 23)
            a("or", "t4", "t4", "t5")
            a("fmv.w.x", FS[pixel], "t4")
        weights = f"v{18 + parity}"
        if pixel == 0:
            a("vsext.vf2", weights, f"v{16 + parity}")
        if step.first:
            a("vwmul.vx", f"v{8 + 2 * pixel}", weights, DATA[pixel])
        else:
            a("vwmacc.vx", f"v{8 + 2 * pixel}", DATA[pixel], weights)

    def step_end(self, a: Assembler, pixels: int, step: Step) -> None:
        """A segment's sums go to the accumulators."""
        if not step.last:
            return
        self._floats(a, True)
        for pixel in range(pixels):
            scaled = f"v{20 + 2 * (pixel % 2)}"
            a("vfcvt.f.x.v", scaled, f"v{8 + 2 * pixel}")
            a("vfmul.vf", scaled, scaled, FS[pixel])
            a("vfmacc.vv", f"v{2 * pixel}", scaled, _SCALES)
        self._floats(a, False)

    def channel_tile(self, a: Assembler) -> None:
        """The bias stays in its register group."""
        a("vsetvli", "zero", "t4", "e32", "m2", "ta", "ma")
        a("vle32.v", BIAS, "(a4)")
        self._floats(a, False)

    def start(self, a: Assembler, pixel: int) -> None:
        """The bias, whole registers, as vtype is that of integers."""
        a("vmv2r.v", f"v{2 * pixel}", BIAS)

    def tile_end(self, a: Assembler, pixels: int) -> None:
        """Activation and store."""
        self._floats(a, True)
        for pixel in range(pixels):
            activate(a, f"v{2 * pixel}", self.low, self.high)
            self.store(a, f"v{2 * pixel}")
        self._floats(a, False)

    def contract(
        self, codes: U8, scales: U8, weights: I8, weight_scales: U8, bias: F32, out_rows: int
    ) -> NDArray[np.float32]:
        """The output bit for bit.

        Args:
            codes: uint8 [rows, in_width, C padded to 8], two's complement.
            scales: uint8 [rows, in_width, ceil(C/block)].
            weights: int8 [KH, KW, C padded to 8, >= Cout].
            weight_scales: uint8 [KH, KW, ceil(C/block), >= Cout].
            bias: float32 [Cout].
            out_rows: Output rows.

        Returns:
            float32 [out_rows, out_width, Cout].
        """
        acc: F32 = np.broadcast_to(bias, (out_rows, self.window.out_width, self.out_channels))
        for kh in range(self.window.kernel[0]):
            for kw in range(self.window.kernel[1]):
                rows, columns = self.window.view((kh, kw), out_rows)
                pixels, pixel_scales = codes[rows, columns].view(np.int8), scale_values(scales[rows, columns])
                matrix = weights[kh, kw, :, : self.out_channels].astype(np.float64)
                factors = scale_values(weight_scales[kh, kw, :, : self.out_channels])
                for index in range(self.scales):
                    part = slice(index * self.block, (index + 1) * self.block)
                    total = (pixels[..., part].astype(np.float64) @ matrix[part]).astype(np.float32)
                    scaled = fp32math.mul(total, pixel_scales[..., index, None])
                    acc = fp32math.fma(scaled, factors[index], acc)
        return fp32math.clip(acc, self.low, self.high)
