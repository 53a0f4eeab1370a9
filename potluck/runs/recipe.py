"""What a manifest holds so that a run can be done again: command, digests of files and outputs, versions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from potluck import api
from potluck.digest import digest_of

if TYPE_CHECKING:
    import typer

    from potluck.isa.machine import Machine
    from potluck.sim.result import Result

SHOWN = frozenset({
    "output", "json_path", "profile", "profile_out", "trace", "trace_format", "window", "report", "signature",
    "waves",
})  # fmt: skip
"""Parameters that say what is written and shown of a run, and nothing of what it is."""


def record(context: typer.Context, result: Result, machine: Machine) -> None:
    """Write down in a result's manifest how it was made.

    Args:
        context: of the command.
        result: of the run; its manifest gets ``recipe``, ``outputs``, ``versions`` and ``description``.
        machine: as it was with all its keys.
    """
    result.manifest["recipe"] = {
        "command": words(context),
        "folder": str(Path.cwd()),
        "files": {name: digest_of(name) for name in sorted(set(_files(context)))},
    }
    outputs = {name: _digest(array) for name, array in result.outputs.items()}
    if result.stdout:
        outputs["standard output"] = hashlib.sha256(result.stdout).hexdigest()
    result.manifest["outputs"] = outputs
    result.manifest["versions"] = api.versions()
    result.manifest["description"] = machine.model_dump(mode="json")


def words(context: typer.Context) -> list[str]:
    """The command as words of a shell, without what only says what is shown."""
    options, arguments, rest = [str(context.info_name)], list[str](), list[str]()
    for parameter, value in _given(context):
        if parameter.param_type_name == "argument":
            (rest if parameter.nargs == -1 else arguments).extend(_several(value))
        elif isinstance(value, bool):
            options.append((parameter.opts if value else parameter.secondary_opts)[0])
        else:
            for one in _several(value):
                options += [max(parameter.opts, key=len), one]
    return [*options, *arguments, *(["--", *rest] if rest else [])]


def _given(context: typer.Context) -> Iterator[tuple[Any, Any]]:
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        if (
            parameter.name in SHOWN
            or value is None
            or value == parameter.get_default(context)
            or value in ((), [])
        ):
            continue
        yield parameter, value


def _several(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]


def _files(context: typer.Context) -> Iterator[str]:
    """Files that the command reads: of its values those that are files, and of NAME=FILE the file."""
    for parameter, value in _given(context):
        if parameter.nargs == -1 and parameter.param_type_name == "argument":
            continue  # arguments of a program
        for text in _several(value):
            for name in (text, text.partition("=")[2]):
                if name and Path(name).is_file():
                    yield name


def _digest(array: Any) -> str:
    """SHA-256 of an array with its type and shape."""
    held = np.ascontiguousarray(array)
    return hashlib.sha256(f"{held.dtype.str} {held.shape} ".encode() + held.tobytes()).hexdigest()
