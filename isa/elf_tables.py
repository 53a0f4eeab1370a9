"""Are the tables of an ELF file what they have to be, before a library follows them?

A file may say anything: tables without end, entries of no size, gigabytes of zeros. All that is believed later is
looked at here, in time and memory proportional to the file.
"""

from __future__ import annotations

import struct

from potluck.isa.errors import ProgramError

_EHDR, _PHDR, _SHDR, _SYMBOL = 64, 56, 64, 24  # bytes of ELF64's structures
_NULL, _SYMTAB, _NOBITS = 0, 2, 8
_FILE, _SECTION = 4, 3  # symbol types
_LONGEST_NAME = 1 << 16
_ALL_NAMES = (
    1 << 28
)  # bytes of all symbols' names together: strings may be shared, so the file does not bound it
MAPPED_PER_BYTE = 16  # segments may share bytes of the file, but not any number of times


def check_tables(data: bytes) -> None:
    """Look at the headers of a 64-bit little-endian file.

    Raises:
        ProgramError: a table or a section is not inside the file, or its entries have an impossible size.
    """
    if len(data) < _EHDR:
        raise ProgramError(f"damaged ELF file: {len(data)} bytes are less than a header")
    if data[4:6] != b"\2\1":
        return  # refused for that, later
    segments, sections = struct.unpack_from("<QQ", data, 32)
    segment_size, segment_count, section_size, section_count = struct.unpack_from("<4H", data, 54)
    if segment_count:
        _inside(data, "program headers", segments, segment_size, segment_count, _PHDR)
    if not sections:
        return
    if not section_count:
        raise ProgramError("damaged ELF file: section headers, but their number is 0")
    _inside(data, "section headers", sections, section_size, section_count, _SHDR)
    for number in range(section_count):
        at = sections + _SHDR * number
        (kind,) = struct.unpack_from("<I", data, at + 4)
        offset, size = struct.unpack_from("<QQ", data, at + 24)
        (entry,) = struct.unpack_from("<Q", data, at + 56)
        if kind not in (_NULL, _NOBITS) and offset + size > len(data):
            raise ProgramError(
                f"damaged ELF file: section {number} ends at byte {offset + size} of {len(data)}: truncated?"
            )
        if kind == _SYMTAB and entry != _SYMBOL:
            raise ProgramError(f"damaged ELF file: symbols of {entry} bytes, expected {_SYMBOL}")


def _inside(data: bytes, what: str, offset: int, size: int, count: int, expected: int) -> None:
    if size != expected:
        raise ProgramError(f"damaged ELF file: {what} of {size} bytes, expected {expected}")
    if offset + size * count > len(data):
        raise ProgramError(
            f"damaged ELF file: {what} end at byte {offset + size * count} of {len(data)}: truncated?"
        )


def read_symbols(table: bytes, strings: bytes) -> dict[str, int]:
    """Defined symbols of a table that name something in memory: name to value.

    Raises:
        ProgramError: a name is not in the string table or endless.
    """
    found = {}
    total = 0
    for at in range(0, len(table) - _SYMBOL + 1, _SYMBOL):
        place, info, _, section, value, _ = struct.unpack_from("<IBBHQQ", table, at)
        if not place or not section or info & 15 in (_FILE, _SECTION):
            continue
        end = strings.find(b"\0", place, place + _LONGEST_NAME)
        if end < 0:
            raise ProgramError(f"damaged ELF file: the name of symbol {at // _SYMBOL} does not end")
        total += end - place
        if total > _ALL_NAMES:
            raise ProgramError(f"damaged ELF file: symbol names of more than {_ALL_NAMES} bytes")
        name = strings[place:end].decode("utf-8", "replace")
        if name and not name.startswith("$"):
            found[name] = value
    return found
