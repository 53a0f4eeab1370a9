"""Operators that move data, of any rank, shape and type, on both kinds of machine, against onnx and onnxruntime."""

import itertools

import numpy as np
import pytest
from side_by_side import Net, drawn

from potluck.compiler.lowering.boxes import Axis, Box, progressions, separable
from potluck.isa.machine import load_machine

MACHINES = [load_machine("spatz-mx"), load_machine("rvv-generic")]
TYPES = ("float32", "int64", "int8", "bool", "float16", "float64", "uint8", "int32")
on_both = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)


def shapes(rng, count, rank, most=9):
    return [tuple(int(n) for n in rng.integers(1, most, rank)) for _ in range(count)]


@on_both
def test_transposes(machine):
    rng, net = np.random.default_rng(1), Net()
    for perm in itertools.permutations(range(4)):
        net.node("Transpose", net.value(drawn(rng, (2, 3, 4, 5))), perm=perm)
    for index, rank in enumerate((1, 2, 3, 5, 6, 7)):
        x = net.value(drawn(rng, shapes(rng, 1, rank, 5)[0], TYPES[index]))
        net.node("Transpose", x)
        net.node("Transpose", x, perm=[int(i) for i in rng.permutation(rank)])
    net.check(machine)


@on_both
def test_slices(machine):
    rng, net = np.random.default_rng(2), Net()
    for index in range(24):
        rank = int(rng.integers(1, 6))
        (shape,) = shapes(rng, 1, rank, 12)
        axes = rng.permutation(rank)[: int(rng.integers(1, rank + 1))]
        starts, ends = rng.integers(-14, 14, (2, len(axes)))
        steps = rng.choice([-3, -2, -1, 1, 2, 5], len(axes))
        parts = (net.constant(np.asarray(part, np.int64)) for part in (starts, ends, axes - rank, steps))
        net.node("Slice", net.value(drawn(rng, shape, TYPES[index % len(TYPES)])), *parts)
    net.check(machine)


@on_both
def test_concat_and_split(machine):
    rng, net = np.random.default_rng(3), Net()
    for index, (shape, axis) in enumerate((((3, 4, 5), 0), ((3, 4, 5), -1), ((2, 6, 3, 4), 1), ((7,), 0))):
        dtype = TYPES[index]
        inputs = []
        for size in (1, 4, 2):
            part = list(shape)
            part[axis] = size
            made = drawn(rng, part, dtype)
            inputs.append(net.constant(made) if size == 2 else net.value(made))
        net.node("Concat", *inputs, axis=axis)
        sizes = [1, shape[axis] - 1]
        net.node(
            "Split", net.value(drawn(rng, shape, dtype)), net.constant(np.array(sizes)), outputs=2, axis=axis
        )
    net.node("Split", net.value(drawn(rng, (5, 7))), outputs=3, axis=1, num_outputs=3)
    net.check(machine)


@on_both
def test_expand_and_tile(machine):
    rng, net = np.random.default_rng(4), Net()
    for index, (shape, target) in enumerate(
        [
            ((3, 1), (2, 3, 6)),
            ((1,), (4, 5)),
            ((2, 1, 4, 1), (2, 3, 4, 5)),
            ((), (7,)),
            ((1, 1, 40), (3, 5, 40)),
        ]
    ):
        x = net.value(drawn(rng, shape, TYPES[index]))
        net.node("Expand", x, net.constant(np.array(target)))
    for index, (shape, repeats) in enumerate(
        [((3, 4), (2, 3)), ((2, 1, 5), (1, 4, 2)), ((2, 3, 4, 5), (2, 1, 2, 1))]
    ):
        net.node("Tile", net.value(drawn(rng, shape, TYPES[index])), net.constant(np.array(repeats)))
    net.check(machine)


@on_both
def test_pads(machine):
    rng, net = np.random.default_rng(5), Net()
    for mode in ("constant", "edge", "reflect", "wrap"):
        for index, (shape, pads) in enumerate(
            [
                ((4, 5), (1, 2, 3, 0)),
                ((1, 3, 6, 7), (0, 0, 2, 1, 0, 0, 3, 4)),
                ((9,), (5, 6)),
                ((2, 6, 16), (0, 2, 0, 1, 1, 0)),
            ]
        ):
            x = drawn(rng, shape, TYPES[index])
            value = [net.constant(np.ones((), x.dtype))] if mode == "constant" else []
            if mode == "reflect" and 2 in shape[:1]:
                pads = (0, *pads[1:3], 0, *pads[4:])
            net.node("Pad", net.value(x), net.constant(np.array(pads)), *value, mode=mode)
    net.check(machine)


@on_both
def test_pads_that_cut_and_borders_known_late(machine):
    rng, net = np.random.default_rng(15), Net()
    x = net.value(drawn(rng, (6, 7)))
    net.node("Pad", x, net.constant(np.array([-1, 2, 0, -3])), mode="constant")
    net.node("Pad", x, net.constant(np.array([0, -2, 3, 1])), mode="edge")
    net.node(
        "Pad", x, net.constant(np.array([2, 1])), net.value(np.float32(3.5)), net.constant(np.array([1]))
    )
    net.check(machine, reference="onnxruntime")


@on_both
def test_blocks_of_pixels(machine):
    rng, net = np.random.default_rng(6), Net()
    x = net.value(drawn(rng, (2, 12, 3, 5)))
    net.node("DepthToSpace", x, blocksize=2)
    net.node("DepthToSpace", x, blocksize=2, mode="CRD")
    net.node("SpaceToDepth", net.value(drawn(rng, (1, 2, 6, 9), "int8")), blocksize=3)
    net.check(machine)


@on_both
def test_reversed_and_one_hot(machine):
    rng, net = np.random.default_rng(7), Net()
    for time, dtype in ((0, "float32"), (1, "int8")):
        x = net.value(drawn(rng, (6, 6, 3), dtype))
        lengths = rng.integers(1, 7, 6)
        net.node("ReverseSequence", x, net.value(lengths), time_axis=time, batch_axis=1 - time)
        net.node("ReverseSequence", x, net.constant(lengths), time_axis=time, batch_axis=1 - time)
    picks = rng.integers(-5, 9, (3, 4))
    for axis in (0, 1, -1):
        pair = np.array([-1, 4], np.float32)
        net.node("OneHot", net.value(picks), net.constant(np.int64(5)), net.value(pair), axis=axis)
        net.node("OneHot", net.value(picks), net.constant(np.int64(5)), net.constant(pair), axis=axis)
    for upper, k in itertools.product((0, 1), (-2, 0, 1)):
        net.node("Trilu", net.value(drawn(rng, (2, 5, 7), "int64")), net.constant(np.int64(k)), upper=upper)
    net.node("Compress", x, net.constant(np.array([True, False, True])), axis=2)
    net.node("Compress", x, net.constant(rng.integers(0, 2, 100).astype(bool)))
    net.check(machine)


@on_both
def test_gathers(machine):
    rng, net = np.random.default_rng(8), Net()
    for index, (shape, axis, picks) in enumerate(
        [
            ((9, 5), 0, (4,)),
            ((9, 5), 1, (2, 3)),
            ((3, 8, 70), 1, (5,)),
            ((3, 4, 2, 6), 3, (7,)),
            ((30,), 0, ()),
            ((2, 3, 4), 0, (2, 2)),
        ]
    ):
        x = drawn(rng, shape, TYPES[index])
        chosen = rng.integers(-shape[axis], shape[axis], picks).astype((np.int32, np.int64)[index % 2])
        for indices in (net.value(chosen), net.constant(chosen)):
            net.node("Gather", net.value(x), indices, axis=axis)
        net.node("Gather", net.constant(x), net.value(chosen), axis=axis)
    for index, (shape, axis, picks) in enumerate(
        [((4, 5), 0, (3, 5)), ((2, 3, 7), 2, (2, 3, 4)), ((6,), 0, (9,))]
    ):
        x = drawn(rng, shape, TYPES[index + 2])
        chosen = rng.integers(-shape[axis], shape[axis], picks)
        for indices in (net.value(chosen), net.constant(chosen)):
            net.node("GatherElements", net.value(x), indices, axis=axis)
    for index, (shape, batch, picks) in enumerate(
        [
            ((4, 5, 6), 0, (3, 2)),
            ((4, 5, 6), 0, (7, 1)),
            ((2, 3, 4, 5), 1, (2, 3, 3)),
            ((2, 3, 2, 2, 3, 2), 0, (4, 6)),
        ]
    ):
        x = drawn(rng, shape, TYPES[index])
        limit = np.array(shape[batch : batch + picks[-1]])
        chosen = rng.integers(-limit, limit, picks)
        for indices in (net.value(chosen), net.constant(chosen)):
            net.node("GatherND", net.value(x), indices, batch_dims=batch)
    net.check(machine)


@on_both
def test_scatters(machine):
    rng, net = np.random.default_rng(9), Net()
    for index, (shape, axis, picks) in enumerate(
        [((4, 5), 0, (3, 5)), ((2, 3, 7), 2, (2, 3, 4)), ((6,), 0, (4,))]
    ):
        chosen = np.argsort(rng.random(shape), axis)[tuple(slice(size) for size in picks)]  # no place twice
        x = drawn(rng, shape, TYPES[index + 1])
        updates = drawn(rng, picks, TYPES[index + 1])
        for indices in (net.value(chosen), net.constant(chosen)):
            net.node("ScatterElements", net.value(x), indices, net.value(updates), axis=axis)
    for reduction in ("add", "mul", "min", "max"):
        for dtype in ("float32", "int32", "uint8"):
            x, updates = drawn(rng, (5, 3), dtype), drawn(rng, (4, 3), dtype)
            chosen = rng.integers(0, 5, (4, 3))  # places twice
            net.node(
                "ScatterElements", net.value(x), net.value(chosen), net.value(updates), reduction=reduction
            )
            rows = drawn(rng, (3, 4), dtype)
            picks = np.array([[1], [0], [1]])
            net.node(
                "ScatterND",
                net.value(drawn(rng, (2, 4), dtype)),
                net.value(picks),
                net.value(rows),
                reduction=reduction,
            )
    x, rows = drawn(rng, (4, 5, 6)), drawn(rng, (3, 6))
    picks = np.array([[0, 4], [3, -1], [2, 2]])
    net.node("ScatterND", net.value(x), net.value(picks), net.value(rows))
    net.node("ScatterND", net.value(x), net.constant(picks), net.constant(rows))
    net.check(machine, rtol=1e-6)


@on_both
def test_tensors_that_are_larger_than_l1(machine):
    """Tiles, ragged ones too, in both directions; indices into what is too large to hold."""
    rng, net = np.random.default_rng(10), Net()
    x = net.value(drawn(rng, (311, 257)))
    net.node("Transpose", x)
    net.node("Gather", x, net.value(rng.integers(-311, 311, 50)), axis=0)
    net.node("Gather", x, net.value(rng.integers(0, 257, 130)), axis=1)
    net.node("GatherElements", x, net.value(rng.integers(0, 311, (40, 257))), axis=0)
    net.node("ScatterND", x, net.value(np.array([[300], [7]])), net.value(drawn(rng, (2, 257))))
    long = net.value(drawn(rng, (2, 70001)))
    net.node("Gather", long, net.value(np.array([1, 0, 1])), axis=0)
    net.node("Gather", long, net.value(rng.integers(0, 70001, 60000)), axis=1)
    net.node("Slice", long, *(net.constant(np.array([n])) for n in (69999, 3, 1, -2)))
    net.node("Tile", long, net.constant(np.array([2, 2])))
    deep = net.value(drawn(rng, (13, 3, 31, 37), "int8"))
    for perm in ((3, 1, 2, 0), (0, 2, 3, 1), (2, 3, 0, 1)):
        net.node("Transpose", deep, perm=perm)
    net.node("Pad", deep, net.constant(np.array([0, 1, 1, 1, 0, 0, 1, 2])), mode="reflect")
    net.check(machine, reference="onnxruntime")


@on_both
def test_resizes(machine):
    rng, net = np.random.default_rng(11), Net()
    image, line = net.value(drawn(rng, (1, 2, 5, 7))), net.value(drawn(rng, (2, 3, 9)))
    for mode in ("nearest", "linear", "cubic"):
        for transform in (
            "half_pixel",
            "align_corners",
            "asymmetric",
            "pytorch_half_pixel",
            "half_pixel_symmetric",
        ):
            scales = net.constant(np.array([1, 1, 2.2, 0.61], np.float32))
            net.node("Resize", image, "", scales, mode=mode, coordinate_transformation_mode=transform)
        sizes = net.constant(np.array([2, 3, 20]))
        net.node("Resize", line, "", "", sizes, mode=mode)
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        net.node("Resize", image, "", net.constant(np.array([1, 1, 2, 3], np.float32)), nearest_mode=rounding,
                 coordinate_transformation_mode="asymmetric")  # fmt: skip
    roi = net.constant(np.array([0, 0, 0.1, 0.2, 1, 1, 1.3, 0.8], np.float32))
    net.node("Resize", image, roi, "", net.constant(np.array([1, 2, 6, 6])), mode="linear",
             coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=7.0)  # fmt: skip
    for mode in ("linear", "cubic"):
        net.node(
            "Resize", image, "", net.constant(np.array([1, 1, 0.6, 0.5], np.float32)), mode=mode, antialias=1
        )
    net.node(
        "Resize",
        image,
        "",
        net.constant(np.array([1, 1, 0.6, 2], np.float32)),
        mode="cubic",
        exclude_outside=1,
    )
    net.check(machine, rtol=1e-4, atol=1e-5)


def test_channels_stay_innermost_between_convolutions():
    """No layer changes the order of an image between a convolution and a movement along its axes."""
    rng, net = np.random.default_rng(12), Net()
    weights = net.constant(drawn(rng, (8, 8, 1, 1)))
    x = net.node("Conv", net.value(drawn(rng, (1, 8, 6, 6))), weights)
    x = net.node("Concat", x, net.node("Relu", x), axis=1)
    x = net.node("Resize", x, "", net.constant(np.array([1, 1, 2, 2], np.float32)))
    x = net.node("Pad", x, net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    net.node("Slice", x, *(net.constant(np.array([n])) for n in (0, 8, 1)))
    program, _ = net.check(MACHINES[0], rtol=1e-5, atol=1e-5, mode="timed")
    inner = [layer.name for layer in program.manifest.layers if layer.op == "Transpose"]
    assert not [name for name in inner if not name.startswith(("x0", "y"))], inner


@pytest.mark.parametrize(
    ("places", "count"),
    [((0, 1, 2), 1), ((5, 3, 1), 1), ((0, 0, 1, 1, 2, 2), 1), ((0, 1, 0, 1), 1), ((4,), 1), ((0, 1, 5, 6), 1),
     ((0, 1, 3, 4, 5), 2), ((2, 2, 2), 1), ((), 0)],
)  # fmt: skip
def test_progressions_say_what_the_map_says(places, count):
    found = progressions(np.array(places, np.int64))
    assert len(found) == count
    made = np.full(len(places), -1)
    for item in found:
        grid = np.ogrid[tuple(slice(level[0]) for level in item.levels)]
        at = item.first + sum(g * level[1] for g, level in zip(grid, item.levels, strict=True))
        made[at] = item.start + sum(g * level[2] for g, level in zip(grid, item.levels, strict=True))
    assert made.tolist() == list(places)


def test_boxes_take_the_fewest_axes():
    assert separable((4, 6), (4, 6), {}) == [Box((Axis(24, 1, 1),))]
    (box,) = separable((2, 3), (4, 6), {0: np.arange(4) // 2, 1: np.arange(6) // 2})
    assert box.axes == (Axis(2, 3, 12), Axis(2, 0, 6), Axis(3, 1, 2), Axis(2, 0, 1))


def test_a_box_of_nothing_stays_one():
    assert Box((Axis(3, 1, 1), Axis(0, 3, 3))).simplified().elements == 0
