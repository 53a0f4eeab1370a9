"""Which activations are never negative nor NaN, and what that saves: their quantization looks for neither.

A rectifier's result is such (a bound of 0 takes the place of NaN as well, `potluck.kernels.fp32math.clip`), and so are
sums, maxima and minima of such values.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from potluck.compiler.lowering.base import LayerPlan, Tensor
from potluck.compiler.lowering.conv import ConvPlan
from potluck.compiler.lowering.depthwise import DepthwisePlan
from potluck.compiler.lowering.quantize import QuantizeTile
from potluck.compiler.lowering.stream import StreamPlan
from potluck.compiler.schedule.fuse import form_of
from potluck.compiler.schedule.memory import Storage
from potluck.kernels.expressions.graph import Value


def without_signs(plans: Sequence[LayerPlan]) -> list[LayerPlan]:
    """The same layers, quantizers of values that have no sign made for such."""
    writers = Counter(tensor.storage for plan in plans for tensor in plan.writes())
    known: set[Storage] = set()
    result = []
    for plan in plans:
        if isinstance(plan, StreamPlan) and isinstance(plan.kernel, QuantizeTile):
            if plan.inputs[0].tensor.storage in known:
                plan = replace(plan, kernel=QuantizeTile(replace(plan.kernel.kernel, positive=True)))
        elif _positive(plan, known):
            known |= {tensor.storage for tensor in plan.writes() if writers[tensor.storage] == 1}
        result.append(plan)
    return result


def _positive(plan: LayerPlan, known: Collection[Storage]) -> bool:
    """Whether what a layer writes is FP32 values that are at least 0."""
    if isinstance(plan, ConvPlan | DepthwisePlan):
        return plan.y.dtype == "float32" and plan.y.mx is None and _no_sign(plan.bounds[0])
    form = form_of(plan)
    if form is None:
        return False
    sources = [isinstance(item, Tensor) and item.storage in known for item in form.inputs]
    found: dict[Value, bool] = {}
    for value in form.value.walk():
        inputs = [found[part] for part in value.inputs]
        if value.op == "constant":
            found[value] = _no_sign(value.payload)
        elif value.op == "argument":
            found[value] = sources[int(value.payload)]
        else:
            found[value] = any(inputs) if value.op == "max" else value.op in ("add", "min") and all(inputs)
    return found[form.value]


def _no_sign(value: float) -> bool:
    """Whether a number is at least 0, and not the zero below 0."""
    return value >= 0 and math.copysign(1, value) > 0
