"""Small layers in a row keep what they compute in L1: the same bits, and no transfer of what was just computed."""

import dataclasses
import re

import numpy as np
import pytest
from networks import network
from running import by_reference, by_schedule, by_simulator, feeds, late_transfers, same_bits, with_l1

from potluck.compiler import build as building
from potluck.compiler.build import build, prepare
from potluck.compiler.compile import generate
from potluck.isa.machine import load_machine
from potluck.kernels.matmul.stream import MxStream
from potluck.zoo import llama

MACHINE = load_machine("spatz-mx")
NORM = """g (float[{rows}, {width}] x, float[{rows}, {width}] z)
      => (float[{rows}, {width}] y, float[{rows}, {width}] r) {{
    r = Add (x, z)
    a = Mul (r, r)
    axis = Constant <value_ints = [-1]> ()
    m = ReduceMean (a, axis)
    e = Constant <value_float = 0.00001> ()
    s = Add (m, e)
    q = Sqrt (s)
    n = Div (r, q)
    y = Mul (n, w) }}"""
SOFT = """g (float[6, 40] x) => (float[6, 40] y) {
    a = Softmax (x)
    b = Transpose <perm = [1, 0]> (a)
    c = Softmax (b)
    d = Transpose <perm = [1, 0]> (c)
    y = Softmax (d) }"""
GATED = """g (float[1, 96] x) => (float[1, 64] y) {
    a = MatMul (x, v)
    s = Sigmoid (a)
    b = Mul (a, s)
    y = MatMul (b, w) }"""
PARTS = """g (float[4, 32] x, float[1, 32] z) => (float[4, 32] y) {
    a = Softmax (x)
    b = ReduceMax <keepdims = 1> (a, first)
    c = Mul (b, z)
    d = Softmax (c)
    y = Mul (a, d) }"""
CASES = {
    "a norm": (NORM.format(rows=1, width=576), {"w": (576,)}, None, {}),
    "a wide norm": (NORM.format(rows=1, width=1500), {"w": (1500,)}, None, {}),
    "a norm of odd rows": (NORM.format(rows=3, width=77), {"w": (77,)}, None, {}),
    "quantization": (GATED, {"v": (96, 320), "w": (320, 64)}, "mxfp8", {}),
    "moves between": (SOFT, {}, None, {}),
    "an operand from before": (PARTS, {}, None, {"first": [0]}),
}


def made(name, machine=MACHINE):
    text, shapes, scheme, integers = CASES[name]
    return build(prepare(network(text, integers=integers, **shapes), scheme), machine)


def apart(monkeypatch):
    """Every layer alone."""
    monkeypatch.setattr(
        building, "lowered",
        lambda plans, target: [
            plan.lower(dataclasses.replace(target, downward=bool(i % 2))) for i, plan in enumerate(plans)
        ],
    )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cores", [1, 2, 3])
def test_bits_and_transfers(name, cores, monkeypatch):
    machine = load_machine("spatz-mx", {"cluster.cores": cores})
    schedule = made(name, machine)
    chained = [op for op in schedule.ops if op.joined]
    assert bool(chained) == (name != "moves between")
    inputs = feeds(schedule)
    outputs = by_schedule(schedule, inputs)
    assert same_bits(by_simulator(schedule, inputs, timed=True), outputs)
    assert same_bits(by_schedule(schedule, inputs, run=late_transfers), outputs)
    for op in chained:
        assert not op.setup and not op.tiles[0].loads
    apart(monkeypatch)
    other = made(name, machine)
    assert not any(op.chained for op in other.ops)
    assert same_bits(by_schedule(other, inputs), outputs)
    assert sum(op.bytes_moved for op in schedule.ops) <= sum(op.bytes_moved for op in other.ops)


@pytest.mark.parametrize("name", ["a norm", "a norm of odd rows", "an operand from before"])
def test_values(name):
    schedule = made(name)
    inputs = feeds(schedule)
    for got, expected in zip(by_schedule(schedule, inputs), by_reference(schedule, inputs), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


ROTATION = """g (float[1, 3, 1, 32] x, float[1, 3, 1, 32] z) => (float[1, 3, 1, 32] y, float[1, 3, 1, 48] r) {
    n = Mul (x, z)
    a = Slice (n, zero, half, axis)
    b = Slice (n, half, all, axis)
    c = Neg (b)
    t = Concat <axis = -1> (c, a)
    u = Mul (t, z)
    y = Add (u, n)
    r = Concat <axis = -1> (y, b) }"""


def test_moves_are_waited_for_by_their_readers(monkeypatch):
    """Layers that are a few transfers stand in the code without a wait, also the network's first and last."""
    integers = {"zero": [0], "half": [16], "all": [32], "axis": [-1]}
    schedule = build(prepare(network(ROTATION, integers=integers)), MACHINE)
    moves = [op for op in schedule.ops if op.kernel is None]
    assert len(moves) > 2 and all(op.bare for op in moves) and schedule.ops[-1].bare
    inputs = feeds(schedule)
    expected = by_schedule(schedule, inputs)
    assert same_bits(expected, by_reference(schedule, inputs))
    assert same_bits(by_simulator(schedule, inputs, timed=True), expected)
    waits = len(re.findall(r"\bwfi\b", generate(schedule).disassemble()))
    monkeypatch.setattr("potluck.compiler.schedule.layer.MOST_BARE", 0)
    apart = build(prepare(network(ROTATION, integers=integers)), MACHINE)
    assert not any(op.bare for op in apart.ops)
    assert same_bits(by_simulator(apart, inputs), expected)
    assert len(re.findall(r"\bwfi\b", generate(apart).disassemble())) == waits + len(moves)


def test_one_chain_of_a_norm():
    schedule = made("a norm")
    assert [op.joined for op in schedule.ops] == [False] + [True] * (len(schedule.ops) - 1)
    assert not schedule.ops[-1].continued and all(op.continued for op in schedule.ops[:-1])
    loaded = sum(item.bytes for item in (*schedule.ops[0].setup, *schedule.ops[0].tiles[0].loads))
    assert loaded == 3 * 4 * 576  # both inputs and the weights; epsilon is part of the code


def test_arguments_point_to_the_originals():
    """Elsewhere there are other values."""
    schedule = made("a norm")
    inputs = feeds(schedule)
    expected = by_schedule(schedule, inputs)
    op = schedule.ops[-1]
    low, high = op.footprint[-1]  # an original that it reads
    (tile,) = op.tiles
    words = {word for args in tile.args for word in args if low <= word < high}
    assert words
    wrong = tuple(tuple(word + 64 if word in words else word for word in args) for args in tile.args)
    ops = (*schedule.ops[:-1], dataclasses.replace(op, tiles=(dataclasses.replace(tile, args=wrong),)))
    assert not same_bits(by_schedule(dataclasses.replace(schedule, ops=ops), inputs), expected)


def test_l1_is_the_limit():
    """A chain ends where its layers no longer fit next to each other."""
    name = "a wide norm"
    free = MACHINE.memory.l1_bytes
    sizes = []
    for l1 in (free, 1 << 15):
        machine = with_l1(MACHINE, l1)
        schedule = made(name, machine)
        inputs = feeds(schedule)
        assert same_bits(by_simulator(schedule, inputs), by_schedule(schedule, inputs))
        ends = [high for op in schedule.ops for _, high in op.footprint]
        assert max(ends) <= machine.memory.l1_base + l1
        sizes.append(sum(op.joined for op in schedule.ops))
    assert sizes[0] > sizes[1]


DECODERS = {
    "a narrow one": (llama.Config(2, 192, 6, 2, 384, 192, 1e4, 1e-5), 9, 2),
    "heads of another width": (llama.Config(2, 96, 2, 1, 288, 384, 1e4, 1e-5, 96), 40, 2),
    "one core": (llama.Config(1, 96, 3, 3, 192, 96, 1e4, 1e-5), 17, 1),
    "three cores": (llama.Config(2, 288, 3, 1, 576, 288, 1e4, 1e-5), 5, 3),
    "four cores": (llama.Config(2, 256, 4, 2, 512, 256, 1e4, 1e-5), 30, 4),
}


def decoder(name, l1=None):
    config, past, cores = DECODERS[name]
    machine = load_machine("spatz-mx", {"cluster.cores": cores})
    source = llama.build(llama.Seeded(config), 1, past)
    schedule = build(prepare(source, "mxfp8"), machine if l1 is None else with_l1(machine, l1))
    inputs = feeds(schedule)
    return schedule, inputs | {"tokens": np.array([[7]]), "position": np.array([past - 2])}


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("l1", [None, 3 << 14])
def test_a_decoder_in_chains(name, l1, monkeypatch):
    """Streams take their rows from L1, and what follows takes their sums there; no transfer is in anybody's way."""
    schedule, inputs = decoder(name, l1)
    streams = [op for op in schedule.ops if isinstance(op.loop, MxStream)]
    if l1 is None:
        assert sum(op.joined for op in streams) > 2
        behind = [schedule.ops[index + 1] for index, op in enumerate(schedule.ops[:-1]) if op in streams]
        assert any(op.joined for op in behind)
    outputs = by_schedule(schedule, inputs)
    assert same_bits(by_schedule(schedule, inputs, run=late_transfers), outputs)
    assert same_bits(by_simulator(schedule, inputs, timed=True), outputs)
    apart(monkeypatch)
    other, _ = decoder(name, l1)
    assert same_bits(by_schedule(other, inputs), outputs)
    moved = [sum(op.bytes_moved for op in each.ops) for each in (schedule, other)]
    assert moved[0] <= moved[1]


def test_late_transfers_show_who_does_not_wait():
    """A wait that is missing in front of a chain is noticed."""
    schedule = made("a norm")
    inputs = feeds(schedule)
    expected = by_schedule(schedule, inputs)
    first, *others = schedule.ops
    wrong = dataclasses.replace(schedule, ops=(dataclasses.replace(first, joined=True), *others))
    assert same_bits(by_schedule(wrong, inputs), expected)
    assert not same_bits(by_schedule(wrong, inputs, run=late_transfers), expected)
