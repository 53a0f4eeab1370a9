"""The frame of a page: headings, tables and figures in one HTML file that loads nothing.

Colours are variables with a light and a dark set, so figures change with the reader's theme. Whatever is wider than the
screen scrolls in a box of its own that the keyboard reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from re import sub

from potluck.isa.errors import DataError
from potluck.replacing import replace_text

STYLE = files("potluck.pages").joinpath("page.css").read_text()


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: heading.
        body: HTML.
        note: what to know before reading it; plain text.
    """

    title: str
    body: str
    note: str = ""

    @property
    def anchor(self) -> str:
        """What links name."""
        return sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Rows of plain text; the first column names them."""
    columns = "".join(f"<th scope=col>{escape(text)}</th>" for text in head)
    lines = (
        f"<tr><th scope=row>{escape(row[0])}</th>"
        + "".join(f"<td>{escape(text)}</td>" for text in row[1:])
        + "</tr>"
        for row in rows
    )
    return scrolling(
        f"<table><caption>{escape(caption)}</caption><thead><tr>{columns}</tr></thead>\n<tbody>"
        + "\n".join(lines)
        + "</tbody></table>",
        caption,
    )


def figure(drawing: str, caption: str) -> str:
    """A drawing with its caption."""
    return (
        f"<figure>{scrolling(drawing, caption)}<figcaption class=note>{escape(caption)}</figcaption></figure>"
    )


def scrolling(body: str, label: str) -> str:
    """HTML in a box that scrolls sideways."""
    return f'<div class=scroll tabindex=0 role=region aria-label="{escape(label)}">{body}</div>'


def tiles(items: Sequence[tuple[str, str]]) -> str:
    """Values with what they are."""
    made = (f"<li><b>{escape(value)}</b><span>{escape(what)}</span></li>" for what, value in items)
    return f"<ul class=tiles>{''.join(made)}</ul>"


def folded(summary: str, body: str) -> str:
    """HTML that opens on demand."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def document(title: str, answer: str, sections: Sequence[Section]) -> str:
    """The whole page.

    Args:
        title: what it is about; plain text.
        answer: what comes first; HTML.
        sections: in their order.
    """
    links = "".join(f'<a href="#{part.anchor}">{escape(part.title)}</a>' for part in sections)
    parts = (
        f'<section aria-labelledby="{part.anchor}"><h2 id="{part.anchor}">{escape(part.title)}</h2>\n'
        + (f"<p class=note>{escape(part.note)}</p>\n" if part.note else "")
        + f"{part.body}</section>"
        for part in sections
    )
    body = "\n".join(parts)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head>
<body><a class=skip href="#content">To the content</a>
<header><h1>{escape(title)}</h1>{answer}<nav aria-label="Contents">{links}</nav></header>
<main id="content">
{body}
</main></body></html>
"""


def check_suffix(path: Path) -> None:
    """Refuses what is no page; called before any work.

    Raises:
        DataError: another suffix than ``.html``.
    """
    if path.suffix != ".html":
        raise DataError(f"a report is a page, not {path.name!r}", hint="Give a name that ends in .html")


def write_document(html: str, path: Path) -> Path:
    """Write a page, all of it or nothing.

    Raises:
        DataError: another suffix than ``.html``, or it cannot be written.
    """
    check_suffix(path)
    try:
        replace_text(path, html)
    except OSError as problem:
        raise DataError(
            f"cannot write {path}: {problem.strerror}", hint="Give a place that can be written"
        ) from None
    return path
