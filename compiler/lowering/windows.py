"""Tiles of image rows for convolutions and pools: the input rows a tile needs, how borders are filled."""

from __future__ import annotations

from dataclasses import dataclass

from potluck.compiler.schedule.layer import Transfer
from potluck.kernels.conv.window import Window


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
        strip: Output columns of a tile; 0 for whole rows.
    """

    height: int
    width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[int, int, int, int]
    out_height: int
    out_width: int
    strip: int = 0

    @property
    def tile_width(self) -> int:
        """Output columns of a tile."""
        return self.strip or self.out_width

    @property
    def in_width(self) -> int:
        """Pixels of a row in L1: the image, the borders, and what a ceil-mode window reaches beyond."""
        reach = (self.tile_width - 1) * self.stride[1] + (self.kernel[1] - 1) * self.dilation[1] + 1
        return reach if self.strip else max(self.width + self.pads[1] + self.pads[3], reach)

    @property
    def strips(self) -> list[int]:
        """First output column of every strip; the last one overlaps the one before it if it has to."""
        return [min(at, self.out_width - self.tile_width) for at in range(0, self.out_width, self.tile_width)]

    @property
    def window(self) -> Window:
        """The geometry of a row as kernels want it."""
        return Window(self.in_width, self.tile_width, self.kernel, self.stride, self.dilation)

    def rows(self, out_rows: int) -> int:
        """Input rows, borders included, that ``out_rows`` output rows read."""
        return self.window.rows(out_rows)

    def span(self, first: int, count: int) -> tuple[int, int, int, int]:
        """The input rows of output rows ``first`` to ``first + count``.

        Returns:
            (border rows above, first image row, image rows, border rows below).
        """
        return _span(first * self.stride[0] - self.pads[0], self.rows(count), self.height)

    def columns(self, first: int) -> tuple[int, int, int, int]:
        """As `span`, for the input columns of the strip that starts at an output column."""
        return _span(first * self.stride[1] - self.pads[1], self.in_width, self.width)


def _span(start: int, count: int, size: int) -> tuple[int, int, int, int]:
    end = start + count
    low, high = min(max(start, 0), size), min(max(end, 0), size)
    before = min(max(-start, 0), count)
    return before, low, high - low, count - before - (high - low)


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
        """Fills the left and right borders of whole rows, which no load touches: once per buffer."""
        if self.geometry.strip:
            return []
        left, _, _, right = self.geometry.columns(0)
        return self._borders(buffer, self.geometry.rows(out_rows), left, right)

    def load(self, buffer: int, image: int, first: int, count: int, column: int = 0) -> list[Transfer]:
        """Brings in the rows of a tile: border rows above and below, image rows between.

        Args:
            buffer: Address in L1.
            image: Number in the batch.
            first: First output row.
            count: Output rows.
            column: First output column, with strips; their left and right borders are filled, too.
        """
        g = self.geometry
        above, row, rows, below = g.span(first, count)
        left, start, columns, right = g.columns(column)
        made = []
        if above:
            made.append(Transfer(self.fill, buffer, self.pitch, above, 0, self.pitch))
        middle = buffer + above * self.pitch
        if g.strip and rows:
            made += self._borders(middle, rows, left, right)
        if rows and columns:
            at = (image * g.height + row) * g.width + start
            made += self._rows(middle + left * self.pixel, at, rows, columns)
        if below:
            made.append(Transfer(self.fill, middle + rows * self.pitch, self.pitch, below, 0, self.pitch))
        return made

    def _borders(self, buffer: int, rows: int, left: int, right: int) -> list[Transfer]:
        pieces = ((buffer, left), (buffer + self.pitch - right * self.pixel, right))
        return [Transfer(self.fill, at, n * self.pixel, rows, 0, self.pitch) for at, n in pieces if n]

    def _rows(self, inside: int, at: int, rows: int, columns: int) -> list[Transfer]:
        """Image rows from pixel ``at`` on, as few transfers as two dimensions allow."""
        line, apart = columns * self.pixel, self.source_pixel or self.pixel
        source, source_line = self.source + at * apart, self.geometry.width * apart
        dense = line == self.pitch and columns == self.geometry.width
        if apart == self.pixel and dense:
            return [Transfer(source, inside, rows * line)]
        if apart == self.pixel:
            return [Transfer(source, inside, line, rows, source_line, self.pitch)]
        if dense:
            return [Transfer(source, inside, self.pixel, rows * columns, apart, self.pixel)]
        return [
            Transfer(
                source + n * source_line, inside + n * self.pitch, self.pixel, columns, apart, self.pixel
            )
            for n in range(rows)
        ]
