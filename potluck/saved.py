"""Results of runs as files: what `Result.to_json` wrote, read again with care.

`VERSION` counts changes of what a key means or of keys that go; keys may be added without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from potluck.isa.documents import json_of
from potluck.isa.errors import DataError
from potluck.sim.result import VERSION

Count = Annotated[int, Field(ge=0, lt=1 << 63)]
Amount = Annotated[float, Field(ge=0, le=1e300)]
HINT = "Write one: potluck run MODEL --json RESULT.json"


class _Group(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False, strict=True)


def _with_total(parts: dict[str, float]) -> dict[str, float]:
    if "total" not in parts:
        raise ValueError("total is missing")
    return parts


class SavedLayer(_Group):
    """A layer: see `potluck.sim.result.LayerResult`."""

    name: str
    op: str
    format: str
    cycles: Count
    macs: Count
    utilization: Amount
    energy_joules: Amount
    instructions: Count
    stalls: dict[str, Count]
    bytes_moved: Count
    dram_bytes: Count
    bounds: dict[str, Amount]
    harts: list[dict[str, Count]]


class Roofs(_Group):
    """What bounds layers: products per cycle of each format, bytes per cycle from DRAM."""

    macs_per_cycle: dict[str, Amount]
    dram_bytes_per_cycle: Amount


class SavedRtlLayer(_Group):
    """A layer in RTL: see `potluck.sim.result.RtlLayer`."""

    name: str
    cycles: Count
    rtl_cycles: Count


class SavedRtl(_Group):
    """The same run in RTL: see `potluck.sim.result.InRtl`."""

    instructions: Count
    cycles: Count
    rtl_cycles: Count
    difference: str
    waves: str
    layers: list[SavedRtlLayer]


class SavedResult(_Group):
    """A run: see `potluck.sim.result.Result.to_json`."""

    version: int
    mode: str
    machine: str
    cycles: Count
    seconds_at_clock: Amount
    instructions: Count
    macs: Count
    utilization: Amount
    energy_joules: Annotated[dict[str, Amount], AfterValidator(_with_total)]
    layers: list[SavedLayer]
    stalls: dict[str, Count]
    dram: dict[str, Count]
    roofs: Roofs
    timing_error_band: str
    timing_error: dict[str, str | Count | float] | None = None
    rtl: SavedRtl | None = None
    host_seconds: Amount
    manifest: dict[str, Any]


def load(path: str | Path) -> dict[str, Any]:
    """A result's JSON, checked.

    Raises:
        DataError: it cannot be read, is no result, or another version of Potluck wrote it; names file and key.
    """
    try:
        found = json_of(Path(path).read_bytes())
    except OSError as problem:
        raise DataError(f"cannot read {path}: {problem.strerror}", hint=HINT) from None
    except ValueError as problem:
        raise DataError(f"cannot read {path} as JSON: {problem}", hint=HINT) from None
    if not isinstance(found, dict) or "cycles" not in found:
        raise DataError(f"{path} is no result of a run", hint=HINT)
    if found.get("version") != VERSION:
        raise DataError(f"{path} is of version {found.get('version')!r}, this Potluck reads {VERSION}",
                        hint="Simulate again: potluck run MODEL --json RESULT.json")  # fmt: skip
    try:
        SavedResult.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path} is no result of a run: {key}: {first['msg']}", hint=HINT) from None
    return found


def schema() -> dict[str, Any]:
    """JSON Schema of a result."""
    made = SavedResult.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Potluck result"} | made


__all__ = ["SavedLayer", "SavedResult", "load", "schema"]
