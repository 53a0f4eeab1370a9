"""What other packages add: entry points, one group for each thing that can be added (docs/extending.md)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from potluck.isa.errors import ToolError

GROUPS = {
    "potluck.instructions": "a sequence of `potluck.isa.insn.Insn`",
    "potluck.formats": "a `potluck.isa.formats.elements.ElementFormat`",
    "potluck.machines": "a folder of machine files, as `pathlib.Path`",
    "potluck.dram": "a folder of DRAM declarations, as `pathlib.Path`",
    "potluck.codes": "a function without arguments that makes a `potluck.sim.ecc.interface.Protection`",
    "potluck.operators": "a module that declares operators by `potluck.compiler.operators.base.operator`",
    "potluck.schemes": "a sequence of `potluck.compiler.schemes.base.Scheme`",
}
"""Group of entry points -> what each of them names."""


def added(group: str) -> Iterator[tuple[str, Any]]:
    """Name and object of every entry point of a group, by name.

    Raises:
        ToolError: one cannot be loaded; names its package.
    """
    assert group in GROUPS, group
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        owner = point.dist.name if point.dist is not None else point.value
        try:
            yield point.name, point.load()
        except Exception as problem:  # foreign code: whatever it raises, its package is what is wrong
            raise ToolError(
                f"{group} entry point {point.name!r} ({point.value}) cannot be loaded: {problem}", tool=owner,
                hint=f"Mend or remove the package: pip uninstall {owner}",
            ) from problem  # fmt: skip


def names(group: str) -> tuple[str, ...]:
    """Names of the TOML files that packages add."""
    return tuple(sorted(path.stem for _, folder in added(group) for path in Path(folder).glob("*.toml")))


def files(group: str, own: Path) -> dict[str, Path]:
    """Every TOML file of our folder and of those that packages add, by its name without the suffix.

    Raises:
        ToolError: two have the same name, or an entry point cannot be loaded.
    """
    found = {path.stem: path for path in own.glob("*.toml")}
    for name, folder in added(group):
        for path in Path(folder).glob("*.toml"):
            if found.setdefault(path.stem, path) != path:
                raise ToolError(f"{group} entry point {name!r} brings another {path.stem!r}",
                                hint=f"Rename {path}")  # fmt: skip
    return dict(sorted(found.items()))
