"""Records that survive a kill: appended to a file per worker, each in a frame with its length and a checksum.

A frame is ``PLJ1``, the payload's length (little-endian, 4 bytes), 8 bytes of BLAKE2b over length and payload, and the
payload, JSON. One ``write`` appends it, so a killed process leaves whole frames and at most one torn one, at the end.
Whatever does not verify is left out and counted: its trial is missing, and will be run again.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from potluck.isa.documents import json_of

MAGIC = b"PLJ1"
_HEAD = struct.Struct("<4sI8s")
LARGEST = 1 << 28
SUFFIX = ".journal"


def _checksum(payload: bytes) -> bytes:
    return hashlib.blake2b(len(payload).to_bytes(4, "little") + payload, digest_size=8).digest()


def frame(record: dict[str, Any]) -> bytes:
    """A record as it is appended."""
    return enframed(json.dumps(record, separators=(",", ":")).encode())


def enframed(payload: bytes) -> bytes:
    """Bytes in a frame."""
    return _HEAD.pack(MAGIC, len(payload), _checksum(payload)) + payload


class Journal:
    """A file of this process in a folder, to which records are appended; a new one when somebody deleted the last.

    Args:
        folder: of all journals; exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open()

    def _open(self) -> None:
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        self.path = self._folder / name
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)

    def append(self, record: dict[str, Any]) -> None:
        """Append a record; it is in the system's hands when this returns."""
        if os.fstat(self._file).st_nlink == 0:  # compacted between two rounds
            os.close(self._file)
            self._open()
        data = frame(record)
        while data:  # a full disk raises; a short write goes on
            data = data[os.write(self._file, data) :]

    def sync(self) -> None:
        """Bring everything to the disk."""
        os.fsync(self._file)

    def close(self) -> None:
        """Bring everything to the disk, and append no more."""
        self.sync()
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()


@dataclass
class Damage:
    """What could not be read.

    Attributes:
        torn: bytes at the ends of files, as a kill leaves them.
        corrupt: bytes before whole frames: damage that no kill explains.
    """

    torn: int = 0
    corrupt: int = 0


def read_journal(path: Path, damage: Damage) -> Iterator[dict[str, Any]]:
    """The whole records of a file, in order.

    Args:
        path: of the file.
        damage: to which unreadable bytes are added.
    """
    data = path.read_bytes()
    at = good = 0
    while at < len(data):
        record, end = _frame_at(data, at)
        if record is None:
            found = data.find(MAGIC, at + 1)
            at = found if found >= 0 else len(data)
            continue
        damage.corrupt += at - good
        yield record
        at = good = end
    damage.torn += len(data) - good


def _frame_at(data: bytes, at: int) -> tuple[dict[str, Any] | None, int]:
    if at + _HEAD.size > len(data):
        return None, at
    magic, length, checksum = _HEAD.unpack_from(data, at)
    end = at + _HEAD.size + length
    if magic != MAGIC or length > LARGEST or end > len(data):
        return None, at
    payload = data[at + _HEAD.size : end]
    if _checksum(payload) != checksum:
        return None, at
    try:
        record = json_of(payload)
    except ValueError:
        return None, at
    return (record, end) if isinstance(record, dict) else (None, at)
