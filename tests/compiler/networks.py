"""Small ONNX networks with seeded random weights, written as ONNX text."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def network(text, seed=0, opset=20, integers=None, **shapes):
    """Parses a graph body and adds initializers of the given shapes (scaled like a trained layer)."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]>\n{text}')
    rng = np.random.default_rng(seed)
    for name, shape in shapes.items():
        fan = max(int(np.prod(shape[1:])), 1) if len(shape) > 1 else 1
        array = rng.standard_normal(shape) / np.sqrt(fan)
        if name.startswith("var"):
            array = np.abs(array) + 0.5
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    for name, value in (integers or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
    onnx.checker.check_model(model, full_check=True)
    return model


def conv_bn(seed=0):
    """Conv, BatchNormalization, Relu on a batch of unknown size."""
    return network(
        """g (float[batch, 3, 9, 8] x) => (float[batch, 20, 5, 4] y) {
          c = Conv <kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_UPPER"> (x, w)
          n = BatchNormalization <epsilon = 0.001> (c, gamma, beta, mean, variance)
          y = Relu (n)
        }""",
        seed,
        w=(20, 3, 3, 3),
        gamma=(20,),
        beta=(20,),
        mean=(20,),
        variance=(20,),
    )


def residual(seed=0, channels=16, size=8):
    """A first convolution, one residual block, pooling and a classifier: ResNet-8 in small."""
    c = channels
    return network(
        f"""g (float[1, 3, {size}, {size}] x) => (float[1, 10] y) {{
          a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w0, b0)
          b = Relu (a)
          d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (b, w1, b1)
          e = Relu (d)
          f = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (e, w2, b2)
          s = Conv <kernel_shape = [1, 1], strides = [2, 2]> (b, w3, b3)
          t = Add (f, s)
          u = Relu (t)
          p = GlobalAveragePool (u)
          q = Flatten (p)
          y = Gemm <transB = 1> (q, w4, b4)
        }}""",
        seed,
        w0=(c, 3, 3, 3),
        b0=(c,),
        w1=(2 * c, c, 3, 3),
        b1=(2 * c,),
        w2=(2 * c, 2 * c, 3, 3),
        b2=(2 * c,),
        w3=(2 * c, c, 1, 1),
        b3=(2 * c,),
        w4=(10, 2 * c),
        b4=(10,),
    )


def constant_weights():
    """Weights in Constant nodes, as Paddle writes them, and a shape computed at run time."""
    weight = numpy_helper.from_array(np.random.default_rng(5).standard_normal((6, 4)).astype(np.float32), "w")
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weight),
        helper.make_node("Constant", [], ["minus"], value_ints=[-1]),
        helper.make_node("Shape", ["x"], ["s"], end=1),
        helper.make_node("Concat", ["s", "minus"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["m"]),
        helper.make_node("Identity", ["m"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "paddle",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 4])],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])
