"""A Linux process of one static executable: its address space, its stack at the start, its break and mappings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from potluck.isa.elf import Program
from potluck.isa.errors import ProgramError
from potluck.isa.machine import Machine
from potluck.sim.linux.pages import PAGE, READ, WRITE, Pages

STACK_BYTES = 8 << 20  # Linux' usual limit
GUARD_BYTES = 1 << 16  # between the stack and the mappings below it
ISA_LETTERS = "imafdcv"
(
    AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_ENTRY, AT_UID, AT_EUID, AT_GID, AT_EGID, AT_HWCAP, AT_CLKTCK, AT_SECURE,
    AT_RANDOM, AT_EXECFN,
) = (3, 4, 5, 6, 9, 11, 12, 13, 14, 16, 17, 23, 25, 31)  # fmt: skip


@dataclass(frozen=True)
class Environment:
    """What a process gets from outside.

    Attributes:
        arguments: after the program's name.
        variables: environment variables.
        name: ``argv[0]``.
        stdin: standard input, as bytes or as a stream that is read when the program reads.
        root: host directory that the program sees as ``/``; None: it sees no file.
        stdout, stderr: where output goes as it is written, besides the result.
        seed: of ``getrandom`` and ``AT_RANDOM``.
    """

    arguments: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    name: str = "program"
    stdin: bytes | BinaryIO = b""
    root: Path | None = None
    stdout: BinaryIO | None = None
    stderr: BinaryIO | None = None
    seed: int = 0


def is_process(program: Program, machine: Machine, environment: Environment | None = None) -> bool:
    """Whether a program wants an operating system: it gets arguments, which nothing else can give it, or it is from
    elsewhere, without ``tohost`` and not placed in our memories.
    """
    if environment is not None and environment.arguments:
        return True
    memory = machine.memory
    regions = ((memory.l1_base, memory.l1_bytes), (memory.dram_base, memory.dram_bytes))
    placed = all(
        any(base <= section.address and section.end <= base + size for base, size in regions)
        for section in program.sections
    )
    return program.foreign and "tohost" not in program.symbols and not placed


def space(program: Program, machine: Machine) -> int:
    """Bytes of a process's address space: as many as the machine has DRAM, behind the program if it lies high."""
    size = machine.memory.dram_bytes
    return size if max(s.end for s in program.sections) <= size else machine.memory.dram_base + size


class Process:
    """The address space with the program in it.

    Raises:
        ProgramError: a segment lies outside, or the arguments do not fit on the stack.
    """

    def __init__(self, program: Program, size: int, environment: Environment) -> None:
        self.program, self.environment = program, environment
        self.pages = Pages(size)
        self.random = np.random.Generator(np.random.Philox(environment.seed))
        for section in program.sections:
            flags = READ | (WRITE if section.writable else 0) | (1 if section.executable else 0)
            first = section.address >> 12
            before = int(self.pages.permissions[first]) if first < self.pages.permissions.size else 0
            self.pages.map(section.address, section.end - section.address, flags)
            self.pages.permissions[first] |= before  # two segments may share a page
            contents = np.frombuffer(section.data, np.uint8)
            self.pages.data[section.address : section.address + contents.size] = contents
        end = max(section.end for section in program.sections)
        self.break_start = self.break_end = -(-end // PAGE) * PAGE
        self.stack_top = self.pages.size - PAGE
        self.mapping_top = self.stack_top - STACK_BYTES - GUARD_BYTES
        if self.break_start >= self.mapping_top:
            raise ProgramError("no room for a stack above the program", hint="Make memory.dram_bytes larger.")
        self.pages.map(self.stack_top - STACK_BYTES, STACK_BYTES, READ | WRITE)
        self.stack_pointer = self._fill_stack()

    def _fill_stack(self) -> int:
        """Strings, then auxiliary vector, environment, arguments and their count, as the psABI and Linux have it."""
        at = self.stack_top

        def put(data: bytes) -> int:
            nonlocal at
            at -= len(data)
            if at < self.stack_top - STACK_BYTES // 4:
                raise ProgramError("arguments and environment do not fit on the stack")
            self.pages.data[at : at + len(data)] = np.frombuffer(data, np.uint8)
            return at

        e = self.environment
        name = put(e.name.encode() + b"\0")
        arguments = [name, *(put(text.encode() + b"\0") for text in e.arguments)]
        variables = [put(f"{key}={value}".encode() + b"\0") for key, value in e.variables.items()]
        noise = put(self.random.bytes(16))
        address, count = self.program.headers
        auxiliary = {
            AT_PHDR: address, AT_PHENT: 56, AT_PHNUM: count, AT_PAGESZ: PAGE, AT_ENTRY: self.program.entry,
            AT_UID: 1000, AT_EUID: 1000, AT_GID: 1000, AT_EGID: 1000,
            AT_HWCAP: sum(1 << ord(letter) - ord("a") for letter in ISA_LETTERS), AT_CLKTCK: 100, AT_SECURE: 0,
            AT_RANDOM: noise, AT_EXECFN: name, 0: 0,
        }  # fmt: skip
        words = [len(arguments), *arguments, 0, *variables, 0]
        words += [word for pair in auxiliary.items() for word in pair]
        at = (at - 8 * len(words)) & -16
        self.pages.data[at : at + 8 * len(words)] = np.array(words, np.uint64).view(np.uint8)
        return at

    def set_break(self, address: int) -> int:
        """``brk``: the new end of the heap, or the old one if the wish cannot be granted."""
        if self.break_start <= address < self.mapping_top:
            old, new = (-(-end // PAGE) * PAGE for end in (self.break_end, address))
            if new > old:
                if np.any(self.pages.permissions[old >> 12 : new >> 12]):
                    return self.break_end
                self.pages.map(old, new - old, READ | WRITE)
            elif new < old:
                self.pages.unmap(new, old - new)
            self.break_end = address
        return self.break_end

    def place(self, hint: int, count: int) -> int | None:
        """An address for a mapping: the hint if it is free, else the highest free range below the stack."""
        hint &= -PAGE
        whole = -(-count // PAGE) * PAGE
        there = self.pages.permissions[hint >> 12 : (hint + whole) >> 12]
        if hint and self.pages.inside(hint, whole) and not np.any(there):
            return hint
        return self.pages.free_below(self.mapping_top, whole)
