"""The choice of a convolution's tiles: sizes in L1 and an estimate of the cycles for every candidate.

The estimate only ranks candidates; the simulator counts cycles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace

from potluck.compiler.lowering.base import SLACK, Choice, Setting, Target, check_l1
from potluck.compiler.lowering.ending import PLAIN, Ending
from potluck.compiler.lowering.expansion import Expansion
from potluck.compiler.lowering.packing import IntegerWeights
from potluck.compiler.lowering.windows import Geometry
from potluck.compiler.schedule.memory import align
from potluck.isa.errors import MachineError

OVERHEAD = 400
"""Cycles of a tile that compute nothing: barrier, transfers' commands, kernel entry."""
TRANSFER = 15
"""Cycles of a core that a transfer's commands take."""
ISSUE = 2.4
"""Instructions that a core issues per product instruction."""
STEP = 0.1
"""Cycles per product that do not depend on the vector's length."""
MOST_ROWS = 64
"""Output rows of a tile."""
STRIPS, WIDE = (4, 8), 32
"""Columns of strips where few tilings are looked at, and of images that are cut into them there."""
EFFICIENCY = 0.985
"""Share of the peak that kernels reach."""


ORDERS = ((True, False), (False, False), (True, True))
"""Whether groups are the outer loop, and whether they share one buffer (`Tiling`)."""


@dataclass(frozen=True)
class Tiling:
    """A choice of tiles.

    Attributes:
        rows: Output rows of a tile.
        columns: Output columns of a tile.
        channels: Output channels of a slice, which is what the kernel computes.
        slices: Slices of a group: 1, then harts divide the rows; or one for each hart, then all compute all rows; or
            between, then so many harts as there are for each slice divide the rows.
        groups_outer: Whether groups are the outer loop (weights stay) or rows are (rows stay).
        single: Whether the groups share one buffer of weights: then nothing is computed while they change.
    """

    rows: int
    columns: int
    channels: int
    slices: int = 1
    groups_outer: bool = True
    single: bool = False


@dataclass(frozen=True)
class Cost:
    """What a layer is expected to take with some tiles, in cycles.

    Attributes:
        compute: Of the cores.
        moved: Of the DMA.
        exposed: Of the DMA, while nothing is computed: before the first tile and behind the last.
        tiles: How many tiles there are.
        transfers: Of a tile.
    """

    compute: float
    moved: float
    exposed: float
    tiles: int
    transfers: int

    @property
    def total(self) -> float:
        """Cycles of the layer."""
        return max(self.compute, self.moved) + self.exposed


def _weights_word(tiling: Tiling) -> str:
    """Weights stay while rows pass (in two buffers, or in one), or come again for each tile of rows."""
    return "one buffer" if tiling.single else "stay" if tiling.groups_outer else "again"


@dataclass(frozen=True)
class Sizes:
    """What the bytes and cycles of a convolution's tiles follow from.

    Attributes:
        name: Of the layer, for messages.
        geometry: Window and image.
        images: Batch.
        in_channels: C.
        out_channels: Cout.
        pixel_bytes: Bytes of an input pixel's values or codes.
        scales: Scales of an input pixel, 0 for FP32.
        element_bits: Bits of an MX element, 32 for FP32.
        target: The machine.
        integers: The weights, if they are integers.
        expansion: Of a slice of so many channels: how other weights become operands, None if they are stored as such.
        integer_blocks: Whether the products are those of MXINT8.
        ending: What becomes of the values.
    """

    name: str
    geometry: Geometry
    images: int
    in_channels: int
    out_channels: int
    pixel_bytes: int
    scales: int
    element_bits: int
    target: Target
    integers: IntegerWeights | None = None
    expansion: Callable[[int], Expansion | None] = lambda channels: None
    integer_blocks: bool = False
    ending: Ending = PLAIN

    def starts(self, channels: int) -> list[int]:
        """First channels of all slices; the last one overlaps the one before it if it has to."""
        return [min(start, self.out_channels - channels) for start in range(0, self.out_channels, channels)]

    def slices(self, channels: int) -> int:
        """How many slices of so many channels there are."""
        return -(-self.out_channels // channels)

    def groups(self, tiling: Tiling) -> int:
        """Groups of slices."""
        return -(-self.slices(tiling.channels) // tiling.slices)

    def row_tiles(self, tiling: Tiling) -> int:
        """Tiles of rows (and strips of them) over all images."""
        strips = -(-self.geometry.out_width // tiling.columns)
        return self.images * strips * -(-self.geometry.out_height // tiling.rows)

    def tile(self, tiling: Tiling) -> Geometry:
        """The geometry with the tiling's strips."""
        whole = tiling.columns >= self.geometry.out_width
        return self.geometry if whole else replace(self.geometry, strip=tiling.columns)

    def weight_bytes(self, tiling: Tiling) -> int:
        """Weights, scales and bias of a group."""
        taps, channels = self.geometry.kernel[0] * self.geometry.kernel[1], tiling.channels
        if self.integers is not None:
            constants = align(tiling.slices * self.integers.finish.rows * channels * 4)
            packed = self.integers.packed_bytes(self._slice_elements(tiling))
            return align(tiling.slices * packed) + constants
        bias = align(tiling.slices * channels * 4)
        made = self.expansion(channels)
        if made is not None:
            return align(tiling.slices * made.code_bytes) + align(tiling.slices * made.scale_bytes) + bias
        if not self.scales:
            return align(tiling.slices * taps * self.in_channels * (channels + channels % 2) * 4) + bias
        scales = align(tiling.slices * taps * self.scales * align(channels, 8))
        columns = align(channels, 8) if self.integer_blocks else channels
        return align(tiling.slices * taps * self.pixel_bytes * columns) + scales + bias

    def _slice_elements(self, tiling: Tiling) -> int:
        """Integer weights of a slice, channels that fill up a row of 8 bytes included."""
        assert self.integers is not None
        taps = self.geometry.kernel[0] * self.geometry.kernel[1]
        return taps * self.in_channels * align(tiling.channels, 64 // self.integers.bits)

    def expanded_bytes(self, tiling: Tiling) -> int:
        """Operands that the codes of a group become in L1; 0 if the weights are multiplied as they come."""
        made = self.expansion(tiling.channels)
        if made is None and (self.integers is None or not self.integers.coded):
            return 0
        return align(tiling.slices * self.levels_bytes(tiling))

    def levels_bytes(self, tiling: Tiling) -> int:
        """Operands of a slice."""
        made = self.expansion(tiling.channels)
        if made is not None:
            return made.operand_bytes
        return 0 if self.integers is None else self._slice_elements(tiling) * self.integers.bits // 8

    def in_bytes(self, tiling: Tiling) -> int:
        """Input of a tile, borders included."""
        tile = self.tile(tiling)
        pixels = tile.rows(tiling.rows) * tile.in_width
        return align(pixels * self.pixel_bytes) + align(pixels * self.scales)

    def out_bytes(self, tiling: Tiling) -> int:
        """Values that a tile computes."""
        return align(self._values(tiling) * self.ending.item)

    def made_bytes(self, tiling: Tiling) -> list[int]:
        """What a tile's values become: codes and scales of each quantizer."""
        return [align(self._values(tiling) // unit.values * unit.bytes) for unit in self.ending.made]

    @staticmethod
    def _values(tiling: Tiling) -> int:
        return tiling.slices * tiling.rows * tiling.columns * tiling.channels

    def leaving_bytes(self, tiling: Tiling) -> int:
        """What a tile stores."""
        return self.out_bytes(tiling) * self.ending.kept + sum(self.made_bytes(tiling))

    def value_copies(self, tiling: Tiling) -> int:
        """Buffers of values: one if they do not leave, as every hart overwrites only its own."""
        return self.copies(tiling)[2] if self.ending.kept else 1

    def copies(self, tiling: Tiling) -> tuple[int, int, int]:
        """Numbers of buffers of weights, inputs and outputs: two of what changes during the layer."""
        groups, row_tiles = self.groups(tiling), self.row_tiles(tiling)
        weights = 1 + (groups > 1 and not tiling.single)
        return weights, 1 + (row_tiles > 1), 1 + (groups * row_tiles > 1)

    def l1_bytes(self, tiling: Tiling) -> int:
        """All buffers."""
        weights, inputs, outputs = self.copies(tiling)
        need = weights * self.weight_bytes(tiling) + inputs * self.in_bytes(tiling)
        need += self.expanded_bytes(tiling) + self.value_copies(tiling) * self.out_bytes(tiling)
        return need + outputs * sum(self.made_bytes(tiling))

    def fits(self, tiling: Tiling) -> bool:
        """Whether all buffers fit L1, and a tile's stores its record."""
        if not self.ending.fits_record(self.stores(tiling), self.target.harts):
            return False
        return self.l1_bytes(tiling) <= self.target.l1().size - SLACK

    def stores(self, tiling: Tiling) -> int:
        """Transfers that take a tile's results away."""
        strips = tiling.columns < self.geometry.out_width
        each = tiling.rows if strips and tiling.channels < self.out_channels else 1
        return tiling.slices * each * len(self.ending.stored)

    def channel_counts(self) -> list[int]:
        """Channels that a slice may have."""
        total = self.out_channels
        shares = (align(-(-total // slices), 8) for slices in self.slice_counts() if slices > 1)
        counts = {c for c in (2, 4, 8, 16, *shares, *range(32, total, 32), total) if c <= total}
        return sorted(c for c in counts if self.ending.takes(c, total))

    def slice_counts(self) -> list[int]:
        """Slices that a group may have: what the harts can be divided by."""
        harts = self.target.harts
        return [slices for slices in range(1, harts + 1) if harts % slices == 0]

    def column_counts(self) -> list[int]:
        """Columns that a tile may have: whole rows, or strips of 4 to 64 pixels of longer ones."""
        width = self.geometry.out_width
        return [width, *(count for count in (4, 8, 16, 32, 64) if count < width)]

    def row_counts(self) -> range:
        """Rows that a tile may have."""
        return range(1, min(self.geometry.out_height, MOST_ROWS) + 1)

    def candidates(self) -> Iterator[Tiling]:
        """Tilings worth a look."""
        for count, slices in self._slicings():
            orders = ORDERS if self.slices(count) > slices else ORDERS[:1]  # a single group is there once
            for columns in self.column_counts():
                for rows in self.row_counts():
                    for outer, single in orders:
                        yield Tiling(rows, columns, count, slices, outer, single)

    def _slicings(self) -> Iterator[tuple[int, int]]:
        """(channels, slices) of which the smallest tile fits."""
        for count in self.channel_counts():
            for slices in self.slice_counts():
                if slices > 1 and count * (slices - 1) >= self.out_channels:
                    continue  # a hart would have nothing to do
                if self._may_fit(count, slices):
                    yield count, slices

    def few(self) -> Iterator[Tiling]:
        """Fitting tilings, of those that make equally many tiles and groups one, the smallest."""
        g, seen = self.geometry, set[tuple[int, int]]()
        height = g.out_height
        rows = sorted({-(-height // -(-height // count)) for count in self.row_counts()})
        for count, slices in self._slicings():
            groups = -(-self.slices(count) // slices)
            if (groups, slices) in seen:
                continue
            seen.add((groups, slices))
            for columns in self.column_counts():
                if columns < g.out_width and (columns not in STRIPS or g.out_width < WIDE):
                    continue
                full = False
                for number in rows:
                    if full and number < height:  # whole images have no second buffer
                        continue
                    once = groups == 1 or (number == height and self.images == 1 and columns == g.out_width)
                    every = [
                        Tiling(number, columns, count, slices, *order)
                        for order in (ORDERS[:1] if once else ORDERS)
                    ]
                    fitting = [tiling for tiling in every if self.fits(tiling)]
                    full = not fitting
                    yield from fitting

    def _may_fit(self, channels: int, slices: int) -> bool:
        """Whether the smallest tile fits beside the weights: most numbers of channels are ruled out by that alone."""
        width = self.geometry.out_width
        whole = Tiling(1, width, channels, slices, single=True)
        strip = replace(whole, columns=min(4, width))
        free = self.target.l1().size - SLACK - self.weight_bytes(whole) - self.expanded_bytes(whole)
        return any(
            self.in_bytes(tiling) + self.out_bytes(tiling) + sum(self.made_bytes(tiling)) <= free
            for tiling in (strip, whole)
        )

    def _split_word(self, slices: int) -> str:
        """What the cores divide: rows, channels, or both: so many parts of the rows x of the channels."""
        if slices == 1:
            return "rows"
        return "channels" if slices == self.target.harts else f"{self.target.harts // slices} x {slices}"

    def choices(self, tiling: Tiling) -> dict[str, Choice]:
        """What a schedule file says of a tiling."""
        return {
            "rows": Choice(tiling.rows, self.row_counts()),
            "columns": Choice(tiling.columns, tuple(self.column_counts())),
            "channels": Choice(tiling.channels, tuple(self.channel_counts())),
            "cores_split": Choice(
                self._split_word(tiling.slices), tuple(map(self._split_word, self.slice_counts()))
            ),
            "weights": Choice(_weights_word(tiling), ("stay", "again", "one buffer")),
        }

    def chosen(self, tiling: Tiling, values: Mapping[str, Setting]) -> Tiling:
        """A tiling with other values of `choices`.

        Raises:
            MachineError: It does not fit L1, or leaves a core without work.
        """
        found = {name: choice.value for name, choice in self.choices(tiling).items()} | dict(values)
        slices = next(n for n in reversed(self.slice_counts()) if self._split_word(n) == found["cores_split"])
        made = Tiling(
            int(found["rows"]), int(found["columns"]), int(found["channels"]), slices,
            found["weights"] != "again", found["weights"] == "one buffer",
        )  # fmt: skip
        if slices > 1 and made.channels * (slices - 1) >= self.out_channels:
            raise MachineError(
                f"{made.channels} of {self.out_channels} channels a slice leave one of {slices} slices without any",
                key="cluster.cores",
            )
        check_l1(self.l1_bytes(made), self.target)
        if not self.ending.fits_record(self.stores(made), self.target.harts):
            raise MachineError(
                f"a tile has {self.stores(made)} transfers of codes, scales and values, which is too many",
                key="cluster.cores",
                hint="Use whole rows, all channels or fewer rows",
            )
        return made

    def choose(self) -> Tiling:
        """The fitting candidate with the lowest cost.

        Raises:
            MachineError: None fits; names the layer.
        """
        known = self.target.choices
        key = self.key
        if key not in known:
            known[key] = self._best()
        found: Tiling = known[key]
        return found

    @property
    def key(self) -> Hashable:
        """All that bytes and cycles follow from."""
        held = self.integers
        integers = (
            None if held is None else (held.bits, held.finish, held.narrow, held.group, held.table is None)
        )
        shape = (
            self.images,
            self.in_channels,
            self.out_channels,
            self.pixel_bytes,
            self.scales,
            self.element_bits,
        )
        place = self.target.harts, self.target.room, self.ending
        return self.geometry, shape, integers, self.expansion(self.out_channels), self.integer_blocks, place

    def _padded(self, tiling: Tiling) -> float:
        """Bytes that a tile's stores take on the DMA where the pixels of a slice are its rows."""
        rate, ending = self.target.dma_rate, self.ending
        sizes = [*([self.out_bytes(tiling)] if ending.kept else []), *self.made_bytes(tiling)]
        total = 0.0
        for unit, size in zip(ending.stored, sizes, strict=True):
            part = tiling.channels // unit.values * unit.bytes
            total += size * (math.ceil(part / rate) * rate / part)
        return total

    def _best(self) -> Tiling:
        fitting = [tiling for tiling in self.candidates() if self.fits(tiling)]
        if not fitting:
            raise MachineError(
                f"layer {self.name!r}: 4 output pixels of 2 channels do not fit L1",
                key=self.target.working_key,
                hint=f"Raise {self.target.working_key} or give the network smaller images",
            )
        return min(fitting, key=self.cost)

    def _pixel(self, channels: int) -> float:
        """Cycles of a core for so many channels of an output pixel."""
        target, kernel = self.target, self.geometry.kernel
        chunks = self.scales > 0 and not self.integer_blocks
        steps = kernel[0] * kernel[1] * (self.pixel_bytes / 8 if chunks else self.in_channels)
        lanes = target.integer_lanes if self.integer_blocks or self.integers is not None else target.lanes
        narrow = 2 if self.integers is not None and self.integers.narrow else 1
        rate = narrow * lanes * (1 if chunks else 2)  # elements of the accumulator per cycle
        # A product comes with the load of a scalar and a share of the step's other instructions: short vectors
        # are limited by issue.
        vectors = sum(max(count / rate, ISSUE) + STEP for count in target.vectors(channels))
        return vectors * steps / EFFICIENCY

    @property
    def work(self) -> float:
        """Cycles of a core that does nothing but multiply, and all of it."""
        g = self.geometry
        return self.images * g.out_height * g.out_width * self._pixel(self.out_channels)

    def cost(self, tiling: Tiling) -> float:
        """Estimated cycles."""
        return self.estimate(tiling).total

    def estimate(self, tiling: Tiling) -> Cost:
        """Where the estimated cycles go."""
        g, target = self.geometry, self.target
        groups, row_tiles = self.groups(tiling), self.row_tiles(tiling)
        weights, inputs = self.weight_bytes(tiling), self.in_bytes(tiling)
        outputs = self.leaving_bytes(tiling)
        strips = -(-g.out_width // tiling.columns)
        whole = tiling.channels == self.out_channels
        # A slice's pixels are rows of a transfer, of whole beats; two dimensions do not hold strips of them.
        leaving = outputs if whole else self._padded(tiling)
        transfers = self.stores(tiling) + 2
        moved = groups * row_tiles * leaving
        moved += weights * (groups if tiling.groups_outer or groups == 1 else groups * row_tiles)
        moved += inputs * (row_tiles if not tiling.groups_outer or row_tiles == 1 else groups * row_tiles)

        per_row = strips * tiling.columns * self._pixel(tiling.channels)
        rows = [min(tiling.rows, g.out_height - at) for at in range(0, g.out_height, tiling.rows)]
        parts = target.harts // tiling.slices  # of the rows
        busiest = sum(-(-count // parts) for count in rows)
        compute = groups * (self.images * busiest * per_row + row_tiles * (OVERHEAD + TRANSFER * transfers))
        if self.ending.kernels:
            line = tiling.columns * tiling.channels
            ends = sum(self.ending.cycles(-(-count // parts) * line, target.lanes) for count in rows)
            compute += groups * self.images * strips * ends
        if tiling.single:
            compute += (groups - 1) * (weights / target.dma_rate + target.dma_latency + OVERHEAD)
        # The first weights usually come while the layer before still runs.
        exposed = weights / 4 + inputs + outputs
        tiles = groups * row_tiles + (groups - 1) * tiling.single
        return Cost(compute, moved / target.dma_rate, exposed / target.dma_rate, tiles, transfers)
