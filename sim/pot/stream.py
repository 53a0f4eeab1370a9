"""The PoT array as its streams show it: beats in, beats out, and a status. No time passes here.

The reference for `rtl/pot/`: the same beats give the same results, whatever is wrong with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.pot.array import CODE_SETS, FILTERS, LANES, ROWS, CodeSet, Requantizer, tile
from potluck.isa.pot.stream import (
    ARGUMENTS,
    END,
    FAILED,
    PARAMETER_BEATS,
    STREAMS,
    U32,
    Buffers,
    Opcode,
    Status,
    weight_depths,
)


@dataclass
class StreamArray:
    """An array with these buffers after reset.

    Attributes:
        status: OK, or why the first bad packet was refused.
    """

    buffers: Buffers
    status: Status = Status.OK
    _header: list[int] = field(default_factory=list)
    _left: int = 0  # beats of the packet that are still to come
    _payload: list[NDArray[np.uint32]] = field(default_factory=list)
    _kind: CodeSet | None = None
    _depth: int = 0
    _activation: tuple[int, int, int] = (0, -128, 127)
    _codes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    _parameters: NDArray[np.int32] = field(default_factory=lambda: np.zeros((3, 0), np.int32))
    _inputs: NDArray[np.int8] = field(default_factory=lambda: np.zeros((0, 0), np.int8))

    def packet(self, words: ArrayLike) -> U32:
        """Beats [n, 4] with TLAST in the last one; returns the beats that come out."""
        beats = np.asarray(words, np.uint32)
        last = np.zeros(beats.shape, bool)
        last[-1:] = True
        return self.beats(beats, last)

    def beats(self, words: ArrayLike, last: ArrayLike) -> U32:
        """Beats [n, 4] and each word's TLAST [n, 4]; returns uint32 [m, 4], all that comes out.

        Results end with a beat of END, a refused packet with one of FAILED and the status: these have TLAST.
        """
        out: list[NDArray[np.uint32]] = []
        for beat, ends in zip(np.asarray(words, np.uint32), np.asarray(last, bool), strict=True):
            if self.status is Status.OK:
                out += self._beat(beat, ends)
        return np.concatenate(out) if out else np.zeros((0, STREAMS), np.uint32)

    def _beat(self, beat: NDArray[np.uint32], ends: NDArray[np.bool_]) -> list[NDArray[np.uint32]]:
        if not self._left:
            self._header, self._payload = beat.tolist(), []
            self.status, self._left = self._check(self._header)
        else:
            self._payload.append(beat)
            self._left -= 1
        if self.status is Status.OK:
            if self._left and ends.any():
                self.status = Status.EARLY_LAST
            elif not self._left and not ends.all():
                self.status = Status.MISSING_LAST
        if self.status is not Status.OK:
            return [np.full((1, STREAMS), FAILED | self.status, np.uint32)]
        return [] if self._left else self._carry_out()

    def _check(self, words: list[int]) -> tuple[Status, int]:
        """What is wrong with a header, and how many beats follow it."""
        if words[0] not in Opcode.__members__.values():
            return Status.BAD_OPCODE, 0
        opcode = Opcode(words[0])
        first, second, third = words[1:]
        reserved = any(words[1 + len(ARGUMENTS[opcode]) :])
        if opcode is Opcode.CONFIG:
            _, low, high = _activation(second)
            known = third < len(CODE_SETS) and self.buffers.takes(CODE_SETS[third])
            if not known or low > high or second >> 24:
                return Status.BAD_MODE, 0
            return Status.OK if self.buffers.depth_fits(first) else Status.BAD_SIZE, 0
        if opcode is Opcode.NOP or reserved:
            return Status.BAD_SIZE if reserved else Status.OK, 0
        if opcode is Opcode.COMPUTE:
            if not first or not second:
                return Status.BAD_SIZE, 0
            ready = first * ROWS <= len(self._inputs) and second * FILTERS <= len(self._codes)
            return Status.OK if ready else Status.NOT_LOADED, 0
        if self._kind is None:
            return Status.NOT_LOADED, 0
        if opcode is Opcode.LOAD_WEIGHTS:
            fits = self.buffers.weights_fit(first, self._depth)
            step, extra = weight_depths(self._kind), first * PARAMETER_BEATS
        else:
            fits, step, extra = self.buffers.inputs_fit(first, self._depth), LANES, 0
        if not fits or second != self._depth // step:
            return Status.BAD_SIZE, 0
        return Status.OK, first * second + extra

    def _carry_out(self) -> list[NDArray[np.uint32]]:
        opcode, (first, second, third) = self._header[0], self._header[1:]
        if opcode == Opcode.CONFIG:
            self._kind, self._depth, self._activation = CODE_SETS[third], first, _activation(second)
            self._codes, self._inputs = self._codes[:0], self._inputs[:0]
        elif opcode == Opcode.LOAD_INPUTS:
            words = np.ascontiguousarray(self._payload).view(np.int8)
            grid = words.reshape(first, second, ROWS, LANES).transpose(0, 2, 1, 3)
            self._inputs = grid.reshape(first * ROWS, self._depth)
        elif opcode == Opcode.LOAD_WEIGHTS:
            self._keep_weights(np.ascontiguousarray(self._payload), first, second)
        elif opcode == Opcode.COMPUTE:
            return self._results(first, second)
        return []

    def _keep_weights(self, words: NDArray[np.uint32], blocks: int, beats: int) -> None:
        assert self._kind is not None
        bits, step = self._kind.weight_bits, weight_depths(self._kind)
        fields = words[: blocks * beats].astype(np.int64)[..., None] >> bits * np.arange(step)
        fields &= (1 << bits) - 1
        if self._kind.pot is None:
            fields -= (fields >> 7) << 8
        grid = fields.reshape(blocks, beats, FILTERS, step).transpose(0, 2, 1, 3)
        self._codes = grid.reshape(blocks * FILTERS, self._depth)
        rest = words[blocks * beats :].view(np.int32).reshape(blocks, PARAMETER_BEATS, FILTERS)
        self._parameters = rest.transpose(1, 0, 2).reshape(PARAMETER_BEATS, -1)

    def _results(self, row_blocks: int, blocks: int) -> list[NDArray[np.uint32]]:
        assert self._kind is not None
        rows, filters = row_blocks * ROWS, blocks * FILTERS
        wsum, multiplier, shift = self._parameters[:, :filters]
        requantizer = Requantizer(wsum, multiplier, shift, *self._activation)
        outputs = tile(self._kind, self._codes[:filters], self._inputs[:rows], requantizer)
        grid = outputs.reshape(row_blocks, ROWS, blocks, FILTERS).transpose(0, 2, 1, 3)
        words = np.ascontiguousarray(grid).view(np.uint32).reshape(-1, STREAMS)
        return [words, np.full((1, STREAMS), END, np.uint32)]


def _activation(word: int) -> tuple[int, int, int]:
    """Zero point, low and high of CONFIG's word."""
    zero, low, high = np.array([word], "<u4").view(np.int8)[:3].tolist()
    return zero, low, high
