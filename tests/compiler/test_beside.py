"""Cores and accelerator at once: no wait is missing, none is idle, and what overlaps is counted."""

from dataclasses import replace

import pytest
from integer_chain import agree, samples
from networks import network, residual
from running import by_schedule, feeds, same_bits

from potluck.compiler import build as build_module
from potluck.compiler.build import build, prepare
from potluck.compiler.compile import generate
from potluck.compiler.lowering.neighbours import BANDS
from potluck.compiler.schedule.beside import conflicts, points
from potluck.compiler.schedule.layer import describe
from potluck.isa.errors import ProgramError
from potluck.isa.machine import load_machine
from potluck.sim.cluster import Cluster
from potluck.sim.simulate import simulate

POT = load_machine("spatz-mx-pot", {"dram.kind": "simple"})
BRANCHES = """g (float[1, 16, 24, 24] x) => (float[1, 40, 24, 24] y, float[1, 16, 24, 24] z) {
  a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w0, b0)
  z = Exp (x)
  y = Conv <kernel_shape = [1, 1]> (a, w1, b1)
}"""


@pytest.fixture(scope="module")
def bottleneck():
    """A residual network, prepared."""
    return prepare(
        residual(channels=32, size=24),
        "pot_apot",
        calibration=samples((1, 3, 24, 24)),
        requantization="tflite_single",
    )


@pytest.fixture(scope="module")
def schedule(bottleneck):
    """It on the machine."""
    return agree(bottleneck, POT, outputs=False)


def changed(schedule, index, number=None, **fields):
    """A schedule with other fields of a layer, or of one of its tiles."""
    ops = list(schedule.ops)
    if number is not None:
        tiles = list(ops[index].tiles)
        tiles[number] = replace(tiles[number], **fields)
        fields = {"tiles": tuple(tiles)}
    ops[index] = replace(ops[index], **fields)
    return replace(schedule, ops=tuple(ops))


def test_batches_begin_beside_layers_of_the_cores(schedule):
    """Of the layer before them and of the layer behind them."""
    before, behind = set(), set()
    for index, op in enumerate(schedule.ops):
        for batch in op.batches if op.kernel else ():
            (before if batch.layer < index else behind).add(batch.layer)
    assert before and behind


def test_the_printed_schedule_says_what_begins_and_what_is_awaited(schedule):
    text = describe(schedule.ops, tiles=100)
    batches = sum(len(op.batches) for op in schedule.ops)
    assert text.count("    start ") == batches > 0
    assert text.count("  await ") == len(waits(schedule)) > 0


def waits(schedule):
    """Where the program waits: layer, tile, field."""
    found = []
    for index, op in enumerate(schedule.ops):
        found += [
            (index, None, name) for name in ("waits_first", "waits_last") if getattr(op, name) is not None
        ]
        found += [(index, number, "waits") for number, tile in enumerate(op.tiles) if tile.waits is not None]
    return found


def test_every_missing_wait_is_noticed(schedule):
    """Results differ, memory is read that nobody has written, or a batch begins while another runs."""
    given = feeds(schedule)
    expected = by_schedule(schedule, given)
    places = waits(schedule)
    kinds = {name for _, _, name in places}
    assert kinds == {"waits", "waits_first"} or kinds == {"waits", "waits_first", "waits_last"}
    for index, number, name in places:
        less = changed(schedule, index, number, **{name: None})
        try:
            assert not same_bits(by_schedule(less, given, late=True), expected), (index, number, name)
        except ProgramError as error:
            assert "begins before" in error.message


def test_a_batch_that_begins_early_is_noticed(schedule):
    """Each batch of a layer behind, a tile earlier: it reads what is still being stored."""
    given = feeds(schedule)
    expected = by_schedule(schedule, given)
    noticed = tried = 0
    for index, op in enumerate(schedule.ops):
        for number, tile in enumerate(op.tiles):
            if op.kernel is None or not tile.batch or tile.batch.layer < index or op.tiles[number - 1].batch:
                continue
            tried += 1
            early = changed(schedule, index, number, batch=None, waits=None)
            early = changed(early, index, number - 1, batch=tile.batch, waits=tile.waits)
            noticed += not same_bits(by_schedule(early, given), expected)
    assert tried and noticed == tried


def test_nothing_under_way_touches_what_transfers_touch(schedule):
    """By the layers' own addresses, tile by tile."""
    flying = []
    for op in schedule.ops:
        steps = [
            (op.waits_first, None),
            *((tile.waits, tile.batch) for tile in op.tiles),
            (op.waits_last, None),
        ]
        for (awaited, batch), transfers in zip(steps, points(op), strict=True):
            if awaited is not None:
                flying = []
            assert not any(conflicts(group, transfers) for group in flying)
            if batch:
                assert not flying
                groups = schedule.ops[batch.layer].offload.groups
                flying = [groups[at] for at in batch.groups]
    assert not flying


def test_the_longest_layer_of_a_row_is_the_last_one(schedule):
    """The shortcut comes before the two convolutions that do not need it; layers beside the sum are cut into bands."""
    layers = [op for op in schedule.ops if op.offload]
    assert [op.macs for op in layers[1:4]] == sorted(op.macs for op in layers[1:4])
    (total,) = (index for index, op in enumerate(schedule.ops) if op.op == "Add")
    groups = schedule.ops[total - 1].offload.groups
    written = [group.written for group in groups]
    assert len(groups) >= BANDS and written == sorted(set(written))


def test_memory_that_is_used_again_at_once_is_waited_for(bottleneck, schedule, monkeypatch):
    """Where the planner puts a layer's outputs on what the array still reads, tiles wait."""
    monkeypatch.setattr(build_module, "live_longer", lambda plans: None)
    tight = agree(bottleneck, POT, outputs=False)
    assert tight.end < schedule.end
    assert same_bits(by_schedule(tight, feeds(tight), late=True), by_schedule(schedule, feeds(schedule)))


def cycles(schedule):
    """Of a run: in all, those of the accelerator's computations, those in which hart 0 waits for it."""
    result = simulate(generate(schedule), feeds(schedule), POT)
    cluster = Cluster(generate(schedule), POT)
    cluster.run(feeds(schedule))
    return result.cycles, sum(use.cycles for use in cluster.pot.use.values()), result.stalls["pot"]


def test_overlap_in_cycles(bottleneck, schedule):
    """Cores that wait for every layer wait longer than the array computes; here they compute meanwhile."""
    total, computing, waiting = cycles(schedule)
    alone = build(bottleneck, POT, together=False)
    assert same_bits(by_schedule(alone, feeds(alone)), by_schedule(schedule, feeds(schedule)))
    alone_total, alone_computing, alone_waiting = cycles(alone)
    assert alone_waiting > alone_computing and waiting < computing
    hidden = alone_waiting - waiting
    assert hidden > 0.1 * computing and alone_total - total > 0.8 * hidden


def test_a_branch_that_needs_nothing_of_the_array_does_not_wait():
    model = prepare(
        network(BRANCHES, 2, w0=(40, 16, 3, 3), b0=(40,), w1=(40, 40, 1, 1), b1=(40,)),
        "pot_apot", calibration=samples((1, 16, 24, 24)), requantization="tflite_single",
    )  # fmt: skip
    schedule = agree(model, POT, outputs=False)
    (index,) = (at for at, op in enumerate(schedule.ops) if op.op == "Exp")
    op = schedule.ops[index]
    assert any(batch.layer == index - 1 for op in schedule.ops[:index] for batch in op.batches)
    assert op.waits_first is None and not any(tile.waits is not None for tile in op.tiles[:-1])
    total, _, _ = cycles(schedule)
    alone, _, _ = cycles(build(model, POT, together=False))
    assert total < alone


def test_reports_stay_below_the_peak(schedule):
    """Layers whose work is beside others' are measured by the array's own cycles; its energy is accounted to them."""
    result = simulate(generate(schedule), feeds(schedule), POT)
    assert all(0 <= layer.utilization <= 1 for layer in result.layers)
    assert 0 < result.utilization < 1
    names = {op.name for op in schedule.ops if op.offload}
    program = generate(schedule)
    cluster = Cluster(program, POT)
    cluster.run(feeds(schedule))
    where = {layer.name: range(layer.start, layer.end) for layer in program.manifest.layers}
    owners = {name for pc in cluster.pot.use for name, span in where.items() if pc in span}
    assert owners == names
