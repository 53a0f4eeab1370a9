"""The lock step catches each bug of a list (tests/rtl/mutations/cluster)."""

from __future__ import annotations

from pathlib import Path

import pytest

from potluck.hdl.cluster import ClusterBuild
from potluck.hdl.lockstep import lock_step
from tests.rtl.bench.cluster_programs import PROGRAMS, executable, machine, random_transfers
from tests.rtl.bench.mutants import mutated

pytestmark = [pytest.mark.usefixtures("rtl_tools"), pytest.mark.slow]

PATCHES = sorted((Path(__file__).parent / "mutations" / "cluster").glob("*.patch"))
GAPS = 70


def wrong(build: ClusterBuild) -> str:
    """What a thinned run of the cluster's tests notices; empty if nothing."""
    for name, source in PROGRAMS.items():
        if differs := lock_step(executable(source), build).difference:
            return f"{name}: {differs}"
    for seed in range(3):
        if differs := lock_step(random_transfers(seed, 40), build, gaps=GAPS * (seed % 2)).difference:
            return f"transfers {seed}: {differs}"
    return ""


def test_without_a_bug_nothing_is_noticed() -> None:
    assert wrong(ClusterBuild(machine(), "-O0")) == ""


@pytest.mark.parametrize("patch", PATCHES, ids=lambda p: p.stem)
def test_mutation(patch: Path, tmp_path: Path) -> None:
    build = ClusterBuild(machine(), "-O0", replaced=mutated(patch, tmp_path / "source"))
    assert wrong(build), f"not caught: {patch.read_text().splitlines()[0]}"
