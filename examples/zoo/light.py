"""The light models of the `onnx` package, with weights: networks of other hands whose files came without.

The package carries nine classic networks whose weights are ConstantOfShape nodes, so that every input gives the same
output. Here these nodes become seeded weights that keep signals in range, and the file's graph (opset 9, as exporters
wrote it) stays as it is. There is no task: outputs are judged by the class that FP32 gives.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from potluck.evaluation.samples import Samples
from potluck.zoo.measures import top1
from potluck.zoo.network import Network

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
SEED, SAMPLES, CALIBRATION = 9, 4, 4
WEIGHTS_APART = 4
"""The version of the file format since which weights need not be inputs, too."""
SPREAD = 2.0
"""Standard deviation of what goes into the last Softmax."""
SCALE, SHIFT = (1.0, 0.1), (0.0, 0.1)
"""Mean and standard deviation of what multiplies a channel, and of what is added to it."""
MACS = {
    "bvlc_alexnet": 654_560_384, "densenet121": 2_834_161_664, "inception_v1": 1_431_556_352,
    "inception_v2": 2_018_851_840, "resnet50": 4_089_184_256, "shufflenet": 124_664_528, "squeezenet": 349_151_936,
    "vgg19": 19_632_062_464, "zfnet512": 1_481_727_008,
}  # fmt: skip


def model(name: str) -> onnx.ModelProto:
    """A light model with weights in place of its ConstantOfShape nodes."""
    return onnx.load_from_string(_filled(name))


@lru_cache(1)
def _filled(name: str) -> bytes:
    found = onnx.load(FOLDER / f"light_{name}.onnx")
    graph, random = found.graph, np.random.Generator(np.random.Philox([SEED, *name.encode()]))
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    empty = {
        node.output[0]: constants[node.input[0]] for node in graph.node if node.op_type == "ConstantOfShape"
    }
    uses = _uses(graph)
    for tensor, shape in empty.items():
        weight = _weight(*uses[tensor], tuple(int(size) for size in shape), random)
        graph.initializer.append(numpy_helper.from_array(weight, tensor))
    kept = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    del graph.node[:]
    graph.node.extend(kept)
    _forget_unused(graph)
    found.ir_version = max(found.ir_version, WEIGHTS_APART)
    _open_softmax(found)
    return bytes(found.SerializeToString())


def _forget_unused(graph: onnx.GraphProto) -> None:
    """The shapes of weights, and what the exporter has left over."""
    used = {tensor for node in graph.node for tensor in node.input}
    for held in (graph.initializer, graph.input):
        kept = [value for value in held if value.name in used]
        del held[:]
        held.extend(kept)


def _uses(graph: onnx.GraphProto) -> dict[str, tuple[onnx.NodeProto, int]]:
    """The node that takes each tensor, through Unsqueeze, and as which of its inputs."""
    first: dict[str, tuple[onnx.NodeProto, int]] = {}
    for node in graph.node:
        for place, tensor in enumerate(node.input):
            first.setdefault(tensor, (node, place))
    for tensor, (node, place) in first.items():
        while node.op_type == "Unsqueeze":
            node, place = first[node.output[0]]
        first[tensor] = node, place
    return first


def _weight(
    node: onnx.NodeProto, place: int, shape: tuple[int, ...], random: np.random.Generator
) -> NDArray[np.float32]:
    """Seeded weights for an input of a node: products keep the variance (He et al. 2015), the rest is near neutral."""
    if node.op_type in ("Conv", "Gemm") and place == 1:
        across = any(item.name == "transB" and item.i for item in node.attribute)
        terms = shape[0] if node.op_type == "Gemm" and not across else int(np.prod(shape[1:]))
        return random.standard_normal(shape, np.float32) * np.float32(np.sqrt(2.0 / terms))
    if node.op_type == "BatchNormalization" and place == 4:  # the variance
        return random.uniform(0.5, 2.0, shape).astype(np.float32)
    scales = place == 1 and node.op_type in ("BatchNormalization", "Mul")
    return random.normal(*(SCALE if scales else SHIFT), shape).astype(np.float32)


def _open_softmax(found: onnx.ModelProto) -> None:
    """Make what goes into the last Softmax the first output, with a deviation of `SPREAD`.

    Behind a Softmax one class hides what the others do, and values that are spread far are all 0 or 1.
    """
    graph = found.graph
    if graph.node[-1].op_type != "Softmax":
        return
    logits = graph.node[-1].input[0]
    behind = graph.output[0].type.tensor_type.shape.dim
    shape = [size.dim_value for size in behind]
    outputs = [onnx.helper.make_tensor_value_info(logits, onnx.TensorProto.FLOAT, shape), *graph.output]
    del graph.output[:]
    graph.output.extend(outputs)
    values = _session(found).run([logits], noise(found, 1, SEED))[0]
    last = next(node for node in reversed(graph.node) if node.op_type in ("Gemm", "Conv"))
    for tensor in graph.initializer:
        if tensor.name in last.input[1:]:
            scaled = numpy_helper.to_array(tensor) * np.float32(SPREAD / values.std())
            tensor.CopyFrom(numpy_helper.from_array(scaled, tensor.name))


def noise(found: onnx.ModelProto, count: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Standard normal images [count, 3, 224, 224] by the input's name."""
    weights = {tensor.name for tensor in found.graph.initializer}
    (taken,) = (value for value in found.graph.input if value.name not in weights)
    shape = [count, *(size.dim_value for size in taken.type.tensor_type.shape.dim[1:])]
    random = np.random.Generator(np.random.Philox(seed))
    return {taken.name: random.standard_normal(shape, np.float32)}


def _session(found: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # or it names every weight that is an input, as all are in these old files
    return onnxruntime.InferenceSession(found.SerializeToString(), options, ["CPUExecutionProvider"])


def samples(name: str) -> Samples:
    """Noise, labelled by the class that FP32 gives on onnxruntime."""
    found = model(name)
    inputs, session = noise(found, SAMPLES, SEED + 1), _session(found)
    ((tensor, images),) = inputs.items()
    classes = [session.run(None, {tensor: image[None]})[0].reshape(-1).argmax() for image in images]
    return Samples(inputs, np.array(classes, np.int64))


def calibration(name: str) -> dict[str, NDArray[np.float32]]:
    """Other noise."""
    return noise(model(name), CALIBRATION, SEED + 2)


def network(name: str) -> Network:
    """A light model by the name of its file, without ``light_``."""
    return Network(
        name=f"light-{name}", title=f"{name} of the onnx package with seeded weights", packages=(),
        model=partial(model, name), samples=partial(samples, name), calibration=partial(calibration, name),
        measure=_same_class, macs=MACS[name], fp32=100.0, unit="% FP32's class",
        origin="onnx (Apache-2.0), backend/test/data/light; weights drawn here", schemes=("fp32", "mxfp8"),
        batched=False,
    )  # fmt: skip


def _same_class(outputs: NDArray[Any], few: Samples) -> Any:
    return top1(outputs.reshape(len(outputs), -1), few)
