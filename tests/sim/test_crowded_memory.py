"""Handlers load wherever memory is free: a process may leave holes for their code that are far from all other holes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import ctypes, gc, sys
from pathlib import Path

from potluck.isa.context import Context
from potluck.isa.table import TABLE
from potluck.sim.jit.compile import Compiler
from potluck.sim.jit.handler import Variant

mmap, munmap = ctypes.CDLL(None).mmap, ctypes.CDLL(None).munmap
mmap.restype, mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
NOBODY, PAGE = 0x4022, 4096  # private, anonymous, without swap space; no rights


def taken(size):
    return mmap(None, size, 0, NOBODY, -1, 0)


wanted = {v.name: v for v in (Variant(TABLE["vfcvt.f.xu.v"], Context(3 << 3), flags=True),)}
kept = [Compiler(Path(sys.argv[1])) for _ in range(2)]
kept[0].addresses(wanted)  # on disk from here on
gc.collect()
block = taken(8 << 30)
above = []
while (page := taken(PAGE)) > block:  # every hole above the block
    above.append(page)
munmap(above[len(above) // 2], PAGE)  # one is left, for the code; constants go below the block
print("loaded", all(kept[1].addresses(wanted).values()))
"""


def test_holes_far_apart(tmp_path: Path) -> None:
    """LLVM's own memory manager aborts here: constants lie more than 2 GiB from the code."""
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stdout == "loaded True\n"
