"""What a case is, which cases are out of scope and why, and which inputs are constants in practice."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, TypeProto, numpy_helper

Arrays = Mapping[str, NDArray[Any]]

DOMAINS = {
    "ai.onnx.ml": "classical machine learning (domain ai.onnx.ml)",
    "ai.onnx.preview.training": "training (domain ai.onnx.preview.training)",
}
"""Domains that are not compiled."""
ELEMENTS: Mapping[int, str] = {
    TensorProto.STRING: "a tensor of strings",
    TensorProto.COMPLEX64: "a tensor of complex numbers",
    TensorProto.COMPLEX128: "a tensor of complex numbers",
}
"""Elements that the machine has no numbers for."""
KINDS = {
    "sequence_type": "a sequence of tensors",
    "optional_type": "an optional value",
    "map_type": "a map",
    "sparse_tensor_type": "a sparse tensor",
}
"""Values that are no tensors."""
RANDOM = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)
"""Operators whose results the standard leaves to the implementation."""
_SCALES = ("x_scale", "x_zero_point", "y_scale", "y_zero_point")
CONSTANTS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("Reshape", "Expand", "CenterCropPad"), ("shape",)),
    **dict.fromkeys(("Squeeze", "Unsqueeze"), ("axes",)),
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow", "AffineGrid"), ("size",)),
    **dict.fromkeys(
        ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
         "ReduceProd", "ReduceSum", "ReduceSumSquare"), ("axes",),
    ),
    **dict.fromkeys(("Conv", "ConvTranspose"), ("W", "B")),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), ("W", "R", "B", "P", "sequence_lens")),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _SCALES),
    "Tile": ("repeats",), "Slice": ("starts", "ends", "axes", "steps"), "Pad": ("pads", "axes"),
    "Split": ("split",), "Resize": ("roi", "scales", "sizes"), "Upsample": ("scales",),
    "ConstantOfShape": ("input",), "Range": ("start", "limit", "delta"), "OneHot": ("depth",), "TopK": ("K",),
    "CumSum": ("axis",), "CumProd": ("axis",), "Compress": ("condition",), "Trilu": ("k",),
    "Dropout": ("ratio", "training_mode"), "MaxUnpool": ("I", "output_shape"), "DeformConv": ("W", "B"),
    "Col2Im": ("image_shape", "block_shape"), "Gemm": ("B", "C"), "MatMul": ("B",),
    "BatchNormalization": ("scale", "B", "input_mean", "input_var"),
    "InstanceNormalization": ("scale", "B"), "GroupNormalization": ("scale", "bias"),
    "LayerNormalization": ("Scale", "B"), "RMSNormalization": ("scale",), "DFT": ("dft_length", "axis"),
    "STFT": ("frame_step", "window", "frame_length"), "ConvInteger": ("w", "x_zero_point", "w_zero_point"),
    "MatMulInteger": ("B", "a_zero_point", "b_zero_point"), "Loop": ("M", "cond"), "Clip": ("min", "max"),
    "QLinearConv": ("x_scale", "x_zero_point", "w", "w_scale", "w_zero_point", "y_scale", "y_zero_point", "B"),
    "QLinearMatMul": ("a_scale", "a_zero_point", "b", "b_scale", "b_zero_point", "y_scale", "y_zero_point"),
    "MelWeightMatrix": ("num_mel_bins", "dft_length", "sample_rate", "lower_edge_hertz", "upper_edge_hertz"),
    "NonMaxSuppression": ("max_output_boxes_per_class", "iou_threshold", "score_threshold"),
}  # fmt: skip
"""Operator -> formal inputs that networks hold as constants: bound when a case does not compile without."""
MOVES = frozenset(
    ("CenterCropPad", "Compress", "Concat", "ConstantOfShape", "DepthToSpace", "Expand", "EyeLike", "Flatten", "Gather",
     "GatherElements", "GatherND", "Identity", "OneHot", "Pad", "Reshape", "ReverseSequence", "Shape", "Size", "Slice",
     "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where")
)  # fmt: skip
"""Operators that compute nothing: their outputs are compared bit for bit, of whatever type they are."""


@dataclass(frozen=True)
class Case:
    """One network of one operator, with inputs and what must come out.

    Attributes:
        name: ONNX's, without ``test_``.
        op: The operator that it is about; a case that is called ``..._expanded`` holds that operator's function body.
        model: The network.
        inputs: By name.
        outputs: By name.
        rtol: Relative tolerance of floating-point outputs, as the case states it.
        atol: Absolute tolerance.
        constants: Inputs that may be bound when the case is compiled, by name.
        skip: Why it is out of scope, or empty.
    """

    name: str
    op: str
    model: onnx.ModelProto
    inputs: Arrays
    outputs: Arrays
    rtol: float
    atol: float
    constants: tuple[str, ...]
    skip: str = ""


@cache
def cases() -> Mapping[str, Case]:
    """Every case by name, in ONNX's order; generating them takes some seconds."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found: list[Any] = load_model_tests(kind="node")
    whole = {item.name: item.model.graph.node[0] for item in found}
    return {
        item.name.removeprefix("test_"): _case(item, whole[item.name.split("_expanded")[0]]) for item in found
    }


def _case(item: Any, node: onnx.NodeProto) -> Case:
    graph, (inputs, outputs) = item.model.graph, item.data_sets[0]
    skip = _out_of_scope(item.model, node)
    return Case(
        item.name.removeprefix("test_"), node.op_type, item.model,
        {} if skip else _named(graph.input, inputs), {} if skip else _named(graph.output, outputs),
        item.rtol, item.atol, _constants(item.model, node), skip,
    )  # fmt: skip


def _named(values: Sequence[onnx.ValueInfoProto], arrays: Sequence[Any]) -> dict[str, NDArray[Any]]:
    return {
        value.name: numpy_helper.to_array(array) if isinstance(array, TensorProto) else np.asarray(array)
        for value, array in zip(values, arrays, strict=True)
    }


def _constants(model: onnx.ModelProto, node: onnx.NodeProto) -> tuple[str, ...]:
    """Names of the inputs that are constants in practice; the formal names are those of the newest definition."""
    formal = [port.name for port in onnx.defs.get_schema(node.op_type, domain=node.domain).inputs]
    wanted = CONSTANTS.get(node.op_type, ())
    inputs = {value.name for value in model.graph.input}
    return tuple(
        name for name, port in zip(node.input, formal, strict=False) if port in wanted and name in inputs
    )


def _out_of_scope(model: onnx.ModelProto, node: onnx.NodeProto) -> str:
    if node.domain in DOMAINS:
        return DOMAINS[node.domain]
    if node.op_type in RANDOM:
        return "random values, which the standard does not fix"
    for value in (*model.graph.input, *model.graph.output):
        reason = _untouchable(value.type)
        if reason:
            return reason
    return ""


def _untouchable(kind: TypeProto) -> str:
    name = kind.WhichOneof("value")
    if name != "tensor_type":
        return KINDS[str(name)]
    return ELEMENTS.get(kind.tensor_type.elem_type, "")
