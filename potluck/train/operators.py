"""What ONNX operators are in PyTorch: those of networks that are trained after quantization, floating point only.

An entry takes its inputs (None where one is left out) and attributes as plain values, and gives one tensor or a tuple.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Inputs = Sequence[Tensor | None]
Attributes = Mapping[str, Any]
Operator = Callable[[Inputs, Attributes], Tensor | tuple[Tensor, ...]]


def _integers(value: Tensor | None) -> list[int]:
    return [] if value is None else [int(item) for item in value.reshape(-1).tolist()]


def _all(inputs: Inputs) -> list[Tensor]:
    return [item for item in inputs if item is not None]


def _padded(x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    """Begins and ends of the last axes, in ONNX's order."""
    half = len(pads) // 2
    flat = [pads[at + side * half] for at in reversed(range(half)) for side in (0, 1)]
    return functional.pad(x, flat, value=value) if any(flat) else x


def _conv(inputs: Inputs, a: Attributes) -> Tensor:
    x, w = _all(inputs[:2])
    rank = w.ndim - 2
    apply: Any = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[rank]
    made: Tensor = apply(
        _padded(x, a.get("pads", (0,) * (2 * rank))), w, inputs[2] if len(inputs) > 2 else None,
        tuple(a.get("strides", (1,) * rank)), 0, tuple(a.get("dilations", (1,) * rank)), a.get("group", 1),
    )  # fmt: skip
    return made


def _gemm(inputs: Inputs, a: Attributes) -> Tensor:
    x, w = _all(inputs[:2])
    left = x.T if a.get("transA", 0) else x
    right = w.T if a.get("transB", 0) else w
    y = a.get("alpha", 1.0) * (left @ right)
    bias = inputs[2] if len(inputs) > 2 else None
    return y if bias is None else y + a.get("beta", 1.0) * bias


def _pool(inputs: Inputs, a: Attributes, largest: bool) -> Tensor:
    (x,) = _all(inputs)
    window = tuple(a["kernel_shape"])
    strides, pads = tuple(a.get("strides", (1,) * len(window))), a.get("pads", (0,) * (2 * len(window)))
    if a.get("ceil_mode", 0) or len(window) != 2 or any(item != 1 for item in a.get("dilations", ())):
        raise NotImplementedError("ceil_mode, dilations and other than two dimensions")
    if largest:
        return functional.max_pool2d(_padded(x, pads, -math.inf), window, strides)
    sums = functional.avg_pool2d(_padded(x, pads), window, strides)
    if a.get("count_include_pad", 0) or not any(pads):
        return sums
    return sums / functional.avg_pool2d(_padded(torch.ones_like(x), pads), window, strides)


def _reshape(inputs: Inputs, a: Attributes) -> Tensor:
    x, shape = _all(inputs)
    sizes = [
        x.shape[at] if not size and not a.get("allowzero", 0) else size
        for at, size in enumerate(_integers(shape))
    ]
    return x.reshape(sizes)


def _slice(inputs: Inputs, a: Attributes) -> Tensor:
    x, starts, ends = _all(inputs[:3])
    first, last = _integers(starts), _integers(ends)
    axes = _integers(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else list(range(len(first)))
    steps = _integers(inputs[4]) if len(inputs) > 4 and inputs[4] is not None else [1] * len(first)
    for axis, begin, end, step in zip(axes, first, last, steps, strict=True):
        chosen = range(x.shape[axis])[slice(begin, end if end > -(1 << 62) else None, step)]
        x = torch.index_select(x, axis, torch.tensor(list(chosen), dtype=torch.int64))
    return x


def _split(inputs: Inputs, a: Attributes) -> tuple[Tensor, ...]:
    x, axis = _all(inputs[:1])[0], a.get("axis", 0)
    if len(inputs) > 1 and inputs[1] is not None:
        sizes: list[int] | int = _integers(inputs[1])
    else:
        sizes = -(-x.shape[axis] // a["num_outputs"])
    parts: tuple[Tensor, ...] = torch.split(x, sizes, axis)
    return parts


def _reduce(inputs: Inputs, a: Attributes, apply: Callable[..., Tensor]) -> Tensor:
    x = _all(inputs[:1])[0]
    axes = _integers(inputs[1]) if len(inputs) > 1 and inputs[1] is not None else list(a.get("axes", ()))
    if not axes and a.get("noop_with_empty_axes", 0):
        return x
    return apply(x, axes or list(range(x.ndim)), keepdim=bool(a.get("keepdims", 1)))


def _global(inputs: Inputs, apply: Callable[..., Tensor]) -> Tensor:
    (x,) = _all(inputs)
    return apply(x, tuple(range(2, x.ndim)), keepdim=True)


def _squeeze(inputs: Inputs, a: Attributes) -> Tensor:
    x = _all(inputs[:1])[0]
    axes = _integers(inputs[1]) if len(inputs) > 1 else []
    return x.squeeze(tuple(axes)) if axes else x.squeeze()


def _unsqueeze(inputs: Inputs, a: Attributes) -> Tensor:
    x, given = _all(inputs)
    rank = x.ndim + given.numel()
    for axis in sorted(item % rank for item in _integers(given)):
        x = x.unsqueeze(axis)
    return x


def _clip(inputs: Inputs, a: Attributes) -> Tensor:
    x = _all(inputs[:1])[0]
    low, high = ((*inputs[1:], None, None))[:2]
    if low is not None:
        x = torch.maximum(x, low)
    return torch.minimum(x, high) if high is not None else x


def _constant(inputs: Inputs, a: Attributes) -> Tensor:
    value = next(iter(a.values()))
    return value if isinstance(value, Tensor) else torch.tensor(value)


def _layer_norm(inputs: Inputs, a: Attributes) -> Tensor:
    x, scale = _all(inputs[:2])
    axes = tuple(range(a.get("axis", -1) % x.ndim, x.ndim))
    centred = x - x.mean(axes, keepdim=True)
    y = centred * torch.rsqrt((centred * centred).mean(axes, keepdim=True) + a.get("epsilon", 1e-5)) * scale
    bias = inputs[2] if len(inputs) > 2 else None
    return y if bias is None else y + bias


def _cast(inputs: Inputs, a: Attributes) -> Tensor:
    kinds = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 11: torch.float64}
    if a["to"] not in kinds:
        raise NotImplementedError(f"the type {a['to']}")
    return _all(inputs)[0].to(kinds[a["to"]])


def _gather(inputs: Inputs, a: Attributes) -> Tensor:
    x, which = _all(inputs)
    axis = a.get("axis", 0) % x.ndim
    flat = which.reshape(-1).to(torch.int64) % x.shape[axis]
    return torch.index_select(x, axis, flat).reshape(*x.shape[:axis], *which.shape, *x.shape[axis + 1 :])


def _unary(apply: Callable[[Tensor], Tensor]) -> Operator:
    return lambda inputs, a: apply(_all(inputs)[0])


def _binary(apply: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda inputs, a: apply(*_all(inputs))


OPERATORS: dict[str, Operator] = {
    "Add": _binary(torch.add),
    "AveragePool": lambda inputs, a: _pool(inputs, a, False),
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda inputs, a: torch.cat(_all(inputs), a["axis"]),
    "Constant": _constant,
    "Conv": _conv,
    "Div": _binary(torch.div),
    "Equal": _binary(torch.eq),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Expand": lambda inputs, a: _all(inputs)[0] * torch.ones(_integers(inputs[1])),
    "Flatten": lambda inputs, a: _all(inputs)[0].reshape(
        math.prod(_all(inputs)[0].shape[: a.get("axis", 1)]), -1
    ),
    "Gather": _gather,
    "Gelu": lambda inputs, a: functional.gelu(_all(inputs)[0], approximate=a.get("approximate", "none")),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda inputs, a: _global(inputs, torch.mean),
    "GlobalMaxPool": lambda inputs, a: _global(inputs, torch.amax),
    "HardSigmoid": lambda inputs, a: (_all(inputs)[0] * a.get("alpha", 0.2) + a.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": _unary(functional.hardswish),
    "Identity": _unary(lambda x: x),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda inputs, a: functional.leaky_relu(_all(inputs)[0], a.get("alpha", 0.01)),
    "Log": _unary(torch.log),
    "MatMul": _binary(torch.matmul),
    "Max": lambda inputs, a: torch.stack(torch.broadcast_tensors(*_all(inputs))).amax(0),
    "MaxPool": lambda inputs, a: _pool(inputs, a, True),
    "Min": lambda inputs, a: torch.stack(torch.broadcast_tensors(*_all(inputs))).amin(0),
    "Mul": _binary(torch.mul),
    "Neg": _unary(torch.neg),
    "PRelu": _binary(lambda x, slope: torch.where(x < 0, x * slope, x)),
    "Pad": lambda inputs, a: _padded(
        _all(inputs)[0],
        _integers(inputs[1]),
        float(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else 0.0,
    ),
    "Pow": _binary(torch.pow),
    "Reciprocal": _unary(torch.reciprocal),
    "ReduceMax": lambda inputs, a: _reduce(inputs, a, torch.amax),
    "ReduceMean": lambda inputs, a: _reduce(inputs, a, torch.mean),
    "ReduceSum": lambda inputs, a: _reduce(inputs, a, torch.sum),
    "Relu": _unary(torch.relu),
    "Reshape": _reshape,
    "Sigmoid": _unary(torch.sigmoid),
    "Slice": _slice,
    "Softmax": lambda inputs, a: torch.softmax(_all(inputs)[0], a.get("axis", -1)),
    "Split": _split,
    "Sqrt": _unary(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _binary(torch.sub),
    "Tanh": _unary(torch.tanh),
    "Transpose": lambda inputs, a: _all(inputs)[0].permute(
        tuple(a.get("perm", reversed(range(_all(inputs)[0].ndim))))
    ),
    "Unsqueeze": _unsqueeze,
    "Where": lambda inputs, a: torch.where(*_all(inputs)),
}
"""Operator -> what it is. Networks with others cannot be trained here."""
