"""TopK, Einsum, and windows of any rank, against NumPy and onnxruntime."""

import numpy as np
import onnxruntime
import pytest
from nodes import MACHINE, drawn
from nodes import Net as Plain
from onnx import helper, numpy_helper

from potluck.compiler.compile import compile_model
from potluck.sim.simulate import simulate


class Net(Plain):
    """Against onnxruntime."""

    def evaluate(self, model):
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, self.inputs)


TOP = [
    ((37,), 0, 5, {}), ((3, 20), -1, 20, {"largest": 0}), ((2, 9, 5), 1, 4, {}), ((300,), 0, 3, {"largest": 0}),
    ((2, 1500, 2), 1, 2, {}), ((1, 6, 3, 4), 1, 2, {"largest": 0}), ((5000,), 0, 60, {}),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "int64", "uint32", "float16"])
def test_largest_and_smallest(dtype):
    """Many equal elements: the first ones win. By ranks and in rounds."""
    rng, nodes, inputs, outputs, held, wanted = np.random.default_rng(1), [], {}, [], [], {}
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    for index, (shape, axis, count, attributes) in enumerate(TOP):
        if dtype == "int64" and shape[axis] > 1024:
            continue
        low = 0 if dtype.startswith("u") else -40
        x = rng.integers(low, 60, shape).astype(dtype)
        if dtype in ("float32", "float16"):
            x = (x / 4).astype(dtype)
            x.reshape(-1)[:4] = [-0.0, np.inf, -np.inf, 0.0]
        elif dtype == "uint32":
            x = (x.astype(np.uint32) * 71582788).astype(np.uint32)
        inputs[f"x{index}"] = x
        held.append(numpy_helper.from_array(np.array([count], np.int64), f"k{index}"))
        names = [f"v{index}", f"p{index}"]
        operands = [f"x{index}", f"k{index}"]
        nodes.append(helper.make_node("TopK", operands, names, name=f"n{index}", axis=axis, **attributes))
        key = x.astype(np.float64) if attributes.get("largest", 1) == 0 else -x.astype(np.float64)
        order = np.argsort(key, axis=axis, kind="stable").take(range(count), axis)
        wanted[names[1]], wanted[names[0]] = order, np.take_along_axis(x, order, axis)
        outputs += [helper.make_tensor_value_info(names[0], kind, order.shape),
                    helper.make_tensor_value_info(names[1], 7, order.shape)]  # fmt: skip
    infos = [helper.make_tensor_value_info(n, kind, a.shape) for n, a in inputs.items()]
    graph = helper.make_graph(nodes, "g", infos, outputs, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=12)
    got = simulate(compile_model(model, MACHINE), inputs, machine=MACHINE, mode="functional").outputs
    for name, want in wanted.items():
        np.testing.assert_array_equal(got[name], want, err_msg=name)


EQUATIONS = [
    ("ij,jk->ik", (3, 4), (4, 5)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)), ("ij->ji", (3, 4)), ("ij->", (3, 4)),
    ("bhid,bhjd->bhij", (2, 2, 3, 4), (2, 2, 5, 4)), ("bii->bi", (2, 3, 3)), ("ii", (4, 4)), ("i,i", (5,), (5,)),
    ("i,j->ij", (3,), (4,)), ("...ij,...jk->...ik", (5, 3, 4), (5, 4, 2)), ("...ij,jk->...ik", (5, 3, 4), (4, 2)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)), ("bi,bi->b", (3, 4), (3, 4)), ("abc,cd", (2, 3, 4), (4, 5)),
    ("ijk,jil->kl", (2, 3, 4), (3, 2, 5)), ("...a->...", (2, 3, 4)),
]  # fmt: skip


def test_einsum():
    rng, net = np.random.default_rng(2), Net()
    for equation, *shapes in EQUATIONS:
        net.node(
            "Einsum",
            *(net.value(drawn(rng, shape)) for shape in shapes),
            equation=equation,
            rtol=1e-5,
            atol=1e-5,
        )
    net.check()


def test_einsum_of_doubles():
    rng, net = np.random.default_rng(3), Net()
    for equation, *shapes in EQUATIONS[:6]:
        operands = [net.value(rng.standard_normal(shape)) for shape in shapes]
        net.node("Einsum", *operands, equation=equation, rtol=1e-13, atol=1e-13)
    net.check()


def test_convolutions_with_weights_computed_at_run_time():
    rng, net = np.random.default_rng(4), Net()
    for shape, kernel, attributes in (
        ((2, 3, 6, 7), (4, 3, 3, 3), dict(pads=[1, 1, 1, 1], strides=[2, 1])),
        ((1, 4, 9, 8), (6, 2, 3, 2), dict(group=2, dilations=[2, 1])),
        ((1, 4, 9), (4, 1, 3), dict(group=4, pads=[2, 0])), ((1, 2, 5, 4, 6), (3, 2, 2, 3, 2), dict(pads=[1] * 6)),
    ):  # fmt: skip
        operands = [
            net.value(drawn(rng, shape)),
            net.value(drawn(rng, kernel)),
            net.value(drawn(rng, kernel[:1])),
        ]
        net.node("Conv", *operands, rtol=1e-4, atol=1e-4, **attributes)
    operands = [net.value(drawn(rng, (1, 4, 5, 6))), net.value(drawn(rng, (4, 2, 3, 3)))]
    net.node("ConvTranspose", *operands, strides=[2, 1], pads=[1, 0, 1, 1], group=2, rtol=1e-4, atol=1e-4)
    net.check()


def test_pools_of_three_dimensions_and_of_bytes():
    rng, net = np.random.default_rng(5), Net()
    deep, flat = net.value(drawn(rng, (1, 2, 5, 6, 7))), net.value(drawn(rng, (1, 2, 8, 7)))
    window = dict(kernel_shape=[2, 3, 2], strides=[2, 1, 2], pads=[1, 1, 0, 0, 1, 1])
    net.node("MaxPool", deep, **window)
    for include in (0, 1):
        net.node("AveragePool", deep, count_include_pad=include, rtol=1e-5, **window)
        net.node("AveragePool", flat, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1,
                 count_include_pad=include, rtol=1e-5)  # fmt: skip
    net.node(
        "MaxPool",
        net.value(rng.integers(0, 255, (1, 2, 8, 7)).astype(np.uint8)),
        kernel_shape=[3, 2],
        pads=[1, 1, 0, 0],
    )
    net.node("LpPool", deep, kernel_shape=[2, 2, 2], p=3, rtol=1e-5)
    net.check()


@pytest.mark.parametrize("storage_order", [0, 1])
def test_places_of_maxima(storage_order):
    rng = np.random.default_rng(6)
    x = rng.standard_normal((2, 3, 6, 5)).astype(np.float32)
    node = helper.make_node("MaxPool", ["x"], ["y", "i"], name="pool", kernel_shape=[2, 3], pads=[1, 0, 0, 1],
                            strides=[2, 1], storage_order=storage_order)  # fmt: skip
    infos = [
        helper.make_tensor_value_info("y", 1, (2, 3, 3, 4)),
        helper.make_tensor_value_info("i", 7, (2, 3, 3, 4)),
    ]
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", 1, x.shape)], infos)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    got = simulate(compile_model(model, MACHINE), {"x": x}, machine=MACHINE, mode="functional").outputs
    for name, want in zip("yi", session.run(None, {"x": x}), strict=True):
        np.testing.assert_array_equal(got[name], want)
