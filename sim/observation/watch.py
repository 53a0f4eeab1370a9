"""What an observed run writes down beside its sums: cycles by instruction, and every instruction's moments.

The memo's entries say all that there is to know of a block's execution (block, vl, access classes, state before), so
observing costs little while the program runs: an entry's instructions are timed one by one afterwards, once per entry.
A profile weights them by the entry's count, a trace puts them where the log says that the entry was used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import ProgramError
from potluck.sim.blocks import BlockArrays
from potluck.sim.cache import configure_numba
from potluck.sim.driver import (
    COUNT,
    CYCLES,
    ENTRY_BLOCK,
    ENTRY_VL,
    KEY1,
    R_FROM,
    R_LOGGED,
    R_UNTIL,
    STATE_BITS,
    TAKEN_BIT,
)
from potluck.sim.state import IN_DRAM, MAX_CODES

configure_numba()

from potluck.sim.timing.timer import (  # noqa: E402  (Numba reads its cache folder at decoration)
    CAUSES,
    DONE,
    ISSUE,
    LEFT,
    MOMENTS,
    SO_FAR,
    WAIT_BRANCH,
    time_block,
)

FOREVER = 1 << 62
LOG_LINES = 1 << 18  # block executions between two harvests
MOST_RECORDS = 1 << 26  # instructions of a trace on one core, some 5 GB

_MOMENTS = ("enter", "left", "taken", "sequenced", "begun", "read", "done")
RECORD = np.dtype(
    [
        ("row", "i4"),
        ("vl", "i4"),
        ("stall", "i4"),
        ("cause", "u1"),
        ("dram", "u1"),
        *((m, "i8") for m in _MOMENTS),
    ]
)
"""One executed instruction: ``row`` among the store's rows; cycles at which it came to the head of the core's queue,
left the core, was taken by the sequencer, left it, and its unit read the first operands and the last ones and had
the last result (-1: not on its path). Of the ``stall`` cycles before ``left`` most were due to ``cause``; ``dram`` is
not 0 if it accessed DRAM.
"""


@dataclass(frozen=True, slots=True)
class Watch:
    """What to observe.

    Attributes:
        profile: cycles by instruction and cause.
        window: trace the instructions that leave the core at a cycle of ``[window[0], window[1])``.
    """

    profile: bool = False
    window: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """A core idles from ``begin`` on, at ``pc``."""

    begin: int
    cycles: int
    cause: str
    pc: int


class Observer:
    """What one hart's run has been seen to do.

    Attributes:
        executions, causes: int64 [rows] and [rows, causes], by row of the hart's block store; for a profile.
        records: of the trace, in order.
        waits: of the trace, in order.
    """

    def __init__(self, watch: Watch, entries: int) -> None:
        self.watch = watch
        self.kept_codes = np.zeros((entries, MAX_CODES), np.uint8)
        self.log = np.zeros((LOG_LINES if watch.window else 0, 2), np.int64)
        self.executions = np.zeros(0, np.int64)
        self.causes = np.zeros((0, len(CAUSES)), np.int64)
        self.waits: list[Wait] = []
        self._parts: list[NDArray[np.void]] = []
        self._count = 0

    def begin(self, record: NDArray[np.int64]) -> None:
        """Tell the driver which cycles to log."""
        record[R_FROM], record[R_UNTIL] = self.watch.window or (0, 0)

    def wait(self, begin: int, cycles: int, cause: str, pc: int) -> None:
        """The hart idles."""
        first, end = self.watch.window or (0, 0)
        if begin < end and begin + cycles > first:
            self.waits.append(Wait(begin, cycles, cause, pc))

    def harvest(
        self, memo: NDArray[np.int64], states: NDArray[np.int64], record: NDArray[np.int64], s: BlockArrays
    ) -> None:
        """Take over what the memo and the log hold, before they are emptied.

        Raises:
            ProgramError: the trace is too long to keep.
        """
        if self.watch.profile:
            missing = s.code_slots.size - self.executions.size
            self.executions = np.pad(self.executions, (0, missing))
            self.causes = np.pad(self.causes, ((0, missing), (0, 0)))
            used = np.flatnonzero(memo[:, COUNT])
            _weigh(
                used,
                memo,
                states,
                self.kept_codes,
                s.info,
                s.timing_rows,
                s.code_slots,
                self.executions,
                self.causes,
            )
        lines = self.log[: record[R_LOGGED]]
        record[R_LOGGED] = 0
        if not lines.size:
            return
        self._count += int(s.info[memo[lines[:, 0], ENTRY_BLOCK], 1].sum())
        if self._count > MOST_RECORDS:
            raise ProgramError(
                f"the trace has more than {MOST_RECORDS:,} instructions on one core",
                hint="Limit it to some cycles: --window FIRST:END.",
            )
        used, index = np.unique(lines[:, 0], return_inverse=True)
        sizes = s.info[memo[used, ENTRY_BLOCK], 1]
        firsts = np.cumsum(sizes) - sizes
        details = np.zeros(int(sizes.sum()), RECORD)
        _detail(used, firsts, memo, states, self.kept_codes, s.info, s.timing_rows, s.code_slots, details)
        self._place(details, firsts[index], sizes[index], lines[:, 1])

    def _place(
        self, details: NDArray[np.void], firsts: NDArray[np.int64], sizes: NDArray[np.int64],
        begins: NDArray[np.int64],
    ) -> None:  # fmt: skip
        """Records of block executions at their cycles, without those outside the window."""
        assert self.watch.window is not None
        first, end = self.watch.window
        found = np.empty(int(sizes.sum()), RECORD)
        self._parts.append(found[: _copy(details, firsts, sizes, begins, first, end, found)])

    @property
    def records(self) -> NDArray[np.void]:
        """The trace."""
        if len(self._parts) != 1:
            self._parts = [np.concatenate([np.zeros(0, RECORD), *self._parts])]
        return self._parts[0]


@numba.njit(nogil=True, cache=True)
def _explain(
    place: int, memo: NDArray[Any], states: NDArray[Any], kept: NDArray[Any], info: NDArray[Any],
    timing_rows: NDArray[Any], code_slots: NDArray[Any], codes: NDArray[Any], moments: NDArray[Any],
) -> Any:  # fmt: skip
    """Time an entry anew; rows of its block, whose moments and own causes are in ``moments``."""
    key, block = memo[place, KEY1], memo[place, ENTRY_BLOCK]
    first, count = info[block, 0], info[block, 1]
    for k in range(count):
        slot = code_slots[first + k]
        codes[k] = kept[place, slot] if slot >= 0 else 0
    moments[:count] = -1
    causes = np.zeros(len(CAUSES), np.int64)
    times = states[key & ((1 << STATE_BITS) - 1)].copy()
    cycles = time_block(
        timing_rows[first : first + count], memo[place, ENTRY_VL], codes[:count], key >> TAKEN_BIT & 1, times, causes,
        moments[:count],
    )  # fmt: skip
    assert cycles == memo[place, CYCLES]
    for k in range(count - 1, 0, -1):
        moments[k, SO_FAR:] -= moments[k - 1, SO_FAR:]
    return count


@numba.njit(nogil=True, cache=True)
def _weigh(
    used: NDArray[Any], memo: NDArray[Any], states: NDArray[Any], kept: NDArray[Any], info: NDArray[Any],
    timing_rows: NDArray[Any], code_slots: NDArray[Any], executions: NDArray[Any], causes: NDArray[Any],
) -> None:  # fmt: skip
    """Add up executions and causes by row over the entries in use."""
    codes, moments = np.zeros(512, np.uint8), np.zeros((512, MOMENTS), np.int64)
    for place in used:
        count = _explain(place, memo, states, kept, info, timing_rows, code_slots, codes, moments)
        first, weight = info[memo[place, ENTRY_BLOCK], 0], memo[place, COUNT]
        for k in range(count):
            executions[first + k] += weight
            for cause in range(len(CAUSES)):
                causes[first + k, cause] += weight * moments[k, SO_FAR + cause]


@numba.njit(nogil=True, cache=True)
def _detail(
    used: NDArray[Any], firsts: NDArray[Any], memo: NDArray[Any], states: NDArray[Any], kept: NDArray[Any],
    info: NDArray[Any], timing_rows: NDArray[Any], code_slots: NDArray[Any], details: NDArray[Any],
) -> None:  # fmt: skip
    """Records of each entry's instructions, at cycles after the entry's begin."""
    codes, moments = np.zeros(512, np.uint8), np.zeros((512, MOMENTS), np.int64)
    for n in range(used.size):
        place = used[n]
        count = _explain(place, memo, states, kept, info, timing_rows, code_slots, codes, moments)
        first = info[memo[place, ENTRY_BLOCK], 0]
        enter = 0
        for k in range(count):
            record = details[firsts[n] + k]
            record.row, record.vl, record.enter = first + k, memo[place, ENTRY_VL], enter
            record.left, record.taken, record.sequenced = (
                moments[k, LEFT],
                moments[k, LEFT + 1],
                moments[k, LEFT + 2],
            )
            record.begun, record.read, record.done = (
                moments[k, LEFT + 3],
                moments[k, LEFT + 4],
                moments[k, DONE],
            )
            record.dram = codes[k] & IN_DRAM
            record.stall, record.cause = moments[k, LEFT] - enter, ISSUE
            most = 0
            for cause in range(ISSUE + 1, len(CAUSES)):
                if cause != WAIT_BRANCH and moments[k, SO_FAR + cause] > most:
                    most, record.cause = moments[k, SO_FAR + cause], cause
            enter = moments[k, LEFT] + 1 + moments[k, SO_FAR + WAIT_BRANCH]


@numba.njit(nogil=True, cache=True)
def _copy(
    details: NDArray[Any], firsts: NDArray[Any], sizes: NDArray[Any], begins: NDArray[Any], first: int, end: int,
    out: NDArray[Any],
) -> Any:  # fmt: skip
    """The records of block executions, at their cycles; how many leave the core in the window."""
    count = 0
    for n in range(firsts.size):
        for k in range(firsts[n], firsts[n] + sizes[n]):
            begin, record = begins[n], details[k]
            if not first <= begin + record.left < end:
                continue
            found = out[count]
            found.row, found.vl, found.stall = record.row, record.vl, record.stall
            found.cause, found.dram = record.cause, record.dram
            found.enter, found.left, found.done = (
                begin + record.enter,
                begin + record.left,
                begin + record.done,
            )
            found.taken = begin + record.taken if record.taken >= 0 else -1
            found.sequenced = begin + record.sequenced if record.sequenced >= 0 else -1
            found.begun = begin + record.begun if record.begun >= 0 else -1
            found.read = begin + record.read if record.read >= 0 else -1
            count += 1
    return count


__all__ = ["FOREVER", "Observer", "Wait", "Watch"]
