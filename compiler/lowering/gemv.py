"""A vector times an MX matrix: every weight is multiplied once, so what counts is that the weights never stop coming.

Each hart has a slice of the output channels of its own. A tile is one transfer: codes and scales (and bias, if there
is one) of all harts' slices and a piece of K, one behind the other in DRAM as in L1. The activation stays in L1 for the
whole layer. The sum over K continues from piece to piece, because the kernel starts from a bias that is the result of
the piece before, so the order of the additions is that of the whole product. The last piece is filled up with zeros,
which add nothing.

Where the channels divide evenly into vectors of all harts, the layer has a loop of its own, which streams pieces
through three or four buffers and keeps sums in registers (`potluck.kernels.matmul.stream`); else tiles take turns in
two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.lowering.adapters import floats, octets, write
from potluck.compiler.lowering.base import (
    SLACK,
    Choice,
    Constant,
    LayerPlan,
    Setting,
    Target,
    Tensor,
    check_l1,
    constant,
)
from potluck.compiler.lowering.expansion import packed_slices
from potluck.compiler.lowering.packing import ELEMENTS, Weights
from potluck.compiler.lowering.products import format_name
from potluck.compiler.schedule.layer import Loop, LoweredOp, Memory, Tile, Transfer
from potluck.compiler.schedule.memory import align
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import MachineError
from potluck.isa.formats.mx import MxTensor
from potluck.kernels.matmul.mx import MatmulMx
from potluck.kernels.matmul.stream import (
    LEAST_STEPS,
    MOST_COLUMNS,
    MOST_STEPS,
    RINGS,
    SUMS_RING,
    Layout,
    MxStream,
)

F32 = NDArray[np.float32]
MOST_SLICE = 256
"""Output channels of a slice at most."""
CALL, TILE, LOAD = 60, 90, 1.5
"""Cycles that the kernel takes to begin and to end, that a tile takes beside it, and between two loads of weights."""
BEGIN, CHANGE, SHORT, LEAST_STEP = 250, 12, 1, 9
"""Cycles that a layer takes to begin and to end; of a stream: from piece to piece, more with the shorter ring, and for
a step of few channels."""
RING_SHARE, SUMS_SHARE = 3 / 4, 8
"""Of L1: what a stream takes at most, so that layers around it stay there; the part that its sums may stay in."""
LEAST_VECTOR = 16
"""Channels of a stream's vector; with fewer the core is too slow."""


@dataclass(frozen=True)
class GemvTile:
    """Arguments: codes and scales of the activation and of the weights, bias, output, 0 or 1, whether it is the last
    piece of K, which alone is clipped.
    """

    kernel: MatmulMx

    def _kernel(self, last: bool) -> MatmulMx:
        return self.kernel if last else replace(self.kernel, low=None, high=None)

    def emit(self, a: Assembler) -> None:
        """See `TileKernel`."""
        for to, source in (("t0", "a4"), ("a4", "a5"), ("a5", "a6"), ("a6", "t0")):
            a("mv", to, source)
        if self.kernel.low is None and self.kernel.high is None:
            self.kernel.emit(a)
            return
        last, done = a.fresh("last_piece"), a.fresh("piece_done")
        a("bnez", "a7", last)
        self._kernel(False).emit(a)
        a("j", done)
        a.label(last)
        self.kernel.emit(a)
        a.label(done)

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        codes, scales, weights, weight_scales, bias, out, rows, last = args
        k = self._kernel(bool(last))
        if rows:
            result = k.contract(
                octets(memory, codes, 1, 8 * k.steps),
                octets(memory, scales, 1, k.blocks),
                octets(memory, weights, k.steps, k.n, 8),
                octets(memory, weight_scales, k.blocks, k.n),
                floats(memory, bias, k.n),
            )
            write(memory, out, np.asarray(result, np.float32))


@dataclass(frozen=True)
class GemvSizes:
    """A choice of tiles.

    Attributes:
        channels: Output channels of a slice.
        piece: Elements of a piece of K.
        buffers: For weights: 2, or one of `RINGS` of a stream.
    """

    channels: int
    piece: int
    buffers: int = 2

    @property
    def streams(self) -> bool:
        """Whether pieces stream."""
        return self.buffers in RINGS


def takes(x: Tensor, weights: Weights, target: Target) -> bool:
    """Whether the kernel multiplies these operands: stored MX floats of one format, on a machine with L1."""
    if target.flat or x.mx is None or x.pixels != 1 or not isinstance(weights, MxTensor):
        return False
    chunks = x.mx.block_size * x.mx.element.bits // 64
    return (
        weights.layout == x.mx
        and x.mx.element.name in ELEMENTS
        and chunks <= 32
        and len(weights.codes) % 8 == 0
    )


@dataclass(frozen=True, eq=False)
class Part:
    """A matrix and its product.

    Attributes:
        weights: [N, K, 1, 1], of the row's format; N is a multiple of 8.
        name: ONNX name of the weights.
        y: The product, FP32.
    """

    weights: MxTensor
    name: str
    y: Tensor

    @property
    def n(self) -> int:
        """Columns."""
        return len(self.weights.codes)


@dataclass(eq=False)
class GemvPlan(LayerPlan):
    """y = clip(x W + bias) for a single row, and one or more matrices: several stream as one.

    Attributes:
        name: Node.
        op: Operator.
        x: The row, MX.
        parts: Matrices and products.
        bias: [N] of all.
        bias_name: ONNX name.
        bounds: Of the fused activation.
        target: The machine.
        tiles: Its tiles, None: those of the lowest estimate.
    """

    name: str
    op: str
    x: Tensor
    parts: tuple[Part, ...]
    bias: F32
    bias_name: str
    bounds: tuple[float, float]
    target: Target
    tiles: GemvSizes | None = None

    def __post_init__(self) -> None:
        assert self.x.mx is not None
        self.mx = self.x.mx
        self.n, self.k = sum(part.n for part in self.parts), self.parts[0].weights.codes.shape[1]
        self.unbiased = not np.any(self.bias.view(np.uint32))
        self.sizes = self.tiles or self._choose()
        self._cut()

    def _cut(self) -> None:
        channels, piece = self.sizes.channels, self.sizes.piece
        low, high = (None if math.isinf(bound) else bound for bound in self.bounds)
        self.kernel = MatmulMx(
            channels, piece, ELEMENTS[self.mx.element.name], block=self.mx.block_size, packed=True, bias=True,
            low=low, high=high, groups=(1,), vlen=self.target.vlen,
        )  # fmt: skip
        self.pieces = -(-self.k // piece)
        harts = self.target.harts
        starts = [min(at, self.n - channels) for at in range(0, self.n, channels)]
        self.groups = [starts[at : at + harts] for at in range(0, len(starts), harts)]
        if self.unbiased:
            self.biases = [constant(self.bias_name, "bias", np.zeros(channels, np.float32))]
        else:
            self.biases = [
                constant(self.bias_name, "bias", np.stack([self.bias[at : at + channels] for at in group]))
                for group in self.groups
            ]

    @cached_property
    def packed(self) -> list[list[list[Constant]]]:
        """What a tile loads, by group and piece."""
        return [[self._pack(group, number) for number in range(self.pieces)] for group in self.groups]

    def part_at(self, channel: int) -> tuple[Part, int]:
        """The matrix that a channel of all is in, and which one it is there."""
        for part in self.parts:
            if channel < part.n:
                return part, channel
            channel -= part.n
        raise IndexError(channel)

    def joined(self, other: GemvPlan) -> GemvPlan | None:
        """Both as one layer, if they read the same row and stream the faster for it."""
        if other.x is not self.x or other.bounds != self.bounds or not (self.unbiased and other.unbiased):
            return None
        parts, zeros = (*self.parts, *other.parts), np.zeros(self.n + other.n, np.float32)
        try:
            made = replace(
                other,
                op=f"{self.op}+{other.op}",
                parts=parts,
                bias=zeros,
                bias_name=self.bias_name,
                tiles=None,
            )
        except MachineError:
            return None  # nothing streams
        return made if made.estimate < self.estimate + other.estimate else None

    # -- the choice

    def _choose(self) -> GemvSizes:
        """The fitting candidate with the lowest cost.

        Raises:
            MachineError: None fits.
        """
        fitting = [sizes for sizes in self._candidates() if self.fits(sizes)]
        if not fitting:
            raise MachineError(
                f"layer {self.name!r}: a block of weights does not fit L1", key=self.target.working_key
            )
        room = self.target.l1().size * RING_SHARE
        small = [sizes for sizes in fitting if not sizes.streams or self.l1_bytes(sizes) <= room]
        return min(small or fitting, key=self.cost)

    def _candidates(self) -> Iterator[GemvSizes]:
        for channels in self._channels():
            for piece in self._pieces():
                if len(self.parts) == 1:
                    yield GemvSizes(channels, piece)
                if channels >= LEAST_VECTOR and self._may_stream(GemvSizes(channels, piece)):
                    yield from (GemvSizes(channels, piece, ring) for ring in RINGS)

    def _may_stream(self, sizes: GemvSizes) -> bool:
        """Whether a layer's pieces are all alike, and the stream's code takes them."""
        even = all(part.n % (sizes.channels * self.target.harts) == 0 for part in self.parts)
        most = min(self.target.vlen // 8, MOST_COLUMNS)
        return (
            even
            and self.unbiased
            and sizes.channels <= most
            and LEAST_STEPS <= self._steps(sizes) <= MOST_STEPS
        )

    def _steps(self, sizes: GemvSizes) -> int:
        """Chunks of a piece."""
        return sizes.piece * self.mx.element.bits // 64

    def _channels(self) -> range:
        return range(8, min(self.n, MOST_SLICE) + 1, 8)

    def _pieces(self) -> tuple[int, ...]:
        blocks = self.mx.blocks(self.k)
        return tuple(
            length * self.mx.block_size for length in sorted({-(-blocks // n) for n in range(1, blocks + 1)})
        )

    def choices(self, target: Target) -> dict[str, Choice]:
        """See `LayerPlan`."""
        sizes = self.sizes
        return {
            "channels": Choice(sizes.channels, self._channels()), "k": Choice(sizes.piece, self._pieces()),
            "buffers": Choice(sizes.buffers, (2, *RINGS) if len(self.parts) == 1 else RINGS),
        }  # fmt: skip

    def chosen(self, target: Target, values: Mapping[str, Setting]) -> GemvPlan:
        """See `LayerPlan`."""
        channels, piece = values.get("channels", self.sizes.channels), values.get("k", self.sizes.piece)
        sizes = GemvSizes(int(channels), int(piece), int(values.get("buffers", self.sizes.buffers)))
        check_l1(self.l1_bytes(sizes), target)
        if sizes.streams and not self._may_stream(sizes):
            raise MachineError(
                f"{sizes.channels} channels and {sizes.piece} terms do not stream through {sizes.buffers} buffers",
                key=target.working_key,
                hint="Use a vector's channels, by which all harts' channels can be divided, or two buffers",
            )
        return replace(self, tiles=sizes)

    def weight_bytes(self, sizes: GemvSizes) -> int:
        """Codes and scales of a tile."""
        codes = self.target.harts * sizes.channels * sizes.piece * self.mx.element.bits // 8
        return align(codes) + align(self.target.harts * sizes.channels * self.mx.blocks(sizes.piece))

    def l1_bytes(self, sizes: GemvSizes) -> int:
        """Buffers for weights, and what else they need."""
        values = align(4 * self.target.harts * sizes.channels)
        held = align(self.k * self.mx.element.bits // 8 + sizes.piece) + align(2 * self.mx.blocks(self.k))
        sums = self.kept(sizes) if sizes.streams else 2
        return sizes.buffers * self.weight_bytes(sizes) + (2 + sums) * values + held

    def kept(self, sizes: GemvSizes) -> int:
        """Groups whose sums have room in L1 beside a stream: all, for layers that read them there, if they are few."""
        groups, each = self.n // (sizes.channels * self.target.harts), 4 * sizes.channels * self.target.harts
        return groups if groups * each <= self.target.l1().size // SUMS_SHARE else min(groups, SUMS_RING)

    def fits(self, sizes: GemvSizes) -> bool:
        """Whether all buffers find room in L1."""
        return self.l1_bytes(sizes) <= self.target.l1().size - SLACK

    def cost(self, sizes: GemvSizes) -> float:
        """Estimated cycles."""
        if sizes.streams:
            return self._stream_cost(sizes)
        target, most = self.target, self.target.vlen // 8
        whole, rest = divmod(sizes.channels, most)
        vectors = [most] * whole + [rest] * (rest > 0)
        steps = sizes.piece * self.mx.element.bits // 64
        compute = CALL + steps * sum(count / target.lanes + LOAD for count in vectors)
        slices = math.ceil(self.n / sizes.channels)
        tiles = math.ceil(slices / target.harts) * math.ceil(self.k / sizes.piece)
        load = self.weight_bytes(sizes) / target.dma_rate
        return float(tiles * (max(compute, load) + TILE) + load / 2 + BEGIN)

    def _stream_cost(self, sizes: GemvSizes) -> float:
        """The same for a stream: what the ports take, or the DMA; the first piece is waited for."""
        target = self.target
        scales = math.ceil(sizes.channels / (8 * target.lanes)) * self.mx.blocks(sizes.piece)
        step = max(LEAST_STEP, math.ceil(sizes.channels / target.lanes))
        compute = self._steps(sizes) * step + scales + CHANGE + SHORT * (sizes.buffers == RINGS[0])
        load = self.weight_bytes(sizes) / target.dma_rate
        tiles = self.n // (sizes.channels * target.harts) * math.ceil(self.k / sizes.piece)
        return float(tiles * max(compute, load) + load / 2 + BEGIN)

    @property
    def estimate(self) -> float:
        """See `LayerPlan`."""
        return self.cost(self.sizes)

    # -- the plan

    def _pack(self, group: Sequence[int], piece: int) -> list[Constant]:
        """Codes and scales of one piece of K for the slices of a group."""
        (part, first), length = self.part_at(group[0]), self.sizes.piece
        starts = (start - group[0] + first for start in group)
        channels = [slice(start, start + self.sizes.channels) for start in starts]
        return packed_slices(part.name, part.weights, self.mx, channels, piece * length, length)

    def reads(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.x,)

    def writes(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return [part.y for part in self.parts]

    def constants(self) -> Sequence[Constant]:
        """See `LayerPlan`; what a tile loads is together."""
        found: list[Constant] = []
        for number, group in enumerate(self.packed):
            for piece, parts in enumerate(group):
                found += parts
                if not piece and not self.unbiased:
                    found.append(self.biases[number])
        return found + self.biases * self.unbiased

    def fill_bytes(self) -> dict[str, int]:
        """See `LayerPlan`."""
        return {"zero": self.sizes.piece}

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        made = _GemvTiles(self, target)
        loops = (
            Loop("channel", self.n, self.sizes.channels * target.harts), Loop("k", self.k, self.sizes.piece)
        )  # fmt: skip
        operands = [*self.x.operands("input"), *(item.operand("weights") for item in self.constants())]
        outputs = (item for part in self.parts for item in part.y.operands("output"))
        return LoweredOp(
            self.name, self.op, GemvTile(self.kernel), loops, tuple(made.setup()), tuple(made.tiles()),
            (*operands, *outputs), self.n * self.k, format_name(self.x, self.parts[0].weights),
            tuple(made.l1.taken), contained=True, loop=made.stream(),
        )  # fmt: skip


class _GemvTiles:
    """Addresses and transfers."""

    def __init__(self, plan: GemvPlan, target: Target) -> None:
        self.plan, self.target = plan, target
        self.l1 = l1 = target.l1()
        self.bits = plan.mx.element.bits
        self.own = 4 * plan.sizes.channels
        values = target.harts * self.own
        first = plan.packed[0][0]
        self.sizes = [align(len(part.data)) for part in first]
        bias = 0 if plan.unbiased else values
        size, buffers = sum(self.sizes) + bias, plan.sizes.buffers
        if plan.sizes.streams:
            ring = l1.take("weights", buffers * size)
            self.weights = [ring + at * size for at in range(buffers)]
        else:
            copies = 1 + (len(plan.groups) * plan.pieces > 1)
            self.weights = [l1.take("weights", size) for _ in range(copies)] * (3 - copies)
        self.whole = plan.pieces * plan.sizes.piece
        self.row = l1.take("row", self.whole * self.bits // 8)
        self.scales = l1.take("scales", plan.mx.blocks(self.whole))
        self.zero_bias = l1.take("bias", self.own) if plan.unbiased else 0
        kept = plan.kept(plan.sizes) if plan.sizes.streams else 2
        sums = l1.take("sums", kept * values)
        self.sums = [sums + at * values for at in range(kept)]

    def setup(self) -> Iterator[Transfer]:
        """The activation, and a bias of zeros."""
        x, zero = self.plan.x, self.target.fills["zero"]
        for address, have, want, to in (
            (x.address, x.pixel_bytes, self.whole * self.bits // 8, self.row),
            (x.scales_address, x.scales, self.plan.mx.blocks(self.whole), self.scales),
        ):
            yield Transfer(address, to, have)
            if have < want:
                yield Transfer(zero, to + have, want - have)
        if self.plan.unbiased:
            yield Transfer(self.plan.biases[0].address, self.zero_bias, self.own)

    def tiles(self) -> Iterator[Tile]:
        """Groups of slices outermost, then pieces of K."""
        plan, step = self.plan, 0
        waves = self._waves()
        for group, starts in enumerate(plan.groups):
            sums = self.sums[group % len(self.sums)]
            for piece in range(plan.pieces):
                at = self.weights[step % len(self.weights)]
                last = piece + 1 == plan.pieces
                args = tuple(
                    self._args(hart, len(starts), at, piece, sums, last) for hart in range(self.target.harts)
                )
                stores = merged(self._stores(starts, sums)) if last else ()
                loads = waves[step] if step < len(waves) else ()
                yield Tile(loads, stores, args, f"channels {starts[0]}.. piece {piece}")
                step += 1

    def _waves(self) -> list[tuple[Transfer, ...]]:
        """Loads of weights, by the tile whose loads they are; a stream's come early, to fill its buffers."""
        plan = self.plan
        every = [
            merged(self._loads(group, piece, self.weights[(group * plan.pieces + piece) % len(self.weights)]))
            for group in range(len(plan.groups))
            for piece in range(plan.pieces)
        ]
        if not plan.sizes.streams:
            return every
        ring = plan.sizes.buffers
        return [sum(every[: ring - 1], ()), *every[ring - 1 :]]

    def stream(self) -> MxStream | None:
        """The layer's own loop, if it streams and its pieces lie one behind the other."""
        plan = self.plan
        if not plan.sizes.streams:
            return None
        size = sum(self.sizes)
        every = [transfer for wave in self._waves() for transfer in wave]
        start = every[0].source
        if any(
            item.source != start + at * size or item.bytes != every[0].bytes for at, item in enumerate(every)
        ):
            return None  # equal ones share their memory
        layout = Layout(
            self.weights[0], self.row, self.scales, self.sums[0], start, every[0].bytes,
            tuple((part.y.address, 4 * part.n) for part in plan.parts),
        )  # fmt: skip
        k, steps = plan.kernel, plan.kernel.steps
        return MxStream(
            k.n, self.target.harts, steps, k.block // k.chunk, plan.pieces, len(plan.groups), k.element, size,
            self.sizes[0], layout, plan.sizes.buffers, len(self.sums), k.low, k.high,
        )  # fmt: skip

    def _loads(self, group: int, piece: int, at: int) -> Iterator[Transfer]:
        plan = self.plan
        parts = list(plan.packed[group][piece])
        if not piece and not plan.unbiased:
            parts.append(plan.biases[group])
        for part, size in zip(parts, [*self.sizes, 0], strict=False):
            yield Transfer(part.address, at, len(part.data))
            at += size

    def _args(
        self, hart: int, slices: int, weights: int, piece: int, sums: int, last: bool
    ) -> tuple[int, ...]:
        plan = self.plan
        length, mine, out = plan.sizes.piece, int(hart < slices), sums + hart * self.own
        codes, scales = (len(part.data) // len(plan.groups[0]) for part in plan.packed[0][0])
        blocks = weights + self.sizes[0]
        bias = out if piece else self.zero_bias if plan.unbiased else blocks + self.sizes[1] + hart * self.own
        return (
            self.row + piece * length * self.bits // 8,
            self.scales + piece * plan.mx.blocks(length),
            weights + hart * codes,
            blocks + hart * scales,
            bias,
            out,
            mine,
            int(last),
        )

    def _stores(self, starts: Sequence[int], sums: int) -> Iterator[Transfer]:
        for hart, start in enumerate(starts):
            part, first = self.plan.part_at(start)
            yield Transfer(sums + hart * self.own, part.y.address + 4 * first, self.own)


def join(plans: Sequence[LayerPlan]) -> list[LayerPlan]:
    """The same layers, products of one row that follow each other as one: weights do not pause between them."""
    found: list[LayerPlan] = []
    for plan in plans:
        before = found[-1] if found else None
        both = before.joined(plan) if isinstance(before, GemvPlan) and isinstance(plan, GemvPlan) else None
        if both is None:
            found.append(plan)
        else:
            found[-1] = both
    return found


def merged(transfers: Iterator[Transfer]) -> tuple[Transfer, ...]:
    """The same bytes in fewer transfers: neighbours on both sides become one, the gaps of an alignment included."""
    found: list[Transfer] = []
    for item in transfers:
        last = found[-1] if found else None
        gap = item.source - last.source if last is not None else 0
        if last is not None and gap == item.destination - last.destination and 0 <= gap - last.bytes < 64:
            found[-1] = replace(last, bytes=gap + item.bytes)
        else:
            found.append(item)
    return tuple(found)
