"""Prose from Wikipedia's markup: the paragraphs of an article, without what a reader does not read as text."""

from __future__ import annotations

import bz2
import html
import re
from functools import cache
from xml.etree import ElementTree

from potluck.isa.errors import DataError
from potluck.zoo import packages

PACKAGE = "gensim"
MEMBER = "gensim/test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
SHORTEST = 80
"""Characters of a line that counts as a paragraph; shorter ones are captions and leftovers."""

_DROPPED = (
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r"<ref[^>/]*/>"),
    re.compile(r"<(ref|math|gallery|table|timeline|code|pre|nowiki)\b[^>]*>.*?</\1>", re.DOTALL),
)
_INNERMOST = re.compile(r"\{\{[^{}]*\}\}|\{\|[^{}]*?\|\}")
_LINK = re.compile(r"\[\[([^\[\]]*)\]\]")
_NO_TEXT = re.compile(r"\s*:?(file|image|category|[a-z]{2,3}(-[a-z]+)?):", re.IGNORECASE)
_EXTERNAL = re.compile(r"\[https?://\S+\s*([^\]]*)\]")
_MARKUP = re.compile(r"<[^<>]+>|'{2,}")
_NOT_PROSE = ("=", "*", "#", ":", ";", "|", "!", "{", "}")


@cache
def articles() -> dict[str, str]:
    """Markup of every article of the dump that `gensim` carries, by title."""
    namespace = "{http://www.mediawiki.org/xml/export-0.10/}"
    root = ElementTree.fromstring(bz2.decompress(packages.read(PACKAGE, MEMBER)))
    pages = ((page.findtext(f"{namespace}title"), page) for page in root.iter(f"{namespace}page"))
    return {title or "": page.findtext(f"{namespace}revision/{namespace}text") or "" for title, page in pages}


def prose(title: str) -> str:
    """The paragraphs of an article, an empty line between them.

    Raises:
        DataError: The dump has no such article.
    """
    if title not in articles():
        raise DataError(f"the dump has no article {title!r}")
    return plain(articles()[title])


def plain(markup: str) -> str:
    """Paragraphs without references, templates, tables, pictures, lists, headings and emphasis."""
    text = markup
    for pattern in _DROPPED:
        text = pattern.sub("", text)
    text = _repeated(_INNERMOST, "", text)
    text = _repeated(_LINK, _linked, text)
    text = html.unescape(_MARKUP.sub("", _EXTERNAL.sub(r"\1", text)))
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n\n".join(line for line in lines if len(line) > SHORTEST and not line.startswith(_NOT_PROSE))


def _linked(match: re.Match[str]) -> str:
    target, _, shown = match[1].rpartition("|")
    return "" if _NO_TEXT.match(target or shown) else shown


def _repeated(pattern: re.Pattern[str], by: object, text: str) -> str:
    """Replaces until nothing is left to replace: markup nests."""
    while True:
        made, count = pattern.subn(by, text)  # type: ignore[call-overload]
        if not count:
            return str(made)
        text = made
