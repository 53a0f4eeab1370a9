"""Where tasks run: in this process, in processes of this host, or on a cluster. The results are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from potluck.isa.errors import DataError, ToolError
from potluck.parallel.folder import Record

Chunk = list[int]
Task = Callable[[Chunk], list[Record]]
"""Runs the tasks of a chunk by their ids, and writes their records down; it can be sent to another process."""


class LostWorkers(Exception):
    """Workers died; what they had written down is in their journals."""


class Scheduler(Protocol):
    """Runs chunks of tasks."""

    @property
    def width(self) -> int:
        """Workers."""
        ...

    def run(self, task: Task, chunks: Sequence[Chunk]) -> Iterator[list[Record]]:
        """Records of chunks in any order.

        Raises:
            LostWorkers: some died; the others' records are in the journals, too.
        """
        ...

    def close(self) -> None:
        """Let the workers go."""
        ...


class Here:
    """This process."""

    width = 1

    def run(self, task: Task, chunks: Sequence[Chunk]) -> Iterator[list[Record]]:
        """See `Scheduler.run`."""
        for chunk in chunks:
            yield task(chunk)

    def close(self) -> None:
        """Nothing to let go."""


class Processes:
    """Processes of this host, through joblib.

    Args:
        count: of processes.
    """

    def __init__(self, count: int) -> None:
        self.width = count

    def run(self, task: Task, chunks: Sequence[Chunk]) -> Iterator[list[Record]]:
        """See `Scheduler.run`."""
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import BrokenProcessPool

        jobs = (delayed(task)(chunk) for chunk in chunks)
        pool = Parallel(self.width, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
        try:
            yield from pool(jobs)
        except BrokenProcessPool:
            raise LostWorkers from None

    def close(self) -> None:
        """End the processes."""
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)


class Cluster:
    """Workers of a Dask scheduler, which have to see the folder of the tasks under the same path.

    Args:
        address: such as ``tcp://host:8786``.

    Raises:
        ToolError: the extra ``cluster`` is not installed, nobody answers, or there are no workers.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise ToolError("--scheduler needs dask.distributed", tool="distributed",
                            hint="pip install 'potluck[cluster]'") from None  # fmt: skip
        try:
            self._client = Client(address, timeout=20)
        except (OSError, ValueError) as problem:
            raise ToolError(f"no Dask scheduler answers at {address}: {problem}", tool="distributed",
                            hint="Give the address that dask scheduler prints") from None  # fmt: skip
        try:
            self._client.wait_for_workers(1, timeout=60)
        except TimeoutError:
            self._client.close()
            raise ToolError(f"the Dask scheduler at {address} has no workers", tool="distributed",
                            hint=f"Start some: dask worker {address}") from None  # fmt: skip

    @property
    def width(self) -> int:
        """Workers at this moment."""
        return max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))

    def run(self, task: Task, chunks: Sequence[Chunk]) -> Iterator[list[Record]]:
        """See `Scheduler.run`; chunks of workers that die go to others."""
        from distributed import KilledWorker, as_completed
        from distributed.client import FutureCancelledError

        futures = [self._client.submit(task, chunk, pure=False) for chunk in chunks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except (KilledWorker, FutureCancelledError):
            raise LostWorkers from None
        finally:
            self._client.cancel(futures, force=True)

    def close(self) -> None:
        """Leave the cluster; its workers go on for others."""
        self._client.close()


def scheduler_of(address: str | None, jobs: int) -> Scheduler:
    """The scheduler that a command line asks for.

    Args:
        address: of a Dask scheduler; None: this host.
        jobs: processes on this host; 1: this process alone; -1: one per processor.

    Raises:
        ToolError: see `Cluster`.
        DataError: there is no such number of processes.
    """
    if address is not None:
        return Cluster(address)
    if jobs == 0 or jobs < -1:
        raise DataError(
            f"--jobs {jobs} are no processes", hint="Give a number from 1, or -1 for all processors"
        )
    if jobs == -1:
        from joblib import cpu_count

        jobs = int(cpu_count())
    return Here() if jobs == 1 else Processes(jobs)
