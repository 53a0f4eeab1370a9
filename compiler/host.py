"""Quantized networks on the host, for accuracy: thousands of inputs in the time the simulator takes for a few.

onnxruntime runs every node that it implements; onnx's reference evaluator runs the others (MX types), and what depends
on constants alone (weights), once. The graph is what the ONNX file says: products of dequantized values in FP32. The
machine rounds sums of codes by a declared law instead (docs/formats.md), which moves an 8-bit result by one step at
most, and seldom.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.nodes import OPSET
from potluck.isa.errors import ModelError

IR_VERSION = 12
"""Of opset 24."""
Arrays = dict[str, NDArray[Any]]


class HostNetwork:
    """A network that runs on the host.

    Args:
        model: As `potluck.compiler.quantize.quantize_model` or `potluck.compiler.importer.load` makes it.
        wanted: Values, by name, that `run` returns beside the network's outputs.

    Attributes:
        constants: Weights and what follows from them alone, by name.
        engines: Names of what runs it, for reports.

    Raises:
        ModelError: A wanted value does not exist.
    """

    def __init__(self, model: ir.Model, wanted: Collection[str] = ()) -> None:
        proto = ir.to_proto(model)
        self._functions = {(item.domain, item.name): item for item in proto.functions}
        self._proto = proto
        self._types = _types(model)
        self.outputs = tuple(output.name for output in proto.graph.output)
        self.constants: Arrays = {
            item.name: onnx.numpy_helper.to_array(item) for item in proto.graph.initializer
        }
        live = self._fold()
        kept = dict.fromkeys((*self.outputs, *wanted))
        produced = {name for node in live for name in node.output} | {item.name for item in proto.graph.input}
        missing = sorted(set(kept) - produced - self.constants.keys())
        if missing:
            raise ModelError(f"the graph has no value {missing[0]!r}")
        self._wanted = tuple(kept)
        self._parts = self._split(live)
        used = dict.fromkeys(part.engine for part in self._parts)
        self.engines = " and ".join(used) or "onnx's reference evaluator"

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """Outputs and wanted values of one batch.

        Args:
            feeds: Input name -> array of the network's shape.
        """
        values: Arrays = dict(feeds)
        for part in self._parts:
            values.update(part.run(values))
        return {name: values[name] if name in values else self.constants[name] for name in self._wanted}

    def _fold(self) -> list[onnx.NodeProto]:
        """Evaluates what follows from constants; the nodes that remain."""
        names = set(self.constants)
        fixed: list[onnx.NodeProto] = []
        live: list[onnx.NodeProto] = []
        for node in self._proto.graph.node:
            read = inputs_of(node)
            constant = bool(read) and names.issuperset(read)
            (fixed if constant else live).append(node)
            if constant:
                names.update(node.output)
        if fixed:
            made = [name for node in fixed for name in node.output if name]
            self.constants.update(zip(made, self._reference(fixed, (), made).run(None, {}), strict=True))
        return live

    def _split(self, nodes: list[onnx.NodeProto]) -> list[_Part]:
        """Runs of nodes that one engine runs."""
        if not nodes:
            return []
        try:
            return [self._part(nodes, range(len(nodes)), True)]
        except _Unsupported:
            pass
        able: dict[bytes, bool] = {}
        kinds = []
        for node in nodes:
            key = self._key(node)
            if key not in able:
                able[key] = self._supported(node)
            kinds.append(able[key])
        starts = [i for i in range(len(nodes)) if i == 0 or kinds[i] != kinds[i - 1]]
        ends = [*starts[1:], len(nodes)]
        return [self._part(nodes, range(a, b), kinds[a]) for a, b in zip(starts, ends, strict=True)]

    def _part(self, nodes: list[onnx.NodeProto], which: range, fast: bool) -> _Part:
        chosen = [nodes[i] for i in which]
        made = {name for node in chosen for name in node.output}
        read = {name for node in chosen for name in inputs_of(node)}
        inputs = sorted(read - made - self.constants.keys())
        later = {name for node in nodes[which.stop :] for name in inputs_of(node)} | set(self._wanted)
        outputs = sorted(made & later)
        run = self._fast(chosen, inputs, outputs) if fast else self._reference(chosen, inputs, outputs).run
        return _Part(inputs, outputs, run, "onnxruntime" if fast else "onnx's reference evaluator")

    def _supported(self, node: onnx.NodeProto) -> bool:
        inputs = [name for name in dict.fromkeys(inputs_of(node)) if name not in self.constants]
        try:
            self._fast([node], inputs, [name for name in node.output if name])
        except _Unsupported:
            return False
        return True

    def _key(self, node: onnx.NodeProto) -> bytes:
        """What decides whether onnxruntime has a node."""
        bare = onnx.NodeProto()
        bare.CopyFrom(node)
        bare.ClearField("name")
        bare.ClearField("output")
        bare.input[:] = [str(self._type(name)) if name else "" for name in node.input]
        return bytes(bare.SerializeToString())

    def _type(self, name: str) -> int:
        if name in self.constants:
            return int(onnx.helper.np_dtype_to_tensor_dtype(self.constants[name].dtype))
        return self._types.get(name, onnx.TensorProto.FLOAT)

    def _fast(self, nodes: list[onnx.NodeProto], inputs: Sequence[str], outputs: Sequence[str]) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        # Its integer kernels for Q/DQ patterns round otherwise than the graph says (QLinearAdd), and some of the
        # rewriting gives graphs that it then refuses.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        proto = self._model(nodes, inputs, outputs)
        # onnxruntime refuses versions that it does not know yet, although only types are new in them.
        proto.ir_version = min(proto.ir_version, IR_VERSION)
        for imported in (
            *proto.opset_import,
            *(item for made in proto.functions for item in made.opset_import),
        ):
            if not imported.domain:
                imported.version = min(imported.version, OPSET)
        try:
            data = proto.SerializeToString()
            return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run
        except Exception as error:  # it has a class of its own for each of a dozen reasons
            raise _Unsupported from error

    def _reference(self, nodes: list[onnx.NodeProto], inputs: Sequence[str], outputs: Sequence[str]) -> Any:
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator(self._model(nodes, inputs, outputs))

    def _model(
        self, nodes: list[onnx.NodeProto], inputs: Sequence[str], outputs: Sequence[str]
    ) -> onnx.ModelProto:
        def info(name: str) -> onnx.ValueInfoProto:
            if name not in self._types and name not in self.constants:
                return onnx.ValueInfoProto(name=name)
            return onnx.helper.make_tensor_value_info(name, self._type(name), None)

        read = {name for node in nodes for name in inputs_of(node)}
        weights = [
            onnx.numpy_helper.from_array(self.constants[name], name)
            for name in sorted(read & self.constants.keys())
        ]
        graph = onnx.helper.make_graph(
            nodes, "part", [info(name) for name in inputs], [info(name) for name in outputs], weights
        )
        functions = list({(node.domain, node.op_type): self._functions[node.domain, node.op_type]
                          for node in nodes if (node.domain, node.op_type) in self._functions}.values())  # fmt: skip
        return onnx.helper.make_model(
            graph,
            ir_version=self._proto.ir_version,
            opset_imports=self._proto.opset_import,
            functions=functions,
        )


class _Unsupported(Exception):
    """onnxruntime does not implement a node."""


@dataclass(frozen=True)
class _Part:
    """Consecutive nodes on one engine."""

    inputs: Sequence[str]
    outputs: Sequence[str]
    call: Any
    engine: str

    def run(self, values: Arrays) -> Arrays:
        with np.errstate(all="ignore"):
            found = self.call(list(self.outputs), {name: values[name] for name in self.inputs})
        return dict(zip(self.outputs, found, strict=True))


def inputs_of(node: onnx.NodeProto) -> list[str]:
    """Values that a node reads, its subgraphs included."""
    found = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            own = {name for inner in graph.node for name in inner.output}
            own |= {item.name for item in (*graph.initializer, *graph.input)}
            found += [name for inner in graph.node for name in inputs_of(inner) if name not in own]
    return found


def _types(model: ir.Model) -> dict[str, int]:
    values = [*model.graph.inputs, *(output for node in model.graph for output in node.outputs)]
    return {value.name or "": value.dtype.value for value in values if value.dtype is not None}
