"""Programs as ELF64 little-endian RISC-V executables, with the manifest in a section of its own."""

from __future__ import annotations

import io
import os
import struct
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section as ElfSection
from elftools.elf.sections import SymbolTableSection

from potluck.isa.assembly.disassembler import disassemble
from potluck.isa.elf_tables import MAPPED_PER_BYTE, check_tables, read_symbols
from potluck.isa.errors import ProgramError
from potluck.isa.manifest import SECTION, Manifest

_PAGE = 4096
_PIE_BASE = 0x1_0000
_MACHINE = 243  # EM_RISCV
_DOUBLE_FLOAT_ABI = 4  # e_flags
_DAMAGE = (
    ELFError, ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, struct.error,
    AssertionError, EOFError, MemoryError, RecursionError, ArithmeticError,
)  # fmt: skip
_LARGEST = 1 << 32  # bytes of one segment that we are ready to believe


@dataclass(frozen=True)
class Section:
    """A contiguous piece of memory with its initial contents."""

    name: str
    address: int
    data: bytes
    executable: bool = False
    writable: bool = True
    zeros: int = 0
    """Bytes of zeros that follow the contents in memory and are not in the file."""

    @property
    def end(self) -> int:
        """First address after it."""
        return self.address + len(self.data) + self.zeros


@dataclass
class Program:
    """An executable: memory contents, symbols, entry and manifest.

    ``foreign``: read from an ELF file that is not ours; ``headers``: address and number of its program headers.
    """

    sections: list[Section]
    symbols: dict[str, int]
    entry: int
    manifest: Manifest = field(default_factory=Manifest)
    foreign: bool = False
    headers: tuple[int, int] = (0, 0)

    @property
    def text_bytes(self) -> int:
        """Size of the code."""
        return sum(len(section.data) for section in self.sections if section.executable)

    def symbol_at(self, pc: int) -> str | None:
        """The symbol at or nearest before an address inside a section, if there is one in that section."""
        section = next((s for s in self.sections if s.address <= pc < s.end), None)
        if section is None:
            return None
        inside = sorted((a, n) for n, a in self.symbols.items() if section.address <= a < section.end)
        index = bisect_right(inside, (pc, "\U0010ffff")) - 1
        return inside[index][1] if index >= 0 else None

    def disassemble(self, encoding: str = "spatz") -> str:
        """All code as text; ``encoding`` is a machine's ``isa.vmxdotp_encoding``."""
        return "\n".join(
            disassemble(section.data, section.address, self.symbols, encoding=encoding)
            for section in self.sections
            if section.executable
        )

    def to_bytes(self) -> bytes:
        """The ELF file.

        Raises:
            ProgramError: two sections overlap.
        """
        return _write(self)

    def save(self, path: str | Path) -> None:
        """Write the ELF file, executable; nothing partial is left behind.

        Raises:
            ProgramError: two sections overlap, or the file cannot be written.
        """
        path = Path(path)
        data = self.to_bytes()
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(data)
            mode = temporary.stat().st_mode
            temporary.chmod(mode | (mode & 0o444) >> 2)  # to be executed by who may read it
            temporary.replace(path)
        except OSError as problem:
            temporary.unlink(missing_ok=True)
            raise ProgramError(f"cannot write: {problem.strerror}", elf=str(path)) from None

    @staticmethod
    def load(path: str | Path) -> Program:
        """Read an ELF executable, ours or any other RV64 one.

        Raises:
            ProgramError: not an ELF file for this machine, truncated, or with a bad manifest.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as problem:
            raise ProgramError(f"cannot read: {problem.strerror}", elf=str(path)) from None
        try:
            return read(data)
        except ProgramError as problem:
            raise ProgramError(problem.message, elf=str(path), pc=problem.pc, hint=problem.hint) from None


def _padded(data: bytearray, step: int, remainder: int = 0) -> None:
    data.extend(bytes((remainder - len(data)) % step))


def _write(program: Program) -> bytes:
    sections = sorted((s for s in program.sections if s.data or s.zeros), key=lambda s: s.address)
    for before, after in pairwise(sections):
        if before.end > after.address:
            raise ProgramError(
                f"sections {before.name} ({before.address:#x}..{before.end:#x}) and {after.name} "
                f"(from {after.address:#x}) overlap"
            )
    out = bytearray(64 + 56 * len(sections))
    segments, headers, names = bytearray(), bytearray(64), bytearray(1)

    def header(
        name: str, kind: int, flags: int, address: int, offset: int, size: int,
        link: int = 0, info: int = 0, align: int = 1, entry: int = 0,
    ) -> None:  # fmt: skip
        at = len(names)
        names.extend(name.encode() + b"\0")
        headers.extend(
            struct.pack("<IIQQQQIIQQ", at, kind, flags, address, offset, size, link, info, align, entry)
        )

    for section in sections:
        _padded(out, _PAGE, section.address % _PAGE)
        flags = 4 | (2 if section.writable else 0) | (1 if section.executable else 0)
        size = len(section.data)
        segments += struct.pack(
            "<IIQQQQQQ",
            1,
            flags,
            len(out),
            section.address,
            section.address,
            size,
            size + section.zeros,
            _PAGE,
        )
        align = min(section.address & -section.address or 64, 64)
        kept = 2 | (1 if section.writable else 0) | (4 if section.executable else 0)
        stored = (1, size) if size else (8, section.zeros)  # PROGBITS or NOBITS
        header(section.name, stored[0], kept, section.address, len(out), stored[1], align=align)
        out += section.data
    manifest = program.manifest.to_json().encode()
    header(SECTION, 1, 0, 0, len(out), len(manifest))
    out += manifest
    symbols, strings = _symbols(program, sections)
    _padded(out, 8)
    header(".symtab", 2, 0, 0, len(out), len(symbols), link=len(sections) + 3, info=1, align=8, entry=24)
    out += symbols
    header(".strtab", 3, 0, 0, len(out), len(strings))
    out += strings
    at = len(out)
    header(".shstrtab", 3, 0, 0, at, len(names) + len(".shstrtab") + 1)
    out += names
    _padded(out, 8)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    count = len(headers) // 64
    out[:64] = ident + struct.pack(
        "<HHIQQQIHHHHHH", 2, _MACHINE, 1, program.entry, 64, len(out), _DOUBLE_FLOAT_ABI, 64, 56,
        len(sections), 64, count, count - 1,
    )  # fmt: skip
    out[64 : 64 + len(segments)] = segments
    return bytes(out + headers)


def _symbols(program: Program, sections: list[Section]) -> tuple[bytes, bytes]:
    symbols, strings = bytearray(24), bytearray(1)
    for name, address in sorted(program.symbols.items(), key=lambda item: item[1]):
        index = next(
            (k + 1 for k, s in enumerate(sections) if s.address <= address <= s.end), 0xFFF1
        )  # or absolute
        symbols += struct.pack("<IBBHQQ", len(strings), 1 << 4, 0, index, address & (1 << 64) - 1, 0)
        strings += name.encode() + b"\0"
    return bytes(symbols), bytes(strings)


def read(data: bytes) -> Program:
    """A program from the bytes of an ELF file.

    Raises:
        ProgramError: see :meth:`Program.load`.
    """
    if data[:4] != b"\x7fELF":
        raise ProgramError(
            "not an ELF file", hint="Compile one with `potluck compile` or assemble one with `potluck asm`."
        )
    check_tables(data)
    try:
        elf = ELFFile(io.BytesIO(data))
        _check_header(elf, data)
        sections = list(_segments(elf, data))
        symbols = _read_symbols(elf)
        found = elf.get_section_by_name(SECTION)
        manifest = (
            Manifest.from_json(_file_bytes(found)) if found is not None else Manifest(machine="rvv-generic")
        )
        headers = _program_headers(elf)
    except ProgramError:
        raise
    # pyelftools answers damaged tables with whatever exception the nonsense leads to.
    except _DAMAGE as problem:
        raise ProgramError(f"damaged ELF file: {problem or type(problem).__name__}") from None
    bias = _bias(elf)
    if bias:  # a static executable that relocates itself
        sections = [replace(section, address=section.address + bias) for section in sections]
        symbols = {name: address + bias for name, address in symbols.items()}
        headers = (headers[0] + bias, headers[1])
    entry = int(elf.header["e_entry"]) + bias
    if not any(s.executable and s.address <= entry < s.end for s in sections):
        raise ProgramError(f"the entry {entry:#x} is not inside an executable segment")
    return Program(sections, symbols, entry, manifest, found is None, headers)


def _check_header(elf: ELFFile, data: bytes) -> None:
    if elf.elfclass != 64 or not elf.little_endian:
        order = "little" if elf.little_endian else "big"
        raise ProgramError(f"a {elf.elfclass}-bit {order}-endian ELF file, expected 64-bit little-endian")
    machine = struct.unpack_from("<H", data, 18)[0]
    if machine != _MACHINE:
        raise ProgramError(f"an ELF file for machine {elf.header['e_machine']}, expected RISC-V ({_MACHINE})")
    kinds = [segment["p_type"] for segment in elf.iter_segments()]
    if "PT_INTERP" in kinds:
        raise ProgramError("a dynamically linked program", hint="Link it statically (-static).")
    if elf.header["e_type"] not in ("ET_EXEC", "ET_DYN"):
        raise ProgramError(
            f"ELF type {elf.header['e_type']}, expected an executable",
            hint="Link it statically at fixed addresses.",
        )


def _bias(elf: ELFFile) -> int:
    """Where a position-independent executable goes: the first page after the null pointers."""
    return _PIE_BASE if elf.header["e_type"] == "ET_DYN" else 0


def _program_headers(elf: ELFFile) -> tuple[int, int]:
    """Address and number of the program headers if a segment holds them, for a process' auxiliary vector."""
    offset, count = int(elf.header["e_phoff"]), int(elf.header["e_phnum"])
    for segment in elf.iter_segments():
        inside = (
            segment["p_offset"] <= offset and offset + 56 * count <= segment["p_offset"] + segment["p_filesz"]
        )
        if segment["p_type"] == "PT_LOAD" and inside:
            return int(segment["p_vaddr"]) + offset - int(segment["p_offset"]), count
    return 0, 0


def _segments(elf: ELFFile, data: bytes) -> Iterable[Section]:
    names = {int(s["sh_addr"]): s.name for s in elf.iter_sections() if s["sh_flags"] & 2}
    found: list[tuple[int, int, int, int, int]] = []  # address, memory, offset, size, flags
    for segment in elf.iter_segments():
        if segment["p_type"] != "PT_LOAD" or not segment["p_memsz"]:
            continue
        offset, size, memory = (int(segment[key]) for key in ("p_offset", "p_filesz", "p_memsz"))
        address = int(segment["p_vaddr"])
        if offset + size > len(data):
            raise ProgramError(
                f"truncated: the segment at {address:#x} ends at byte {offset + size} of {len(data)}"
            )
        if size > memory or memory > _LARGEST or address + memory > 1 << 64:
            raise ProgramError(
                f"the segment at {address:#x} has impossible sizes {size} (file), {memory} (memory)"
            )
        found.append((address, memory, offset, size, int(segment["p_flags"])))
    if not found:
        raise ProgramError("the ELF file has no loadable segment")
    order = sorted(found)
    for before, after in pairwise(order):
        if before[0] + before[1] > after[0]:
            raise ProgramError(f"the segments at {before[0]:#x} and {after[0]:#x} overlap")
    mapped = sum(size for _, _, _, size, _ in found)
    if mapped > MAPPED_PER_BYTE * len(data):
        raise ProgramError(f"the segments hold {mapped} bytes of a file of {len(data)}")
    for address, memory, offset, size, flags in order:
        name = names.get(address, f"segment{found.index((address, memory, offset, size, flags))}")
        content = data[offset : offset + size]
        yield Section(name, address, content, bool(flags & 1), bool(flags & 2), memory - size)


def _read_symbols(elf: ELFFile) -> dict[str, int]:
    table = elf.get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        return {}
    return read_symbols(_file_bytes(table), _file_bytes(elf.get_section(table["sh_link"])))


def _file_bytes(section: ElfSection) -> bytes:
    """What a section holds in the file; zeros or compressed bytes that would grow are not believed.

    Raises:
        ProgramError: it is such a section.
    """
    if section["sh_type"] == "SHT_NOBITS" or section.compressed:
        raise ProgramError(f"damaged ELF file: section {section.name} is not stored as it is")
    return bytes(section.data())
