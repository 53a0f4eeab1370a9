"""Reference pages written from declarations: instructions, formats, schemes, machine keys, commands, results.

``python -m potluck.reference FOLDER`` writes them as Markdown; `docs/conf.py` does it before the site is built.
"""

from __future__ import annotations

from pathlib import Path

from potluck.reference import commands, formats, instructions, machines, results, schemes

PAGES = {
    "instructions.md": instructions.page,
    "formats.md": formats.page,
    "schemes.md": schemes.page,
    "machine.md": machines.page,
    "commands.md": commands.page,
    "results.md": results.page,
}
"""File name -> what makes its text."""


def write(folder: Path) -> list[Path]:
    """Writes every page; a file that is as it should be is not touched, so builders see no change."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, page in PAGES.items():
        path, text = folder / name, page()
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
        written.append(path)
    return written
