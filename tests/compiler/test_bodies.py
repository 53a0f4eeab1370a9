"""Operators that are taken apart, against onnxruntime."""

import numpy as np
import onnxruntime
import pytest
from nodes import Net as Plain
from nodes import drawn


class Net(Plain):
    """onnx's evaluator takes signed sums for norms, global pools of four dimensions only, and one image at a time."""

    def evaluate(self, model):
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, self.inputs)


def test_normalizations():
    rng, net = np.random.default_rng(1), Net()
    x = net.value(drawn(rng, (2, 6, 5, 4)))
    six = [net.value(np.abs(drawn(rng, (6,))) + np.float32(0.3), constant=True) for _ in range(4)]
    net.node("BatchNormalization", x, *six, rtol=1e-5, atol=1e-5)
    net.node("InstanceNormalization", x, *six[:2], epsilon=1e-3, rtol=1e-4, atol=1e-4)
    net.node("GroupNormalization", x, *six[:2], num_groups=3, rtol=1e-4, atol=1e-4)
    scale = net.value(drawn(rng, (5, 4)), constant=True)
    net.node("LayerNormalization", x, scale, axis=2, rtol=1e-4, atol=1e-4)
    net.node("LayerNormalization", x, net.value(drawn(rng, (4,)), constant=True), net.value(drawn(rng, (4,))),
             rtol=1e-4, atol=1e-4)  # fmt: skip
    for p in (1, 2):
        net.node("LpNormalization", x, axis=1, p=p, rtol=1e-5)
    net.node("LRN", x, size=3, alpha=0.1, rtol=1e-5)
    net.node("LRN", x, size=5, beta=0.5, bias=2.0, rtol=1e-5)
    net.node("MeanVarianceNormalization", x, rtol=1e-4, atol=1e-4)
    net.node("Hardmax", x, axis=1)
    for axis in range(4):
        net.node("Softmax", x, axis=axis, rtol=1e-5)
        net.node("LogSoftmax", x, axis=axis, rtol=1e-5, atol=1e-5)
    net.check()


def test_pools_of_other_ranks():
    rng, net = np.random.default_rng(2), Net()
    x, long, deep = (net.value(drawn(rng, shape)) for shape in ((2, 3, 7, 6), (2, 3, 11), (1, 2, 3, 4, 5)))
    for name in ("GlobalMaxPool", "GlobalAveragePool"):
        for value in (x, long, deep):
            net.node(name, value, rtol=1e-5, atol=1e-6)
    for name in ("MaxPool", "AveragePool"):
        net.node(name, long, kernel_shape=[3], strides=[2], pads=[1, 1], rtol=1e-5)
    net.node("LpPool", x, kernel_shape=[2, 3], strides=[1, 2], p=2, rtol=1e-5)
    net.check()


@pytest.mark.parametrize("seed", range(3))
def test_running_sums(seed):
    rng, net = np.random.default_rng(seed), Net()
    x = net.value(rng.integers(-9, 9, (3, 11, 2)).astype(["float32", "int32", "int64"][seed]))
    for axis in range(3):
        for exclusive in (0, 1):
            held = net.value(np.array(axis, np.int64), constant=True)
            net.node("CumSum", x, held, exclusive=exclusive, reverse=axis % 2, rtol=0, atol=0)
    net.check()


CONVOLUTIONS = [
    ((1, 4, 9), (6, 4, 3), dict(pads=[1, 1], strides=[2])), ((2, 3, 8), (4, 3, 2), dict(dilations=[3])),
    ((1, 4, 8, 7), (6, 4, 3, 3), dict(dilations=[2, 1], pads=[2, 1, 2, 1])),
    ((1, 6, 8, 7), (4, 3, 3, 3), dict(group=2, pads=[1, 1, 1, 1])),
    ((2, 8, 5, 5), (8, 2, 1, 1), dict(group=4)), ((1, 4, 9, 9), (4, 2, 3, 3), dict(group=2, dilations=[2, 2])),
    ((1, 4, 10), (4, 1, 3), dict(group=4, pads=[1, 1])),
]  # fmt: skip
TRANSPOSED = [
    ((1, 4, 5, 6), (4, 3, 3, 3), dict()), ((1, 4, 5, 6), (4, 3, 2, 2), dict(strides=[2, 2])),
    ((1, 4, 5, 6), (4, 3, 3, 3), dict(strides=[2, 3], pads=[1, 1, 1, 1], output_padding=[1, 1])),
    ((2, 4, 5, 6), (4, 2, 3, 3), dict(group=2, strides=[2, 1], pads=[0, 1, 1, 0])),
    ((1, 4, 7), (4, 2, 4), dict(strides=[2], pads=[1, 1])), ((1, 4, 5, 6), (4, 3, 1, 1), dict(strides=[2, 2])),
    ((1, 2, 5, 5), (2, 3, 3, 3), dict(dilations=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1])),
    ((1, 2, 3, 3), (2, 2, 3, 3), dict(pads=[3, 3, 3, 3], strides=[3, 3])),
    ((1, 2, 3, 3), (2, 2, 3, 3), dict(auto_pad="SAME_UPPER", strides=[2, 2])),
    ((1, 2, 3, 3), (2, 2, 3, 3), dict(auto_pad="SAME_LOWER", strides=[2, 2])),
    ((1, 2, 3, 3), (2, 2, 3, 3), dict(output_shape=[10, 8], strides=[3, 2])),
]  # fmt: skip


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_convolutions_of_every_kind(op):
    rng, net = np.random.default_rng(4), Net()
    for shape, kernel, attributes in CONVOLUTIONS if op == "Conv" else TRANSPOSED:
        outputs = kernel[0] if op == "Conv" else kernel[1] * attributes.get("group", 1)
        operands = [net.value(drawn(rng, shape)), net.value(drawn(rng, kernel), constant=True)]
        operands.append(net.value(drawn(rng, (outputs,)), constant=True))
        net.node(op, *operands, rtol=1e-4, atol=1e-4, **attributes)
    net.check()
