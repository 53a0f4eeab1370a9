"""Direct convolution of 8-bit activations: ``vwmacc.vx`` of a pixel's value with 16-bit weights into int32.

The scalar operand of a widening integer multiply-add is an integer register, of which four are free for data: a
register tile has four pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels.conv.tile import ConvTile
from potluck.kernels.conv.window import Plan, Step, plan
from potluck.kernels.emission import advance
from potluck.kernels.requantize import DEQUANTIZE, MOST, Finish

UNIT = 8  # K steps of the inner loop when a row of taps is too long to unroll
LEAST_STEPS, MOST_STEPS = 6, 32
"""Products of a narrow sum: fewer do not pay for the sum's addition, more only make the code longer."""
DATA = ("s1", "s6", "s8", "a1")
I32 = NDArray[np.int32]


def pack_weights_int8(
    weights: NDArray[np.integer[Any]], bits: Literal[8, 16], fill: int = 0
) -> NDArray[np.integer[Any]]:
    """Reorder weights [Cout, C, KH, KW] to [KH, KW, C, Cout padded with ``fill`` to 8 bytes], int8 or int16.

    Raises:
        DataError: A weight does not fit.
    """
    dtype = np.dtype(np.int8 if bits == 8 else np.int16)
    limit = 1 << bits - 1
    if weights.size and (weights.min() < -limit or weights.max() >= limit):
        raise DataError(f"weights from {weights.min()} to {weights.max()} are not {bits} bits wide")
    padding = [(0, 0)] * 3 + [(0, -weights.shape[0] % (64 // bits))]
    return np.ascontiguousarray(
        np.pad(weights.transpose(2, 3, 1, 0), padding, constant_values=fill).astype(dtype)
    )


def narrow_steps(weights: NDArray[np.integer[Any]], unsigned: bool) -> int:
    """How many products of any 8-bit activations with these weights int16 can sum; 0 if too few to gain by it."""
    largest = int(np.abs(weights.astype(np.int64)).max(initial=1))
    steps = 32767 // ((255 if unsigned else 128) * largest)
    return min(steps, MOST_STEPS) if steps >= LEAST_STEPS else 0


def accumulate(
    x: NDArray[np.integer[Any]], weights: NDArray[np.integer[Any]], start: NDArray[np.integer[Any]]
) -> I32:
    """start + x weights modulo 2^32: pixels [..., C] times [C, Cout], exact in double precision."""
    product = x.astype(np.float64) @ weights.astype(np.float64)
    return (start.astype(np.int64) + product.astype(np.int64)).astype(np.int32)


@dataclass(frozen=True)
class ConvInt8(ConvTile):
    """out[y, x, :] = finish(start + sum over (kh, kw, c) of x * weights), the sum modulo 2^32.

    Registers: a0 first output row's window, int8 or uint8 [rows][in_width][C]; a2 weights as `pack_weights_int8`
    makes them; a4 constants, int32 [finish.rows][Cout] as `Finish.constants` makes them; a5 output,
    [rows][out_width][Cout]; a6 output rows; a1 and a3 are not used (the order is that of `ConvMx`). Clobbers a1-a7,
    t*, ft8, ft9, v0-v31, vtype, vl and vxrm.

    Attributes:
        window: Geometry; borders, which hold the input's zero point, are in the buffer.
        in_channels: C.
        out_channels: Cout.
        tile: Output channels per vector, at most VLEN / 16; 0: as many as the machine's registers hold.
        finish: From accumulators to outputs.
        weight_bits: 8, or 16 for weights beyond int8 (asymmetric ones less their zero point, 128).
        unsigned: Whether the activations are uint8.
        narrow: Products whose sum int16 holds whatever the activations are (`narrow_steps`); 0: sums are int32.
            Weights of few bits are multiplied twice as fast so: ``vwmacc`` widens 8 to 16 bits, and a sum of so many
            products is added to the int32 accumulator.
    """

    finish: Finish = DEQUANTIZE
    weight_bits: Literal[8, 16] = 8
    unsigned: bool = False
    narrow: int = 0

    def __post_init__(self) -> None:
        if min(self.in_channels, self.out_channels, self.tile + 1) < 1 or self.weight_bits not in (8, 16):
            raise DataError(
                f"no convolution {self}", hint="Use sizes of 1 or more and weights of 8 or 16 bits"
            )
        if self.narrow and self.weight_bits != 8:
            raise DataError(f"{self.narrow} products in int16 of weights of {self.weight_bits} bits")

    @property
    def pixel_bytes(self) -> int:
        """Bytes of an input pixel."""
        return self.in_channels

    @property
    def scales(self) -> int:
        """None."""
        return 0

    @property
    def plan(self) -> Plan:
        """The order of the K steps."""
        segment = UNIT
        if (
            self.narrow
        ):  # as equal as can be; a loop over whole ones before a ragged one takes even numbers of steps
            segment = -(-self.in_channels // -(-self.in_channels // self.narrow))
            if self.in_channels % segment and segment % 2:
                segment += 1 if segment < self.narrow else -1
        return plan(self.window, 1, self.in_channels, segment, self.window.in_width * self.pixel_bytes)

    @property
    def data(self) -> tuple[str, ...]:
        """Integer registers: those of the scales, which there are none of."""
        return DATA

    @property
    def data_load(self) -> str:
        """A byte, extended by its sign or by zeros."""
        return "lbu" if self.unsigned else "lb"

    @property
    def weight_bytes(self) -> int:
        """Bytes of a weight."""
        return self.weight_bits // 8

    @property
    def out_bytes(self) -> int:
        """Bytes of an output value."""
        return self.finish.out_bytes

    @property
    def most_pixels(self) -> int:
        """As many as there are data registers, and results that are narrowed together."""
        return min(len(DATA), MOST)

    @property
    def turns(self) -> bool:
        """Not with the end's changes of vtype."""
        return False

    @property
    def row_bytes(self) -> int:
        """Bytes of a step's weights in memory."""
        return -(-self.out_channels * self.weight_bytes // 8) * 8

    def prologue(self, a: Assembler) -> None:
        """See `Finish.prologue`."""
        self.finish.prologue(a)

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        a.comment(f"INT8 convolution, {self.finish.law}, {self.window}")
        super().emit(a)

    def load_weights(self, a: Assembler, parity: int) -> None:
        """Weights of the next step: bytes to v16 or v17, halves straight to v18 or v19."""
        if self.weight_bits == 8:
            a("vle8.v", f"v{16 + parity}", "(s7)")
        else:
            a("vle16.v", f"v{18 + parity}", "(s7)")
        advance(a, "s7", self.row_bytes)

    def load_weight_scales(self, a: Assembler, parity: int) -> None:
        """None."""

    def multiply(self, a: Assembler, pixel: int, parity: int, step: Step) -> None:
        """One widening multiply-add; the first of a step extends the bytes of the weights, unless sums are narrow."""
        if self.narrow:
            bytes_, total, data = f"v{16 + parity}", f"v{8 + pixel}", DATA[pixel]
            if step.first:
                a("vwmulsu.vx" if self.unsigned else "vwmul.vx", total, bytes_, data)
            else:
                a("vwmaccus.vx" if self.unsigned else "vwmacc.vx", total, data, bytes_)
            return
        if pixel == 0 and self.weight_bits == 8:
            a("vsext.vf2", f"v{18 + parity}", f"v{16 + parity}")
        a("vwmacc.vx", f"v{2 * pixel}", DATA[pixel], f"v{18 + parity}")

    def step_end(self, a: Assembler, pixels: int, step: Step) -> None:
        """Narrow sums go to the accumulators after the last step of a segment."""
        if self.narrow and step.last:
            a("vsetvli", "zero", "zero", "e16", "m1", "ta", "ma")
            for pixel in range(pixels):
                a("vwadd.wv", f"v{2 * pixel}", f"v{2 * pixel}", f"v{8 + pixel}")
            self._multiplying(a)

    def _multiplying(self, a: Assembler) -> None:
        """The vtype of the multiply-adds; vl stays."""
        sources = ("e8", "mf2") if self.narrow else ("e16", "m1")
        a("vsetvli", "zero", "zero", *sources, "ta", "ma")

    def channel_tile(self, a: Assembler) -> None:
        """The constants stay in their register groups."""
        a("vsetvli", "zero", "t4", "e32", "m2", "ta", "ma")
        self.finish.load(a, "a4", self.out_channels)
        self._multiplying(a)

    def start(self, a: Assembler, pixel: int) -> None:
        """The bias or zeros, whole registers, as vtype is that of the multiply-adds."""
        a("vmv2r.v", f"v{2 * pixel}", self.finish.start)

    def tile_end(self, a: Assembler, pixels: int) -> None:
        """Requantization and store."""
        pitch = self.out_channels * self.out_bytes
        self.finish.emit(a, [f"v{2 * pixel}" for pixel in range(pixels)], "s0", pitch)
        if self.narrow:
            self._multiplying(a)

    def contract(
        self, x: NDArray[np.integer[Any]], weights: NDArray[np.integer[Any]], constants: I32, out_rows: int
    ) -> NDArray[Any]:
        """The output bit for bit.

        Args:
            x: int8 or uint8 [rows, in_width, C].
            weights: int8 or int16 [KH, KW, C, >= Cout].
            constants: int32 [finish.rows, Cout].
            out_rows: Output rows.

        Returns:
            [out_rows, out_width, Cout] of the finish's type.
        """
        shape = (out_rows, self.window.out_width, self.out_channels)
        acc: I32 = np.broadcast_to(self.finish.first(constants), shape)
        for kh in range(self.window.kernel[0]):
            for kw in range(self.window.kernel[1]):
                pixels = x[self.window.view((kh, kw), out_rows)]
                acc = accumulate(pixels, weights[kh, kw, :, : self.out_channels], acc)
        return self.finish.contract(acc, constants)
