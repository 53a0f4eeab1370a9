"""A linear layer with any pair of quantizers: what the baselines train as."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class QuantizedLinear(nn.Linear):
    """y = quantize_x(x) quantize_w(W)^T + bias; both quantizers leave their operand in one domain, rotated or not.

    Args:
        in_features: K.
        out_features: O.
        activations: Quantizer of [..., K].
        weights: Quantizer of [O, K].
        bias: Whether there is one.
    """

    def __init__(
        self, in_features: int, out_features: int, activations: nn.Module, weights: nn.Module, bias: bool = True
    ) -> None:  # fmt: skip
        super().__init__(in_features, out_features, bias)
        self.activations, self.weights = activations, weights

    def forward(self, input: Tensor) -> Tensor:
        """[..., O] of [..., K]."""
        return functional.linear(self.activations(input), self.weights(self.weight), self.bias)
