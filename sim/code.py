"""A program's code as it is fetched: parcels of 16 bits, instructions of 2, 4 or 8 bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from potluck.isa.decode import decoder
from potluck.isa.errors import TrapError
from potluck.sim.jit.control import FCSR, FFLAGS


class Code:
    """What instruction fetch sees: images of executable memory, taken when the program is loaded.

    Args:
        regions: (address, bytes) of every executable range.
        encoding: the machine's ``isa.vmxdotp_encoding``, which decides how long some instructions are.
    """

    def __init__(self, regions: Iterable[tuple[int, bytes]], encoding: str = "spatz") -> None:
        self.regions = sorted(regions)
        self._length = decoder(encoding).length

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
        for base, data in self.regions:
            at = pc - base
            if 0 <= at < len(data) - 1:
                count = self._length(data[at])
                if at + count > len(data):
                    raise TrapError("the instruction reaches beyond the program's text", pc=pc)
                return int.from_bytes(data[at : at + count], "little"), count
        raise TrapError("jump outside the program's text", pc=pc)

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

    def reads_flags(self) -> bool:
        """Whether any instruction can observe fflags: a CSR access to fflags or fcsr with a destination."""
        words = self.words()
        csr = (words >> 20) & 0xFFF
        access = ((words & 0x7F) == 0x73) & (((words >> 12) & 3) != 0)
        return bool(np.any(access & ((csr == FFLAGS) | (csr == FCSR)) & (((words >> 7) & 31) != 0)))
