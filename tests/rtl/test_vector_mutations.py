"""The checks of the vector lane catch each bug of a list (tests/rtl/mutations/vector).

Bugs of different datapaths are built together, each caught by the instructions of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from potluck.isa.verilog.vector import CODES
from tests.rtl.bench.mutants import mutated
from tests.rtl.bench.vector_checks import ROWS, sample, unit_of, wrong_together
from tests.rtl.bench.vector_lanes import Lane

pytestmark = pytest.mark.usefixtures("rtl_tools")

PATCHES = sorted((Path(__file__).parent / "mutations" / "vector").glob("*.patch"))
ALL = tuple(CODES)
DATAPATHS = {
    "vector_alu": ("integer",), "vector_shifter": ("integer",), "vector_clip": ("integer",),
    "vector_adder": ("integer", "multiply"), "vector_product": ("multiply",), "vector_multiplier": ("multiply",),
    "vector_fma": ("fma",), "vector_fma_slice": ("fma",), "fma_sum": ("fma",), "vector_convert": ("convert",),
    "vector_convert_slice": ("convert",), "vector_noncomp_slice": ("noncomp",), "vector_estimate": ("noncomp",),
    "vector_divider": ("divide", "float_divide"), "vector_divide_element": ("divide", "float_divide"),
    "vector_unpack": ("convert", "fma", "noncomp", "float_divide", "divide"),
    "vector_round": ("convert", "fma", "float_divide", "divide"), "vector_pkg": ALL, "vector_lane": ALL,
}  # fmt: skip
"""Where the bugs of a file show."""


def target(patch: Path) -> str:
    """The unit that a patch changes."""
    return next(Path(line[6:]).stem for line in patch.read_text().splitlines() if line.startswith("+++ b/"))


def together(patches: list[Path]) -> list[list[Path]]:
    """Groups of which no two bugs share a datapath."""
    groups: list[list[Path]] = []
    for patch in patches:
        mine = set(DATAPATHS[target(patch)])
        for group in groups:
            if not any(mine & set(DATAPATHS[target(other)]) for other in group):
                group.append(patch)
                break
        else:
            groups.append([patch])
    return groups


GROUPS = together(PATCHES)


def caught(lane: Lane, units: tuple[str, ...]) -> str:
    """What a thinned run of the instructions of datapaths notices, or of all together; empty if nothing."""
    try:
        for unit in units:
            if found := sample(lane, [insn for insn in ROWS if unit_of(insn) == unit], 128, 4):
                return found
        return wrong_together(lane, 2_000) if units == ALL else ""
    except AssertionError as error:  # operations lost, a result that is not zero above its elements
        return str(error)


def check(group: list[Path], folder: Path) -> None:
    replaced: Mapping[str, Path] = {}
    for patch in group:
        replaced = {**replaced, **mutated(patch, folder / patch.stem)}
    lane = Lane({}, "-O0", replaced)
    missed = [patch.stem for patch in group if not caught(lane, DATAPATHS[target(patch)])]
    assert not missed, f"not caught: {missed}"


def test_the_list_is_long_enough() -> None:
    assert len(PATCHES) >= 20
    assert {target(patch) for patch in PATCHES} <= DATAPATHS.keys()


@pytest.mark.slow
def test_without_a_bug_nothing_is_noticed() -> None:
    assert caught(Lane({}, "-O0"), ALL) == ""


def test_sample_of_mutations(tmp_path: Path) -> None:
    check(max(GROUPS, key=len), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: "+".join(patch.stem for patch in group))
def test_mutations(group: list[Path], tmp_path: Path) -> None:
    check(group, tmp_path)
