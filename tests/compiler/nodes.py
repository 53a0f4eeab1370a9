"""Networks of single nodes: one program tests many, against onnx's reference evaluator."""

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from potluck.compiler.compile import compile_model
from potluck.isa.machine import load_machine
from potluck.sim.simulate import simulate

MACHINE = load_machine("spatz-mx")


def drawn(rng, shape, dtype="float32", positive=False):
    if dtype == "float32":
        values = rng.standard_normal(shape).astype(np.float32) * 2
        return np.abs(values) + np.float32(0.1) if positive else values
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    return rng.integers(0 if dtype == "uint8" else -40, 100, shape).astype(dtype) | 1


class Net:
    """A network of nodes that do not depend on each other: one program tests them all."""

    def __init__(self):
        self.nodes, self.inputs, self.held, self.bounds = [], {}, [], {}

    def value(self, array, constant=False):
        name = f"x{len(self.inputs) + len(self.held)}"
        if constant:
            self.held.append(numpy_helper.from_array(array, name))
        else:
            self.inputs[name] = array
        return name

    def node(self, op, *inputs, rtol=2e-6, atol=1e-7, **attributes):
        name = f"y{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, list(inputs), [name], name=f"n{len(self.nodes)}", **attributes)
        )
        self.bounds[name] = op, rtol, atol

    def evaluate(self, model):
        with np.errstate(all="ignore"):
            return ReferenceEvaluator(model).run(None, self.inputs)

    def check(self):
        infos = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in self.inputs.items()
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in self.bounds]
        graph = helper.make_graph(self.nodes, "g", infos, outputs, self.held)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
        wanted = self.evaluate(model)
        del model.graph.output[:]
        for name, want in zip(self.bounds, wanted, strict=True):
            kind = helper.np_dtype_to_tensor_dtype(want.dtype)
            model.graph.output.append(helper.make_tensor_value_info(name, kind, want.shape))
        program = compile_model(model, MACHINE)
        got = simulate(program, self.inputs, machine=MACHINE, mode="timed").outputs
        for (name, (op, rtol, atol)), want in zip(self.bounds.items(), wanted, strict=True):
            assert (got[name].dtype, got[name].shape) == (want.dtype, want.shape), op
            np.testing.assert_allclose(got[name], want, rtol=rtol, atol=atol, err_msg=op)
