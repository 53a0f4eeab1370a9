"""What is known of an instruction besides its cycles: text, symbol, layer, unit."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.elf import Program
from potluck.isa.insn import Kind
from potluck.isa.manifest import Layer
from potluck.isa.operands import format_operands, order_suffix
from potluck.sim.blocks import BlockStore
from potluck.sim.timing import rows as tr

UNITS = ("core", "LSU", "FP LSU", "VFU", "VLSU", "VSLDU", "VALU")
"""Who executes: the core itself, its load/store unit, that of the FP sequencer, and the vector unit's units for
arithmetic, memory, slides, and integers where they have a unit of their own."""
CORE, LSU, FP_LSU, VFU = range(4)
_UNIT_OF_PATH = {tr.LOAD: LSU, tr.STORE: LSU, tr.FLOAT_LOAD: FP_LSU, tr.FLOAT_STORE: FP_LSU, tr.FLOAT: VFU}
_VECTOR = (tr.VECTOR, tr.VECTOR_LOAD, tr.VECTOR_STORE)


@dataclass(frozen=True, slots=True)
class Line:
    """One instruction.

    Attributes:
        pc: its address.
        end: the address after it.
        text: as assembly; a branch's target by name, if it has one.
        mnemonic: of the row that executes it (a compressed instruction is what it expands to).
        symbol: the nearest before it, or "".
        offset: of ``pc`` from the symbol, or from 0.
        layer: of the program's manifest, or "".
        unit: who executes it, an index of ``UNITS``.
        leaves: whether it may go on elsewhere than at ``end``.
    """

    pc: int
    end: int
    text: str
    mnemonic: str
    symbol: str
    offset: int
    layer: str
    unit: int
    leaves: bool

    @property
    def place(self) -> str:
        """Symbol and offset, or the address."""
        return (
            f"{self.symbol}+{self.offset:#x}"
            if self.symbol and self.offset
            else self.symbol or f"{self.pc:#x}"
        )


class LayerOf:
    """Which layer a pc belongs to; the last index means none."""

    def __init__(self, layers: list[Layer]) -> None:
        self._layers = layers
        order = np.argsort([layer.start for layer in layers], kind="stable")
        self._starts = np.array([layers[k].start for k in order], np.uint64)
        self._ends = np.array([0, *(layers[k].end for k in order)], np.uint64)
        self._indices = np.array([len(layers), *order], np.int64)

    def __call__(self, pc: int) -> int:
        """The layer's index."""
        return int(self.all(np.array([pc], np.uint64))[0])

    def layer(self, pc: int) -> Layer | None:
        """The layer itself; None: it is code of no layer."""
        number = self(pc)
        return self._layers[number] if number < len(self._layers) else None

    def all(self, pcs: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The layers' indices, int64 [n], for pcs [n]."""
        place = np.searchsorted(self._starts, pcs, side="right")
        return self._indices[np.where(pcs < self._ends[place], place, 0)]


class Listing:
    """The instructions of a block store by row number."""

    def __init__(self, program: Program, store: BlockStore) -> None:
        self._store, self._layer_of = store, LayerOf(program.manifest.layers)
        self._sections = program.sections
        symbols = sorted((address, name) for name, address in program.symbols.items() if name)
        self._addresses, self._names = [a for a, _ in symbols], [name for _, name in symbols]
        self._firsts = store.arrays.info[: len(store.blocks), 0].tolist()
        self._known: dict[int, Line] = {}

    def __getitem__(self, row: int) -> Line:
        """The instruction of a row."""
        if row not in self._known:
            self._known[row] = self._line(row)
        return self._known[row]

    def symbol(self, pc: int) -> tuple[str, int]:
        """The symbol at or nearest before an address in the same section, and the distance; ("", pc) if none."""
        section = next((s for s in self._sections if s.address <= pc < s.end), None)
        index = bisect_right(self._addresses, pc) - 1
        if section is None or index < 0 or self._addresses[index] < section.address:
            return "", pc
        return self._names[index], pc - self._addresses[index]

    def _line(self, row: int) -> Line:
        block = self._store.blocks[bisect_right(self._firsts, row) - 1]
        index = row - self._firsts[block.number]
        insn, fields = block.insns[index]
        pc, end = block.pcs[index : index + 2]
        text = f"{insn.mnemonic}{order_suffix(fields)} {format_operands(insn, fields)}".rstrip()
        if "off" in fields:
            target = pc + fields["off"]
            name, distance = self.symbol(target)
            text += f"  # {name}{f'+{distance:#x}' if distance else ''}" if name else f"  # {target:#x}"
        layer = self._layer_of.layer(pc)
        symbol, offset = self.symbol(pc)
        timing = self._store.arrays.timing_rows[row]
        path = int(timing[tr.PATH])
        unit = VFU + int(timing[tr.UNIT]) if path in _VECTOR else _UNIT_OF_PATH.get(path, CORE)
        leaves = insn.kind in (Kind.BRANCH, Kind.JUMP, Kind.SYSTEM)
        known = layer.name if layer else ""
        return Line(pc, end, text, insn.mnemonic, symbol, offset, known, unit, leaves)


__all__ = ["CORE", "FP_LSU", "LSU", "UNITS", "VFU", "LayerOf", "Line", "Listing"]
