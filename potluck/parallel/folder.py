"""A folder of tasks: what was registered before the first one, and a journal of records from every worker.

    X.json                   what is fixed before the first task
    journal/*.journal        a file per worker and start (`potluck.parallel.journal`)

A task counts once, whoever wrote it down how often: the first record of an id is as good as any other.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from potluck.isa.documents import json_of
from potluck.isa.errors import PotluckError
from potluck.parallel.journal import SUFFIX, Damage, Journal, read_journal
from potluck.replacing import replace_text

Record = dict[str, Any]
_PIECE = 4096  # bytes
_JOURNALS: dict[Path, Journal] = {}


class Seen:
    """Ids of tasks, a bit each, in pieces: one absurd id takes no more than a piece."""

    def __init__(self) -> None:
        self._pieces: dict[int, bytearray] = {}

    def add(self, identity: int) -> bool:
        """Whether an id is new."""
        (number, byte), bit = divmod(identity >> 3, _PIECE), 1 << (identity & 7)
        piece = self._pieces.get(number)
        if piece is None:
            piece = self._pieces[number] = bytearray(_PIECE)
        new = not piece[byte] & bit
        piece[byte] |= bit
        return new

    def below(self, end: int) -> int:
        """Those below an id, bit by bit."""
        whole = (end + 8 * _PIECE - 1) // (8 * _PIECE)
        none = bytes(_PIECE)
        held = b"".join(self._pieces.get(number, none) for number in range(whole))
        return int.from_bytes(held, "little") & (1 << end) - 1

    def __contains__(self, identity: int) -> bool:
        number, byte = divmod(identity >> 3, _PIECE)
        return number in self._pieces and bool(self._pieces[number][byte] >> (identity & 7) & 1)


class Folder:
    """A folder of tasks.

    Args:
        folder: exists if something is registered.
        owner: what deletes the folder when it is gone itself, if it is a temporary one.

    Attributes:
        what: is registered, in one word.
        file: that holds the registration.
        format: of that file.
        error: class of what is wrong with it.
        begin: how to begin, for messages.
    """

    what: ClassVar[str]
    file: ClassVar[str]
    format: ClassVar[int]
    error: ClassVar[type[PotluckError]]
    begin: ClassVar[str]

    def __init__(self, folder: str | Path, owner: object = None) -> None:
        self.folder, self.owner = Path(folder), owner
        self.journals = self.folder / "journal"

    @property
    def registered(self) -> bool:
        """Whether something was begun here."""
        return (self.folder / self.file).exists()

    def register(self, registration: dict[str, Any]) -> None:
        """Write what is fixed before the first task; the format is added."""
        self.journals.mkdir(parents=True, exist_ok=True)
        replace_text(
            self.folder / self.file, json.dumps({"format": self.format} | registration, indent=1) + "\n"
        )

    def registration(self) -> dict[str, Any]:
        """What was fixed before the first task.

        Raises:
            PotluckError: of class ``error``: there is nothing, or another version of Potluck made it.
        """
        path = self.folder / self.file
        try:
            found = json_of(path.read_bytes())
        except OSError:
            raise self.error(f"no {self.what} in {self.folder}", hint=f"Begin it: {self.begin}") from None
        except ValueError as problem:
            raise self.error(
                f"{path} is damaged: {problem}", hint="Delete the folder and run again"
            ) from None
        written = found.get("format") if isinstance(found, dict) else None
        if written != self.format:
            raise self.error(f"{path} has format {written!r}, not {self.format}",
                             hint="Report it with the version that made it")  # fmt: skip
        return dict(found)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out; a killed one leaves no lock behind.

        Raises:
            PotluckError: of class ``error``: another process is at work here.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise self.error(f"another process runs the {self.what} in {self.folder}") from None
            yield
        finally:
            os.close(handle)

    def records(self, damage: Damage | None = None) -> Iterator[Record]:
        """All tasks in journals, each once.

        Args:
            damage: to which unreadable bytes are added.
        """
        yield from self._in_journals(Seen(), damage)

    def _in_journals(self, seen: Seen, damage: Damage | None) -> Iterator[Record]:
        for path in sorted(self.journals.glob(f"*{SUFFIX}")):
            for record in read_journal(path, damage if damage is not None else Damage()):
                identity = record.get("id")
                if type(identity) is int and identity >= 0 and seen.add(identity):
                    yield record

    @property
    def journal_bytes(self) -> int:
        """In journals."""
        return sum(path.stat().st_size for path in self.journals.glob(f"*{SUFFIX}"))

    def journal(self) -> Journal:
        """This process's journal, the same at every call until `leave`."""
        if self.journals not in _JOURNALS:
            _JOURNALS[self.journals] = Journal(self.journals)
        return _JOURNALS[self.journals]

    def leave(self) -> None:
        """Append no more from this process."""
        journal = _JOURNALS.pop(self.journals, None)
        if journal is not None:
            journal.close()
