"""DRAM as a program's sections fill it, kept from run to run of the same program object.

Copying a network's weights into fresh memory takes longer than to simulate a step of a language model. From its second
run on a large program's memory is a private mapping of one image: pages are shared until a run writes to them.
"""

from __future__ import annotations

import mmap
import os
import weakref
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.elf import Program

WORTH = 1 << 24  # bytes of sections; less is copied faster than it is mapped


@dataclass
class _Image:
    """What is known of a program: which bytes its memory was made of (held, so that ``is`` tells), and the file."""

    content: tuple[object, ...]
    file: int = -1


_images: dict[int, _Image] = {}


def dram_of(program: Program, base: int, size: int) -> tuple[NDArray[np.uint8], bool]:
    """Memory from ``base`` on, uint8 [size], and whether the program's sections are in it already."""
    parts = [s for s in program.sections if base <= s.address and s.address + len(s.data) <= base + size]
    fixed = all(isinstance(s.data, bytes) for s in program.sections)  # nobody can change these
    if sum(len(s.data) for s in parts) < WORTH or not fixed or not hasattr(os, "memfd_create"):
        return np.zeros(size, np.uint8), False
    places = [(s.address, s.data) for s in parts]
    image = _images.get(id(program))
    if image is None or not _same(image.content, (base, size, places)):
        _forget(id(program))
        _images[id(program)] = _Image((base, size, places))
        weakref.finalize(program, _forget, id(program))
        return np.zeros(size, np.uint8), False
    if image.file < 0:
        image.file = _written(places, base, size)
        if image.file < 0:
            return np.zeros(size, np.uint8), False
    mapped = mmap.mmap(image.file, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    return np.frombuffer(mapped, np.uint8), True


def _same(held: tuple[object, ...], wanted: tuple[int, int, list[tuple[int, bytes]]]) -> bool:
    base, size, places = held
    assert isinstance(places, list)
    alike = len(places) == len(wanted[2]) and (base, size) == wanted[:2]
    return alike and all(a == c and b is d for (a, b), (c, d) in zip(places, wanted[2], strict=True))


def _written(places: list[tuple[int, bytes]], base: int, size: int) -> int:
    """A file in memory with the sections in it; -1 if there is no room for it."""
    file = os.memfd_create("potluck-dram")
    try:
        os.truncate(file, size)
        for address, data in places:
            view, at = memoryview(data), address - base
            while view:
                count = os.pwrite(file, view, at)
                view, at = view[count:], at + count
    except OSError:
        os.close(file)
        return -1
    return file


def _forget(key: int) -> None:
    image = _images.pop(key, None)
    if image is not None and image.file >= 0:
        os.close(image.file)
