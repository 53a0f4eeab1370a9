"""Files of a simulated process: its standard streams, and what lies below the directory that the user names."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from potluck.isa.errors import ProgramError

O_ACCMODE, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY = 3, 0o100, 0o200, 0o1000, 0o2000, 0o200000
_HOST = {O_CREAT: os.O_CREAT, O_EXCL: os.O_EXCL, O_TRUNC: os.O_TRUNC, O_APPEND: os.O_APPEND,
         O_DIRECTORY: getattr(os, "O_DIRECTORY", 0)}  # fmt: skip
LIMIT = 256  # open files
KEPT_BYTES = 1 << 28


class Stream:
    """Standard output or error: kept, and passed on as it comes."""

    def __init__(self, live: BinaryIO | None) -> None:
        self.kept = bytearray()
        self._live = live

    def write(self, data: bytes) -> int:
        """Append.

        Raises:
            ProgramError: more than :data:`KEPT_BYTES` in all, which the host would have to hold.
        """
        if len(self.kept) + len(data) > KEPT_BYTES:
            raise ProgramError(
                f"the program wrote more than {KEPT_BYTES >> 20} MiB to one of its standard streams",
                hint="Write to a file below --root instead.",
            )
        self.kept += data
        if self._live is not None:
            self._live.write(data)
            self._live.flush()
        return len(data)


class Files:
    """File descriptors. Every method that fails raises OSError with an errno, which the caller returns negated."""

    def __init__(self, stdin: bytes | BinaryIO, stdout: Stream, stderr: Stream, root: Path | None) -> None:
        self._stdin: BinaryIO = io.BytesIO(stdin) if isinstance(stdin, bytes) else stdin
        self._streams = {1: stdout, 2: stderr}
        self._root = root.resolve() if root else None
        self._open: dict[int, int | Stream | None] = {
            0: None,
            1: stdout,
            2: stderr,
        }  # to host fd; None is stdin

    def close_all(self) -> None:
        """At the end of the run."""
        for number in list(self._open):
            self.close(number)

    def host_path(self, path: str) -> Path:
        """Where a path lies on the host: never outside the root, whatever links say."""
        if self._root is None:
            raise OSError(errno.ENOENT, "no root directory was given")
        found = self._root
        for part in path.split("/"):
            if part == "..":
                found = found.parent if found != self._root else found  # /.. is /
            elif part not in ("", "."):
                found = Path(os.path.realpath(found / part))
            if found != self._root and self._root not in found.parents:
                raise OSError(errno.ENOENT, "outside the root directory")
        return found

    def open(self, path: str, flags: int, mode: int) -> int:
        """The lowest free descriptor for a regular file or directory."""
        host = self.host_path(path)
        if host.exists() and not (host.is_file() or host.is_dir()):
            raise OSError(errno.EACCES, "neither a file nor a directory")
        if len(self._open) >= LIMIT:
            raise OSError(errno.EMFILE, "too many open files")
        options = flags & O_ACCMODE | os.O_CLOEXEC
        options |= sum(theirs for ours, theirs in _HOST.items() if flags & ours)
        options |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        return self._enter(os.open(host, options, mode & 0o777))

    def _enter(self, what: int | Stream | None) -> int:
        number = next(n for n in range(LIMIT + 1) if n not in self._open)
        self._open[number] = what
        return number

    def _find(self, number: int) -> int | Stream | None:
        if number not in self._open:
            raise OSError(errno.EBADF, "no such descriptor")
        return self._open[number]

    def close(self, number: int) -> int:
        """Close a descriptor."""
        what = self._find(number)
        del self._open[number]
        if isinstance(what, int):
            os.close(what)
        return 0

    def duplicate(self, number: int) -> int:
        """``dup``."""
        what = self._find(number)
        return self._enter(os.dup(what) if isinstance(what, int) else what)

    def read(self, number: int, count: int, at: int | None = None) -> bytes:
        """Up to ``count`` bytes, from the position or from ``at``."""
        what = self._find(number)
        if isinstance(what, Stream):
            raise OSError(errno.EBADF, "not open for reading")
        if isinstance(what, int):
            return os.read(what, count) if at is None else os.pread(what, count, at)
        # What is there counts, so that a person at a terminal is answered line by line.
        return (
            self._stdin.read1(count)
            if isinstance(self._stdin, io.BufferedReader)
            else self._stdin.read(count)
        )

    def write(self, number: int, data: bytes) -> int:
        """Write all of it."""
        what = self._find(number)
        if what is None:
            raise OSError(errno.EBADF, "not open for writing")
        return what.write(data) if isinstance(what, Stream) else os.write(what, data)

    def seek(self, number: int, offset: int, whence: int) -> int:
        """``lseek``."""
        what = self._find(number)
        if not isinstance(what, int):
            raise OSError(errno.ESPIPE, "a stream")
        if not 0 <= whence <= 2:
            raise OSError(errno.EINVAL, "whence")
        return os.lseek(what, offset, whence)

    def status(self, number: int) -> tuple[int, int]:
        """Mode and size; the host's other facts stay on the host."""
        what = self._find(number)
        if isinstance(what, int):
            found = os.fstat(what)
            return found.st_mode, found.st_size
        return stat.S_IFIFO | 0o600, 0

    def status_of(self, path: str) -> tuple[int, int]:
        """As :meth:`status`, by path."""
        found = self.host_path(path).stat()
        return found.st_mode, found.st_size
