"""LSQ (Esser et al., arXiv 1902.08153): one learned step per tensor, here with mid-rise levels and no rotation."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from potluck.isa.errors import DataError


class _LearnedStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, half: int) -> Tensor:
        ratio = x / step
        level = torch.floor(ratio).clamp(-half, half - 1) + 0.5
        ctx.save_for_backward(ratio, level)
        ctx.half = half
        return level * step

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        (g,), (ratio, level) = upstream, ctx.saved_tensors
        inside = (ratio >= -ctx.half) & (ratio <= ctx.half)
        scale = 1 / math.sqrt(g.numel() * (ctx.half - 1))
        return g * inside, (g * torch.where(inside, level - ratio, level)).sum() * scale, None


class LsqQuantizer(nn.Module):
    """A tensor of any shape.

    The step starts at 2 mean|x| / sqrt(Q), its gradient is scaled by 1 / sqrt(elements Q), Q = 2^(bits-1) - 1.

    Args:
        bits: 2 to 8; with one bit Q is 0.

    Raises:
        DataError: Another width.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        if not 2 <= bits <= 8:
            raise DataError(f"LSQ with {bits} bits", hint="Use 2 to 8 bits")
        self.half = 1 << bits - 1
        self.step = nn.Parameter(torch.tensor(math.nan))

    def forward(self, x: Tensor) -> Tensor:
        """Values in the domain of x; the first call sets the step."""
        if torch.isnan(self.step):
            with torch.no_grad():
                self.step.copy_(2 * x.abs().mean() / math.sqrt(self.half - 1))
        values: Tensor = _LearnedStep.apply(x, self.step, self.half)
        return values
