"""A second host thread that takes part in a cluster's compiled work; what it does must not depend on who does it."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from potluck.sim.rounds import help_out
from potluck.sim.tasks import HELPERS, LEAVE
from potluck.sim.transfers import DmaArrays


class Helper:
    """The thread, as a context manager; one that is not ``wanted`` does nothing."""

    def __init__(self, wanted: bool) -> None:
        self._pool = ThreadPoolExecutor(1) if wanted else None
        self._arrays: DmaArrays | None = None
        self._work: Future[None] | None = None

    def serve(self, timed: bool, table: NDArray[Any], arrays: DmaArrays, log: NDArray[Any]) -> None:
        """Help with these arguments of :func:`potluck.sim.rounds.run_rounds` until :meth:`pause`."""
        if self._pool is None:
            return
        if arrays is not self._arrays:
            self._dismiss()
            self._arrays = arrays
            self._work = self._pool.submit(help_out, timed, table, arrays, log)
        arrays.board[HELPERS] = 1

    def pause(self) -> None:
        """Take no part in what Python does now: it may give the DMA larger arrays, which the helper does not know."""
        if self._arrays is not None:
            self._arrays.board[HELPERS] = 0

    def _dismiss(self) -> None:
        if self._arrays is not None and self._work is not None:
            self._arrays.board[LEAVE] = 1
            self._work.result()
            self._arrays.board[LEAVE] = 0
        self._arrays = None

    def __enter__(self) -> Helper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause()
        self._dismiss()
        if self._pool is not None:
            self._pool.shutdown()
