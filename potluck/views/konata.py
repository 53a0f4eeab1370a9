"""A trace for Konata, the pipeline viewer: its log format ``Kanata 0004`` (docs/kanata-log-format.md of Konata).

A line is a command; commands come in the order of their cycles. An instruction that waits at the head of the core's
queue is in a stage named after the cause, in lane 0 like its other stages: a lane of its own would take two commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.sim.observation.trace import CoreTrace, Trace
from potluck.sim.timing.timer import CAUSES
from potluck.views.text import NONE, Lines, Pieces, Writer

CHUNK = 1 << 16  # instructions whose commands are sorted at a time
STAGES = {
    "I": "leaves the core",
    "Q": "in the request register, until the FP sequencer takes it",
    "S": "in the FP sequencer, until its scalar operands are there and the controller takes it",
    "C": "in the vector controller or its unit's queue",
    "X": "its unit executes it, until the last operands are read",
    "B": "until the last result is there",
}


@dataclass
class _Commands:
    """Commands that are not written yet, each with its cycle."""

    cycles: list[NDArray[np.int64]]
    lines: list[Lines]

    def add(self, cycles: NDArray[np.int64], *columns: Any, where: NDArray[np.bool_] | None = None) -> None:
        """One command for each instruction, or for some."""
        lines = Lines.of(cycles.size, *columns)
        self.cycles.append(cycles if where is None else cycles[where])
        self.lines.append(lines if where is None else lines[where])

    def before(self, end: int | None) -> tuple[NDArray[np.int64], Lines]:
        """Take the commands before a cycle (None: all), in order."""
        cycles = np.concatenate(self.cycles)
        lines = Lines(
            *(np.concatenate(column) for column in zip(*(x.columns() for x in self.lines), strict=True))
        )
        order = np.argsort(cycles, kind="stable")
        cycles, lines = cycles[order], lines[order]
        cut = cycles.size if end is None else int(np.searchsorted(cycles, end))
        self.cycles, self.lines = [cycles[cut:]], [lines[cut:]]
        return cycles[:cut], lines[:cut]


def konata(trace: Trace) -> Iterator[Any]:
    """The file's bytes in parts, each valid until the next is asked for."""
    pieces = Pieces()
    labels = [_labels(pieces, core) for core in trace.cores]
    names = {text: pieces(text) for text in ("I\t", "\t", "L\t", "S\t", "R\t", "\t0\n")}
    stages = {stage: pieces(f"\t0\t{stage}\n") for stage in STAGES}
    causes = np.array([pieces(f"\t0\t{cause}\n") for cause in CAUSES])
    threads = np.array([pieces(f"\t{core.number}\n") for core in trace.cores], np.int32)
    writer = Writer(pieces, "C\t", "\n")
    enter = np.concatenate([core.records["enter"] for core in trace.cores])
    core_of = np.repeat(np.arange(len(trace.cores)), [core.records.size for core in trace.cores])
    place = np.concatenate([np.arange(core.records.size) for core in trace.cores])
    order = np.argsort(enter, kind="stable")
    now = int(enter[order[0]]) if order.size else trace.window[0]
    yield f"Kanata\t0004\nC=\t{now}\n".encode()
    waiting = _Commands([], [])
    for begin in range(0, order.size, CHUNK):
        ids = np.arange(begin, min(begin + CHUNK, order.size))
        for k, core in enumerate(trace.cores):
            mine = ids[core_of[order[ids]] == k]
            numbers = place[order[mine]]
            _add(
                waiting,
                mine,
                numbers,
                core.records[numbers],
                labels[k],
                int(threads[k]),
                names,
                stages,
                causes,
            )
        following = int(enter[order[ids[-1] + 1]]) if ids[-1] + 1 < order.size else None
        cycles, lines = waiting.before(following)
        if cycles.size:
            yield writer(lines, np.diff(cycles, prepend=now))
            now = int(cycles[-1])


def _labels(pieces: Pieces, core: CoreTrace) -> NDArray[np.int32]:
    """Of each line: the text up to vl, or all of it, and what follows vl, or nothing."""
    found = []
    for line in core.lines:
        text, rest = (
            f"\t0\t{line.pc:x}: {line.text}  ; ",
            f"{line.place}{', ' + line.layer if line.layer else ''}\n",
        )
        vector = line.mnemonic.startswith("v")
        found.append((pieces(f"{text}vl "), pieces(f", {rest}")) if vector else (pieces(text + rest), 0))
    return np.array(found, np.int32).reshape(len(found), 2)


def _add(
    to: _Commands, ids: NDArray[np.int64], numbers: NDArray[np.int64], r: NDArray[np.void], labels: NDArray[np.int32],
    thread: int, names: dict[str, int], stages: dict[str, int], causes: NDArray[np.int64],
) -> None:  # fmt: skip
    """The commands of some instructions of one core."""
    enter, left, taken, sequenced, begun = (
        r[name] for name in ("enter", "left", "taken", "sequenced", "begun")
    )
    label = labels[r["row"]]
    end = np.maximum(r["done"], left + 1)
    to.add(enter, names["I\t"], ids, names["\t"], numbers, thread)
    to.add(enter, names["L\t"], ids, label[:, 0], np.where(label[:, 1] > 0, r["vl"], NONE), label[:, 1])
    to.add(enter, names["S\t"], ids, causes[r["cause"]], where=r["stall"] > 0)
    to.add(left, names["S\t"], ids, stages["I"])
    offloaded, vector = taken >= 0, begun >= 0
    to.add(left + 1, names["S\t"], ids, stages["Q"], where=offloaded & (taken > left + 1))
    to.add(taken, names["S\t"], ids, stages["S"], where=offloaded)
    to.add(sequenced + 1, names["S\t"], ids, stages["C"], where=vector & (begun > sequenced + 1))
    inside = np.where(vector, begun, np.where(offloaded, sequenced, left) + 1)
    to.add(inside, names["S\t"], ids, stages["X"], where=vector | (end > inside))
    to.add(r["read"] + 1, names["S\t"], ids, stages["B"], where=vector & (end > r["read"] + 1))
    end = np.maximum(end, inside + vector)
    to.add(end, names["R\t"], ids, names["\t"], ids, names["\t0\n"])


__all__ = ["STAGES", "konata"]
