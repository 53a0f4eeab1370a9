"""Trace files: Konata's log read by a parser of its published format, the timeline by json; against the records."""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from potluck import write_trace
from potluck.benchmarks.spine import random_inputs
from potluck.isa.elf import Program
from potluck.isa.errors import DataError
from potluck.isa.machine import load_machine
from potluck.sim.observation.listing import UNITS
from potluck.sim.result import Result
from potluck.sim.simulate import simulate
from potluck.sim.timing.timer import CAUSES
from potluck.views import format_of
from tests.sim.test_profile import network
from tests.sim.test_timing_programs import KERNELS

MACHINE = load_machine("spatz-mx")


@dataclass
class Op:
    """An instruction as Konata's reader builds it from commands."""

    thread: int
    begin: int
    in_simulator: int
    shown: str = ""
    hover: str = ""
    lanes: dict[str, list[list[Any]]] = field(default_factory=lambda: defaultdict(list))  # name, begin, end
    end: int | None = None
    retire_id: int = -1
    flushed: bool = False


def read_konata(data: bytes) -> list[Op]:
    """Kanata 0004 by docs/kanata-log-format.md of Konata; every rule that it states is checked."""
    lines = data.decode().split("\n")
    assert lines[0] == "Kanata\t0004" and lines[-1] == ""
    command, cycle_text = lines[1].split("\t")
    assert command == "C="
    cycle = int(cycle_text)
    ops: list[Op] = []
    for line in lines[2:-1]:
        command, *rest = line.split("\t")
        if command == "C":
            (step,) = rest
            assert int(step) > 0  # time goes in one direction
            cycle += int(step)
            continue
        number = int(rest[0])
        if command == "I":
            assert number == len(ops)  # sequential in the file
            ops.append(Op(int(rest[2]), cycle, int(rest[1])))
            continue
        op = ops[number]
        assert op.end is None  # nothing follows its retirement
        if command == "L":
            kind, text = rest[1:]
            if kind == "0":
                op.shown += text
            else:
                assert kind == "1"
                op.hover += text
        elif command == "S":
            lane = op.lanes[rest[1]]
            if lane and lane[-1][2] is None:
                lane[-1][2] = cycle  # a command E may be left out
            lane.append([rest[2], cycle, None])
        elif command == "E":
            stage = op.lanes[rest[1]][-1]
            assert stage[0] == rest[2] and stage[2] is None
            stage[2] = cycle
        else:
            assert command == "R"
            op.end, op.retire_id, op.flushed = cycle, int(rest[1]), rest[2] != "0"
            for lane in op.lanes.values():
                if lane[-1][2] is None:
                    lane[-1][2] = cycle
    assert all(op.end is not None for op in ops)
    return ops


def kernel(name: str) -> tuple[Program, dict[str, Any]]:
    program = KERNELS[name](random.Random(f"{name} trace"))
    return program, random_inputs(program)


def traced(program: Program, inputs: dict[str, Any], window: tuple[int, int] | None = None) -> Result:
    result = simulate(program, inputs, MACHINE, mode="traced", window=window)
    expected = simulate(program, inputs, MACHINE)
    assert (result.cycles, result.stalls, result.instructions) == (
        expected.cycles,
        expected.stalls,
        expected.instructions,
    )
    assert all(
        np.array_equal(result.outputs[n], expected.outputs[n], equal_nan=True) for n in expected.outputs
    )
    assert result.mode == "traced" and result.layers == expected.layers
    return result


def check_konata(result: Result, data: bytes) -> None:
    """The log says what the records say."""
    assert result.trace is not None
    ops = read_konata(data)
    assert len(ops) == result.trace.instructions
    assert sorted(op.retire_id for op in ops) == list(range(len(ops)))
    for core in result.trace.cores:
        mine = [op for op in ops if op.thread == core.number]
        assert [op.in_simulator for op in mine] == list(range(core.records.size))
        for op, r in zip(mine, core.records, strict=True):
            line = core.lines[r["row"]]
            text, _, about = op.shown.partition("  ; ")
            vector = [f"vl {r['vl']}"] if line.mnemonic.startswith("v") else []
            assert text == f"{line.pc:x}: {line.text}"
            assert about.split(", ") == [*vector, line.place, *([line.layer] if line.layer else [])]
            assert op.begin == r["enter"] and not op.flushed
            stages = op.lanes["0"]
            assert stages[0][1] == op.begin and stages[-1][2] == op.end
            assert all(b < e for _, b, e in stages)
            assert all(one[2] == other[1] for one, other in pairwise(stages))  # no gap
            places = {name: (b, e) for name, b, e in stages}
            assert len(places) == len(stages)
            assert places["I"] == (r["left"], r["left"] + 1)
            assert stages.index(["I", *places["I"]]) == int(r["stall"] > 0)
            assert stages.index(["I", *places["I"]]) == int(r["stall"] > 0)
            if r["stall"]:
                assert places[CAUSES[r["cause"]]] == (r["enter"], r["left"])
            if r["begun"] >= 0:
                assert places["X"] == (r["begun"], r["read"] + 1)
            if r["sequenced"] >= 0:
                assert places["S"] == (r["taken"], r["sequenced"] + 1)
            assert op.end >= r["done"]


def check_timeline(result: Result, data: bytes) -> None:
    """Tracks are named, their slices do not overlap, and they say what the records say."""
    trace = result.trace
    assert trace is not None
    events = json.loads(data)["traceEvents"]
    names: dict[Any, str] = {}
    tracks: dict[Any, list[Any]] = defaultdict(list)
    for event in events:
        if event["ph"] == "M":
            if event["name"].endswith("_name"):
                names[event["pid"], event.get("tid")] = event["args"]["name"]
            continue
        assert event["ph"] == "X" and event["dur"] > 0 and event["ts"] >= 0
        tracks[names_key(event)].append(event)
    for key, slices in tracks.items():
        assert key in names and (key[0], None) in names
        slices.sort(key=lambda e: e["ts"])
        assert all(one["ts"] + one["dur"] <= other["ts"] for one, other in pairwise(slices)), names[key]
    by_name = {(names[key[0], None], names[key]): slices for key, slices in tracks.items()}
    for core in trace.cores:
        process = f"core {core.number}"
        issued = by_name[process, "issue"]
        waits = [e for e in issued if e["name"].startswith("waits: ")]
        assert len(issued) - len(waits) == core.records.size
        assert sum(e["dur"] for e in waits) == core.records["stall"].sum() + sum(w.cycles for w in core.waits)
        r = core.records
        units = np.array([line.unit for line in core.lines])[r["row"]]
        for unit, name in enumerate(UNITS[1:], 1):
            assert len(by_name.get((process, name), [])) == (units == unit).sum()
        vector = by_name.get((process, "VFU"), [])
        of_vfu = r[units == UNITS.index("VFU")]
        assert [(e["ts"], e["ts"] + e["dur"]) for e in vector] == list(
            zip(of_vfu["begun"], of_vfu["read"] + 1, strict=True)
        )
        layers = {line.layer for line in core.lines} - {""}
        if layers:
            assert {e["name"] for e in by_name[process, "layers"]} - {"(runtime)"} == layers
    assert len(by_name.get(("DMA", "transfers"), [])) == sum(t.end > t.begin for t in trace.transfers)
    assert sum(e["args"]["bytes"] for e in by_name.get(("DRAM", "DMA"), [])) == sum(
        t.bytes for t in trace.transfers if "dram" in (t.source, t.target)
    )
    for core in trace.cores:
        assert (("DRAM", f"core {core.number}") in by_name) == bool(core.records["dram"].any())


def names_key(event: dict[str, Any]) -> tuple[int, int]:
    return event["pid"], event["tid"]


@pytest.mark.parametrize("name", KERNELS)
def test_files_of_kernels(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks, so that what waits for later cycles is carried over."""
    monkeypatch.setattr("potluck.views.konata.CHUNK", 100)
    monkeypatch.setattr("potluck.views.perfetto.CHUNK", 100)
    result = traced(*kernel(name))
    write_trace(result, tmp_path / "t.kanata")
    check_konata(result, (tmp_path / "t.kanata").read_bytes())
    write_trace(result, tmp_path / "t.json")
    check_timeline(result, (tmp_path / "t.json").read_bytes())


def test_files_of_a_network_in_a_window(tmp_path: Path) -> None:
    result = traced(*network(), window=(100_000, 110_000))
    assert result.trace is not None
    for core in result.trace.cores:
        left = core.records["left"]
        assert left.min() >= 100_000 and left.max() < 110_000
    write_trace(result, tmp_path / "t.log.gz")
    packed = (tmp_path / "t.log.gz").read_bytes()
    check_konata(result, gzip.decompress(packed))
    write_trace(result, tmp_path / "t.json.gz")
    check_timeline(result, gzip.decompress((tmp_path / "t.json.gz").read_bytes()))


def test_scalar_accesses_to_dram(tmp_path: Path) -> None:
    """Loads by the core and by the FP sequencer overlap; their tracks do not."""
    from tests.sim.test_profile import EXIT, assemble

    body = (
        "la a0, data\n"
        + 20 * "ld a1, 0(a0)\nfld f1, 8(a0)\nfld f2, 16(a0)\nfadd.d f3, f1, f2\nfmv.x.d a2, f3\n"
    )
    program = assemble(body + EXIT + ".data\n.align 3\ndata: .dword 1, 2, 3\n")
    result = traced(program, {})
    assert result.trace is not None and (result.trace.cores[0].records["dram"] > 0).sum() == 60
    write_trace(result, tmp_path / "t.json")
    check_timeline(result, (tmp_path / "t.json").read_bytes())
    write_trace(result, tmp_path / "t", "konata")
    check_konata(result, (tmp_path / "t").read_bytes())


def test_an_empty_window(tmp_path: Path) -> None:
    result = traced(*kernel("gemm"), window=(10**9, 10**9 + 5))
    for name in ("t.kanata", "t.json"):
        write_trace(result, tmp_path / name)
    assert read_konata((tmp_path / "t.kanata").read_bytes()) == []
    json.loads((tmp_path / "t.json").read_text())


def test_formats_by_suffix_or_name(tmp_path: Path) -> None:
    assert (
        format_of(Path("a.kanata"))
        == format_of(Path("a.log.gz"))
        == format_of(Path("x"), "konata")
        == "konata"
    )
    assert format_of(Path("a.json")) == format_of(Path("a.b.json.gz")) == "perfetto"
    with pytest.raises(DataError, match="suffix names no trace format"):
        format_of(Path("a.txt"))
    with pytest.raises(DataError, match="no trace format 'vcd'"):
        format_of(Path("a.json"), "vcd")
    plain = simulate(*kernel("gemm"), MACHINE)
    with pytest.raises(DataError, match="mode timed has no trace"):
        write_trace(plain, tmp_path / "a.json")
    with pytest.raises(DataError, match="cannot write"):
        write_trace(traced(*kernel("gemm")), tmp_path / "none" / "a.json")
    assert not list(tmp_path.iterdir())


def test_command_line(potluck, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    program, _ = kernel("gemm")
    elf, inputs, out = tmp_path / "a.elf", tmp_path / "x.npz", tmp_path / "t.kanata.gz"
    program.save(elf)
    np.savez(inputs, **random_inputs(program))
    status, text = potluck("simulate", elf, "--input", inputs, "--trace", out, "--window", "0:500")
    assert status == 0 and "wrote" in text
    ops = read_konata(gzip.decompress(out.read_bytes()))
    assert ops and max(op.begin for op in ops) < 500
    for arguments, message in (
        (("--window", "0:500"), "give it a file by --trace"),
        (("--trace", out, "--window", "5"), "expected FIRST:END"),
        (("--trace", tmp_path / "a.txt"), "names no trace format"),
        (("--trace", out, "--mode", "functional"), "has no cycles to trace"),
    ):
        status, text = potluck("simulate", elf, "--input", inputs, *arguments)
        assert status == 1 and message in " ".join(text.split())
