"""Attention of few queries is one layer: onnxruntime's values, the same bits on every machine and in all tiles."""

import pytest
from attentions import Case, attentions, compared, decoder, seeded
from running import by_schedule, by_simulator, same_bits, with_l1

from potluck.compiler import build as building
from potluck.compiler.build import build, prepare
from potluck.compiler.schedule.file import parse
from potluck.isa.errors import ModelError
from potluck.isa.machine import load_machine

MACHINE = load_machine("spatz-mx")
LONG = 128
"""Length of a contraction that plain products of two tensors divide, which adds in another order."""


CASES = {
    "one key": Case(),
    "a cache of one": Case(groups=2, past=1, depth=5, width=3, mask="row"),
    "heads of their own": Case(groups=5, past=37, depth=20, width=20),
    "shared by broadcasting": Case(groups=3, share=3, past=128, depth=64, width=64, mask="row"),
    "shared by repetition": Case(
        batch=2, groups=2, share=4, past=30, depth=16, width=16, mask="row", repeat=True
    ),
    "more rows than registers": Case(groups=2, share=7, past=66, depth=33, width=31, mask="vector"),
    "several tokens": Case(groups=2, share=2, tokens=3, past=21, new=3, depth=12, width=10, mask="matrix"),
    "a long cache": Case(groups=2, share=3, past=300, depth=80, width=80, mask="row", present=True),
    "present is an output": Case(batch=3, groups=1, share=2, past=9, depth=24, width=24, present=True),
    "wide": Case(share=9, past=12, depth=1, width=200, scale="Div"),
    "no scale": Case(groups=2, share=5, new=70, depth=3, width=1, scale=""),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_bits(name, monkeypatch):
    source = decoder(CASES[name])
    schedule = build(prepare(source), MACHINE)
    assert len(attentions(schedule)) == 1
    inputs = seeded(schedule)
    outputs = compared(source, schedule, inputs)
    monkeypatch.setattr(building, "fused", lambda model, target: model)
    apart = build(prepare(source), MACHINE)
    assert len(apart.ops) > len(schedule.ops)
    if CASES[name].past < LONG:
        assert same_bits(by_schedule(apart, inputs), outputs)


@pytest.mark.parametrize(
    "name", ["shared by broadcasting", "more rows than registers", "a long cache", "wide"]
)
@pytest.mark.parametrize("cores", [1, 3, 16])
def test_machines_with_the_same_bits(name, cores):
    source = decoder(CASES[name])
    schedule = build(prepare(source), MACHINE)
    inputs = seeded(schedule)
    expected = by_schedule(schedule, inputs)
    machine = load_machine("spatz-mx", {"cluster.cores": cores})
    small = with_l1(machine, (1 << 15) + 8192 * cores)
    for other in (build(prepare(source), machine), build(prepare(source), small)):
        assert len(attentions(other)) == 1
        assert same_bits(by_simulator(other, inputs), expected)
    assert same_bits(by_schedule(build(prepare(source), load_machine("rvv-generic")), inputs), expected)


def test_tiles_of_a_schedule_file():
    source = decoder(CASES["shared by broadcasting"])
    schedule = build(prepare(source), MACHINE)
    inputs = seeded(schedule)
    expected = by_schedule(schedule, inputs)
    for positions, groups in ((5, 1), (64, 2), (129, 3)):
        text = f'version = 1\n[[layer]]\nname = "mixed"\npositions = {positions}\ngroups = {groups}\n'
        other = build(prepare(source), MACHINE, edits=parse(text))
        (op,) = attentions(other)
        sets = -(-3 // groups)
        assert len(op.tiles) == sets + 2 * 3 * -(-129 // positions)
        assert same_bits(by_simulator(other, inputs), expected)
    with pytest.raises(ModelError, match=r"mixed.*positions"):
        build(
            prepare(source), MACHINE, edits=parse('version = 1\n[[layer]]\nname = "mixed"\npositions = 130\n')
        )


def test_the_cache_is_read_once():
    """What the DMA moves is little more than queries, cache and results."""
    case = CASES["shared by broadcasting"]
    (op,) = attentions(build(prepare(decoder(case)), MACHINE))
    cache = 4 * case.groups * (case.past + 1) * (case.depth + case.width)
    rows = 4 * case.groups * case.share * (case.depth + case.width)
    assert op.bytes_moved == cache + rows + 4 * (case.past + 1)


def test_what_stays_as_it_is():
    """Rows that do not fit L1."""
    case = Case(share=2, past=9, scale="Div", depth=6, mask="vector", width=1 << 14)
    assert not attentions(build(prepare(decoder(case)), with_l1(MACHINE, 1 << 15)))


def test_scores_that_others_read():
    source = decoder(CASES["heads of their own"])
    shares = next(node for node in source.graph.node if node.name == "shares").output[0]
    g = source.graph
    g.output.add().CopyFrom(g.output[0])
    g.output[-1].name = shares
    dims = g.output[-1].type.tensor_type.shape.dim
    dims[3].dim_value = 38
    schedule = build(prepare(source), MACHINE)
    assert not attentions(schedule)
