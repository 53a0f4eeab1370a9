"""Geometry of a convolution over rows of an NHWC image, and the order of its K steps as a short loop nest.

A K step multiplies, for every pixel of a register tile, one scalar operand (a 64-bit chunk of codes, or one
FP32 value) with one vector over the output channels. K runs over (kh, kw, channels). A *segment* is the steps
that share scales.
"""

from __future__ import annotations

from dataclasses import dataclass

from potluck.isa.errors import DataError

UNROLL = 12  # longest unit, in steps: 12 steps of 8 pixels are about 1 KiB of code


@dataclass(frozen=True)
class Window:
    """The static part of a convolution's or pooling's geometry; the borders are part of the input buffer.

    Attributes:
        in_width: Pixels of an input row in the buffer, borders included.
        out_width: Pixels of an output row.
        kernel: Taps (vertical, horizontal).
        stride: Steps between output pixels in input pixels (vertical, horizontal).
        dilation: Distance of taps in input pixels (vertical, horizontal).
    """

    in_width: int
    out_width: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        numbers = (self.out_width, *self.kernel, *self.stride, *self.dilation)
        if min(numbers) < 1:
            raise DataError(
                f"window {self} with a size below 1", hint="Give widths, taps and steps of 1 or more"
            )
        if self.in_width < self.columns(self.out_width):
            raise DataError(
                f"{self.out_width} output pixels read {self.columns(self.out_width)} input pixels, "
                f"a row holds {self.in_width}",
                hint="Count the borders into in_width",
            )

    def rows(self, out_rows: int) -> int:
        """Input rows that ``out_rows`` output rows read."""
        return (out_rows - 1) * self.stride[0] + (self.kernel[0] - 1) * self.dilation[0] + 1

    def columns(self, out_pixels: int) -> int:
        """Input columns that ``out_pixels`` output pixels read."""
        return (out_pixels - 1) * self.stride[1] + (self.kernel[1] - 1) * self.dilation[1] + 1

    def view(self, tap: tuple[int, int], out_rows: int) -> tuple[slice, slice]:
        """The input pixels (rows, columns) that meet the tap (kh, kw), one per output pixel."""
        y, x = tap[0] * self.dilation[0], tap[1] * self.dilation[1]
        return (
            slice(y, y + (out_rows - 1) * self.stride[0] + 1, self.stride[0]),
            slice(x, x + (self.out_width - 1) * self.stride[1] + 1, self.stride[1]),
        )


def split_pixels(width: int, most: int) -> list[tuple[int, int]]:
    """Divide a row into groups of at most ``most`` pixels, sizes as equal as can be: (size, groups) pairs."""
    groups = -(-width // most)
    size, larger = divmod(width, groups)
    return [pair for pair in ((size + 1, larger), (size, groups - larger)) if pair[1]]


@dataclass(frozen=True)
class Step:
    """One K step of a unit.

    Attributes:
        data: Byte offset of the scalar operand from the unit's start.
        scale: Byte offset of its scale.
        first: Whether it begins a segment.
        last: Whether it ends a segment.
    """

    data: int
    scale: int
    first: bool
    last: bool


@dataclass(frozen=True)
class Level:
    """A loop around the unit: repetitions, and the pointers' way to the next unit after the inner loops."""

    count: int
    data: int
    scale: int


@dataclass(frozen=True)
class Plan:
    """All K steps: ``levels`` loops (innermost first) around [``lead`` times ``block``, then ``unit``].

    The pointers advance by ``block_bytes`` (scales: 1) after each leading block; a level's deltas count from
    there.
    """

    unit: tuple[Step, ...]
    levels: tuple[Level, ...]
    lead: int = 0
    block: tuple[Step, ...] = ()
    block_bytes: int = 0

    @property
    def units(self) -> int:
        """Executions of the unit in one tile."""
        total = 1
        for level in self.levels:
            total *= level.count
        return total

    @property
    def span(self) -> int:
        """Largest data offset in a unit."""
        return max(step.data for step in (*self.unit, *self.block))


def plan(window: Window, step_bytes: int, steps: int, block_steps: int, width_bytes: int) -> Plan:
    """Arrange the K steps.

    Args:
        window: Geometry.
        step_bytes: Bytes of a scalar operand (8, or 4 for FP32).
        steps: Steps of one tap (channels divided by the channels of a step, rounded up).
        block_steps: Steps of a whole block (segment).
        width_bytes: Bytes of an input row.

    Returns:
        A plan whose unit is a row of taps if that is short, else a block, else blocks and a ragged last one.
    """
    kh, kw = window.kernel
    pixel, blocks = steps * step_bytes, -(-steps // block_steps)
    gap = window.dilation[1] * pixel, window.dilation[1] * blocks
    row = window.dilation[0] * width_bytes, window.dilation[0] * window.in_width * blocks
    whole, ragged = divmod(steps, block_steps)
    block_bytes = block_steps * step_bytes
    contiguous = window.dilation[1] == 1 or kw == 1

    def segment(count: int, data: int, scale: int) -> list[Step]:
        return [Step(data + i * step_bytes, scale, i == 0, i == count - 1) for i in range(count)]

    def tap(data: int, scale: int) -> list[Step]:
        sizes = [block_steps] * whole + [ragged] * (ragged > 0)
        return [step for i, n in enumerate(sizes) for step in segment(n, data + i * block_bytes, scale + i)]

    if kw * steps <= UNROLL and (kw - 1) * gap[0] <= 2048:
        unit = [step for k in range(kw) for step in tap(k * gap[0], k * gap[1])]
        return Plan(tuple(unit), _levels(0, (kh, *row)))
    if not ragged:
        unit = segment(block_steps, 0, 0)
        if contiguous:
            return Plan(tuple(unit), _levels(0, (kw * whole, block_bytes, 1), (kh, *row)))
        return Plan(tuple(unit), _levels(0, (whole, block_bytes, 1), (kw, *gap), (kh, *row)))
    levels = _levels(whole * block_bytes, (kw, *gap), (kh, *row), lead_scale=whole)
    block = segment(block_steps, 0, 0) if whole else []
    return Plan(tuple(segment(ragged, 0, 0)), levels, whole, tuple(block), block_bytes)


def _levels(lead: int, *dims: tuple[int, int, int], lead_scale: int = 0) -> tuple[Level, ...]:
    """Loops (count, data stride, scale stride) as levels; loops of one repetition vanish."""
    levels: list[Level] = []
    data, scale = lead, lead_scale  # how far the pointers are past the start of the loop's current repetition
    for count, data_stride, scale_stride in dims:
        if count == 1:
            continue
        levels.append(Level(count, data_stride - data, scale_stride - scale))
        data += (count - 1) * data_stride
        scale += (count - 1) * scale_stride
    return tuple(levels)


def bases(pixels: int, pitch: int, span: int) -> tuple[int, int]:
    """Spread the pixels of a tile over base registers so that 12-bit offsets reach them.

    Args:
        pixels: Pixels wanted.
        pitch: Bytes between neighbouring pixels.
        span: Largest offset inside a unit.

    Returns:
        (pixels per base register, what every base register adds so that negative offsets are used too).
    """
    reach = 2047 - span
    if (pixels - 1) * pitch <= reach:
        return pixels, 0
    return min(pixels, (reach + 2048) // pitch + 1), 2048
