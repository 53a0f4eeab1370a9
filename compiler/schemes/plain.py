"""No quantization, and weights in 16-bit floating point."""

from functools import partial

from potluck.compiler.passes.quantize_half import QuantizeHalf
from potluck.compiler.schemes.base import Options, Scheme
from potluck.kernels.weights.widen import HalfElement


def _halves(element: HalfElement, options: Options) -> tuple[QuantizeHalf, ...]:
    return (QuantizeHalf(element, options.exclude),)


_HALVES: tuple[HalfElement, ...] = ("bf16", "fp16")
SCHEMES = (
    *(
        Scheme(name, "FP32 operands, FP32 fused multiply-adds", lambda options: ())
        for name in ("none", "fp32")
    ),
    *(
        Scheme(
            f"{element}_weights",
            f"{element.upper()} weights, FP32 activations; widened in L1, FP32 multiply-adds",
            partial(_halves, element),
        )
        for element in _HALVES
    ),
)
