"""The loop nest that all direct convolutions share, software-pipelined across K steps, taps and tiles.

A register tile is up to 8 output pixels of a row times one vector of output channels. Each K step issues, per
pixel, one multiply-add and the load of the same pixel's operand for the next step, so that neither the order
of the taps nor a tile's end leaves the vector unit waiting for a scalar load; the next step's weights stream
into the other of two buffers. Nothing is ever loaded beyond the operands: the address of a prefetch is
decided before the step that issues it.

Registers: a0-a6 as the kernels document them; s0 output, s1 scales, s9 groups left, s10 channels left, s11
data of the tile; s2-s5 data bases, s6 scales, s7 weights, s8 weight scales of the next step; t0-t2 loop
levels, t3 leading blocks, t4 scratch, t6 output advance. ft0-ft7 operands, fa0-fa7 their scales, ft8, ft9
bounds of the activation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import DataError
from potluck.kernels.base import FA, FT
from potluck.kernels.conv.window import Step, bases
from potluck.kernels.emission import activate, advance

if TYPE_CHECKING:
    from potluck.kernels.conv.tile import ConvTile

DATA = FT[:8]
SCALE = FA
LAG = (1, 1)  # pixels between activation and store, and between store and the next tile's first multiply-add


@dataclass
class Tiles:
    """Emits all tiles of one size: ``count`` groups of ``pixels`` pixels in every row, from ``column`` on."""

    kernel: ConvTile
    a: Assembler
    pixels: int
    count: int
    column: int

    def __post_init__(self) -> None:
        kernel = self.kernel
        self.plan = kernel.plan
        self.pitch = kernel.window.stride[1] * kernel.pixel_bytes
        self.scale_pitch = kernel.window.stride[1] * kernel.scales
        self.per_base, self.centre = bases(self.pixels, self.pitch, self.plan.span)
        self.base_count = -(-self.pixels // self.per_base)
        reach = (self.pixels - 1) * self.scale_pitch + max(step.scale for step in self.plan.unit)
        if reach > 2047:
            raise DataError(
                f"{kernel.in_channels} input channels: scales of a tile span {reach} bytes",
                hint="Split the layer along its input channels",
            )
        # Two copies of a unit with an odd number of steps: the weight buffers alternate.
        self.copies = 2 if len(self.plan.unit) % 2 and self.plan.units > 1 else 1
        self.exit_copy = (self.plan.units - 1) % self.copies
        self.entry = self.a.fresh("conv_second")  # after the first step

    def emit(self, again: bool) -> None:
        """All channel tiles; ``again``: restore a2-a5 for the next tile size."""
        a, kernel = self.a, self.kernel
        outer, full = a.fresh("conv_channels"), a.fresh("conv_full")
        a("li", "s10", kernel.out_channels)
        a.label(outer)
        if kernel.tile:
            a("li", "t4", kernel.tile)
            a("bge", "s10", "t4", full)
        a("mv", "t4", "s10")
        a.label(full)
        kernel.channel_tile(a)
        out = kernel.out_channels * kernel.out_bytes
        for to, origin, step in (
            ("s11", "a0", self.pitch), ("s1", "a1", self.scale_pitch), ("s0", "a5", out)
        ):  # fmt: skip
            if to != "s1" or kernel.scales:
                advance(a, to, self.column * step, source=origin)
        a("mv", "a7", "a6")
        if self.count > 1:
            a("li", "s9", self.count)
        self._point()
        first = (self.plan.block or self.plan.unit)[0]
        self._prefetch_vectors(0, first)
        for pixel in range(self.pixels):
            self._prefetch(pixel, first)
        self._tile()
        self._next_channels()
        a("bgtz", "s10", outer)
        if again:
            done = kernel.out_channels
            if kernel.tile:
                done = -(-done // kernel.tile) * kernel.tile
            for register, size in _channel_bytes(kernel):
                advance(a, register, -done * size)

    def _next_channels(self) -> None:
        """Advance a2-a5 and s10 past the channel tile."""
        a, kernel = self.a, self.kernel
        if kernel.tile:
            for register, size in _channel_bytes(kernel):
                advance(a, register, kernel.tile * size)
            a("addi", "s10", "s10", -kernel.tile)
            return
        a("csrr", "t6", "vl")
        for register, size in _channel_bytes(kernel):
            a("slli", "t5", "t6", size.bit_length() - 1)
            a("add", register, register, "t5")
        a("sub", "s10", "s10", "t6")

    def _point(self) -> None:
        """Pointers to the operands of the tile at s11, s1 and of the channel tile's first weights."""
        a = self.a
        for i in range(self.base_count):
            advance(a, f"s{2 + i}", i * self.per_base * self.pitch + self.centre, source="s11")
        a("mv", "s7", "a2")
        if self.kernel.scales:
            a("mv", "s6", "s1")
            a("mv", "s8", "a3")

    def _advance(self, data: int, scale: int) -> None:
        for i in range(self.base_count):
            advance(self.a, f"s{2 + i}", data)
        if self.kernel.scales:
            advance(self.a, "s6", scale)

    def _prefetch(self, pixel: int, step: Step) -> None:
        """Scalar operands of one pixel for ``step``."""
        offset = pixel % self.per_base * self.pitch - self.centre + step.data
        self.a(self.kernel.data_load, self.kernel.data[pixel], f"{offset}(s{2 + pixel // self.per_base})")
        if self.kernel.scales and step.first:
            self.a("flb", SCALE[pixel], f"{pixel * self.scale_pitch + step.scale}(s6)")

    def _prefetch_vectors(self, parity: int, step: Step) -> None:
        self.kernel.load_weights(self.a, parity)
        if self.kernel.scales and step.first:
            self.kernel.load_weight_scales(self.a, parity)

    def _step(self, parity: int, step: Step, following: Step | None, *, restart: bool = False) -> None:
        """One K step that prefetches ``following``; ``restart``: which is the next tile's first step."""
        a, kernel = self.a, self.kernel
        if kernel.scales and step.first and not restart and (following or not step.last):
            if not step.last:
                kernel.load_weight_scales(a, 1 - parity)
            advance(a, "s8", kernel.weight_scale_pitch)
        late = restart and parity == 0  # then the next step's buffer is the one in use
        for pixel in range(self.pixels):
            kernel.multiply(a, pixel, parity, step)
            if following:
                self._prefetch(pixel, following)
                if pixel == 0 and not late:
                    self._prefetch_vectors(1 - parity, following)
        if following and late:
            self._prefetch_vectors(0, following)
        kernel.step_end(a, self.pixels, step)

    def _tile(self) -> None:
        """Every tile of the channel tile: rows times groups."""
        a, plan = self.a, self.plan
        start, final, done = a.fresh("conv_tile"), a.fresh("conv_final"), a.fresh("conv_tile_done")
        first = (plan.block or plan.unit)[0]
        a.label(start)
        for pixel in range(self.pixels):
            self.kernel.start(a, pixel)
        self._count()
        heads = [a.fresh("conv_unit") for _ in range(self.copies)]
        for copy, head in enumerate(heads):
            a.label(head)
            self._unit(
                copy, heads[(copy + 1) % self.copies], copy == self.exit_copy, first, start, final, done
            )
        a.label(done)

    def _unit(
        self, copy: int, onward: str, leaves: bool, first: Step, start: str, final: str, done: str
    ) -> None:
        a, plan = self.a, self.plan
        parity = copy * (len(plan.unit) % 2)
        if plan.lead:
            a("li", "t3", plan.lead)
            loop = a.fresh("conv_block")
            a.label(loop)
            for i, step in enumerate(plan.block):
                if step is plan.block[-1]:
                    self._advance(plan.block_bytes, 1)
                    self._step((parity + i) % 2, step, first)
                else:
                    self._step((parity + i) % 2, step, plan.block[i + 1])
                if i == copy == 0:
                    a.label(self.entry)
            a("addi", "t3", "t3", -1)
            a("bnez", "t3", loop)
        for i, step in enumerate(plan.unit[:-1]):
            self._step((parity + i) % 2, step, plan.unit[i + 1])
            if i == copy == plan.lead == 0:
                a.label(self.entry)
        last, parity = plan.unit[-1], (parity + len(plan.unit) - 1) % 2
        leave = a.fresh("conv_leave")
        if plan.levels:
            self._levels(last, parity, first, onward, leave if leaves else None)
        if leaves:
            a.label(leave)
            self._leave(last, parity, first, start, final, done)

    def _levels(self, last: Step, parity: int, first: Step, onward: str, leave: str | None) -> None:
        """The unit's last step, with the pointers moved to the next unit before it."""
        a, levels = self.a, self.plan.levels
        common = a.fresh("conv_last")
        for i, level in enumerate(levels):
            outermost = i + 1 == len(levels)
            a("addi", f"t{i}", f"t{i}", -1)
            through = leave if outermost else a.fresh("conv_level")
            if through:  # the outermost loop ends in one copy only
                a("beqz", f"t{i}", through)
            self._advance(level.data, level.scale)
            if i == 0:
                a.label(common)
                self._step(parity, last, first)
                a("j", onward)
            else:
                a("j", common)
            if not outermost and through:
                a.label(through)
                a("li", f"t{i}", level.count)

    def _count(self) -> None:
        """Loop counters of a tile."""
        for i, level in enumerate(self.plan.levels):
            self.a("li", f"t{i}", level.count)

    def _turn(self, step: Step, following: Step) -> None:
        """Store a tile while the next one's first step begins, so that the multipliers hardly wait.

        The operands of the second step come last: a scalar load waits for vector stores under way.
        """
        a, kernel = self.a, self.kernel
        self._count()
        if self.plan.lead:
            a("li", "t3", self.plan.lead)
        for slot in range(self.pixels + sum(LAG)):
            if slot < self.pixels:
                activate(a, f"v{2 * slot}", kernel.low, kernel.high)
            if 0 <= slot - LAG[0] < self.pixels:
                kernel.store(a, f"v{2 * (slot - LAG[0])}")
                kernel.start(a, slot - LAG[0])
            pixel = slot - sum(LAG)
            if pixel >= 0:
                kernel.multiply(a, pixel, 0, step)
        a("add", "s0", "s0", "t6")
        if kernel.scales:
            if not step.last:
                kernel.load_weight_scales(a, 1)
            advance(a, "s8", kernel.weight_scale_pitch)
        self._prefetch_vectors(1, following)
        for pixel in range(self.pixels):
            self._prefetch(pixel, following)

    def _leave(self, last: Step, parity: int, first: Step, start: str, final: str, done: str) -> None:
        """The tile's last step: prefetch the next tile's first operands if there is one, then store."""
        a, kernel, window = self.a, self.kernel, self.kernel.window
        out = kernel.out_channels * kernel.out_bytes
        width = window.in_width * window.stride[0]
        row = (
            width * kernel.pixel_bytes - (self.count - 1) * self.pixels * self.pitch,
            width * kernel.scales - (self.count - 1) * self.pixels * self.scale_pitch,
            (window.out_width - self.count * self.pixels) * out,
        )
        go, new_row = a.fresh("conv_go"), a.fresh("conv_row")
        if self.count > 1:
            a("addi", "s9", "s9", -1)
            a("beqz", "s9", new_row)
            a("li", "t6", 0)
            advance(a, "s11", self.pixels * self.pitch)
            if kernel.scales:
                advance(a, "s1", self.pixels * self.scale_pitch)
            a("j", go)
            a.label(new_row)
            a("li", "s9", self.count)
        a("addi", "a7", "a7", -1)
        a("beqz", "a7", final)
        a("li", "t6", row[2])
        advance(a, "s11", row[0])
        if kernel.scales:
            advance(a, "s1", row[1])
        a.label(go)
        self._point()
        self._step(parity, last, first, restart=True)
        steps = self.plan.block or self.plan.unit
        if kernel.turns and len(steps) > 1:
            self._turn(steps[0], steps[1])
            a("j", self.entry)
        else:
            kernel.tile_end(a, self.pixels)
            a("add", "s0", "s0", "t6")
            a("j", start)
        a.label(final)
        self._step(parity, last, None)
        kernel.tile_end(a, self.pixels)
        a("j", done)


def _channel_bytes(kernel: ConvTile) -> list[tuple[str, int]]:
    """How far a2 (weights), a3 (their scales), a4 (bias) and a5 (output) move per output channel, in bytes."""
    sizes = [("a2", kernel.weight_bytes), ("a4", 4), ("a5", kernel.out_bytes)]
    return [*sizes, ("a3", 1)] if kernel.scales else sizes
