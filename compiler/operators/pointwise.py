"""Elementwise operators: each is an expression of its inputs; broadcasting, types and constants are common to all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from potluck.compiler.graph.mx_nodes import packed_by_products
from potluck.compiler.graph.nodes import DOMAIN, integer, label, real, shape_of, text, title, written
from potluck.compiler.graph.nodes import constant as known
from potluck.compiler.lowering.base import FORMAT_NAMES, Constant, Tensor
from potluck.compiler.lowering.base import constant as make_constant
from potluck.compiler.lowering.pointwise import PointwisePlan, padded
from potluck.compiler.operators.base import HALVES, SMALL, TYPES, UNSIGNED, operator, typed
from potluck.kernels.expressions import functions as f
from potluck.kernels.expressions import graph as g
from potluck.kernels.expressions import small
from potluck.kernels.expressions.graph import F32, F64, FLOATING, I32, I64, MASK, U32, U64, Value
from potluck.kernels.expressions.graph import UNSIGNED as UNSIGNED_REGISTERS
from potluck.kernels.expressions.meaning import HALVES as HALF_NAMES
from potluck.kernels.expressions.meaning import REGISTER
from potluck.kernels.pointwise import MOST

if TYPE_CHECKING:
    from potluck.compiler.selection import Selector

Build = Callable[..., Value]
"""From the node and its operands to the result."""
BUILDERS: dict[str, Build] = {}
"""Operator -> how its expression is built."""


def _unary(names: dict[str, Callable[[Value], Value]]) -> None:
    for name, function in names.items():
        BUILDERS[name] = lambda node, x, function=function: function(x)


def _binary(names: dict[str, Callable[[Value, Value], Value]]) -> None:
    for name, function in names.items():
        BUILDERS[name] = lambda node, x, y, function=function: function(x, y)


def _variadic(names: dict[str, Callable[[Value, Value], Value]]) -> None:
    for name, function in names.items():
        BUILDERS[name] = lambda node, *xs, function=function: reduce(function, xs)


def _mod(node: ir.Node, x: Value, y: Value) -> Value:
    """The sign is the dividend's with ``fmod``, else the divisor's; floats may have either."""
    truncating = bool(integer(node, "fmod", 0))
    if x.type != F32:
        rest = g.binary("rem", x, y)
        wrong = g.differs(rest, 0) & ((rest < 0) ^ (y < 0))
        return rest if truncating else g.select(wrong, rest + y, rest)
    rest = g.copysign(g.fma(-y, f.truncated(x / y), x), x)
    rest = g.select(g.equal(absolute(y), math.inf) & (absolute(x) < math.inf), x, rest)
    if truncating:
        return rest
    turned = g.select((rest < 0) ^ (y < 0), rest + y, rest)
    return g.select(g.equal(rest, 0), g.copysign(g.constant(0.0), y), turned)


def _sign(x: Value) -> Value:
    one, nothing = g.constant(1, x.type), g.constant(0, x.type)
    signed = g.select(x < 0, -one if x.type not in FLOATING else g.constant(-1, x.type), nothing)
    result = g.select(x > 0, one, signed)
    return g.select(g.differs(x, x), x, result) if x.type in FLOATING else result


def absolute(x: Value) -> Value:
    """|x|; of integers modulo their width."""
    if x.type in UNSIGNED_REGISTERS:
        return x
    return g.unary("abs", x) if x.type in FLOATING else g.maximum(x, -x)


def _power(node: ir.Node, x: Value, y: Value) -> Value:
    base, exponent = _float(x), _float(y)
    simple = {0.5: lambda: g.unary("sqrt", base), 1.0: lambda: base, 2.0: lambda: base * base,
              3.0: lambda: base * base * base, -1.0: lambda: 1.0 / base}  # fmt: skip
    if exponent.scalar and float(exponent.payload) in simple:
        result = simple[float(exponent.payload)]()
    else:
        result = f.power(base, exponent)
    return result if x.type == F32 else convert(result, x.type)


def _float(x: Value) -> Value:
    return x if x.type == F32 else g.constant(float(x.payload)) if x.scalar else convert(x, F32)


def convert(x: Value, to: str) -> Value:
    """ONNX's Cast between register types; floats are truncated towards zero, integers keep the low bits."""
    if x.type == to:
        return x
    if to == MASK:
        return g.differs(x, 0)
    if x.type == MASK:
        return g.select(x, g.constant(1, to), g.constant(0, to))
    if to in FLOATING:
        names = {(F64, F32): "single"}
        return g.cast(names.get((x.type, to), "float" if to == F32 else "double"), x)
    if (x.type, to) == (F32, I32):
        return g.cast("truncate", x)
    if (
        x.type in FLOATING
    ):  # as processors of 64 bits do it: unsigned results have the low bits of signed ones
        wide = g.cast("truncate_unsigned" if to == U64 else "truncate_wide", x)
        return convert(wide, to)
    wide_types, narrow_types = (I64, U64), (I32, U32)
    if x.type in narrow_types and to in wide_types:
        x = g.cast("widen", x)
    elif x.type in wide_types and to in narrow_types:
        x = g.cast("narrow", x)
    if x.type != to:
        x = g.cast("unsigned" if to in UNSIGNED_REGISTERS else "signed", x)
    return x


def loaded(index: int, dtype: str) -> Value:
    """The argument of a kernel that has a type in memory."""
    if dtype in small.SMALL:
        return small.SMALL[dtype].decode(g.argument(index, I32))
    return g.argument(index, REGISTER[dtype])


def stored(value: Value, dtype: str, saturate: bool = True, mode: str = "up") -> Value:
    """What a kernel stores of a value as a type in memory."""
    if value.type == F64 and (dtype in HALF_NAMES or dtype in small.SMALL):
        value = g.cast("single_odd", value)
    if dtype in small.SMALL:
        kind = small.SMALL[dtype]
        return kind.encode(convert(value, kind.type), saturate, mode)
    return convert(value, REGISTER[dtype])


def number(array: np.ndarray) -> Value:
    """A constant of one element."""
    dtype = array.dtype.name
    kind = small.SMALL[dtype].type if dtype in small.SMALL else REGISTER[dtype]
    held = array.reshape(())
    return g.constant(float(held) if kind in FLOATING else int(held), kind)


def _clip(node: ir.Node, x: Value, *bounds: Value | None) -> Value:
    low, high = (*bounds, None, None)[:2]
    x = x if low is None else g.maximum(x, low)
    return x if high is None else g.minimum(x, high)


def _shrink(node: ir.Node, x: Value) -> Value:
    lambd, bias = real(node, "lambd", 0.5), real(node, "bias", 0.0)
    return g.select(x < -lambd, x + bias, g.select(x > lambd, x - bias, g.constant(0.0)))


def _elu(x: Value, alpha: float, gamma: float = 1.0) -> Value:
    return g.select(x > 0, x * gamma if gamma != 1.0 else x, f.expm1(x) * (alpha * gamma))


def _celu(node: ir.Node, x: Value) -> Value:
    alpha = real(node, "alpha", 1.0)
    return g.maximum(x, 0.0) + g.minimum(f.expm1(x * (1 / alpha)) * alpha, 0.0)


def _leaky(x: Value, slope: Value | float) -> Value:
    return g.select(x < 0, x * slope, x)


def _hard_sigmoid(node: ir.Node, x: Value) -> Value:
    line = g.fma(real(node, "alpha", 0.2), x, real(node, "beta", 0.5))
    return g.minimum(g.maximum(line, 0.0), 1.0)


def _shift(node: ir.Node, x: Value, by: Value) -> Value:
    """Shifts by the width or more, which negative ones are too, leave zeros, or copies of a sign shifted right."""
    assert node.inputs[0] is not None and node.inputs[0].dtype is not None
    kind = np.dtype(node.inputs[0].dtype.numpy())
    last = 8 * kind.itemsize - 1
    beyond = (by < 0) | (by > last)
    if text(node, "direction", "LEFT") == "RIGHT" and kind.kind == "i":
        return g.binary("sar", x, g.select(beyond, g.constant(last, x.type), by))
    shifted = g.binary("shl" if text(node, "direction", "LEFT") == "LEFT" else "shr", x, by)
    return g.select(beyond, g.constant(0, x.type), shifted)


def _is_inf(node: ir.Node, x: Value) -> Value:
    found = g.constant(0, MASK)
    if integer(node, "detect_positive", 1):
        found = found | g.equal(x, math.inf)
    if integer(node, "detect_negative", 1):
        found = found | g.equal(x, -math.inf)
    return found


def _mean(node: ir.Node, *xs: Value) -> Value:
    total = reduce(lambda x, y: x + y, xs)
    return total * (1 / len(xs)) if len(xs) & (len(xs) - 1) == 0 else total / float(len(xs))


_unary({
    "Neg": lambda x: -x, "Abs": absolute, "Sign": _sign, "Not": lambda x: ~x, "BitwiseNot": lambda x: ~x,
    "Reciprocal": lambda x: 1 / x, "Sqrt": lambda x: g.unary("sqrt", x),
    "Exp": f.exp, "Log": f.log, "Sigmoid": f.sigmoid, "Tanh": f.tanh, "Erf": f.erf, "Softplus": f.softplus,
    "Sin": f.sin, "Cos": f.cos, "Tan": f.tan, "Asin": f.asin, "Acos": f.acos, "Atan": f.atan, "Sinh": f.sinh,
    "Cosh": f.cosh, "Asinh": f.asinh, "Acosh": f.acosh, "Atanh": f.atanh,
    "Floor": f.floor, "Ceil": f.ceil, "Round": f.rint, "IsNaN": lambda x: g.differs(x, x),
    "Relu": lambda x: g.maximum(x, 0), "Softsign": lambda x: x / (g.unary("abs", x) + 1.0),
    "Mish": lambda x: x * f.tanh(f.softplus(x)),
    "HardSwish": lambda x: x * g.minimum(g.maximum(g.fma(1 / 6, x, 0.5), 0.0), 1.0),
    "Identity": lambda x: x,
})  # fmt: skip
_binary({
    "Sub": lambda x, y: x - y, "Div": lambda x, y: x / y, "Equal": g.equal, "Less": lambda x, y: x < y,
    "LessOrEqual": lambda x, y: x <= y, "Greater": lambda x, y: x > y, "GreaterOrEqual": lambda x, y: x >= y,
    "And": lambda x, y: x & y, "Or": lambda x, y: x | y, "Xor": lambda x, y: x ^ y,
    "BitwiseAnd": lambda x, y: x & y, "BitwiseOr": lambda x, y: x | y, "BitwiseXor": lambda x, y: x ^ y,
    "PRelu": _leaky, "Mul": lambda x, y: x * y, "Add": lambda x, y: x + y,
})  # fmt: skip
_variadic({"Sum": lambda x, y: x + y, "Max": g.maximum, "Min": g.minimum})
BUILDERS |= {
    "Mean": _mean,
    "Mod": _mod,
    "Pow": _power,
    "Where": lambda node, where, x, y: g.select(where, x, y),
    "Clip": _clip,
    "Shrink": _shrink,
    "Elu": lambda node, x: _elu(x, real(node, "alpha", 1.0)),
    "Selu": lambda node, x: _elu(
        x, real(node, "alpha", 1.67326319217681884765625), real(node, "gamma", 1.05070102214813232421875)
    ),
    "Celu": _celu,
    "LeakyRelu": lambda node, x: _leaky(x, real(node, "alpha", 0.01)),
    "ThresholdedRelu": lambda node, x: g.select(x > real(node, "alpha", 1.0), x, g.constant(0.0)),
    "HardSigmoid": _hard_sigmoid,
    "Swish": lambda node, x: x * f.sigmoid(x * real(node, "alpha", 1.0)),
    "Gelu": lambda node, x: f.gelu_tanh(x) if text(node, "approximate", "none") == "tanh" else f.gelu(x),
    "BitShift": _shift,
    "IsInf": _is_inf,
    "Cast": lambda node, x: x,  # the result's type says the rest
    "CastLike": lambda node, x, like: x,
}


DOUBLE = (
    "Abs", "Add", "Cast", "CastLike", "Clip", "Div", "Equal", "Greater", "GreaterOrEqual", "Identity", "IsNaN", "Less",
    "LessOrEqual", "Max", "Mean", "Min", "Mul", "Neg", "Reciprocal", "Relu", "Sign", "Sqrt", "Sub", "Sum", "Where",
)  # fmt: skip
"""Operators of doubles: what instructions compute; there are no functions of that precision."""


def rule(node: ir.Node) -> str | None:
    """Refuses types without registers, and more operands than a kernel takes."""
    types = (*TYPES, *HALVES, *UNSIGNED)
    if node.op_type in DOUBLE:
        types = (*types, ir.DataType.DOUBLE)
    if node.op_type in ("Cast", "CastLike"):
        types = (*types, *SMALL)
    reason = typed(node, types)
    if reason:
        return reason
    varying = [value for value in node.inputs if value is not None and not _number(value)]
    if len(varying) > MOST:
        return f"it has {len(varying)} inputs, a pointwise kernel takes {MOST}"
    return None


def _number(value: ir.Value) -> bool:
    array = known(value)
    return array is not None and array.size == 1


def plan(selector: Selector, node: ir.Node) -> None:
    """Plans any operator of `BUILDERS`."""
    out = node.outputs[0]
    if packed_by_products(out):
        return
    shape = shape_of(out, node)
    last = _channels_last(selector, node, len(shape))
    inputs: list[Tensor | Constant] = []
    shapes: list[tuple[int, ...]] = []
    operands: list[Value | None] = []
    y = selector.new(out, channels_last=last)
    for value in node.inputs:
        if value is None:
            operands.append(None)
            continue
        array = known(value)
        dtype = str(np.asarray(array).dtype) if array is not None else selector.tensor(value, node).dtype
        if array is not None and array.size == 1:
            operands.append(number(np.asarray(array)))
            continue
        operands.append(loaded(len(inputs), dtype))
        full = padded(shape_of(value, node), len(shape))
        if array is not None:
            turned = np.ascontiguousarray(_turned(np.asarray(array).reshape(full), last))
            inputs.append(
                make_constant(value.name or "", "values", turned, FORMAT_NAMES.get(dtype, dtype.upper()))
            )
            shapes.append(turned.shape)
        else:
            inputs.append(selector.tensor(value, node, last))
            shapes.append(tuple(full[i] for i in _order(len(shape), last)))
    made = BUILDERS[written(node).removeprefix(f"{DOMAIN}.Fused")](node, *operands)
    saturate, mode = bool(integer(node, "saturate", 1)), text(node, "round_mode", "up")
    result = stored(bounded(node, made), y.dtype, saturate, mode)
    selector.plans.append(PointwisePlan(label(node), title(node), result, tuple(inputs), tuple(shapes), y))


def declare(name: str, build: Build) -> None:
    """Declares an operator that a pointwise expression computes; outside of ONNX's domain as ``domain.Name``."""
    BUILDERS[name] = build
    operator(name, rule=rule)(plan)


def bounded(node: ir.Node, value: Value) -> Value:
    """The activation of a fused operator."""
    low, high = real(node, "min", -math.inf), real(node, "max", math.inf)
    if "min" in node.attributes and not math.isinf(low):
        value = g.maximum(value, low)
    if "max" in node.attributes and not math.isinf(high):
        value = g.minimum(value, high)
    return value


def _channels_last(selector: Selector, node: ir.Node, rank: int) -> bool:
    """Whether the result lies as NHWC: an input does, and no other stands in the way."""
    if rank != 4:
        return False
    found = False
    for value in node.inputs:
        if value is None or known(value) is not None:
            continue
        tensor = selector.tensor(value, node)
        if len(tensor.shape) == 4:
            found = found or tensor.channels_last
        elif len(tensor.shape) == 3 and tensor.shape[0] > 1 and math.prod(tensor.shape[1:]) > 1:
            return False
    return found


def _order(rank: int, channels_last: bool) -> Sequence[int]:
    return (0, 2, 3, 1) if channels_last else range(rank)


def _turned(array: np.ndarray, channels_last: bool) -> np.ndarray:
    return array.transpose(_order(array.ndim, channels_last))


for _name in BUILDERS:
    if _name not in ("Add", "Relu", "Clip", "Identity"):  # these have faster kernels for common cases
        operator(_name, rule=rule)(plan)
