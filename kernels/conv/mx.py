"""MX convolution: an implicit im2col GEMM on VMXDOTP, from MX activations and weights to FP32.

Per K step: one unit-stride load of the weights' 64-bit chunks (32 output channels), and per pixel one
``vmxdotp`` and the load of the pixel's next chunk. The instruction's element format is set once (fcsr, facts
vmxdotp 1.3). Block scales are reloaded at block boundaries: a block is so many channels of one tap, the last one
of a tap may be shorter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.arithmetic.mxdot import mxdot
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.isa.formats.blocks import BlockLayout, pack, unpack
from potluck.isa.formats.mx import MxTensor, quantize
from potluck.kernels import fp32math
from potluck.kernels.base import BITS, CHUNK, FCSR, Accumulator, Element, set_format
from potluck.kernels.conv.pipeline import DATA, SCALE
from potluck.kernels.conv.tile import BIAS, ConvTile
from potluck.kernels.conv.window import Plan, Step, plan
from potluck.kernels.emission import activate, advance

U8 = NDArray[np.uint8]


def pack_activations(codes: U8, element: Element) -> U8:
    """Element codes [..., C] as the kernels' bytes [..., 8 * ceil(C / chunk)], padded with zero codes."""
    return _chunks(codes, BITS[element])


def _chunks(codes: U8, bits: int) -> U8:
    padding = [(0, 0)] * (codes.ndim - 1) + [(0, -codes.shape[-1] % (64 // bits))]
    return pack(np.pad(codes, padding), bits)


def pack_weights(weights: NDArray[np.float32], layout: BlockLayout) -> tuple[U8, U8]:
    """Quantize ONNX weights, float32 [Cout, C, KH, KW], along C and reorder them: `pack_quantized`."""
    return pack_quantized(quantize(weights, layout, axis=1))


def pack_quantized(weights: MxTensor) -> tuple[U8, U8]:
    """Reorder quantized ONNX weights [Cout, C, KH, KW], blocks along C.

    Returns:
        Codes as bytes [KH, KW, chunks of C, Cout, 8], and E8M0 scales [KH, KW, ceil(C/block), ceil(Cout/8)*8],
        where the channels beyond Cout have scale 127 (1.0).
    """
    rows = _chunks(weights.codes.transpose(2, 3, 0, 1), weights.layout.element.bits)
    chunks = rows.reshape(*rows.shape[:3], -1, 8).transpose(0, 1, 3, 2, 4)
    scales = weights.scales.transpose(2, 3, 1, 0)
    padding = [(0, 0)] * 3 + [(0, -scales.shape[-1] % 8)]
    return np.ascontiguousarray(chunks), np.pad(scales, padding, constant_values=127)


@dataclass(frozen=True)
class ConvMx(ConvTile):
    """out[y, x, :] = clip(bias + sum over (kh, kw, c) of codes * weights), rounded as VMXDOTP rounds.

    Registers: a0 codes of the first output row's window, uint8 [rows][in_width][8 * chunks]; a1 their scales,
    E8M0 [rows][in_width][ceil(C/block)]; a2 weights and a3 weight scales as `pack_weights` makes them; a4 bias,
    FP32 [Cout]; a5 output, FP32 [rows][out_width][Cout]; a6 output rows. a0, a2 and a5 are 8-byte aligned for
    full speed (a0 and a2 always must be for ``fld``). Clobbers a2-a7, t*, ft*, fa*, v0-v31, vtype, vl and
    fcsr.

    Attributes:
        window: Geometry; borders (zero codes, any scale but 0xFF) are in the buffer.
        in_channels: C.
        out_channels: Cout.
        low: Lower bound of the fused activation (0.0: ReLU), None: none.
        high: Upper bound, None: none.
        tile: Output channels per vector, at most VLEN / 16.
        element: Element format of both operands.
        block: Channels per scale, a multiple of the chunk (8 for FP8, 16 for FP4).
        accumulator: ``fp32`` starts from the bias; ``bf16`` starts from +0, is widened and added to the bias
            in FP32.
    """

    element: Element = "e4m3"
    accumulator: Accumulator = "fp32"
    block: int = 32

    def __post_init__(self) -> None:
        if min(self.in_channels, self.out_channels, self.tile) < 1 or self.element not in FCSR:
            raise DataError(f"no MX convolution {self}", hint="Use e4m3, e5m2 or e2m1 and sizes of 1 or more")
        if self.block < 1 or self.block % CHUNK[self.element]:
            raise DataError(
                f"{self.name}: block of {self.block} {self.element} elements",
                hint=f"Use a multiple of {CHUNK[self.element]}",
            )

    @property
    def chunks(self) -> int:
        """64-bit chunks of a pixel."""
        return -(-self.in_channels // CHUNK[self.element])

    @property
    def pixel_bytes(self) -> int:
        """Bytes of an input pixel's codes."""
        return 8 * self.chunks

    @property
    def scales(self) -> int:
        """Scales of an input pixel."""
        return -(-self.in_channels // self.block)

    @property
    def plan(self) -> Plan:
        """The order of the K steps."""
        steps = self.block // CHUNK[self.element]
        return plan(self.window, 8, self.chunks, steps, self.window.in_width * self.pixel_bytes)

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        a.comment(f"{self.element} convolution, {self.accumulator} accumulators, {self.window}")
        set_format(a, self.element, self.accumulator)
        super().emit(a)

    def load_weights(self, a: Assembler, parity: int) -> None:
        """Chunks of the next step: v16-v19 or v20-v23."""
        a("vle64.v", f"v{16 + 4 * parity}", "(s7)")
        advance(a, "s7", 8 * self.out_channels)

    def load_weight_scales(self, a: Assembler, parity: int) -> None:
        """Scales: v24 or v25, so that none is redefined while a multiply-add still reads it."""
        a("vle8.v", f"v{24 + parity}", "(s8)")

    def multiply(self, a: Assembler, pixel: int, parity: int, step: Step) -> None:
        """One VMXDOTP."""
        weights, scales = f"v{16 + 4 * parity}", f"v{24 + parity}"
        if self.accumulator == "fp32":
            a("vmxdotp.wf", f"v{2 * pixel}", DATA[pixel], weights, SCALE[pixel], scales)
        else:
            a("vmxdotp.qf", f"v{pixel}", DATA[pixel], weights, SCALE[pixel], scales)

    def channel_tile(self, a: Assembler) -> None:
        """The bias stays in its register group."""
        a("vsetvli", "zero", "t4", "e32", "m2", "ta", "ma")
        a("vle32.v", BIAS, "(a4)")
        if self.accumulator == "bf16":
            a("vsetvli", "zero", "t4", "e16", "m1", "ta", "ma")

    @property
    def turns(self) -> bool:
        """Not with BF16 accumulators, whose stores change vtype."""
        return self.accumulator == "fp32"

    def start(self, a: Assembler, pixel: int) -> None:
        """FP32: the bias; BF16: +0."""
        if self.accumulator == "fp32":
            super().start(a, pixel)
        else:
            a("vmv.v.i", f"v{pixel}", 0)

    def tile_end(self, a: Assembler, pixels: int) -> None:
        """Activation and store; BF16 accumulators are widened four at a time into v8-v15."""
        if self.accumulator == "fp32":
            return super().tile_end(a, pixels)
        for start in range(0, pixels, 4):
            count = min(4, pixels - start)
            wide = [f"v{8 + 2 * i}" for i in range(count)]
            for i, register in enumerate(wide):
                a("vfwcvtbf16.f.f.v", register, f"v{start + i}")
            a("vsetvli", "zero", "zero", "e32", "m2", "ta", "ma")
            for register in wide:
                a("vfadd.vv", register, register, BIAS)
            for register in wide:
                activate(a, register, self.low, self.high)
                self.store(a, register)
            a("vsetvli", "zero", "zero", "e16", "m1", "ta", "ma")
        return None

    def contract(
        self,
        codes: U8,
        scales: U8,
        weights: U8,
        weight_scales: U8,
        bias: NDArray[np.float32],
        out_rows: int,
    ) -> NDArray[np.float32]:
        """The output bit for bit.

        Args:
            codes: uint8 [rows, in_width, 8 * chunks].
            scales: uint8 [rows, in_width, ceil(C/block)].
            weights: uint8 [KH, KW, chunks, Cout, 8].
            weight_scales: uint8 [KH, KW, ceil(C/block), >= Cout].
            bias: float32 [Cout].
            out_rows: Output rows.

        Returns:
            float32 [out_rows, out_width, Cout].
        """
        size, bits = CHUNK[self.element], BITS[self.element]
        shape = (out_rows, self.window.out_width, self.out_channels)
        wide = self.accumulator == "fp32"
        initial = bias.view(np.uint32) if wide else np.zeros(1, np.uint16)
        acc = np.broadcast_to(initial, shape)
        for kh in range(self.window.kernel[0]):
            for kw in range(self.window.kernel[1]):
                rows, columns = self.window.view((kh, kw), out_rows)
                pixels, pixel_scales = codes[rows, columns], scales[rows, columns]
                for chunk in range(self.chunks):
                    data = unpack(pixels[..., 8 * chunk : 8 * chunk + 8], bits, size)
                    block = chunk * size // self.block
                    acc, _ = mxdot(
                        acc,
                        data[:, :, None],
                        unpack(weights[kh, kw, chunk], bits, size),
                        pixel_scales[:, :, block, None],
                        weight_scales[kh, kw, block, : self.out_channels],
                        self.element,
                        self.accumulator,
                    )
        if wide:
            result = acc.astype(np.uint32).view(np.float32)
        else:
            result = fp32math.add((acc.astype(np.uint32) << np.uint32(16)).view(np.float32), bias)
        return fp32math.clip(result, self.low, self.high)
