"""What a section holds before addresses are known, and how addresses are found: relaxation and fixups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from potluck.isa.assembly.expressions import Expression, Node, evaluate, high20, low12
from potluck.isa.errors import ProgramError
from potluck.isa.insn import Insn
from potluck.isa.operands import finish
from potluck.isa.table import TABLE

NOP, C_NOP = b"\x13\x00\x00\x00", b"\x01\x00"
_INVERSE = {"beq": "bne", "bne": "beq", "blt": "bge", "bge": "blt", "bltu": "bgeu", "bgeu": "bltu"}


@dataclass(frozen=True, slots=True)
class Where:
    """A place in the source, for messages."""

    line: int
    text: str

    def error(self, problem: object) -> ProgramError:
        """The error that names the place."""
        at = f"line {self.line}: " if self.line else ""
        return ProgramError(f"{at}`{self.text}`: {problem}")


@dataclass(slots=True)
class Fixup:
    """Bytes of a run that wait for symbols: an instruction (``insn`` set) or ``size`` bytes of data."""

    offset: int
    values: dict[str, Expression]
    where: Where
    insn: Insn | None = None
    size: int = 4


@dataclass(slots=True)
class Run:
    """Bytes of fixed length."""

    data: bytearray = field(default_factory=bytearray)
    fixups: list[Fixup] = field(default_factory=list)


@dataclass(slots=True)
class Jump:
    """A pc-relative transfer whose length depends on the distance: 4 bytes, or 8 when ``long``.

    A long branch is the inverted branch over a ``jal``; a long call or tail call is ``auipc`` and ``jalr``.
    """

    insn: Insn
    values: dict[str, Expression]
    where: Where
    far: str = ""  # scratch register number of a call's auipc as text; empty for branches and plain jumps
    long: bool = False

    @property
    def reach(self) -> int:
        """Distances below this are short."""
        return 1 << (20 if self.insn.mnemonic == "jal" else 12)

    def emit(self, distance: int) -> bytes:
        """The words for a distance.

        Raises:
            ValueError: out of reach in any form.
        """
        values = {name: value for name, value in self.values.items() if isinstance(value, int)}
        if not self.far and not -(1 << 20) <= distance - 4 * self.long < (1 << 20) - 4 * self.long:
            raise ValueError(f"the target is {distance} bytes away: beyond 1 MiB use tail or call")
        if not self.long:
            return _word(self.insn, {**values, "off": distance})
        if self.far:
            upper = _word(TABLE["auipc"], {"rd": int(self.far), "imm": high20(distance)})
            return upper + _word(
                TABLE["jalr"], {"rd": values["rd"], "rs1": int(self.far), "imm": low12(distance)}
            )
        inverted = _word(TABLE[_INVERSE[self.insn.mnemonic]], {**values, "off": 8})
        return inverted + _word(TABLE["jal"], {"rd": 0, "off": distance - 4})


@dataclass(slots=True)
class Align:
    """Padding up to a multiple of ``bytes``; ``fill`` None means nops."""

    bytes: int
    fill: int | None = 0


Item = Run | Jump | Align


@dataclass(slots=True)
class SectionSource:
    """A section under construction."""

    name: str
    executable: bool = False
    writable: bool = True
    address: int | None = None  # given by the user
    items: list[Item] = field(default_factory=list)

    def run(self) -> Run:
        """The run to append to."""
        if not self.items or not isinstance(self.items[-1], Run):
            self.items.append(Run())
        last = self.items[-1]
        assert isinstance(last, Run)
        return last

    def here(self) -> tuple[int, int]:
        """Item and offset of the next byte."""
        run = self.run()
        return len(self.items) - 1, len(run.data)


def place(section: SectionSource, base: int) -> tuple[list[int], int]:
    """Address of every item from ``base`` on, and of the end."""
    addresses = []
    for item in section.items:
        addresses.append(base)
        if isinstance(item, Run):
            base += len(item.data)
        elif isinstance(item, Jump):
            base += 8 if item.long else 4
        else:
            base += -base % item.bytes
    return addresses, base


def alignment(section: SectionSource) -> int:
    """What the section's start must be a multiple of."""
    return max([64, *(item.bytes for item in section.items if isinstance(item, Align))])


def relax(section: SectionSource, base: int, lookup: Callable[[str, int], int]) -> bool:
    """Lengthen the jumps that do not reach; whether there was one. ``lookup`` takes name and address."""
    changed = False
    addresses, _ = place(section, base)
    for item, address in zip(section.items, addresses, strict=True):
        if isinstance(item, Jump) and not item.long:
            distance = _distance(item, address, lookup)
            if not -item.reach <= distance < item.reach and (item.far or item.insn.mnemonic != "jal"):
                item.long = changed = True
    return changed


def _distance(jump: Jump, address: int, lookup: Callable[[str, int], int]) -> int:
    try:
        return evaluate(jump.values["off"], lambda name: lookup(name, address)) - address
    except ValueError as problem:
        raise jump.where.error(problem) from None


def contents(section: SectionSource, base: int, lookup: Callable[[str, int], int]) -> bytes:
    """The section's bytes at their final addresses.

    Raises:
        ProgramError: a value does not fit or a symbol is unknown; names the line.
    """
    addresses, end = place(section, base)
    data = bytearray(end - base)
    for item, address in zip(section.items, addresses, strict=True):
        at = address - base
        if isinstance(item, Run):
            data[at : at + len(item.data)] = item.data
            for fixup in item.fixups:
                chunk = _resolve(fixup, address + fixup.offset, lookup)
                data[at + fixup.offset : at + fixup.offset + len(chunk)] = chunk
        elif isinstance(item, Jump):
            distance = _distance(item, address, lookup)
            try:
                data[at : at + (8 if item.long else 4)] = item.emit(distance)
            except ValueError as problem:
                raise item.where.error(problem) from None
        else:
            size = -address % item.bytes
            if item.fill is None:
                data[at : at + size] = bytes(size % 2) + C_NOP * (size % 4 // 2) + NOP * (size // 4)
            else:
                data[at : at + size] = bytes([item.fill]) * size
    return bytes(data)


def _resolve(fixup: Fixup, address: int, lookup: Callable[[str, int], int]) -> bytes:
    try:
        values = {name: evaluate(value, lambda n: lookup(n, address)) for name, value in fixup.values.items()}
        if fixup.insn:
            return _word(fixup.insn, values)
        value = values["data"]
        if not -(1 << 8 * fixup.size - 1) <= value < 1 << 8 * fixup.size:
            raise ValueError(f"{value:#x} does not fit into {fixup.size} bytes")
        return (value & (1 << 8 * fixup.size) - 1).to_bytes(fixup.size, "little")
    except ValueError as problem:
        raise fixup.where.error(problem) from None


def pcrel_targets(section: SectionSource, base: int) -> Iterator[tuple[int, Expression]]:
    """Addresses of instructions with ``%pcrel_hi`` and what they refer to."""
    addresses, _ = place(section, base)
    for item, address in zip(section.items, addresses, strict=True):
        if isinstance(item, Run):
            for fixup in item.fixups:
                for value in fixup.values.values():
                    if isinstance(value, Node) and value.operation == "pcrel_hi":
                        yield address + fixup.offset, value.arguments[0]


def _word(insn: Insn, values: dict[str, int]) -> bytes:
    return insn.encode(finish(insn, values)).to_bytes(insn.length, "little")
