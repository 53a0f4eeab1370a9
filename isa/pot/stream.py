"""What goes through the PoT array's four streams: commands, payloads, results, and how they can be wrong.

The array takes and gives *beats*: one 32-bit word on each of four AXI streams, together. A command is one packet: a
header beat (opcode and three arguments), then its payload; TLAST is set on all four streams in its last beat and
nowhere else. Rows, filters and depths are those of the matrix product that a convolution is after im2col.

Source: PoTAcc v12 (facts: opcodes, order of weights and activations, end word). Ours are the header in one beat, the
fourth parameter word, the modes in CONFIG, and the errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError
from potluck.isa.pot.array import DEPTH_STEP, FILTERS, LANES, ROWS, CodeSet, Requantizer

U32 = NDArray[np.uint32]

STREAMS: Final = 4
END: Final = 5000
"""Word on every stream, with TLAST, after the results of a COMPUTE."""
FAILED: Final = 0xBAD0_0000
"""Or'ed with the status: the word on every stream, with TLAST, when a command is refused."""


class Opcode(IntEnum):
    """First word of a header."""

    NOP = 0
    LOAD_WEIGHTS = 1
    LOAD_INPUTS = 2
    COMPUTE = 4
    CONFIG = 8


class Status(IntEnum):
    """State of the array. Once it is not OK, everything that arrives is discarded until reset.

    A header's faults are looked for in the order of the numbers, and the first one found is the status.
    """

    OK = 0
    BAD_OPCODE = 1
    BAD_MODE = 2
    """CONFIG: a code set that this build has not, or low > high."""
    BAD_SIZE = 3
    """An argument of 0, no multiple of its step, more than a buffer holds, or at odds with CONFIG."""
    NOT_LOADED = 4
    """A load before CONFIG, or COMPUTE of more than what is loaded."""
    EARLY_LAST = 5
    """TLAST on any stream before a packet's last beat."""
    MISSING_LAST = 6
    """TLAST not on all streams in a packet's last beat."""
    BAD_ADDRESS = 7
    """A range that is not in memory, or text to be written (the cluster's accelerator only: streams have none)."""


ARGUMENTS: Final[dict[Opcode, tuple[str, ...]]] = {
    Opcode.NOP: (),
    Opcode.CONFIG: ("depth", "activation", "code_set"),
    Opcode.LOAD_WEIGHTS: ("blocks", "beats_per_block"),
    Opcode.LOAD_INPUTS: ("row_blocks", "beats_per_row_block"),
    Opcode.COMPUTE: ("row_blocks", "blocks"),
}
"""Header words 1 to 3 by opcode; the others must be 0 (else BAD_SIZE).

``depth`` is padded (a multiple of 16). ``activation``: zero point in bits 7:0, low in 15:8, high in 23:16, bits 31:24
are 0 (else BAD_MODE). ``beats_per_block`` is depth / 8 (INT8: depth / 4), ``beats_per_row_block`` is depth / 4.
CONFIG forgets what is loaded; a load replaces what was loaded before."""

PARAMETER_BEATS: Final = 3
"""After the weights of all blocks, for each block: wsum, multipliers, shifts of its four filters."""


@dataclass(frozen=True)
class Buffers:
    """What an array holds, in its own words.

    Attributes:
        units: V.
        weight_lines: Of each unit: four depths of four filters a line.
        input_lines: Of each unit: four depths of four rows a line.
        global_lines: Beats of the global input buffer.
        parameter_groups: Weight blocks of each unit whose parameters are kept.
        multipliers: Whether this is the INT8 build; otherwise it has the shift code sets.
    """

    units: int
    weight_lines: int
    input_lines: int
    global_lines: int
    parameter_groups: int
    multipliers: bool = False

    def takes(self, kind: CodeSet) -> bool:
        """Whether this build computes with a code set."""
        return self.multipliers == (kind.pot is None)

    def depth_fits(self, depth: int) -> bool:
        """Whether CONFIG may have this depth."""
        return 0 < depth <= LANES * self.input_lines and depth % DEPTH_STEP == 0

    def weights_fit(self, blocks: int, depth: int) -> bool:
        """Whether so many weight blocks fit: the first units hold one more where V does not divide them."""
        local = -(-blocks // self.units)
        return blocks > 0 and local <= self.parameter_groups and local * depth // LANES <= self.weight_lines

    def inputs_fit(self, row_blocks: int, depth: int) -> bool:
        """Whether so many blocks of four rows fit."""
        return row_blocks > 0 and row_blocks * depth // LANES <= self.global_lines


def weight_depths(kind: CodeSet) -> int:
    """Depths of one filter in a word of a stream."""
    return 32 // kind.weight_bits


def pack_activations(activations: ArrayLike) -> U32:
    """Payload of LOAD_INPUTS: uint32 [beats, 4] of int8 [rows, depth].

    Stream s carries row 4 i + s, four depths a word, the lowest in the lowest byte. Missing rows and depths are 0.
    """
    x = _padded(np.asarray(activations, np.int8), ROWS, DEPTH_STEP)
    blocks = x.reshape(-1, ROWS, x.shape[1] // LANES, LANES).view(np.uint8)
    return _words(blocks.transpose(0, 2, 1, 3), 8)


def pack_weights(kind: CodeSet, codes: ArrayLike) -> U32:
    """The weights in LOAD_WEIGHTS: uint32 [beats, 4] of codes [filters, depth].

    Stream s carries filter 4 b + s of block b, eight codes (four INT8 weights) a word, the lowest depth in the lowest
    bits. Blocks follow each other; block b goes to unit b mod V. Missing filters and depths have code 0: their
    activations are 0, and nobody reads their outputs.
    """
    kind.weights(codes)
    w = _padded(np.asarray(codes), FILTERS, DEPTH_STEP)
    step = weight_depths(kind)
    blocks = w.reshape(-1, FILTERS, w.shape[1] // step, step)
    return _words(blocks.transpose(0, 2, 1, 3), kind.weight_bits)


def pack_parameters(requantizer: Requantizer) -> U32:
    """The parameters in LOAD_WEIGHTS: uint32 [3 blocks, 4], those of missing filters 0."""
    rows = [requantizer.wsum, requantizer.multiplier, requantizer.shift]
    words = np.stack([_padded(np.asarray(row, np.int32)[:, None], FILTERS, 1)[:, 0] for row in rows])
    return np.ascontiguousarray(
        words.reshape(PARAMETER_BEATS, -1, FILTERS).transpose(1, 0, 2).reshape(-1, STREAMS)
    ).view(np.uint32)


def unpack_outputs(beats: ArrayLike, rows: int, filters: int) -> NDArray[np.int8]:
    """int8 [rows, filters] of a COMPUTE's results, uint32 [row blocks * weight blocks, 4], without the end word.

    For each block of rows all weight blocks; stream s emits row 4 i + s, four filters, the lowest in the lowest byte.

    Raises:
        DataError: more rows or filters are asked for than there are beats.
    """
    words = np.ascontiguousarray(np.asarray(beats, np.uint32))
    blocks, row_blocks = -(-filters // FILTERS), -(-rows // ROWS)
    if words.shape != (blocks * row_blocks, STREAMS):
        raise DataError(f"{rows} rows of {filters} filters are {blocks * row_blocks} beats, not {len(words)}")
    grid = words.view(np.int8).reshape(row_blocks, blocks, ROWS, FILTERS).transpose(0, 2, 1, 3)
    return grid.reshape(row_blocks * ROWS, blocks * FILTERS)[:rows, :filters].copy()


def activation_word(zero_point: int, low: int, high: int) -> int:
    """CONFIG's word ``activation``."""
    return zero_point & 0xFF | (low & 0xFF) << 8 | (high & 0xFF) << 16


def header(opcode: Opcode, *arguments: int) -> U32:
    """A header beat, uint32 [1, 4]."""
    assert len(arguments) == len(ARGUMENTS[opcode]), opcode
    return np.array([[opcode, *arguments, *[0] * (STREAMS - 1 - len(arguments))]], np.uint32)


def config(depth: int, kind: CodeSet, requantizer: Requantizer) -> U32:
    """The packet CONFIG for a padded depth."""
    word = activation_word(requantizer.zero_point, requantizer.low, requantizer.high)
    return header(Opcode.CONFIG, depth, word, kind.number)


def load_weights(kind: CodeSet, codes: ArrayLike, requantizer: Requantizer) -> U32:
    """The packet LOAD_WEIGHTS."""
    weights = pack_weights(kind, codes)
    blocks = -(-np.shape(codes)[0] // FILTERS)
    first = header(Opcode.LOAD_WEIGHTS, blocks, len(weights) // blocks)
    return np.concatenate([first, weights, pack_parameters(requantizer)])


def load_inputs(activations: ArrayLike) -> U32:
    """The packet LOAD_INPUTS."""
    payload = pack_activations(activations)
    blocks = -(-np.shape(activations)[0] // ROWS)
    return np.concatenate([header(Opcode.LOAD_INPUTS, blocks, len(payload) // blocks), payload])


def compute(rows: int, filters: int) -> U32:
    """The packet COMPUTE."""
    return header(Opcode.COMPUTE, -(-rows // ROWS), -(-filters // FILTERS))


def _padded(array: NDArray[np.generic], rows: int, columns: int) -> NDArray[np.generic]:
    """The array with zeros up to multiples of rows and columns."""
    return np.pad(array, [(0, -array.shape[0] % rows), (0, -array.shape[1] % columns)])


def _words(values: NDArray[np.generic], bits: int) -> U32:
    """Words of the last axis' values, the first in the lowest bits; uint32 [rest, 4] in order."""
    shifts = np.arange(values.shape[-1], dtype=np.uint32) * np.uint32(bits)
    fields = values.astype(np.uint32) & np.uint32((1 << bits) - 1)
    return np.asarray((fields << shifts).sum(axis=-1, dtype=np.uint32).reshape(-1, STREAMS))
