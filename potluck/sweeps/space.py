"""The points of a sweep: the cross product of machines, schemes and machine keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from potluck.isa.errors import DataError, MachineError
from potluck.isa.machine import Machine, load_machine

_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(\*?)(\d+))?")
MOST = 1_000_000
"""Points of a sweep."""


@dataclass(frozen=True)
class Point:
    """One machine and scheme.

    Attributes:
        id: its place in the cross product, the last key changing fastest.
        machine: preset or TOML file; None: the one that the program was compiled for.
        scheme: of quantization; None: the network as it is.
        settings: machine key -> value as text.
    """

    id: int
    machine: str | None
    scheme: str | None
    settings: Mapping[str, str]


def points(
    machines: Sequence[str | None], schemes: Sequence[str | None], axes: Mapping[str, Sequence[str]]
) -> list[Point]:
    """All points: machines change slowest, then schemes, then keys in their order.

    Raises:
        DataError: a machine, a scheme or a value stands twice in its list, or there are too many points.
    """
    lists: list[tuple[str, Sequence[Any]]] = [("--machine", machines), ("--scheme", schemes)]
    lists += [(f"--set {key}", values) for key, values in axes.items()]
    count = 1
    for what, values in lists:
        twice = next((value for k, value in enumerate(values) if value in values[:k]), None)
        if twice is not None:
            raise DataError(
                f"{what} has {twice!r} twice", hint="Each value makes points of its own: give it once"
            )
        count *= len(values)
    if count > MOST:
        raise DataError(
            f"{count:,} points are more than {MOST:,}", hint="Sweep fewer keys or values at a time"
        )
    return [
        Point(k, machine, scheme, dict(zip(axes, values, strict=True)))
        for k, ((machine, scheme), values) in enumerate(
            product(product(machines, schemes), product(*axes.values()))
        )
    ]


def axes_of(settings: Iterable[str]) -> dict[str, list[str]]:
    """``key=v1,v2`` of each ``--set``.

    Raises:
        DataError: no ``=``, no value, or a key that stands twice.
    """
    found: dict[str, list[str]] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise DataError(f"--set {setting!r}: expected key=value,value,...")
        if key in found:
            raise DataError(f"--set {key} is given twice", hint=f"Give all its values at once: {key}=1,2,4")
        found[key] = values_of(text, f"--set {key}=")
    return found


def values_of(text: str, option: str) -> list[str]:
    """Values separated by commas; ``a..b``, ``a..b..step`` and ``a..b..*factor`` are ranges that include b.

    Commas between brackets belong to the value, as in ``timing.integer={e64=6,e32=5}``. ``option`` is what stands
    before the values on the command line, for messages.

    Raises:
        DataError: an empty value, or a range without end.
    """
    found: list[str] = []
    for word in _split(text):
        match = _RANGE.fullmatch(word)
        if match:
            found += _expanded(match, option)
        elif word:
            found.append(word)
        else:
            raise DataError(f"{option}{text}: a value is empty")
    return found


def _split(text: str) -> list[str]:
    words, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            words.append("")
        else:
            words[-1] += letter
    return [word.strip() for word in words]


def _expanded(match: re.Match[str], option: str) -> list[str]:
    low, high, step = int(match[1]), int(match[2]), int(match[4] or 1)
    if low > high or step < 1 or (match[3] and (step < 2 or low < 1)):
        raise DataError(f"{option}{match[0]}: a range goes up from its first value to its last",
                        hint="1..4, 128..1024..128 or 128..4096..*2")  # fmt: skip
    made = [low]
    while len(made) <= MOST:
        following = made[-1] * step if match[3] else made[-1] + step
        if following > high:
            return [str(value) for value in made]
        made.append(following)
    raise DataError(f"{option}{match[0]} has more than {MOST:,} values")


def check(machines: Sequence[str], axes: Mapping[str, Sequence[str]]) -> list[Machine]:
    """Refuses what is wrong with a machine, a key or a value by itself, before any work.

    What is wrong with a combination only (two keys that exclude each other) is the error of its points.

    Returns:
        The machines without any of the settings.

    Raises:
        MachineError: no such machine, an unknown key (with the near one), or a value that the key does not take.
    """
    plain = [load_machine(name) for name in machines]
    for name in machines:
        for key, values in axes.items():
            for value in values:
                try:
                    load_machine(name, {key: value})
                except MachineError as error:
                    if error.key:
                        raise
    return plain


def value_at(machine: Machine, key: str) -> Any:
    """The value of a dotted key of a machine: a number, a truth value, or text."""
    found: Any = machine
    for part in key.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    return found if isinstance(found, bool | int | float | str) else str(getattr(found, "source", found))
