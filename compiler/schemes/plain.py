"""No quantization: folding and fusing only."""

from potluck.compiler.schemes.base import Scheme

SCHEMES = tuple(
    Scheme(name, "FP32 operands, FP32 fused multiply-adds", lambda options: ()) for name in ("none", "fp32")
)
