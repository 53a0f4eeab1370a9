"""A campaign's folder: what was registered, journals of trials, and the same compacted to Parquet.

    campaign.json            the spec, its hash, digests of its files, and what reports need of every cell
    journal/*.journal        a file per worker and start (`potluck.campaign.journal`)
    trials/*.parquet         what journals held, without duplicates; written aside, then renamed

A trial counts once, whoever wrote it down how often: the first record of an id is as good as any other.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from potluck.campaign.journal import SUFFIX, Damage, read_journal
from potluck.campaign.record import Record
from potluck.campaign.spec import Spec, validated
from potluck.isa.errors import CampaignError

FORMAT = 1
REGISTRATION = "campaign.json"
GROUP = 8192
"""Rows that are turned from one form to the other at a time."""
NESTED = ("sectors", "tensors", "fields")
"""Columns of counts by name: JSON text in Parquet, as names differ from network to network."""


class Seen:
    """Ids of trials, a bit each."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, identity: int) -> bool:
        """Whether an id is new."""
        byte, bit = identity >> 3, 1 << (identity & 7)
        if byte >= len(self._bits):
            self._bits.extend(bytes(max(4096, byte + 1 - len(self._bits))))
        new = not self._bits[byte] & bit
        self._bits[byte] |= bit
        return new

    def below(self, end: int) -> int:
        """Those below an id, bit by bit."""
        return int.from_bytes(self._bits[: (end + 7) >> 3], "little") & (1 << end) - 1

    def __contains__(self, identity: int) -> bool:
        byte = identity >> 3
        return byte < len(self._bits) and bool(self._bits[byte] >> (identity & 7) & 1)


class Store:
    """A campaign's folder.

    Args:
        folder: exists if the campaign is registered.
        owner: what deletes the folder when it is gone itself, if it is a temporary one.
    """

    def __init__(self, folder: str | Path, owner: object = None) -> None:
        self.folder, self.owner = Path(folder), owner
        self.journals = self.folder / "journal"
        self.tables = self.folder / "trials"

    @property
    def registered(self) -> bool:
        """Whether a campaign was begun here."""
        return (self.folder / REGISTRATION).exists()

    def register(self, registration: dict[str, Any]) -> None:
        """Write what is fixed before the first trial."""
        self.journals.mkdir(parents=True, exist_ok=True)
        self.tables.mkdir(exist_ok=True)
        replace_text(self.folder / REGISTRATION, json.dumps(registration, indent=1) + "\n")

    def registration(self) -> dict[str, Any]:
        """What was fixed before the first trial.

        Raises:
            CampaignError: there is no campaign, or another version of Potluck made it.
        """
        path = self.folder / REGISTRATION
        try:
            found = json.loads(path.read_text())
        except OSError:
            raise CampaignError(
                f"no campaign in {self.folder}", hint="Begin it: potluck campaign run SPEC"
            ) from None
        except json.JSONDecodeError as problem:
            raise CampaignError(
                f"{path} is damaged: {problem}", hint="Delete the folder and run again"
            ) from None
        if found.get("format") != FORMAT:
            raise CampaignError(f"{path} has format {found.get('format')!r}, not {FORMAT}",
                                hint="Report it with the version that made it")  # fmt: skip
        return dict(found)

    def spec(self) -> Spec:
        """The spec as it was registered.

        Raises:
            CampaignError: somebody changed it.
        """
        held = self.registration()
        spec = validated(held["spec"])
        if spec.hash != held["hash"]:
            raise CampaignError(f"{self.folder / REGISTRATION} does not have the hash it states",
                                hint="It was changed by hand; begin another campaign")  # fmt: skip
        return spec

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out; a killed one leaves no lock behind.

        Raises:
            CampaignError: another process runs this campaign.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise CampaignError(f"another process runs the campaign in {self.folder}") from None
            yield
        finally:
            os.close(handle)

    def records(self, damage: Damage | None = None, columns: list[str] | None = None) -> Iterator[Record]:
        """All trials, each once.

        Args:
            damage: to which unreadable bytes of journals are added.
            columns: to read of compacted trials; all of those in journals. None: all.
        """
        seen = Seen()
        for path in sorted(self.tables.glob("*.parquet")):
            for record in _read_table(path, columns):
                seen.add(record["id"])
                yield record
        for path in sorted(self.journals.glob(f"*{SUFFIX}")):
            for record in read_journal(path, damage if damage is not None else Damage()):
                if seen.add(record["id"]):
                    yield record

    def record(self, identity: int) -> Record | None:
        """One trial's, if it ran."""
        return next((found for found in self.records() if found["id"] == identity), None)

    @property
    def journal_bytes(self) -> int:
        """Not compacted yet."""
        return sum(path.stat().st_size for path in self.journals.glob(f"*{SUFFIX}"))

    def compact(self) -> int:
        """Turn journals into a table, and delete them; nothing is lost whenever this is killed.

        Returns:
            How many trials the table holds; 0 without journals, or without pyarrow, where journals stay what they are.
        """
        if importlib.util.find_spec("pyarrow") is None:
            return 0
        paths = sorted(self.journals.glob(f"*{SUFFIX}"))
        known = Seen()
        for path in self.tables.glob("*.parquet"):
            for record in _read_table(path, ["id"]):
                known.add(record["id"])
        fresh: dict[int, bytes] = {}  # as text, which takes a tenth of the memory
        for path in paths:
            for record in read_journal(path, Damage()):
                if known.add(record["id"]):
                    fresh[record["id"]] = json.dumps(record).encode()
        if fresh:
            parts = [int(path.stem) for path in self.tables.glob("*.parquet")]
            _write_table(self.tables / f"{max(parts, default=-1) + 1:06}.parquet", fresh)
        for path in paths:
            path.unlink(missing_ok=True)
        return len(fresh)


def replace_text(path: Path, text: str) -> None:
    """Write a file, all of it or nothing, and on the disk when this returns."""
    temporary = path.with_name(path.name + ".part")
    with open(temporary, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _write_table(path: Path, records: Mapping[int, bytes]) -> None:
    """Write records, given as JSON by id, in the order of ids."""
    import pyarrow
    from pyarrow import parquet

    temporary, ids = path.with_name(path.name + ".part"), sorted(records)
    schema = None
    with open(temporary, "wb") as file:
        writer = None
        for first in range(0, len(ids), GROUP):
            rows = [json.loads(records[identity]) for identity in ids[first : first + GROUP]]
            columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in rows[0]}
            for name in NESTED:
                columns[name] = [json.dumps(value, sort_keys=True) for value in columns[name]]
            types = {"accuracy": pyarrow.float64(), "delta_nll": pyarrow.float64()}
            arrays = {name: pyarrow.array(values, types.get(name)) for name, values in columns.items()}
            table = pyarrow.table(arrays, schema)
            schema = table.schema
            if writer is None:
                writer = parquet.ParquetWriter(file, schema)
            writer.write_table(table)
        assert writer is not None
        writer.close()
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _read_table(path: Path, columns: list[str] | None = None) -> Iterator[Record]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(GROUP, columns=columns):
                for record in batch.to_pylist():
                    yield record | {name: json.loads(record[name]) for name in NESTED if name in record}
    except (OSError, pyarrow.ArrowException) as problem:
        text = str(problem).splitlines()[0]
        raise CampaignError(
            f"{path} is damaged: {text}", hint="Delete it: resume runs its trials again"
        ) from None
