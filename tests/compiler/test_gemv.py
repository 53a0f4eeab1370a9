"""A vector times an MX matrix: the bits of the same product of several rows, whatever the tiles."""

import numpy as np
import pytest
from networks import network
from onnx import numpy_helper
from running import by_reference, by_schedule, by_simulator, feeds, same_bits, with_l1

from potluck.compiler.build import build, prepare
from potluck.compiler.lowering.gemv import GemvTile
from potluck.compiler.schedule.file import parse
from potluck.isa.errors import ModelError
from potluck.isa.machine import load_machine

MACHINE = load_machine("spatz-mx")


def product(rows, k, n, relu, bias):
    last = f"s = {'Add (p, b)' if bias else 'Identity (p)'}\n y = {'Relu' if relu else 'Identity'} (s)"
    shapes = {"w": (k, n), **({"b": (n,)} if bias else {})}
    return network(
        f"g (float[{rows}, {k}] x) => (float[{rows}, {n}] y) {{ p = MatMul (x, w)\n {last} }}", **shapes
    )


def gemm(rows, k, n, relu):
    return network(
        f"""g (float[{rows}, {k}] x) => (float[{rows}, {n}] y) {{
          p = Gemm (x, w, b)
          y = {"Relu" if relu else "Identity"} (p) }}""",
        w=(k, n), b=(n,),
    )  # fmt: skip


CASES = [
    ("mxfp8", gemm, 64, 8, False, 1 << 17),
    ("mxfp8", gemm, 576, 192, False, 1 << 17),
    ("mxfp8", gemm, 576, 200, True, 1 << 15),  # several pieces of K
    ("mxfp8_e5m2", gemm, 2020, 72, True, 1 << 15),  # no whole block at the end
    ("mxfp4", gemm, 2000, 136, False, 1 << 15),
    ("mxfp8", product, 257, 64, True, 1 << 17),
]


@pytest.mark.parametrize(("scheme", "make", "k", "n", "relu", "l1"), CASES)
def test_a_row_has_the_bits_of_many(scheme, make, k, n, relu, l1):
    machine = with_l1(MACHINE, l1)
    extra = (False,) if make is product else ()
    one = build(prepare(make(1, k, n, relu, *extra), scheme), machine)
    many = build(prepare(make(8, k, n, relu, *extra), scheme), machine)
    kernels = [op.kernel for op in one.ops if op.macs]
    assert [type(kernel) for kernel in kernels] == [GemvTile]
    x = feeds(many)["x"]
    expected = by_schedule(many, {"x": x})[0]
    for row in (0, 5):
        inputs = {"x": x[row : row + 1]}
        got = by_schedule(one, inputs)
        assert same_bits(got, [expected[row : row + 1]])
        assert same_bits(by_simulator(one, inputs), got)
    if l1 < 1 << 17:
        assert len(next(op for op in one.ops if op.macs).loops[1]) > 1


@pytest.mark.parametrize("scheme", ["mxfp6", "mxfp6_e3m2", "mxfp4_mxfp8", "mxint8"])
def test_weights_that_are_not_stored_as_the_row_is_are_not_taken_for_it(scheme):
    """Six bits a weight beside a row of bytes: both are called MXFP6, and the layer was garbage."""
    schedule = build(prepare(gemm(1, 96, 96, False), scheme), MACHINE)
    inputs = feeds(schedule)
    got = by_simulator(schedule, inputs)
    np.testing.assert_allclose(got[0], by_reference(schedule, inputs)[0], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("cores", [1, 3, 4, 16])
def test_cores_share_the_channels(cores):
    source = gemm(1, 320, 264, True)
    machine = load_machine("spatz-mx", {"cluster.cores": cores, "memory.l1_bytes": 1 << 19})
    schedule = build(prepare(source, "mxfp8"), machine)
    inputs = feeds(schedule)
    outputs = by_schedule(schedule, inputs)
    assert same_bits(by_simulator(schedule, inputs), outputs)
    assert same_bits(by_schedule(build(prepare(source, "mxfp8"), MACHINE), inputs), outputs)


STREAM = 'version = 1\n[[layer]]\nname = "MatMul_0"\nbuffers = 4\n'
STREAMS = [
    ("mxfp8", 576, 768, {}),
    ("mxfp8", 576, 128, {"vector.vlen": 1024}),
    ("mxfp8", 1536, 576, {"cluster.cores": 3}),
    ("mxfp4", 2000, 384, {}),  # no whole block at the end
    ("mxfp8_e5m2", 96, 2304, {}),  # a piece a group, more groups than sums have room
    ("mxfp8", 32, 96, {}),  # one piece
    ("mxfp8", 64, 96, {"cluster.cores": 1}),
    ("mxfp8", 256, 192, {}),
]


@pytest.mark.parametrize(("scheme", "k", "n", "keys"), STREAMS)
@pytest.mark.parametrize("relu", [False, True])
def test_a_stream_has_the_bits_of_tiles(scheme, k, n, keys, relu):
    source, machine = product(1, k, n, relu, False), load_machine("spatz-mx", keys)
    one = build(prepare(source, scheme), machine, edits=parse(STREAM))
    (op,) = (op for op in one.ops if op.macs)
    assert op.own_loop is not None
    assert sum(item.bytes for tile in op.tiles for item in tile.stores) == 4 * n
    apart = build(prepare(source, scheme), machine, edits=parse(STREAM.replace("4", "2")))
    assert all(op.own_loop is None for op in apart.ops)
    inputs = feeds(one)
    expected = by_schedule(apart, inputs)
    assert same_bits(by_schedule(one, inputs), expected)
    assert same_bits(by_simulator(one, inputs, timed=True), expected)
    assert same_bits(by_simulator(apart, inputs), expected)


@pytest.mark.parametrize(("channels", "k"), [(64, 32), (48, 96), (16, 576), (32, 128)])
def test_streams_of_a_schedule_file(channels, k):
    source = product(1, 576, 768, True, False)
    text = f'version = 1\n[[layer]]\nname = "MatMul_0"\nbuffers = 4\nchannels = {channels}\nk = {k}\n'
    other = build(prepare(source, "mxfp8"), MACHINE, edits=parse(text))
    (op,) = (op for op in other.ops if op.macs)
    assert op.own_loop is not None and len(op.tiles) == 768 // (2 * channels) * -(-576 // k)
    inputs = feeds(other)
    assert same_bits(
        by_simulator(other, inputs), by_schedule(build(prepare(source, "mxfp8"), MACHINE), inputs)
    )


def test_what_does_not_stream():
    with pytest.raises(ModelError, match=r"MatMul_0.*do not stream"):
        text = 'version = 1\n[[layer]]\nname = "MatMul_0"\nbuffers = 4\nchannels = 72\n'
        build(prepare(product(1, 576, 768, True, False), "mxfp8"), MACHINE, edits=parse(text))
    for source in (product(1, 576, 770, False, False), gemm(1, 576, 768, False)):  # odd channels, a bias
        assert all(op.own_loop is None for op in build(prepare(source, "mxfp8"), MACHINE).ops)


def test_pieces_that_are_equal():
    """They share their memory, so the pieces do not lie one behind the other."""
    source = product(1, 576, 768, False, False)
    (weights,) = source.graph.initializer
    weights.CopyFrom(numpy_helper.from_array(np.full((576, 768), 0.5, np.float32), weights.name))
    schedule = build(prepare(source, "mxfp8"), MACHINE)
    assert all(op.own_loop is None for op in schedule.ops)
    inputs = feeds(schedule)
    assert same_bits(by_simulator(schedule, inputs), by_schedule(schedule, inputs))


SEVERAL = {
    "three of a row": ((576, 192, 96), {}, 1),
    "pieces a group": ((64, 192), {"memory.l1_bytes": 1 << 15}, 1),
    "one that is odd": ((96, 40, 192), {}, 3),
    "four cores": ((256, 512), {"cluster.cores": 4}, 1),
}


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("relu", [False, True])
def test_products_of_a_row_stream_as_one(name, relu):
    widths, keys, layers = SEVERAL[name]
    outputs = ", ".join(f"float[1, {n}] y{i}" for i, n in enumerate(widths))
    last = "Relu" if relu else "Identity"
    body = "".join(f"p{i} = MatMul (x, w{i})\n y{i} = {last} (p{i})\n" for i in range(len(widths)))
    weights = {f"w{i}": (320, n) for i, n in enumerate(widths)}
    source = network(f"g (float[1, 320] x) => ({outputs}) {{ {body} }}", **weights)
    schedule = build(prepare(source, "mxfp8"), load_machine("spatz-mx", keys))
    products = [op for op in schedule.ops if op.macs]
    assert len(products) == layers and sum(op.macs for op in products) == 320 * sum(widths)
    inputs = feeds(schedule)
    got = by_schedule(schedule, inputs)
    assert same_bits(by_simulator(schedule, inputs, timed=True), got)
    for i, n in enumerate(widths):
        text = f"g (float[1, 320] x) => (float[1, {n}] y) {{ p = MatMul (x, w)\n y = {last} (p) }}"
        alone = network(text, w=(320, n))
        alone.graph.initializer[0].raw_data = source.graph.initializer[i].raw_data
        assert same_bits(by_schedule(build(prepare(alone, "mxfp8"), MACHINE), inputs), [got[i]])


def test_layers_behind_each_other():
    """What a layer needs first comes while the one before streams."""
    source = network(
        """g (float[1, 256] x) => (float[1, 384] y, float[1, 192] z) {
          a = MatMul (x, w)
          b = Relu (a)
          y = MatMul (b, v)
          z = MatMul (x, u) }""", w=(256, 384), v=(384, 384), u=(256, 192),
    )  # fmt: skip
    schedule = build(prepare(source, "mxfp8"), MACHINE)
    streams = [op for op in schedule.ops if op.own_loop is not None]
    assert len(streams) == 3 and any(op.ahead for op in streams)
    inputs = feeds(schedule)
    assert same_bits(by_simulator(schedule, inputs, timed=True), by_schedule(schedule, inputs))


def test_a_tile_is_one_transfer():
    """Where it does not stream."""
    schedule = build(prepare(gemm(1, 576, 768, False), "mxfp8"), MACHINE)
    tiles = next(op for op in schedule.ops if op.macs).tiles
    assert len(tiles) > 4
    assert all(len(tile.loads) == 1 and len(tile.stores) <= 1 for tile in tiles[1:])
    np.testing.assert_array_equal(sum(item.bytes for tile in tiles for item in tile.stores), 768 * 4)
