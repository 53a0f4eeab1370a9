"""Flips in registers: from checkpoints as from the start, exactly one bit, before the instruction that is meant."""

from __future__ import annotations

import numpy as np
import pytest

from potluck.isa.errors import DataError, EndlessError, ExitError, TrapError
from potluck.sim.checkpoints.pages import PageStore
from potluck.sim.checkpoints.runs import FaultyRuns
from potluck.sim.checkpoints.stage import Stage
from potluck.sim.checkpoints.upset import SITES, Upset
from tests.sim.checkpoints.test_replay import SAMPLES, _bytes, network, runs_of


def drawn(runs: FaultyRuns, sample: int, site: str, rng: np.random.Generator) -> Upset:
    counts = runs.golden(sample).by_hart
    hart = int(rng.integers(len(counts)))
    return Upset(hart, int(rng.integers(counts[hart])), site, int(rng.integers(1 << 62)))


def whole(runs: FaultyRuns, sample: int, upset: Upset) -> object:
    try:
        return _bytes(runs.upset_from_the_start(sample, upset).outputs())
    except (TrapError, ExitError, EndlessError) as error:
        return type(error)


@pytest.mark.parametrize("scheme", ["int8", "mxfp8"])
@pytest.mark.parametrize("site", SITES)
def test_flips_end_as_they_do_from_the_start(scheme: str, site: str) -> None:
    if (scheme, site) == ("int8", "scale"):
        pytest.skip("no VMXDOTP in it")
    runs, rng = runs_of(scheme), np.random.Generator(np.random.Philox(20 + len(site)))
    runs.replay.looks.first = 1 << 30
    changed = 0
    for number in range(24):
        sample = number % SAMPLES
        upset = drawn(runs, sample, site, rng)
        try:
            found: object = _bytes(runs.upset(sample, upset))
        except (TrapError, ExitError, EndlessError) as error:
            found = type(error)
        assert found == whole(runs, sample, upset)
        changed += found != _bytes(runs.golden(sample).outputs)
    assert changed or site == "float"


def test_one_bit_before_the_instruction_that_is_meant() -> None:
    """Two runs to the flip, one of them without it: the same instructions, and registers that differ in one bit."""
    runs, rng = runs_of("mxfp8"), np.random.Generator(np.random.Philox(1))
    target, exact = network("mxfp8"), 0
    for number in range(12):
        upset = drawn(runs, 0, SITES[number % 4], rng)
        states = []
        for _ in range(2):
            stage = Stage(target.program, target.machine, PageStore(), free=True)
            stage.enter({name: value[:1] for name, value in target.inputs.items()})
            states.append(_stopped(stage, upset, flip=not states))
        (first, struck), (second, _) = states
        done, raw = first
        assert done >= upset.instruction and done == second[0]
        exact += done == upset.instruction
        assert np.unpackbits(raw ^ second[1]).sum() == 1
        assert (
            struck.register[0] in {"vector": "v", "float": "f", "accumulator": "v", "scale": "vf"}[upset.site]
        )
        if upset.site in ("accumulator", "scale"):
            assert "macc" in struck.mnemonic or struck.mnemonic.startswith("vmxdotp")
    assert exact >= 4  # of the six that need no instruction of a kind


def _stopped(stage: Stage, upset: Upset, flip: bool):
    """Instructions and registers at the moment of the flip."""
    from potluck.sim.checkpoints import upset as module

    found = {}
    strike = module._strike

    def caught(hart, one, block):
        before = hart.state.raw[stage.kept].copy()
        struck = strike(hart, one, block)
        after = hart.state.raw[stage.kept].copy()
        found["at"] = (hart.instructions, after if flip else before), struck
        return struck

    module._strike = caught
    try:
        stage.upset(upset)
        while stage.advance():
            pass
    except (TrapError, ExitError, EndlessError):
        pass
    finally:
        module._strike = strike
    return found["at"]


def test_sites_are_known() -> None:
    with pytest.raises(DataError, match="accumulator"):
        Upset(0, 1, "cache", 0)  # type: ignore[arg-type]
