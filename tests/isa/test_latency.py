"""Latencies in machine files: what a formula may say, and that an error names the key."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from potluck.isa.errors import MachineError
from potluck.isa.latency import NAMES, Formula, parse
from potluck.isa.machine import Machine, load_machine

VALUES = {
    "sew": 32,
    "width": 64,
    "lmul": Fraction(1, 2),
    "vlmax": 64,
    "vlen": 4096,
    "lanes": 4,
    "ports": 2,
    "nf": 3,
}


def test_every_name_has_a_value_here():
    assert set(VALUES) == set(NAMES)


@pytest.mark.parametrize(
    ("source", "expected"),
    [("width + 2", 66), ("5 * log2(lanes) + 4 * log2(64 // width)", 10), ("3 if sew == 32 else 7", 3),
     ("max(4, nf, ports)", 4), ("lmul * 3", 2), ("log2(width - 31)", 6), ("vlmax % 60 - 1", 3), ("min(lanes, 9)", 4)],
)  # fmt: skip
def test_formulas(source, expected):
    assert parse(source).at(VALUES, "timing.fma") == expected


def test_constants_become_numbers():
    assert parse("2 * 3 + log2(8)") == 9
    assert load_machine("spatz-mx", {"timing.fma": "4"}).timing.fma == 4


@pytest.mark.parametrize(("width", "expected"), [(4, 3), (8, 3), (16, 4), (32, 5), (64, 6)])
def test_table_by_width(width, expected):
    table = parse({"e8": 3, "e16": 4, "e32": 5, "e64": 6})
    assert table.at({"width": width}, "timing.fma") == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [("vlm + 1", "unknown name 'vlm'"), ("vl // lanes", "known only at run time"),
     ("__import__('os')", "functions are"),
     ("(1).real", "Attribute"), ("lanes ** 9", "Pow"), ("lanes +", "not an expression"),
     ("1.5 * lanes", "whole numbers"),
     ("max + lanes", "max is a function"), ("log2(lanes, 2)", "one argument"), ({"e8": 1}, "e8, e16, e32 and e64"),
     ({"e8": 0, "e16": 1, "e32": 1, "e64": 1}, "1 to 10000"), ("0", "not between 1 and"), (True, "no latency"),
     ("1 // 0", "divides by zero"), ("[lanes]", "List")],
)  # fmt: skip
def test_what_is_no_latency_names_its_key(value, said):
    with pytest.raises(MachineError) as error:
        load_machine("spatz-mx", {"timing.fma": value})
    assert "timing.fma" in str(error.value) and said in str(error.value)


def test_division_by_zero_names_the_key():
    with pytest.raises(MachineError, match=r"timing\.fma"):
        Formula("8 // (lanes - 4)").at(VALUES, "timing.fma")


def test_a_machine_survives_its_own_json():
    machine = load_machine("ara-like")
    assert Machine.model_validate(json.loads(machine.model_dump_json())).model_dump() == machine.model_dump()
