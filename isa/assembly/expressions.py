"""Assembly expressions: numbers, symbols, operators and ``%hi``-like functions.

A parsed expression is an ``int`` or a :class:`Node`; constants are folded while parsing. Operators and precedence
are those of C (``* / %``, ``+ -``, ``<< >>``, ``&``, ``^``, ``|``, unary ``- ~ +``, parentheses); ``.`` is the
address here.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

_TOKEN = re.compile(
    r"\s*(?:(0[xX][0-9a-fA-F]+|0[bB][01]+|\d+(?![\w.]))|(\d+[fb])(?!\w)|(%\w+)|([A-Za-z_.$][\w.$]*)"
    r"|'(\\?.)'|(<<|>>|[-+*/%&|^~()]))"
)
_LEVELS: list[dict[str, Callable[[int, int], int]]] = [
    {"|": operator.or_},
    {"^": operator.xor},
    {"&": operator.and_},
    {"<<": operator.lshift, ">>": operator.rshift},
    {"+": operator.add, "-": operator.sub},
    {
        "*": operator.mul,
        "/": lambda a, b: int(a / b) if b else _zero(),
        "%": lambda a, b: a % b if b else _zero(),
    },
]
_ESCAPES = {"\\n": 10, "\\t": 9, "\\0": 0, "\\\\": 92, "\\'": 39, "\\r": 13}
FUNCTIONS = ("hi", "lo", "pcrel_hi", "pcrel_lo")


def _zero() -> int:
    raise ValueError("division by zero")


@dataclass(frozen=True, slots=True)
class Node:
    """``operation``: an operator, ``symbol`` (with ``name``), ``neg``, ``inv`` or one of ``FUNCTIONS``."""

    operation: str
    arguments: tuple[Expression, ...] = ()
    name: str = ""


Expression: TypeAlias = int | Node
Lookup = Callable[[str], int]


class _Parser:
    def __init__(self, text: str, local: Callable[[str], str]) -> None:
        self._text, self._local = text, local
        self._tokens: list[tuple[str, str]] = []
        at = 0
        end = len(text.rstrip())
        while at < end:
            found = _TOKEN.match(text, at)
            if not found:
                raise ValueError(f"cannot read the expression {text.strip()!r} at {text[at:].strip()!r}")
            at = found.end()
            kind = ("number", "local", "function", "symbol", "character", "operator")[
                (found.lastindex or 1) - 1
            ]
            self._tokens.append((kind, found[found.lastindex or 1]))
        self._at = 0

    def parse(self) -> Expression:
        value = self._binary(0)
        if self._at < len(self._tokens):
            raise ValueError(
                f"unexpected {self._tokens[self._at][1]!r} in the expression {self._text.strip()!r}"
            )
        return value

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise ValueError(f"the expression {self._text.strip()!r} ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _binary(self, level: int) -> Expression:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while (
            self._at < len(self._tokens)
            and self._tokens[self._at][0] == "operator"
            and self._peek() in _LEVELS[level]
        ):
            symbol = self._next()[1]
            right = self._binary(level + 1)
            if isinstance(left, int) and isinstance(right, int):
                left = _LEVELS[level][symbol](left, right)
            else:
                left = Node(symbol, (left, right))
        return left

    def _unary(self) -> Expression:
        kind, text = self._next()
        if kind == "number":
            return int(text, 0) if not re.fullmatch(r"0\d+", text) else int(text, 8)
        if kind == "character":
            return _ESCAPES[text] if len(text) == 2 else ord(text)
        if kind == "local":
            return Node("symbol", name=self._local(text))
        if kind == "symbol":
            return Node("symbol", name=text)
        if kind == "function":
            if text[1:] not in FUNCTIONS or self._peek() != "(":
                raise ValueError(f"{text}: expected one of {', '.join('%' + f + '(...)' for f in FUNCTIONS)}")
            return Node(text[1:], (self._unary(),))
        if text == "(":
            value = self._binary(0)
            if self._next()[1] != ")":
                raise ValueError(f"missing ')' in {self._text.strip()!r}")
            return value
        if text in "+-~":
            value = self._unary()
            if text == "+":
                return value
            if isinstance(value, int):
                return -value if text == "-" else ~value
            return Node("neg" if text == "-" else "inv", (value,))
        raise ValueError(f"unexpected {text!r} in the expression {self._text.strip()!r}")


def _no_locals(name: str) -> str:
    raise ValueError(f"a numeric label reference {name!r} is not possible here")


def parse_expression(text: str | int, local: Callable[[str], str] = _no_locals) -> Expression:
    """Parse an expression; ``local`` gives the name of what ``1f`` or ``1b`` refers to.

    Raises:
        ValueError: with what was expected.
    """
    if isinstance(text, int):
        return text
    try:
        return int(text, 0)
    except ValueError:
        return _Parser(text, local).parse()


def high20(value: int) -> int:
    """What ``lui`` or ``auipc`` takes (4 KiB units) for a signed 12-bit addition to reach ``value``."""
    if not -(1 << 31) - 2048 <= value < (1 << 31) - 2048:
        raise ValueError(f"{value:#x} is not in reach of a 32-bit signed pair of immediates")
    return (value + 0x800) >> 12 & 0xFFFFF


def low12(value: int) -> int:
    """The signed low 12 bits that go with :func:`high20`."""
    return ((value & 0xFFF) ^ 0x800) - 0x800


def evaluate(value: Expression, lookup: Lookup) -> int:
    """The number; ``lookup`` gives symbols (and ``.``), and for ``pcrel_lo`` resolves ``%pcrel_lo NAME``.

    Raises:
        ValueError: out of reach; and whatever ``lookup`` raises for unknown symbols.
    """
    if isinstance(value, int):
        return value
    if value.operation == "symbol":
        return lookup(value.name)
    if value.operation == "pcrel_lo":
        argument = value.arguments[0]
        if not isinstance(argument, Node) or argument.operation != "symbol":
            raise ValueError("%pcrel_lo needs the label of the auipc")
        return low12(lookup("%pcrel_lo " + argument.name))
    numbers = [evaluate(argument, lookup) for argument in value.arguments]
    if value.operation == "hi":
        return high20(numbers[0])
    if value.operation == "lo":
        return low12(numbers[0])
    if value.operation == "pcrel_hi":
        return high20(numbers[0] - lookup("."))
    if value.operation in ("neg", "inv"):
        return -numbers[0] if value.operation == "neg" else ~numbers[0]
    function = next(level[value.operation] for level in _LEVELS if value.operation in level)
    return function(numbers[0], numbers[1])
