"""The compiler's own IR: a layer is a kernel, a loop over tiles, and operands with layout and address.

Every layer runs the same way (`potluck.compiler.codegen.cluster` emits it, `potluck.compiler.schedule.evaluate` runs
it in NumPy). Hart 0 fetches tile t+1 by DMA and stores tile t-1's result while all harts compute tile t:

    setup, loads of tile 0
    for t in tiles:  wait for the DMA; barrier
                     stores of tile t-1; loads of tile t+1
                     kernel(args of tile t)
    barrier; stores of the last tile

What the next layer loads and this one does not produce (its weights) comes while the last tile is computed, if
there is room (`potluck.compiler.schedule.overlap`).

A layer of an accelerator (`Offload`) is commands that hart 0 starts, a `Batch` at a time, and nothing that the harts
compute. Its batches begin in its own tiles or in those of the layers around it (`potluck.compiler.schedule.beside`).

Buffers that a load or the kernel writes therefore exist twice. Addresses of a tile are data, not code: a
record per tile, so the code is one loop whatever the shapes and the ragged last tile need nothing special.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler

MOST_BARE = 16
"""Transfers of a layer that are part of the code."""


@dataclass(frozen=True)
class Transfer:
    """One DMA command.

    Attributes:
        source: Address of the first byte read.
        destination: Address of the first byte written.
        bytes: Contiguous bytes per repetition.
        repeats: Repetitions.
        source_stride: Bytes between repetitions; 0 repeats the same bytes.
        destination_stride: Bytes between repetitions.
    """

    source: int
    destination: int
    bytes: int
    repeats: int = 1
    source_stride: int = 0
    destination_stride: int = 0

    @property
    def total(self) -> int:
        """Bytes moved."""
        return self.bytes * self.repeats

    def __str__(self) -> str:
        size = f"{self.bytes}"
        if self.repeats > 1:
            size += f" x {self.repeats} (+{self.source_stride:#x} -> +{self.destination_stride:#x})"
        return f"{self.source:#x} -> {self.destination:#x}: {size}"


class Memory(Protocol):
    """Bytes by address; the NumPy evaluation of a schedule reads and writes through it."""

    def view(self, address: int, count: int) -> NDArray[np.uint8]:
        """A writable view of ``count`` bytes."""
        ...


class TileKernel(Protocol):
    """A kernel as a layer uses it: arguments are words in a0, a1, ... ; s registers survive it.

    Where there are more than eight, t0 points to all of them, which stay where they are.
    """

    def emit(self, a: Assembler) -> None:
        """Appends the code."""
        ...

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """Does with NumPy, on memory, what the code does: the kernel's contract, bit for bit."""
        ...


class LayerLoop(Protocol):
    """Code of a layer that goes through its tiles, loads and stores included, without records."""

    def emit(self, a: Assembler, ahead: Callable[[], None]) -> None:
        """Appends the code behind the setup and the first tile's loads; ``ahead`` emits what the next layer needs."""
        ...


Span = tuple[int, int]
"""A range of memory: first address, first address behind."""


@dataclass(frozen=True)
class Group:
    """Commands of an accelerator that are not separated, and what they touch at most.

    Attributes:
        commands: How many.
        read: Range of DRAM.
        written: Range of DRAM.
    """

    commands: int
    read: Span
    written: Span


@dataclass(eq=False)
class Offload:
    """What an accelerator does of a layer.

    Attributes:
        commands: uint32 [n, words], in order; they lie in DRAM.
        address: Of the first one.
        groups: They make up all of the commands.
        run: Does with NumPy, on memory, what a range of the groups does.
    """

    commands: NDArray[np.uint32]
    address: int
    groups: tuple[Group, ...]
    run: Callable[[Memory, range], None]


@dataclass(frozen=True)
class Batch:
    """Groups of an offloaded layer that are started together.

    Attributes:
        layer: Index of the layer.
        groups: Which of its groups.
        count: Their commands.
        second: Whether the commands are in the second buffer of L1.
        load: What brings them there.
    """

    layer: int
    groups: range
    count: int
    second: bool
    load: Transfer


@dataclass(frozen=True)
class Tile:
    """One step of a layer's loop.

    Attributes:
        loads: Transfers that must be complete before the kernel starts.
        stores: Transfers of its results.
        args: Words for a0, a1, ... of every hart.
        name: Where in the iteration space, for the printed schedule.
        batch: What the accelerator starts, after the transfers beside this tile.
        waits: Index of the layer whose batch must have ended before these transfers.
    """

    loads: tuple[Transfer, ...]
    stores: tuple[Transfer, ...]
    args: tuple[tuple[int, ...], ...]
    name: str = ""
    batch: Batch | None = None
    waits: int | None = None


@dataclass(frozen=True)
class Loop:
    """One level of a tile loop nest: ``for name in range(0, extent, step)``."""

    name: str
    extent: int
    step: int

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(start, size) of every tile; the last may be smaller."""
        return ((start, min(self.step, self.extent - start)) for start in range(0, self.extent, self.step))

    def __len__(self) -> int:
        return -(-self.extent // self.step)

    def __str__(self) -> str:
        return f"{self.name} 0..{self.extent} step {self.step}"


@dataclass(frozen=True)
class Operand:
    """A tensor, or one part of it, as a layer sees it in memory.

    Attributes:
        role: ``input``, ``weights``, ``bias``, ``output``...
        tensor: Name of the ONNX tensor.
        format: ``FP32``, an element format, ``E8M0`` or ``BYTES``.
        layout: Order of the dimensions in memory, e.g. ``NHWC``.
        shape: Size of these dimensions.
        address: Of the first byte.
        bytes: Size in memory.
        region: ``dram`` or ``l1``.
    """

    role: str
    tensor: str
    format: str
    layout: str
    shape: tuple[int, ...]
    address: int
    bytes: int
    region: str = "dram"

    def __str__(self) -> str:
        shape = "x".join(str(dim) for dim in self.shape)
        what = f"{self.role:9s} {self.tensor} {self.format} {self.layout} {shape}"
        return f"{what} @{self.address:#x} ({self.bytes} B)"


@dataclass(frozen=True)
class LoweredOp:
    """One layer, ready for code generation.

    Attributes:
        name: Name of the ONNX node.
        op: Its operator.
        kernel: What a tile runs; None if the DMA or an accelerator does everything (then the tiles have no stores).
        loops: The tile loop nest, outermost first; ``tiles`` is it unrolled.
        setup: Transfers before the first tile (weights, borders).
        tiles: In order, at least one.
        operands: What it reads and writes.
        macs: Multiply-accumulates, padding not counted.
        format: Format of the products, ``fp32`` or an MX scheme.
        footprint: Ranges of L1 that it uses: (first address, first address behind).
        ahead: Transfers for the next layer that run while the last tile is computed.
        written: Ranges of DRAM that the kernel or an accelerator writes: (first address, first address behind).
        contained: Whether the kernel touches L1 only, so that the transfers tell all that the layer reads and writes.
        offload: What an accelerator does of it.
        waits_first: Index of the layer whose batch must have ended before the first transfers.
        waits_last: Likewise, before the stores of the last tile.
        loop: Code that goes through all tiles by itself; None: the loop over tile records.
        joined: Whether it has one tile, whose loads have come with those of earlier layers
            (`potluck.compiler.schedule.chains`).
        continued: Whether the next layer is joined to it.
    """

    name: str
    op: str
    kernel: TileKernel | None
    loops: tuple[Loop, ...]
    setup: tuple[Transfer, ...]
    tiles: tuple[Tile, ...]
    operands: tuple[Operand, ...] = field(default_factory=tuple)
    macs: int = 0
    format: str = "fp32"
    footprint: tuple[tuple[int, int], ...] = ()
    ahead: tuple[Transfer, ...] = ()
    written: tuple[tuple[int, int], ...] = ()
    contained: bool = False
    offload: Offload | None = None
    waits_first: int | None = None
    waits_last: int | None = None
    loop: LayerLoop | None = None
    joined: bool = False
    continued: bool = False

    @property
    def bare(self) -> bool:
        """Whether it is a few transfers and nothing else: who reads the result waits for them."""
        transfers = len(self.setup) + sum(len(tile.loads) for tile in self.tiles)
        return self.kernel is None and self.offload is None and not self.partners and transfers <= MOST_BARE

    @property
    def unrecorded(self) -> bool:
        """Whether its code knows its tiles without records."""
        return self.chained or self.bare or self.own_loop is not None

    @property
    def chained(self) -> bool:
        """Whether it is a layer of one tile in a chain."""
        return (self.joined or self.continued) and len(self.tiles) == 1

    @property
    def own_loop(self) -> LayerLoop | None:
        """The layer's own loop, unless something begins or is awaited beside its tiles."""
        return None if self.partners else self.loop

    @property
    def batches(self) -> list[Batch]:
        """What it starts, of its own or of another layer's."""
        return [tile.batch for tile in self.tiles if tile.batch]

    @property
    def partners(self) -> list[int]:
        """Indices of the layers whose batches it starts or awaits."""
        waits = (self.waits_first, self.waits_last, *(tile.waits for tile in self.tiles))
        found = {batch.layer for batch in self.batches} | {layer for layer in waits if layer is not None}
        return sorted(found)

    def beside(self, index: int) -> tuple[Transfer, ...]:
        """Transfers that run while tile ``index`` is computed."""
        stores = self.tiles[index - 1].stores if index else ()
        last = index + 1 == len(self.tiles)
        return (*stores, *(self.ahead if last else self.tiles[index + 1].loads))

    @property
    def bytes_moved(self) -> int:
        """Bytes that the DMA moves."""
        every = [*self.setup, *self.ahead]
        for tile in self.tiles:
            every += [*tile.loads, *tile.stores]
        return sum(transfer.total for transfer in every)


def describe(ops: Sequence[LoweredOp], tiles: int = 2) -> str:
    """The schedule as text.

    Args:
        ops: Layers in order.
        tiles: Tiles of each layer whose transfers are shown.
    """
    lines = []
    for op in ops:
        lines.append(f"{op.name}: {op.op} {op.format}, {op.macs} MAC, {op.bytes_moved} B by DMA")
        lines.append(f"  kernel {op.kernel}")
        lines.append(f"  for {', '.join(map(str, op.loops)) or 'once'}: {len(op.tiles)} tiles")
        lines += [f"  {operand}" for operand in op.operands]
        if op.waits_first is not None:
            lines.append(f"  await {ops[op.waits_first].name}")
        lines += [f"  setup {transfer}" for transfer in op.setup]
        for tile in op.tiles[:tiles]:
            lines.append(f"  tile {tile.name}")
            if tile.waits is not None:
                lines.append(f"    await {ops[tile.waits].name}")
            lines += [f"    load  {transfer}" for transfer in tile.loads]
            if tile.batch:
                lines.append(f"    start {ops[tile.batch.layer].name}: {tile.batch.count} commands")
            for hart, args in enumerate(tile.args):
                lines.append(f"    hart {hart}({', '.join(f'{word:#x}' for word in args)})")
            lines += [f"    store {transfer}" for transfer in tile.stores]
        if len(op.tiles) > tiles:
            lines.append(f"  ... {len(op.tiles) - tiles} more tiles")
        lines += [f"  ahead {transfer}" for transfer in op.ahead]
        if op.waits_last is not None:
            lines.append(f"  await {ops[op.waits_last].name}")
    return "\n".join(lines) + "\n"
