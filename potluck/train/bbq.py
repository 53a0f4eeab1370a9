"""Bell Box Quantization as PyTorch modules; `potluck.compiler.quantizers.bbq` states the formulas.

The backward pass is written out: straight through the floor only, with sigma, Phi and H differentiated. Scales gamma
are learned; give them no weight decay (`scales` finds them).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from potluck.compiler.quantizers.bbq import DECAY, INITIAL, LEAST_SIGMA
from potluck.isa.formats.bbq import BbqFormat, block_of
from potluck.train.rotation import rotate

_ROOT = math.sqrt(2 * math.pi)


class BellBox(torch.autograd.Function):
    """values = gamma u(v), v = a / sigma, of rotated values ``a`` [rows, K]."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, gamma: Tensor, sigma: Tensor, fixed: bool, kind: BbqFormat) -> Tensor:
        """Values of the codes.

        Args:
            ctx: Autograd's.
            a: [rows, K].
            gamma: [rows, 1], or [] for all.
            sigma: [rows, 1], or [] for all.
            fixed: Whether sigma is a constant (BBQ-Fast) rather than the RMS of ``a``.
            kind: Codes.
        """
        v = a / sigma
        k = torch.zeros_like(v)
        for threshold in kind.thresholds.tolist():
            k += v >= threshold
        u = (k * kind.multiple + kind.lowest) * kind.unit
        ctx.save_for_backward(v, u, gamma, sigma)
        ctx.fixed = fixed
        return gamma * u

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of a and gamma."""
        (g,) = upstream
        v, u, gamma, sigma = ctx.saved_tensors
        g_v = 2 * gamma * torch.exp(-0.5 * v * v) / _ROOT * g
        if not ctx.fixed:
            along = g_v * v
            g_v = g_v - v * (along.mean(dim=1, keepdim=True) if sigma.ndim else along.mean())
        steps = g * u
        total = steps.sum(dim=1, keepdim=True) if gamma.ndim else steps.sum()
        return g_v / sigma, total / math.sqrt(g.numel()), None, None, None


class BbqWeightQuantizer(nn.Module):
    """Weights [O, K]: sigma and gamma per row.

    Args:
        rows: O.
        kind: Codes.
        block: Hadamard block along K.
    """

    def __init__(self, rows: int, kind: BbqFormat, block: int) -> None:
        super().__init__()
        self.kind, self.block = kind, block
        self.gamma = nn.Parameter(torch.full((rows,), math.nan))

    def forward(self, weight: Tensor) -> Tensor:
        """Values in the rotated domain; the first call sets gamma."""
        a = rotate(weight, self.block)
        if torch.isnan(self.gamma).any():
            with torch.no_grad():
                self.gamma.fill_(INITIAL * float(a.square().mean().sqrt()))
        sigma = a.detach().square().mean(dim=1, keepdim=True).sqrt().clamp_min(LEAST_SIGMA)
        values: Tensor = BellBox.apply(a, self.gamma[:, None], sigma, False, self.kind)
        return values


class BbqActivationQuantizer(nn.Module):
    """Activations [..., K]: one sigma and one gamma.

    Inference uses a fixed 1 / sigma, the running mean of training's. So does training with ``fast`` (BBQ-Fast), else
    each batch has its own.

    Args:
        kind: Codes.
        block: Hadamard block along K.
        fast: See above.
    """

    reciprocal: Tensor
    peak: Tensor

    def __init__(self, kind: BbqFormat, block: int, fast: bool = True) -> None:
        super().__init__()
        self.kind, self.block, self.fast = kind, block, fast
        self.gamma = nn.Parameter(torch.tensor(math.nan))
        self.register_buffer("reciprocal", torch.tensor(math.nan))
        self.register_buffer("peak", torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        """Values in the rotated domain; the first call sets gamma and the running mean."""
        a = rotate(x, self.block)
        flat = a.reshape(-1, a.shape[-1])
        first = bool(torch.isnan(self.reciprocal))
        with torch.no_grad():
            sigma = flat.square().mean().sqrt().clamp_min(LEAST_SIGMA)
            if first:
                self.gamma.fill_(INITIAL * float(sigma))
                self.reciprocal.fill_(1 / float(sigma))
                self.peak.copy_(x.abs().max())
            elif self.training:
                self.reciprocal.mul_(DECAY).add_((1 - DECAY) / sigma)
                self.peak.mul_(DECAY).add_((1 - DECAY) * x.abs().max())
        fixed = self.fast or not self.training
        scale = (1 / self.reciprocal).clone() if fixed else sigma
        values: Tensor = BellBox.apply(flat, self.gamma, scale, fixed, self.kind)
        return values.reshape(a.shape)


class BbqLinear(nn.Linear):
    """A linear layer whose two operands are BBQ codes.

    Args:
        in_features: K, a multiple of 8.
        out_features: O.
        bits: 1 to 4.
        bias: Whether it has one.
        zero_point: See `BbqFormat`.
        block: Hadamard block; None: the largest up to 128 that divides K.
        fast: See `BbqActivationQuantizer`.

    Raises:
        DataError: No such codes, or K has no Hadamard block.
    """

    def __init__(
        self, in_features: int, out_features: int, bits: int, bias: bool = True, *,
        zero_point: float = math.nan, block: int | None = None, fast: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(in_features, out_features, bias)
        kind, size = BbqFormat(bits, zero_point), block or block_of(in_features)
        self.weights = BbqWeightQuantizer(out_features, kind, size)
        self.activations = BbqActivationQuantizer(kind, size, fast)

    def forward(self, input: Tensor) -> Tensor:
        """[..., O] of [..., K]."""
        return functional.linear(self.activations(input), self.weights(self.weight), self.bias)


class BbqConv2d(nn.Conv2d):
    """A convolution whose operands are BBQ codes, rotated along the channels; borders are 0.

    Args:
        in_channels: C, a multiple of 8.
        out_channels: O.
        kernel_size: Taps in either direction.
        bits: 1 to 4.
        stride: In both directions.
        padding: On all sides.
        bias: Whether it has one.
        zero_point: See `BbqFormat`.
        block: Hadamard block; None: the largest up to 64 that divides C.
        fast: See `BbqActivationQuantizer`.

    Raises:
        DataError: No such codes, or C has no Hadamard block.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, bits: int, stride: int = 1,
        padding: int = 0, bias: bool = True, *, zero_point: float = math.nan, block: int | None = None,
        fast: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
        kind, size = BbqFormat(bits, zero_point), block or block_of(in_channels, 64)
        self.weights = BbqWeightQuantizer(out_channels, kind, size)
        self.activations = BbqActivationQuantizer(kind, size, fast)

    def quantized_weight(self) -> Tensor:
        """Values [O, C, KH, KW]; sigma of a filter runs over channels and taps."""
        taps = self.weight.permute(0, 2, 3, 1)
        return self.weights(taps.flatten(1)).reshape(taps.shape).permute(0, 3, 1, 2)

    def forward(self, input: Tensor) -> Tensor:
        """[N, O, H', W'] of [N, C, H, W]."""
        x = self.activations(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return functional.conv2d(x, self.quantized_weight(), self.bias, self.stride, self.padding)


def scales(module: nn.Module) -> Iterator[nn.Parameter]:
    """The learned scales of a network, which take no weight decay."""
    for name, parameter in module.named_parameters():
        if name.rpartition(".")[2] in ("gamma", "step"):
            yield parameter
