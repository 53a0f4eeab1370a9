"""Lay the rooms out as the package `potluck` in `.typing/`, for tools that read source without importing it.

    python tests/typing_links.py && mypy

`potluck.isa` is the folder `isa/`: the wheel says so, and so does an editable install's import hook, but type
checkers and editors run no import hooks. The links are git-ignored; run this again after adding a file to `potluck/`.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def rooms() -> dict[str, Path]:
    """The package of each top-level folder, as pyproject.toml declares it: ``potluck.isa`` to ``isa/``."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        packages = tomllib.load(file)["tool"]["scikit-build"]["wheel"]["packages"]
    return {name.replace("/", "."): ROOT / folder for name, folder in packages.items()}


def link() -> Path:
    """Bring the links up to date and return the folder that holds them."""
    package = ROOT / ".typing" / "potluck"
    package.mkdir(parents=True, exist_ok=True)
    found = rooms()
    face = found.pop("potluck")
    wanted = {path.name: path for path in face.iterdir() if path.name != "__pycache__"}
    wanted |= {name.removeprefix("potluck."): path for name, path in found.items()}
    for old in package.iterdir():
        if old.name not in wanted:
            old.unlink()
    for name, path in wanted.items():
        if not (package / name).is_symlink():
            (package / name).symlink_to(os.path.relpath(path, package))
    return package.parent


if __name__ == "__main__":
    print(link())
