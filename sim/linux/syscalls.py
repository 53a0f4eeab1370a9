"""Linux system calls of a simulated process, by number of the RISC-V ABI.

The process sees its own memory, its standard streams, a clock that follows the simulated cycles, seeded random numbers
and the directory that the user named, and nothing else of the host.
"""

from __future__ import annotations

import errno
import os
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from potluck.isa.errors import ProgramError
from potluck.sim.linux.files import Files, Stream
from potluck.sim.linux.pages import EXECUTE, PAGE, READ, WRITE
from potluck.sim.linux.process import Process

LARGEST_TRANSFER = 1 << 30
MOST_WARNINGS = 64  # of calls that are unknown: a program can make up any number of them
EPOCH = 946_684_800  # the wall clock begins at 2000-01-01: runs are equal whenever they happen
MAP_FIXED, MAP_ANONYMOUS = 0x10, 0x20
PATH_LIMIT = 4096
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
IOV_LIMIT = 1024


class Exit(Exception):
    """The process ended."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Moment:
    """What a call may know of the machine: when it is, and where."""

    nanoseconds: int
    pc: int


Call = Callable[["Kernel", Moment, list[int]], int]
CALLS: dict[int, tuple[str, Call]] = {}
QUIET = {  # calls whose effect a single process without signals cannot see
    96: "set_tid_address", 98: "futex", 99: "set_robust_list", 101: "nanosleep", 115: "clock_nanosleep",
    124: "sched_yield", 132: "sigaltstack", 134: "rt_sigaction", 135: "rt_sigprocmask", 233: "madvise",
}  # fmt: skip
REFUSED = {220: "clone", 258: "riscv_hwprobe", 291: "statx", 293: "rseq", 435: "clone3"}  # programs fall back
UNKNOWN_NAMES = {25: "fcntl", 35: "unlinkat", 61: "getdents64", 198: "socket", 221: "execve"}


def call(number: int, name: str) -> Callable[[Call], Call]:
    """Enter a function into the table of calls."""

    def enter(function: Call) -> Call:
        CALLS[number] = name, function
        return function

    return enter


class Kernel:
    """Carries out the calls of one process."""

    def __init__(self, process: Process) -> None:
        e = process.environment
        self.process, self.pages = process, process.pages
        self.stdout, self.stderr = Stream(e.stdout), Stream(e.stderr)
        self.files = Files(e.stdin, self.stdout, self.stderr, e.root)
        self._warned: set[int] = set()

    def call(self, number: int, arguments: list[int], moment: Moment) -> int:
        """The result as the kernel returns it: negative errno on failure.

        Raises:
            Exit: the process ended.
        """
        if number in QUIET:
            return 1 if number == 96 else 0
        if number in REFUSED:
            return -errno.ENOSYS
        if number not in CALLS:
            if number not in self._warned and len(self._warned) < MOST_WARNINGS:
                self._warned.add(number)
                name = UNKNOWN_NAMES.get(number, "")
                text = f"system call {number}{f' ({name})' if name else ''} at pc {moment.pc:#x} is not implemented"
                warnings.warn(f"{text}: the program gets -ENOSYS", stacklevel=2)
            return -errno.ENOSYS
        try:
            return CALLS[number][1](self, moment, arguments)
        except OSError as problem:
            return -(problem.errno or errno.EIO)

    # memory of the process --------------------------------------------------------------------------------------
    def read(self, address: int, count: int) -> bytes:
        """Bytes of the process; OSError EFAULT outside its memory."""
        if not self.pages.allows(address, count, READ):
            raise OSError(errno.EFAULT, "bad address")
        return self.pages.data[address : address + count].tobytes()

    def write(self, address: int, data: bytes) -> None:
        """Change memory of the process; OSError EFAULT outside its memory."""
        self.check_writable(address, len(data))
        self.pages.data[address : address + len(data)] = np.frombuffer(data, np.uint8)

    def check_writable(self, address: int, count: int) -> None:
        """OSError EFAULT outside its memory."""
        if not self.pages.allows(address, count, WRITE):
            raise OSError(errno.EFAULT, "bad address")

    def text(self, address: int) -> str:
        """A string of the process."""
        found = bytearray()
        while len(found) < PATH_LIMIT:
            rest = PAGE - address % PAGE
            chunk = self.read(address, rest)
            end = chunk.find(b"\0")
            if end >= 0:
                return os.fsdecode(bytes(found + chunk[:end]))
            found += chunk
            address += rest
        raise OSError(errno.ENAMETOOLONG, "path too long")

    def vectors(self, address: int, count: int) -> list[tuple[int, int]]:
        """An ``iovec`` array."""
        if not 0 <= count <= IOV_LIMIT:
            raise OSError(errno.EINVAL, "too many vectors")
        words = struct.unpack(f"<{2 * count}Q", self.read(address, 16 * count))
        return [(words[k], min(words[k + 1], LARGEST_TRANSFER)) for k in range(0, 2 * count, 2)]


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _int(value: int) -> int:
    value &= 0xFFFF_FFFF
    return value - (1 << 32) if value >> 31 else value


def _time(nanoseconds: int) -> bytes:
    return struct.pack("<qq", *divmod(nanoseconds, 1_000_000_000))


# streams and files ----------------------------------------------------------------------------------------------
@call(63, "read")
def _read(k: Kernel, _: Moment, a: list[int]) -> int:
    count = min(a[2], LARGEST_TRANSFER)
    k.check_writable(a[1], count)
    data = k.files.read(_int(a[0]), count)
    k.write(a[1], data)
    return len(data)


@call(67, "pread64")
def _pread(k: Kernel, _: Moment, a: list[int]) -> int:
    count = min(a[2], LARGEST_TRANSFER)
    k.check_writable(a[1], count)
    data = k.files.read(_int(a[0]), count, _signed(a[3]))
    k.write(a[1], data)
    return len(data)


@call(65, "readv")
def _readv(k: Kernel, _: Moment, a: list[int]) -> int:
    total = 0
    for address, count in k.vectors(a[1], _int(a[2])):
        k.check_writable(address, count)
        data = k.files.read(_int(a[0]), count)
        k.write(address, data)
        total += len(data)
        if len(data) < count:
            break
    return total


@call(64, "write")
def _write(k: Kernel, _: Moment, a: list[int]) -> int:
    return k.files.write(_int(a[0]), k.read(a[1], min(a[2], LARGEST_TRANSFER)))


@call(66, "writev")
def _writev(k: Kernel, _: Moment, a: list[int]) -> int:
    total = 0
    for address, count in k.vectors(
        a[1], _int(a[2])
    ):  # one by one: together they may be more than the host holds
        part = min(count, LARGEST_TRANSFER - total)
        try:
            written = k.files.write(_int(a[0]), k.read(address, part))
        except OSError:
            if total:  # what came before was written
                break
            raise
        total += written
        if written < count:
            break
    return total


@call(56, "openat")
def _openat(k: Kernel, _: Moment, a: list[int]) -> int:
    return k.files.open(k.text(a[1]), a[2], a[3])


@call(57, "close")
def _close(k: Kernel, _: Moment, a: list[int]) -> int:
    return k.files.close(_int(a[0]))


@call(23, "dup")
def _dup(k: Kernel, _: Moment, a: list[int]) -> int:
    return k.files.duplicate(_int(a[0]))


@call(62, "lseek")
def _lseek(k: Kernel, _: Moment, a: list[int]) -> int:
    return k.files.seek(_int(a[0]), _signed(a[1]), _int(a[2]))


def _stat(mode: int, size: int) -> bytes:
    """``struct stat`` of the generic 64-bit ABI: device, inode, mode, links, owner, size, block size, blocks, times."""
    head = struct.pack("<QQIIIIQQqiiq", 0, 1, mode, 1, 1000, 1000, 0, 0, size, PAGE, 0, -(-size // 512))
    return head + struct.pack("<qQqQqQII", EPOCH, 0, EPOCH, 0, EPOCH, 0, 0, 0)


@call(80, "fstat")
def _fstat(k: Kernel, _: Moment, a: list[int]) -> int:
    k.write(a[1], _stat(*k.files.status(_int(a[0]))))
    return 0


@call(79, "newfstatat")
def _fstatat(k: Kernel, _: Moment, a: list[int]) -> int:
    path = k.text(a[1])
    found = k.files.status(_int(a[0])) if not path and a[3] & AT_EMPTY_PATH else k.files.status_of(path)
    k.write(a[2], _stat(*found))
    return 0


@call(48, "faccessat")
def _faccessat(k: Kernel, _: Moment, a: list[int]) -> int:
    k.files.status_of(k.text(a[1]))
    return 0


@call(29, "ioctl")
def _ioctl(_: Kernel, __: Moment, ___: list[int]) -> int:
    return -errno.ENOTTY  # no stream is a terminal


@call(78, "readlinkat")
def _readlinkat(_: Kernel, __: Moment, ___: list[int]) -> int:
    return -errno.EINVAL  # links were followed on the way


@call(17, "getcwd")
def _getcwd(k: Kernel, _: Moment, a: list[int]) -> int:
    if a[1] < 2:
        return -errno.ERANGE
    k.write(a[0], b"/\0")
    return 2


# memory ---------------------------------------------------------------------------------------------------------
@call(214, "brk")
def _brk(k: Kernel, _: Moment, a: list[int]) -> int:
    return k.process.set_break(a[0])


@call(222, "mmap")
def _mmap(k: Kernel, _: Moment, a: list[int]) -> int:
    address, count, protection, flags, number, offset = a[:6]
    if not count or (flags & MAP_FIXED and address % PAGE) or offset % PAGE:
        return -errno.EINVAL
    if count > k.pages.size:
        return -errno.ENOMEM
    if offset >> 63:
        return -errno.EOVERFLOW
    data = b""
    if not flags & MAP_ANONYMOUS:
        data = k.files.read(_int(number), count, offset)  # a private copy
    where = address if flags & MAP_FIXED else k.process.place(address, count)
    if where is None or not k.pages.inside(where, count):
        return -errno.ENOMEM
    k.pages.unmap(where, count)
    k.pages.map(where, count, _permissions(protection))
    k.pages.data[where : where + len(data)] = np.frombuffer(data, np.uint8)
    return where


def _permissions(protection: int) -> int:
    """PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4 as page permissions; what may be written may be read. A mapping without
    any right is still there: it has a bit that allows nothing.
    """
    readable = READ if protection & 3 else 0
    return readable | (WRITE if protection & 2 else 0) | (EXECUTE | READ if protection & 4 else 0) or RESERVED


RESERVED = 0x80


@call(215, "munmap")
def _munmap(k: Kernel, _: Moment, a: list[int]) -> int:
    if a[0] % PAGE or not a[1] or not k.pages.inside(a[0], a[1]):
        return -errno.EINVAL
    k.pages.unmap(a[0], a[1])
    return 0


@call(216, "mremap")
def _mremap(k: Kernel, moment: Moment, a: list[int]) -> int:
    """Always moves (MREMAP_MAYMOVE), unless the mapping shrinks."""
    old, count, wanted, flags = a[:4]
    if old % PAGE or not count or not wanted or not k.pages.allows(old, count, READ | WRITE):
        return -errno.EINVAL
    if wanted <= count:
        whole = -(-wanted // PAGE) * PAGE
        if count > whole:
            k.pages.unmap(old + whole, count - whole)
        return old
    where = k.process.place(0, wanted) if flags & 1 and wanted <= k.pages.size else None
    if where is None:
        return -errno.ENOMEM
    k.pages.map(where, wanted, int(k.pages.permissions[old >> 12]))
    k.pages.data[where : where + count] = k.pages.data[old : old + count]
    k.pages.unmap(old, count)
    return where


@call(226, "mprotect")
def _mprotect(k: Kernel, _: Moment, a: list[int]) -> int:
    if a[0] % PAGE:
        return -errno.EINVAL
    if not k.pages.allows(a[0], a[1], 0xFF):
        return -errno.ENOMEM
    if a[1]:
        k.pages.map(a[0], a[1], _permissions(a[2]))
    return 0


@call(259, "riscv_flush_icache")
def _flush_icache(k: Kernel, _: Moment, a: list[int]) -> int:
    if a[2] & ~1:  # only SYS_RISCV_FLUSH_ICACHE_LOCAL is known
        return -errno.EINVAL
    k.pages.code_changes += 1  # all of it, whatever the range: as Linux does
    return 0


# time, chance, identity -----------------------------------------------------------------------------------------
@call(113, "clock_gettime")
def _clock(k: Kernel, moment: Moment, a: list[int]) -> int:
    k.write(a[1], _time(moment.nanoseconds + (EPOCH * 10**9 if _int(a[0]) in (0, 5) else 0)))
    return 0


@call(114, "clock_getres")
def _resolution(k: Kernel, _: Moment, a: list[int]) -> int:
    if a[1]:
        k.write(a[1], _time(1))
    return 0


@call(169, "gettimeofday")
def _time_of_day(k: Kernel, moment: Moment, a: list[int]) -> int:
    if a[0]:
        k.write(
            a[0], struct.pack("<qq", EPOCH + moment.nanoseconds // 10**9, moment.nanoseconds // 1000 % 10**6)
        )
    return 0


@call(278, "getrandom")
def _getrandom(k: Kernel, _: Moment, a: list[int]) -> int:
    count = min(a[1], 1 << 20)
    k.check_writable(a[0], count)
    k.write(a[0], k.process.random.bytes(count))
    return count


@call(160, "uname")
def _uname(k: Kernel, _: Moment, a: list[int]) -> int:
    names = ("Linux", "potluck", "6.6.0", "#1", "riscv64", "(none)")
    k.write(a[0], b"".join(name.encode().ljust(65, b"\0") for name in names))
    return 0


@call(261, "prlimit64")
def _prlimit(k: Kernel, _: Moment, a: list[int]) -> int:
    if a[3]:
        k.write(
            a[3], struct.pack("<QQ", 8 << 20, (1 << 64) - 1)
        )  # the stack's limit serves for every resource
    return 0


@call(165, "getrusage")
def _usage(k: Kernel, moment: Moment, a: list[int]) -> int:
    used = struct.pack("<qq", moment.nanoseconds // 10**9, moment.nanoseconds // 1000 % 10**6)
    k.write(a[1], used + bytes(144 - len(used)))
    return 0


@call(123, "sched_getaffinity")
def _affinity(k: Kernel, _: Moment, a: list[int]) -> int:
    if a[1] < 8:
        return -errno.EINVAL
    k.write(a[2], struct.pack("<Q", 1))
    return 8


def _constant(value: int) -> Call:
    return lambda _, __, ___: value


for _number, _name, _value in ((172, "getpid", 1), (173, "getppid", 0), (174, "getuid", 1000), (175, "geteuid", 1000),
                               (176, "getgid", 1000), (177, "getegid", 1000), (178, "gettid", 1)):  # fmt: skip
    CALLS[_number] = _name, _constant(_value)


# the end --------------------------------------------------------------------------------------------------------
@call(93, "exit")
def _exit(_: Kernel, __: Moment, a: list[int]) -> int:
    raise Exit(a[0] & 0xFF)


@call(94, "exit_group")
def _exit_group(_: Kernel, __: Moment, a: list[int]) -> int:
    raise Exit(a[0] & 0xFF)


@call(129, "kill")
def _kill(_: Kernel, moment: Moment, a: list[int]) -> int:
    raise ProgramError(f"the program ended itself by signal {_int(a[1])}", pc=moment.pc)


@call(130, "tkill")
def _tkill(_: Kernel, moment: Moment, a: list[int]) -> int:
    raise ProgramError(f"the program ended itself by signal {_int(a[1])}", pc=moment.pc)


@call(131, "tgkill")
def _tgkill(_: Kernel, moment: Moment, a: list[int]) -> int:
    raise ProgramError(f"the program ended itself by signal {_int(a[2])}", pc=moment.pc)
