"""Cross products, ranges and what is refused before any work."""

from __future__ import annotations

import itertools

import pytest

from potluck.isa.errors import DataError, MachineError, ModelError
from potluck.isa.machine import load_machine
from potluck.sweeps.area import area_gates
from potluck.sweeps.plan import Plan
from potluck.sweeps.space import axes_of, check, points, value_at, values_of


def test_the_product_is_itertools_and_ids_are_places() -> None:
    axes = {"vector.vlen": ["256", "512"], "dram.kind": ["hbm3", "ddr4", "lpddr5"]}
    made = points(["a", "b"], ["mxfp8", None], axes)
    expected = list(itertools.product(["a", "b"], ["mxfp8", None], *axes.values()))
    assert [(p.machine, p.scheme, *p.settings.values()) for p in made] == expected
    assert [p.id for p in made] == list(range(24)) and all(list(p.settings) == list(axes) for p in made)
    assert [(p.id, p.settings) for p in points([None], [None], {})] == [(0, {})]


@pytest.mark.parametrize(("text", "expected"), [
    ("256,512,1024", ["256", "512", "1024"]), ("hbm3", ["hbm3"]), ("1..4", ["1", "2", "3", "4"]),
    ("128..600..128", ["128", "256", "384", "512"]), ("128..1024..*2", ["128", "256", "512", "1024"]),
    ("0..10..5,7", ["0", "5", "10", "7"]), ("{e64=6,e32=5},3", ["{e64=6,e32=5}", "3"]), ("0.5,1e9", ["0.5", "1e9"]),
])  # fmt: skip
def test_values(text: str, expected: list[str]) -> None:
    assert values_of(text, "k") == expected


@pytest.mark.parametrize(("settings", "message"), [
    (["vector.vlen"], "expected key=value"), (["a=1,,2"], "a value is empty"), (["a="], "a value is empty"),
    (["a=4..1"], "goes up"), (["a=1..4..0"], "goes up"), (["a=1..8..*1"], "goes up"), (["a=0..8..*2"], "goes up"),
    (["a=1", "a=2"], "--set a is given twice"), (["a=1..99999999"], "more than 1,000,000 values"),
])  # fmt: skip
def test_bad_settings(settings: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        axes_of(settings)


def test_twice_and_too_many() -> None:
    with pytest.raises(DataError, match=r"--set k has '2' twice"):
        points(["m"], [None], {"k": ["1", "2", "2"]})
    with pytest.raises(DataError, match="--scheme has 'mxfp8' twice"):
        points(["m"], ["mxfp8", "mxfp8"], {})
    with pytest.raises(DataError, match="are more than 1,000,000"):
        points(["m"], [None], {key: [str(k) for k in range(101)] for key in "abc"})


@pytest.mark.parametrize(("machine", "axes", "message"), [
    ("spatz-mx", {"vector.vlem": ["1"]}, "vector.vlem.*unknown key.*Did you mean 'vector.vlen'"),
    ("spatz-mx", {"dram.kind": ["hbm3", "hbm33"]}, "dram.kind"),
    ("spatz-mx", {"vector.vlen": ["300"]}, "vector.vlen.*not a power of two"),
    ("spatz-my", {}, "no machine 'spatz-my'"),
])  # fmt: skip
def test_refused_before_any_work(machine: str, axes: dict[str, list[str]], message: str) -> None:
    with pytest.raises(MachineError, match=message):
        check([machine], axes)
    with pytest.raises(MachineError, match=message):
        Plan("demo", (machine,), (), {key: tuple(values) for key, values in axes.items()}).check()


def test_values_that_are_wrong_together_only_are_a_points_error() -> None:
    """Eight ports need eight banks: alone each of these values is wrong or right, the machine decides."""
    check(["spatz-mx"], {"memory.l1_banks": ["4", "32"], "vector.ports": ["4", "32"]})


def test_plans() -> None:
    with pytest.raises(ModelError, match="mxfp9"):
        Plan("demo", schemes=("mxfp9",)).check()
    with pytest.raises(DataError, match="no file and no network 'resnet9'"):
        Plan("resnet9").check()
    with pytest.raises(DataError, match="mode 'traced'"):
        Plan("demo", mode="traced").check()
    one, two = Plan("demo", axes={"vector.vlen": ("256",)}), Plan("demo", axes={"vector.vlen": ("512",)})
    assert one.check() == one.check() != two.check()


def test_value_at() -> None:
    machine = load_machine("spatz-mx", {"vector.vlen": "0x100", "timing.integer": "4"})
    assert value_at(machine, "vector.vlen") == 256 and value_at(machine, "timing.integer") == 4
    assert value_at(machine, "dram.kind") == "hbm3" and value_at(machine, "vector.chaining") is True
    assert value_at(machine, "energy.l1.pj") == 0.5
    assert isinstance(value_at(load_machine("ara-like"), "timing.fma"), int | str)


def test_area_by_hand() -> None:
    """spatz-mx: 2 cores of 4 lanes and 32 registers of 512 bits, 128 KiB of L1; numbers of docs/rtl.md."""
    expected = 2 * (4 * (15_352 + 29_222) + 32 * 512 * 4) + 131_072 * 8 * 1.5
    assert area_gates(load_machine("spatz-mx")) == expected
    assert area_gates(load_machine("spatz-mx", {"vector.vlen": 1024})) - expected == 2 * 32 * 512 * 4
    assert area_gates(load_machine("spatz-mx-pot")) > expected + 256 * 996
