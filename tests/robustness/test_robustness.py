"""A seeded sample of the campaign, and whether the campaign would notice."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from pathlib import Path

import numpy as np
import pytest

from potluck.isa.assembly.assembler import Assembler
from tests.robustness import campaign as c
from tests.robustness.arena import TEXT, Arena, Escape, Setting, State, Stepper, snapshot
from tests.robustness.guard import PAGE, guarded
from tests.robustness.shrink import Shrinker
from tests.robustness.states import image, states

SAMPLE = ["words: scalar memory", "words: noise", "words: code changes", "words: control", "elf: ours", "elf: linux",
          "calls: linux"]  # fmt: skip


@pytest.mark.parametrize("generator", SAMPLE)
def test_nothing_escapes_in_a_sample(generator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c, "PROGRAMS", 6)
    monkeypatch.setattr(c, "STATES", 30)
    monkeypatch.setattr(c, "MUTANTS", 60)
    tally = c.run_batch(7, generator, 0)
    assert not tally.findings
    assert tally.executions == (60 if generator[0] in "ec" and "words" not in generator else 180)


@pytest.mark.slow
@pytest.mark.parametrize("generator", c.GENERATORS)
def test_nothing_escapes(generator: str) -> None:
    campaign = c.Campaign(11)
    while sum(t.executions for t in campaign.tallies.values()) < (
        1000 if "words" not in generator else 40_000
    ):
        campaign.step(generator)
    campaign.child.close()
    assert not campaign.findings


def test_a_campaign_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c, "MUTANTS", 5)
    campaign = c.Campaign(3)
    campaign.step("elf: ours")
    campaign.save(tmp_path / "state.json")
    again = c.Campaign.load(tmp_path / "state.json")
    again.step("elf: ours")
    again.child.close()
    campaign.step("elf: ours")
    campaign.child.close()
    assert again.executions == campaign.executions == 10
    assert again.tallies["elf: ours"].ends == campaign.tallies["elf: ours"].ends


@pytest.mark.parametrize(
    "offset", [100, 100 - PAGE - 1]
)  # the first byte behind, the last before the canaries' page
def test_the_forbidden_pages_are_forbidden(offset: int) -> None:
    child = os.fork()
    if not child:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # not pytest's report
        ctypes.memset(guarded(100).ctypes.data + offset, 1, 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGSEGV


def _arena(text: str, **settings: object) -> tuple[Arena, Stepper, list[State]]:
    a = Assembler()
    a.text(text)
    code = bytes(a.assemble(text_base=TEXT).sections[".text"].data)
    rng = np.random.default_rng(5)
    data = image(rng)
    setting = Setting(**settings)  # type: ignore[arg-type]
    return Arena(setting, code, data), Stepper(setting, code, data), list(states(rng, setting.vlen, 4))


def test_a_damaged_canary_and_a_trap_that_is_not_precise_are_noticed() -> None:
    arena, stepper, initial = _arena("addi x5, x5, 1; addi x6, x6, 1; lw x7, 1(x0); addi x8, x8, 1")
    state = initial[0]
    outcome = arena.run(TEXT, state)
    assert (outcome.kind, outcome.pc, outcome.retired) == ("trap", TEXT + 8, 2)
    end = snapshot(arena)
    stepper.agree(TEXT, state, outcome, end)
    arena.harts[0].state.x[8] += 1  # as if the instruction after it had run
    with pytest.raises(Escape, match=r"x\[8\]"):
        stepper.agree(TEXT, state, outcome, snapshot(arena))
    with pytest.raises(Escape, match="ends otherwise"):
        stepper.agree(TEXT, state, outcome._replace(pc=TEXT + 4), end)
    arena.harts[0].state.raw[-1] ^= 1
    with pytest.raises(Escape, match="behind v31"):
        arena.check()


def test_a_crash_of_the_host_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> c.Tally:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    monkeypatch.setitem(c.RUNNERS, "elf", crash)
    campaign = c.Campaign(1)
    struct.pack_into("<Q", campaign.child._shared, 0, 7999)  # as the batch before left it
    tally = campaign.step("elf: ours")
    assert "the host ended with code -9" in tally.findings[0]
    assert tally.executions == 0


def test_a_failing_execution_shrinks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c, "PROGRAMS", 2)
    monkeypatch.setattr(c, "STATES", 4)
    batch = c.Batch.make(1, "scalar memory", 0)
    shrinker = Shrinker(batch, 5)
    assert shrinker.shrink() == "does not fail again"
    culprit = bytes(batch.text[:2])
    monkeypatch.setattr(
        Shrinker, "_run", lambda self, text, before: 1 // (not text.startswith(culprit) or len(before) < 2)
    )
    shrinker = Shrinker(batch, 5)
    report = shrinker.shrink()
    assert "after 2 executions" in report and shrinker.batch.text.startswith(culprit)
