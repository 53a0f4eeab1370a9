"""Deep convolutions as sums of shallower ones: where the input of one row of outputs leaves L1 no room for weights.

The input channels are cut into parts. Each part is copied out of the image (channels are innermost, so this is a
strided transfer), convolved with its weights, and the results are added; the activation comes with the last sum. The
order of additions is another than in one convolution, so one that fits is left whole, even where parts would be
faster: every machine that it fits gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.graph.reading import NO_BOUNDS, open_bounds
from potluck.compiler.lowering.adapters import AddTile
from potluck.compiler.lowering.base import LayerPlan, Tensor
from potluck.compiler.lowering.boxes import Axis, Box
from potluck.compiler.lowering.conv import ConvPlan
from potluck.compiler.lowering.move import Piece, moves
from potluck.compiler.lowering.stream import Stream, StreamPlan
from potluck.compiler.schedule.memory import align
from potluck.isa.errors import MachineError
from potluck.kernels.elementwise import Add

PARTS = (2, 4, 8, 16)


def conv_plans(
    make: Callable[..., ConvPlan], fresh: Callable[[str, tuple[int, ...]], Tensor], name: str, x: Tensor, y: Tensor,
    weights: NDArray[np.float32], bias: NDArray[np.float32], bounds: tuple[float, float],
) -> list[LayerPlan]:  # fmt: skip
    """One convolution, or if that does not fit L1, the cheapest sum of 2 to 16.

    Args:
        make: Makes the plan of a convolution with given name, x, y, weights, bias and bounds.
        fresh: Makes an NHWC tensor of a name and an NCHW shape.
        name: Of the layer.
        x: [N, C, H, W], FP32.
        y: [N, Cout, OH, OW], FP32.
        weights: [Cout, C, KH, KW].
        bias: [Cout].
        bounds: Of the activation.

    Raises:
        MachineError: None of them fits L1; names the layer.
    """
    try:
        return [make(name, x, y, weights, bias, bounds)]
    except MachineError as error:
        refusal = error
    best: tuple[float, Cut] | None = None
    for parts in PARTS:
        size = align(-(-x.shape[1] // parts), 8)
        if size * (parts - 1) >= x.shape[1]:
            break
        cut = Cut(make, fresh, name, x, y, weights, bias, bounds, size)
        try:
            plan = cut.first()
        except MachineError:
            continue
        moved = (
            8 * x.elements + 12 * (parts - 1) * y.elements
        )  # an image out and in; two in and one out for each sum
        cost = plan.estimate * parts + moved / plan.target.dma_rate
        if best is None or cost < best[0]:
            best = cost, cut
    if best is None:
        raise refusal
    return best[1].plans()


@dataclass(frozen=True)
class Cut:
    """A convolution cut into parts of so many input channels; other attributes as `conv_plans` has them."""

    make: Callable[..., ConvPlan]
    fresh: Callable[[str, tuple[int, ...]], Tensor]
    name: str
    x: Tensor
    y: Tensor
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    bounds: tuple[float, float]
    size: int

    def first(self) -> ConvPlan:
        """The plan of the first part alone, into a tensor that nobody keeps.

        Raises:
            MachineError: It does not fit L1.
        """
        n, _, height, width = self.x.shape
        x = replace(self.x, shape=(n, self.size, height, width))
        return self.make(self.name, x, self.y, self.weights[:, : self.size], self.bias, NO_BOUNDS)

    def plans(self) -> list[LayerPlan]:
        """All layers."""
        made: list[LayerPlan] = []
        n, channels, height, width = self.x.shape
        total: Tensor | None = None
        for index, start in enumerate(range(0, channels, self.size)):
            count, name = min(self.size, channels - start), f"{self.name}.part{index}"
            x = self.fresh(f"{name}.in", (n, count, height, width))
            axes = Axis(n * height * width, channels, count), Axis(count, 1, 1)
            made += moves(f"{name}.in", "Slice", [Piece(self.x, Box(axes, source=start))], x)
            partial = self.fresh(f"{name}.out", self.y.shape)
            bias = self.bias if total is None else np.zeros_like(self.bias)
            made.append(self.make(name, x, partial, self.weights[:, start : start + count], bias, NO_BOUNDS))
            if total is None:
                total = partial
                continue
            last = start + count == channels
            out = self.y if last else self.fresh(f"{name}.sum", self.y.shape)
            kernel = AddTile(Add(*open_bounds(self.bounds if last else NO_BOUNDS)))
            made.append(
                StreamPlan(
                    f"{name}.sum", "Add", (Stream(total, 4), Stream(partial, 4)), (Stream(out, 4),), out.elements,
                    kernel, 16,
                )
            )  # fmt: skip
            total = out
        return made
