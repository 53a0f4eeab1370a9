"""The host-target interface of bare-metal programs: what a store to ``tohost`` asks for (as Spike's fesvr answers it).

The top byte of the word is a device, the next a command. Device 0 takes an exit code (``code << 1 | 1``) or the address
of a system call's eight words, device 1 is a console. The answer goes to ``fromhost``.
"""

from __future__ import annotations

import errno
import warnings

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import ProgramError
from potluck.sim.linux.files import Files, Stream
from potluck.sim.linux.process import Environment
from potluck.sim.memory import Memory

PAYLOAD = (1 << 48) - 1
MOST_WARNINGS = 64
READ, WRITE, EXIT = 63, 64, 93


class HostInterface:
    """The host's side, with standard streams only."""

    def __init__(self, memory: Memory, environment: Environment) -> None:
        self._memory = memory
        self.stdout, self.stderr = Stream(environment.stdout), Stream(environment.stderr)
        self._files = Files(environment.stdin, self.stdout, self.stderr, None)
        self._warned: set[int] = set()

    def answer(self, value: int, pc: int) -> int | None:
        """Carry out what the word asks for; the exit code if it is the end.

        Raises:
            ProgramError: an unknown device or command, or a pointer outside memory.
        """
        try:
            return self._answer(value, pc)
        except ProgramError as problem:  # of a range: say where it was asked for
            raise ProgramError(problem.message, pc=pc, hint=problem.hint) from None

    def _answer(self, value: int, pc: int) -> int | None:
        device, command, payload = value >> 56, value >> 48 & 0xFF, value & PAYLOAD
        if (device, command) == (0, 0) and payload & 1:
            return payload >> 1 & 0xFF
        reply = 1
        if (device, command) == (0, 0):
            words = self._memory.view(payload, 64, "system call").view(np.uint64)
            if int(words[0]) == EXIT:
                return int(words[1]) & 0xFF
            words[0] = self._call(words, pc) & (1 << 64) - 1
        elif (device, command) == (1, 1):
            self.stdout.write(bytes([payload & 0xFF]))
            reply = 1 << 56 | 1 << 48
        elif (device, command) == (1, 0):
            typed = self._files.read(0, 1)
            reply = 1 << 56 | (0x100 | typed[0] if typed else 0)
        else:
            raise ProgramError(f"tohost asks for device {device}, command {command}: expected 0 or 1", pc=pc)
        self._put("tohost", 0)
        self._put("fromhost", reply)
        return None

    def _put(self, symbol: str, value: int) -> None:
        address = self._memory.program.symbols.get(symbol)
        if address is not None:
            self._memory.view(address, 8, symbol).view(np.uint64)[0] = value

    def _call(self, words: NDArray[np.uint64], pc: int) -> int:
        number, file, address, count = (int(word) for word in words[:4])
        try:
            if number == WRITE:
                return self._files.write(file, self._memory.view(address, count, "write").tobytes())
            if number == READ:
                target = self._memory.view(address, count, "read")
                data = self._files.read(file, count)
                target[: len(data)] = np.frombuffer(data, np.uint8)
                return len(data)
        except OSError as problem:
            return -(problem.errno or errno.EIO)
        if number not in self._warned and len(self._warned) < MOST_WARNINGS:
            self._warned.add(number)
            warnings.warn(
                f"system call {number} by tohost at pc {pc:#x} is not implemented: the program gets -ENOSYS",
                stacklevel=2,
            )
        return -errno.ENOSYS
