"""Memory of this process at its peak. What getrusage says begins with the peak of the process that started it."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from pathlib import Path


def forget_peak() -> None:
    """Starts to measure `peak_memory` anew (proc(5): clear_refs), without what is no longer used."""
    gc.collect()
    with suppress(
        OSError, AttributeError
    ):  # glibc keeps what it got from the system until it is asked not to
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Most resident bytes of this process since `forget_peak`; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
