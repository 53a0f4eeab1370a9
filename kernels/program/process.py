"""Start and end of a program that runs alone on a machine, or as a process under Linux, from the same file.

The simulator enters with sp = 0: inputs are in memory already, outputs are read from there. Linux enters with sp at
the argument count, the arguments follow (RISC-V ELF psABI): one file per input, then one per output. A file whose
name ends in ``.npy`` is NumPy's format, version 1.0, little-endian in C order; any other holds the elements alone, in
the same order. System calls: openat, close, read, write, exit, rt_sigaction (asm-generic numbers).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from potluck.isa.assembly.assembler import Assembler
from potluck.kernels.program.process_files import (
    DESCRIPTOR,
    EXIT,
    RT_SIGACTION,
    Message,
    emit_files,
    emit_message,
)

STACK_BYTES = 4096
"""For kernels, which save registers."""
HEADER_BYTES = 65536
"""Longest .npy header, version 1.0."""
_SIGILL = 4
_MAGIC = b"\x93NUMPY\x01\x00"


@dataclass(frozen=True)
class FileTensor:
    """An FP32 input or output.

    Attributes:
        name: For messages.
        shape: As in the file, in C order.
        address: In memory, with the channels (axis 1) of a four-dimensional tensor innermost.
    """

    name: str
    shape: tuple[int, ...]
    address: int

    @property
    def axes(self) -> tuple[int, int, int]:
        """(images, planes, length): file order; in memory planes are innermost."""
        if len(self.shape) == 4:
            n, c, h, w = self.shape
            return n, c, h * w
        size = 1
        for dim in self.shape:
            size *= dim
        return 1, 1, size

    @property
    def size(self) -> int:
        """Bytes of the elements."""
        images, planes, length = self.axes
        return 4 * images * planes * length

    @property
    def described(self) -> bytes:
        """The dictionary of its .npy header, as NumPy writes it."""
        return f"{{'descr': '<f4', 'fortran_order': False, 'shape': {self.shape}, }}".encode()

    @property
    def header(self) -> bytes:
        """Its .npy header, a multiple of 64 bytes."""
        text = self.described
        room = -(-(len(_MAGIC) + 2 + len(text) + 1) // 64) * 64 - len(_MAGIC) - 2
        return _MAGIC + struct.pack("<H", room) + text.ljust(room - 1) + b"\n"


@dataclass(frozen=True)
class Process:
    """What surrounds a program's layers. Registers s2 and s3 are its own from start to end.

    Attributes:
        inputs: In the order of the arguments.
        outputs: Following them.
        base: Address of `data`.
        buffer: Address of `buffer_bytes` of memory for files.
        stack: Address behind `STACK_BYTES` of stack.
    """

    inputs: tuple[FileTensor, ...]
    outputs: tuple[FileTensor, ...]
    base: int = 0
    buffer: int = 0
    stack: int = 0

    @property
    def buffer_bytes(self) -> int:
        """Room for the largest file and a byte more, which tells that a file is too long."""
        return max(HEADER_BYTES, *(tensor.size for tensor in (*self.inputs, *self.outputs))) + 64

    @property
    def usage(self) -> bytes:
        """Printed when the number of arguments is wrong."""
        names = [f"{tensor.name}.npy" for tensor in (*self.inputs, *self.outputs)]
        lines = [f"usage: PROGRAM {' '.join(names)}"]
        for role, tensors in (("input", self.inputs), ("output", self.outputs)):
            lines += [f"  {role} {t.name}: float32 {list(t.shape)}" for t in tensors]
        lines.append("Files that are not named *.npy hold the elements alone, little-endian in C order.")
        return ("\n".join(lines) + "\n").encode()

    @cached_property
    def _blob(self) -> tuple[bytes, dict[str, Message]]:
        tensors = (*self.inputs, *self.outputs)
        at, strings = self.base + DESCRIPTOR * len(tensors), bytearray()

        def keep(text: bytes) -> Message:
            where = Message(at + len(strings), len(text))
            strings.extend(text)
            return where

        descriptors = b""
        for tensor in tensors:
            header = keep(tensor.header)
            descriptors += struct.pack(
                "<8q", tensor.address, tensor.size, header.address, header.bytes, len(tensor.described), *tensor.axes
            )  # fmt: skip
        messages = {name: keep(text) for name, text in _TEXTS.items()}
        messages["usage"] = keep(self.usage)
        return descriptors + bytes(strings), messages

    @property
    def data(self) -> bytes:
        """Descriptors and texts, at ``base``; their size does not depend on addresses."""
        return self._blob[0]

    def emit_start(self, a: Assembler) -> None:
        """Entry ``_start``: stack, and under Linux the inputs from their files."""
        ready = a.fresh("inputs_ready")
        a.label("_start")
        a("mv", "s3", "sp")
        a("li", "sp", self.stack)
        a("beqz", "s3", ready)
        self._check(a)
        self._files(a, self.inputs, 0, "_read_tensor")
        a.label(ready)

    def _check(self, a: Assembler) -> None:
        """The number of arguments; and if an instruction turns out to be illegal, the program says why.

        ``AT_HWCAP`` would tell in advance, but older kernels and emulators have V and do not say so there.
        """
        a("ld", "t0", "0(s3)")
        a("li", "t1", 1 + len(self.inputs) + len(self.outputs))
        a("bne", "t0", "t1", "_usage")
        a("li", "a1", self.buffer)  # struct sigaction: handler, flags, mask
        a("la", "t0", "_no_vector")
        a("sd", "t0", "0(a1)")
        a("sd", "zero", "8(a1)")
        a("sd", "zero", "16(a1)")
        a("li", "a0", _SIGILL)
        a("li", "a2", 0)
        a("li", "a3", 8)
        a("li", "a7", RT_SIGACTION)
        a("ecall")

    def _files(self, a: Assembler, tensors: Sequence[FileTensor], first: int, routine: str) -> None:
        """Calls ``routine`` with descriptor s4 and argument s5 for each tensor."""
        every = [*self.inputs, *self.outputs]
        if not tensors:
            return
        again = a.fresh("process_files")
        a("li", "s4", self.base + DESCRIPTOR * first)
        assert every[first] is tensors[0]
        a("addi", "s5", "s3", 16 + 8 * first)
        a("li", "s6", len(tensors))
        a.label(again)
        a("call", routine)
        a("addi", "s4", "s4", DESCRIPTOR)
        a("addi", "s5", "s5", 8)
        a("addi", "s6", "s6", -1)
        a("bnez", "s6", again)

    def emit_end(self, a: Assembler) -> None:
        """Under Linux the outputs to their files; exit; then the routines for files and errors."""
        done, messages = a.fresh("process_done"), self._blob[1]
        a("beqz", "s3", done)
        self._files(a, self.outputs, len(self.inputs), "_write_tensor")
        a.label(done)
        a("li", "a0", 0)
        a("li", "a7", EXIT)
        a("ecall")
        emit_files(a, self.buffer, messages)
        for label, name, code in (("_usage", "usage", 2), ("_no_vector", "no_vector", 1)):
            a.label(label)
            emit_message(a, messages[name])
            a("li", "a0", code)
            a("li", "a7", EXIT)
            a("ecall")


_TEXTS = {
    "open": b"error: cannot open ",
    "read": b"error: too short or not readable: ",
    "long": b"error: longer than expected: ",
    "header": b"error: not a .npy file, version 1.0, of the expected type and shape: ",
    "write": b"error: cannot write ",
    "expected": b"\nexpected ",
    "newline": b"\n",
    "no_vector": b"error: illegal instruction: this processor has no vector extension (V 1.0 with D)\n",
}
