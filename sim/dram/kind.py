"""A DRAM kind as ``kinds/NAME.toml`` declares it, checked on load."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from potluck.isa.errors import MachineError
from potluck.isa.latency import evaluate
from potluck.isa.machine import EnergyEntry
from potluck.isa.plugins import files
from potluck.sim.dram.energy import Currents, from_currents
from potluck.sim.dram.rules import Rule, parse

FOLDER = Path(__file__).parent / "kinds"
ENERGIES = ("act", "read", "write", "refresh", "active", "precharged", "io")
SECTOR = 32  # bytes to which check bits are counted

_TIME = re.compile(r"(\d+) ns")


@dataclass(frozen=True)
class Organization:
    """What a channel consists of; counts are powers of two.

    Attributes:
        pseudochannels: with data pins of their own, on one command bus.
        ranks: of a pseudochannel (HBM3, HBM4: stack ids), the unit of all-bank refresh.
        bank_groups: of a rank.
        banks: of a bank group.
        rows: of a bank.
        bursts: of a row.
        burst_length: beats.
        data_pins: of a pseudochannel.
        check_pins: beside them, for sideband check bits.
        device_pins: data pins of one device.
        on_die_bits: check bits inside the device per 32 bytes.
        device_gbit: capacity of one device (HBM: of a pseudochannel and stack id) in Gbit, to check the rest.
        rank_name: what the standard calls a rank.
        refresh_banks: banks that one REFpb refreshes.
    """

    pseudochannels: int
    ranks: int
    bank_groups: int
    banks: int
    rows: int
    bursts: int
    burst_length: int
    data_pins: int
    check_pins: int
    device_pins: int
    on_die_bits: int
    device_gbit: int
    rank_name: str = "rank"
    refresh_banks: int = 1

    @property
    def burst_bytes(self) -> int:
        """Bytes of data of one burst, the unit of access."""
        return self.burst_length * self.data_pins // 8

    @property
    def banks_per_rank(self) -> int:
        """Banks of a rank."""
        return self.bank_groups * self.banks

    @property
    def ranks_per_channel(self) -> int:
        """Ranks of all pseudochannels of a channel."""
        return self.pseudochannels * self.ranks

    @property
    def channel_bytes(self) -> int:
        """Capacity of a channel without check bits."""
        return self.ranks_per_channel * self.banks_per_rank * self.rows * self.bursts * self.burst_bytes

    @property
    def sideband_bits(self) -> int:
        """Check bits on pins of their own per 32 bytes of data."""
        return self.check_pins * self.burst_length * SECTOR // self.burst_bytes

    def field_sizes(self) -> dict[str, int]:
        """Number of values of each address field inside a channel, by its two letters."""
        return {
            "pc": self.pseudochannels, "si" if self.rank_name == "sid" else "ra": self.ranks,
            "bg": self.bank_groups, "ba": self.banks, "ro": self.rows, "co": self.bursts,
        }  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A DRAM kind and speed.

    Attributes:
        key: name in machine files (``dram.kind``).
        name: the part.
        source: of organization and timing.
        organization: of a channel.
        timing: values in memory clocks by name; ``tCK_ps`` in picoseconds.
        rules: timing rules.
        mapping: default address mapping.
        energy: entries of :data:`ENERGIES`. ``act`` is pJ per ACT with its PRE, ``read``, ``write``, ``io`` pJ per
            bit, ``refresh`` pJ per REFab, ``active`` and ``precharged`` mW per rank.
    """

    key: str
    name: str
    source: str
    organization: Organization
    timing: dict[str, int]
    rules: tuple[Rule, ...]
    mapping: str
    energy: dict[str, EnergyEntry]

    @property
    def refreshes_banks(self) -> bool:
        """Whether the kind has per-bank refresh."""
        return "nRFCpb" in self.timing

    @property
    def peak_bytes_per_second(self) -> float:
        """Data rate of a channel's pins."""
        o = self.organization
        per_burst = max(self.timing["nBL"], self.timing["nCCDS"])
        return o.pseudochannels * o.burst_bytes / (per_burst * self.timing["tCK_ps"] * 1e-12)

    @property
    def idle_read_ps(self) -> int:
        """From a read of a closed row to its last data beat, in picoseconds."""
        t = self.timing
        return (t["nRCDRD"] + t["nCL"] + t["nBL"]) * t["tCK_ps"]


@cache
def _files() -> dict[str, Path]:
    return files("potluck.dram", FOLDER)


def kinds() -> list[str]:
    """Names of the declared kinds."""
    return [name for name in _files() if name != "rules"]


@cache
def load_kind(key: str) -> Kind:
    """Read a declaration.

    Raises:
        MachineError: no such kind, or a declaration that contradicts itself; names the key.
    """
    data = _read(key)
    organization = Organization(**data["organization"])
    _check(organization, f"{key}.organization")
    clock = int(data["timing"]["tCK_ps"])
    timing = {"tCK_ps": clock}
    for name, value in data["timing"].items():
        timing[name] = _clocks(value, clock, timing, f"{key}.timing.{name}")
    groups = tomllib.loads((FOLDER / "rules.toml").read_text())
    texts = [text for group in data["rule_groups"] for text in groups[group]] + data.get("rules", [])
    energy = from_currents(Currents(**data["currents"]), timing, organization) if "currents" in data else {}
    energy |= {name: EnergyEntry.model_validate(entry) for name, entry in data["energy"].items()}
    if set(energy) != set(ENERGIES):
        raise MachineError(
            f"energies {sorted(set(energy) ^ set(ENERGIES))} missing or unknown", key=f"{key}.energy"
        )
    rules = tuple(parse(text, timing) for text in texts)
    return Kind(key, data["name"], data["source"], organization, timing, rules, data["mapping"], energy)


def _read(key: str) -> dict[str, Any]:
    if key not in kinds():
        raise MachineError(f"no DRAM kind {key!r}", key="dram.kind", hint=f"Kinds: {', '.join(kinds())}.")
    data: dict[str, Any] = tomllib.loads(_files()[key].read_text())
    if "extends" not in data:
        return data
    merged = _read(data["extends"])
    for name, value in data.items():
        merged[name] = {**merged.get(name, {}), **value} if isinstance(value, dict) else value
    return merged


def _check(organization: Organization, key: str) -> None:
    o = organization
    for name in ("pseudochannels", "ranks", "bank_groups", "banks", "rows", "bursts", "burst_length", "data_pins",
                 "device_pins", "refresh_banks"):  # fmt: skip
        value = getattr(o, name)
        if value < 1 or value & (value - 1):
            raise MachineError(f"{value} is not a power of two", key=f"{key}.{name}")
    devices = o.data_pins // o.device_pins
    if o.channel_bytes * 8 != devices * o.ranks_per_channel * o.device_gbit << 30:
        raise MachineError("banks, rows and bursts do not give device_gbit", key=key)


def _clocks(value: Any, clock: int, timing: dict[str, int], key: str) -> int:
    """Memory clocks of a value; a time in ns is rounded up, but a refresh interval down."""
    if isinstance(value, int):
        return value
    found = _TIME.fullmatch(value)
    if found:
        picoseconds = int(found[1]) * 1000
        return picoseconds // clock if key.endswith("nREFI") else math.ceil(picoseconds / clock)
    try:
        return evaluate(value, timing)
    except ValueError as problem:
        raise MachineError(str(problem), key=key) from None
