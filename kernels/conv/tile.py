"""What direct convolutions have in common; the loop nest itself is in `potluck.kernels.conv.pipeline`."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from potluck.isa.assembly.assembler import Assembler
from potluck.kernels.base import Kernel, S, saved
from potluck.kernels.conv.pipeline import DATA, Tiles
from potluck.kernels.conv.window import Plan, Step, Window, bases, split_pixels
from potluck.kernels.emission import activate, activation_bounds, advance

BIAS = "v28"
"""Register group that holds the bias of a channel tile (e32, m2)."""


@dataclass(frozen=True)
class ConvTile(Kernel):
    """What an MX and an FP32 convolution have in common; see the subclasses for the attributes' meaning."""

    window: Window
    in_channels: int
    out_channels: int
    low: float | None = None
    high: float | None = None
    tile: int = 32  # 0: as many channels as the machine's registers hold, known at run time

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one output row, padding of channels not counted."""
        kh, kw = self.window.kernel
        return self.window.out_width * kh * kw * self.in_channels * self.out_channels

    @property
    def count_register(self) -> str:
        """Output rows."""
        return "a6"

    @property
    @abstractmethod
    def plan(self) -> Plan:
        """The order of the K steps."""

    @property
    @abstractmethod
    def pixel_bytes(self) -> int:
        """Bytes of an input pixel."""

    @property
    @abstractmethod
    def scales(self) -> int:
        """Scales of an input pixel, 0 if there are none."""

    @abstractmethod
    def load_weights(self, a: Assembler, parity: int) -> None:
        """Load the weights of the next step into buffer ``parity`` from s7 and advance s7."""

    @abstractmethod
    def load_weight_scales(self, a: Assembler, parity: int) -> None:
        """Load a segment's weight scales into buffer ``parity`` from s8, which stays."""

    @abstractmethod
    def multiply(self, a: Assembler, pixel: int, parity: int, step: Step) -> None:
        """One multiply-add instruction of a step."""

    def step_end(self, a: Assembler, pixels: int, step: Step) -> None:
        """What follows the multiply-adds of a step, usually nothing."""

    def start(self, a: Assembler, pixel: int) -> None:
        """Set an accumulator to its initial value, the bias."""
        a("vmv.v.v", f"v{2 * pixel}", BIAS)

    def tile_end(self, a: Assembler, pixels: int) -> None:
        """Activation and store of the tile at s0, which advances by the pixels stored."""
        for pixel in range(pixels):
            activate(a, f"v{2 * pixel}", self.low, self.high)
            self.store(a, f"v{2 * pixel}")

    @abstractmethod
    def channel_tile(self, a: Assembler) -> None:
        """Set up a channel tile: vl from t4, the bias."""

    def store(self, a: Assembler, register: str) -> None:
        """Store one pixel at s0, which advances."""
        a("vse32.v", register, "(s0)")
        advance(a, "s0", 4 * self.out_channels)

    @property
    def kept(self) -> tuple[str, ...]:
        """Integer registers that are saved around the kernel."""
        return S

    @property
    def base_registers(self) -> int:
        """Registers that point to the pixels of a tile."""
        return 4

    @property
    def most_pixels(self) -> int:
        """Largest register tile."""
        return 8

    @property
    def turns(self) -> bool:
        """Whether a tile's stores may mingle with the next tile's first step."""
        return True

    @property
    def data_load(self) -> str:
        """The scalar operand's load instruction."""
        return "fld" if self.scales else "flw"

    @property
    def data(self) -> tuple[str, ...]:
        """Registers of the pixels' scalar operands."""
        return DATA

    @property
    def weight_bytes(self) -> int:
        """Bytes of an output channel's weights in one step."""
        return 8 if self.scales else 4

    @property
    def out_bytes(self) -> int:
        """Bytes of an output value."""
        return 4

    @property
    def weight_scale_pitch(self) -> int:
        """Bytes between the weight scales of neighbouring blocks."""
        return -(-self.out_channels // 8) * 8

    def prologue(self, a: Assembler) -> None:
        """What holds for the whole kernel: the bounds of the activation in ft8 and ft9."""
        activation_bounds(a, self.low, self.high)

    def emit(self, a: Assembler) -> None:
        """Append the kernel's code; control leaves at its end."""
        with saved(a, self.kept):
            self.prologue(a)
            pitch = self.window.stride[1] * self.pixel_bytes
            most = min(self.most_pixels, self.base_registers * bases(8, pitch, self.plan.span)[0])
            groups, column = split_pixels(self.window.out_width, most), 0
            done = a.fresh("conv_done")
            a("blez", "a6", done)
            for i, (pixels, count) in enumerate(groups):
                Tiles(self, a, pixels, count, column).emit(again=i + 1 < len(groups))
                column += pixels * count
            a.label(done)
