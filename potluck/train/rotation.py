"""Block Hadamard rotation along the last axis, in any floating type."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from potluck.isa.formats import bbq


@cache
def _matrix(block: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.from_numpy(bbq.hadamard(block)).to(device, dtype) * block**-0.5


def rotate(x: Tensor, block: int) -> Tensor:
    """x blockdiag(H) / sqrt(block); its own inverse and its own gradient."""
    if block == 1:
        return x
    groups = x.reshape(*x.shape[:-1], -1, block)
    return (groups @ _matrix(block, x.dtype, x.device)).reshape(x.shape)
