"""QEMU agrees with what Spike leaves behind after whole programs; together with the campaign, three agree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.differential.campaign import Campaign, Size, all_groups
from tests.differential.run import Pair
from tests.differential.scope import groups
from tests.differential.second import Case, SecondOpinion, cases, hash_of
from tests.reference.spike import needs_spike

pytestmark = needs_spike
SAMPLE = Size(programs=6, length=40)
RUNS = 4


@pytest.fixture(scope="module")
def pairs() -> Iterator[dict[int, Pair]]:
    yield {}


def opinions(
    pairs: dict[int, Pair], group: str, batch: int, size: Size, vlen: int, qemu: str, folder: Path
) -> tuple[int, list[str]]:
    """(cases, differences) of one batch."""
    pair = pairs.setdefault(vlen, Pair(vlen))
    pair.place(list(Campaign(11, size).programs(group, batch, vlen)))
    todo = list(cases(pair, size.runs if size is not SAMPLE else RUNS))
    return len(todo), SecondOpinion(qemu, pair, folder).differences(todo)


def test_a_sample_of_every_group_equals_qemu(pairs: dict[int, Pair], qemu: str, tmp_path: Path) -> None:
    total = 0
    for group in groups():
        count, found = opinions(pairs, group, 0, SAMPLE, 512, qemu, tmp_path)
        assert not found, f"{group}: {found[0]}"
        total += count
    assert total > 100


@pytest.mark.slow
@pytest.mark.parametrize("vlen", [128, 256, 512, 1024])
@pytest.mark.parametrize("group", [group for group in all_groups() if "coverage" not in group])
def test_thousands_of_programs_of_each_group_equal_qemu(
    group: str, vlen: int, pairs: dict[int, Pair], qemu: str, tmp_path: Path
) -> None:
    for batch in range(8):
        _, found = opinions(pairs, group, batch, Size(24, 60, 8), vlen, qemu, tmp_path)
        assert not found, found[0]


def test_a_difference_is_told(pairs: dict[int, Pair], qemu: str, tmp_path: Path) -> None:
    pair = pairs.setdefault(512, Pair(512))
    pair.place(list(Campaign(11, SAMPLE).programs("I", 0, 512)))
    first, *rest = list(cases(pair, 1))
    wrong = Case(
        first.program, first.run, first.x ^ np.uint64(2), first.f, first.v, first.csrs, first.memory ^ 1
    )
    (found,) = SecondOpinion(qemu, pair, tmp_path).differences([wrong, *rest])
    assert "x5 = " in found and "memory = " in found and "f0 = " not in found


def test_hash_depends_on_every_word_and_its_place() -> None:
    memory = np.arange(256, dtype=np.uint8)
    swapped = memory.reshape(-1, 8)[::-1].reshape(-1).copy()
    assert len({hash_of(memory), hash_of(swapped), hash_of(memory ^ (memory == 200))}) == 3
