"""Nothing that was written down is lost, whatever a kill, a disk or a second worker does to the files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potluck.campaign.store import Store
from potluck.isa.errors import CampaignError
from potluck.parallel.journal import Damage, Journal, frame, read_journal


def record(identity: int, **more: object) -> dict:
    return {
        "id": identity, "cell": 0, "number": identity, "outcome": "masked", "faults": 1, "accuracy": 0.1 + identity,
        "delta_nll": None, "sectors": {"elements CE": 1}, "tensors": {"w": 1}, "fields": {}, "seconds": 0.5,
        "worker": "here-1",
    } | more  # fmt: skip


def written(folder: Path, records: list[dict]) -> Path:
    with Journal(folder) as journal:
        for one in records:
            journal.append(one)
    return journal.path


def read(path: Path) -> tuple[list[dict], Damage]:
    damage = Damage()
    return list(read_journal(path, damage)), damage


def test_records_come_back(tmp_path: Path) -> None:
    records = [record(k, name="ünïcode \n PLJ1") for k in range(20)]
    assert read(written(tmp_path, records)) == (records, Damage())
    assert read(written(tmp_path, [])) == ([], Damage())
    assert len(list(tmp_path.glob("*.journal"))) == 2  # never the same file twice


def test_a_tail_torn_at_any_byte_costs_one_record(tmp_path: Path) -> None:
    records = [record(k) for k in range(3)]
    whole = written(tmp_path, records).read_bytes()
    last = len(whole) - len(frame(records[2]))
    path = tmp_path / "torn.journal"
    for end in range(last, len(whole)):
        path.write_bytes(whole[:end])
        assert read(path) == (records[:2], Damage(torn=end - last))


@settings(max_examples=60)
@given(st.data())
def test_damage_anywhere_costs_what_it_touches(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("j")
    records = [record(k) for k in range(6)]
    path = written(folder, records)
    raw = bytearray(path.read_bytes())
    at, value = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(1, 255))
    raw[at] ^= value
    path.write_bytes(raw)
    found, damage = read(path)
    size = len(frame(records[0]))
    hit = at // size
    assert found == records[:hit] + records[hit + 1 :]
    assert damage == (Damage(torn=size) if hit == 5 else Damage(corrupt=size))


def test_nonsense_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    for content in (b"", b"PLJ1", b"PLJ1" * 50, os.urandom(5000), json.dumps(record(1)).encode()):
        path.write_bytes(content)
        assert read(path) == ([], Damage(torn=len(content)))


def store(folder: Path) -> Store:
    made = Store(folder)
    made.register({"format": 1})
    return made


def test_compacted_and_journaled_trials_count_once(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    one = store(tmp_path)
    written(one.journals, [record(k) for k in (4, 1, 2)])
    written(one.journals, [record(k, worker="there-2", seconds=9.0) for k in (2, 3)])
    assert sorted(r["id"] for r in one.records()) == [1, 2, 3, 4]
    before = {r["id"]: r for r in one.records()}
    copies = [(path.name, path.read_bytes()) for path in one.journals.iterdir()]
    assert one.compact() == 4 and not list(one.journals.iterdir())
    assert {r["id"]: r for r in one.records()} == before
    for name, content in copies:  # killed between the table's renaming and the journals' deletion
        (one.journals / name).write_bytes(content)
    written(one.journals, [record(5)])
    assert sorted(r["id"] for r in one.records()) == [1, 2, 3, 4, 5]
    assert one.compact() == 1 and one.compact() == 0
    assert sorted(r["id"] for r in one.records()) == [1, 2, 3, 4, 5]
    assert one.record(3) == before[3] and one.record(9) is None


def test_a_journal_that_was_compacted_is_not_appended_to(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    one = store(tmp_path)
    with Journal(one.journals) as journal:
        journal.append(record(1))
        one.compact()
        journal.append(record(2))
    assert sorted(r["id"] for r in one.records()) == [1, 2]


def test_half_a_table_is_no_table(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    one = store(tmp_path)
    written(one.journals, [record(1)])
    (one.tables / "000000.parquet.part").write_bytes(b"PAR1 torn")
    assert [r["id"] for r in one.records()] == [1] and one.compact() == 1
    table = next(one.tables.glob("*.parquet"))
    table.write_bytes(table.read_bytes()[:100])
    with pytest.raises(CampaignError, match="is damaged"):
        list(one.records())


def test_duckdb_reads_the_table(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    duckdb = pytest.importorskip("duckdb")
    one = store(tmp_path)
    written(one.journals, [record(k) for k in range(10)])
    one.compact()
    query = f"select outcome, count(*), avg(accuracy) from '{one.tables}/*.parquet' group by outcome"
    assert duckdb.sql(query).fetchall() == [("masked", 10, pytest.approx(4.6))]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no campaign in"), ("{", "is damaged"), ('{"format": 99}', "has format 99")],
)
def test_a_registration_that_is_none(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "campaign.json").write_text(content)
    with pytest.raises(CampaignError, match=message):
        Store(tmp_path).registration()


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        Store(tmp_path).locked(),
        pytest.raises(CampaignError, match="another process runs"),
        Store(tmp_path).locked(),
    ):
        pass
    with Store(tmp_path).locked():
        pass
