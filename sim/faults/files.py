"""Fault lists as CSV or Parquet: a row per faulty bit.

| column | what |
|---|---|
| trial | number; -1: in every trial |
| address | of the byte (data) or of the sector's first byte (check bits); the number of a word of metadata |
| sort | ``data``, ``sideband``, ``on-die``, ``metadata``; ``data-pins``, ``sideband-pins``: outside the device |
| bit | in the byte (data), or number of the check bit |
| action | ``flip``, ``set0`` or ``set1`` |
| permanent | ``true`` or ``false`` |

Nothing is repaired: a list with an error in it is refused, with the line (or row) and what is wrong there.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from potluck.isa.errors import DataError, ToolError
from potluck.sim.dram.kind import SECTOR
from potluck.sim.dram.mapping import Mapping as DramMapping
from potluck.sim.faults.faultset import SORT_NAMES, Action, FaultSet, Sort, fault_set, keys_of

COLUMNS = ("trial", "address", "sort", "bit", "action", "permanent")
SORTS = {name: sort for sort, name in SORT_NAMES.items()}
ACTIONS = {action.name.lower(): action for action in Action}


def write_faults(path: str | Path, trials: Mapping[int, FaultSet], base: int) -> None:
    """Write a list; nothing partial is left behind.

    Args:
        path: ``.csv`` or ``.parquet``.
        trials: faults by trial.
        base: address of DRAM (`memory.dram_base`).

    Raises:
        DataError: another suffix, or the file cannot be written.
        ToolError: Parquet without pyarrow.
    """
    path = Path(path)
    rows = [row for trial, faults in sorted(trials.items()) for row in _rows(trial, faults, base)]
    temporary = path.with_name(path.name + ".part")
    try:
        if path.suffix == ".csv":
            with open(temporary, "w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(COLUMNS)
                writer.writerows((t, f"{a:#x}", s, b, x, str(p).lower()) for t, a, s, b, x, p in rows)
        elif path.suffix == ".parquet":
            arrow, parquet = _pyarrow()
            columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
            types = (
                arrow.int64(),
                arrow.uint64(),
                arrow.string(),
                arrow.uint8(),
                arrow.string(),
                arrow.bool_(),
            )
            table = {n: arrow.array(c, t) for n, c, t in zip(COLUMNS, columns, types, strict=True)}
            parquet.write_table(arrow.table(table), temporary)
        else:
            raise _suffix(path)
        temporary.replace(path)
    except OSError as problem:
        temporary.unlink(missing_ok=True)
        raise DataError(f"cannot write {path}: {problem.strerror or problem}") from None


def _rows(trial: int, faults: FaultSet, base: int) -> Iterator[tuple[int, int, str, int, str, bool]]:
    for sector, number, bit, action, kept in zip(
        faults.sectors.tolist(), faults.sorts.tolist(), faults.bits.tolist(), faults.actions.tolist(),
        faults.permanent.tolist(), strict=True,
    ):  # fmt: skip
        sort = Sort(number)
        address = sector if sort is Sort.METADATA else base + sector * SECTOR
        if sort in (Sort.DATA, Sort.DATA_PINS):
            address, bit = address + bit // 8, bit % 8
        yield trial, address, SORT_NAMES[sort], bit, Action(action).name.lower(), kept


def read_faults(path: str | Path, mapping: DramMapping, base: int) -> dict[int, FaultSet]:
    """Read a list, every row of which must name a bit of this memory.

    Args:
        path: ``.csv`` or ``.parquet``.
        mapping: of the DRAM.
        base: address of DRAM.

    Returns:
        Faults by trial.

    Raises:
        DataError: unreadable or damaged, a column is missing, a value that is none, an address outside DRAM, a bit
            that the kind does not have, or the same bit twice in a trial; names file and line.
        ToolError: Parquet without pyarrow.
    """
    path = Path(path)
    if path.suffix == ".csv":
        records = _read_csv(path)
    elif path.suffix == ".parquet":
        records = _read_parquet(path)
    else:
        raise _suffix(path)
    keys: dict[int, dict[int, tuple[int, bool]]] = {}
    for where, record in records:
        trial = _integer(record, "trial", where)
        key = _key(record, mapping, base, where)
        action = _choice(record, "action", ACTIONS, where)
        kept = _choice(record, "permanent", {"true": True, "false": False}, where)
        mine = keys.setdefault(trial, {})
        if key in mine:
            raise DataError(f"{where}: the same bit is already faulty in trial {trial}", hint="It is a set")
        mine[key] = int(action), bool(kept)
    if not keys:
        raise DataError(f"{path} lists no fault")
    return {
        trial: fault_set(
            np.array(list(mine), np.uint64), np.array([a for a, _ in mine.values()], np.uint8),
            np.array([p for _, p in mine.values()], np.bool_),
        )
        for trial, mine in keys.items()
    }  # fmt: skip


def _key(record: Mapping[str, Any], mapping: DramMapping, base: int, where: str) -> int:
    sort = _choice(record, "sort", SORTS, where)
    address, bit = _integer(record, "address", where), _integer(record, "bit", where)
    o = mapping.kind.organization
    room = {
        Sort.DATA: 8, Sort.SIDEBAND: o.sideband_bits, Sort.ON_DIE: o.on_die_bits, Sort.METADATA: 72,
        Sort.DATA_PINS: 8, Sort.SIDEBAND_PINS: o.sideband_bits,
    }[sort]  # fmt: skip
    bytewise = sort in (Sort.DATA, Sort.DATA_PINS)
    if not 0 <= bit < room:
        raise DataError(
            f"{where}: no {SORT_NAMES[sort]} bit {bit}; {mapping.kind.key} has {room} there",
            hint="Bits of data are counted in their byte, check bits in their 32 bytes",
        )
    if sort is Sort.METADATA:
        if not 0 <= address < 1 << 53:
            raise DataError(f"{where}: no word {address} of the range table")
        return int(keys_of(address, sort, bit)[0])
    if not base <= address < base + mapping.bytes:
        raise DataError(
            f"{where}: address {address:#x} is outside DRAM, {mapping.channels} channels of {mapping.kind.key} "
            f"({mapping.bytes:#x} bytes from {base:#x})"
        )
    sector, byte = divmod(address - base, SECTOR)
    if byte and not bytewise:
        raise DataError(f"{where}: check bits are at the first byte of their {SECTOR}, not at {address:#x}")
    return int(keys_of(sector, sort, 8 * byte + bit if bytewise else bit)[0])


def _integer(record: Mapping[str, Any], column: str, where: str) -> int:
    value = record[column]
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return int(str(value), 0)
    except ValueError:
        raise DataError(f"{where}: {column} is {value!r}, expected an integer") from None


def _choice(record: Mapping[str, Any], column: str, known: Mapping[str, Any], where: str) -> Any:
    value = str(record[column]).strip().lower()
    if value not in known:
        raise DataError(f"{where}: {column} is {record[column]!r}", hint=f"One of {', '.join(known)}")
    return known[value]


def _read_csv(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    try:
        with open(path, newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _require(reader.fieldnames or (), path)
            found: list[tuple[str, Mapping[str, Any]]] = []
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise DataError(f"{where}: not {len(reader.fieldnames or ())} values")
                found.append((where, row))
            return found
    except OSError as problem:
        raise DataError(f"cannot read {path}: {problem.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as problem:
        raise DataError(f"{path} is not CSV: {problem}") from None


def _read_parquet(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    arrow, parquet = _pyarrow()
    if not path.is_file():
        raise DataError(f"cannot read {path}: no such file")
    try:
        table = parquet.read_table(path)
    except (arrow.ArrowException, OSError, ValueError) as problem:
        raise DataError(f"{path} is not Parquet, or damaged: {str(problem).splitlines()[0]}") from None
    _require(table.column_names, path)
    return [(f"{path}, row {n}", row) for n, row in enumerate(table.select(list(COLUMNS)).to_pylist())]


def _require(columns: Iterable[str], path: Path) -> None:
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise DataError(
            f"{path} lacks the columns {', '.join(missing)}", hint=f"Columns: {', '.join(COLUMNS)}"
        )


def _suffix(path: Path) -> DataError:
    return DataError(f"{path}: a fault list ends in .csv or .parquet")


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ToolError(
            "Parquet files need pyarrow", tool="pyarrow", hint="pip install pyarrow, or use .csv"
        ) from None
    return pyarrow, parquet
