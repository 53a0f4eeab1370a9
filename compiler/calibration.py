"""Ranges of activations over samples: what static quantization fixes before the network runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.nodes import shape_of
from potluck.compiler.ptq import calibrators
from potluck.isa.errors import DataError
from potluck.isa.progress import steps

Samples = Mapping[str, NDArray[np.generic]]


def ranges(
    model: ir.Model, values: Sequence[ir.Value], samples: Samples, method: str = "minmax"
) -> dict[str, tuple[float, float]]:
    """Ranges of activations over all samples.

    Args:
        model: The graph; it is not changed.
        values: Activations to observe.
        samples: Input name -> array whose first axis counts samples, the others being those of the input.
        method: See `potluck.compiler.ptq.calibrators.method`.

    Returns:
        Name -> (lowest, highest) value to represent.

    Raises:
        DataError: See `observed`; or an unknown method.
    """
    rule = calibrators.method(method)
    names = [value.name or "" for value in values]
    low, high = dict.fromkeys(names, np.inf), dict.fromkeys(names, -np.inf)
    for found in observed(model, values, samples):
        for name, array in found.items():
            low[name] = min(low[name], float(array.min()))
            high[name] = max(high[name], float(array.max()))
    if rule is None:
        return {name: (low[name], high[name]) for name in names}
    counted: dict[str, calibrators.Histogram] = {}
    for found in observed(model, values, samples):
        for name, array in found.items():
            made = calibrators.histogram(array, low[name], high[name])
            counted[name] = calibrators.merged(counted[name], made) if name in counted else made
    return {name: rule(counted[name]) for name in names}


def observed(
    model: ir.Model, values: Sequence[ir.Value], samples: Samples
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Activations by name, batch after batch, by onnxruntime.

    Args:
        model: The graph; it is not changed.
        values: Activations to observe.
        samples: See `ranges`.

    Raises:
        DataError: An input has no samples or samples of another shape, or NaN or infinity occurs; names the tensor.
    """
    import onnxruntime

    proto = ir.to_proto(model)
    present = {output.name for output in proto.graph.output}
    for value in values:
        name = value.name or ""
        if name not in present:
            info = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape_of(value))
            proto.graph.output.append(info)
            present.add(name)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    inputs = {value.name or "" for value in model.graph.inputs}
    names = [value.name or "" for value in values]
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    asked = [name for name in names if name not in inputs]
    for feed in steps([*batches(model, samples)], "calibration"):
        found = dict(zip(asked, session.run(asked, feed) if asked else [], strict=True))
        arrays = {name: found[name] if name in found else feed[name] for name in names}
        for name, array in arrays.items():
            if not np.all(np.isfinite(array)):
                raise DataError("it holds NaN or infinity on the calibration samples", tensor=name)
        yield arrays


def batches(model: ir.Model, samples: Samples) -> Iterator[dict[str, NDArray[Any]]]:
    """The samples as feeds of the network's batch size; the last ones that fill no batch are repeated from the first.

    Raises:
        DataError: An input has no samples, or they have another shape or number.
    """
    arrays: dict[str, NDArray[Any]] = {}
    counts: dict[str, int] = {}
    for value in model.graph.inputs:
        name, shape = value.name or "", shape_of(value)
        if name not in samples:
            raise DataError(
                "there are no calibration samples for it",
                tensor=name,
                hint=f"The samples have {sorted(samples)}",
            )
        # Indices of tokens stay integers: their layers, too, are calibrated by what they read.
        array = np.asarray(samples[name], value.dtype.numpy() if value.dtype is not None else np.float32)
        if array.ndim != len(shape) or array.shape[1:] != shape[1:] or not len(array):
            wanted = ["n", *shape[1:]]
            raise DataError(
                f"calibration samples have the shape {list(array.shape)}, not {wanted}", tensor=name
            )
        arrays[name], counts[name] = array, -(-len(array) // shape[0])
    if len(set(counts.values())) > 1:
        raise DataError(f"inputs have different numbers of calibration samples: {counts}")
    for index in range(max(counts.values(), default=0)):
        feed = {}
        for value in model.graph.inputs:
            array, size = arrays[value.name or ""], shape_of(value)[0]
            feed[value.name or ""] = np.take(
                array, range(index * size, (index + 1) * size), axis=0, mode="wrap"
            )
        yield feed
