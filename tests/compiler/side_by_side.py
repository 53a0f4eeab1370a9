"""Networks of nodes that do not depend on each other, so that one program tests them all, on any machine."""

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxruntime import InferenceSession
from running import by_schedule

from potluck.compiler.build import build, prepare
from potluck.compiler.compile import generate
from potluck.sim.simulate import simulate


def drawn(rng, shape, dtype="float32"):
    """Seeded values of any type."""
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    return rng.integers(0 if np.dtype(dtype).kind == "u" else -90, 120, shape).astype(dtype)


class Net:
    """Nodes, their inputs and constants."""

    def __init__(self):
        self.nodes, self.inputs, self.held, self.outputs, self.known = [], {}, [], [], {}

    def value(self, array):
        """A network input; the same array is the same input."""
        array = np.asarray(array)
        if id(array) not in self.known:
            name = f"x{len(self.inputs)}"
            self.inputs[name] = array
            self.known[id(array)] = name
        return self.known[id(array)]

    def constant(self, array):
        """An initializer."""
        name = f"c{len(self.held)}"
        self.held.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op, *inputs, outputs=1, **attributes):
        """Adds a node; its outputs are outputs of the network."""
        names = [f"y{len(self.outputs) + i}" for i in range(outputs)]
        self.outputs += names
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"n{len(self.nodes)}", **attributes))
        return names[0]

    def model(self, reference="onnx"):
        """(network, what it must compute)."""
        infos = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in self.inputs.items()
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in self.outputs]
        graph = helper.make_graph(self.nodes, "g", infos, outputs, self.held)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
        if reference == "onnxruntime":
            wanted = InferenceSession(model.SerializeToString()).run(None, self.inputs)
        else:
            with np.errstate(all="ignore"):
                wanted = ReferenceEvaluator(model).run(None, self.inputs)
        del model.graph.output[:]
        for name, want in zip(self.outputs, wanted, strict=True):
            kind = helper.np_dtype_to_tensor_dtype(want.dtype)
            model.graph.output.append(helper.make_tensor_value_info(name, kind, want.shape))
        return model, wanted

    def check(self, machine, rtol=0.0, atol=0.0, mode="functional", reference="onnx"):
        """Compares simulator and reference, and simulator and schedule bit for bit; returns the program."""
        model, wanted = self.model(reference)
        schedule = build(prepare(model), machine)
        program = generate(schedule)
        result = simulate(program, self.inputs, machine=machine, mode=mode)
        planned = by_schedule(schedule, self.inputs)
        for name, want, plan in zip(self.outputs, wanted, planned, strict=True):
            node = next(node for node in self.nodes if name in node.output)
            what = f"{node.op_type} {[(a.name, helper.get_attribute_value(a)) for a in node.attribute]}"
            got = result.outputs[name]
            assert (got.dtype, got.shape) == (want.dtype, want.shape), what
            assert got.tobytes() == np.ascontiguousarray(plan).tobytes(), what
            if rtol or atol:
                np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, err_msg=what)
            else:
                np.testing.assert_array_equal(got, want, err_msg=what)
        return program, result
