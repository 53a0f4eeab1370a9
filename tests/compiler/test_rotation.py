"""Rotary positions are one layer: the bits of the separate operators, on every machine and in all tiles."""

import numpy as np
import pytest
from networks import network
from running import by_reference, by_schedule, by_simulator, feeds, same_bits, with_l1

from potluck.compiler import build as building
from potluck.compiler.build import build, prepare
from potluck.compiler.lowering.rotation import RotateTile
from potluck.compiler.schedule.file import parse
from potluck.isa.errors import ModelError
from potluck.isa.machine import load_machine

MACHINE = load_machine("spatz-mx")
ROTATE = """g (float[{x}] x, float[{table}] c, float[{table}] s) => (float[{x}] y{more}) {{
    a = Slice (x, {first}, axis)
    b = Slice (x, {second}, axis)
    n = Neg (b)
    t = Concat <axis = {concat}> (n, a)
    u = Mul ({straight})
    v = Mul ({across})
    y = Add ({sum}) }}"""
PLAIN = {
    "first": "zero, half", "second": "half, all", "concat": "-1", "straight": "x, c", "across": "t, s", "sum": "u, v",
    "more": "",
}  # fmt: skip


def source(shape, table, **other):
    width = shape[-1]
    text = ROTATE.format(x=",".join(map(str, shape)), table=",".join(map(str, table)), **(PLAIN | other))
    places = {"zero": [0], "half": [width // 2], "all": [width], "back": [-(width // 2)], "far": [1 << 40]}
    return network(text, integers=places | {"axis": [-1], "two": [2], "other": [0]})


def rotations(schedule):
    return [op for op in schedule.ops if isinstance(op.kernel, RotateTile)]


CASES = {
    "a token": ((1, 3, 3, 1, 64), (1, 64), {}),
    "one row": ((1, 6), (1, 6), {}),
    "a vector": ((10,), (10,), {"concat": "0"}),
    "longer than a strip": ((5, 142), (1, 142), {}),
    "other spellings": (
        (1, 7, 1, 24), (1, 1, 1, 24),
        {"straight": "c, x", "across": "s, t", "sum": "v, u", "second": "back, far", "concat": "3"},
    ),
    "a text": ((2, 3, 37, 32), (37, 32), {}),
    "long rows of a text": ((4, 9, 80), (1, 9, 80), {}),
    "many rows": ((1, 4, 300, 64), (300, 64), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cores", [1, 2, 3, 4])
def test_bits(name, cores, monkeypatch):
    shape, table, other = CASES[name]
    machine = load_machine("spatz-mx", {"cluster.cores": cores})
    model = source(shape, table, **other)
    schedule = build(prepare(model), machine)
    assert len(schedule.ops) == 1 and len(rotations(schedule)) == 1
    inputs = feeds(schedule)
    for values in inputs.values():
        values.reshape(-1)[: min(5, values.size)] = np.float32([np.inf, -0.0, np.nan, 1e-40, -np.inf])[
            : values.size
        ]
    outputs = by_schedule(schedule, inputs)
    assert same_bits(by_simulator(schedule, inputs), outputs)
    with np.errstate(all="ignore"):
        for got, expected in zip(outputs, by_reference(schedule, inputs), strict=True):
            np.testing.assert_array_equal(got, expected)
    monkeypatch.setattr(building, "rotated", lambda model: model)
    apart = build(prepare(model), machine)
    assert len(apart.ops) > 1 and not rotations(apart)
    assert same_bits(by_schedule(apart, inputs), outputs)


def test_other_machines():
    """Small L1, and one without."""
    shape, table, _ = CASES["a text"]
    model = source(shape, table)
    schedule = build(prepare(model), MACHINE)
    inputs = feeds(schedule)
    expected = by_schedule(schedule, inputs)
    small = build(prepare(model), with_l1(MACHINE, 1 << 15))
    assert same_bits(by_simulator(small, inputs), expected)
    flat = build(prepare(model), load_machine("rvv-generic"))
    assert rotations(flat) and same_bits(by_simulator(flat, inputs), expected)


def test_tiles_of_a_schedule_file():
    shape, table, _ = CASES["a text"]
    model = source(shape, table)
    schedule = build(prepare(model), MACHINE)
    inputs = feeds(schedule)
    expected = by_schedule(schedule, inputs)
    name = schedule.ops[0].name
    for rows in (1, 5, 37):
        edits = parse(f'version = 1\n[[layer]]\nname = "{name}"\nrows = {rows}\n')
        other = build(prepare(model), MACHINE, edits=edits)
        assert len(other.ops[0].tiles) == 6 * -(-37 // rows)
        assert same_bits(by_simulator(other, inputs), expected)
    with pytest.raises(ModelError, match="rows"):
        build(prepare(model), MACHINE, edits=parse(f'version = 1\n[[layer]]\nname = "{name}"\nrows = 38\n'))


def test_angles_come_once():
    shape, table, _ = CASES["many rows"]
    (op,) = build(prepare(source(shape, table)), MACHINE).ops
    assert op.bytes_moved == 2 * 4 * np.prod(shape) + 2 * 4 * np.prod(table)


@pytest.mark.parametrize(
    "other",
    [
        {"first": "half, all", "second": "zero, half"},  # the other way round
        {"second": "half, half"},
        {"straight": "t, c"},
        {"sum": "u, u"},
        {"sum": "v, v"},
        {"second": "two, all"},
        {"more": ", float[3, 1, 8] t"},  # the turned halves are an output
        {"across": "t, t"},
    ],
)  # fmt: skip
def test_what_is_something_else(other):
    if other.get("second") in ("half, half", "two, all"):  # other lengths: of a shape that the checker takes
        other = other | {"first": {"half, half": "zero, all", "two, all": "zero, two"}[other["second"]]}
    model = source((3, 1, 8), (1, 8), **other)
    schedule = build(prepare(model), MACHINE)
    assert not rotations(schedule)


def test_tables_that_vary_elsewhere():
    """A row of angles for each head is another rotation."""
    schedule = build(prepare(source((3, 2, 8), (3, 1, 8))), MACHINE)
    assert not rotations(schedule)
