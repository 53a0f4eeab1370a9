"""What of a program in DRAM faults may strike: constants, and where a campaign asks for it text and pointers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from potluck.isa.elf import Program, Section
from potluck.isa.errors import DataError
from potluck.sim.dram.kind import SECTOR
from potluck.sim.dram.tensors import INSTRUCTIONS, WORDS
from potluck.sim.ecc.interface import as_words
from potluck.sim.faults.parts import Content, Part, constants


def parts_of(program: Program, base: int, contents: Sequence[Content] = ("constants",)) -> list[Part]:
    """The parts of a program that faults may strike.

    Text is every executable section. Pointers are the sections of data that hold no tensor of the manifest: in our
    programs the tile records, which are addresses, sizes and strides of DMA transfers and the kernels' arguments.

    Args:
        program: with its manifest.
        base: address of DRAM.
        contents: which; see `Content`.

    Returns:
        Parts in the order of their addresses.

    Raises:
        DataError: none of a kind, or two that share a sector; see `constants`, too.
    """
    found = constants(program, base) if "constants" in contents else []
    sections = [s for s in program.sections if s.data and s.address >= base]
    if "text" in contents:
        found += _whole("text", INSTRUCTIONS, [s for s in sections if s.executable], base)
    if "pointers" in contents:
        held = [b.address for b in program.manifest.buffers if b.bytes]
        plain = [s for s in sections if not s.executable]
        bare = [s for s in plain if not any(s.address <= a < s.address + len(s.data) for a in held)]
        found += _whole("pointers", WORDS, bare, base)
    found.sort(key=lambda part: part.first)
    for before, after in pairwise(found):
        if before.first + before.count > after.first:
            raise DataError(f"shares a sector of {SECTOR} bytes with {after.name}", tensor=before.name,
                            hint=f"Link the program with its sections at multiples of {SECTOR}")  # fmt: skip
    return found


def _whole(content: Content, format: str, sections: Sequence[Section], base: int) -> list[Part]:
    """A part for each section, filled up with zeros."""
    if not sections:
        raise DataError(f"the program brings no {content} to DRAM")
    made = []
    for section in sections:
        first, lead = divmod(section.address - base, SECTOR)
        data = bytes(lead) + section.data
        words = as_words(data + bytes(-len(data) % SECTOR))
        made.append(Part(section.name, "other", format, None, first, words, content))
    return made
