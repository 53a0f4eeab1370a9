"""Numbered tasks that a second host thread takes part in, in compiled code.

The thread that has work posts a number of tasks on a board, takes tasks as long as there are any, and waits for those
that the helper has taken. A helper that gets no processor takes nothing, so nobody waits for it. Which thread carries a
task out must not matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from potluck.sim.cache import compiled

# Words of the board, each on a cache line of its own: tasks that nobody has taken (not positive: none), helpers that
# may be at one, what the tasks are and what they are about, whether helpers are to leave, and how many there are.
LEFT, BUSY, KIND, FROM, TO, LEAVE, HELPERS = (8 * word for word in range(7))
BOARD = 8 * 7
SPINS, NAP = 4000, 60  # looks at the board before a nap, and its microseconds

_yield = types.ExternalFunction("sched_yield", types.int32())
_sleep = types.ExternalFunction("usleep", types.int32(types.uint32))


def _word(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, ir.IntType(64).as_pointer())


@intrinsic
def _fetch(typing: Any, address: Any) -> Any:
    """The word at an address, and nothing that follows before it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_word(builder, arguments[0]), "seq_cst", 8)

    return types.int64(types.int64), generate


@intrinsic
def _publish(typing: Any, address: Any, value: Any) -> Any:
    """Write the word at an address, and nothing that came before it later."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store_atomic(arguments[1], _word(builder, arguments[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def _increase(typing: Any, address: Any, by: Any) -> Any:
    """Add to the word at an address; what it was before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", _word(builder, arguments[0]), arguments[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


@compiled
def _at(board: NDArray[Any], word: int) -> Any:
    return np.int64(board.ctypes.data) + np.int64(8) * word


@compiled
def post(board: NDArray[Any], kind: int, begin: int, end: int, count: int) -> None:
    """Let helpers take tasks ``count - 1`` to 0 of a kind, about ``begin`` to ``end``."""
    board[KIND], board[FROM], board[TO] = kind, begin, end
    _publish(_at(board, LEFT), np.int64(count))


@compiled
def take(board: NDArray[Any]) -> int:
    """The number of a task for the caller; negative if there is none."""
    return int(_increase(_at(board, LEFT), np.int64(-1)) - 1)


@compiled
def finish(board: NDArray[Any]) -> None:
    """Wait for the tasks that helpers have taken; none is left."""
    looks = 0
    while _fetch(_at(board, BUSY)) != 0:
        looks += 1
        if looks > SPINS:
            _yield()


@compiled
def join(board: NDArray[Any]) -> int:
    """For a helper: wait for a task and take it; negative if it is to go. :func:`leave` says that the task is done."""
    looks = 0
    while _fetch(_at(board, LEAVE)) == 0:
        if _fetch(_at(board, LEFT)) > 0:
            _increase(_at(board, BUSY), np.int64(1))
            task = take(board)
            if task >= 0:
                return task
            _increase(_at(board, BUSY), np.int64(-1))
        looks += 1
        if looks > SPINS:
            _sleep(np.uint32(NAP))
    return -1


@compiled
def leave(board: NDArray[Any]) -> None:
    """For a helper: the task that it took is done."""
    _increase(_at(board, BUSY), np.int64(-1))
