"""Small networks with one of everything that a reader has to do with."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh


def _made(
    nodes: list[onnx.NodeProto],
    weights: list[onnx.TensorProto],
    shape: list[object],
    opset: int = 24,
    functions: list[onnx.FunctionProto] | None = None,
    domains: tuple[str, ...] = (),
) -> onnx.ModelProto:
    x, y = (
        h.make_tensor_value_info(name, T.FLOAT, dims)
        for name, dims in (("x", shape), ("y", [f"d{k}" for k in range(len(shape))]))
    )
    graph = h.make_graph(nodes, "g", [x], [y], weights)
    imports = [h.make_opsetid("", opset), *(h.make_opsetid(domain, 1) for domain in domains)]
    model = h.make_model(graph, opset_imports=imports, ir_version=10, functions=functions or [])
    model.metadata_props.add(key="a", value="b")
    return model


def networks() -> list[onnx.ModelProto]:
    """Convolution, dense layer with bias in `float_data`, codes with scales, branches, loop, function, old opset."""
    kernel = nh.from_array(np.ones((2, 2, 1, 1), np.float32), "w")
    dense = h.make_tensor("w", T.FLOAT, [2, 3], [1.0] * 6)
    codes = nh.from_array(np.ones((2, 3), np.int8), "q")
    scale = nh.from_array(np.float32(0.5), "s")
    then, other = (
        h.make_graph(
            [h.make_node(op, ["x"], [name])], name, [], [h.make_tensor_value_info(name, T.FLOAT, [2, 2])]
        )
        for op, name in (("Relu", "a"), ("Neg", "b"))
    )
    body = h.make_graph(
        [h.make_node("Relu", ["v"], ["w"]), h.make_node("Identity", ["c"], ["d"])],
        "body",
        [
            h.make_tensor_value_info("i", T.INT64, []),
            h.make_tensor_value_info("c", T.BOOL, []),
            h.make_tensor_value_info("v", T.FLOAT, [2, 2]),
        ],
        [h.make_tensor_value_info("d", T.BOOL, []), h.make_tensor_value_info("w", T.FLOAT, [2, 2])],
    )
    function = h.make_function(
        "own", "twice", ["a"], ["b"], [h.make_node("Add", ["a", "a"], ["b"])], [h.make_opsetid("", 24)]
    )
    condition, count = nh.from_array(np.bool_(True), "t"), nh.from_array(np.int64(3), "n")
    convolution = [
        h.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[1, 1], pads=[0, 0, 0, 0]),
        h.make_node("Relu", ["c"], ["y"]),
    ]
    return [
        _made(convolution, [kernel], ["N", 2, 3, 3]),
        _made(convolution, [kernel], ["N", 2, 3, 3], 13),
        _made([h.make_node("Gemm", ["x", "w"], ["y"], alpha=0.5)], [dense], [2, 2]),
        _made(
            [h.make_node("DequantizeLinear", ["q", "s"], ["w"]), h.make_node("MatMul", ["x", "w"], ["y"])],
            [codes, scale],
            [2, 2],
        ),
        _made([h.make_node("If", ["t"], ["y"], then_branch=then, else_branch=other)], [condition], [2, 2]),
        _made([h.make_node("Loop", ["n", "t", "x"], ["y"], body=body)], [condition, count], [2, 2]),
        _made([h.make_node("twice", ["x"], ["y"], domain="own")], [], ["batch", 2], 24, [function], ("own",)),
        _made(
            [
                h.make_node("Constant", [], ["k"], value=h.make_tensor("k", T.INT64, [2], [4, -1])),
                h.make_node("Reshape", ["x", "k"], ["y"]),
            ],
            [],
            [2, "m"],
            21,
        ),
    ]
