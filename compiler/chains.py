"""Small layers behind each other keep what they compute in L1.

A layer of one tile whose inputs a layer right before it has just computed reads them where they were computed: it is
lowered into the room of L1 that the chain so far leaves, and the arguments that point to a copy from DRAM are made to
point to the original. What it needs besides comes before the chain's first layer begins. Results still go to DRAM,
while the next layer runs; nobody waits for them. Every layer stays a layer, with code and cycles of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from potluck.compiler.lowering.base import LayerPlan, Target
from potluck.compiler.lowering.pointwise import PointwisePlan
from potluck.compiler.lowering.reduction import ReductionPlan
from potluck.compiler.lowering.rotation import RotatePlan
from potluck.compiler.lowering.stream import StreamPlan
from potluck.compiler.overlap import meets, span_of
from potluck.compiler.schedule import LoweredOp, Transfer
from potluck.isa.errors import MachineError
from potluck.isa.progress import task

MOST_LOADS = 24
"""Transfers in front of a chain."""
MOST_HARTS = 4
"""Harts whose arguments are part of the code."""


def lowered(plans: Sequence[LayerPlan], target: Target) -> list[LoweredOp]:
    """Every layer, chains of them sharing L1; layers and chains take turns at allocating from its two ends.

    Raises:
        MachineError: A layer does not fit L1.
    """
    ops: list[LoweredOp] = []
    at = turn = 0
    alone = (
        target.machine.pot is not None or target.harts > MOST_HARTS
    )  # an accelerator's batches look for tiles
    with task("layers planned", len(plans)) as tell:
        while at < len(plans):
            tell(at, None)
            side = replace(target, downward=bool(turn % 2))
            chain = Chain([plans[at].lower(side)])
            while not alone and at + len(chain.ops) < len(plans) and chain.open:
                plan = plans[at + len(chain.ops)]
                if not isinstance(plan, StreamPlan | PointwisePlan | ReductionPlan | RotatePlan):
                    break
                try:
                    op = plan.lower(replace(side, taken=chain.taken(side)))
                except MachineError:
                    break
                if not chain.take(op):
                    break
            ops += chain.finished()
            at += len(chain.ops)
            turn += 1
    return ops


@dataclass
class Chain:
    """Layers so far.

    Attributes:
        ops: They; the first has the loads of all.
        loads: What the first has to load for the others.
    """

    ops: list[LoweredOp]
    loads: list[Transfer] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether the last layer can have others behind it."""
        return _simple(self.ops[-1])

    def taken(self, target: Target) -> int:
        """Bytes of L1, from the end at which the chain began."""
        whole = target.l1()
        spans = [span for op in self.ops for span in op.footprint]
        if target.downward:
            return whole.limit - min(low for low, _ in spans)
        return max(high for _, high in spans) - whole.base

    def take(self, op: LoweredOp) -> bool:
        """Adds a layer, if its inputs are in L1 or not the chain's."""
        if not _simple(op):
            return False
        stores = [store for earlier in self.ops for store in earlier.tiles[0].stores]
        own = [span_of(store.source, store, False) for store in op.tiles[0].stores]
        outside: list[Transfer] = []
        moved: list[tuple[Transfer, int]] = []
        for load in (*op.setup, *op.tiles[0].loads):
            source = span_of(load.source, load, False)
            writers = [store for store in stores if meets(source, [span_of(store.destination, store, True)])]
            if not writers:
                outside.append(load)
                continue
            inside = _inside(load, writers[-1])
            if inside is None or meets(span_of(load.destination, load, True), own):
                return False
            moved.append((load, inside))
        if not moved or len(self.loads) + len(outside) > MOST_LOADS:
            return False
        self.loads += outside
        tile = op.tiles[0]
        args = tuple(tuple(_moved(word, moved) for word in words) for words in tile.args)
        read = tuple((to, to + load.bytes) for load, to in moved)
        self.ops[-1] = replace(self.ops[-1], continued=True)
        self.ops.append(
            replace(
                op,
                setup=(),
                tiles=(replace(tile, loads=(), args=args),),
                footprint=op.footprint + read,
                joined=True,
            )
        )
        return True

    def finished(self) -> list[LoweredOp]:
        """The layers, the first one loading for all."""
        first, *others = self.ops
        return [replace(first, setup=(*first.setup, *self.loads)), *others]


def _simple(op: LoweredOp) -> bool:
    """Whether a layer is one tile that stays within L1."""
    return op.kernel is not None and op.contained and op.loop is None and len(op.tiles) == 1


def _inside(load: Transfer, store: Transfer) -> int | None:
    """Where in L1 what is loaded was stored from; None if that is not one piece."""
    if load.repeats > 1 or store.repeats > 1:
        return None
    offset = load.source - store.destination
    return store.source + offset if 0 <= offset <= store.bytes - load.bytes else None


def _moved(word: int, moved: Sequence[tuple[Transfer, int]]) -> int:
    """An argument, which points to the original if it pointed to a copy."""
    for load, to in moved:
        if load.destination <= word < load.destination + load.bytes:
            return word - load.destination + to
    return word
