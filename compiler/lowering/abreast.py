"""Layers that run side by side, each on its own cores and in its own part of L1, as one layer.

Tile t of the joint layer is tile t of every member: transfers of all, and for each core the arguments of its member,
with a word that says whose kernel it runs. A member with fewer tiles is done early, and its cores wait for the others.
What a member computes is what it would compute alone on so many cores, so no bit changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from potluck.compiler.lowering.base import REGISTERS, SLACK, Constant, LayerPlan, Target, Tensor
from potluck.compiler.lowering.conv import ConvPlan
from potluck.compiler.lowering.tiling import TRANSFER, Cost
from potluck.compiler.schedule.layer import Loop, LoweredOp, Memory, Tile, TileKernel, Transfer
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import MachineError
from potluck.isa.manifest import ABREAST


@dataclass(frozen=True)
class AbreastTile:
    """Arguments: those of a kernel, filled up to `words`, and its number from 1 on; 0: none, the core waits.

    Attributes:
        kernels: Each with the number of its arguments.
    """

    kernels: tuple[tuple[TileKernel, int], ...]

    @property
    def words(self) -> int:
        """Arguments in front of the number: at least those in registers, so that all are in memory."""
        return max(REGISTERS, *(count for _, count in self.kernels))

    def emit(self, a: Assembler) -> None:
        """See `TileKernel`."""
        done = a.fresh("abreast_done")
        a("lwu", "t2", f"{4 * self.words}(t0)")
        for number, (kernel, _) in enumerate(self.kernels, 1):
            mine, other = a.fresh("abreast_mine"), a.fresh("abreast_other")
            a("li", "t1", number)
            a("beq", "t2", "t1", mine)
            a("j", other)  # a kernel is longer than a branch reaches
            a.label(mine)
            kernel.emit(a)
            a("j", done)
            a.label(other)
        a.label(done)

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        number = args[self.words]
        if number:
            kernel, words = self.kernels[number - 1]
            kernel.evaluate(memory, args[:words])


@dataclass(frozen=True)
class Member:
    """A layer and its part of the machine.

    Attributes:
        plan: For so many cores.
        cores: How many.
    """

    plan: ConvPlan
    cores: int


@dataclass(eq=False)
class AbreastPlan(LayerPlan):
    """Layers side by side.

    Attributes:
        members: At least two, of one format, none of which needs another; the first has the first cores.
        target: The machine.
    """

    members: tuple[Member, ...]
    target: Target

    def __post_init__(self) -> None:
        plans = [member.plan for member in self.members]
        self.name, self.op = ABREAST.join(p.name for p in plans), ABREAST.join(p.op for p in plans)

    def reads(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return [tensor for member in self.members for tensor in member.plan.reads()]

    def writes(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return [tensor for member in self.members for tensor in member.plan.writes()]

    def constants(self) -> Sequence[Constant]:
        """See `LayerPlan`."""
        return [item for member in self.members for item in member.plan.constants()]

    def fill_bytes(self) -> dict[str, int]:
        """See `LayerPlan`."""
        found: dict[str, int] = {}
        for member in self.members:
            for name, size in member.plan.fill_bytes().items():
                found[name] = max(size, found.get(name, 0))
        return found

    @property
    def estimate(self) -> float:
        """See `LayerPlan`."""
        return together([member.plan.cost for member in self.members])

    def check(self) -> None:
        """Refuses members whose buffers leave no room for each other.

        Raises:
            MachineError: Says how many bytes they need.
        """
        need = [member.plan.sizes.l1_bytes(member.plan.tiling) for member in self.members]
        have = self.target.l1().size - SLACK
        if sum(need) > have:
            said = ", ".join(
                f"{member.plan.name!r} takes {size}" for member, size in zip(self.members, need, strict=True)
            )
            raise MachineError(
                f"their buffers do not fit side by side: {said} bytes, of which there are {have}",
                key=self.target.working_key,
            )

    def lower(self, target: Target) -> LoweredOp:
        """See `LayerPlan`."""
        whole, taken = target.l1(), target.taken
        ops: list[LoweredOp] = []
        for member in self.members:
            op = member.plan.lower(replace(target, cores=member.cores, taken=taken))
            ops.append(op)
            if target.downward:
                taken = target.taken + whole.limit - min(low for low, _ in op.footprint)
            else:
                taken = target.taken + max(high for _, high in op.footprint) - whole.base
        kernels = list(dict.fromkeys((op.kernel, _words(op)) for op in ops if op.kernel is not None))
        numbers = [kernels.index((op.kernel, _words(op))) + 1 for op in ops if op.kernel is not None]
        kernel = AbreastTile(tuple(kernels))
        tiles = tuple(
            self._tile(ops, numbers, step, target.harts, kernel.words)
            for step in range(max(len(op.tiles) for op in ops))
        )
        return LoweredOp(
            self.name, self.op, kernel, (Loop("step", len(tiles), 1),),
            tuple(transfer for op in ops for transfer in op.setup), tiles,
            tuple(operand for op in ops for operand in op.operands), sum(op.macs for op in ops), ops[0].format,
            tuple(span for op in ops for span in op.footprint),
            written=tuple(span for op in ops for span in op.written),
            contained=all(op.contained for op in ops),
        )  # fmt: skip

    def _tile(
        self, ops: Sequence[LoweredOp], numbers: Sequence[int], step: int, harts: int, most: int
    ) -> Tile:
        """A tile of every member that has one; a kernel has ``most`` arguments."""
        loads: list[Transfer] = []
        stores: list[Transfer] = []
        names: list[str] = []
        args: list[tuple[int, ...]] = []
        for op, number, member in zip(ops, numbers, self.members, strict=True):
            if step >= len(op.tiles):
                args += [(0,) * (most + 1)] * member.cores
                continue
            tile = op.tiles[step]
            loads += tile.loads
            stores += tile.stores
            names.append(f"{op.name}: {tile.name}")
            args += [(*words, *(0,) * (most - len(words)), number) for words in tile.args]
        args += [(0,) * (most + 1)] * (harts - len(args))
        return Tile(tuple(loads), tuple(stores), tuple(args), ABREAST.join(names))


def _words(op: LoweredOp) -> int:
    """Arguments of a layer's kernel."""
    return len(op.tiles[0].args[0])


def together(costs: Sequence[Cost]) -> float:
    """Estimated cycles of layers side by side.

    A step is as long as its longest tile, and the commands of all its transfers are one core's; there is one DMA.
    """
    compute, before = 0.0, 0
    for tiles in sorted({cost.tiles for cost in costs}):
        running = [(cost.compute / cost.tiles, cost.transfers) for cost in costs if cost.tiles > before]
        longest = max(running)
        others = sum(transfers for _, transfers in running) - longest[1]
        compute += (tiles - before) * (longest[0] + TRANSFER * others)
        before = tiles
    return max(compute, sum(cost.moved for cost in costs)) + sum(cost.exposed for cost in costs)
