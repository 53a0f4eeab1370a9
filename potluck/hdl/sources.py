"""Where the SystemVerilog lives and which files, in compile order, make a unit; declared in ``rtl/units.toml``."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

import potluck.isa
from potluck.hdl.files import write_atomic
from potluck.isa.errors import RtlError
from potluck.sim.cache import cache_root

Parameters = Mapping[str, int | bool | str]
_KEYS = {"uses", "parameters", "generated", "top"}


@dataclass(frozen=True, slots=True)
class Unit:
    """One entry of ``units.toml``.

    Attributes:
        name: of the entry and, unless generated, of its source file.
        top: the module that a build of this unit has on top.
        uses: entries that it needs, directly.
        parameters: values other than the module's own defaults.
        generated: ``module:function`` that returns the source text, empty for a file.
    """

    name: str
    top: str
    uses: tuple[str, ...] = ()
    parameters: Parameters = field(default_factory=lambda: MappingProxyType({}))
    generated: str = ""


def rtl_directory() -> Path:
    """The folder ``rtl``: beside the folder of ``potluck.isa``, in a checkout and in an installed wheel."""
    return Path(potluck.isa.__path__[0]).parent / "rtl"


def include_directories() -> list[Path]:
    """Folders searched for ``.svh`` files."""
    return [rtl_directory() / "common"]


def lint_configuration() -> Path:
    """Verilator's configuration file with the waivers that hold for every unit."""
    return rtl_directory() / "lint.vlt"


def load_units(path: Path) -> dict[str, Unit]:
    """Read a declaration file.

    Raises:
        RtlError: unknown key, or ``uses`` names no unit or comes back to the unit.
    """
    with path.open("rb") as file:
        entries = tomllib.load(file)
    units: dict[str, Unit] = {}
    for name, entry in entries.items():
        for key in entry.keys() - _KEYS:
            raise RtlError(f"{path.name}: unknown key {key!r}", unit=name, hint=f"Known: {sorted(_KEYS)}")
        units[name] = Unit(
            name,
            entry.get("top", name),
            tuple(entry.get("uses", ())),
            MappingProxyType(entry.get("parameters", {})),
            entry.get("generated", ""),
        )
    for name in units:
        _closure(name, units)
    return units


@cache
def _declared() -> dict[str, Unit]:
    return load_units(rtl_directory() / "units.toml")


def unit_names() -> list[str]:
    """Every unit of ``rtl/units.toml``."""
    return list(_declared())


def find_unit(name: str) -> Unit:
    """The unit of that name.

    Raises:
        RtlError: no such unit; the text names near ones.
    """
    return _lookup(name, _declared())


def sources(unit: str, replaced: Mapping[str, Path] | None = None) -> list[Path]:
    """Source files of a unit in compile order: what it uses first, itself last; generated files are brought up to date.

    Args:
        unit: name in ``units.toml``.
        replaced: unit -> file that stands in for its own (a mutation).

    Raises:
        RtlError: unknown unit, its file is missing, or a replaced unit is not part of it.
    """
    units = _declared()
    order = _closure(unit, units)
    instead = dict(replaced or {})
    for name in instead.keys() - set(order):
        raise RtlError(f"{name!r} is to be replaced but is no part of it", unit=unit)
    return [instead[name] if name in instead else _file(units[name]) for name in order]


def literal(value: int | bool | str) -> str:
    """A parameter value as SystemVerilog writes it."""
    return str(int(value)) if isinstance(value, int) else json.dumps(value)


def _lookup(name: str, units: Mapping[str, Unit], user: str | None = None) -> Unit:
    if name in units:
        return units[name]
    near = ", ".join(get_close_matches(name, units, 3)) or ", ".join(units)
    raise RtlError(f"no unit {name!r} in units.toml", unit=user, hint=f"Near: {near}")


def _closure(name: str, units: Mapping[str, Unit]) -> list[str]:
    """The unit and all it uses, each once, users after used."""
    order: list[str] = []

    def visit(name: str, users: tuple[str, ...]) -> None:
        if name in users:
            raise RtlError(f"uses itself: {' -> '.join([*users, name])}", unit=name)
        if name in order:
            return
        for used in _lookup(name, units, users[-1] if users else None).uses:
            visit(used, (*users, name))
        order.append(name)

    visit(name, ())
    return order


def _file(unit: Unit) -> Path:
    if unit.generated:
        return _generate(unit.name, unit.generated)
    found = sorted(rtl_directory().rglob(f"{unit.name}.sv"))
    if len(found) != 1:
        raise RtlError(
            f"{len(found)} files named {unit.name}.sv in {rtl_directory()}, expected one", unit=unit.name
        )
    return found[0]


@cache
def _generate(name: str, maker: str) -> Path:
    module, _, function = maker.partition(":")
    text: str = getattr(import_module(module), function)()
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = cache_root() / "rtl" / "generated" / digest / f"{name}.sv"
    if not path.exists():
        write_atomic(path, text)
    return path
