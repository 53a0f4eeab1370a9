"""What the cores divide, rows, channels or both at once, changes no bit; a tile's parts are all computed, and once."""

import tomllib

import pytest
from integer_chain import samples
from networks import network
from running import by_schedule, by_simulator, feeds, same_bits
from test_abreast import SCHEMES, branches, joined, machine
from test_schedule_file import edited

from potluck.compiler.build import build, prepare
from potluck.compiler.schedule.file import parse
from potluck.isa.errors import ModelError

SPLITS = {4: ["rows", "2 x 2", "channels"], 6: ["3 x 2", "2 x 3"], 16: ["8 x 2", "4 x 4", "2 x 8"]}


def forced(model, cores, split, channels, rows):
    """The convolutions of a block's sum divided in one way, none beside another."""
    text = build(model, machine(cores)).text
    for name in ("n2", "n3"):
        text = edited(text, name, cores_split=split, channels=channels, rows=rows, abreast="")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("cores ="))
    return build(model, machine(cores), edits=parse(text))


EVERY = [("MXFP8", cores, split) for cores, splits in SPLITS.items() for split in splits]
OTHERS = [(scheme, cores, SPLITS[cores][1]) for scheme in SCHEMES if scheme != "MXFP8" for cores in (4, 6)]


@pytest.mark.parametrize(("scheme", "cores", "split"), EVERY + OTHERS)
def test_rows_and_channels_at_once_have_the_bits_of_one_core(scheme, cores, split):
    word = SCHEMES[scheme]
    options = {"calibration": samples((1, 3, 12, 12))} if word in ("int8", "int4") else {}
    model = prepare(branches(), word, **options)
    apart = build(model, machine(1))
    schedule = forced(model, cores, split, 2 if cores == 16 else 4, 7)
    assert not joined(schedule)
    tables = {table["name"]: table for table in tomllib.loads(schedule.text)["layer"]}
    assert {tables[name]["cores_split"] for name in ("n2", "n3")} == {split}
    given = feeds(apart)
    expected = by_schedule(apart, given)
    assert same_bits(by_schedule(schedule, given), expected)
    assert same_bits(by_simulator(schedule, given, timed=True), expected)


@pytest.mark.parametrize(("cores", "split"), [(4, "channels"), (8, "2 x 4"), (16, "4 x 4")])
@pytest.mark.parametrize("scheme", ["mxfp8", "mxfp4"])
def test_tiles_that_end_with_quantization_are_divided_alike(scheme, cores, split):
    body = """g (float[1, 32, 9, 10] x) => (float[1, 16, 9, 10] y) {
      a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w0)
      y = Conv <kernel_shape = [1, 1]> (a, w1)
    }"""
    source = network(body, 2, w0=(128, 32, 3, 3), w1=(16, 128, 1, 1))
    for index, node in enumerate(source.graph.node):
        node.name = f"n{index}"
    model = prepare(source, scheme)
    apart = build(model, machine(1))
    text = build(model, machine(cores)).text
    text = edited(text, "n0", cores_split=split, channels=32, rows=4, columns=10)
    schedule = build(model, machine(cores), edits=parse(text))
    (op,) = (op for op in schedule.ops if op.name == "n0")
    assert len(op.tiles[0].stores) == 2 * 4  # codes and scales of each slice
    given = feeds(apart)
    expected = by_schedule(apart, given)
    assert same_bits(by_schedule(schedule, given), expected)
    assert same_bits(by_simulator(schedule, given, timed=True), expected)


def test_every_row_of_every_slice_is_one_core_s():
    """Four cores, two slices, seven rows: two cores have the rows of a slice, four and three of them."""
    model = prepare(branches(), "mxfp8")
    (op,) = (op for op in forced(model, 4, "2 x 2", 8, 7).ops if op.name == "n2")
    weights, rows = ([words[at] for words in op.tiles[0].args] for at in (2, 6))
    assert rows == [4, 3, 4, 3]
    assert weights[0] == weights[1] != weights[2] == weights[3]


def test_divisions_that_the_cores_do_not_have_are_refused():
    model = prepare(branches(), "mxfp8")
    with pytest.raises(
        ModelError, match=r"'n2'.*'cores_split' to '2 x 2', legal are \"rows\", \"3 x 2\", \"2 x 3\", \"cha"
    ):
        forced(model, 6, "2 x 2", 8, 7)
    with pytest.raises(ModelError, match=r"'n2'.*24 channels a slice leave one of 2 slices without any"):
        forced(model, 4, "2 x 2", 24, 7)


def test_the_compiler_divides_both_where_one_does_not_suffice():
    """49 pixels with many channels on 16 cores: rows keep 7 of them busy, channels alone leave vectors of 2."""
    body = """g (float[1, 1024, 7, 7] x) => (float[1, 512, 7, 7] y) {
      y = Conv <kernel_shape = [1, 1]> (x, w)
    }"""
    schedule = build(prepare(network(body, 2, w=(512, 1024, 1, 1)), "mxfp8"), machine(16))
    (table,) = (table for table in tomllib.loads(schedule.text)["layer"] if table["op"] == "Conv")
    assert " x " in table["cores_split"]
