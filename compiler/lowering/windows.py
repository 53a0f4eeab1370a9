"""Tiles of image rows for convolutions and pools: the input rows a tile needs, how borders are filled."""

from __future__ import annotations

from dataclasses import dataclass

from potluck.compiler.schedule import Transfer
from potluck.kernels.conv_window import Window


@dataclass(frozen=True)
class Geometry:
    """A window operator on an image, as ONNX states it.

    Attributes:
        height: Input rows.
        width: Input columns.
        kernel: Taps (vertical, horizontal).
        stride: (vertical, horizontal).
        dilation: (vertical, horizontal).
        pads: Borders (top, left, bottom, right).
        out_height: Output rows.
        out_width: Output columns.
    """

    height: int
    width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[int, int, int, int]
    out_height: int
    out_width: int

    @property
    def in_width(self) -> int:
        """Pixels of a row in L1: the image, the borders, and what a ceil-mode window reaches beyond."""
        reach = (self.out_width - 1) * self.stride[1] + (self.kernel[1] - 1) * self.dilation[1] + 1
        return max(self.width + self.pads[1] + self.pads[3], reach)

    @property
    def window(self) -> Window:
        """The geometry of a row as kernels want it."""
        return Window(self.in_width, self.out_width, self.kernel, self.stride, self.dilation)

    def rows(self, out_rows: int) -> int:
        """Input rows, borders included, that ``out_rows`` output rows read."""
        return self.window.rows(out_rows)

    def span(self, first: int, count: int) -> tuple[int, int, int, int]:
        """The input rows of output rows ``first`` to ``first + count``.

        Returns:
            (border rows above, first image row, image rows, border rows below).
        """
        start = first * self.stride[0] - self.pads[0]
        end = start + self.rows(count)
        low, high = min(max(start, 0), self.height), min(max(end, 0), self.height)
        above = min(max(-start, 0), end - start)
        return above, low, high - low, end - start - above - (high - low)


@dataclass(frozen=True)
class RowBuffer:
    """Rows of one part of an image (values, codes or scales) in L1, with borders.

    Attributes:
        geometry: Of the operator.
        pixel: Bytes of a pixel in this part.
        source: Address of the image in DRAM.
        fill: Address of the border's pattern in DRAM.
        source_pixel: Bytes from pixel to pixel in DRAM if a slice of the channels is loaded; 0: ``pixel``.
    """

    geometry: Geometry
    pixel: int
    source: int
    fill: int
    source_pixel: int = 0

    @property
    def pitch(self) -> int:
        """Bytes of a row in L1."""
        return self.geometry.in_width * self.pixel

    def bytes(self, out_rows: int) -> int:
        """Size of a buffer for so many output rows."""
        return self.geometry.rows(out_rows) * self.pitch

    def sides(self, buffer: int, out_rows: int) -> list[Transfer]:
        """Fills the left and right borders, which no load touches: once per buffer."""
        g = self.geometry
        left, right = g.pads[1] * self.pixel, (g.in_width - g.pads[1] - g.width) * self.pixel
        rows = g.rows(out_rows)
        pieces = ((buffer, left), (buffer + self.pitch - right, right))
        return [Transfer(self.fill, at, size, rows, 0, self.pitch) for at, size in pieces if size]

    def load(self, buffer: int, image: int, first: int, count: int) -> list[Transfer]:
        """Brings in the rows of a tile: border rows above and below, image rows between."""
        g = self.geometry
        above, row, rows, below = g.span(first, count)
        made = []
        if above:
            made.append(Transfer(self.fill, buffer, self.pitch, above, 0, self.pitch))
        made += self._rows(buffer + above * self.pitch + g.pads[1] * self.pixel, image * g.height + row, rows)
        if below:
            made.append(
                Transfer(self.fill, buffer + (above + rows) * self.pitch, self.pitch, below, 0, self.pitch)
            )
        return made

    def _rows(self, inside: int, row: int, rows: int) -> list[Transfer]:
        """Image rows, as few transfers as two dimensions allow."""
        width = self.geometry.width
        line, apart = width * self.pixel, self.source_pixel or self.pixel
        source, source_line = self.source + row * width * apart, width * apart
        if not rows:
            return []
        if apart == self.pixel and line == self.pitch:
            return [Transfer(source, inside, rows * line)]
        if apart == self.pixel:
            return [Transfer(source, inside, line, rows, line, self.pitch)]
        if line == self.pitch:
            return [Transfer(source, inside, self.pixel, rows * width, apart, self.pixel)]
        return [
            Transfer(
                source + at * source_line, inside + at * self.pitch, self.pixel, width, apart, self.pixel
            )
            for at in range(rows)
        ]
