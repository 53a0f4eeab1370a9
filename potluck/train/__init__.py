"""Quantization-aware training in PyTorch (extra ``[train]``).

`Finetune` trains any quantized ONNX network to do what it did in FP32 (docs/ptq.md):

    potluck.quantize("model.onnx", "int4", calibration=samples, train=Finetune(steps=300))

Bell Box, with QuEST and LSQ beside it, are modules for networks that are trained in PyTorch:

    from potluck.train import BbqLinear, export
    net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), BbqLinear(256, 256, bits=2), nn.ReLU(), nn.Linear(256, 10))
    ... train ...
    export(net, example).save("net.onnx")     # runs on ONNX's evaluators and compiles for the machine, bit for bit

docs/bbq.md says what the quantizers do.
"""

from __future__ import annotations

from potluck.isa.errors import ToolError

try:
    import torch as _torch
except ImportError as error:
    raise ToolError("training needs torch", hint="pip install 'potluck[train]'") from error

from potluck.train.bbq import BbqActivationQuantizer, BbqConv2d, BbqLinear, BbqWeightQuantizer
from potluck.train.export import export
from potluck.train.finetune import Finetune
from potluck.train.lsq import LsqQuantizer
from potluck.train.quantized import QuantizedLinear
from potluck.train.quest import QuestQuantizer

__all__ = [
    "BbqActivationQuantizer",
    "BbqConv2d",
    "BbqLinear",
    "BbqWeightQuantizer",
    "Finetune",
    "LsqQuantizer",
    "QuantizedLinear",
    "QuestQuantizer",
    "export",
]
del _torch
