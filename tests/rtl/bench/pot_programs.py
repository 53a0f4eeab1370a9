"""Programs for the PoT array, what the contract gives for them, and the verilated array as a function of beats."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from potluck.hdl.build import build_library
from potluck.isa.pot.array import CODE_SETS, FILTERS, LANES, ROWS, CodeSet, Requantizer
from potluck.isa.pot.stream import (
    U32,
    Buffers,
    Opcode,
    Status,
    activation_word,
    compute,
    config,
    header,
    load_inputs,
    load_weights,
    weight_depths,
)
from potluck.sim.pot.stream import StreamArray
from tests.rtl.bench.pot_cases import ANY, MODES

HERE = Path(__file__).parent
FORM = {"WeightLines": 256, "InputLines": 64, "GlobalLines": 256, "Groups": 16, "QueueDepth": 3}
"""Buffers of the tests' arrays: small, so that layers fill them."""


def buffers(units: int, code_set: int = ANY) -> Buffers:
    """The same as the contract has it; the same weights per line of an INT8 build."""
    return Buffers(
        units, FORM["WeightLines"], FORM["InputLines"], FORM["GlobalLines"], FORM["Groups"], code_set == 4
    )


@dataclass(frozen=True)
class Layer:
    """A matrix product that fits an array's buffers.

    Attributes:
        kind: Code set.
        codes: [filters, depth].
        activations: int8 [rows, depth].
        requantizer: Of all filters.
    """

    kind: CodeSet
    codes: NDArray[np.int64]
    activations: NDArray[np.int8]
    requantizer: Requantizer

    @property
    def depth(self) -> int:
        """Padded."""
        return -(-self.codes.shape[1] // 16) * 16

    @property
    def blocks(self) -> tuple[int, int]:
        """Blocks of rows and of filters."""
        return -(-len(self.activations) // ROWS), -(-len(self.codes) // FILTERS)

    def packets(self) -> list[U32]:
        """The program that computes it."""
        return [
            config(self.depth, self.kind, self.requantizer),
            load_weights(self.kind, self.codes, self.requantizer),
            load_inputs(self.activations),
            compute(len(self.activations), len(self.codes)),
        ]


def random_layer(rng: np.random.Generator, kind: CodeSet, room: Buffers) -> Layer:
    """Any shape that fits: ragged rows, filters and depths, from one of each to full buffers."""
    # Small and large depths alike: a square root of a uniform number is too often large.
    lines = 4 * int(np.exp(rng.uniform(0, np.log(room.input_lines // 4 + 0.999))))
    depth = 4 * lines - int(rng.integers(0, 16))
    local = min(room.parameter_groups, room.weight_lines // lines)
    filters = int(rng.integers(1, FILTERS * room.units * local + 1))
    rows = int(rng.integers(1, ROWS * min(room.global_lines // lines, 8) + 1))
    if rng.random() < 0.2:  # nothing is padded
        depth, filters, rows = (
            -(-size // step) * step for size, step in ((depth, 16), (filters, 4), (rows, 4))
        )
    low, high = (-128, 128) if kind.pot is None else (0, 16)
    codes = rng.integers(low, high, (filters, depth))
    activations = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
    top = kind.pot.top if kind.pot else 128
    shifts = rng.integers(34, 44, filters) + int(np.log2(top * np.sqrt(depth)))
    reach = 31 if rng.random() < 0.1 else 18  # sums that wrap, now and then
    requantizer = Requantizer(
        rng.integers(-(1 << reach), 1 << reach, filters).astype(np.int32),
        rng.integers(1 << 30, 1 << 31, filters).astype(np.int32),
        shifts.astype(np.int32),
        *MODES[rng.integers(len(MODES))],
    )
    return Layer(kind, codes, activations, requantizer)


def shortened(layer: Layer, rng: np.random.Generator) -> Layer:
    """A layer of few rows and filters: faults are in packets, not in sizes."""
    filters, rows = int(rng.integers(1, 14)), int(rng.integers(1, 10))
    needed = layer.requantizer
    requantizer = type(needed)(
        needed.wsum[:filters], needed.multiplier[:filters], needed.shift[:filters],
        needed.zero_point, needed.low, needed.high,
    )  # fmt: skip
    return Layer(layer.kind, layer.codes[:filters], layer.activations[:rows], requantizer)


def with_last(packets: list[U32]) -> U32:
    """Beats of packets, uint32 [n, 5]: four words and the mask of TLAST."""
    parts = []
    for packet in packets:
        last = np.zeros((len(packet), 1), np.uint32)
        last[-1] = 0b1111
        parts.append(np.hstack([packet, last]))
    return np.ascontiguousarray(np.concatenate(parts), np.uint32)


@dataclass(frozen=True)
class Run:
    """What an array did with beats.

    Attributes:
        out: uint32 [m, 5]: four words and TLAST.
        taken: cycle of each beat in.
        given: cycle of each beat out.
        status: in the end.
    """

    out: U32
    taken: NDArray[np.uint64]
    given: NDArray[np.uint64]
    status: Status


class ArrayLibrary:
    """The verilated array."""

    def __init__(
        self, parameters: Mapping[str, int], optimize: str = "-O1", replaced: Mapping[str, Path] | None = None
    ) -> None:
        values = {**FORM, **parameters}
        library = build_library("pot_array", HERE / "pot_array.cc", values, optimize, replaced)
        self._run = ctypes.CDLL(str(library)).array_run
        self._run.restype = ctypes.c_uint64

    def run(
        self, beats: U32, *, gaps: float = 0, stalls: float = 0, limit: int = 200_000, quiet: int = 3000
    ) -> Run:
        """Offer beats [n, 5] and take what comes, until nothing has for `quiet` cycles.

        Raises:
            AssertionError: not all beats were taken within `limit` cycles (the array hangs), or an assertion failed.
        """
        room = len(beats) * 40 + 1000
        out = np.zeros((room, 5), np.uint32)
        taken, given = np.zeros(len(beats), np.uint64), np.zeros(room, np.uint64)
        status = ctypes.c_uint32(0)
        pointers = [ctypes.c_void_p(x.ctypes.data) for x in (beats, out, taken, given)]
        count = self._run(
            ctypes.c_uint64(len(beats)), pointers[0], ctypes.c_uint64(room), *pointers[1:],
            ctypes.c_uint32(int(256 * gaps)), ctypes.c_uint32(int(256 * stalls)), ctypes.c_uint64(quiet),
            ctypes.c_uint64(limit), ctypes.byref(status),
        )  # fmt: skip
        assert count != (1 << 64) - 2, "an assertion of the design failed"
        assert count != (1 << 64) - 1, f"not all beats were taken in {limit} cycles"
        return Run(out[:count], taken, given[:count], Status(status.value))


def kinds(code_set: int) -> list[CodeSet]:
    """Code sets of a build."""
    return [kind for kind in CODE_SETS if kind.pot] if code_set == ANY else [CODE_SETS[code_set]]


def expected(room: Buffers, beats: U32) -> tuple[U32, Status]:
    """What the contract gives for beats [n, 5]: beats out, uint32 [m, 5], and the status."""
    array, out = StreamArray(room), [np.zeros((0, 5), np.uint32)]
    for beat in beats:
        last = (beat[4] >> np.arange(4) & 1).astype(bool)
        given = array.beats(beat[None, :4], last[None])
        if len(given):  # a COMPUTE's results and END, or FAILED: TLAST is in the last one
            out.append(np.hstack([given, np.arange(len(given))[:, None] == len(given) - 1]).astype(np.uint32))
    return np.concatenate(out), array.status


def _argument(rng: np.random.Generator, word: int) -> int:
    """Another value for a word of a header."""
    choices = [0, word + 1, max(word - 1, 0), 2 * word + 16, word + (1 << 16), word | 1 << 31, word | 1 << 24]
    return int(rng.choice(choices)) & 0xFFFFFFFF


def bad_program(rng: np.random.Generator, layers: list[Layer], what: str) -> U32:
    """Beats of layers' programs, one of them with a fault of a kind of `FAULTS` (if its random part hits)."""
    programs = [layer.packets() for layer in layers]
    packets = programs[rng.integers(len(programs))]
    index = int(rng.integers(len(packets)))
    chosen = packets[index]
    if what == "opcode":
        chosen[0, 0] = rng.choice([3, 5, 6, 7, 9, 15, 16, 1 << 31, int(rng.integers(1 << 32))])
    elif what == "argument":
        word = int(rng.integers(1, 4))
        chosen[0, word] = _argument(rng, int(chosen[0, word]))
    elif what == "mode":
        low, high = int(rng.integers(-128, 128)), int(rng.integers(-128, 128))
        packets[0][0, 2] = activation_word(3, low, high) | int(rng.choice([0, 0, 1 << 24, 1 << 31]))
        packets[0][0, 3] = rng.choice([0, 1, 4, 5, 1 << 8])
    elif what == "order":
        packets[:] = [packets[i] for i in rng.permutation(len(packets))]
    elif what == "missing packet":
        del packets[index]
    elif what == "more":
        packets[3][0, rng.integers(1, 3)] += 1
    elif what == "reserved":
        packets.insert(index, np.array([[0, *(rng.integers(0, 3, 3) == 0)]], np.uint32))
    elif what == "cut":
        packets[index] = chosen[: max(1, int(rng.integers(len(chosen) + 1)))]
    elif what == "longer":
        packets[index] = np.concatenate([chosen, chosen[-1:]])
    beats = with_last([packet for program in programs for packet in program])
    if what == "last":
        before = [p for program in programs for p in program if program is not packets]
        first = 0 if packets is programs[0] else sum(map(len, before))
        ends = first + np.cumsum([len(packet) for packet in packets]) - 1
        at = int(rng.choice(ends)) if rng.random() < 0.5 else int(rng.integers(len(beats)))
        beats[at, 4] ^= int(rng.integers(1, 16))
    return beats


FAULTS = (
    "none", "opcode", "argument", "mode", "order", "missing packet", "more", "reserved", "cut", "longer", "last",
)  # fmt: skip


def limit_programs(room: Buffers, kind: CodeSet) -> list[U32]:
    """Programs at and beyond what the buffers hold: a CONFIG and a load whose payload is missing, which tells the two
    apart: it is cut short if it fits, and too large if not."""
    none = np.zeros(0, np.int32)
    requantizer = Requantizer(none, none, none)
    limit = LANES * room.input_lines
    depths = (0, 4, 8, 15, 16, 17, 20, limit - 16, limit - 4, limit, limit + 4, limit + 16, limit + (1 << 16))
    programs = [with_last([config(depth, kind, requantizer)]) for depth in depths]
    for lines in (4, 8, 12, 20, room.input_lines):
        first = config(LANES * lines, kind, requantizer)
        local = min(room.weight_lines // lines, room.parameter_groups)
        beats = LANES * lines // weight_depths(kind)
        edges = {1, room.units * local, room.units * (local + 1), room.units * room.parameter_groups}
        for blocks in sorted({edge + step for edge in edges for step in (-1, 0, 1)}):
            for step in (-1, 0, 1):
                load = header(Opcode.LOAD_WEIGHTS, blocks, beats + step)
                programs.append(with_last([first, load]))
        edges = {1, room.global_lines // lines, room.global_lines // LANES}
        for blocks in sorted({edge + step for edge in edges for step in (-1, 0, 1)}):
            for step in (-1, 0, 1):
                programs.append(with_last([first, header(Opcode.LOAD_INPUTS, blocks, lines + step)]))
    return programs
