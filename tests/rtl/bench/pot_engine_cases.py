"""Layers and queues of commands for the cluster's accelerator: whole convolutions, commands in any order, faults."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.machine import Machine
from potluck.isa.pot.array import CODE_SETS, LAWS, CodeSet
from potluck.isa.pot.command import (
    FIELDS,
    MODES,
    Command,
    encode,
    rounds_of,
    weight_lines,
)
from potluck.kernels.pot.tiling import Planner, PotConv
from tests.sim.pot.pot_layers import INPUT, OUTPUT, Case, make

U32, U8 = NDArray[np.uint32], NDArray[np.uint8]
ENDS = (0x1002_0000, 0xC000_0000)
"""First addresses behind the cluster's L1 and DRAM."""
AREA = 1 << 16
"""Bytes of what random commands load from, and of what they store to."""


PLANES = {4: 2, 8: 4, 9: 5}
"""Planes that integers of so many bits take."""


def shift_sets() -> list[CodeSet]:
    """Code sets of shift-PEs."""
    return [kind for kind in CODE_SETS if kind.pot]


def layer(rng: np.random.Generator, machine: Machine, number: int) -> Case:
    """A convolution of ragged sizes: by its number a code set, integer weights in planes, depthwise, deep."""
    assert machine.pot is not None
    multipliers = machine.pot.multipliers
    sets = shift_sets()
    integer, depthwise, deep = (number % 10 >= 6) or multipliers, number % 4 == 1, number % 8 == 3

    def pick(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    kernel = (pick(1, 5), pick(1, 5)) if rng.random() < 0.7 else (1, 1)
    while depthwise and 4 * machine.pot.units * kernel[0] * kernel[1] > machine.pot.input_lines:
        kernel = (kernel[0] - 1, kernel[1]) if kernel[0] > 1 else (1, kernel[1] - 1)
    dilation = (pick(1, 3), pick(1, 3)) if rng.random() < 0.4 else (1, 1)
    # Above and to the left a window may be wholly beyond the border; below, no tile has inputs for such a one.
    before = [pick(0, 2 * size) if rng.random() < 0.6 else 0 for size in kernel]
    behind = [
        pick(0, d * (k - 1)) if rng.random() < 0.6 else 0 for k, d in zip(kernel, dilation, strict=True)
    ]
    pads = (*before, *behind)
    height, width = (
        max(1, d * (k - 1) + pick(1, 12) - low - high)
        for d, k, low, high in zip(dilation, kernel, pads[:2], pads[2:], strict=True)
    )
    while height + pads[0] + pads[2] < dilation[0] * (kernel[0] - 1) + 1:
        height += 1
    while width + pads[1] + pads[3] < dilation[1] * (kernel[1] - 1) + 1:
        width += 1
    channels = pick(150, 400) if deep else pick(1, 90)
    conv = PotConv(
        height, width, channels, channels if depthwise else pick(1, 70), sets[number % 4], kernel,
        (pick(1, 3), pick(1, 3)), dilation, (pads[0], pads[1], pads[2], pads[3]), depthwise, 1, pick(-128, 127),
    )  # fmt: skip
    bits = (4, 8, 8, 9)[number % 10 - 6] if integer and not multipliers else 4
    planes = PLANES[bits] if integer and not multipliers else 1
    while (
        next(Planner.of(replace(conv, planes=planes), machine).tilings(), None) is None
    ):  # buffers are small
        conv = replace(
            conv, channels=conv.channels // 2, filters=conv.channels // 2 if depthwise else conv.filters
        )
    if multipliers:
        return make(replace(conv, kind=CODE_SETS[-1]), machine, number)
    if integer:
        return make(replace(conv, kind=sets[0]), machine, number, True, bits)
    return make(conv, machine, number)


class Queue:
    """Random commands that fit into a machine's accelerator, in any order, with whatever slots hold.

    What is loaded and what is stored are apart, so that only slots, engines and fences order them.
    """

    def __init__(self, rng: np.random.Generator, machine: Machine) -> None:
        assert machine.pot is not None and machine.pot.engine is not None
        self.rng, self.pot, self.engine = rng, machine.pot, machine.pot.engine
        self.filled = [0, 0]
        self.weights: list[tuple[int, int]] = [(0, 0), (0, 0)]
        self.outputs = [0, 0]
        self.kept: dict[str, int] | None = None

    def commands(self, count: int) -> U32:
        """So many, the last one with TLAST; uint32 [count, 16]."""
        makers = (self._inputs, self._weights, self._compute, self._compute, self._store, self._other)
        found: list[U32] = []
        while len(found) < count:
            if count - len(found) > 4 and self.rng.random() < 0.15:
                found += self._fenced()
            made = makers[self.rng.integers(len(makers))]()
            found += [] if made is None else [made]
            if made is not None and made[0] == Command.COMPUTE and self.rng.random() < 0.3:
                found += self._again(made)
        rows = np.stack(found[:count])
        rows[-1, 0] |= 1 << 8
        return rows

    def _pick(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def _range(self, base: int, limit: int) -> dict[str, int]:
        """Rows of at most `limit` bytes, in an area from a base on."""
        size = self._pick(1, min(limit, 300))
        rows = self._pick(1, max(1, min(limit // size, 12)))
        stride = self._pick(-500, 500)
        if base == INPUT and self.rng.random() < 0.1:  # also beyond memory
            return {
                "address": base,
                "rows": rows,
                "row_bytes": size,
                "stride": self._pick(-(1 << 24), 1 << 24),
            }
        low = min(0, (rows - 1) * stride)
        return {
            "address": base + self._pick(0, 4000) - low,
            "rows": rows,
            "row_bytes": size,
            "stride": stride,
        }

    def _again(self, made: U32) -> list[U32]:
        """A computation's outputs are stored, and it is made again with other outputs in the same slot."""
        whole, slot = int(made[1]) >> 4 & 3 == 3, int(made[1]) >> 2 & 1
        if not whole:
            return []
        again, fields = made.copy(), {"rows": 1, "row_bytes": self.outputs[slot]}
        again[1] ^= 1 << 7
        return [encode(Command.STORE, slot=slot, address=OUTPUT + self._pick(0, 4000), **fields), again]

    def _fenced(self) -> list[U32]:
        """What is stored is loaded again, which takes a fence, and shows in what is computed from it."""
        source, slot = self._pick(0, 1), self._pick(0, 1)
        size = self.outputs[source]
        if not size:
            return []
        place = {"address": OUTPUT + self._pick(0, 4000), "rows": 1, "row_bytes": size}
        self.filled[slot] = size
        found = [
            encode(Command.STORE, slot=source, **place), encode(Command.FENCE),
            encode(Command.LOAD_INPUTS, slot=slot, **place),
        ]  # fmt: skip
        for made in (self._compute() for _ in range(4)):
            if made is not None:
                found.append(made)
                stored = self._store()
                found += [] if stored is None else [stored]
        return [*found, encode(Command.FENCE)]

    def _inputs(self, base: int = INPUT) -> U32:
        slot = self._pick(0, 1)
        begin = self._pick(0, self.filled[slot]) if self.rng.random() < 0.4 else 0
        begin = min(begin, self.pot.input_slot_bytes - 1)
        fields = self._range(base, self.pot.input_slot_bytes - begin)
        end = begin + fields["rows"] * fields["row_bytes"]
        self.filled[slot] = max(self.filled[slot], end) if begin else end
        return encode(Command.LOAD_INPUTS, slot=slot, offset=begin, **fields)

    def _weights(self) -> U32:
        slot, units = self._pick(0, 1), self.pot.units
        lines = self._pick(1, min(40, self.pot.weight_slot_lines))
        rounds = min(self.pot.parameter_slot_groups, self.pot.weight_slot_lines // lines)
        blocks = self._pick(1, min(units * rounds, 3 * units))
        self.weights[slot] = (blocks, lines)
        address = INPUT + AREA * self._pick(1, 4)
        return encode(Command.LOAD_WEIGHTS, slot=slot, address=address, blocks=blocks, lines=lines)

    def _compute(self) -> U32 | None:
        """Of what two slots hold; None if they do not go together."""
        inputs, weights = self._pick(0, 1), self._pick(0, 1)
        (blocks, lines), filled = self.weights[weights], self.filled[inputs]
        if not blocks or not filled:
            return None
        depthwise = self.rng.random() < 0.25
        ways = [
            (planes, depth)
            for planes in range(1, 2 if self.pot.multipliers else 6)
            for depth in range(1, 4 * lines + 1)
            if weight_lines(depth, planes, depthwise) == lines
        ]
        if not ways:
            return None
        planes, depth = ways[self.rng.integers(len(ways))]
        filters = self._pick(max(1, 4 * blocks - 20), 4 * blocks)
        if depthwise:
            taps, channels = depth, filters
        else:
            taps = next(t for t in self.rng.permutation([1, 2, 3, 4, 6, 9]).tolist() if depth % t == 0)
            channels = depth // taps
        height = next((h for h in self.rng.permutation([1, 2, 3]).tolist() if taps % h == 0), 1)
        pixels = filled // channels
        window = 4 * self.pot.units * taps if depthwise else -(-depth // 4)
        if not pixels or window > self.pot.input_lines or taps // height > 255:
            return None
        in_height = self._pick(1, min(pixels, 6))
        in_width = self._pick(1, max(1, min(pixels // in_height, 9)))
        law = self._pick(0, len(LAWS) - 1)
        first = depthwise or self.kept is None or self.rng.random() < 0.3
        final = depthwise or self.rng.random() < 0.6
        most = self.engine.output_bytes // filters // (4 if LAWS[law] == "float" else 1)
        parts = not (first and final)
        if parts:
            most = min(
                most, 4 * (self.engine.accumulator_groups // rounds_of(-(-filters // 4), self.pot.units))
            )
        out_height, out_width = self._pick(1, 5), self._pick(1, 7)
        if not first:
            assert self.kept is not None
            if -(-self.kept["filters"] // 4) > blocks:
                return None
            filters = self.kept["filters"]
            if self.rng.random() < 0.1:  # of other filters: refused
                filters = max(1, filters - 4)
            out_height, out_width = self.kept["out_height"], self.kept["out_width"]
        if out_height * out_width > most:
            return None
        low, high = sorted((self._pick(-128, 127), self._pick(-128, 127)))
        fields = {
            "inputs": inputs, "weights": weights, "outputs": self._pick(0, 1), "depthwise": int(depthwise),
            "first": int(first), "final": int(final), "unsigned_inputs": self._pick(0, 1),
            "unsigned_outputs": self._pick(0, 1), "code_set": 4 if self.pot.multipliers else self._pick(0, 3),
            "planes": planes, "law": law, "zero": self._pick(-128, 127), "zero_point": self._pick(-128, 127),
            "low": low, "high": high, "height": in_height, "width": in_width, "channels": channels, "filters": filters,
            "out_height": out_height, "out_width": out_width, "kernel_height": height, "kernel_width": taps // height,
            "stride_height": self._pick(1, 3), "stride_width": self._pick(1, 3), "dilation_height": self._pick(1, 2),
            "dilation_width": self._pick(1, 2), "pad_top": self._pick(0, 4), "pad_left": self._pick(0, 4),
            "float_low": 0xC2C80000, "float_high": 0x42C80000,
        }  # fmt: skip
        if final:
            self.kept = None
            size = out_height * out_width * filters * (4 if LAWS[law] == "float" else 1)
            self.outputs[fields["outputs"]] = size
        else:
            self.kept = {"filters": filters, "out_height": out_height, "out_width": out_width}
        return encode(Command.COMPUTE, **fields)

    def _store(self) -> U32 | None:
        slot = self._pick(0, 1)
        if not self.outputs[slot]:
            return None
        begin = self._pick(0, self.outputs[slot] - 1)
        return encode(
            Command.STORE, slot=slot, offset=begin, **self._range(OUTPUT, self.outputs[slot] - begin)
        )

    def _other(self) -> U32:
        return encode(Command.FENCE if self.rng.random() < 0.5 else Command.NOP)


def contents(rng: np.random.Generator) -> dict[int, U8]:
    """Bytes for random commands to load. Weights' parameters are any words: FP32 factors of any size, too."""
    return {INPUT: rng.integers(0, 256, 5 * AREA, np.uint8)}


FAULTS = ("field", "mode", "compute", "bit", "opcode", "last", "missing", "swap", "address", "size")


def break_one(rng: np.random.Generator, commands: U32, what: str) -> U32:
    """A queue with a fault of a kind in it, if its random part hits."""
    rows = commands.copy()
    at = int(rng.integers(len(rows)))
    if (
        what in ("mode", "compute")
        and (computes := np.flatnonzero(rows[:, 0] & 0xFF == Command.COMPUTE)).size
    ):
        at = int(rng.choice(computes))
    if what == "address" and (moves := np.flatnonzero(np.isin(rows[:, 0] & 0xFF, (1, 2, 3)))).size:
        at = int(rng.choice(moves))
    row = rows[at]
    fields = FIELDS[Command(int(row[0] & 0xFF))]
    if what == "mode" and "law" in fields:
        _poke(rng, row, fields[str(rng.choice(MODES))], large=bool(rng.integers(2)))
    elif what in ("field", "compute") and fields:
        _poke(rng, row, fields[str(rng.choice(list(fields)))])
    elif what == "bit":
        row[rng.integers(16)] ^= np.uint32(1) << np.uint32(rng.integers(32))
    elif what == "opcode":
        row[0] = row[0] & 0x100 | np.uint32(rng.integers(256))
    elif what == "last":
        row[0] ^= 0x100
    elif what == "missing" and len(rows) > 1:
        rows = np.delete(rows, at, axis=0)
        rows[-1, 0] |= 0x100
    elif what == "swap":
        rows[:-1] = rows[rng.permutation(len(rows) - 1)]
    elif (
        what == "address" and "rows" in fields and rng.random() < 0.5
    ):  # where a memory ends, or a little beyond
        row[4], end = 1, ENDS[0] if row[0] & 0xFF == Command.STORE else int(rng.choice(ENDS))
        at = end - int(row[5]) + int(rng.choice([0, 0, 1]))
        row[2], row[3] = at & 0xFFFF_FFFF, at >> 32
    elif what == "address" and "address" in fields:
        row[2:4] = [
            (0x0FFF_FFFF, 0), (0x1001_FFF8, 0), (0x8000_0000, 0), (0xFFFF_FFFF, 0xFFFF_FFFF), (0x8100_0001, 0),
            (0x8100_0020, 0), (0, 1), (0x0FFF_FFC0, 0),
        ][rng.integers(8)]  # fmt: skip
    elif what == "size" and fields:
        name = str(rng.choice([n for n in fields if n not in ("address", "slot")] or list(fields)))
        _poke(rng, row, fields[name], large=True)
    return rows


def _poke(rng: np.random.Generator, row: U32, field: Any, large: bool = False) -> None:
    """Another value for a field, near the old one or anything."""
    old = field.read([int(word) for word in row])
    near, far = (
        [0, old + 1, old - 1, 2 * old, old + 4],
        [1 << field.bits - 1, (1 << field.bits) - 1, 1 << 12, 40000],
    )
    choices = far if large else near
    value = int(rng.choice(choices)) & (1 << field.bits) - 1
    if field.bits > 32:
        row[field.word], row[field.word + 1] = value & 0xFFFF_FFFF, value >> 32
        return
    mask = (1 << field.bits) - 1 << field.low
    row[field.word] = int(row[field.word]) & ~mask | value << field.low
