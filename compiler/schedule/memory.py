"""Where things lie: DRAM buffers that share memory when they do not live at the same time, and an L1 stack.

DRAM from the bottom: the program's text (codegen), constants (weights, tile records), activations.
Activations are placed by first fit in the order of the layers, with the lifetime of each known from its
first write to its last read; a network's inputs and outputs live from start to end, so they can be read
after the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from potluck.isa.errors import MachineError

ALIGN = 64
"""Bytes: the DMA's width, and a cache line everywhere else."""


def align(value: int, to: int = ALIGN) -> int:
    """``value`` rounded up to a multiple of ``to``."""
    return -(-value // to) * to


@dataclass(eq=False)
class Storage:
    """A block of DRAM that is placed once its lifetime is known.

    Attributes:
        name: Of the tensor, for messages and the manifest.
        bytes: Size.
        address: Set by `place`.
        first: Index of the layer that writes it first; -1 before the first layer.
        last: Index of the layer that reads it last.
    """

    name: str
    bytes: int
    address: int = -1
    first: int = 1 << 30
    last: int = -1

    @property
    def used(self) -> bool:
        """Whether a layer, or the world outside, reads or writes it."""
        return self.first <= self.last

    def live(self, layer: int) -> None:
        """Notes that a layer reads or writes it."""
        self.first, self.last = min(self.first, layer), max(self.last, layer)


def place(storages: Sequence[Storage], base: int, limit: int) -> int:
    """Gives every storage an address so that no two that live at the same time overlap.

    Largest first, each at the lowest address that is free during its life (Pisarchyk and Lee 2020, "greedy by
    size").

    Args:
        storages: With lifetimes.
        base: Lowest address.
        limit: First address beyond the memory.

    Returns:
        The first address beyond all of them.

    Raises:
        MachineError: They do not fit.
    """
    placed: list[Storage] = []
    end = base
    for storage in sorted(storages, key=lambda item: (-item.bytes, item.first)):
        address = align(base)
        rivals = (other for other in placed if other.first <= storage.last and storage.first <= other.last)
        for other in sorted(rivals, key=lambda item: item.address):
            if address + storage.bytes <= other.address:
                break
            address = max(address, align(other.address + other.bytes))
        storage.address = address
        end = max(end, address + storage.bytes)
        placed.append(storage)
    if end > limit:
        raise MachineError(
            f"the network needs DRAM up to {end:#x}, the machine's ends at {limit:#x}",
            key="memory.dram_bytes",
            hint="Give the machine more DRAM or the network a smaller batch",
        )
    return end


@dataclass
class L1:
    """A bump allocator for one layer.

    Layers take turns at allocating from the bottom and from the top: then the weights of the next layer often find
    room while a layer still runs.

    Attributes:
        base: First address.
        limit: First address that is not ours (tile records and stacks are above).
        downward: Allocate from the top.
        taken: (address, first address behind) of what was allocated.
        key: Machine key of its size.
    """

    base: int
    limit: int
    downward: bool = False
    taken: list[tuple[int, int]] = field(default_factory=list)
    key: str = "memory.l1_bytes"

    def __post_init__(self) -> None:
        self._low, self._high = align(self.base), self.limit

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self.limit - self.base

    def take(self, name: str, size: int) -> int:
        """Address of a new buffer.

        Raises:
            MachineError: L1 is full; planners check sizes before, so the layer is too large for L1.
        """
        address = (self._high - size) // ALIGN * ALIGN if self.downward else self._low
        if address < self._low or address + size > self._high:
            raise MachineError(
                f"{name} of {size} bytes does not fit in what is left of L1, {self._high - self._low} bytes",
                key=self.key,
            )
        if self.downward:
            self._high = address
        else:
            self._low = align(address + size)
        self.taken.append((address, address + size))
        return address
