"""A campaign's folder: what was registered, journals of trials, and the same compacted to Parquet.

    campaign.json            the spec, its hash, digests of its files, and what reports need of every cell
    journal/*.journal        a file per worker and start (`potluck.parallel.journal`)
    trials/*.parquet         what journals held, without duplicates; written aside, then renamed

A trial counts once, whoever wrote it down how often: the first record of an id is as good as any other.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from potluck.campaign.record import Record
from potluck.campaign.spec import Spec, validated
from potluck.isa.errors import CampaignError
from potluck.parallel.folder import Folder, Seen
from potluck.parallel.journal import SUFFIX, Damage, read_journal
from potluck.replacing import replacing

FORMAT = 1
GROUP = 8192
"""Rows that are turned from one form to the other at a time."""
NESTED = ("sectors", "tensors", "fields")
"""Columns of counts by name: JSON text in Parquet, as names differ from network to network."""


class Store(Folder):
    """A campaign's folder.

    Args:
        folder: exists if the campaign is registered.
        owner: what deletes the folder when it is gone itself, if it is a temporary one.
    """

    what, file, format, error = "campaign", "campaign.json", FORMAT, CampaignError
    begin = "potluck campaign run SPEC"

    def __init__(self, folder: str | Path, owner: object = None) -> None:
        super().__init__(folder, owner)
        self.tables = self.folder / "trials"

    def register(self, registration: dict[str, Any]) -> None:
        """See `Folder.register`."""
        self.tables.mkdir(parents=True, exist_ok=True)
        super().register(registration)

    def spec(self) -> Spec:
        """The spec as it was registered.

        Raises:
            CampaignError: somebody changed it.
        """
        held = self.registration()
        spec = validated(held["spec"])
        if spec.hash != held["hash"]:
            raise CampaignError(f"{self.folder / self.file} does not have the hash it states",
                                hint="It was changed by hand; begin another campaign")  # fmt: skip
        return spec

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
        yield from self._in_journals(seen, damage)

    def record(self, identity: int) -> Record | None:
        """One trial's, if it ran."""
        return next((found for found in self.records() if found["id"] == identity), None)

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


def _write_table(path: Path, records: Mapping[int, bytes]) -> None:
    """Write records, given as JSON by id, in the order of ids."""
    import pyarrow
    from pyarrow import parquet

    ids = sorted(records)
    schema = None
    with replacing(path) as temporary, temporary.open("wb") as file:
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
