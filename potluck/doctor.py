"""What ``potluck doctor`` says: which tools are installed, what each is for, how to get the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from potluck.hdl import toolchain
from potluck.isa.errors import ToolError


def examine(console: Console, required: Sequence[str] = ()) -> dict[str, Any]:
    """Print a table of the tools and return it for JSON.

    Args:
        console: where to print.
        required: groups of tools (``rtl``, ``synthesis``, ...) that must be complete.

    Returns:
        ``tools`` (one object each: name, group, purpose, found, version, path, problem, get) and ``missing``, the names
        of tools that a required group lacks.

    Raises:
        ToolError: a required group does not exist.
    """
    missing = [found.tool.name for group in required for found in toolchain.missing(group)]
    results = [toolchain.find(name) for name in toolchain.TOOLS]
    table = Table("tool", "version", "for", box=None, pad_edge=False)
    table.add_column("where, or why not", overflow="fold")  # a command that is cut short cannot be copied
    for found in results:
        tool = found.tool
        where = str(found.path) if found.path else f"{found.problem}; get it: {tool.get}"
        table.add_row(*map(escape, (tool.name, found.version or "-", f"{tool.group}: {tool.purpose}", where)))
    console.print(table)
    return {
        "tools": [
            {
                "name": found.tool.name,
                "group": found.tool.group,
                "purpose": found.tool.purpose,
                "found": found.path is not None,
                "version": found.version,
                "path": str(found.path) if found.path else None,
                "problem": found.problem,
                "get": found.tool.get,
            }
            for found in results
        ],
        "missing": missing,
    }


def check(report: dict[str, Any]) -> None:
    """Fail if a required group lacks a tool.

    Raises:
        ToolError: names every missing tool.
    """
    if report["missing"]:
        raise ToolError(
            f"missing: {', '.join(report['missing'])}", hint="`potluck doctor` says how to get each of them"
        )
