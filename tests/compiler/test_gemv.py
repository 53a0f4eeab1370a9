"""A vector times an MX matrix: the bits of the same product of several rows, whatever the tiles."""

import numpy as np
import pytest
from networks import network
from running import by_schedule, by_simulator, feeds, same_bits, with_l1

from potluck.compiler.build import build, prepare
from potluck.compiler.lowering.gemv import GemvTile
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


@pytest.mark.parametrize("cores", [1, 3, 4, 16])
def test_cores_share_the_channels(cores):
    source = gemm(1, 320, 264, True)
    machine = load_machine("spatz-mx", {"cluster.cores": cores, "memory.l1_bytes": 1 << 19})
    schedule = build(prepare(source, "mxfp8"), machine)
    inputs = feeds(schedule)
    outputs = by_schedule(schedule, inputs)
    assert same_bits(by_simulator(schedule, inputs), outputs)
    assert same_bits(by_schedule(build(prepare(source, "mxfp8"), MACHINE), inputs), outputs)


def test_a_tile_is_one_transfer():
    schedule = build(prepare(gemm(1, 576, 768, False), "mxfp8"), MACHINE)
    tiles = next(op for op in schedule.ops if op.macs).tiles
    assert len(tiles) > 4
    assert all(len(tile.loads) == 1 and len(tile.stores) <= 1 for tile in tiles[1:])
    np.testing.assert_array_equal(sum(item.bytes for tile in tiles for item in tile.stores), 768 * 4)
