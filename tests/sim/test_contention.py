"""The rate model of bank contention against a cycle-by-cycle simulation of the banks."""

import numpy as np
import pytest

from potluck.sim.timing.contention import SUPERBANK, contention_cycles

BANKS, PORTS = 16, 4


def simulated(load, rng, dma=0.0, steps=4000):
    """Lost cycles of a core that sends PORTS requests to distinct random banks and waits for all answers.

    The other core's requests take each bank with probability ``load``, the DMA one of two superbanks.
    """
    lost = 0
    for _ in range(steps):
        pending = rng.choice(BANKS, PORTS, replace=False)
        while pending.size:
            taken = (rng.random(BANKS) < load) & (rng.random(BANKS) < 0.5)
            if rng.random() < dma:
                half = rng.integers(BANKS // SUPERBANK)
                taken[half * SUPERBANK : (half + 1) * SUPERBANK] = True
            pending = pending[taken[pending]]
            lost += pending.size > 0
    return lost / steps


@pytest.mark.parametrize("words", [0.5, 1.0, 2.0, 4.0])
def test_two_cores_with_random_addresses_lose_what_the_model_says(words):
    steps = 4000
    cycles = np.array([steps, steps])
    model = contention_cycles(cycles, np.array([0, int(words * steps)]), cycles, 0)[0] / steps
    measured = simulated(words / BANKS, np.random.default_rng(7), steps=steps)
    assert model == pytest.approx(measured, rel=0.2)


def test_dma_beats_take_superbanks():
    steps = 4000
    cycles = np.array([steps])
    model = contention_cycles(cycles, np.array([steps * 4]), cycles, steps // 4)[0] / steps
    measured = simulated(0.0, np.random.default_rng(8), dma=0.25, steps=steps)
    # Superbanks delay the four requests of a word together, which the independent model counts apart.
    assert measured <= model <= 2 * measured


def test_nobody_loses_alone_or_without_waiting_for_memory():
    cycles = np.array([1000, 1000])
    assert not contention_cycles(cycles, np.array([4000, 0]), np.array([500, 0]), 0).any()
    assert not contention_cycles(cycles, np.array([4000, 4000]), np.array([0, 0]), 900).any()


def test_loss_is_bounded_by_the_requesters():
    cycles = np.array([10, 10])
    lost = contention_cycles(cycles, np.array([400, 400]), np.array([10, 10]), 10)
    assert (lost <= 20).all() and (lost > 0).all()
