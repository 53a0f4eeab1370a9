"""QuEST (Panferov et al., arXiv 2502.05003): a uniform grid fitted to a normal variable, and a trust gradient.

With a the rotated row, sigma its RMS and s = alpha sigma: values = clip(a, -s, s) rounded to 2^bits mid-rise levels;
the gradient passes where the value is within half a step of a.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from potluck.isa.errors import DataError
from potluck.train.rotation import rotate

ALPHA = {1: 0.79788456, 2: 1.49353462, 3: 2.05106835, 4: 2.51393058}
"""Half width of the grid with the least squared error on a standard normal variable, by bits."""


class _Trust(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, bits: int) -> Tensor:
        sigma = a.square().mean(dim=-1, keepdim=True).sqrt()
        half = ALPHA[bits] * sigma + 1e-8
        step = 2 * half / ((1 << bits) - 1)
        values = step * torch.round(torch.minimum(torch.maximum(a, -half), half) / step + 0.5) - step / 2
        ctx.save_for_backward((values - a).abs() <= sigma * ALPHA[bits] / ((1 << bits) - 1))
        return values

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        (trusted,) = ctx.saved_tensors
        return upstream[0] * trusted, None


class QuestQuantizer(nn.Module):
    """Rows [..., K], each with its own scale: weights per output, activations per token.

    Args:
        bits: 1 to 4.
        block: Hadamard block along K.

    Raises:
        DataError: Another width.
    """

    def __init__(self, bits: int, block: int) -> None:
        super().__init__()
        if bits not in ALPHA:
            raise DataError(f"QuEST with {bits} bits", hint="Use 1 to 4 bits")
        self.bits, self.block = bits, block

    def forward(self, x: Tensor) -> Tensor:
        """Values in the rotated domain."""
        values: Tensor = _Trust.apply(rotate(x, self.block), self.bits)
        return values
