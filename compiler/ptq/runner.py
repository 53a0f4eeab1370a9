"""Runs a graph node after node over samples, so that quantized products can be changed between their neighbours.

Most nodes run under onnxruntime. It has no FP4 elements and no E8M0 scales: MX quantization runs in NumPy, bit for bit
what the machine does, and what onnxruntime refuses under onnx's reference evaluator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.calibration import batches
from potluck.compiler.graph.mx_nodes import QUANTIZERS, quantized, rule_of
from potluck.compiler.graph.nodes import DOMAIN, OPSET, constant, integer, is_op, label
from potluck.compiler.ptq.weights import quantized_weight
from potluck.isa.errors import DataError, ModelError
from potluck.isa.formats.mx import quantize

Array = NDArray[Any]
Samples = Mapping[str, NDArray[np.generic]]
Step = Callable[[Sequence[Array]], list[Array]]


class Runner:
    """One graph's nodes, ready to run.

    Args:
        model: Imported, with static shapes.
    """

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self._steps: dict[ir.Node, Step] = {}

    def walk(self, samples: Samples) -> Iterator[tuple[ir.Node, list[list[Array]]]]:
        """Every node, in order, with its run-time inputs of every batch of samples, before it runs.

        The caller may change the node's constants: it runs with what is there when the walk goes on. Inputs that are
        constants are not in the lists.

        Raises:
            DataError: See `potluck.compiler.calibration.batches`; or a value is NaN or infinite.
            ModelError: A node cannot be run.
        """
        feeds = list(batches(self.model, samples))
        values: dict[ir.Value, list[Array]] = {
            value: [feed[value.name or ""] for feed in feeds] for value in self.model.graph.inputs
        }
        left = {
            value: len(value.uses())
            for node in self.model.graph
            for value in (*node.inputs, *node.outputs)
            if value is not None
        }
        self.outputs: dict[str, list[Array]] = {}
        for node in self.model.graph:
            yield node, self._inputs(node, values, len(feeds))
            if _constant_inputs(node):
                self._fold(node, values, len(feeds))
            else:
                for (
                    value
                ) in node.inputs:  # whoever walks may have changed weights that were dequantized before
                    maker = value.producer() if value is not None else None
                    if maker is not None and _constant_inputs(maker) and value in values:
                        self._fold(maker, values, len(feeds))
                self._steps.pop(node, None)
                for arrays in self._inputs(node, values, len(feeds)):
                    for value, array in zip(_named(node), self.run(node, arrays), strict=True):
                        values.setdefault(value, []).append(_finite(array, value))
                self._steps.pop(node, None)  # an onnxruntime session keeps the memory of all it gave out
            for used in node.inputs:
                if used is None or used not in values:
                    continue
                left[used] -= 1
                if not left[used] and not used.is_graph_output():
                    del values[used]
            for made in node.outputs:
                if made.is_graph_output() and made in values:
                    self.outputs[made.name or ""] = values[made]
        for value in self.model.graph.outputs:
            if value in values:
                self.outputs[value.name or ""] = values[value]

    def _inputs(self, node: ir.Node, values: Mapping[ir.Value, list[Array]], count: int) -> list[list[Array]]:
        """Run-time inputs of every batch, each once."""
        given = [
            values[value] for value in dict.fromkeys(node.inputs) if value is not None and value in values
        ]
        return [[part[at] for part in given] for at in range(count)]

    def _fold(self, node: ir.Node, values: dict[ir.Value, list[Array]], count: int) -> None:
        """A node of constants runs once; dequantized weights stay constants of whoever reads them."""
        self._steps.pop(node, None)
        for value, array in zip(_named(node), self.run(node, []), strict=True):
            values[value] = [array] * count

    def outputs_of(self, samples: Samples) -> dict[str, Array]:
        """The network's outputs, batch after batch along the first axis."""
        for _ in self.walk(samples):
            pass
        count = max(len(np.asarray(array)) for array in samples.values())
        return {name: np.concatenate(parts)[:count] for name, parts in self.outputs.items()}

    def run(self, node: ir.Node, inputs: Sequence[Array]) -> list[Array]:
        """One node on its run-time inputs."""
        if node not in self._steps:
            self._steps[node] = self._step(node)
        return self._steps[node](inputs)

    def _step(self, node: ir.Node) -> Step:
        known = _mx(node) or _weights(node)
        if known is not None:
            return known
        proto, names = self._proto(node)
        return _onnxruntime(proto, names) or _reference(proto, names, node)

    def _proto(self, node: ir.Node) -> tuple[onnx.ModelProto, list[str]]:
        """The node alone as a model; its run-time inputs by name."""
        whole = ir.to_proto(node)
        names, initializers, infos = [], [], []
        for value in dict.fromkeys(node.inputs):
            if value is None:
                continue
            name, held = value.name or "", constant(value)
            if held is not None and value.const_value is not None:
                tensor = ir.to_proto(value.const_value)
                tensor.name = name
                initializers.append(tensor)
                continue
            kind = value.dtype if value.dtype is not None else ir.DataType.FLOAT
            infos.append(onnx.helper.make_tensor_value_info(name, kind.value, None))
            names.append(name)
        outputs = [onnx.helper.make_empty_tensor_value_info(value.name or "") for value in _named(node)]
        graph = onnx.helper.make_graph([whole], "node", infos, outputs, initializers)
        imports = [
            onnx.helper.make_opsetid(
                domain, min(version, OPSET)
            )  # of later ones only types are used, in NumPy
            for domain, version in self.model.graph.opset_imports.items()
        ]
        functions = [ir.to_proto(item) for item in self.model.functions.values()] if node.domain else []
        proto = onnx.helper.make_model(
            graph, opset_imports=imports, functions=functions, ir_version=self.model.ir_version
        )
        return proto, names


def _constant_inputs(node: ir.Node) -> bool:
    return all(value is None or constant(value) is not None for value in node.inputs)


def _finite(array: Array, value: ir.Value) -> Array:
    if np.issubdtype(np.asarray(array).dtype, np.floating) and not np.all(np.isfinite(array)):
        raise DataError("it holds NaN or infinity on the calibration samples", tensor=value.name)
    return array


def _named(node: ir.Node) -> list[ir.Value]:
    """Outputs that exist."""
    return [value for value in node.outputs if value.name]


def _onnxruntime(proto: onnx.ModelProto, names: list[str]) -> Step | None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # its own classes, which have no common name: types that it lacks
        return None
    return lambda inputs: list(session.run(None, dict(zip(names, inputs, strict=False))))


def _reference(proto: onnx.ModelProto, names: list[str], node: ir.Node) -> Step:
    from onnx.reference import ReferenceEvaluator

    try:
        evaluator = ReferenceEvaluator(proto)
    except Exception as error:
        raise ModelError(f"it cannot be evaluated: {error}", node=label(node)) from error
    return lambda inputs: list(evaluator.run(None, dict(zip(names, inputs, strict=False))))


def _mx(node: ir.Node) -> Step | None:
    """Quantization of activations to MX as the machine does it."""
    if not is_op(node, *QUANTIZERS, domain=DOMAIN):
        return None
    held, rule, axis = quantized(node), rule_of(node), integer(node, "axis", 1)
    return lambda inputs: [quantize(inputs[0], held, axis, rule).dequantize()]


def _weights(node: ir.Node) -> Step | None:
    """Dequantized constants, of types that onnxruntime does not read too."""
    held = quantized_weight(node.outputs[0]) if len(node.outputs) == 1 else None
    if held is None:
        return None
    array = held.values().astype(np.float32)
    return lambda inputs: [array]
