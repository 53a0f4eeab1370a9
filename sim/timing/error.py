"""What is known of the error of cycles: kernels' cycles on the simulator beside those of the RTL (error.toml).

`potluck bench rtl_core` compares them, `python -m potluck.benchmarks.rtl_core` also renews the table. It speaks for
machines whose core has the very values that were compared, and for no others.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from potluck.isa.machine import Machine

TABLE = Path(__file__).with_name("error.toml")
PLACE = "{rtl}"
"""Where a machine's ``timing_error_band`` has it put what the table says."""
COMPARED = "RTL against simulator: kernels on one core, operands in L1"
NOT_COMPARED = (
    "no core with these [vector], [timing] and memory.l1_banks has been compared with RTL; see docs/timing.md"
)


@dataclass(frozen=True, slots=True)
class Cycles:
    """A kernel: instructions retired, cycles from its first fetch to its ``ecall`` on the simulator and in RTL."""

    instructions: int
    simulator: int
    rtl: int

    @property
    def percent(self) -> float:
        """By how much the RTL takes longer."""
        return 100 * (self.rtl / self.simulator - 1)


@dataclass(frozen=True, slots=True)
class Table:
    """The comparison.

    Attributes:
        machine: preset whose core was compared.
        core: `core_digest` of it.
        rtl: `potluck.hdl.core_tile.rtl_digest` of the RTL that was compared.
        kernels: by name.
    """

    machine: str
    core: str
    rtl: str
    kernels: dict[str, Cycles]


@dataclass(frozen=True, slots=True)
class TimingError:
    """Error of cycles, in percent of the simulator's.

    Attributes:
        median_percent: of the amounts.
        worst_percent: the largest amount.
        low_percent: of the kernel whose cycles in RTL are the fewest beside the simulator's.
        high_percent: of the one where they are the most.
        kernels: how many were compared.
        compared: what was.
        machine: preset whose core was compared.
        core: digest of its values.
        rtl: digest of the RTL's sources.
        table: digest of the table with all kernels' cycles.
    """

    median_percent: float
    worst_percent: float
    low_percent: float
    high_percent: float
    kernels: int
    compared: str
    machine: str
    core: str
    rtl: str
    table: str

    def to_json(self) -> dict[str, float | int | str]:
        """The fields."""
        return asdict(self)


def core_digest(machine: Machine) -> str:
    """Hash of what decides about the cycles of a core with operands in L1."""
    keys = {"vector": machine.vector.model_dump(mode="json"), "timing": machine.timing.model_dump(mode="json"),
            "l1_banks": machine.memory.l1_banks}  # fmt: skip
    return hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:12]


def read(path: Path = TABLE) -> Table:
    """The table in a file."""
    found = tomllib.loads(path.read_text())
    kernels = {name: Cycles(**row) for name, row in found.pop("kernels").items()}
    return Table(**found, kernels=kernels)


def written(table: Table) -> str:
    """The text of a table's file."""
    lines = [
        "# Cycles of kernels on the simulator and in RTL. Made by: python -m potluck.benchmarks.rtl_core",
        *(f"{key} = {json.dumps(getattr(table, key))}" for key in ("machine", "core", "rtl")), "", "[kernels]",
    ]  # fmt: skip
    for name, row in table.kernels.items():
        fields = ", ".join(f"{key} = {value}" for key, value in asdict(row).items())
        lines.append(f"{json.dumps(name)} = {{ {fields} }}")
    return "\n".join(lines) + "\n"


def summary(table: Table, digest: str) -> TimingError:
    """Median and extremes of a table."""
    percents = np.array([row.percent for row in table.kernels.values()])
    amounts = np.abs(percents)
    median, worst, low, high = (
        round(float(x), 2) for x in (np.median(amounts), amounts.max(), percents.min(), percents.max())
    )
    return TimingError(
        median, worst, low, high, len(percents), COMPARED, table.machine, table.core, table.rtl, digest
    )


@cache
def _known() -> TimingError:
    return summary(read(), hashlib.sha256(TABLE.read_bytes()).hexdigest()[:12])


def timing_error(machine: Machine) -> TimingError | None:
    """What the table says of a machine; None if its core is not the one that was compared."""
    return known if (known := _known()).core == core_digest(machine) else None


def band(machine: Machine) -> str:
    """What to say of the error of a machine's cycles: its own text, with the table's in its place."""
    found = timing_error(machine)
    said = NOT_COMPARED
    if found is not None:
        said = (
            f"cycles in RTL are {found.low_percent:+.1f} to {found.high_percent:+.1f} % off, median "
            f"{found.median_percent:.1f} %, in {found.kernels} kernels; one core, operands in L1, table {found.table}"
        )
    return machine.timing_error_band.replace(PLACE, said)


__all__ = [
    "Cycles",
    "Table",
    "TimingError",
    "band",
    "core_digest",
    "read",
    "summary",
    "timing_error",
    "written",
]
