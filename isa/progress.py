"""How far long work has come, told to whoever listens; without a listener it costs nothing.

Work says what it is (`task`, `steps`); the command line listens and draws (`potluck.terminal`). Nothing that is told
changes a result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar

Tell = Callable[[float, float | None], None]
"""Takes what is done, and what that is of; None: as it was said, or unknown."""
Probe = Callable[[], float]
"""What is done now; may be asked by another thread at any time."""
Item = TypeVar("Item")


class Listener(Protocol):
    """Who draws."""

    def task(self, name: str, total: float | None, probe: Probe | None) -> AbstractContextManager[Tell]:
        """A piece of work, from its beginning to its end."""


_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Whoever tells anything in here tells it to this listener."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _unheard(done: float, total: float | None = None) -> None:
    """Nobody listens."""


@contextmanager
def task(name: str, total: float | None = None, probe: Probe | None = None) -> Iterator[Tell]:
    """A piece of work.

    Args:
        name: what is shown.
        total: how much it is, in any unit; None: unknown.
        probe: says how much is done, if nobody tells it.
    """
    if not _listeners:
        yield _unheard
        return
    with _listeners[-1].task(name, total, probe) as tell:
        yield tell


def steps(items: Collection[Item], name: str) -> Iterator[Item]:
    """Items one by one, each counted when the next is asked for."""
    with task(name, len(items)) as tell:
        for done, item in enumerate(items):
            tell(done, None)
            yield item


@contextmanager
def counted(name: str, total: int) -> Iterator[Callable[[], None]]:
    """A piece of work in steps that call what this gives, one by one."""
    done = 0
    with task(name, total) as tell:

        def step() -> None:
            nonlocal done
            done += 1
            tell(done, None)

        yield step
