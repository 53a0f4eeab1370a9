"""Schedules against ONNX's reference evaluator: every operator, many shapes, small L1s, several tiles."""

import numpy as np
import pytest
from networks import network, residual
from running import by_reference, by_schedule, by_simulator, feeds, same_bits, with_l1

from potluck.compiler.build import build, prepare
from potluck.compiler.schedule.layer import describe
from potluck.isa.errors import MachineError
from potluck.isa.machine import load_machine
from potluck.kernels.matmul.fp32 import GemmFp32

MACHINE = load_machine("spatz-mx")


def check(source, scheme=None, machine=MACHINE, rtol=2e-5, atol=2e-5, **options):
    schedule = build(prepare(source, scheme, **options), machine)
    inputs = feeds(schedule)
    outputs = by_schedule(schedule, inputs)
    for got, expected in zip(outputs, by_reference(schedule, inputs), strict=True):
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)
    assert same_bits(by_simulator(schedule, inputs), outputs)
    return schedule


def conv(shape, out, kernel, strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), group=1, relu=True):
    n, c, h, w = shape
    sizes = [
        (size + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
        for i, size in enumerate((h, w))
    ]
    attributes = f"kernel_shape = {list(kernel)}, strides = {list(strides)}, pads = {list(pads)}"
    return network(
        f"""g (float[{n}, {c}, {h}, {w}] x) => (float[{n}, {out}, {sizes[0]}, {sizes[1]}] y) {{
          r = Conv <{attributes}, dilations = {list(dilations)}, group = {group}> (x, w, b)
          y = {"Relu" if relu else "Identity"} (r)
        }}""",
        w=(out, c // group, *kernel),
        b=(out,),
    )


CONVOLUTIONS = {
    "1x1": ((1, 16, 5, 7), 24, (1, 1)),
    "3x3 padded": ((1, 20, 9, 8), 33, (3, 3), (1, 1), (1, 1, 1, 1)),
    "stride 2, odd pads": ((2, 32, 11, 10), 16, (3, 3), (2, 2), (0, 1, 1, 0)),
    "dilated": ((1, 17, 12, 12), 8, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
    "5x1 taps": ((1, 40, 10, 6), 12, (5, 1), (1, 1), (2, 0, 2, 0)),
    "1x7 taps, stride (1, 3)": ((1, 64, 4, 23), 40, (1, 7), (1, 3), (0, 3, 0, 3)),
    "stride leaves columns": ((1, 16, 7, 8), 16, (1, 1), (2, 2)),
    "one pixel": ((3, 48, 1, 1), 10, (1, 1)),
    "pads larger than the image": ((1, 16, 2, 2), 8, (3, 3), (1, 1), (2, 2, 2, 2)),
}


@pytest.mark.parametrize("scheme", [None, "mxfp8", "mxfp8_e5m2", "mxfp4"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, scheme):
    check(conv(*CONVOLUTIONS[name]), scheme)


@pytest.mark.parametrize(
    ("scheme", "kilobytes"), [(None, 48), (None, 64), (None, 80), ("mxfp8", 24), ("mxfp8", 32), ("mxfp4", 20)]
)
def test_convolutions_in_a_small_l1_use_channel_groups(scheme, kilobytes):
    """Groups of output channels, the last one overlapping, with either loop outermost."""
    schedule = check(
        conv((2, 40, 12, 9), 52, (3, 3), (1, 1), (1, 1, 1, 1)), scheme, with_l1(MACHINE, kilobytes << 10)
    )
    assert len(schedule.ops[-1].tiles) > 2


@pytest.mark.parametrize("scheme", [None, "mxfp8"])
@pytest.mark.parametrize(
    ("shape", "out", "kernel", "strides", "pads", "dilations"),
    [
        ((1, 16, 9, 150), 24, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
        ((2, 16, 7, 141), 48, (3, 5), (2, 2), (1, 0, 1, 3), (1, 1)),
        ((1, 20, 6, 90), 8, (1, 3), (1, 1), (0, 12, 0, 12), (1, 12)),
    ],
)
def test_long_rows_are_cut_into_strips(shape, out, kernel, strides, pads, dilations, scheme):
    machine = with_l1(MACHINE, 28 << 10)
    schedule = check(conv(shape, out, kernel, strides, pads, dilations), scheme, machine)
    assert any(loop.name == "column" for loop in schedule.ops[-1].loops)


def test_a_layer_too_large_for_l1_is_named():
    with pytest.raises(MachineError, match="Conv"):
        check(conv((1, 640, 20, 40), 32, (3, 3), (1, 1), (1, 1, 1, 1)), None, with_l1(MACHINE, 16 << 10))


@pytest.mark.parametrize(
    "case",
    [
        ((1, 24, 9, 8), (3, 3), (1, 1), (1, 1, 1, 1)),
        ((2, 40, 9, 9), (3, 3), (2, 2), (0, 0, 1, 1)),
        ((1, 70, 8, 14), (5, 5), (1, 1), (2, 2, 2, 2)),
        ((1, 70, 8, 14), (3, 3), (1, 1), (0, 0, 0, 0)),
    ],
)
@pytest.mark.parametrize("kilobytes", [20, 128])
def test_depthwise(case, kilobytes):
    shape, kernel, strides, pads = case
    machine = with_l1(MACHINE, kilobytes << 10)
    source = conv(shape, shape[1], kernel, strides, pads, group=shape[1])
    schedule = check(source, "mxfp8", machine)  # stays in FP32
    assert schedule.ops[0].format == "fp32"


@pytest.mark.parametrize(
    ("case", "kilobytes"),
    [
        (((2, 40, 12, 61), (3, 3), (1, 1), (1, 1, 1, 1)), 24),
        (((1, 36, 9, 75), (3, 3), (2, 2), (0, 0, 1, 1)), 24),
        (((1, 24, 7, 60), (1, 9), (1, 1), (0, 8, 0, 8), (1, 2)), 20),
        (((1, 100, 5, 66), (5, 5), (1, 2), (2, 2, 2, 2)), 32),
    ],
)
def test_depthwise_in_strips(case, kilobytes):
    """Strips of slices, the last ones overlapping; weights that come once per slice."""
    shape, kernel, strides, pads, *dilations = case
    source = conv(shape, shape[1], kernel, strides, pads, *dilations, group=shape[1])
    schedule = check(source, None, with_l1(MACHINE, kilobytes << 10))
    assert any(loop.name == "column" for loop in schedule.ops[0].loops)


POOLS = {
    "max 2x2": ("MaxPool", "kernel_shape = [2, 2], strides = [2, 2]", (1, 20, 8, 6), (4, 3)),
    "max padded": (
        "MaxPool",
        "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]",
        (2, 33, 9, 9),
        (5, 5),
    ),
    "max ceil": ("MaxPool", "kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1", (1, 8, 8, 8), (4, 4)),
    "mean": ("AveragePool", "kernel_shape = [2, 3], strides = [2, 1]", (1, 20, 8, 6), (4, 4)),
    "mean padded": ("AveragePool", "kernel_shape = [3, 3], pads = [1, 1, 1, 1]", (2, 9, 6, 7), (6, 7)),
    "mean counting pads": (
        "AveragePool",
        "kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1",
        (1, 9, 6, 7),
        (6, 7),
    ),
}


@pytest.mark.parametrize("kilobytes", [24, 128])
@pytest.mark.parametrize("name", POOLS)
def test_pools(name, kilobytes):
    op, attributes, (n, c, h, w), (oh, ow) = POOLS[name]
    source = network(
        f"""g (float[{n}, {c}, {h}, {w}] x) => (float[{n}, {c}, {oh}, {ow}] y) {{
          y = {op} <{attributes}> (x)
        }}"""
    )
    check(source, machine=with_l1(MACHINE, kilobytes << 10))


@pytest.mark.parametrize("op", ["GlobalAveragePool (x)", "ReduceMean <keepdims = 1> (x, axes)"])
@pytest.mark.parametrize(
    ("shape", "kilobytes"), [((1, 64, 7, 7), 128), ((3, 30, 5, 4), 128), ((2, 96, 12, 12), 32)]
)
def test_global_pools(op, shape, kilobytes):
    n, c, h, w = shape
    integers = {"axes": [-1, 2]} if "axes" in op else {}
    text = f"g (float[{n}, {c}, {h}, {w}] x) => (float[{n}, {c}, 1, 1] y) {{ y = {op} }}"
    source = network(text, integers=integers)
    check(source, machine=with_l1(MACHINE, kilobytes << 10))


@pytest.mark.parametrize("scheme", [None, "mxfp8", "mxfp4"])
@pytest.mark.parametrize("rows", [1, 7, 24, 65])
def test_gemm_and_matmul(rows, scheme):
    source = network(
        f"""g (float[{rows}, 72] x) => (float[{rows}, 19] y) {{
          h = Gemm <transB = 1, alpha = 1.0> (x, w1, b1)
          r = Clip (h, low, high)
          y = MatMul (r, w2)
        }}""",
        w1=(50, 72), b1=(50,), w2=(50, 19), low=(), high=(),
    )  # fmt: skip
    source.graph.initializer[3].raw_data = np.float32(-0.5).tobytes()
    source.graph.initializer[4].raw_data = np.float32(1.5).tobytes()
    check(source, scheme)


@pytest.mark.parametrize("scheme", [None, "mxfp8"])
def test_a_gemm_with_alpha_and_beta(scheme):
    source = network(
        "g (float[3, 8] x) => (float[3, 5] y) { y = Gemm <alpha = 0.5, beta = 2.0> (x, w, b) }",
        w=(8, 5),
        b=(1, 5),
    )
    check(source)


@pytest.mark.parametrize("scheme", [None, "mxfp8", "mxfp4"])
@pytest.mark.parametrize(("k", "n"), [(500, 10), (1000, 70), (33, 5), (4000, 33)])
def test_a_vector_times_a_large_matrix_is_split_along_k(k, n, scheme):
    source = network(
        f"""g (float[1, {k}] x) => (float[1, {n}] y) {{
          h = Gemm <transB = 1> (x, w, b)
          y = Relu (h)
        }}""",
        w=(n, k), b=(n,),
    )  # fmt: skip
    schedule = check(source, scheme, with_l1(MACHINE, 32 << 10))
    assert len(schedule.ops[-1].tiles) > 1 or k < 1000


@pytest.mark.parametrize(
    ("shape", "out", "kernel", "strides"),
    [
        ((1, 512, 14, 14), 40, (3, 3), (2, 2)),  # ResNet-50: a row of outputs needs three fifths of L1
        ((2, 1204, 6, 5), 24, (3, 3), (1, 1)),  # parts of 608 and 596 channels, two images
        ((1, 1100, 9, 9), 17, (5, 5), (1, 1)),  # parts of no multiple of 8 at the end
    ],
)
@pytest.mark.parametrize("relu", [False, True])
def test_deep_convolutions_become_sums(shape, out, kernel, strides, relu):
    side = kernel[0] // 2
    schedule = check(conv(shape, out, kernel, strides, (side,) * 4, relu=relu), rtol=1e-4, atol=1e-3)
    parts = [op for op in schedule.ops if ".part" in op.name]
    assert sum(op.op.split("+").count("Add") for op in parts) == sum(op.op == "Slice" for op in parts) - 1 > 0
    macs = np.prod(kernel) * shape[1] * np.prod(schedule.outputs[0].shape)
    assert sum(op.macs for op in schedule.ops) == macs


def test_several_rows_times_a_large_matrix():
    source = network("g (float[3, 6000] x) => (float[3, 40] y) { y = MatMul (x, w) }", w=(6000, 40))
    check(source, atol=1e-4)  # the reference adds 6,000 products in an order that the host's BLAS chooses


def test_matmul_of_three_dimensions_with_bias_and_softmax():
    source = network(
        """g (float[2, 9, 48] x) => (float[2, 9, 21] y) {
          m = MatMul (x, w)
          s = Add (m, b)
          y = Softmax <axis = -1> (s)
        }""",
        w=(48, 21), b=(21,),
    )  # fmt: skip
    check(source, "mxfp8")


@pytest.mark.parametrize("columns", [6625, 40000])
def test_a_bias_too_wide_for_tiles_of_whole_rows(columns):
    """PP-OCR's last layer has 6,625 classes: two tiles of one row and the bias do not fit L1 together."""
    source = network(
        f"""g (float[3, {columns}] x) => (float[3, {columns}] y) {{
          s = Add (b, x)
          y = Relu (s)
        }}""",
        b=(columns,),
    )
    schedule = check(source, rtol=0, atol=0)
    assert len(schedule.ops) == 1


@pytest.mark.parametrize("elements", [3, 500, 90000])
def test_elementwise(elements):
    source = network(
        f"""g (float[2, {elements}] x, float[2, {elements}] z) =>
            (float[2, {elements}] y, float[2, {elements}] r) {{
          s = Add (x, z)
          y = Relu (s)
          r = Clip (x, low, high)
        }}""",
        low=(), high=(),
    )  # fmt: skip
    source.graph.initializer[0].raw_data = np.float32(-1).tobytes()
    check(source)


def test_flatten_of_an_image_changes_the_order_in_memory():
    source = network(
        """g (float[2, 5, 3, 4] x) => (float[2, 7] y, float[2, 60] f, float[2, 60] i) {
          c = Relu (x)
          f = Flatten (c)
          i = Identity (f)
          y = Gemm (f, w, b)
        }""",
        w=(60, 7), b=(7,),
    )  # fmt: skip
    check(source)


def test_reshape_back_to_an_image():
    source = network(
        """g (float[2, 30] x) => (float[2, 3, 5, 2] y, float[1, 6, 2, 5] z) {
          i = Reshape (x, shape)
          y = Relu (i)
          z = Reshape (i, other)
        }""",
        integers={"shape": [2, 3, 5, 2], "other": [1, 6, 2, 5]},
    )
    check(source)


@pytest.mark.parametrize("scheme", [None, "mxfp8", "mxfp8_e5m2", "mxfp4"])
def test_a_residual_network(scheme):
    schedule = check(residual(channels=24, size=14), scheme)
    text = describe(schedule.ops)
    assert "image 0 rows" in text and "@0x801" in text


def test_buffers_share_memory_only_when_their_lives_do_not_meet():
    schedule = build(prepare(residual(channels=32, size=16), None), MACHINE)
    spans = [(t.storage, t.address, t.address + t.storage.bytes) for t in schedule.tensors]
    shared = 0
    for index, (a, low, high) in enumerate(spans):
        for b, start, end in spans[:index]:
            if low < end and start < high:
                assert a.last < b.first or b.last < a.first
                shared += 1
    assert shared


def test_what_a_layer_writes_to_l1_is_not_what_the_dma_moves_meanwhile():
    """While tile t is computed, transfers touch no byte that its kernel reads or writes."""
    schedule = build(
        prepare(conv((2, 40, 12, 9), 52, (3, 3), (1, 1), (1, 1, 1, 1)), "mxfp8"), with_l1(MACHINE, 24 << 10)
    )
    op = schedule.ops[-1]
    for before, tile in zip(op.tiles, op.tiles[1:], strict=False):
        outs = [(t.source, t.source + t.total) for t in before.stores]
        assert all(args[5] not in range(*out) for args in tile.args for out in outs)


@pytest.mark.parametrize("scheme", [None, "mxfp8", "mxfp4"])
@pytest.mark.parametrize(
    "changes",
    [
        {"cluster.cores": 1},
        {"cluster.cores": 3},
        {"cluster.cores": 4, "memory.l1_bytes": 65536},
        {"vector.vlen": 256},
        {"vector.vlen": 1024, "memory.l1_bytes": 262144},
    ],
    ids=str,
)
def test_other_machines(changes, scheme):
    """The same bits on any number of harts and any VLEN; every program is run by `check`."""
    source = residual(channels=40, size=14)
    results = []
    for machine in (MACHINE, load_machine("spatz-mx", changes)):
        schedule = check(source, scheme, machine)
        results.append(by_schedule(schedule, feeds(schedule)))
    assert same_bits(*results)


@pytest.mark.parametrize("shapes", [((3, 21, 300), (3, 300, 70)), ((40, 700), (700, 9))], ids=str)
def test_activation_products_are_one_sum(shapes):
    """A contraction that L1 cuts, or cuts elsewhere, has the bits of the whole one: multiply-adds in ascending k."""
    a, b = shapes
    head = f"g (float{list(a)} x, float{list(b)} w) => (float{[*a[:-1], b[-1]]} y)"
    text = f"{head} {{ p = MatMul (x, w)\n y = Relu (p) }}"
    results = []
    for l1 in (65536, 131072, 1 << 21):
        schedule = check(network(text), None, load_machine("spatz-mx", {"memory.l1_bytes": l1}))
        inputs = feeds(schedule)
        results.append(by_schedule(schedule, inputs))
    assert same_bits(results[0], results[1]) and same_bits(results[0], results[2])
    (got,) = results[0]
    x, w = inputs["x"].reshape(-1, *a[-2:]), inputs["w"].reshape(-1, *b[-2:])
    wanted = [GemmFp32(b[-1], a[-1], low=0.0).contract(*pair) for pair in zip(x, w, strict=True)]
    assert np.array_equal(got.reshape(-1), np.stack(wanted).reshape(-1))
