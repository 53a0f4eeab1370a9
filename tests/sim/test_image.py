"""Memory of a large program that is run again: shared pages, and no run sees what another one wrote."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from potluck.isa.elf import Program, Section
from potluck.isa.machine import load_machine
from potluck.sim import image
from potluck.sim.memory import Memory

BASE = 0x8000_0000
MACHINE = load_machine("spatz-mx")


def large(data: bytes) -> Program:
    """A program of one instruction (jal x0, 0) and data a page and some bytes behind it."""
    text = Section(".text", BASE, bytes.fromhex("6f000000"), executable=True, writable=False)
    return Program([text, Section(".data", BASE + 4100, data), Section(".l1", 0x1000_0000, b"abc")], {}, BASE)


@pytest.fixture(autouse=True)
def small_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image for every program."""
    monkeypatch.setattr(image, "WORTH", 1)


def test_every_run_begins_with_the_sections_and_zeros() -> None:
    """Three runs, each of which writes to its memory, and a program changed in between."""
    rng = np.random.default_rng(1)
    data = rng.integers(0, 256, 10_000, np.uint8).tobytes()
    program = large(data)
    for _ in range(3):
        memory = Memory(MACHINE, program)
        expected = np.zeros(20_000, np.uint8)
        expected[:4] = np.frombuffer(bytes.fromhex("6f000000"), np.uint8)
        expected[4100:14_100] = np.frombuffer(data, np.uint8)
        assert np.array_equal(memory.dram[:20_000], expected)
        assert memory.l1[:3].tobytes() == b"abc"
        assert not memory.dram[-4096:].any()
        memory.dram[:20_000] = 7
        memory.dram[-1] = 9
    data = bytes(reversed(data))
    program.sections[1] = replace(program.sections[1], data=data)
    for _ in range(3):
        assert Memory(MACHINE, program).dram[4100:14_100].tobytes() == data


def test_runs_at_the_same_time_do_not_see_each_other() -> None:
    """Writes stay private, also to memory that no section fills."""
    program = large(b"x" * 5000)
    Memory(MACHINE, program)
    one, other = Memory(MACHINE, program), Memory(MACHINE, program)
    one.dram[5000], one.dram[1 << 20] = 1, 2
    assert (other.dram[5000], other.dram[1 << 20]) == (ord("x"), 0)


def test_image_goes_with_the_program() -> None:
    """Nothing is kept for a program that nobody has any more."""
    program = large(b"y" * 5000)
    for _ in range(2):
        Memory(MACHINE, program)
    key = id(program)
    assert key in image._images
    del program
    assert key not in image._images


def test_data_that_can_change_are_copied() -> None:
    """A section whose bytes somebody may still write to."""
    program = large(b"")
    held = bytearray(b"z" * 5000)
    program.sections[1] = replace(program.sections[1], data=held)  # type: ignore[arg-type]
    for value in (1, 2, 3):
        held[0] = value
        assert Memory(MACHINE, program).dram[4100] == value
