"""A trace for Perfetto's timeline (ui.perfetto.dev): JSON in Chrome's trace event format, one cycle as one microsecond.

Slices of a track never overlap. A core is a process with a track for layers, for the symbols of the code, for what the
core issues and waits for, and for each unit; the DMA and the DRAM are processes, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.sim.observation.listing import FP_LSU, LSU, UNITS, VFU, Line
from potluck.sim.observation.trace import CoreTrace, Trace
from potluck.sim.timing.timer import CAUSES
from potluck.views.text import Lines, Pieces, Writer

CHUNK = 1 << 17  # slices written at a time
DMA, DRAM = 1000, 1001  # processes; cores have their hart's number
LAYERS, CODE, ISSUE, FIRST_UNIT = range(1, 5)  # tracks of a core
NO_LAYER, NO_SYMBOL = "(runtime)", "(no symbol)"


class _Track:
    """Slices of one track, gathered before they are written."""

    def __init__(self, process: int, track: int) -> None:
        self._head = f'{{"ph":"X","pid":{process},"tid":{track},"name":'

    def piece(self, name: str, **about: Any) -> str:
        """The fixed text of a slice, up to its time."""
        more = f',"args":{json.dumps(about, separators=(",", ":"))}' if about else ""
        return f'{self._head}{json.dumps(name)}{more},"ts":'


def perfetto(trace: Trace) -> Iterator[Any]:
    """The file's bytes in parts, each valid until the next is asked for."""
    pieces = Pieces()
    after, end = pieces(',"dur":'), pieces("},\n")
    slices: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []  # piece, begin, end
    named: list[dict[str, Any]] = []
    for core in trace.cores:
        _name(named, core.number, f"core {core.number}", core.number)
        _core(core, pieces, slices, named)
    _memory(trace, pieces, slices, named)
    writer = Writer(pieces)
    about = {"machine": trace.machine, "time": "1 cycle is shown as 1 us", "cycles": trace.cycles}
    yield f'{{"displayTimeUnit":"ms","otherData":{json.dumps(about)},"traceEvents":[\n'.encode()
    for which, begin, stop in slices:
        for first in range(0, begin.size, CHUNK):
            part = slice(first, first + CHUNK)
            at = begin[part]
            yield writer(Lines.of(at.size, which[part], at, after, stop[part] - at, end))
    yield ",\n".join(json.dumps(event, separators=(",", ":")) for event in named).encode() + b"\n]}\n"


def _name(named: list[dict[str, Any]], process: int, name: str, order: int, track: int | None = None) -> None:
    """Name a process, or a track of it, and say where to show it."""
    kind, where = (
        ("process", {"pid": process}) if track is None else ("thread", {"pid": process, "tid": track})
    )
    named.append({"ph": "M", "name": f"{kind}_name", **where, "args": {"name": name}})
    named.append({"ph": "M", "name": f"{kind}_sort_index", **where, "args": {"sort_index": order}})


def _core(core: CoreTrace, pieces: Pieces, slices: list[Any], named: list[dict[str, Any]]) -> None:
    r, lines = core.records, core.lines
    if any(line.layer for line in lines):
        _name(named, core.number, "layers", LAYERS, LAYERS)
        slices.append(_runs(core, [line.layer or NO_LAYER for line in lines], LAYERS, pieces))
    _name(named, core.number, "code", CODE, CODE)
    slices.append(_runs(core, [line.symbol or NO_SYMBOL for line in lines], CODE, pieces))
    _name(named, core.number, "issue", ISSUE, ISSUE)
    track = _Track(core.number, ISSUE)
    issued = _instructions(track, lines, pieces)
    slices.append((issued[r["row"]], r["left"], r["left"] + 1))
    stalls = np.array([pieces(track.piece(f"waits: {cause}")) for cause in CAUSES])
    held = np.flatnonzero(r["stall"] > 0)
    slices.append((stalls[r["cause"][held]], r["enter"][held], r["left"][held]))
    idle = np.array(
        [(stalls[CAUSES.index(w.cause)], w.begin, w.begin + w.cycles) for w in core.waits], np.int64
    )
    slices.append(tuple(idle.reshape(-1, 3).T))
    units = np.array([line.unit for line in lines])[r["row"]] if lines else np.zeros(0, np.int64)
    for unit in range(LSU, len(UNITS)):
        used = r[units == unit]
        if not used.size:
            continue
        number = FIRST_UNIT + unit
        _name(named, core.number, UNITS[unit], number, number)
        begin, end = _busy(used, unit)
        slices.append((_instructions(_Track(core.number, number), lines, pieces)[used["row"]], begin, end))


def _instructions(track: _Track, lines: list[Line], pieces: Pieces) -> NDArray[np.int64]:
    return np.array([pieces(track.piece(x.mnemonic, text=x.text, at=x.place)) for x in lines], np.int64)


def _busy(r: NDArray[np.void], unit: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When a unit works on each instruction: a vector unit until the last operands are read; a load/store unit until
    the answer, or the next request if that is earlier."""
    if unit >= VFU:
        return r["begun"], r["read"] + 1
    begin = r["sequenced"] if unit == FP_LSU else r["left"]
    return begin, np.minimum(r["done"], np.append(begin[1:], r["done"][-1:]))


def _runs(core: CoreTrace, names: list[str], track: int, pieces: Pieces) -> tuple[NDArray[Any], ...]:
    """A slice for each stretch of instructions with the same name, up to the next stretch."""
    r = core.records
    texts = np.array([pieces(_Track(core.number, track).piece(name)) for name in names], np.int64)[r["row"]]
    first = np.flatnonzero(np.diff(texts, prepend=-1))
    begin = r["enter"][first]
    return texts[first], begin, np.append(begin[1:], r["left"][-1:] + 1)


def _memory(trace: Trace, pieces: Pieces, slices: list[Any], named: list[dict[str, Any]]) -> None:
    """The DMA's transfers, and who uses the DRAM."""
    moved = [t for t in trace.transfers if t.end > t.begin]
    if moved:
        _name(named, DMA, "DMA", DMA)
        _name(named, DMA, "transfers", 1, 1)
    of_dram = [t for t in moved if "dram" in (t.source, t.target)]
    for process, transfers in ((DMA, moved), (DRAM, of_dram)):
        track = _Track(process, 1)
        rows = []
        for t in transfers:
            about = {"bytes": t.bytes, "queued": t.queued, "pc": f"{t.pc:#x}"}
            rows.append((pieces(track.piece(f"{t.source} to {t.target}", **about)), t.begin, t.end))
        slices.append(tuple(np.array(rows, np.int64).reshape(-1, 3).T))
    users = [(core, *_dram_accesses(core)) for core in trace.cores]
    if of_dram or any(begin.size for _, begin, _ in users):
        _name(named, DRAM, "DRAM", DRAM)
    if of_dram:
        _name(named, DRAM, "DMA", 1, 1)
    for core, begin, end in users:
        if begin.size:
            number = 2 + core.number
            _name(named, DRAM, f"core {core.number}", number, number)
            text = pieces(_Track(DRAM, number).piece("accesses"))
            slices.append((np.full(begin.size, text), begin, end))


def _dram_accesses(core: CoreTrace) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stretches in which a core has accesses to DRAM under way."""
    r = core.records[core.records["dram"] > 0]
    begin = np.where(r["begun"] >= 0, r["begun"], np.where(r["sequenced"] >= 0, r["sequenced"], r["left"]))
    order = np.argsort(begin, kind="stable")
    begin, end = begin[order], np.maximum.accumulate(np.maximum(r["done"], r["left"] + 1)[order])
    new = np.ones(begin.size, np.bool_)
    new[1:] = begin[1:] >= end[:-1]
    last = np.append(np.flatnonzero(new)[1:] - 1, begin.size - 1) if begin.size else np.zeros(0, np.int64)
    return begin[new], end[last]


__all__ = ["perfetto"]
