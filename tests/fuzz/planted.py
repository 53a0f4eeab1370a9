"""A reader with the defects that fuzzing has to find."""

from __future__ import annotations

import logging
import os
from itertools import count
from pathlib import Path

from potluck.isa.errors import DataError

held: list[bytes] = []
calls = count()


def read(path: Path) -> int:
    """Fails in four ways, each behind comparisons that chance alone seldom passes."""
    data = path.read_bytes()
    if len(data) < 4:
        raise DataError("too short")
    if data[0] == 0x5A:
        if data[1] == 0xA5:
            return 1 // 0
        if data[1] == 0x33 and not held:
            held.append(b"x" * (300 << 20))
    elif data[0] == 0x11 and data[1] == 0x22:
        try:
            raise ValueError(data[2])
        except ValueError:
            logging.getLogger("planted").warning("it went wrong", exc_info=True)
    elif data[0] == 0xC3 and next(calls) > 200:
        os._exit(7)
    return 0
