"""Commands of the cluster's PoT accelerator: sixteen 32-bit words each, in a queue in L1.

The core writes commands into L1, the queue's address and length into registers, and goes on. Loads, computations and
stores are three engines, each in the order of the queue; slots order them: a load waits until nobody computes from what
its slot held, a computation for its slots' loads and its output slot's store, a store for its computation.

A computation is a convolution whose windows the array's address generator takes from the input slot: pixels of
``channels`` bytes, row after row, and ``zero`` beyond the border. The depth of a window is kernel row, kernel column,
channel, cut into lines of four depths, the last one filled up with activations of 0. With ``planes`` P each line meets
P lines of weights: an INT8 weight is the sum of four codes. In a depthwise computation, a weight block is four channels
instead of four filters: lane l is channel 4 b + l, the four filters are four planes of its weights, and sums run over
filters instead of lanes. So a line holds one depth (a tap) of up to four planes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError
from potluck.isa.pot.array import CODE_SETS, FILTERS, LANES, LAWS, Law
from potluck.isa.pot.stream import Status

WORDS: Final = 16
COMMAND_BYTES: Final = 4 * WORDS
MOST_PLANES: Final = 5
FLOAT_BOUNDS: Final = ("float_low", "float_high")
INFINITY: Final = 0x7F80_0000
"""The word of FP32's infinity; words above are no numbers."""
PARAMETER_BYTES: Final = 48
"""Of a weight block: sums, multipliers and shifts of its four filters (or channels), int32 each."""
BEAT_BYTES: Final = 16
"""For each unit: what a beat of memory brings, and what an address of weights is a multiple of."""


class Command(IntEnum):
    """Opcodes; those that `potluck.isa.pot.stream.Opcode` has as well are the same."""

    NOP = 0
    LOAD_WEIGHTS = 1
    LOAD_INPUTS = 2
    STORE = 3
    COMPUTE = 4
    FENCE = 5
    """Whatever follows waits until everything before has ended: a load may then read what a store has written."""


@dataclass(frozen=True)
class Field:
    """Bits of a command.

    Attributes:
        word: Index of the 32-bit word (64-bit fields take two).
        low: Lowest bit.
        bits: How many.
        least: Lowest legal value; below 0 for fields in two's complement.
        most: Highest legal value; None: what the bits hold.
    """

    word: int
    low: int
    bits: int
    least: int = 0
    most: int | None = None

    @property
    def highest(self) -> int:
        """Highest legal value."""
        return self.most if self.most is not None else (1 << self.bits - (self.least < 0)) - 1

    def read(self, words: list[int]) -> int:
        """The field's value in a command's words."""
        both = words[self.word] | (words[self.word + 1] << 32 if self.bits > 32 else 0)
        value = both >> self.low & (1 << self.bits) - 1
        return value - (1 << self.bits) if self.least < 0 and value >> self.bits - 1 else value


_OPCODE: Final = Field(0, 0, 8)
_LAST: Final = Field(0, 8, 1)
_ADDRESS: Final = Field(2, 0, 64)
_RANGE: Final = {"address": _ADDRESS, "rows": Field(4, 0, 32, 1), "row_bytes": Field(5, 0, 32, 1),
                 "stride": Field(6, 0, 32, -(1 << 31)), "offset": Field(7, 0, 32)}  # fmt: skip

FIELDS: Final[dict[Command, dict[str, Field]]] = {
    Command.NOP: {},
    Command.FENCE: {},
    Command.LOAD_INPUTS: {"slot": Field(1, 0, 1), **_RANGE},
    Command.LOAD_WEIGHTS: {
        "slot": Field(1, 0, 1), "address": _ADDRESS, "blocks": Field(4, 0, 32, 1), "lines": Field(5, 0, 32, 1),
    },
    Command.STORE: {"slot": Field(1, 0, 1), **_RANGE},
    Command.COMPUTE: {
        "inputs": Field(1, 0, 1), "weights": Field(1, 1, 1), "outputs": Field(1, 2, 1),
        "depthwise": Field(1, 3, 1), "first": Field(1, 4, 1), "final": Field(1, 5, 1),
        "unsigned_inputs": Field(1, 6, 1), "unsigned_outputs": Field(1, 7, 1),
        "code_set": Field(1, 8, 3, 0, len(CODE_SETS) - 1), "planes": Field(1, 12, 3, 1, MOST_PLANES),
        "law": Field(1, 16, 2, 0, len(LAWS) - 1),
        "zero": Field(2, 0, 8, -128), "zero_point": Field(2, 8, 8, -128),
        "low": Field(2, 16, 8, -128), "high": Field(2, 24, 8, -128),
        "height": Field(3, 0, 16, 1), "width": Field(3, 16, 16, 1),
        "channels": Field(4, 0, 16, 1), "filters": Field(4, 16, 16, 1),
        "out_height": Field(5, 0, 16, 1), "out_width": Field(5, 16, 16, 1),
        "kernel_height": Field(6, 0, 8, 1), "kernel_width": Field(6, 8, 8, 1),
        "stride_height": Field(6, 16, 8, 1), "stride_width": Field(6, 24, 8, 1),
        "dilation_height": Field(7, 0, 8, 1), "dilation_width": Field(7, 8, 8, 1),
        "pad_top": Field(7, 16, 8), "pad_left": Field(7, 24, 8),
        "float_low": Field(8, 0, 32), "float_high": Field(9, 0, 32),
    },
}  # fmt: skip
"""Every field of every command; bits that belong to none must be 0 (BAD_SIZE).

Ranges: ``rows`` of ``row_bytes`` from ``address`` on, ``stride`` bytes apart, densely from ``offset`` on in the slot. A
load that begins at 0 forgets what its slot held, others begin where that ends, or before.
``first``: accumulators start at 0, else at what the last computation that was not ``final`` left; ``final``: outputs
leave through the PPU, else accumulators are kept. So a depth that no slot holds is computed in parts. ``law``: index
in `potluck.isa.pot.array.LAWS`; FP32 outputs lie between ``float_low`` and ``float_high``, words of FP32 numbers. UINT8
activations are INT8 ones with the highest bit turned over: ``zero``, ``zero_point`` and the bounds are of those."""

MODES: Final = ("code_set", "planes", "low", "high", "law", "float_low", "float_high")
"""Fields whose illegal values are BAD_MODE; all others are BAD_SIZE."""


def encode(command: Command, *, last: bool = False, **values: int) -> NDArray[np.uint32]:
    """The words of a command, uint32 [16]. Fields that are not named are 0, or their least value if that is above.

    Raises:
        DataError: A field that the command has not, or a value that does not fit into its bits.
    """
    fields = FIELDS[command]
    if unknown := sorted(values.keys() - fields.keys()):
        raise DataError(
            f"{command.name} has no field {unknown[0]!r}", hint=f"It has {', '.join(fields) or 'none'}"
        )
    words = [0] * WORDS
    words[0] = command | last << _LAST.low
    for name, field in fields.items():
        value = values.get(name, max(0, field.least))
        low = -(1 << field.bits - 1) if field.least < 0 else 0
        if not low <= value < low + (1 << field.bits):
            raise DataError(
                f"{value} does not fit into {name} of {command.name}, which has {field.bits} bits"
            )
        raw = value & (1 << field.bits) - 1
        words[field.word] |= raw << field.low & 0xFFFF_FFFF
        if field.bits > 32:
            words[field.word + 1] |= raw >> 32
    return np.array(words, np.uint32)


@dataclass(frozen=True)
class Decoded:
    """A command whose fields are legal one by one.

    Attributes:
        command: Which.
        values: Fields by name.
        last: TLAST: nothing follows.
    """

    command: Command
    values: Mapping[str, int]
    last: bool

    def __getitem__(self, name: str) -> int:
        return self.values[name]

    @property
    def depth(self) -> int:
        """Activations in a window (of one channel, if depthwise)."""
        return self["kernel_height"] * self["kernel_width"] * (1 if self["depthwise"] else self["channels"])

    @property
    def weight_lines(self) -> int:
        """Lines of each weight block."""
        return weight_lines(self.depth, self["planes"], bool(self["depthwise"]))

    def window_lines(self, units: int) -> int:
        """Lines of four bytes that a window takes; depthwise, a tap has the channels of four rounds."""
        return 4 * units * self.depth if self["depthwise"] else -(-self.depth // LANES)

    @property
    def weight_blocks(self) -> int:
        """Weight blocks of a computation."""
        return -(-self["filters"] // 4)

    @property
    def law(self) -> Law:
        """How sums end."""
        return LAWS[self["law"]]

    @property
    def out_bytes(self) -> int:
        """Bytes of an output."""
        return 4 if self.law == "float" else 1

    @property
    def out_size(self) -> int:
        """Bytes of all outputs."""
        return self.pixels * self["filters"] * self.out_bytes

    @property
    def pixels(self) -> int:
        """Output pixels."""
        return self["out_height"] * self["out_width"]


def decode(words: ArrayLike) -> tuple[Decoded | None, Status, str]:
    """A command's fields, or why it is illegal and by which field.

    What depends on buffers and on what they hold is found by whoever carries the command out.
    """
    raw = [int(word) for word in np.asarray(words, np.uint32)]
    number = _OPCODE.read(raw)
    if number not in Command.__members__.values():
        return None, Status.BAD_OPCODE, "opcode"
    command, used = Command(number), [0] * (WORDS + 1)
    fields = FIELDS[command]
    for field in (_OPCODE, _LAST, *fields.values()):
        mask = (1 << field.bits) - 1 << field.low
        used[field.word] |= mask & 0xFFFF_FFFF
        used[field.word + 1] |= mask >> 32
    values = {name: field.read(raw) for name, field in fields.items()}
    wrong = [name for name, field in fields.items() if not field.least <= values[name] <= field.highest]
    if command is Command.COMPUTE:
        if values["low"] > values["high"]:
            wrong.append("low")
        wrong += [name for name in FLOAT_BOUNDS if values[name] & 0x7FFF_FFFF > INFINITY]
    if modes := [name for name in wrong if name in MODES]:
        return None, Status.BAD_MODE, modes[0]
    if wrong:
        return None, Status.BAD_SIZE, wrong[0]
    if any(word & ~mask for word, mask in zip(raw, used, strict=False)):
        return None, Status.BAD_SIZE, "reserved"
    found = Decoded(command, values, bool(_LAST.read(raw)))
    if command is Command.COMPUTE and values["depthwise"]:
        if values["filters"] != values["channels"]:
            return None, Status.BAD_SIZE, "filters"
        if not (values["first"] and values["final"]):
            return None, Status.BAD_SIZE, "final"
    return found, Status.OK, ""


QUEUE, DOORBELL, STATE, WAIT, RESET = 0, 8, 16, 24, 32
"""Registers, bytes from the accelerator's base: address of the queue; number of commands (a store starts them); state
(a load: status in bits 7:0, bit 8 busy, number of the refused command in 31:16); the same once the accelerator is idle
(the load waits); a store forgets status and slots."""
BUSY: Final = 1 << 8
MOST_COMMANDS: Final = 65535


def state_word(status: Status, index: int, busy: bool) -> int:
    """What a load of STATE or WAIT returns."""
    return int(status) | (BUSY if busy else 0) | (index << 16 if status is not Status.OK else 0)


def weight_lines(depth: int, planes: int, depthwise: bool) -> int:
    """Lines of a weight block: of four depths and one plane, or of one depth and four planes."""
    return depth * -(-planes // FILTERS) if depthwise else planes * -(-depth // LANES)


def line_bytes(bits: int) -> int:
    """Bytes of a weight line: four depths of four filters of so many bits."""
    return 2 * bits


def pack_lines(codes: ArrayLike, bits: int = 4) -> NDArray[np.uint8]:
    """Weights of blocks as LOAD_WEIGHTS reads them: uint8 [blocks, lines * line_bytes] of codes [blocks, lines, 4, 4].

    The last axes are filter and depth: code d of filter f begins at bit (4 f + d) ``bits`` of the line. Two's
    complement weights of 8 bits are their own codes, as bytes.
    """
    fields = np.asarray(codes).astype(np.uint8).reshape(*np.shape(codes)[:2], 16)
    if bits == 4:
        fields = fields[..., 0::2] | np.left_shift(fields[..., 1::2], 4, dtype=np.uint8)
    return np.ascontiguousarray(fields).reshape(len(fields), -1)


def unpack_lines(data: ArrayLike, bits: int = 4) -> NDArray[np.uint8]:
    """Codes uint8 [blocks, lines, 4, 4] of :func:`pack_lines`'s bytes."""
    packed = np.ascontiguousarray(np.asarray(data, np.uint8))
    if bits == 4:
        packed = np.stack([packed & 15, packed >> 4], axis=-1)
    return packed.reshape(len(packed), -1, 4, 4)


def rounds_of(blocks: int, units: int) -> int:
    """Rounds of weight blocks: a block for each unit."""
    return -(-blocks // units)


def weight_bytes(blocks: int, lines: int, units: int, bits: int = 4) -> int:
    """Bytes that LOAD_WEIGHTS reads: whole rounds."""
    return rounds_of(blocks, units) * units * (lines * line_bytes(bits) + PARAMETER_BYTES)


def weight_data(codes: ArrayLike, parameters: ArrayLike, units: int, bits: int = 4) -> NDArray[np.uint8]:
    """All that LOAD_WEIGHTS reads: of each round line by line those of all units, then their parameters.

    So a beat of memory holds what all units need at once. Blocks that the last round lacks are 0.

    Args:
        codes: [blocks, lines, 4, 4], see :func:`pack_lines`.
        parameters: int32 [3, 4 blocks]: wsum, multiplier (or the word of an FP32 factor) and shift of each filter.
        units: of the array.
        bits: of a code.
    """
    lines = pack_lines(codes, bits)
    lines = np.pad(lines, ((0, -len(lines) % units), (0, 0)))
    rounds = len(lines) // units
    lines = lines.reshape(rounds, units, -1, line_bytes(bits)).transpose(0, 2, 1, 3).reshape(rounds, -1)
    words = np.asarray(parameters, np.int32)
    words = np.pad(words, ((0, 0), (0, 4 * units * rounds - words.shape[1])))
    words = np.ascontiguousarray(words.reshape(3, rounds, -1).transpose(1, 0, 2))
    return np.concatenate([lines, words.view(np.uint8).reshape(rounds, -1)], axis=1).ravel()


def unpack_weights(
    data: ArrayLike, blocks: int, lines: int, units: int, bits: int = 4
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Codes uint8 [blocks, lines, 4, 4] and parameters int32 [3, 4 blocks] of :func:`weight_data`'s bytes."""
    rows = np.asarray(data, np.uint8).reshape(rounds_of(blocks, units), -1)
    end = units * lines * line_bytes(bits)
    grid = rows[:, :end].reshape(len(rows), lines, units, -1).transpose(0, 2, 1, 3)
    words = np.ascontiguousarray(rows[:, end:]).view(np.int32).reshape(len(rows), 3, -1).transpose(1, 0, 2)
    return (
        unpack_lines(grid.reshape(len(rows) * units, -1)[:blocks], bits),
        np.ascontiguousarray(words.reshape(3, -1)[:, : 4 * blocks]),
    )


def _planes() -> tuple[dict[int, tuple[int, ...]], ...]:
    """Sums of signed powers of two, and the first codes found, so that the tables never change."""
    levels = [(code, (1 << (code & 7)) * (-1 if code & 8 else 1)) for code in range(16)]
    tables: list[dict[int, tuple[int, ...]]] = [{0: ()}]
    for _ in range(MOST_PLANES):
        sums: dict[int, tuple[int, ...]] = {}
        for total, codes in sorted(tables[-1].items(), key=lambda item: (abs(item[0]), item[0])):
            for code, level in levels:
                sums.setdefault(total + level, (*codes, code))
        tables.append(sums)
    return tuple(tables[1:])


_PLANES: Final = _planes()


def planes_of(weights: ArrayLike) -> NDArray[np.uint8] | None:
    """Codes of ``pot_qkeras`` whose sums are integers, with a last axis of as few planes as hold all of them.

    Two hold every INT4, four every INT8, five every integer of 9 bits. None: an integer is beyond five.
    """
    values = np.asarray(weights, np.int64)
    wanted = np.unique(values)
    for table in _PLANES:
        if all(int(value) in table for value in wanted):
            codes = np.array([table[int(value)] for value in wanted], np.uint8).reshape(len(wanted), -1)
            return np.asarray(codes[np.searchsorted(wanted, values)])
    return None
