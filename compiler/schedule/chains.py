"""Small layers behind each other, and the streams of weights between them, keep what they compute in L1.

A layer of one tile whose inputs a layer before it has just computed reads them where they were computed: it is
lowered into the room of L1 that the chain so far leaves, and the arguments that point to a copy from DRAM are made to
point to the original. What it needs besides comes before the chain's first layer begins, or before the last stream.
Results still go to DRAM, while the next layer runs; nobody waits for them. Every layer stays a layer, with code and
cycles of its own.

A product that streams its weights (`potluck.compiler.lowering.gemv`) takes the other end of L1, its row from the chain,
and gives the chain its sums, where all of them stay in L1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from potluck.compiler.lowering.attention import AttentionTile
from potluck.compiler.lowering.base import REGISTERS, LayerPlan, Target, tensor_bytes
from potluck.compiler.lowering.gemv import GemvPlan, merged
from potluck.compiler.lowering.move import MovePlan
from potluck.compiler.lowering.pointwise import PointwisePlan
from potluck.compiler.lowering.reduction import ReductionPlan
from potluck.compiler.lowering.rotation import RotatePlan
from potluck.compiler.lowering.stream import StreamPlan
from potluck.compiler.schedule.layer import LoweredOp, Span, Tile, Transfer
from potluck.compiler.schedule.memory import ALIGN, align
from potluck.compiler.schedule.overlap import meets, span_of
from potluck.isa.errors import MachineError
from potluck.isa.progress import task
from potluck.kernels.matmul.stream import MxStream

MOST_LOADS = 24
"""Transfers in front of a chain."""
MOST_HARTS = 4
"""Harts whose arguments are part of the code."""
AHEAD = 24
"""Layers that are asked for what they read before a chain gives room back."""
SMALL = StreamPlan | PointwisePlan | ReductionPlan | RotatePlan


def lowered(plans: Sequence[LayerPlan], target: Target) -> list[LoweredOp]:
    """Every layer, chains of them sharing L1; layers and chains take turns at allocating from its two ends.

    Raises:
        MachineError: A layer does not fit L1.
    """
    ops: list[LoweredOp] = []
    at, down = 0, False
    alone = (
        target.machine.pot is not None or target.harts > MOST_HARTS
    )  # an accelerator's batches look for tiles
    with task("layers planned", len(plans)) as tell:
        while at < len(plans):
            tell(at, None)
            chain = Chain.of(plans[at].lower(replace(target, downward=down)), target, down)
            while not alone and chain.go_on(plans[at + len(chain.ops) :][:AHEAD]):
                pass
            ops += chain.finished()
            at += len(chain.ops)
            down = not chain.last
    return ops


@dataclass
class Chain:
    """Layers so far.

    Attributes:
        target: The machine.
        down: Whether small layers take L1 from its upper end; streams take the other.
        last: Whether the last layer took the upper end.
        ops: They.
        loads: What a layer has to load for others, by its place: the first one, or the last stream, which waits for all
            transfers, too.
        held: L1 that small layers have taken since then, or that is still to be read.
        stream: What the last stream takes and reads.
        kept: Stores whose sources are in L1.
        written: Ranges of DRAM that the chain writes.
    """

    target: Target
    down: bool
    last: bool
    ops: list[LoweredOp]
    loads: dict[int, tuple[Transfer, ...]] = field(default_factory=lambda: {0: ()})
    held: list[Span] = field(default_factory=list)
    stream: tuple[Span, ...] = ()
    kept: list[Transfer] = field(default_factory=list)
    written: list[Span] = field(default_factory=list)

    @classmethod
    def of(cls, op: LoweredOp, target: Target, down: bool) -> Chain:
        """A chain of one layer, which took the upper end of L1 if ``down``."""
        stream = isinstance(op.loop, MxStream)
        chain = cls(target, down != stream, down, [op])
        if stream:
            chain.stream = op.footprint
        else:
            chain.held += op.footprint
        chain._add(op)
        return chain

    def go_on(self, plans: Sequence[LayerPlan]) -> bool:
        """Adds the first of the following layers if it can be one of the chain's."""
        before = next((op for op in reversed(self.ops) if not op.bare), None)
        if not plans or before is None or not _leaves(before):
            return False
        plan, side = plans[0], replace(self.target, downward=self.down)
        try:
            if isinstance(plan, SMALL):
                return self._take_small(plan)
            if isinstance(plan, GemvPlan) and not isinstance(
                before.loop, MxStream
            ):  # its pieces come meanwhile
                return self._take_stream(plan.lower(replace(side, downward=not self.down)), plans[1:])
            return isinstance(plan, MovePlan) and self._take_move(plan.lower(side))
        except MachineError:
            return False

    def finished(self) -> list[LoweredOp]:
        """The layers, with what some load for others."""
        return [
            replace(op, setup=(*op.setup, *self.loads.get(index, ()))) for index, op in enumerate(self.ops)
        ]

    def _take_small(self, plan: SMALL) -> bool:
        """Adds a layer of one tile, if something that it reads is in L1 and nothing in DRAM is the chain's."""
        whole = self.target.l1()
        ends = {
            align(whole.limit - low if self.down else high - whole.base)
            for low, high in [*self.held, (whole.limit, whole.base)]
        }
        for taken in sorted(ends):
            small = self._small(plan, taken)
            if small is None:
                return False
            unused = self._unused(small[0], taken)
            if unused:  # room for what is read elsewhere comes first
                small = self._small(plan, max(0, taken - unused)) or small
            op, found = small
            if any(meets(span, [*self.stream, *self.held]) for span in op.footprint):
                continue
            loader = max(self.loads)
            self.loads[loader] += found.outside
            self.held += op.footprint
            self._join(replace(op, footprint=op.footprint + found.read), self.down)
            return True
        return False

    def _small(self, plan: SMALL, taken: int) -> tuple[LoweredOp, Reads] | None:
        """A layer that begins behind so many bytes, its footprint without room for what is read elsewhere."""
        op = plan.lower(replace(self.target, downward=self.down, taken=taken))
        if not _small(op):
            return None
        own = [span_of(store.source, store, False) for store in op.tiles[0].stores]
        found = self._sorted((*op.setup, *op.tiles[0].loads))
        held = self.loads[max(self.loads)]
        if found is None or not found.moved or len(held) + len(found.outside) > MOST_LOADS:
            return None
        elsewhere = [span_of(load.destination, load, True) for load, _ in found.moved]
        if any(meets(span, own) for span in elsewhere):
            return None
        tile = found.pointed(replace(op.tiles[0], loads=()))
        used = tuple(span for span in op.footprint if not meets(span, elsewhere))
        return replace(op, setup=(), tiles=(tile,), footprint=used, joined=True), found

    def _unused(self, op: LoweredOp, taken: int) -> int:
        """Bytes behind what is taken that a layer does not use, in whole steps of alignment."""
        whole = self.target.l1()
        if self.down:
            free = whole.limit - taken - max((high for _, high in op.footprint), default=whole.limit - taken)
        else:
            free = min((low for low, _ in op.footprint), default=whole.base + taken) - whole.base - taken
        return free // ALIGN * ALIGN

    def _take_stream(self, op: LoweredOp, later: Sequence[LayerPlan]) -> bool:
        """Adds a stream of weights whose row is in L1, if its room is free.

        It waits for all transfers, so what nobody reads behind it gives its room back.
        """
        loop = op.loop
        if not isinstance(loop, MxStream) or any(meets(span, self.held) for span in op.footprint):
            return False
        found = self._sorted(op.setup)
        if found is None or len(found.moved) != 2:
            return False
        at = loop.layout
        places = {load.destination: (load.bytes, to) for load, to in found.moved}
        codes, x = places.get(at.x, (0, 0))
        scales, x_scales = places.get(at.x_scales, (0, 0))
        if codes < 8 * loop.steps * loop.pieces or scales < loop.blocks * loop.pieces:
            return False  # the row is filled up with zeros
        tensors = {tensor.storage.address: tensor for plan in later for tensor in plan.reads()}
        read = [(start, start + tensor_bytes(tensor)) for start, tensor in tensors.items()]
        self.kept = [
            store
            for store in self.kept
            if meets(span_of(store.destination, store, True), read)
            and not meets(span_of(store.source, store, False), op.footprint)
        ]
        self.held = [span_of(store.source, store, False) for store in self.kept]
        self.stream = op.footprint + found.read
        self.loads[len(self.ops)] = ()
        moved = replace(loop, layout=replace(at, x=x, x_scales=x_scales))
        tiles = tuple(found.pointed(tile) for tile in op.tiles)
        footprint = op.footprint + found.read
        made = replace(op, setup=found.outside, tiles=tiles, footprint=footprint, loop=moved, joined=True)
        self._join(made, not self.down)
        return True

    def _take_move(self, op: LoweredOp) -> bool:
        """Adds a few transfers, whose results nobody finds in L1."""
        if op.bare:
            self.ops.append(op)
            self._add(op)
        return op.bare

    def _join(self, op: LoweredOp, down: bool) -> None:
        """Adds a layer that begins without waiting."""
        last = max(index for index, item in enumerate(self.ops) if not item.bare)
        self.ops[last] = replace(self.ops[last], continued=True)
        self.ops.append(op)
        self.last = down
        self._add(op)

    def _add(self, op: LoweredOp) -> None:
        """What a layer leaves behind."""
        stores = _stores(op)
        written = [span_of(store.destination, store, True) for store in stores]
        self.written += written
        self.kept = [
            store for store in self.kept if not meets(span_of(store.destination, store, True), written)
        ]
        sources = sorted(span_of(store.source, store, False) for store in stores)
        if op.kernel is not None and all(end <= start for (_, end), (start, _) in pairwise(sources)):
            self.kept += stores

    def _sorted(self, loads: Sequence[Transfer]) -> Reads | None:
        """What a layer loads; None if it is the chain's and not in L1."""
        outside: list[Transfer] = []
        moved: list[tuple[Transfer, int]] = []
        for load in loads:
            source = span_of(load.source, load, False)
            if not meets(source, self.written):
                outside.append(load)
                continue
            places = (_inside(load, store) for store in reversed(self.kept))
            inside = next((place for place in places if place is not None), None)
            if inside is None:
                return None
            moved.append((load, inside))
        return Reads(tuple(outside), tuple(moved))


@dataclass(frozen=True)
class Reads:
    """What a layer of a chain reads.

    Attributes:
        outside: Loads from DRAM.
        moved: Loads that do not take place, and where in L1 their bytes are.
    """

    outside: tuple[Transfer, ...]
    moved: tuple[tuple[Transfer, int], ...]

    @property
    def read(self) -> tuple[Span, ...]:
        """Ranges of L1."""
        return tuple((to, to + load.bytes) for load, to in self.moved)

    def pointed(self, tile: Tile) -> Tile:
        """A tile with arguments that point to the originals."""
        args = tuple(tuple(self._moved(word) for word in words) for words in tile.args)
        return replace(tile, args=args)

    def _moved(self, word: int) -> int:
        for load, to in self.moved:
            if load.destination <= word < load.destination + load.bytes:
                return word - load.destination + to
        return word


def _small(op: LoweredOp) -> bool:
    """Whether a layer is one tile that stays within L1, with arguments in registers."""
    if op.kernel is None or not op.contained or op.loop is not None or len(op.tiles) != 1:
        return False
    return all(len(words) <= REGISTERS for words in op.tiles[0].args)


def _leaves(op: LoweredOp) -> bool:
    """Whether others may begin behind a layer without waiting: a small one, a stream, attention of few rows."""
    return _small(op) or isinstance(op.loop, MxStream) or isinstance(op.kernel, AttentionTile)


def _stores(op: LoweredOp) -> tuple[Transfer, ...]:
    """What a layer writes to DRAM; a stream's sums of a matrix as one transfer where they stay in L1."""
    if op.kernel is None:
        return tuple(load for tile in op.tiles for load in tile.loads) + op.setup
    return merged(_each(op))


def _each(op: LoweredOp) -> Iterator[Transfer]:
    for tile in op.tiles:
        yield from tile.stores


def _inside(load: Transfer, store: Transfer) -> int | None:
    """Where in L1 what is loaded was stored from; None if that is not one piece."""
    if load.repeats > 1 or store.repeats > 1:
        return None
    offset = load.source - store.destination
    return store.source + offset if 0 <= offset <= store.bytes - load.bytes else None
