"""Tables that users bring: FIT rates by mode (TOML), and bit error rate by voltage and temperature (CSV)."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from potluck.isa.documents import toml_of
from potluck.isa.errors import CampaignError, DataError
from potluck.sim.faults.footprints import MODES, Rate

FOLDER = Path(__file__).parent / "rates"


@dataclass(frozen=True)
class RateTable:
    """FIT by mode, with where they come from.

    Attributes:
        name: for reports.
        source: of the numbers.
        label: what they are to a user of this memory.
        rates: by mode, per device.
    """

    name: str
    source: str
    label: str
    rates: dict[str, Rate]


def rate_tables() -> list[str]:
    """Names of the tables that come with Potluck."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_rates(name: str | Path) -> RateTable:
    """Read a table of rates.

    Args:
        name: of a table that comes with Potluck, or a path.

    Raises:
        CampaignError: no such table, no TOML, an unknown mode, or a rate that is no number of at least 0.
    """
    path = FOLDER / f"{name}.toml" if str(name) in rate_tables() else Path(name)
    try:
        data = toml_of(path.read_bytes())
    except OSError as problem:
        raise CampaignError(f"cannot read rates {str(name)!r}: {problem.strerror}",
                            hint=f"Tables: {', '.join(rate_tables())}, or a path") from None  # fmt: skip
    except ValueError as problem:
        raise CampaignError(f"{path} is not TOML: {problem}") from None
    for key in ("name", "source", "label"):
        if not isinstance(data.get(key), str):
            raise CampaignError("is missing: say where the rates come from", key=key)
    modes = data.get("modes")
    if not isinstance(modes, dict) or not modes:
        raise CampaignError("is missing or empty", key="modes")
    return RateTable(
        data["name"], data["source"], data["label"], {m: _rate(m, row) for m, row in modes.items()}
    )


def _rate(mode: str, row: Any) -> Rate:
    if mode not in MODES:
        raise CampaignError("unknown mode", key=f"modes.{mode}", hint=f"Modes: {', '.join(MODES)}")
    values = []
    for key in ("transient", "permanent"):
        value = row.get(key) if isinstance(row, dict) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise CampaignError(f"{value!r} is no rate in FIT", key=f"modes.{mode}.{key}")
        values.append(float(value))
    return Rate(*values)


@dataclass(frozen=True)
class BerTable:
    """Bit error rate by operating point, as a user measured or read it; Potluck brings none.

    Attributes:
        points: (voltage in V, temperature in degrees Celsius) to BER.
        source: the file.
    """

    points: dict[tuple[float, float], float]
    source: str

    def at(self, voltage: float, temperature: float) -> float:
        """BER at an operating point: log BER is linear between neighbouring points of the grid.

        Raises:
            DataError: outside the table, or a point of the grid around it is missing.
        """
        grid = [sorted({point[axis] for point in self.points}) for axis in (0, 1)]
        spans = []
        for values, wanted, what in zip(grid, (voltage, temperature), ("V", "C"), strict=True):
            if not values[0] <= wanted <= values[-1]:
                raise DataError(f"{wanted} {what} is outside {self.source}'s {values[0]} to {values[-1]} {what}",
                                hint="Potluck does not extrapolate bit error rates")  # fmt: skip
            low = max(v for v in values if v <= wanted)
            high = min(v for v in values if v >= wanted)
            spans.append((low, high, 0.0 if low == high else (wanted - low) / (high - low)))
        total = 0.0
        (v0, v1, a), (t0, t1, b) = spans
        for v, wv in ((v0, 1 - a), (v1, a)):
            for t, wt in ((t0, 1 - b), (t1, b)):
                if wv * wt == 0:
                    continue
                if (v, t) not in self.points:
                    raise DataError(f"{self.source} lacks {v} V at {t} C", hint="Give the whole grid")
                total += wv * wt * math.log(self.points[v, t])
        return math.exp(total)


def load_ber_table(path: str | Path) -> BerTable:
    """Read columns ``voltage``, ``temperature`` and ``ber`` from CSV.

    Raises:
        DataError: unreadable, a column is missing, or a line that is no operating point; names file and line.
    """
    points: dict[tuple[float, float], float] = {}
    try:
        with open(path, newline="") as file:
            reader = csv.DictReader(file)
            missing = {"voltage", "temperature", "ber"} - set(reader.fieldnames or ())
            if missing:
                raise DataError(f"{path} lacks the columns {', '.join(sorted(missing))}")
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                try:
                    v, t, ber = (float(row[k]) for k in ("voltage", "temperature", "ber"))
                except (TypeError, ValueError):
                    raise DataError(f"{where}: {row} is no operating point") from None
                if not (math.isfinite(v) and math.isfinite(t) and 0 < ber <= 1):
                    raise DataError(
                        f"{where}: BER {ber} at {v} V, {t} C", hint="BER lies above 0 and up to 1"
                    )
                if (v, t) in points:
                    raise DataError(f"{where}: {v} V at {t} C is there twice")
                points[v, t] = ber
    except OSError as problem:
        raise DataError(f"cannot read {path}: {problem.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as problem:
        raise DataError(f"{path} is not CSV: {problem}") from None
    if not points:
        raise DataError(f"{path} has no line")
    return BerTable(points, str(path))
