"""Memory between pages that nobody may touch: a single byte beyond either end stops the process with SIGSEGV."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
from numpy.typing import NDArray

PAGE = mmap.PAGESIZE
CANARY = 0xC5
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
PROT_NONE = 0


def guarded(size: int) -> NDArray[np.uint8]:
    """Zeros that end exactly where a forbidden page begins; before them lie canaries (to the page's begin) and another
    forbidden page.

    The mapping lives as long as the array.
    """
    room = -(-size // PAGE) * PAGE
    mapping = mmap.mmap(-1, room + 2 * PAGE)
    raw = np.frombuffer(mapping, np.uint8)
    raw[PAGE : PAGE + room - size] = CANARY
    for at in (0, PAGE + room):
        if _LIBC.mprotect(raw.ctypes.data + at, PAGE, PROT_NONE):
            raise OSError(ctypes.get_errno(), "mprotect")
    return raw[PAGE + room - size : PAGE + room]
