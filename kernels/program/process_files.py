"""Routines of `potluck.kernels.program.process`: a tensor from a file, a tensor to a file, and what is said on failure.

Registers: s4 descriptor, s5 argument, s6 tensors left (the caller's); s7 file descriptor, s8 path, s9 whether it ends
in .npy, s10 buffer, s11 return address.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from potluck.isa.assembly.assembler import Assembler

OPENAT, CLOSE, READ, WRITE, EXIT, RT_SIGACTION = 56, 57, 63, 64, 93, 134
"""System calls of RISC-V Linux."""
_AT_FDCWD = -100
_CREATE = 0o1 | 0o100 | 0o1000  # O_WRONLY, O_CREAT, O_TRUNC
_MODE = 0o666  # less the umask
DESCRIPTOR = 64
"""Bytes of a tensor's descriptor: address, bytes, header address and bytes, described bytes, images, planes, length."""
ADDRESS, BYTES, HEADER, HEADER_LENGTH, DESCRIBED, IMAGES, PLANES, LENGTH = range(0, 64, 8)
_PREAMBLE = 10  # magic, version, length of the header's text
_MAGIC = int.from_bytes(b"\x93NUMPY\x01\x00", "little", signed=True)
_SUFFIX = int.from_bytes(b".npy", "little")


class Message(NamedTuple):
    """A text in memory."""

    address: int
    bytes: int


def emit_message(a: Assembler, message: Message) -> None:
    """Write a text to standard error."""
    a("li", "a0", 2)
    a("li", "a1", message.address)
    a("li", "a2", message.bytes)
    a("li", "a7", WRITE)
    a("ecall")


def emit_files(a: Assembler, buffer: int, messages: Mapping[str, Message]) -> None:
    """All routines; entries ``_read_tensor`` and ``_write_tensor``.

    Args:
        a: Assembler.
        buffer: Address of memory for a file's contents.
        messages: ``open``, ``read``, ``long``, ``header``, ``write``, ``expected`` and ``newline``.
    """
    _read_tensor(a, buffer)
    _write_tensor(a, buffer)
    _copy(a, "_to_memory", load=("vle32.v", "v0", "(a1)"), store=("vsse32.v", "v0", "(t1)", "a4"))
    _copy(a, "_to_file", load=("vlse32.v", "v0", "(t1)", "a4"), store=("vse32.v", "v0", "(a1)"))
    _ends_in_npy(a)
    _all_bytes(a, "_read_all", READ, "_fail_read")
    _all_bytes(a, "_write_all", WRITE, "_fail_write")
    for name in ("open", "read", "long", "write", "header"):
        _failure(a, name, messages)


def _open(a: Assembler, buffer: int, flags: int, fail: str) -> None:
    a("mv", "s11", "ra")
    a("ld", "s8", "0(s5)")
    a("li", "s10", buffer)
    a("call", "_ends_in_npy")
    a("li", "a0", _AT_FDCWD)
    a("mv", "a1", "s8")
    a("li", "a2", flags)
    a("li", "a3", _MODE)
    a("li", "a7", OPENAT)
    a("ecall")
    a("bltz", "a0", fail)
    a("mv", "s7", "a0")


def _close(a: Assembler) -> None:
    a("mv", "a0", "s7")
    a("li", "a7", CLOSE)
    a("ecall")


def _read_tensor(a: Assembler, buffer: int) -> None:
    elements, compare = a.fresh("read_elements"), a.fresh("read_compare")
    a.label("_read_tensor")
    _open(a, buffer, 0, "_fail_open")
    a("beqz", "s9", elements)
    a("mv", "a1", "s10")
    a("li", "a2", _PREAMBLE)
    a("call", "_read_all")
    a("ld", "t0", "0(s10)")
    a("li", "t1", _MAGIC)
    a("bne", "t0", "t1", "_fail_header")
    a("lhu", "s9", "8(s10)")
    a("ld", "t0", f"{DESCRIBED}(s4)")
    a("bltu", "s9", "t0", "_fail_header")
    a("mv", "a1", "s10")
    a("mv", "a2", "s9")
    a("call", "_read_all")
    a("ld", "t2", f"{DESCRIBED}(s4)")
    a("ld", "t1", f"{HEADER}(s4)")
    a("addi", "t1", "t1", _PREAMBLE)
    a("mv", "t0", "s10")
    a.label(compare)
    a("lbu", "t3", "0(t0)")
    a("lbu", "t4", "0(t1)")
    a("bne", "t3", "t4", "_fail_header")
    a("addi", "t0", "t0", 1)
    a("addi", "t1", "t1", 1)
    a("addi", "t2", "t2", -1)
    a("bnez", "t2", compare)
    a.label(elements)
    a("mv", "a1", "s10")
    a("ld", "a2", f"{BYTES}(s4)")
    a("call", "_read_all")
    a("mv", "a0", "s7")  # a1 is behind the elements, where the buffer has room
    a("li", "a2", 1)
    a("li", "a7", READ)
    a("ecall")
    a("bnez", "a0", "_fail_long")
    _close(a)
    a("mv", "a1", "s10")
    a("call", "_to_memory")
    a("jr", "s11")


def _write_tensor(a: Assembler, buffer: int) -> None:
    elements = a.fresh("write_elements")
    a.label("_write_tensor")
    _open(a, buffer, _CREATE, "_fail_write")
    a("mv", "a1", "s10")
    a("call", "_to_file")
    a("beqz", "s9", elements)
    a("ld", "a1", f"{HEADER}(s4)")
    a("ld", "a2", f"{HEADER_LENGTH}(s4)")
    a("call", "_write_all")
    a.label(elements)
    a("mv", "a1", "s10")
    a("ld", "a2", f"{BYTES}(s4)")
    a("call", "_write_all")
    _close(a)
    a("bltz", "a0", "_fail_write")  # some file systems report errors here
    a("jr", "s11")


def _copy(a: Assembler, name: str, load: tuple[str, ...], store: tuple[str, ...]) -> None:
    """Between a1, in the file's order, and the tensor, where planes are innermost."""
    image, plane, strip = (a.fresh(f"files_{part}") for part in ("image", "plane", "strip"))
    a.label(name)
    for register, offset in (("a0", ADDRESS), ("a3", IMAGES), ("t5", PLANES), ("t6", LENGTH)):
        a("ld", register, f"{offset}(s4)")
    a("slli", "a4", "t5", 2)
    a.label(image)
    a("mv", "a5", "t5")
    a("mv", "t0", "a0")
    a.label(plane)
    a("mv", "t1", "t0")
    a("mv", "a6", "t6")
    a.label(strip)
    a("vsetvli", "t2", "a6", "e32", "m8", "ta", "ma")
    a(*load)
    a(*store)
    a("slli", "t3", "t2", 2)
    a("add", "a1", "a1", "t3")
    a("mul", "t3", "t2", "a4")
    a("add", "t1", "t1", "t3")
    a("sub", "a6", "a6", "t2")
    a("bnez", "a6", strip)
    a("addi", "t0", "t0", 4)
    a("addi", "a5", "a5", -1)
    a("bnez", "a5", plane)
    a("mul", "t3", "t6", "a4")
    a("add", "a0", "a0", "t3")
    a("addi", "a3", "a3", -1)
    a("bnez", "a3", image)
    a("ret")


def _ends_in_npy(a: Assembler) -> None:
    """s9 = whether the path s8 ends in .npy."""
    again, short = a.fresh("path"), a.fresh("path_short")
    a.label("_ends_in_npy")
    a("li", "s9", 0)
    a("mv", "t0", "s8")
    a("li", "t1", 0)  # the last four characters
    a.label(again)
    a("lbu", "t2", "0(t0)")
    a("beqz", "t2", short)
    a("slli", "t2", "t2", 24)
    a("srli", "t1", "t1", 8)
    a("or", "t1", "t1", "t2")
    a("addi", "t0", "t0", 1)
    a("j", again)
    a.label(short)
    a("li", "t2", _SUFFIX)
    a("xor", "t1", "t1", "t2")
    a("seqz", "s9", "t1")
    a("ret")


def _all_bytes(a: Assembler, name: str, call: int, fail: str) -> None:
    """Read or write exactly a2 bytes at a1, which ends behind them."""
    done = a.fresh("files_done")
    a.label(name)
    a("beqz", "a2", done)
    a("mv", "a0", "s7")
    a("li", "a7", call)
    a("ecall")
    a("blez", "a0", fail)
    a("add", "a1", "a1", "a0")
    a("sub", "a2", "a2", "a0")
    a("j", name)
    a.label(done)
    a("ret")


def _failure(a: Assembler, name: str, messages: Mapping[str, Message]) -> None:
    """Say what is wrong with which file and exit with 1."""
    length = a.fresh("fail_length")
    a.label(f"_fail_{name}")
    emit_message(a, messages[name])
    a("mv", "a1", "s8")
    a("li", "a2", -1)
    a.label(length)
    a("addi", "a2", "a2", 1)
    a("add", "t0", "a1", "a2")
    a("lbu", "t0", "0(t0)")
    a("bnez", "t0", length)
    a("li", "a0", 2)
    a("li", "a7", WRITE)
    a("ecall")
    if name == "header":
        emit_message(a, messages["expected"])
        a("ld", "a1", f"{HEADER}(s4)")
        a("addi", "a1", "a1", _PREAMBLE)
        a("ld", "a2", f"{DESCRIBED}(s4)")
        a("li", "a0", 2)
        a("li", "a7", WRITE)
        a("ecall")
    emit_message(a, messages["newline"])
    a("li", "a0", 1)
    a("li", "a7", EXIT)
    a("ecall")
