"""Training after quantization: the quantized network learns to give FP32's outputs, on samples without labels.

What is minimized is the square error of the outputs per unit of their variance (distillation of logits: arXiv
1503.02531 at a high temperature), by Adam whose rate falls to 0 along a cosine. Weights change codes and biases
change; scales, ranges of activations and everything else stay what quantization made them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from potluck.compiler.calibration import batches
from potluck.compiler.graph.nodes import constant
from potluck.compiler.ptq.data import Samples
from potluck.compiler.ptq.products import product_of
from potluck.isa.errors import DataError
from potluck.train.network import TrainableNetwork

Feed = dict[str, NDArray[Any]]
TOGETHER = 32
"""Samples of one step; networks of a smaller batch add up gradients."""


@dataclass(frozen=True)
class Finetune:
    """How a quantized network is trained; give it as `potluck.compiler.schemes.Options.train`.

    Attributes:
        steps: Of Adam.
        rate: Its first rate, in steps between levels.
        seed: Of the order of samples.
    """

    steps: int = 200
    rate: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.rate > 0:
            raise DataError(
                f"training for {self.steps} steps at the rate {self.rate}", hint="Use positive numbers"
            )

    def __call__(self, model: ir.Model, exact: ir.Model, samples: Samples) -> dict[str, Any]:
        """Trains a quantized network, in place.

        Args:
            model: The network.
            exact: The same in FP32, with nodes of the same names.
            samples: See `potluck.compiler.calibration.batches`.

        Returns:
            Steps, and mean square errors per unit of variance, before and after.

        Raises:
            ModelError: A node that nothing can be trained through.
            DataError: Samples do not fit, or the network has no weights to train.
        """
        teacher, student = TrainableNetwork(exact), TrainableNetwork(model, exact_weights(exact))
        if not student.weights:
            raise DataError("the network has no quantized weights to train")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # networks are small, and sums do not depend on the machine's cores
        try:
            return self._train(teacher, student, batches(model, samples))
        finally:
            torch.set_num_threads(threads)

    def _train(
        self, teacher: TrainableNetwork, student: TrainableNetwork, samples: Iterable[Feed]
    ) -> dict[str, Any]:
        feeds = [{name: torch.tensor(array) for name, array in feed.items()} for feed in samples]
        with torch.no_grad():
            wanted = [teacher(feed) for feed in feeds]
        power = {
            name: float(torch.stack([item[name] for item in wanted]).float().var()) or 1.0
            for name in wanted[0]
        }

        def loss(at: int) -> Tensor:
            found = student(feeds[at])
            parts = [((found[name] - wanted[at][name]) ** 2).mean() / power[name] for name in power]
            return torch.stack(parts).mean()

        def error() -> float:
            with torch.no_grad():
                return float(torch.stack([loss(at) for at in range(len(feeds))]).mean())

        before, kept = error(), {name: value.clone() for name, value in student.state_dict().items()}
        size = len(next(iter(feeds[0].values())))
        together = min(max(1, TOGETHER // size), len(feeds))
        optimizer = torch.optim.Adam(student.parameters(), self.rate)
        order = _order(len(feeds), self.seed)
        for step in range(self.steps):
            for group in optimizer.param_groups:
                group["lr"] = self.rate * (1 + math.cos(math.pi * step / self.steps)) / 2
            optimizer.zero_grad()
            for _ in range(together):
                (loss(next(order)) / together).backward()
            optimizer.step()
        after = error()
        if after > before:
            student.load_state_dict(kept)
        student.write()
        return {
            "steps": self.steps,
            "rate": self.rate,
            "seed": self.seed,
            "before": before,
            "after": min(before, after),
        }


def exact_weights(exact: ir.Model) -> Mapping[str, NDArray[Any]]:
    """FP32 weights of products, by name."""
    found = {}
    for node in exact.graph:
        product = product_of(node)
        if product is not None and (array := constant(product.weight)) is not None:
            found[product.name] = np.asarray(array)
    return found


def _order(count: int, seed: int) -> Iterator[int]:
    """Every batch once, then again in another order, for ever."""
    random = np.random.default_rng(seed)
    while True:
        yield from (int(item) for item in random.permutation(count))
