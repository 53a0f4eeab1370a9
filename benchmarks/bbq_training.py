"""What `benchmarks.bbq` trains: two small networks from scratch, with every matrix inside quantized one way or another.

Images: features of 16 patches, then two layers of width 128 that see the whole. Text: a decoder of two layers of
width 64 on characters. First and last layer, norms, and attention's own products stay in FP32, as in the paper; recipe
(AdamW, one cycle, clipped gradients) and budget are those of every method.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from potluck.benchmarks.bbq_data import Parts
from potluck.train import BbqLinear, LsqQuantizer, QuantizedLinear, QuestQuantizer
from potluck.train.bbq import scales

METHODS = ("bbq2", "quest2", "lsq2", "bbq1", "quest1")
"""Quantizer and bits of weights and activations; ``fp32`` is not quantized."""
BLOCK = 64
CONTEXT = 64


def linear(method: str, inputs: int, outputs: int) -> nn.Linear:
    """A layer quantized by a method."""
    if method == "fp32":
        return nn.Linear(inputs, outputs)
    name, bits = method[:-1], int(method[-1])
    if name == "bbq":
        return BbqLinear(inputs, outputs, bits, block=BLOCK)
    if name == "quest":
        return QuantizedLinear(inputs, outputs, QuestQuantizer(bits, BLOCK), QuestQuantizer(bits, BLOCK))
    return QuantizedLinear(inputs, outputs, LsqQuantizer(bits), LsqQuantizer(bits))


class Patches(nn.Module):
    """Images of 28 x 28 to the features of their 16 patches, one after the other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(49, width)

    def forward(self, x: Tensor) -> Tensor:
        """[n, 16 width] of [n, 784]."""
        patches = x.reshape(-1, 4, 7, 4, 7).transpose(2, 3).reshape(-1, 16, 49)
        return functional.relu(self.embedding(patches)).flatten(1)


class Block(nn.Module):
    """x + W2 relu(W1 norm(x))."""

    def __init__(self, method: str, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.up, self.down = linear(method, width, hidden), linear(method, hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width]."""
        y: Tensor = x + self.down(functional.relu(self.up(self.norm(x))))
        return y


class Attention(nn.Module):
    """x + causal attention of norm(x)."""

    def __init__(self, method: str, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.RMSNorm(width)
        self.qkv, self.out = linear(method, width, 3 * width), linear(method, width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, context, width]."""
        n, t, d = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        y: Tensor = x + self.out(mixed.transpose(1, 2).reshape(n, t, d))
        return y


class Decoder(nn.Module):
    """Characters to logits of the next ones."""

    def __init__(self, method: str, classes: int, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.embedding, self.place = nn.Embedding(classes, width), nn.Embedding(CONTEXT, width)
        blocks = [[Attention(method, width, 2), Block(method, width, 4 * width)] for _ in range(layers)]
        self.blocks = nn.Sequential(*[part for pair in blocks for part in pair])
        self.norm, self.head = nn.RMSNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [batch, context, classes]."""
        made: Tensor = self.head(self.norm(self.blocks(self.embedding(x) + self.place.weight)))
        return made


def network(task: str, method: str, classes: int) -> nn.Module:
    """The task's network."""
    if task == "text":
        return Decoder(method, classes)
    return nn.Sequential(
        Patches(64),
        nn.RMSNorm(1024), linear(method, 1024, 128), nn.ReLU(),
        nn.RMSNorm(128), linear(method, 128, 128), nn.ReLU(),
        nn.RMSNorm(128), nn.Linear(128, classes),
    )  # fmt: skip


@dataclass(frozen=True)
class Budget:
    """What every run gets.

    Attributes:
        steps: Updates.
        batch: Images, or windows of `CONTEXT` characters.
        probes: How often the validation loss is taken.
        evaluated: Most images or windows in an evaluation.
    """

    steps: int
    batch: int
    probes: int = 8
    evaluated: int = 10000


class Feed:
    """Batches, the same for every method with the same seed."""

    def __init__(self, data: Parts, seed: int) -> None:
        self.data, self.rng = data, np.random.Generator(np.random.Philox(seed))

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Random training samples."""
        x, y = self.data.parts["train"]
        if self.data.name == "image":
            at = self.rng.integers(0, len(x), count)
            return torch.from_numpy(x[at]), torch.from_numpy(y[at])
        at = self.rng.integers(0, len(x) - CONTEXT, count)[:, None] + np.arange(CONTEXT)
        return torch.from_numpy(x[at]), torch.from_numpy(y[at])

    def whole(self, part: str, most: int) -> tuple[Tensor, Tensor]:
        """A part in order, without the last unfinished window."""
        x, y = self.data.parts[part]
        if self.data.name == "text":
            count = len(x) // CONTEXT
            x, y = (array[: count * CONTEXT].reshape(count, CONTEXT) for array in (x, y))
        return torch.from_numpy(np.ascontiguousarray(x[:most])), torch.from_numpy(y[:most])


@torch.no_grad()
def evaluate(net: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """(mean cross-entropy in nats, accuracy)."""
    net.eval()
    loss, right = 0.0, 0
    for at in range(0, len(x), 500):
        logits = net(x[at : at + 500]).flatten(0, -2)
        wanted = y[at : at + 500].flatten()
        loss += float(functional.cross_entropy(logits, wanted, reduction="sum"))
        right += int((logits.argmax(-1) == wanted).sum())
    net.train()
    return loss / y.numel(), right / y.numel()


def train(data: Parts, method: str, rate: float, seed: int, budget: Budget, part: str) -> dict[str, Any]:
    """One run from scratch; weights, and batches, start alike for all methods of a seed.

    Args:
        data: The task.
        method: One of `METHODS`.
        rate: Highest learning rate of the cycle.
        seed: Of weights and batches.
        budget: Steps and batch.
        part: What the result is measured on: ``validation`` or ``test``.

    Returns:
        Loss (nats) and accuracy at the end, the validation loss along the way, and what was run.
    """
    torch.manual_seed(seed)
    net, feed, start = network(data.name, method, data.classes), Feed(data, seed), time.perf_counter()
    scale = {id(item) for item in scales(net)}
    decayed = [p for p in net.parameters() if p.ndim > 1 and id(p) not in scale]
    others = [p for p in net.parameters() if p.ndim <= 1 or id(p) in scale]
    net.eval()
    net(feed.batch(budget.batch)[0])  # the learned scales begin from data
    net.train()
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, rate, (0.9, 0.95))
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, budget.steps, pct_start=0.1, div_factor=100, final_div_factor=0.1, cycle_momentum=False
    )  # fmt: skip
    probe = feed.whole("validation", budget.evaluated // 10)
    curve = []
    for step in range(1, budget.steps + 1):
        x, y = feed.batch(budget.batch)
        loss = functional.cross_entropy(net(x).flatten(0, -2), y.flatten())
        if not math.isfinite(float(loss.detach())):
            break  # diverged: the result is what it is
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        cycle.step()
        if step % max(1, budget.steps // budget.probes) == 0:
            curve.append((step, round(evaluate(net, *probe)[0], 5)))
    final, accuracy = evaluate(net, *feed.whole(part, budget.evaluated))
    return {
        "task": data.name, "method": method, "rate": rate, "seed": seed, "part": part, "loss": final,
        "accuracy": accuracy, "curve": curve, "seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip
