"""Driving and watching valid/ready ports in cocotb, with gaps and back-pressure to order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge

Pace = Callable[[], int]  # idle cycles before the next item


def always() -> int:
    """No idle cycle."""
    return 0


def random_pace(rng: np.random.Generator, busy: float, longest: int = 8) -> Pace:
    """Idle with probability 1 - ``busy``, for 1 to ``longest`` cycles."""
    return lambda: 0 if rng.random() < busy else int(rng.integers(1, longest + 1))


async def start(dut: Any, inputs: Iterable[str]) -> None:
    """Clock and reset."""
    for name in inputs:
        getattr(dut, name).value = 0
    dut.rst_ni.value = 0
    Clock(dut.clk_i, 2, unit="ns").start()
    for _ in range(3):
        await FallingEdge(dut.clk_i)
    dut.rst_ni.value = 1


async def drive(dut: Any, items: Iterator[dict[str, int]], pace: Pace, cycle: Callable[[], int]) -> list[int]:
    """Offer items in order; returns the cycle in which each was accepted."""
    accepted = []
    for item in items:
        for _ in range(pace()):
            dut.valid_i.value = 0
            await FallingEdge(dut.clk_i)
        dut.valid_i.value = 1
        for name, value in item.items():
            getattr(dut, name).value = value
        while True:
            await ReadOnly()
            taken = bool(dut.ready_o.value)
            now = cycle()
            await FallingEdge(dut.clk_i)
            if taken:
                accepted.append(now)
                break
    dut.valid_i.value = 0
    return accepted


async def collect(
    dut: Any, outputs: list[str], count: int, pace: Pace, cycle: Callable[[], int], timeout: int
) -> list[tuple[int, dict[str, int]]]:
    """Take ``count`` items: the cycle in which each was there to take, and its fields."""
    found: list[tuple[int, dict[str, int]]] = []
    deadline = cycle() + timeout
    wait = pace()
    while len(found) < count:
        dut.ready_i.value = int(wait == 0)
        await ReadOnly()
        if dut.valid_o.value and wait == 0:
            found.append((cycle(), {name: int(getattr(dut, name).value) for name in outputs}))
            wait = pace()
        elif wait:
            wait -= 1
        assert cycle() < deadline, f"only {len(found)} of {count} items after {timeout} cycles"
        await FallingEdge(dut.clk_i)
    dut.ready_i.value = 0
    return found


class Cycles:
    """Counts rising clock edges."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    async def run(self, dut: Any) -> None:
        while True:
            await RisingEdge(dut.clk_i)
            self.now += 1
