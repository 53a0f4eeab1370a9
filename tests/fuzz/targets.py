"""Readers, each with what it begins from, how its inputs are changed, and whose lines guide the search."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.fuzz import mutate

Read = Callable[[Path], object]


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        read: reads a file; may raise `PotluckError`, nothing else.
        seeds: inputs to begin with.
        change: an input, changed in the manner of its format.
        watched: modules whose branches are what coverage counts.
    """

    read: Read
    seeds: Callable[[], list[bytes]]
    change: Callable[[bytes, Random], bytes]
    watched: tuple[str, ...]


def _several(readers: dict[bytes, tuple[str, Read]]) -> Read:
    """A reader that looks at an input's first byte, to read the rest with one of several."""

    def read(path: Path) -> object:
        data = path.read_bytes()
        suffix, chosen = readers.get(data[:1], next(iter(readers.values())))
        place = path.with_suffix(suffix)
        place.write_bytes(data[1:])
        return chosen(place)

    return read


def _after_first(change: Callable[[bytes, Random], bytes]) -> Callable[[bytes, Random], bytes]:
    return lambda data, rng: data[:1] + change(data[1:], rng)


def onnx() -> Target:
    """Networks: from a file to the graph that every pass expects."""
    import onnx as library

    from potluck.compiler.importer import load
    from tests.fuzz.networks import networks

    def change(data: bytes, rng: Random) -> bytes:
        proto = library.ModelProto()
        try:
            proto.ParseFromString(data)
            mutate.message(proto, rng)
            return bytes(proto.SerializeToString())
        except Exception:  # no message, or one with names that are no text: bytes like any
            return mutate.toml_bytes(data, rng)

    watched = (
        "potluck.compiler.importer",
        "potluck.compiler.graph.explicit",
        "potluck.compiler.graph.nodes",
        "potluck.compiler.imports.base",
        "onnx_ir.serde",
        "onnx_ir._core",
        "onnx_ir.passes.common.inliner",
        "onnx_ir.passes.common.constant_manipulation",
    )
    return Target(load, lambda: [bytes(net.SerializeToString()) for net in networks()], change, watched)


def elf() -> Target:
    """Programs: from a file to sections, symbols and manifest."""
    from potluck.isa.elf import Program
    from tests.isa.test_elf import example

    def seeds() -> list[bytes]:
        ours = example().to_bytes()
        foreign = ours.replace(b".potluck.manifest", b".comment.of.other")
        return [ours, foreign, foreign[:16] + struct.pack("<H", 3) + foreign[18:]]

    def change(data: bytes, rng: Random) -> bytes:
        if rng.randrange(3):
            return mutate.elf_bytes(data, rng)
        start, end = data.find(b'{\n "version"'), data.rfind(b"}")
        if start < 0 or end < start:
            return mutate.elf_bytes(data, rng)
        try:
            text = mutate.dumped(mutate.edited(json.loads(data[start : end + 1]), rng))
        except ValueError:
            return mutate.elf_bytes(data, rng)
        room = end + 1 - start  # what does not fit is cut off: the tables behind stay where they are
        return data[:start] + text[:room].ljust(room) + data[end + 1 :]

    watched = (
        "potluck.isa.elf",
        "potluck.isa.elf_tables",
        "potluck.isa.manifest",
        "elftools.elf.elffile",
        "elftools.elf.sections",
        "elftools.elf.segments",
        "elftools.construct.core",
    )
    return Target(Program.load, seeds, change, watched)


def toml() -> Target:
    """Machines, campaigns, schedules and rates of faults."""
    from potluck.campaign.spec import load_spec
    from potluck.compiler.schedule import file as schedule_file
    from potluck.isa.machine import PRESETS, load_machine
    from potluck.sim.faults.tables import FOLDER, load_rates

    def seeds() -> list[bytes]:
        root = Path(__file__).resolve().parents[2]
        campaigns = sorted(
            (root / "examples" / "campaigns").glob("*.toml"), key=lambda path: path.stat().st_size
        )[:3]
        rates = sorted(FOLDER.glob("*.toml"))
        return [
            b"m"
            + b'name = "x"\nextends = "spatz-mx"\n[vector]\nvlen = 512\n[timing]\nfma = "1 + 2"  # CHOICE\n',
            b"m" + (PRESETS / "spatz-mx-pot.toml").read_bytes(),
            *(
                b"c" + path.read_bytes()
                for path in sorted(campaigns, key=lambda path: path.stat().st_size)[:3]
            ),
            b"s" + b'version = 1\n[[layer]]\nname = "conv"\nop = "Conv"\ntile = [1, 2]\nprefetch = true\n',
            *(b"r" + path.read_bytes() for path in rates),
        ]

    readers: dict[bytes, tuple[str, Read]] = {
        b"m": (".toml", load_machine),
        b"c": (".toml", load_spec),
        b"s": (".toml", schedule_file.read),
        b"r": (".toml", load_rates),
    }
    watched = (
        "potluck.isa.machine",
        "potluck.isa.latency",
        "potluck.isa.sources",
        "potluck.campaign.spec",
        "potluck.campaign.explain",
        "potluck.compiler.schedule.file",
        "potluck.sim.faults.tables",
        "tomllib._parser",
        "tomllib._re",
    )
    return Target(_several(readers), seeds, _after_first(mutate.toml_bytes), watched)


def results() -> Target:
    """What runs leave behind: results, arrays, journals, registrations and assignments."""
    from potluck import explain, saved
    from potluck.arrays import load_npz
    from potluck.compiler.schemes import assignment
    from potluck.parallel.journal import enframed, frame
    from potluck.sweeps.plan import SweepFolder

    def explained(path: Path) -> object:
        return explain.explain(saved.load(path))

    def journal(path: Path) -> object:
        folder = SweepFolder(path.parent)
        folder.journals.mkdir(exist_ok=True)
        path.replace(folder.journals / path.name)
        return list(folder.records())

    def registration(path: Path) -> object:
        return SweepFolder(path.parent).registration()

    def change(data: bytes, rng: Random) -> bytes:
        kind, rest = data[:1], data[1:]
        if kind == b"n":
            return kind + mutate.zip_bytes(rest, rng)
        if kind == b"j":
            payload = mutate.json_bytes(rest[16:], rng) if rng.randrange(2) else rest[16:]
            return kind + reframed(payload) + (rest if rng.randrange(2) else b"")
        return kind + mutate.json_bytes(rest, rng)

    def reframed(payload: bytes) -> bytes:
        return enframed(payload)

    def seeds() -> list[bytes]:
        arrays = io.BytesIO()
        np.savez(arrays, x=np.arange(6, dtype=np.float32).reshape(2, 3), labels=np.arange(2))
        squeezed = io.BytesIO()
        np.savez_compressed(squeezed, x=np.zeros((4, 4), np.int8))
        return [
            b"e" + json.dumps(result()).encode(),
            b"n" + arrays.getvalue(),
            b"n" + squeezed.getvalue(),
            b"j" + frame({"id": 1, "outcome": "masked"}) + frame({"id": 2, "outcome": "sdc"}),
            b"f"
            + json.dumps(
                {"format": 1, "hash": "0", "plan": {"model": "demo", "axes": []}, "points": 2}
            ).encode(),
            b"a" + json.dumps({"default": "int8", "layers": {"conv1": "mxfp8"}}).encode(),
        ]

    readers: dict[bytes, tuple[str, Read]] = {
        b"e": (".json", explained),
        b"n": (".npz", load_npz),
        b"j": (".journal", journal),
        b"f": (".sweep", lambda path: registration(path.rename(path.with_name(SweepFolder.file)))),
        b"a": (".json", assignment.load),
    }
    watched = (
        "potluck.explain",
        "potluck.saved",
        "potluck.arrays",
        "potluck.parallel.journal",
        "potluck.parallel.folder",
        "potluck.compiler.schemes.assignment",
        "zipfile",
        "numpy.lib._format_impl",
        "json.decoder",
    )
    return Target(_several(readers), seeds, change, watched)


def result() -> dict[str, Any]:
    """A small result with every key."""
    stalls = {"issue": 60, "dram": 40}
    layer = {
        "name": "conv",
        "op": "Conv",
        "bytes_moved": 640,
        "format": "mxfp8",
        "cycles": 100,
        "instructions": 50,
        "macs": 1000,
        "utilization": 0.5,
        "energy_joules": 1e-6,
        "stalls": stalls,
        "dram_bytes": 640,
        "harts": [stalls, stalls],
        "bounds": {"compute": 50.0, "dram": 40.0, "vfu": 52.0},
    }
    return {
        "version": 1,
        "mode": "timed",
        "machine": "spatz-mx",
        "cycles": 100,
        "seconds_at_clock": 1e-7,
        "instructions": 50,
        "macs": 1000,
        "utilization": 0.5,
        "energy_joules": {"total": 1e-6, "fpu": 1e-6},
        "layers": [layer, {**layer, "name": "fc"}],
        "stalls": stalls,
        "dram": {"bytes": 640},
        "roofs": {"macs_per_cycle": {"mxfp8": 20.0}, "dram_bytes_per_cycle": 64.0},
        "timing_error_band": "none",
        "host_seconds": 0.1,
        "manifest": {"model": "m.onnx"},
    }


def planted() -> Target:
    """What fuzzing has to find."""
    from tests.fuzz.planted import read

    def change(data: bytes, rng: Random) -> bytes:
        made = bytearray(data.ljust(4))
        made[:2] = rng.choices((0x5A, 0xA5, 0x33, 0x11, 0x22, 0xC3), k=2)
        return bytes(made)

    return Target(read, lambda: [b"four"], change, ("tests.fuzz.planted",))


TARGETS: dict[str, Callable[[], Target]] = {
    "onnx": onnx,
    "elf": elf,
    "toml": toml,
    "results": results,
    "planted": planted,
}
