"""GNU assembly source: lines, labels, directives. Instructions go to the assembler as if called."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from potluck.isa.assembly.layout import Where
from potluck.isa.errors import ProgramError

if TYPE_CHECKING:
    from potluck.isa.assembly.assembler import Assembler

_LABEL = re.compile(r"\s*([A-Za-z_.$][\w.$]*|\d+)\s*:")
_IGNORED = frozenset({
    ".globl", ".global", ".local", ".weak", ".type", ".size", ".attribute", ".file", ".ident", ".loc",
    ".cfi_startproc", ".cfi_endproc",
})  # fmt: skip
_SIZES = {
    ".byte": 1, ".half": 2, ".short": 2, ".2byte": 2, ".word": 4, ".long": 4, ".4byte": 4,
    ".dword": 8, ".quad": 8, ".8byte": 8,
}  # fmt: skip
_SECTIONS = (".text", ".data", ".rodata", ".bss")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\", '"': '"'}


def read_source(a: Assembler, source: str) -> None:
    """Feed a source text to an assembler.

    Raises:
        ProgramError: names line, text and what was expected.
    """
    source = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n") or " ", source, flags=re.DOTALL)
    for number, line in enumerate(source.split("\n"), 1):
        for statement in split_outside(line, ";"):
            text = statement.strip()
            if not text:
                continue
            a.at(number, text)
            try:
                _statement(a, text)
            except ProgramError:
                raise
            except (ValueError, KeyError, OverflowError) as problem:
                raise Where(number, text).error(problem.args[0] if problem.args else problem) from None
    a.at(0, "")


def split_outside(line: str, separator: str) -> list[str]:
    """Split at a separator outside quotes and parentheses, and drop a comment (``#`` or ``//``)."""
    parts, current, quote, depth = [], "", "", 0
    at = 0
    while at < len(line):
        c = line[at]
        if quote:
            current += c
            if c == "\\":
                at += 1
                current += line[at : at + 1]
            elif c == quote:
                quote = ""
        elif c == "#" or line.startswith("//", at):
            break
        elif c in "\"'":
            quote = c
            current += c
        elif c == separator and depth == 0:
            parts.append(current)
            current = ""
        else:
            depth += (c == "(") - (c == ")")
            current += c
        at += 1
    return [*parts, current]


def _statement(a: Assembler, text: str) -> None:
    while found := _LABEL.match(text):
        if found[1].isdigit():
            a.numeric_label(found[1])
        else:
            a.label(found[1])
        text = text[found.end() :].strip()
    if not text:
        return
    if found := re.fullmatch(r"([A-Za-z_.$][\w.$]*)\s*=\s*(.+)", text):
        a.equ(found[1], found[2])
        return
    name, _, rest = text.partition(" ") if " " in text else text.partition("\t")
    operands = [part.strip() for part in split_outside(rest, ",")] if rest.strip() else []
    if name.startswith("."):
        _directive(a, name.lower(), operands)
    else:
        a(name, *operands)


def _directive(a: Assembler, name: str, operands: list[str]) -> None:
    if name in _IGNORED:
        return
    if name in _SECTIONS:
        a.section(name)
    elif name == ".option":
        a.option(_given(operands, 0, "an option"))
    elif name == ".section":
        _section(a, operands)
    elif name in _SIZES:
        a.data(operands, _SIZES[name])
    elif name in (".float", ".double"):
        a.floats(operands, 4 if name == ".float" else 8)
    elif name in (".align", ".p2align", ".balign"):
        _align(a, name, operands)
    elif name in (".zero", ".space", ".skip"):
        count = a.constant(_given(operands, 0, "a byte count"))
        fill = a.constant(operands[1]) if len(operands) > 1 else 0
        a.bytes(bytes([fill & 0xFF]) * _positive(count))
    elif name == ".fill":
        count, size, value = (
            (a.constant(text) for text in [*operands, "1", "0"][:3]) if operands else (0, 1, 0)
        )
        a.bytes((value & (1 << 8 * size) - 1).to_bytes(size, "little") * _positive(count))
    elif name in (".string", ".asciz", ".ascii"):
        for text in operands:
            a.bytes(_string(text) + (b"" if name == ".ascii" else b"\0"))
    elif name in (".equ", ".set"):
        a.equ(_given(operands, 0, "a name"), _given(operands, 1, "a value"))
    else:
        known = sorted(
            {*_SECTIONS, *_SIZES, *_IGNORED, ".option", ".section", ".align", ".zero", ".string", ".equ"}
        )
        raise ValueError(f"unknown directive {name}; known are {' '.join(known)}")


def _section(a: Assembler, operands: list[str]) -> None:
    """``.section name[, "flags"][, @type][, address=N]``; ``address`` is ours."""
    flags = next((text.strip('"') for text in operands[1:] if text.startswith('"')), None)
    address = next((text.partition("=")[2] for text in operands[1:] if text.startswith("address=")), None)
    name = _given(operands, 0, "a section name").strip('"')
    executable = "x" in flags if flags is not None else name.startswith(".text")
    writable = "w" in flags if flags is not None else None
    a.section(name, executable, writable, a.constant(address) if address else None)


def _align(a: Assembler, name: str, operands: list[str]) -> None:
    count = a.constant(_given(operands, 0, "an alignment"))
    if name != ".balign":
        if not 0 <= count <= 30:
            raise ValueError(f"{name} {count}: expected the exponent of a power of two, 0..30")
        count = 1 << count
    a.align(count, a.constant(operands[1]) & 0xFF if len(operands) > 1 and operands[1] else None)


def _given(operands: list[str], index: int, what: str) -> str:
    if len(operands) <= index or not operands[index]:
        raise ValueError(f"expected {what}")
    return operands[index]


def _positive(count: int) -> int:
    if not 0 <= count <= 1 << 30:
        raise ValueError(f"{count} bytes: expected 0..2^30")
    return count


def _string(text: str) -> bytes:
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        raise ValueError(f"{text}: expected a string in double quotes")
    body = re.sub(
        r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)",
        lambda m: chr(int(m[1][1:], 16)) if m[1][0] == "x" and len(m[1]) > 1
        else chr(int(m[1], 8)) if m[1][0] in "01234567" else _ESCAPES.get(m[1], m[1]),
        text[1:-1],
    )  # fmt: skip
    return body.encode("utf-8" if any(ord(c) > 255 for c in body) else "latin-1")
