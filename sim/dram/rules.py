"""Timing rules: from text such as ``"rank: ACT x4 -> ACT = nFAW"`` to the tables that the engine and reports read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import MachineError
from potluck.isa.latency import evaluate

COMMANDS = ("ACT", "PRE", "PREA", "RD", "WR", "RDA", "WRA", "REFab", "REFpb")
ACT, PRE, PREA, RD, WR, RDA, WRA, REF_AB, REF_PB = range(len(COMMANDS))
LEVELS = ("channel", "pseudochannel", "rank", "bankgroup", "bank")
CHANNEL, PSEUDOCHANNEL, RANK, BANKGROUP, BANK = range(len(LEVELS))
WAITING = (
    8  # clocks of a node: of the seven commands that wait otherwise than others, and one to fill a vector
)
_NEVER = -(1 << 60)
SIBLINGS = len(LEVELS)  # "pseudochannel, other rank": a scope of its own beside the levels

_CLASSES = {
    "RD*": ("RD", "RDA"),
    "WR*": ("WR", "WRA"),
    "column": ("RD", "WR", "RDA", "WRA"),
    "row": ("ACT", "PRE", "PREA", "REFab", "REFpb"),
    "any": COMMANDS,
}
_RULE = re.compile(
    r"(?P<level>[\w, ]+):\s*(?P<first>[\w* ]+?)\s*(?:x(?P<window>\d+)\s*)?->\s*(?P<then>[\w* ]+?)\s*=\s*(?P<cycles>.+)"
)


@dataclass(frozen=True)
class Rule:
    """``then`` comes at least ``cycles`` after ``first`` at the same node of ``scope``.

    Attributes:
        scope: index into :data:`LEVELS`, or :data:`SIBLINGS` for two ranks of one pseudochannel.
        first: commands (indices) that start the interval.
        then: commands that have to wait.
        cycles: memory clocks.
        window: 1, or n if the interval begins at the n-th last ``first``.
        text: the declaration.
    """

    scope: int
    first: tuple[int, ...]
    then: tuple[int, ...]
    cycles: int
    window: int
    text: str


def parse(text: str, timing: Mapping[str, int]) -> Rule:
    """Read one rule; the notation is described in ``docs/dram.md``.

    Raises:
        MachineError: not a rule; an unknown level, command or timing name.
    """
    match = _RULE.fullmatch(text.strip())
    if match is None:
        raise MachineError(
            f"{text!r} is no timing rule", hint="Write 'LEVEL: COMMANDS -> COMMANDS = CYCLES'."
        )
    level = match["level"].strip()
    if level == "pseudochannel, other rank":
        scope = SIBLINGS
    elif level in LEVELS:
        scope = LEVELS.index(level)
    else:
        raise MachineError(f"unknown level {level!r} in {text!r}", hint=f"Levels: {', '.join(LEVELS)}.")
    try:
        cycles = evaluate(match["cycles"], timing)
    except ValueError as problem:
        raise MachineError(f"rule {text!r}: {problem}") from None
    window = int(match["window"] or 1)
    first, then = _commands(match["first"], text), _commands(match["then"], text)
    if window > 1 and (scope != RANK or first != (ACT,) or then != (ACT,)):
        raise MachineError(f"{text!r}: windows are of activations of a rank")
    return Rule(scope, first, then, cycles, window, text)


def _commands(text: str, rule: str) -> tuple[int, ...]:
    found: list[str] = []
    for word in text.split():
        names = _CLASSES.get(word, (word,))
        if names[0] not in COMMANDS:
            raise MachineError(
                f"unknown command {word!r} in {rule!r}", hint=f"Commands: {', '.join(COMMANDS)}."
            )
        found += names
    return tuple(COMMANDS.index(name) for name in found)


@dataclass(frozen=True)
class Tables:
    """Rules by issued command, for the engine.

    Attributes:
        first: int32 [commands + 1], where a command's entries begin.
        entries: int32 [n, 3]: scope, following command, cycles.
        window: activations in the window of a rank; cycles of that window.
    """

    first: NDArray[np.int32]
    entries: NDArray[np.int32]
    window: tuple[int, int]


def compile_rules(rules: Iterable[Rule], refresh: str = "", ranks: int = 2) -> Tables:
    """One entry per (issued command, scope, following command), the longest if several rules say something.

    Args:
        rules: of a kind.
        refresh: leaves out the refresh commands of the other way, ``all-bank`` or ``per-bank``.
        ranks: of a pseudochannel; with one there are no other ranks.

    Raises:
        MachineError: RDA or WRA has to wait for something that RD or WR does not wait for.
    """
    unused = {"all-bank": (REF_PB,), "per-bank": (REF_AB, PREA), "none": (REF_AB, REF_PB, PREA)}.get(
        refresh, ()
    )
    longest: dict[tuple[int, int, int], int] = {}
    window = (1, 0)
    for rule in rules:
        if rule.scope == SIBLINGS and ranks == 1:
            continue
        if rule.window > 1:
            window = rule.window, rule.cycles
            continue
        for first in rule.first:
            for then in rule.then:
                key = first, rule.scope, then
                longest[key] = max(longest.get(key, 0), rule.cycles)
    for (first, scope, then), cycles in longest.items():
        if then in (RDA, WRA) and longest.get((first, scope, then - 2)) != cycles:
            raise MachineError(f"{COMMANDS[then]} waits otherwise than {COMMANDS[then - 2]}")
    ordered = sorted(k for k in longest if k[2] not in (RDA, WRA, *unused) and k[0] not in unused)
    entries = np.array(
        [[scope, then, longest[first, scope, then]] for first, scope, then in ordered], np.int32
    )
    starts = np.searchsorted([key[0] for key in ordered], range(len(COMMANDS) + 1)).astype(np.int32)
    return Tables(starts, entries.reshape(-1, 3), window)


@dataclass(frozen=True)
class Waits:
    """The clocks that a command to a bank raises.

    Attributes:
        first: int32 [commands * banks + 1], where the entries of (command, bank) begin.
        entries: int32 [n, 2]: where a node's clocks begin, and where a line of ``delays`` does.
        delays: int64 [lines * WAITING]: for how long each command waits there, far below 0 if it does not. RDA and WRA
            wait as RD and WR, so the refreshes follow these.
        same: int64 [2, 4], clocks between two reads and two writes at each of the nodes; -1: no rule.
    """

    first: NDArray[np.int32]
    entries: NDArray[np.int32]
    delays: NDArray[np.int64]
    same: NDArray[np.int64]


def waits(tables: Tables, nodes: NDArray[np.int64], per_rank: int, ranks: int) -> Waits:
    """Rules spread over the banks of a channel.

    Args:
        tables: the rules.
        nodes: int64 [banks, 4], where the clocks of each bank's channel, rank, bank group and own begin.
        per_rank: banks of a rank.
        ranks: of a pseudochannel.
    """
    own = np.arange(len(nodes)) // per_rank
    begin = own // ranks * ranks
    others = [nodes[(begin + (own - begin + k) % ranks) * per_rank, 1] for k in range(1, ranks)]
    by_scope = {CHANNEL: [nodes[:, 0]], RANK: [nodes[:, 1]], BANKGROUP: [nodes[:, 2]], BANK: [nodes[:, 3]],
                PSEUDOCHANNEL: [nodes[:, 1], *others], SIBLINGS: others}  # fmt: skip
    found, counts = [], []
    delays: list[NDArray[np.int64]] = []
    same = np.full((2, nodes.shape[1]), -1, np.int64)
    for command in range(len(COMMANDS)):
        rows = tables.entries[tables.first[command] : tables.first[command + 1]]
        columns = []
        for scope in sorted(set(rows[:, 0].tolist())):
            if command in (PREA, REF_AB) and scope in (BANKGROUP, BANK):
                continue
            line = np.full(WAITING, _NEVER)
            for _, then, cycles in rows[rows[:, 0] == scope].tolist():
                line[then if then < RDA else then - 2] = cycles
            columns += [(node, len(delays) * WAITING) for node in by_scope[scope]]
            delays.append(line)
            if command in (RD, WR) and line[command] >= 0 and scope != SIBLINGS:
                place = max(0, scope - 1)
                same[command - RD, place] = max(same[command - RD, place], line[command])
        part = np.zeros((len(nodes), len(columns), 2), np.int32)
        for k, (node, line_begin) in enumerate(columns):
            part[:, k, 0], part[:, k, 1] = node, line_begin
        found.append(part.reshape(-1, 2))
        counts.append(np.full(len(nodes), len(columns)))
    return Waits(
        np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int32), np.concatenate(found),
        np.array(delays, np.int64).ravel(), same,
    )  # fmt: skip
