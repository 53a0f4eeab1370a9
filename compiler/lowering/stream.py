"""Layers that walk through memory: a unit (element, row, pixel) of the output needs one of each input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from potluck.compiler.lowering.base import (
    SLACK,
    Choice,
    Constant,
    LayerPlan,
    Setting,
    Target,
    Tensor,
    check_l1,
    share,
)
from potluck.compiler.schedule.layer import Loop, LoweredOp, Operand, Tile, TileKernel, Transfer
from potluck.compiler.schedule.memory import align

TILES = 8
"""Tiles that a layer is cut into if they are not too small: the first load and last store are not hidden."""
TOGETHER = 32
"""Transfers of a relayout that are waited for together."""


@dataclass(frozen=True)
class Stream:
    """One array that a layer walks through.

    Attributes:
        tensor: Whose part it is.
        scales: Whether it is the scales of an MX tensor.
        unit: Bytes per unit.
    """

    tensor: Tensor
    unit: int
    scales: bool = False

    @property
    def address(self) -> int:
        """Of its first byte in DRAM."""
        return self.tensor.scales_address if self.scales else self.tensor.address


@dataclass(eq=False)
class StreamPlan(LayerPlan):
    """A kernel whose arguments are the addresses of its inputs and outputs and the number of units.

    Attributes:
        name: Node.
        op: Operator.
        inputs: Streams read, in the order of the arguments.
        outputs: Streams written, following them.
        units: In all.
        kernel: With its contract on memory.
        granule: Units that are not divided among harts.
        format: For the manifest.
        shared: Constants that every tile reads whole, following the outputs.
        tile: Units of a tile, 0: about an eighth of all.
    """

    name: str
    op: str
    inputs: tuple[Stream, ...]
    outputs: tuple[Stream, ...]
    units: int
    kernel: TileKernel
    granule: int = 1
    format: str = "fp32"
    shared: tuple[Constant, ...] = ()
    tile: int = 0

    def reads(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return [stream.tensor for stream in self.inputs]

    def writes(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return [stream.tensor for stream in self.outputs]

    def constants(self) -> Sequence[Constant]:
        """See `LayerPlan`."""
        return self.shared

    def fits(self, target: Target) -> bool:
        """Whether two tiles of a unit, and what they share, find room."""
        return self._most_units(target) > 0

    def _most_units(self, target: Target) -> int:
        streams = (*self.inputs, *self.outputs)
        free = target.l1().size - SLACK - sum(align(len(item.data)) for item in self.shared)
        return (free // 2 - 64 * len(streams)) // sum(stream.unit for stream in streams)

    def _units_per_tile(self, target: Target) -> int:
        if self.tile:
            return self.tile
        unit, most = sum(stream.unit for stream in (*self.inputs, *self.outputs)), self._most_units(target)
        wanted = max(-(-self.units // TILES), target.least // unit, 1)
        least = min(self.granule * target.harts, self.units)
        rounded = -(-wanted // least) * least
        return max(1, min(rounded, most // least * least if most >= least else most, self.units))

    def choices(self, target: Target) -> dict[str, Choice]:
        """See `LayerPlan`."""
        return {"units": Choice(self._units_per_tile(target), range(1, self.units + 1))}

    def chosen(self, target: Target, values: Mapping[str, Setting]) -> StreamPlan:
        """See `LayerPlan`."""
        units = int(values["units"])
        copies, streams = 1 + (units < self.units), (*self.inputs, *self.outputs)
        need = copies * sum(align(stream.unit * units) for stream in streams)
        check_l1(need + sum(align(len(item.data)) for item in self.shared), target)
        return replace(self, tile=units)

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        l1, count = target.l1(), self._units_per_tile(target)
        loop = Loop("unit", self.units, count)
        copies = 1 + (len(loop) > 1)
        streams = (*self.inputs, *self.outputs)
        buffers = [[l1.take("stream", stream.unit * count) for stream in streams] for _ in range(copies)]
        fixed = [l1.take("shared", len(item.data)) for item in self.shared]
        tiles = []
        for index, (start, size) in enumerate(loop):
            at = buffers[index % copies]
            transfers = [
                Transfer(stream.address + start * stream.unit, address, size * stream.unit)
                for stream, address in zip(streams, at, strict=True)
            ]
            loads = transfers[: len(self.inputs)]
            stores = [
                Transfer(item.destination, item.source, item.bytes) for item in transfers[len(self.inputs) :]
            ]
            args = tuple(
                self._args(streams, at, fixed, size, target.harts, hart) for hart in range(target.harts)
            )
            tiles.append(Tile(tuple(loads), tuple(stores), args, f"units {start}+{size}"))
        setup = [
            Transfer(item.address, at, len(item.data)) for item, at in zip(self.shared, fixed, strict=True)
        ]
        return LoweredOp(
            self.name,
            self.op,
            self.kernel,
            (loop,),
            tuple(setup),
            tuple(tiles),
            self._operands(),
            format=self.format,
            footprint=tuple(l1.taken),
            contained=True,
        )

    def _args(
        self, streams: Sequence[Stream], at: list[int], fixed: list[int], size: int, harts: int, hart: int
    ) -> tuple[int, ...]:
        first, granules = share(-(-size // self.granule), harts, hart)
        start = min(first * self.granule, size)
        count = min(granules * self.granule, size - start)
        pointers = (address + start * stream.unit for stream, address in zip(streams, at, strict=True))
        return (*pointers, *fixed, count)

    def _operands(self) -> tuple[Operand, ...]:
        made: list[Operand] = []
        for role, streams in (("input", self.inputs), ("output", self.outputs)):
            for tensor in dict.fromkeys(stream.tensor for stream in streams):
                made += tensor.operands(role)
        return (*made, *(item.operand("constant") for item in self.shared))


@dataclass(eq=False)
class RelayoutPlan(LayerPlan):
    """Brings an image from NHWC into ONNX's order or back, or copies a tensor: transfers, no kernel.

    Attributes:
        name: Node.
        op: Operator.
        x: Input.
        y: Output, of the same type and number of elements.
        shape: NCHW of the image that changes its order; (1, 1, 1, elements) copies.
        to_row: From NHWC to the order of the dimensions; otherwise back.
    """

    name: str
    op: str
    x: Tensor
    y: Tensor
    shape: tuple[int, int, int, int]
    to_row: bool

    def reads(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.x,)

    def writes(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.y,)

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        n, c, h, w = self.shape
        item = self.x.item_bytes
        moves = []
        for image in range(n):
            base = item * image * c * h * w
            for channel in range(c):
                dense, sparse = base + item * channel * h * w, base + item * channel
                nhwc, nchw = (sparse, item * c), (dense, item)
                (source, step), (to, to_step) = (nhwc, nchw) if self.to_row else (nchw, nhwc)
                moves.append(
                    Transfer(self.x.address + source, self.y.address + to, item, h * w, step, to_step)
                    if c > 1
                    else Transfer(self.x.address + base, self.y.address + base, item * h * w)
                )
        tiles = [
            Tile(tuple(moves[at : at + TOGETHER]), (), (), f"transfers {at}..")
            for at in range(0, len(moves), TOGETHER)
        ]
        loops = (Loop("image", n, 1), Loop("channel", c, 1))
        operands = (*self.x.operands("input"), *self.y.operands("output"))
        return LoweredOp(self.name, self.op, None, loops, (), tuple(tiles), operands)
