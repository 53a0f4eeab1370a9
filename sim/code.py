"""A program's code as it is fetched: parcels of 16 bits, instructions of 2, 4 or 8 bytes.

What fetch sees is a copy of memory, as in an instruction cache, and a ``fence.i`` makes it new (Zifencei). ``Code`` is
the copy that the loader takes of the executable sections; ``LiveCode`` is a hart's own copy of all executable memory,
which begins with the loader's and takes a page when the hart first fetches from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from potluck.isa.decode import decoder
from potluck.isa.errors import TrapError
from potluck.sim.jit.control import FCSR, FFLAGS
from potluck.sim.linux.pages import PAGE

FENCE_I = 0x0000_100F  # with any rd, rs1 and immediate: they are reserved, and ignored
FENCE_I_MASK = 0x0000_707F


class OutsideText(TrapError):
    """A fetch outside the sections that were loaded as code; there may be code there all the same."""


class ExecutableMemory(Protocol):
    """What can be fetched from."""

    def executable_span(self, address: int) -> tuple[int, int] | None:
        """The part (begin, end) of the address's page that may be executed; None if it may not."""

    def executable(self, address: int, count: int) -> NDArray[np.uint8] | None:
        """The bytes of a range as they are now; None unless all of it may be executed."""


class Change(NamedTuple):
    """A piece of a copy that differs from memory: address, present bytes (None: no longer executable), and the
    addresses (begin, end) between which they differ."""

    base: int
    data: bytes | None
    begin: int
    end: int


class Code:
    """What instruction fetch sees: images of executable memory, taken when the program is loaded.

    Args:
        regions: (address, bytes) of every executable range.
        encoding: the machine's ``isa.vmxdotp_encoding``, which decides how long some instructions are.
    """

    def __init__(self, regions: Iterable[tuple[int, bytes]], encoding: str = "spatz") -> None:
        self._image = sorted(regions)
        self._length = decoder(encoding).length

    @property
    def regions(self) -> list[tuple[int, bytes]]:
        """(address, bytes) of what is code."""
        return self._image

    def with_bytes(self, pieces: Iterable[tuple[int, bytes]]) -> Code:
        """The same with other bytes at some addresses; what lies outside is ignored."""
        regions = [(base, bytearray(data)) for base, data in self.regions]
        for address, piece in pieces:
            for base, data in regions:
                low, high = max(address, base), min(address + len(piece), base + len(data))
                if low < high:
                    data[low - base : high - base] = piece[low - address : high - address]
        found = Code([(base, bytes(data)) for base, data in regions])
        found._length = self._length
        return found

    @property
    def digest(self) -> bytes:
        """Equal for equal code at equal addresses."""
        found = hashlib.sha256()
        for base, data in self.regions:
            found.update(f"{base:x} {len(data):x} ".encode())
            found.update(data)
        return found.digest()

    def fetch(self, pc: int) -> tuple[int, int]:
        """The instruction word at an address and its length in bytes.

        Raises:
            TrapError: the address is odd or outside executable memory.
        """
        if pc & 1:
            raise TrapError("jump to a misaligned address", pc=pc)
        first = self.read(pc, 2)
        if first is None:
            raise self._outside("jump outside", pc)
        count = self._length(first[0])
        data = self.read(pc, count)
        if data is None:
            raise self._outside("the instruction reaches beyond", pc)
        return int.from_bytes(data, "little"), count

    def _outside(self, what: str, pc: int) -> TrapError:
        return OutsideText(f"{what} the program's text", pc=pc)

    def read(self, address: int, count: int) -> bytes | None:
        """Bytes as fetch sees them; None unless all of them are code."""
        found = b""
        while len(found) < count:
            region = self._region(address + len(found))
            if region is None:
                return None
            at = address + len(found) - region[0]
            found += region[1][at : at + count - len(found)]
        return found

    def _region(self, address: int) -> tuple[int, bytes] | None:
        return next((r for r in self.regions if r[0] <= address < r[0] + len(r[1])), None)

    def changes(self, memory: ExecutableMemory) -> list[Change]:
        """Where memory is another now."""
        return [found for base, data in self.regions if (found := _compare(base, data, memory)) is not None]

    def words(self) -> NDArray[np.uint32]:
        """Every 32-bit word that could be an instruction, in no particular order: at every other byte if there may be
        compressed instructions, for searches that must miss nothing.
        """
        found = []
        for _, data in self.regions:
            parcels = np.frombuffer(data, np.uint16, len(data) // 2).astype(np.uint32)
            words = parcels[:-1] | parcels[1:] << np.uint32(16)
            aligned = words[::2]
            found.append(aligned if bool(np.all(aligned & 3 == 3)) else words)
        return np.concatenate(found) if found else np.zeros(0, np.uint32)

    def has_atomics(self) -> bool:
        """Whether there may be an instruction of the A extension."""
        words = self.words()
        return bool(np.any(((words & 0x7F) == 0x2F) & (((words >> 12) & 6) == 2)))

    def has_fence_i(self) -> bool:
        """Whether there may be a ``fence.i``: the program then says when it has changed its code."""
        return bool(np.any((self.words() & FENCE_I_MASK) == FENCE_I))

    def reads_flags(self) -> bool:
        """Whether any instruction can observe fflags: a CSR access to fflags or fcsr with a destination. Code that
        is yet to be written may do so, too.
        """
        words = self.words()
        if np.any((words & FENCE_I_MASK) == FENCE_I):
            return True
        csr = (words >> 20) & 0xFFF
        access = ((words & 0x7F) == 0x73) & (((words >> 12) & 3) != 0)
        return bool(np.any(access & ((csr == FFLAGS) | (csr == FCSR)) & (((words >> 7) & 31) != 0)))


class LiveCode(Code):
    """A hart's own copy of executable memory.

    Args:
        image: what the copy begins with.
        memory: where the rest comes from, and all of it after :meth:`renew`.
    """

    def __init__(self, image: Code, memory: ExecutableMemory) -> None:
        self._length, self._memory = image._length, memory
        self._pages: dict[int, list[tuple[int, bytes]]] = {}
        for base, data in image.regions:
            begin = base
            while begin < base + len(data):
                end = min(base + len(data), (begin & -PAGE) + PAGE)
                self._enter(begin, data[begin - base : end - base])
                begin = end

    def _enter(self, base: int, data: bytes) -> None:
        self._pages.setdefault(base & -PAGE, []).append((base, data))

    @property
    def regions(self) -> list[tuple[int, bytes]]:
        """All pieces of the copy, none across the border of a page."""
        return [region for page in self._pages.values() for region in page]

    def _outside(self, what: str, pc: int) -> TrapError:
        return TrapError(f"{what} executable memory", pc=pc)

    def _region(self, address: int) -> tuple[int, bytes] | None:
        known = self._pages.get(address & -PAGE, [])
        for region in known:
            if region[0] <= address < region[0] + len(region[1]):
                return region
        span = self._memory.executable_span(address)
        if span is None:
            return None
        begin = max([span[0], *(base + len(data) for base, data in known if base <= address)])
        end = min([span[1], *(base for base, _ in known if base > address)])
        data = self._memory.executable(begin, end - begin)
        if data is None:
            return None
        self._enter(begin, data.tobytes())
        return begin, self._pages[address & -PAGE][-1][1]

    def renew(self, changes: Iterable[Change]) -> None:
        """Make the copy what memory is."""
        for base, data, _, _ in changes:
            page = self._pages[base & -PAGE]
            page[:] = [region for region in page if region[0] != base]
            if data is not None:
                page.append((base, data))


def _compare(base: int, data: bytes, memory: ExecutableMemory) -> Change | None:
    present = memory.executable(base, len(data))
    if present is None:
        return Change(base, None, base, base + len(data))
    differs = np.flatnonzero(present != np.frombuffer(data, np.uint8))
    if not differs.size:
        return None
    return Change(base, present.tobytes(), base + int(differs[0]), base + int(differs[-1]) + 1)
