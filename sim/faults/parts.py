"""A program's constants in DRAM as parts of one format each, from the ELF file's manifest.

A part is whole sectors. Fill patterns between the buffers are no part: nothing in the manifest says what they are. Text
and pointers are parts where a campaign asks for them (`potluck.sim.faults.contents`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.elf import Program
from potluck.isa.errors import DataError
from potluck.isa.formats.elements import FORMATS, ElementFormat
from potluck.isa.manifest import Buffer
from potluck.sim.dram.kind import SECTOR
from potluck.sim.ecc.filters import codes_in
from potluck.sim.ecc.interface import Words, as_words

Role = Literal["elements", "scales", "other"]
"""Values, the scales of MX blocks, or what has no number format (integer constants, level tables)."""

Content = Literal["constants", "text", "pointers"]
"""What the manifest names, instructions, or what tells the program where its data are."""

TABLE_LAYOUT = "table, HWIO halves"
"""Layout of weights behind a table of their sixteen levels, int16, which is one sector."""


@dataclass(frozen=True, eq=False)
class CodeBook:
    """Codes whose values a table gives: what of an `ElementFormat` ranges and clamps use.

    Attributes:
        name: of the format.
        levels: value of each of the 2^bits codes; NaN of those that no quantizer writes.
        bits: of a code, 4 or 8.
    """

    name: str
    levels: NDArray[np.float64]
    bits: int = 4

    def decode(self, codes: ArrayLike) -> NDArray[np.float64]:
        """Values of codes."""
        return self.levels[np.asarray(codes, np.intp)]

    def encode(self, values: ArrayLike) -> NDArray[np.uint8]:
        """The lowest code of the nearest level."""
        distance = np.abs(np.asarray(values, np.float64)[..., None] - self.levels)
        return np.asarray(np.nanargmin(distance, axis=-1), np.uint8)


@dataclass(frozen=True, eq=False)
class Part:
    """Sectors of one format.

    Attributes:
        name: of the buffer; a level table's ends with ``.table``.
        role: see `Role`.
        format: as the manifest names it.
        element: number format, None of role ``other``.
        first: first sector, counted from the start of DRAM.
        clean: (sectors, 4) words as the program brings them; a part's end is filled up with what lies there.
        content: see `Content`.
    """

    name: str
    role: Role
    format: str
    element: ElementFormat | None
    first: int
    clean: Words
    content: Content = "constants"

    @property
    def count(self) -> int:
        """Sectors."""
        return len(self.clean)

    @cached_property
    def codes(self) -> NDArray[Any]:
        """Element codes (sectors, elements)."""
        assert self.element is not None
        return codes_in(self.clean, self.element.bits)


def constants(program: Program, base: int, names: tuple[str, ...] = ()) -> list[Part]:
    """The parts of a program's constants: weights, scales, biases and what else the manifest names.

    Args:
        program: with its manifest.
        base: address of DRAM (`memory.dram_base`).
        names: tensors to take, by the names of the network or of the manifest; all if there are none.

    Returns:
        Parts in the order of their addresses.

    Raises:
        DataError: no such tensor, or none at all.
    """
    found: dict[int, Buffer] = {}
    for buffer in program.manifest.buffers:
        if buffer.region == "dram" and buffer.bytes and _loaded(program, buffer) is not None:
            found.setdefault(buffer.address, buffer)
    known = {name for b in found.values() for name in (b.name, b.tensor)}
    for name in names:
        if name not in known:
            near = ", ".join(sorted({b.tensor for b in found.values()})[:6])
            raise DataError("no constant of this name in the manifest", tensor=name, hint=f"There are {near}")
    chosen = [b for b in found.values() if not names or b.tensor in names or b.name in names]
    if not chosen:
        raise DataError("the program's manifest names no constants in DRAM", hint="Compile it with Potluck")
    return [part for b in sorted(chosen, key=lambda b: b.address) for part in _parts(program, b, base)]


def _loaded(program: Program, buffer: Buffer) -> bytes | None:
    """The bytes of a buffer's sectors if the program brings them."""
    for section in program.sections:
        end = section.address + len(section.data)
        if (
            not section.executable
            and section.address <= buffer.address
            and buffer.address + buffer.bytes <= end
        ):
            first = buffer.address // SECTOR * SECTOR - section.address
            last = -(-(buffer.address + buffer.bytes) // SECTOR) * SECTOR - section.address
            piece = section.data[max(0, first) : last]
            return bytes(-min(0, first)) + piece + bytes(last - first - len(piece) + min(0, first))
    return None


def _parts(program: Program, buffer: Buffer, base: int) -> list[Part]:
    data = _loaded(program, buffer)
    assert data is not None
    if buffer.address % SECTOR:
        raise DataError(
            f"begins at {buffer.address:#x}, inside a sector of {SECTOR} bytes", tensor=buffer.name
        )
    words, first = as_words(data), (buffer.address - base) // SECTOR
    if buffer.layout.endswith(TABLE_LAYOUT):
        return _with_tables(buffer, words, first)
    element = FORMATS.get(buffer.format.lower())
    if element is None:
        return [Part(buffer.name, "other", buffer.format, None, first, words)]
    role: Role = "scales" if element.kind == "scale" else "elements"
    return [Part(buffer.name, role, buffer.format, element, first, words)]


def _with_tables(buffer: Buffer, words: Words, first: int) -> list[Part]:
    """A table sector and code sectors for each slice."""
    slices = buffer.shape[0] if buffer.layout.startswith("slice ") else 1
    if len(words) % slices or (buffer.bytes // slices % SECTOR and slices > 1):
        # slices whose codes end inside a sector: their tables are not at sectors of their own
        return [Part(buffer.name, "other", buffer.format, None, first, words)]
    each = len(words) // slices
    parts = []
    for k in range(slices):
        own, at = words[k * each : (k + 1) * each], first + k * each
        book = CodeBook(buffer.format, own[0].view(np.int16).astype(np.float64))
        suffix = f"#{k}" if slices > 1 else ""
        parts.append(Part(f"{buffer.name}{suffix}.table", "other", "INT16", None, at, own[:1]))
        parts.append(
            Part(
                f"{buffer.name}{suffix}",
                "elements",
                buffer.format,
                cast(ElementFormat, book),
                at + 1,
                own[1:],
            )
        )
    return parts


def patched(program: Program, parts: list[Part], read: list[Words], base: int) -> Program:
    """The program with other bytes in its parts.

    Args:
        program: as loaded.
        parts: of it.
        read: (sectors, 4) words per part.
        base: address of DRAM.
    """
    changed = {id(s): bytearray(s.data) for s in program.sections}
    for part, words in zip(parts, read, strict=True):
        if words is part.clean:
            continue
        raw, address = np.ascontiguousarray(words).tobytes(), base + part.first * SECTOR
        for section in program.sections:
            if section.executable is not (part.content == "text"):
                continue  # what a part is filled up with is not its section's
            low, high = (
                max(address, section.address),
                min(address + len(raw), section.address + len(section.data)),
            )
            if low < high:
                changed[id(section)][low - section.address : high - section.address] = raw[
                    low - address : high - address
                ]
    return replace(program, sections=[replace(s, data=bytes(changed[id(s)])) for s in program.sections])
