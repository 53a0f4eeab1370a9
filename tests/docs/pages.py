"""Pages and their code blocks. The words after a block's language say what is done with it (CONTRIBUTING.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

MARKERS = {
    # marker -> what it means; a test looks for each in CONTRIBUTING.md
    "slow": "takes minutes: `pytest -m slow tests/docs` runs it, CI does not",
    "needs:": "runs where the named tool or extra is there; CI has them all",
    "install": "installs something, as CI's own script does; not run again",
    "about": "output whose numbers may differ by a tenth: cycles and joules",
    "fragment": "Python that shows a form; its names are nobody's",
}
NEEDS = ("qemu", "zig", "zoo", "torch", "rtl", "programs", "plugin")
SHELL, CONSOLE, PYTHON = "sh", "console", "python"
SHOWN = {"text", "json", "svg", "systemverilog", "asm", "mermaid"}
"""Languages of blocks that are shown and nothing else."""

_FENCE = re.compile(r"^```(\S*)[ ]*(.*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: `line` is that of its fence, from 1; `text` ends with a line feed."""

    page: str
    line: int
    language: str
    mark: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def marks(self) -> tuple[str, ...]:
        return tuple(self.mark.split())

    @property
    def file(self) -> str:
        """Path that the block is the content of, or ''."""
        return self.mark if "." in self.mark and " " not in self.mark else ""

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(mark.removeprefix("needs:") for mark in self.marks if mark.startswith("needs:"))


def pages() -> list[str]:
    """Paths from the root of everything that a user reads, without the history and what programs write."""
    found = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/**/*.md"),
    ]
    return sorted(
        path.relative_to(ROOT).as_posix() for path in found if path.exists() and "reference" not in path.parts
    )


@cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text()


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """Raises ValueError for a block that is never closed."""
    found, opened = [], None
    for number, line in enumerate(text_of(page).splitlines(), 1):
        if opened is None:
            if match := _FENCE.match(line):
                opened = (number, match[1], match[2].strip(), [])
        elif line == "```":
            start, language, mark, lines = opened
            found.append(Block(page, start, language, mark, "".join(f"{line}\n" for line in lines)))
            opened = None
        else:
            opened[3].append(line)
    if opened is not None:
        raise ValueError(f"{page}:{opened[0]}: the block is not closed")
    return tuple(found)


def prose(page: str) -> str:
    """The page without its fenced blocks, line for line."""
    inside, lines = False, []
    for line in text_of(page).splitlines():
        fence = line.startswith("```")
        lines.append("" if inside or fence else line)
        inside ^= fence
    return "\n".join(lines)


def commands(block: Block) -> Iterator[tuple[str, str | None]]:
    """Commands of a shell or console block, each with the output shown (None if the block shows none).

    A backslash at a line's end joins the next line to it, as in a shell.
    """
    if block.language == SHELL:
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                yield line.strip(), None
    elif block.language == CONSOLE:
        for part in re.split(r"^\$ ", block.text.replace("\\\n", " "), flags=re.M)[1:]:
            command, _, shown = part.partition("\n")
            yield command.strip(), shown
