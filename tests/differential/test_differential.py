"""A seeded sample of the differential campaign, the whole of it (slow), and the tester itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from potluck.isa.table import TABLE
from potluck.sim.blocks import BlockStore
from tests.differential.campaign import COVERAGE, DIRECTED, Campaign, Size, all_groups
from tests.differential.coverage import markdown, missing
from tests.differential.latitude import LATITUDE
from tests.differential.program import Program, State
from tests.differential.run import Outcome, Pair
from tests.differential.scope import group_of, groups, skipped
from tests.differential.shrink import Shrinker
from tests.reference.spike import needs_spike
from tests.sim.tiers import eager

pytestmark = needs_spike
SAMPLE = Size(programs=2, length=50, runs=25)
ROOT = Path(__file__).parents[2]


def report(campaign: Campaign) -> str:
    return "\n\n".join(finding for tally in campaign.tallies.values() for finding in tally.findings)


@pytest.mark.parametrize("group", [*groups(), *DIRECTED])
def test_a_sample_of_each_group_equals_spike(group: str) -> None:
    campaign = Campaign(7, SAMPLE)
    tally = campaign.run(group, 1, vlens=(512,))
    assert not tally.findings, report(campaign)
    assert tally.instructions > 500


@pytest.mark.parametrize("group", ["V floating point", "V memory", "M"])
def test_loops_of_the_second_tier_equal_spike(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every loop is compiled from its second turn on."""
    eager(monkeypatch)
    stores: list[BlockStore] = []
    made = BlockStore.__init__
    monkeypatch.setattr(
        BlockStore, "__init__", lambda self, *a, **k: (made(self, *a, **k), stores.append(self))[0]
    )
    campaign = Campaign(8, Size(programs=4, length=30, runs=10))
    tally = campaign.run(group, 1, vlens=(512,))
    assert not tally.findings, report(campaign)
    assert sum(store.turns for store in stores) > 20


@pytest.mark.slow
@pytest.mark.parametrize("group", all_groups())
def test_a_million_instructions_of_each_group_equal_spike(group: str) -> None:
    campaign = Campaign(1)
    tally = campaign.run(group, 1_000_000)
    assert not tally.findings, report(campaign)
    if group == COVERAGE:
        assert not missing(campaign)


def test_every_row_is_in_one_group_or_left_out_with_a_reason() -> None:
    found = [insn.mnemonic for rows in groups().values() for insn in rows]
    assert sorted([*found, *skipped()]) == sorted(TABLE)
    assert all(skipped().values())
    assert group_of(TABLE["vadd.vv"]) == "V integer" and group_of(TABLE["vfadd.vv"]) == "V floating point"


class Broken(Pair):
    """A simulator whose ``mulw`` gets the lowest bit wrong for odd factors."""

    def _run_here(self, number: int, state: State) -> Outcome:
        outcome = super()._run_here(number, state)
        for item in self.programs[number].items:
            if (
                item.insn.mnemonic == "mulw"
                and item.fields["rd"]
                and state.x[item.fields["rs1"]] & np.uint64(1)
            ):
                self.hart.state.x[item.fields["rd"]] ^= 1
        return outcome


def programs_of(group: str, count: int) -> list[Program]:
    return list(Campaign(3, replace(SAMPLE, programs=count)).programs(group, 0, 512))


def test_a_wrong_instruction_is_found_and_shrunk() -> None:
    pair = Broken(512, timed=False)
    programs = programs_of("M", 6)
    pair.load(programs)
    failing = next((p, run) for n, p in enumerate(programs) for run in range(8) if pair.compare(n, run))
    shrunk = Shrinker(pair, *failing).shrink()
    assert [item.insn.mnemonic for item in shrunk.program.items] == ["mulw"]
    item = shrunk.program.items[0]
    nonzero = {n for n in np.flatnonzero(shrunk.state.x).tolist() if n == item.fields["rs1"]}
    assert nonzero == {item.fields["rs1"]} and not shrunk.state.v.any() and not shrunk.state.f.any()
    assert "mulw" in str(shrunk) and f"x{item.fields['rd']} = " in str(shrunk)


def test_programs_have_loops_that_turn_as_often_as_they_say() -> None:
    """Spike retires each turn of a loop, nested ones included; both ways back (branch, jump) are drawn."""
    programs = programs_of("V integer", 12) + programs_of("C", 24)
    backward = {item.insn.mnemonic for p in programs for item in p.items if item.back}
    assert {"bne", "jal"} <= backward and backward & {"c.j", "c.bnez"}
    pair = Pair(512)
    pair.load(programs)
    longer = 0
    for number, program in enumerate(programs):
        before = pair.retired
        assert pair.compare(number, 0) is None
        longer += pair.retired - before > len(program.items) + 2
    assert longer > len(programs) // 4


def test_what_only_an_empty_unordered_sum_explains_is_latitude_also_in_a_loop() -> None:
    program = next(p for p in Campaign(1).programs("Zbs", 5, 2048) if p.number == 130)
    pair = Pair(2048, timed=False)
    pair.load([program])
    assert pair.compare(0, 3)
    assert Shrinker(pair, program, 3).shrink().latitude == LATITUDE[1]


def test_a_program_is_a_function_of_its_number() -> None:
    one, two = programs_of("V integer", 3), programs_of("V integer", 3)
    assert [p.encode() for p in one] == [p.encode() for p in two]
    a, b = one[1].state(4), two[1].state(4)
    assert all(np.array_equal(getattr(a, name), getattr(b, name)) for name in State.__dataclass_fields__)
    assert len({p.encode() for p in one}) == 3


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "campaign.json"
    size = Size(programs=1, length=20, runs=2)
    whole = Campaign(5, size)
    whole.run("Zba", 100, vlens=(512,))
    part = Campaign(5, size)
    part.run("Zba", 1, vlens=(512,))
    part.save(path)
    rest = Campaign.load(path)
    rest.run("Zba", 100, vlens=(512,))
    assert (
        rest.tallies == whole.tallies and rest.coverage == whole.coverage and whole.tallies["Zba"].batches > 1
    )


def test_the_coverage_page_shows_what_ran() -> None:
    campaign = Campaign(1)
    campaign.coverage["vadd.vv", 0b000, 0] = 3
    campaign.coverage["vadd.vv", 0b001, 1] = 3
    line = next(line for line in markdown(campaign).splitlines() if line.startswith("| `vadd.vv`"))
    assert line == "| `vadd.vv` | `???um??` | `.??????` | `..?????` | `...????` |"
    assert ("vadd.vv", 0, 1) in missing(campaign) and ("vadd.vv", 0, 0) not in missing(campaign)


def test_every_latitude_is_documented() -> None:
    page = (ROOT / "docs" / "differential.md").read_text()
    assert all(name in page for name in LATITUDE)
