"""Builds the pages into one site: `sphinx-build -W docs build/docs`. The tree of pages is the lists of index.md."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

project = "Potluck"
author = "The Potluck authors"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "Potluck"
html_show_sphinx = False
exclude_patterns = ["_build"]
myst_heading_anchors = 4
nitpicky = True
suppress_warnings: list[str] = []


ROOT = Path(__file__).parents[1]
BESIDE = ("README", "CONTRIBUTING", "CHANGELOG")
"""Pages of the root, which the site has in `reference/`."""


def _linked(text: str) -> str:
    """Links to pages of the root, seen from `docs/`, lead to their copies."""
    return re.sub(
        rf"\]\(\.\./({'|'.join(BESIDE)})\.md", lambda match: f"](reference/{match[1].lower()}.md", text
    )


def _copy(name: str) -> None:
    """A page of the root, with its links as from `docs/reference/`."""
    text = (ROOT / f"{name}.md").read_text()
    text = re.sub(r"\]\(docs/", "](../", text)
    text = re.sub(rf"\]\(({'|'.join(BESIDE)})\.md", lambda match: f"]({match[1].lower()}.md", text)
    (ROOT / "docs" / "reference" / f"{name.lower()}.md").write_text(text)


def _with_tree(app: Sphinx, docname: str, source: list[str]) -> None:
    """Gives each page's lists of links under a heading to Sphinx as its tables of contents."""
    if "/" not in docname:
        source[0] = _linked(source[0])
    if docname not in ("index", "howto/index"):
        return
    trees, caption = [], "Guides"
    for line in source[0].splitlines():
        if line.startswith("## "):
            caption = line.removeprefix("## ")
        elif match := re.match(r"\* \[[^]]*\]\(([^)#]+)\.md\)", line):
            trees.append((caption, match[1]))
    for caption in dict.fromkeys(caption for caption, _ in trees):
        pages = "\n".join(page for held, page in trees if held == caption)
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```\n"


def setup(app: Sphinx) -> None:
    """Called by Sphinx: writes the reference from the declarations before anything is read."""
    from potluck.reference import write

    write(ROOT / "docs" / "reference")
    for name in BESIDE:
        _copy(name)
    app.connect("source-read", _with_tree)
