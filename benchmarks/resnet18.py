"""ResNet-18 (He et al. 2016) as ONNX with seeded weights: the shapes of a real network, not its accuracy."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))


def resnet18(size: int = 224, seed: int = 0) -> onnx.ModelProto:
    """The network with BatchNorm folded, input [1, 3, size, size]."""
    generator = np.random.Generator(np.random.Philox(seed))
    nodes, weights = [], []

    def conv(x: str, inputs: int, outputs: int, kernel: int, stride: int, name: str, relu: bool) -> str:
        scale = np.sqrt(2.0 / (inputs * kernel * kernel))
        w = (generator.standard_normal((outputs, inputs, kernel, kernel)) * scale).astype(np.float32)
        weights.append(numpy_helper.from_array(w, f"{name}.w"))
        weights.append(numpy_helper.from_array(np.zeros(outputs, np.float32), f"{name}.b"))
        pad = kernel // 2
        nodes.append(helper.make_node("Conv", [x, f"{name}.w", f"{name}.b"], [name], name, strides=[stride, stride],
                                      kernel_shape=[kernel, kernel], pads=[pad] * 4))  # fmt: skip
        if not relu:
            return name
        nodes.append(helper.make_node("Relu", [name], [f"{name}.relu"], f"{name}.relu"))
        return f"{name}.relu"

    x = conv("input", 3, 64, 7, 2, "stem", True)
    nodes.append(
        helper.make_node("MaxPool", [x], ["pool"], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    )
    x, channels = "pool", 64
    for stage, (width, first) in enumerate(STAGES, 1):
        for block in range(2):
            stride = first if block == 0 else 1
            name = f"s{stage}b{block}"
            y = conv(x, channels, width, 3, stride, f"{name}.conv1", True)
            y = conv(y, width, width, 3, 1, f"{name}.conv2", False)
            if stride != 1 or channels != width:
                x = conv(x, channels, width, 1, stride, f"{name}.down", False)
            nodes.append(helper.make_node("Add", [y, x], [f"{name}.add"], f"{name}.add"))
            nodes.append(helper.make_node("Relu", [f"{name}.add"], [f"{name}.out"], f"{name}.out"))
            x, channels = f"{name}.out", width
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["gap"], "gap"))
    nodes.append(helper.make_node("Flatten", ["gap"], ["flat"], "flat"))
    weights.append(numpy_helper.from_array(
        (generator.standard_normal((1000, 512)) * 0.05).astype(np.float32), "fc.w"))  # fmt: skip
    nodes.append(helper.make_node("Gemm", ["flat", "fc.w"], ["logits"], "fc", transB=1))
    graph = helper.make_graph(
        nodes, "resnet18",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1000])], weights,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
