"""What the controller of a DRAM channel works on: words of its arrays, and the clocks that commands wait for.

The state of a rule is the clock from which a command is allowed at a node (channel, rank, bank group, bank): issuing a
command raises these clocks by the table of rules, so a command's earliest clock is a maximum over the four nodes that
it belongs to. A rule of a pseudochannel is one of all its ranks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from potluck.sim.cache import compiled
from potluck.sim.dram.rules import WAITING


def _words(*numbers: int) -> Any:
    """Not Python's integers: Numba would compile every function anew for each of them that it is called with."""
    return tuple(np.int64(number) for number in numbers)


# Of an index: it is not negative, so compiled code need not ask, which took a quarter of its time.
at: Any = np.uint64
ACT, PRE, PREA, RD, WR, RDA, WRA, REF_AB, REF_PB = _words(*range(9))
NONE, ZERO, ONE, NEVER = _words(-1, 0, 1, 1 << 60)
# Words of a channel's record.
CLOCK, HITS, CLOSED, CONFLICTS = range(4)
COUNTS = 8  # + command
RECORD = COUNTS + 9
# Words of a rank's record.
DUE, TARGET, OPEN, SINCE, ACTIVE, RING, RING_AT = 0, 1, 2, 3, 4, 5, 9
RANK_RECORD = 10
# Words of a bank's record: where the clocks of its nodes begin (channel, rank, bank group, itself), its rank, the first
# bank of its pseudochannel, the open row (-1: none), the clock of the refresh that its next command must not pass; its
# list of waiting requests (queue slots), the command that it needs next, the slot that this is for, the one before
# that, its place among the banks with requests, a clock before which that command is not allowed (rules only raise
# clocks, so what was found once remains a bound); of the first bank: the rank's node that a stream uses.
RANK, HOME, ROW, LIMIT, HEAD, TAIL, WANT, PICK, BEFORE, WHERE, BOUND, USED = range(4, 16)
BANK_RECORD = 16
# Words of a request.
ARRIVAL, BANK, REQUESTED, WRITES, STATE = range(5)
REQUEST = 5
SERVED = 3  # STATE: 0 as it came, 1 a row was opened for it, 2 and another closed before, 3 served
# Words of the parameters: ENGINE is the address of run_channel; the last 8 are the clocks between two reads and
# between two writes at each node (negative: no rule).
BANKS, RANKS, PER_RANK, RANKS_PER_PC, QUEUE, CLOSED_PAGE, PER_BANK, INTERVAL, WINDOW_CYCLES, READ_DONE, WRITE_DONE, \
    GROUP, CAP, ENGINE, SAME = range(15)  # fmt: skip
PARAMETERS = SAME + 8


@intrinsic
def _raise(typing: Any, clocks: Any, node: Any, t: Any, delays: Any, line: Any) -> Any:
    """The clocks of a node become at least ``t`` and the delays of a line, all at once.

    Numba makes no vectors of a loop over so few by itself.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row = ir.VectorType(ir.IntType(64), WAITING)
        pointers = []
        for k in (0, 3):
            data = context.make_array(signature.args[k])(context, builder, arguments[k]).data
            pointers.append(builder.bitcast(builder.gep(data, [arguments[k + 1]]), row.as_pointer()))
        old_at, delay_at = pointers
        lane = builder.insert_element(
            ir.Constant(row, ir.Undefined), arguments[2], ir.Constant(ir.IntType(32), 0)
        )
        first = ir.Constant(ir.VectorType(ir.IntType(32), WAITING), [0] * WAITING)
        new = builder.add(builder.shuffle_vector(lane, lane, first), builder.load(delay_at, align=8))
        old = builder.load(old_at, align=8)
        builder.store(builder.select(builder.icmp_signed(">", new, old), new, old), old_at, align=8)
        return context.get_dummy_value()

    return types.void(clocks, types.int64, types.int64, delays, types.int64), generate


@compiled(forceinline=True)
def column_of(command: int) -> Any:
    """Where a command's clock stands among a node's: automatic precharge makes no difference to what it waits for."""
    return at(command if command < RDA else command - 2)


@compiled(forceinline=True)
def earliest_rank(command: int, bank: int, banks: NDArray[Any], allowed: NDArray[Any]) -> Any:
    """The clock from which a command to a whole rank is allowed, given any of its banks."""
    b, c = at(bank), column_of(command)
    return max(allowed[at(banks[b, 0]) + c], allowed[at(banks[b, 1]) + c])


@compiled(forceinline=True)
def earliest(command: int, bank: int, banks: NDArray[Any], allowed: NDArray[Any]) -> Any:
    """The clock from which a command to a bank is allowed."""
    b, c = at(bank), column_of(command)
    below = max(allowed[at(banks[b, 2]) + c], allowed[at(banks[b, 3]) + c])
    return max(below, max(allowed[at(banks[b, 0]) + c], allowed[at(banks[b, 1]) + c]))


@compiled(forceinline=True)
def push(
    command: int, bank: int, t: int, p: NDArray[Any], first: NDArray[Any], entries: NDArray[Any],
    delays: NDArray[Any], allowed: NDArray[Any],
) -> None:  # fmt: skip
    """Raise the clocks of everything that has to wait for a command; one to a whole rank is given any of its banks."""
    place = command * p[BANKS] + bank
    for k in range(first[at(place)], first[at(place + 1)]):
        _raise(allowed, entries[at(k), 0], t, delays, entries[at(k), 1])


@compiled(forceinline=True)
def issue(
    command: int, bank: int, t: int, p: NDArray[Any], first: NDArray[Any], entries: NDArray[Any],
    delays: NDArray[Any], allowed: NDArray[Any], banks: NDArray[Any], ranks: NDArray[Any], record: NDArray[Any],
) -> None:  # fmt: skip
    """A command at a clock: what waits for it, among it the fourth activation after one, and the record."""
    push(command, bank, t, p, first, entries, delays, allowed)
    record[COUNTS + command] += 1
    record[CLOCK] = t
    if command == ACT and p[WINDOW_CYCLES] > 0:
        rank = banks[bank, RANK]
        place = ranks[rank, RING_AT]
        ranks[rank, RING + place] = t
        place = (place + 1) & 3
        ranks[rank, RING_AT] = place
        node = banks[bank, 1]  # the next activation is the fourth after the one that the ring now points to
        if allowed[node + ACT] < ranks[rank, RING + place] + p[WINDOW_CYCLES]:
            allowed[node + ACT] = ranks[rank, RING + place] + p[WINDOW_CYCLES]
