"""Tables and cells in Markdown."""

from __future__ import annotations

from collections.abc import Iterable


def cell(value: object) -> str:
    """Text that stays inside a table's cell, on one line, as itself; what stands in backquotes stays code."""
    parts = " ".join(str(value).replace("``", "`").split()).split("`")
    for at in range(0, len(parts), 2):
        for sign in ("\\", "*", "<", "[", "_"):
            parts[at] = parts[at].replace(sign, f"\\{sign}")
    return "`".join(parts).replace("|", "\\|")


def code(value: object) -> str:
    """Text as code in a cell; nothing for nothing."""
    text = str(value).replace("|", "\\|")
    return f"`{text}`" if text else ""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table whose cells are Markdown already."""
    head = list(head)
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"
