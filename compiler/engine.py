"""What computes single nodes on the host: onnxruntime, or onnx's reference evaluator where that has no kernel."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from potluck.compiler.importer import first_line
from potluck.isa.host import refused
from potluck.isa.manifest import HostNode

Run = Callable[[list[str], Mapping[str, NDArray[Any]]], Any]
"""(names of outputs, inputs) -> arrays."""


class OnnxEngine:
    """An engine for host calls (`potluck.isa.host.Engine`).

    Each node is made ready once, and runs on one thread, so that values are the same every time.
    """

    def __init__(self) -> None:
        self._ready: dict[tuple[str, str], Run] = {}

    def __call__(self, node: HostNode, values: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Computes a node.

        Raises:
            ProgramError: The node has no meaning here, or not for these values; names it.
        """
        run = self.prepare(node)
        try:
            with np.errstate(all="ignore"):
                found = run([item.name for item in node.outputs], dict(values))
        except Exception as error:  # both engines have many classes of their own
            raise refused(node, f"fails on the host: {first_line(error)}") from error
        return [np.asarray(value) for value in found]

    def prepare(self, node: HostNode) -> Run:
        """Makes a node ready: by the first engine that makes something of zeros.

        That onnxruntime has no kernel for a type, say, it may tell only when it runs.

        Raises:
            ProgramError: Its model cannot be read, or neither engine takes it; names the node.
        """
        key = node.name, node.model
        if key not in self._ready:
            self._ready[key] = _chosen(node)
        return self._ready[key]


def _chosen(node: HostNode) -> Run:
    data = _model(node)
    able: list[Run] = []
    problems: list[str] = []
    zeros = {item.name: np.zeros(item.shape, item.dtype) for item in node.inputs}
    for make in (_onnxruntime, _reference):
        try:
            able.append(make(data))
            with np.errstate(all="ignore"):
                able[-1]([item.name for item in node.outputs], zeros)
            return able[-1]
        except Exception as error:  # see above
            problems.append(first_line(error))
    if able:  # zeros may be the wrong thing to ask about
        return able[0]
    what = "onnxruntime says: {}, onnx's reference evaluator: {}".format(*problems)
    raise refused(node, f"has no meaning on the host: {what}")


def _model(node: HostNode) -> bytes:
    model = onnx.ModelProto()
    try:
        data = base64.b64decode(node.model, validate=True)
        model.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError is not in one place in all its versions
        raise refused(node, f"has a model that cannot be read: {first_line(error)}") from None
    if any(item.external_data for item in model.graph.initializer):
        raise refused(node, "has constants outside its model, in files")
    return data


def _onnxruntime(model: bytes) -> Run:
    import onnxruntime  # slow to import, and needed by few programs

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    run: Run = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run
    return run


def _reference(model: bytes) -> Run:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(model)
    return lambda names, values: evaluator.run(names, dict(values))
