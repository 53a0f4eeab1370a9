"""If, Loop and Scan that are taken apart, against onnxruntime."""

import numpy as np
import onnxruntime
import pytest
from nodes import MACHINE
from onnx import TensorProto, helper, numpy_helper

from potluck.compiler.compile import compile_model
from potluck.compiler.support import UnsupportedError
from potluck.sim.simulate import simulate

F, I, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def info(name, kind=F, shape=(2, 3)):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, held=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def check(made, inputs, **options):
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in made.graph.output]
    bound = options.get("bind", {})
    wanted = session.run(None, {**inputs, **bound})
    got = simulate(
        compile_model(made, MACHINE, **options), inputs, machine=MACHINE, mode="functional"
    ).outputs
    for name, want in zip(names, wanted, strict=True):
        np.testing.assert_allclose(got[name], want, rtol=1e-6)


def branches():
    then = helper.make_graph([helper.make_node("Mul", ["x", "two"], ["t"])], "then", [], [info("t")],
                             [numpy_helper.from_array(np.float32(2), "two")])  # fmt: skip
    other = helper.make_graph([helper.make_node("Neg", ["x"], ["e"])], "else", [], [info("e")])
    return dict(then_branch=then, else_branch=other)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("taken", [True, False])
def test_branches(known, taken):
    x, condition = np.arange(6, dtype=np.float32).reshape(2, 3), np.array(taken)
    made = model([helper.make_node("If", ["c"], ["y"], name="if", **branches())], [info("x"), info("c", B, ())],
                 [info("y")])  # fmt: skip
    if known:
        check(made, {"x": x}, bind={"c": condition})
    else:
        check(made, {"x": x, "c": condition})


def loop(condition="c_in"):
    """s += x + i; collects s; its condition is what it was, or computed."""
    nodes = [
        helper.make_node("Cast", ["i"], ["f"], to=F), helper.make_node("Add", ["s", "x"], ["a"]),
        helper.make_node("Add", ["a", "f"], ["s_out"]), helper.make_node("Identity", ["s_out"], ["each"]),
    ]  # fmt: skip
    if condition == "c_in":
        nodes.append(helper.make_node("Identity", ["c_in"], ["c_out"]))
    else:
        nodes += [helper.make_node("ReduceMax", ["s_out"], ["m"], keepdims=0),
                  helper.make_node("Less", ["m", "ten"], ["c_out"])]  # fmt: skip
    held = [numpy_helper.from_array(np.float32(10), "ten")]
    return helper.make_graph(nodes, "body", [info("i", I, ()), info("c_in", B, ()), info("s")],
                             [info("c_out", B, ()), info("s_out"), info("each")], held)  # fmt: skip


@pytest.mark.parametrize("inner", [False, True])
def test_loops(inner):
    """Collected and carried values; a loop in a branch."""
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    trips = numpy_helper.from_array(np.array(4), "n")
    node = helper.make_node("Loop", ["n", "", "x"], ["y", "all"], name="loop", body=loop())
    outputs = [info("y"), info("all", F, (4, 2, 3))]
    if inner:
        inside = helper.make_graph([helper.make_node("Loop", ["n", "", "x"], ["y1", "all1"], body=loop())], "then", [],
                                   [info("y1")])  # fmt: skip
        other = helper.make_graph([helper.make_node("Neg", ["x"], ["e"])], "else", [], [info("e")])
        node = helper.make_node("If", ["c"], ["y"], name="if", then_branch=inside, else_branch=other)
        made = model([node], [info("x"), info("c", B, ())], outputs[:1], [trips])
        check(made, {"x": x, "c": np.array(True)})
    else:
        check(model([node], [info("x")], outputs, [trips]), {"x": x})


def test_loops_without_known_ends_are_refused():
    x = [info("x")]
    trips = numpy_helper.from_array(np.array(4), "n")
    node = helper.make_node("Loop", ["n", "", "x"], ["y"], name="loop", body=loop("computed"))
    node.attribute[0].g.output.pop()
    with pytest.raises(UnsupportedError, match=r"loop \(Loop\): its condition is computed in its body"):
        compile_model(model([node], x, [info("y")], [trips]), MACHINE)
    node = helper.make_node("Loop", ["n", "", "x"], ["y"], name="loop", body=loop())
    node.attribute[0].g.output.pop()
    with pytest.raises(
        UnsupportedError, match=r"loop \(Loop\): its number of iterations is computed at run time"
    ):
        compile_model(model([node], [*x, info("n", I, ())], [info("y")]), MACHINE)


@pytest.mark.parametrize("backwards", [0, 1])
def test_scans(backwards):
    """Two sequences along different axes, a state, results along another axis and in either direction."""
    rng = np.random.default_rng(1)
    body = helper.make_graph(
        [helper.make_node("Mul", ["a", "b"], ["p"]), helper.make_node("Add", ["s", "p"], ["s_out"]),
         helper.make_node("Identity", ["s_out"], ["r"])], "body",
        [info("s", F, (3,)), info("a", F, (3,)), info("b", F, (3,))], [info("s_out", F, (3,)), info("r", F, (3,))],
    )  # fmt: skip
    node = helper.make_node("Scan", ["s0", "u", "v"], ["s1", "all"], name="scan", body=body, num_scan_inputs=2,
                            scan_input_axes=[0, 1], scan_input_directions=[backwards, 0], scan_output_axes=[1],
                            scan_output_directions=[backwards])  # fmt: skip
    inputs = {name: rng.standard_normal(shape).astype(np.float32)
              for name, shape in (("s0", (3,)), ("u", (5, 3)), ("v", (3, 5)))}  # fmt: skip
    infos = [info(name, F, array.shape) for name, array in inputs.items()]
    check(model([node], infos, [info("s1", F, (3,)), info("all", F, (3, 5))]), inputs)
