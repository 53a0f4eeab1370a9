"""From sections under construction to an :class:`Object`: addresses, relaxation, symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from potluck.isa.assembly.disassembler import disassemble
from potluck.isa.assembly.expressions import Expression, evaluate
from potluck.isa.assembly.layout import SectionSource, alignment, contents, pcrel_targets, place, relax
from potluck.isa.elf import Program, Section
from potluck.isa.manifest import Manifest

Place = tuple[SectionSource, int, int]
"""Section, index of the item, offset in it."""


@dataclass(frozen=True)
class Object:
    """An assembled program.

    Attributes:
        sections: by name, in order of address.
        symbols: addresses and constants by name.
        entry: address of ``_start``, or the start of the text.
        comments: remarks of the generator by address.
    """

    sections: dict[str, Section]
    symbols: dict[str, int]
    entry: int
    comments: dict[int, str] = field(default_factory=dict)

    @property
    def text(self) -> bytes:
        """The code."""
        return self.sections[".text"].data

    def listing(self, encoding: str = "spatz") -> str:
        """The text disassembled, with labels and comments; ``encoding`` as the assembler was given."""
        section = self.sections[".text"]
        return disassemble(section.data, section.address, self.symbols, self.comments, encoding)

    def program(self, manifest: Manifest | None = None, more: list[Section] | None = None) -> Program:
        """As an executable program, with further sections (weights, say)."""
        return Program(
            [*self.sections.values(), *(more or [])], dict(self.symbols), self.entry, manifest or Manifest()
        )


def link_sections(
    sources: Sequence[SectionSource],
    labels: Mapping[str, Place],
    constants: Mapping[str, int],
    comments: Sequence[tuple[Place, str]],
    text_base: int,
    data_base: int | None,
) -> Object:
    """Find addresses, relax jumps until nothing changes, resolve symbols.

    Raises:
        ProgramError: an undefined symbol, a value that does not fit.
    """
    sections = [s for s in sources if s.name == ".text" or s.items[1:] or s.run().data]
    while True:
        symbols = _Symbols(sections, labels, constants, _bases(sections, text_base, data_base))
        # A list: every section is to be relaxed, not only up to the first that changes.
        if not any([relax(s, symbols.bases[s.name], symbols.find) for s in sections]):
            break
    bases = symbols.bases
    done = {
        s.name: Section(
            s.name, bases[s.name], contents(s, bases[s.name], symbols.find), s.executable, s.writable
        )
        for s in sorted(sections, key=lambda s: bases[s.name])
    }
    remarks: dict[int, str] = {}
    for where, text in comments:
        address = symbols.address(where)
        remarks[address] = f"{remarks[address]}; {text}" if address in remarks else text
    public = {name: value for name, value in symbols.values.items() if not name.startswith(".")}
    return Object(done, public, symbols.values.get("_start", bases[".text"]), remarks)


class _Symbols:
    """Symbol values under one assignment of base addresses."""

    def __init__(
        self,
        sections: Sequence[SectionSource],
        labels: Mapping[str, Place],
        constants: Mapping[str, int],
        bases: dict[str, int],
    ) -> None:
        self.bases = bases
        self._items = {s.name: place(s, bases[s.name])[0] for s in sections}
        self.values = {**constants, **{name: self.address(where) for name, where in labels.items()}}
        self._pcrel: dict[int, Expression] = {}
        for s in sections:
            self._pcrel.update(pcrel_targets(s, bases[s.name]))

    def address(self, where: Place) -> int:
        """Address of a place; a label in an empty section is where the section would be."""
        section, item, offset = where
        items = self._items.get(section.name)
        return items[item] + offset if items else section.address or 0

    def find(self, name: str, here: int) -> int:
        """A symbol's value, ``.``, or what ``%pcrel_lo NAME`` stands for (see ``expressions.evaluate``)."""
        if name == ".":
            return here
        if name.startswith("%pcrel_lo "):
            at = self.values.get(name.removeprefix("%pcrel_lo "), -1)
            if at not in self._pcrel:
                raise ValueError(f"{name[11:]!r} is not the label of an auipc with %pcrel_hi")
            return evaluate(self._pcrel[at], lambda inner: self.find(inner, at)) - at
        if name not in self.values:
            raise ValueError(f"the symbol {name!r} is not defined")
        return self.values[name]


def _bases(sections: list[SectionSource], text_base: int, data_base: int | None) -> dict[str, int]:
    text = sections[0]
    bases = {text.name: text.address if text.address is not None else text_base}
    _, end = place(text, bases[text.name])
    end = end if data_base is None else data_base
    for section in sections[1:]:
        step = alignment(section)
        base = section.address if section.address is not None else end + -end % step
        bases[section.name] = base
        if section.address is None:
            _, end = place(section, base)
    return bases
