"""Pages of memory by content: checkpoints refer to them by number, and equal ones are kept once."""

from __future__ import annotations

import hashlib
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.sim.cache import compiled
from potluck.sim.linux.pages import PAGE
from potluck.sim.raw import copy_bytes, view

_WORDS = PAGE // 8
_PAGE = np.uint64(PAGE)


class PageStore:
    """Contents of pages, each once.

    Args:
        kept: uint8 (contents, PAGE), which nobody changes; more may follow in memory of this process.
    """

    def __init__(self, kept: NDArray[np.uint8] | None = None) -> None:
        self.pages: NDArray[np.uint8] = np.zeros((0, PAGE), np.uint8) if kept is None else kept
        self.count = len(self.pages)
        self._known: dict[bytes, int] | None = {} if kept is None else None

    @property
    def address(self) -> int:
        """Of the first content; it changes when pages are added."""
        return self.pages.ctypes.data

    def number(self, page: NDArray[np.uint8]) -> int:
        """The number of a content, which is added if it is new."""
        if self._known is None:
            self._known = {_digest(self.pages[k]): k for k in range(self.count)}
        found = self._known.setdefault(_digest(page), self.count)
        if found == self.count:
            if self.count == len(self.pages):
                grown = np.zeros((max(256, 2 * self.count), PAGE), np.uint8)
                grown[: self.count] = self.pages
                self.pages = grown
            self.pages[self.count] = page
            self.count += 1
        return found


def _digest(page: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(page.tobytes(), digest_size=16).digest()


@compiled
def restore_pages(hosts: NDArray[Any], contents: NDArray[Any], store: int) -> None:
    """Fill pages in memory.

    Args:
        hosts: int64 (pages,), their host addresses.
        contents: int64 (pages,), numbers in the store.
        store: address of the store's first content.
    """
    for k in range(hosts.size):
        copy_bytes(np.uint64(hosts[k]), np.uint64(store + contents[k] * np.int64(PAGE)), _PAGE)


@compiled
def differs(host: int, content: int, store: int) -> bool:
    """Whether a page in memory holds something else than a content of the store."""
    here = view(host, (_WORDS,), np.uint64)
    there = view(store + content * np.int64(PAGE), (_WORDS,), np.uint64)
    changed = np.uint64(0)
    for k in range(_WORDS):  # without an early end, so that the compiler makes vectors of it
        changed |= here[k] ^ there[k]
    return bool(changed != 0)


@compiled
def first_difference(hosts: NDArray[Any], contents: NDArray[Any], store: int, likely: int) -> int:
    """The first page, ``likely`` before all others, that does not hold the content it should; -1: all do."""
    if differs(hosts[likely], contents[likely], store):
        return likely
    for k in range(hosts.size):
        if differs(hosts[k], contents[k], store):
            return k
    return -1


@numba.njit(nogil=True, cache=True)
def all_differences(hosts: NDArray[Any], contents: NDArray[Any], store: int) -> NDArray[Any]:
    """Of each page whether it holds another content than it should, bool (pages,)."""
    found = np.zeros(hosts.size, np.bool_)
    for k in range(hosts.size):
        found[k] = differs(hosts[k], contents[k], store)
    return found
