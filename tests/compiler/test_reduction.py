"""Reductions over any axes against onnx's reference evaluator, in any order in memory and beyond what fits into L1."""

import numpy as np
import pytest
from nodes import Net, drawn

NAMES = ("Sum", "Mean", "Max", "Min", "Prod", "SumSquare", "L1", "L2", "LogSum", "LogSumExp")
CASES = [
    ((5,), (0,)), ((3, 7), (1,)), ((3, 7), (0,)), ((3, 7), (0, 1)), ((2, 3, 4, 5), (1,)), ((2, 3, 4, 5), (2, 3)),
    ((2, 3, 4, 5), (0, 2)), ((2, 3, 4, 5), (1, 3)), ((2, 1, 4), (1,)), ((2, 3, 2, 2, 3), (0, 2, 4)), ((1, 1), (0,)),
    ((2, 6, 1, 5), (-1, -3)), ((40, 130), (0,)), ((130, 40), (1,)),
]  # fmt: skip


def axes_of(net, axes):
    return net.value(np.array(axes, np.int64), constant=True)


@pytest.mark.parametrize("keepdims", [0, 1])
def test_axes(keepdims):
    rng, net = np.random.default_rng(1), Net()
    for number, (shape, axes) in enumerate(CASES):
        x = net.value(np.abs(drawn(rng, shape)) + np.float32(0.1))
        for name in NAMES[number % 3 :: 3]:
            net.node(f"Reduce{name}", x, axes_of(net, axes), keepdims=keepdims, rtol=3e-6)
    net.check()


def test_every_operator_over_everything_and_nothing():
    rng, net = np.random.default_rng(2), Net()
    x = net.value(np.abs(drawn(rng, (3, 4, 5))) + np.float32(0.2))
    for name in NAMES:
        net.node(f"Reduce{name}", x, rtol=3e-6)
        net.node(f"Reduce{name}", x, axes_of(net, []), keepdims=0, rtol=3e-6)
        net.node(f"Reduce{name}", x, axes_of(net, [-1]), rtol=3e-6)
    net.check()


def test_types():
    rng, net = np.random.default_rng(3), Net()
    for dtype in ("int32", "int64", "int8", "uint8", "bool"):
        x = net.value(drawn(rng, (4, 9, 3), dtype))
        sums = ("Sum", "L1", "SumSquare", "Prod")  # the evaluator makes those of INT32 INT64
        for name in ("Max", "Min", *(sums if dtype == "int64" else ())):
            for axes in ((1,), (2,), (0, 2)):
                net.node(f"Reduce{name}", x, axes_of(net, axes), keepdims=0, rtol=0, atol=0)
    net.check()


def test_images_in_either_order():
    """After a convolution an image lies as NHWC."""
    rng, net = np.random.default_rng(4), Net()
    x = net.value(drawn(rng, (2, 3, 6, 5)))
    w = net.value(drawn(rng, (8, 3, 3, 3)), constant=True)
    net.node("Conv", x, w, rtol=1e-4, atol=1e-4)
    for axes in ((2, 3), (1,), (3,), (0,), (2,), (0, 2, 3)):
        for keepdims in (0, 1):
            net.node("ReduceMean", "y0", axes_of(net, axes), keepdims=keepdims, rtol=1e-4, atol=1e-4)
    for axis in range(4):
        net.node("ArgMax", "y0", axis=axis, keepdims=axis % 2)
    net.check()


def test_larger_than_the_scratchpad():
    rng, net = np.random.default_rng(5), Net()
    long, tall = net.value(drawn(rng, (2, 70_000))), net.value(drawn(rng, (9_000, 20)))
    net.node("ReduceSum", long, axes_of(net, [1]), rtol=1e-4, atol=1e-2)
    net.node("ReduceL2", long, axes_of(net, [0, 1]), rtol=1e-4)
    net.node("ReduceMax", tall, axes_of(net, [0]), rtol=0, atol=0)
    net.node("ReduceMean", tall, axes_of(net, [0]), keepdims=0, rtol=1e-4, atol=1e-5)
    net.node("ArgMin", long, axis=1)
    net.check()


def test_places_of_extremes():
    rng, net = np.random.default_rng(6), Net()
    for dtype in ("float32", "int32", "uint8", "int64"):
        x = net.value(rng.integers(0, 4, (3, 7, 4)).astype(dtype))
        for op in ("ArgMax", "ArgMin"):
            for axis in (0, 1, -1):
                for last in (0, 1):
                    net.node(op, x, axis=axis, keepdims=last, select_last_index=last)
    net.check()


def test_infinities():
    net = Net()
    x = net.value(np.array([[np.inf, 1], [-np.inf, 2], [200, 200], [-np.inf, -1]], np.float32))
    for name in ("LogSumExp", "Max", "Min", "L1"):
        net.node(f"Reduce{name}", x, axes_of(net, [1]))
    net.check()
