"""Memory in pages with permissions: the address space of a process."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import ProgramError

PAGE_SHIFT = 12
PAGE = 1 << PAGE_SHIFT
READ, WRITE, EXECUTE = 4, 2, 1  # as in an ELF segment's flags


class Pages:
    """Addresses from 0 to ``size``; the host gives memory to a page when it is first touched.

    Args:
        size: bytes, a multiple of the page size.

    Attributes:
        data: the bytes, by address.
        permissions: uint8 by page number; 0 is not mapped.
        code_changes: grows when an executable page gets other rights or is taken away.
    """

    def __init__(self, size: int) -> None:
        self.size = size - size % PAGE
        self.data: NDArray[np.uint8] = np.zeros(self.size, np.uint8)
        self.permissions: NDArray[np.uint8] = np.zeros(self.size >> PAGE_SHIFT, np.uint8)
        self.code_changes = 0

    def _span(self, address: int, count: int) -> slice:
        return slice(address >> PAGE_SHIFT, (address + count + PAGE - 1) >> PAGE_SHIFT)

    def inside(self, address: int, count: int) -> bool:
        """Whether the range lies in the address space."""
        return 0 <= address <= address + count <= self.size

    def map(self, address: int, count: int, permissions: int) -> None:
        """Give the range's pages permissions; their bytes stay as they are.

        Raises:
            ProgramError: the range is not in the address space.
        """
        if not self.inside(address, count):
            raise ProgramError(
                f"{count} bytes at {address:#x} are outside the address space of {self.size:#x} bytes",
                hint="Make memory.dram_bytes larger.",
            )
        span = self._span(address, count)
        self.code_changes += bool(np.any(self.permissions[span] & EXECUTE))
        self.permissions[span] = permissions

    def unmap(self, address: int, count: int) -> None:
        """Take the pages away; mapped again they read as zero."""
        span = self._span(address, count)
        self.code_changes += bool(np.any(self.permissions[span] & EXECUTE))
        self.permissions[span] = 0
        self.data[span.start << PAGE_SHIFT : span.stop << PAGE_SHIFT] = 0

    def allows(self, address: int, count: int, need: int) -> bool:
        """Whether every page of the range has one of the permissions in ``need``."""
        return self.inside(address, count) and bool(
            np.all(self.permissions[self._span(address, count)] & need)
        )

    def free_below(self, top: int, count: int) -> int | None:
        """The highest free range of whole pages that ends at or below ``top``."""
        need = (count + PAGE - 1) >> PAGE_SHIFT
        used = np.flatnonzero(self.permissions[: top >> PAGE_SHIFT])
        ends = np.append(used, top >> PAGE_SHIFT)
        begins = np.concatenate([[0], used + 1])
        fits = np.flatnonzero(ends - begins >= need)
        return (int(ends[fits[-1]]) - need) << PAGE_SHIFT if fits.size else None

    def words(self) -> dict[str, int]:
        """What a hart's state has to say of it."""
        return {
            "page_base": 0,
            "page_bytes": self.size,
            "page_delta": self.data.ctypes.data,
            "page_table": self.permissions.ctypes.data,
        }
