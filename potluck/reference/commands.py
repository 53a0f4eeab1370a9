"""Every command and option of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import typer.main

from potluck.cli import app
from potluck.reference.markdown import cell, code, table

_HEAD = """# Commands

Every command ends with 0 only if it did what it was asked to. Errors are one message that names the thing and the next
step.

"""


def page() -> str:
    """Markdown; a heading per command, subcommands included."""
    parts = [_HEAD]
    for name, command in _commands(typer.main.get_command(app), "potluck"):
        parts.append(f"## {name}\n\n{_prose(command.help)}\n\n")
        rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        if rows:
            parts += [table(("argument or option", "takes", "default", "what it does"), rows), "\n"]
    return "".join(parts)


def _commands(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    for key, command in group.commands.items():
        if hasattr(command, "commands"):
            yield f"{name} {key}", command
            yield from _commands(command, f"{name} {key}")
        elif not command.hidden:
            yield f"{name} {key}", command


def _prose(text: str | None) -> str:
    return "\n\n".join(cell(part) for part in (text or "").split("\n\n"))


def _row(parameter: Any) -> list[str]:
    names = (
        ", ".join(parameter.opts + parameter.secondary_opts) if parameter.param_type_name == "option" else ""
    )
    named = names or (parameter.metavar or parameter.name.upper())
    default = parameter.default
    shown = "" if default is None or default is False or callable(default) or default == () else default
    needed = "needed" if parameter.required else code(shown)
    return [code(named), _takes(parameter), needed, cell(parameter.help or "")]


def _takes(parameter: Any) -> str:
    """Type of a value; Typer keeps it as an annotation since it has a parser of its own, before as click's type."""
    if getattr(parameter, "is_flag", False):
        return ""
    if hasattr(parameter, "type_descriptor"):
        kind = parameter.type_descriptor.annotation
        inner = next(iter(get_args(kind)), kind)
        name, least, most = inner.__name__.lower(), parameter.min, parameter.max
    else:
        name = parameter.type.name.split()[0]
        least, most = (getattr(parameter.type, which, None) for which in ("min", "max"))
    bounds = (f" ≥ {least:g}" if least is not None else "") + (f" ≤ {most:g}" if most is not None else "")
    names = {"integer": "int", "text": "str", "boolean": "bool"}
    return cell(names.get(name, name) + bounds + (", repeatable" if parameter.multiple else ""))
