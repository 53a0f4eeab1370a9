"""Recurrent operators, against onnxruntime."""

import numpy as np
import onnxruntime
import pytest
from nodes import MACHINE, drawn
from onnx import TensorProto, helper, numpy_helper

from potluck.compiler.compile import compile_model
from potluck.sim.simulate import simulate

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def network(op, rng, steps, batch, size, hidden, *, held=True, bias=True, states=False, peepholes=False, lengths=None,
            running=False, outputs=None, **attributes):  # fmt: skip
    """A network of one node, and what goes in; weights are constants if ``held``."""
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    gates, last = GATES[op], attributes.get("layout", 0)
    order = (1, 0, 2) if last else (0, 1, 2)
    inputs, constants, names = {}, [], []

    def operand(name, array, constant):
        names.append(name)
        if constant:
            constants.append(numpy_helper.from_array(array, name))
        else:
            inputs[name] = array

    operand("X", drawn(rng, (steps, batch, size)).transpose(order), False)
    operand("W", drawn(rng, (directions, gates * hidden, size)) / 4, held)
    operand("R", drawn(rng, (directions, gates * hidden, hidden)) / 4, held)
    if bias:
        operand("B", drawn(rng, (directions, 2 * gates * hidden)) / 4, held)
    else:
        names.append("")
    if lengths is not None:
        operand("lengths", np.array(lengths, np.int32), not running)
    else:
        names.append("")
    count = (2 if op == "LSTM" else 1) * states
    for name in ("H0", "C0")[:count]:
        operand(name, np.ascontiguousarray(drawn(rng, (directions, batch, hidden)).transpose(order)), False)
    if peepholes:
        names.extend([""] * (2 - count))
        operand("P", drawn(rng, (directions, 3 * hidden)) / 4, held)
    made = (["Y", "Y_h", "Y_c"] if op == "LSTM" else ["Y", "Y_h"]) if outputs is None else outputs
    node = helper.make_node(op, names, made, name="r", hidden_size=hidden, **attributes)
    shape = [batch, steps, directions, hidden] if last else [steps, directions, batch, hidden]
    state = [batch, directions, hidden] if last else [directions, batch, hidden]
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in inputs.items()
    ]
    results = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, shape if n == "Y" else state) for n in made if n
    ]
    graph = helper.make_graph([node], "g", infos, results, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10), inputs


def check(op, seed, *sizes, **options):
    model, inputs = network(op, np.random.default_rng(seed), *sizes, **options)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(None, inputs)
    got = simulate(compile_model(model, MACHINE), inputs, machine=MACHINE, mode="timed").outputs
    for value, want in zip(model.graph.output, wanted, strict=True):
        np.testing.assert_allclose(got[value.name], want, rtol=2e-5, atol=2e-6, err_msg=value.name)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_directions_with_states(op, direction):
    check(op, 1, 4, 2, 5, 6, direction=direction, states=True)


@pytest.mark.parametrize("op", GATES)
def test_lengths_of_sequences(op):
    check(op, 2, 5, 3, 4, 7, direction="bidirectional", lengths=[5, 2, 3], states=True)
    check(op, 3, 3, 2, 4, 5, lengths=[1, 3], running=True, bias=False)


@pytest.mark.parametrize("op", GATES)
def test_weights_computed_at_run_time_and_one_image(op):
    check(op, 4, 3, 1, 4, 9, held=False)


def test_peepholes_and_coupled_gates():
    check("LSTM", 5, 3, 2, 4, 5, peepholes=True, direction="bidirectional")
    check("LSTM", 6, 2, 2, 4, 5, input_forget=1, clip=0.3, states=True)


def test_reset_after_the_product():
    check("GRU", 7, 3, 2, 4, 5, linear_before_reset=1, direction="bidirectional", states=True)
    check("GRU", 8, 3, 2, 4, 5, linear_before_reset=1, bias=False, clip=0.5)


def test_other_activations():
    check("RNN", 9, 3, 2, 4, 5, activations=["Affine"], activation_alpha=[0.5], activation_beta=[0.25])
    check("RNN", 10, 3, 2, 4, 5, activations=["LeakyRelu", "ScaledTanh"], direction="bidirectional",
          activation_alpha=[0.3, 0.7], activation_beta=[0.6])  # fmt: skip
    check("GRU", 11, 3, 2, 4, 5, activations=["HardSigmoid", "Softsign"])
    check("LSTM", 12, 3, 2, 4, 5, activations=["Sigmoid", "Relu", "Softplus"])


def test_only_the_last_state():
    check("GRU", 13, 6, 1, 3, 4, outputs=["", "Y_h"])
