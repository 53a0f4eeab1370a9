"""Attention of many queries as one layer: onnxruntime's values, the operators' bits, on every machine, in any blocks"""

from dataclasses import replace

import numpy as np
import pytest
from attentions import Case, attentions, compared, decoder, seeded
from running import by_schedule, by_simulator, feeds, same_bits, with_l1

from potluck.compiler import build as building
from potluck.compiler.build import build, prepare
from potluck.compiler.lowering.attention_blocks import causal
from potluck.compiler.lowering.attention_rows import BlockTile
from potluck.compiler.schedule.file import parse
from potluck.isa.errors import ModelError
from potluck.isa.machine import load_machine

MACHINE = load_machine("spatz-mx")
CASES = {
    "one head": Case(tokens=20, new=20, depth=9, width=7),
    "no granule is whole": Case(groups=7, share=3, tokens=6, new=5, depth=4, width=66, mask="row"),
    "heads with keys of their own": Case(batch=2, groups=3, tokens=40, new=70, depth=16, width=16, mask="vector"),
    "turned by one transpose": Case(batch=1, groups=3, tokens=32, new=32, depth=16, width=16, turned=True),
    "shared": Case(groups=2, share=3, tokens=11, past=30, new=11, depth=33, width=31, mask="matrix"),
    "shared by repetition": Case(groups=2, share=2, tokens=18, new=18, depth=8, width=8, repeat=True, scale="Div"),
    "causal": Case(groups=2, share=3, tokens=38, new=38, depth=16, width=16, mask="causal"),
    "causal behind a cache": Case(groups=2, tokens=21, past=50, new=21, depth=64, width=64, mask="causal"),
    "causal, strips of all lengths": Case(tokens=133, new=133, depth=5, width=4, mask="causal"),
    "many positions": Case(share=19, past=699, new=2, depth=64, width=80, mask="row", present=True),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_values_and_bits(name, monkeypatch):
    case = CASES[name]
    source = decoder(case)
    schedule = build(prepare(source), MACHINE)
    (op,) = attentions(schedule)
    assert isinstance(op.kernel, BlockTile)
    inputs = seeded(schedule)
    outputs = compared(source, schedule, inputs)
    monkeypatch.setattr(building, "fused", lambda model, target: model)
    apart = build(prepare(source), MACHINE)
    assert len(apart.ops) > len(schedule.ops)
    assert same_bits(by_schedule(apart, inputs), outputs)


@pytest.mark.parametrize("name", ["no granule is whole", "shared", "causal", "causal behind a cache"])
@pytest.mark.parametrize("cores", [1, 3, 16])
def test_machines_with_the_same_bits(name, cores):
    source = decoder(CASES[name])
    schedule = build(prepare(source), MACHINE)
    inputs = seeded(schedule)
    expected = by_schedule(schedule, inputs)
    machine = load_machine("spatz-mx", {"cluster.cores": cores})
    small = with_l1(machine, (1 << 15) + 4096 * cores)
    for other in (build(prepare(source), machine), build(prepare(source), small)):
        assert len(attentions(other)) == 1
        assert same_bits(by_simulator(other, inputs), expected)
    assert same_bits(by_schedule(build(prepare(source), load_machine("rvv-generic")), inputs), expected)


def blocks(rows, positions, split):
    return parse(
        f'version = 1\n[[layer]]\nname = "mixed"\nrows = {rows}\npositions = {positions}\ncores_split = "{split}"\n'
    )


@pytest.mark.parametrize("name", ["heads with keys of their own", "shared", "causal"])
def test_blocks_of_a_schedule_file(name):
    case = CASES[name]
    source = decoder(case)
    schedule = build(prepare(source), MACHINE)
    inputs = seeded(schedule)
    expected = by_schedule(schedule, inputs)
    whole = case.tokens * (1 if case.mask in ("matrix", "causal") else case.share)
    for rows, positions, split in ((4, 5, "rows"), (8, 37, "heads"), (whole, case.new, "heads")):
        other = build(prepare(source), MACHINE, edits=blocks(rows, positions, split))
        assert f'cores_split = "{split}"' in other.text and f"rows = {rows}\n" in other.text
        assert same_bits(by_simulator(other, inputs), expected)
    for edit in (blocks(6, 5, "rows"), blocks(4, 5, "columns"), blocks(4, 1000, "rows")):
        with pytest.raises(ModelError, match="mixed"):
            build(prepare(source), MACHINE, edits=edit)


def test_scores_stay_in_l1():
    """The DMA moves queries, keys, values and results; keys and values once for each block of rows."""
    case = CASES["heads with keys of their own"]
    schedule = build(prepare(decoder(case)), MACHINE)
    (op,) = attentions(schedule)
    heads, (block,) = case.batch * case.groups, [loop.step for loop in op.loops if loop.name == "row"]
    cache = 4 * heads * case.new * (case.depth + case.width) * -(-case.tokens // block)
    rows = 4 * heads * case.tokens * (case.depth + case.width)
    assert op.bytes_moved == cache + rows + 4 * case.new


def test_what_a_causal_mask_hides_is_not_computed():
    case = CASES["causal"]
    (op,) = attentions(build(prepare(decoder(case)), MACHINE))
    seen = sum(min(row // 4 * 4 + 4, 38) if row < 36 else row + 1 for row in range(38))
    assert op.macs == 6 * seen * 32
    (whole,) = attentions(build(prepare(decoder(replace(case, mask="matrix"))), MACHINE))
    assert whole.macs == 6 * 38 * 38 * 32


@pytest.mark.parametrize("machine", ["spatz-mx", "rvv-generic"])
def test_values_behind_a_causal_mask_reach_nobody(machine):
    """Infinities at a hidden position, which products with zero would make NaN."""
    source = decoder(CASES["causal"])
    schedule = build(prepare(source), load_machine(machine))
    inputs = feeds(schedule)
    expected = by_schedule(schedule, inputs)[0]
    for name in ("new_key", "new_value"):
        inputs[name][:, :, 17] = np.inf
    (got,) = by_simulator(schedule, inputs)
    assert same_bits([got[..., :16, :]], [expected[..., :16, :]])
    assert np.isnan(got[..., 17:, :]).all()


@pytest.mark.parametrize(
    ("mask", "ahead"),
    [
        (np.triu(np.full((5, 5), -1e9), 1), 0),
        (np.triu(np.full((5, 9), -np.inf), 5), 4),
        (np.triu(np.full((5, 9), -np.inf), 1), 0),
        (np.triu(np.full((5, 9), -np.inf), 6), None),  # the last row would see more than there is
        (np.triu(np.full((5, 5), -1e4), 1), None),  # not far enough below
        (np.triu(np.full((5, 5), -1e9), 1) + np.eye(5), None),
        (np.triu(np.full((5, 5), -1e9), 2) + np.triu(np.full((5, 5), -1e9), 1), 0),
        (np.zeros((5, 5)), None),
        (np.full((5, 5), -1e9), None),
    ],
)
def test_causal_masks(mask, ahead):
    assert causal(mask.astype(np.float32)) == ahead
