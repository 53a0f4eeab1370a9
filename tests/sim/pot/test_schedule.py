"""When commands run: engines keep their order, slots order engines, a fence orders all."""

from __future__ import annotations

import numpy as np
from pot_layers import INPUT, OUTPUT, QUEUE

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.machine import load_machine
from potluck.isa.pot.command import Command, encode
from potluck.sim.dma import Dma
from potluck.sim.memory import Memory
from potluck.sim.pot.accelerator import accelerator_of
from potluck.sim.pot.schedule import Engine, Work

MACHINE = load_machine("spatz-mx-pot", {"dram.kind": "simple"})
STEP = 16  # pot.engine.command_cycles
ENGINES = {Command.LOAD_INPUTS: Engine.LOAD, Command.LOAD_WEIGHTS: Engine.LOAD, Command.COMPUTE: Engine.COMPUTE,
           Command.STORE: Engine.STORE}  # fmt: skip


def run(*commands: np.ndarray) -> list[Work]:
    """The work that each command became, timed; a fence becomes none."""
    assembler = Assembler()
    assembler.text(".text\n.globl _start\n_start: j _start\n")
    memory = Memory(MACHINE, assembler.assemble().program(None))
    words = np.stack(commands)
    words[-1, 0] |= 1 << 8
    memory.view(QUEUE, words.nbytes)[:] = words.view(np.uint8).ravel()
    pot = accelerator_of(MACHINE, memory, Dma(MACHINE, memory), True)
    assert pot is not None
    made: list[Work] = []
    add = pot.schedule.add

    def keep(work: Work) -> None:
        made.append(work)
        add(work)

    pot.schedule.add = keep  # type: ignore[method-assign]
    pot.store(0, QUEUE, 0, 0)
    pot.store(8, len(words), 0, 0)
    pot.finish()
    assert pot.status == 0 and all(work.end > work.begin >= 0 for work in made)
    return made


def inputs(slot: int, size: int = 4096) -> np.ndarray:
    return encode(Command.LOAD_INPUTS, slot=slot, address=INPUT, rows=1, row_bytes=size)


def weights(slot: int) -> np.ndarray:
    return encode(Command.LOAD_WEIGHTS, slot=slot, address=INPUT, blocks=4, lines=16)


def compute(slot: int, out: int) -> np.ndarray:
    return encode(Command.COMPUTE, inputs=slot, weights=slot, outputs=out, height=64, width=1, channels=64, filters=16,
                  out_height=64, high=1, first=1, final=1)  # fmt: skip


def store(slot: int) -> np.ndarray:
    return encode(Command.STORE, slot=slot, address=OUTPUT, rows=1, row_bytes=1024)


def test_a_computation_waits_for_its_loads_and_a_store_for_its_computation() -> None:
    a, b, c, d = run(inputs(0), weights(0), compute(0, 0), store(0))
    assert a.begin == STEP and b.begin == 2 * STEP
    assert c.begin == max(a.end, b.end)
    assert d.begin == c.end


def test_the_other_slot_is_loaded_during_a_computation() -> None:
    *_, last, first, other, _, second = run(
        inputs(0), weights(0), weights(1), compute(0, 0), inputs(1), store(0), compute(1, 1)
    )
    assert last.end <= first.end
    assert other.begin < first.end
    assert second.begin == max(first.end, other.end)


def test_a_slot_in_use_is_not_loaded() -> None:
    _, _, first, again = run(inputs(0), weights(0), compute(0, 0), inputs(0))
    assert again.begin == first.end


def test_an_output_slot_is_stored_before_it_is_written_again() -> None:
    _, _, first, saved, second, _ = run(
        inputs(0), weights(0), compute(0, 0), store(0), compute(0, 0), store(0)
    )
    assert saved.begin == first.end
    assert second.begin == saved.end
    _, _, first, saved, second, _ = run(
        inputs(0), weights(0), compute(0, 0), store(0), compute(0, 1), store(1)
    )
    assert second.begin == first.end < saved.end


def test_a_fence_lets_nothing_pass() -> None:
    *_, saved, later = run(inputs(0), weights(0), compute(0, 0), store(0), encode(Command.FENCE), inputs(1))
    assert later.begin == saved.end
    *_, saved, later = run(inputs(0), weights(0), compute(0, 0), store(0), inputs(1))
    assert later.begin < saved.begin
