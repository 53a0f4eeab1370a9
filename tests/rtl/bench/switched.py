"""Many bugs in one build: each patch becomes a choice that a number in the environment makes while the model runs.

A patch of an expression can be built beside others: what it changes is widened to the expression around it, and
``old`` becomes ``(mutant == number ? (new) : (old))``. A build of a tile then serves all of them.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from potluck.hdl.sources import rtl_directory
from tests.rtl.bench.mutants import mutated

VARIABLE = "POTLUCK_MUTANT"
_TOKEN = re.compile(r"//[^\n]*|/\*.*?\*/|\"[^\"]*\"|"
                    r"[A-Za-z_$`][\w$]*|'[sS]?[bdhoBDHO]\w+|'[01xz]|\d[\w.]*|<<<|>>>|<->|===|"
                    r"!==|\|->|<<|>>|<=|>=|==|!=|&&|\|\||\+:|-:|::|'\{|\S", re.DOTALL)  # fmt: skip
_OPEN, _CLOSE = {"(", "[", "{", "'{"}, {")", "]", "}"}
_BEFORE, _BEHIND = {",", "?", ":", "=", "return"}, {",", "?", ":", ";"}
_LVALUE = re.compile(r"[\w.\[\]$+:*-]+")


class NoExpression(ValueError):
    """A patch that changes more than expressions, and needs a build of its own."""


@dataclass(frozen=True)
class Change:
    """An expression of a file and what a bug makes of it: characters ``begin`` to ``end``."""

    begin: int
    end: int
    new: str


@dataclass(frozen=True)
class Bug:
    """A patch as changes of expressions of one file."""

    patch: Path
    target: Path
    changes: tuple[Change, ...]


def _tokens(text: str) -> list[tuple[str, int, int]]:
    found = [(match.group(), *match.span()) for match in _TOKEN.finditer(text)]
    return [token for token in found if not token[0].startswith(("//", "/*"))]


def _assigns(words: list[str], index: int) -> bool:
    """Whether ``<=`` at an index assigns: there is nothing but a variable before it."""
    at = index - 1
    while at >= 0 and _LVALUE.fullmatch(words[at]) and words[at] not in ("begin", "else"):
        at -= 1
    return at < index - 1 and words[at] in (";", "begin", "else", ")")


def _around(words: list[str], low: int, high: int) -> tuple[int, int]:
    """The tokens of the expression that has all of ``low`` to ``high``; a pair of brackets is had whole."""
    while True:
        depth = least = 0
        for word in words[low:high]:
            depth += (word in _OPEN) - (word in _CLOSE)
            least = min(least, depth)
        # To the left until as many brackets are open as are closed inside, and then a border.
        needed, at = -least, low - 1
        depth = 0
        while at >= 0:
            word = words[at]
            if word in _CLOSE:
                depth += 1
            elif word in _OPEN:
                if depth == 0:
                    if not needed:
                        break
                    needed -= 1
                else:
                    depth -= 1
            elif not depth and not needed and (word in _BEFORE or (word == "<=" and _assigns(words, at))):
                break
            elif not depth and word in (";", "begin"):
                raise NoExpression(" ".join(words[low:high]))
            at -= 1
        begin, depth, at = at + 1, 0, low
        at = begin
        while at < len(words):
            word = words[at]
            if word in _OPEN:
                depth += 1
            elif word in _CLOSE:
                if not depth:
                    break
                depth -= 1
            elif not depth and at >= high and word in _BEHIND:
                break
            elif not depth and word == ";":
                raise NoExpression(" ".join(words[low:high]))
            at += 1
        if "]" in words[at : at + 1] or words[begin - 1] == "[":  # an index may have to be a constant
            low, high = begin - 1, max(high, at + 1)
            continue
        if at >= high:
            return begin, at
        high = max(high, at + 1)  # a border inside: the expression is a larger one
        low = begin - 1


def _several(words: list[str]) -> bool:
    """Whether there is more than one expression, or none."""
    depth = 0
    for word in words:
        depth += (word in _OPEN) - (word in _CLOSE)
        if not depth and word in (",", ";", "="):
            return True
    return not words


def _matched(
    words: list[str], others: list[str], low: int, high: int, first: int, last: int
) -> tuple[int, ...]:
    """The expression around a change, in the tokens of both files."""
    begin, end = _around(words, low, high)
    place = (first - (low - begin), last + (end - high))
    if _around(others, first, last) != place or _several(words[begin:end]) or _several(others[slice(*place)]):
        raise NoExpression(" ".join(words[low:high]))
    return begin, end, *place


@cache
def bug(patch: Path) -> Bug:
    """A patch as changes of expressions.

    Raises:
        NoExpression: it changes a statement or a declaration.
    """
    with TemporaryDirectory() as folder:
        (copy,) = mutated(patch, Path(folder)).values()
        target = copy.relative_to(folder)
        new = copy.read_text()
    old = (rtl_directory().parent / target).read_text()
    if not re.search(r"^\);\n", old, re.MULTILINE):
        raise NoExpression(f"{target} is no module")
    mine, theirs = _tokens(old), _tokens(new)
    words, others = [token[0] for token in mine], [token[0] for token in theirs]
    matcher = difflib.SequenceMatcher(None, words, others, autojunk=False)
    changed = [tuple(code[1:]) for code in matcher.get_opcodes() if code[0] != "equal"]
    whole = (changed[0][0], changed[-1][1], changed[0][2], changed[-1][3])
    for parts in (changed, [whole]):  # each by itself, else all of them as one expression
        try:
            found = [_matched(words, others, *part) for part in parts]
        except NoExpression:
            continue
        if all(one[1] <= two[0] for one, two in pairwise(found)):
            break
    else:
        raise NoExpression(f"{patch.name} changes more than expressions")
    return Bug(patch, target, tuple(
        Change(mine[begin][1], mine[end - 1][2], new[theirs[first][1] : theirs[last - 1][2]])
        for begin, end, first, last in found
    ))  # fmt: skip


def grouped(patches: Sequence[Path]) -> list[list[Path]]:
    """Patches by builds: all together that change expressions; others alone."""
    together, alone = [], []
    for patch in patches:
        try:
            bug(patch)
        except NoExpression:
            alone.append([patch])
        else:
            together.append(patch)
    return [together, *alone]


def _choices(text: str, changes: list[tuple[Change, int]]) -> str:
    """A file's text with every change as a choice; of expressions inside one another the largest has them all."""
    ordered = sorted(changes, key=lambda item: (item[0].begin, -item[0].end))
    while ordered:
        span = ordered[-1][0]
        for change, _ in reversed(ordered):  # the largest expression that has the last change
            if change.begin <= span.begin and span.end <= change.end:
                span = change
        inside = [item for item in ordered if span.begin <= item[0].begin and item[0].end <= span.end]
        ordered = [item for item in ordered if item not in inside]
        assert all(change.end <= span.begin for change, _ in ordered), "expressions that overlap"
        old = text[span.begin : span.end]
        made = f"({old})"
        for number in sorted({number for _, number in inside}):
            new = old
            for change, _ in reversed([item for item in inside if item[1] == number]):
                new = new[: change.begin - span.begin] + change.new + new[change.end - span.begin :]
            made = f"(mutant == {number} ? ({new}) : {made})"
        text = text[: span.begin] + made + text[span.end :]
    return text


def switched(patches: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Files with all bugs of a group, by unit; that of ``patches[n]`` is there while ``mutant(n + 1)`` is entered."""
    if len(patches) == 1:
        return mutated(patches[0], folder)
    edits: dict[Path, list[tuple[Change, int]]] = {}
    for number, patch in enumerate(patches, 1):
        mine = bug(patch)
        edits.setdefault(mine.target, []).extend((change, number) for change in mine.changes)
    made = {}
    for target, changes in edits.items():
        text = _choices((rtl_directory().parent / target).read_text(), changes)
        header = re.search(r"^\);\n", text, re.MULTILINE)
        assert header is not None
        read = f'$c32("(getenv(\\"{VARIABLE}\\") ? atoi(getenv(\\"{VARIABLE}\\")) : 0)")'
        choice = f"  int mutant;\n  initial mutant = {read};\n"
        copy = folder / target
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text[: header.end()] + choice + text[header.end() :])
        made[copy.stem] = copy
    return made


@contextmanager
def mutant(number: int) -> Iterator[None]:
    """Models that are made meanwhile have the bug of a number; 0: none."""
    os.environ[VARIABLE] = str(number)
    try:
        yield
    finally:
        del os.environ[VARIABLE]


__all__ = ["Bug", "Change", "NoExpression", "bug", "grouped", "mutant", "switched"]
