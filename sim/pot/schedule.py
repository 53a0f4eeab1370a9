"""When the accelerator's commands run: three engines in the order of the queue, slots between them.

A load, a computation or a store begins when its engine has begun the one before it (loads and stores, whose latencies
overlap) or has ended it (computations), and when the earlier commands that it waits for have ended. Loads and stores
are served in the order in which they begin, so they and the core's own transfers meet DRAM in the order of time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import chain

from potluck.sim.dma import Dma, Transfer


class Engine(IntEnum):
    """Which engine carries a command out."""

    LOAD = 0
    COMPUTE = 1
    STORE = 2


@dataclass
class Work:
    """One command under way.

    Attributes:
        engine: who carries it out.
        arrives: cycle at which it has been read from the queue.
        waits: what has to end before.
        cycles: of a computation.
        transfer: of a load or store.
        pc: of the store to the doorbell.
        begin: cycle, -1 until it has begun.
        end: cycle, -1 until it is known.
    """

    engine: Engine
    arrives: int
    waits: list[Work]
    cycles: int = 0
    transfer: Transfer | None = None
    pc: int = 0
    begin: int = -1
    end: int = -1


@dataclass
class Schedule:
    """The commands that have not ended, and the clocks of the engines.

    Args:
        loads: channel of the loads.
        stores: channel of the stores.
        others: transfers of the core, timed before ours that begin later.
    """

    loads: Dma
    stores: Dma
    others: Dma
    last_end: int = 0
    requests: dict[int, int] = field(default_factory=dict)  # pcs of doorbells, numbered
    _queues: tuple[deque[Work], ...] = field(default_factory=lambda: (deque(), deque(), deque()))
    _free: list[int] = field(default_factory=lambda: [0, 0, 0])

    def add(self, work: Work) -> None:
        """Another command, in the order of the queue."""
        self._queues[work.engine].append(work)

    def advance(self, until: int | None) -> None:
        """Begin everything that begins up to a cycle; None: everything."""
        while True:
            ready = [(at, queue[0]) for queue in self._queues if queue and (at := self._start(queue[0])) >= 0]
            computations = [pair for pair in ready if pair[1].engine is Engine.COMPUTE]
            if computations:  # they meet nobody, and others wait for them
                self._run(*computations[0])
                continue
            if not ready:
                assert not any(self._queues), "commands that wait for each other"
                return
            start, work = min(ready, key=lambda pair: (pair[0], pair[1].engine))
            if until is not None and start > until:
                return
            self._run(start, work)

    def _start(self, work: Work) -> int:
        """The cycle in which a command can begin; -1 if that is not known yet."""
        ends = [other.end for other in work.waits]
        if min(ends, default=0) < 0:
            return -1
        return max(chain(ends, (work.arrives, self._free[work.engine])))

    def _run(self, start: int, work: Work) -> None:
        self._queues[work.engine].popleft()
        work.begin, work.waits = start, []
        if work.engine is Engine.COMPUTE:
            work.end = start + work.cycles
            self._free[work.engine] = work.end
        else:
            assert work.transfer is not None
            self.others.settle()
            channel = self.loads if work.engine is Engine.LOAD else self.stores
            request = self.requests.setdefault(work.pc, len(self.requests))
            work.end = channel.stream(work.transfer, start, request)
            self._free[work.engine] = start
        self.last_end = max(self.last_end, work.end)

    @property
    def channels(self) -> tuple[Dma, Dma]:
        """What moves loads and stores."""
        return self.loads, self.stores

    @property
    def pending(self) -> bool:
        """Whether there are commands that have not begun."""
        return any(self._queues)

    def busy(self, now: int) -> bool:
        """Whether anything has not ended at a cycle, to which the schedule has been advanced."""
        return self.pending or self.last_end > now
