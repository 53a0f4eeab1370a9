"""Boxes of elements that are copied: what Transpose, Slice, Concat, Expand... have in common.

A box is an index space with, per axis, the distance of neighbours in the source and in the target, in elements.
Distances are of any sign in the source (a reversed axis), 0 repeats; in the target they are positive.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Axis:
    """One axis of a box.

    Attributes:
        size: Elements.
        source: Elements from one to the next in the source.
        target: The same in the target.
    """

    size: int
    source: int
    target: int


@dataclass(frozen=True)
class Box:
    """A box.

    Attributes:
        axes: Outermost first.
        source: Where the first element is read.
        target: Where it goes.
    """

    axes: tuple[Axis, ...]
    source: int = 0
    target: int = 0

    @property
    def elements(self) -> int:
        """In all."""
        return math.prod(axis.size for axis in self.axes)

    @property
    def run(self) -> int:
        """Elements that follow each other in source and target alike."""
        last = self.axes[-1] if self.axes else Axis(1, 1, 1)
        return last.size if last.source == last.target == 1 else 1

    def simplified(self) -> Box:
        """The same copies with the fewest axes, the innermost in the target last."""
        axes: list[Axis] = []
        for axis in sorted((axis for axis in self.axes if axis.size != 1), key=lambda axis: -axis.target):
            outer = axes[-1] if axes else None
            if outer is not None and (outer.source, outer.target) == (
                axis.size * axis.source,
                axis.size * axis.target,
            ):
                axes[-1] = replace(axis, size=outer.size * axis.size)
            else:
                axes.append(axis)
        return replace(self, axes=tuple(axes))


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Elements from one place to the next along each axis of a tensor without gaps."""
    found, step = [], 1
    for size in reversed(shape):
        found.append(step)
        step *= size
    return tuple(reversed(found))


@dataclass(frozen=True)
class Progression:
    """Places of an output axis that read evenly spaced places of an input axis.

    Attributes:
        first: First place written.
        start: What it reads.
        levels: (count, step written, step read), outermost first.
    """

    first: int
    start: int
    levels: tuple[tuple[int, int, int], ...]


def progressions(places: NDArray[np.integer]) -> list[Progression]:
    """A map from output to input places of one axis as a few progressions.

    Repetition of each place (``0 0 0 1 1 1``) and of the whole (``0 1 2 0 1 2``) are progressions of two levels; all
    else is cut into stretches of one step.
    """
    index = np.asarray(places, np.int64)
    if not index.size:
        return []
    for period in _periods(index):
        table = index.reshape(-1, period)
        down, along = np.unique(np.diff(table, axis=0)), np.unique(np.diff(table, axis=1))
        if len(down) <= 1 and len(along) <= 1:
            levels = (
                (len(table), period, int(down[0]) if len(down) else 0),
                (period, 1, int(along[0]) if len(along) else 0),
            )
            return [Progression(0, int(index[0]), levels)]
    found, at = [], 0
    steps = np.diff(index)
    while at < index.size:
        end = at + 1
        while end < index.size and steps[end - 1] == steps[at]:
            end += 1
        step = int(steps[at]) if end - at > 1 else 0
        found.append(Progression(at, int(index[at]), ((end - at, 1, step),)))
        at = end
    return found


def _periods(index: NDArray[np.int64]) -> list[int]:
    """Lengths at which the steps change for the first time, which divide the whole."""
    steps = np.diff(index)
    changes = np.nonzero(steps != steps[0])[0] if steps.size else steps
    first = int(changes[0]) + 1 if changes.size else index.size
    return [period for period in dict.fromkeys((first, index.size)) if index.size % period == 0]


def separable(
    source: Sequence[int], target: Sequence[int], maps: Mapping[int, NDArray[np.integer]]
) -> list[Box]:
    """Boxes that fill a tensor of shape ``target`` from one of shape ``source``, axis by axis.

    Args:
        source: Shape.
        target: Shape with as many dimensions.
        maps: Per axis, which place of the source each place of the target reads; others read their own.
    """
    steps, to_steps = strides(source), strides(target)
    parts: list[list[Progression]] = []
    for axis, size in enumerate(target):
        if axis in maps:
            parts.append(progressions(maps[axis]))
        else:
            parts.append([Progression(0, 0, ((size, 1, 1 if source[axis] > 1 else 0),))])
    boxes = []
    for chosen in itertools.product(*parts):
        axes = [
            Axis(count, read * steps[axis], written * to_steps[axis])
            for axis, part in enumerate(chosen)
            for count, written, read in part.levels
        ]
        start = sum(part.start * step for part, step in zip(chosen, steps, strict=True))
        first = sum(part.first * step for part, step in zip(chosen, to_steps, strict=True))
        boxes.append(Box(tuple(axes), start, first).simplified())
    return [box for box in boxes if box.elements]


def window(shape: Sequence[int], starts: Sequence[int], steps: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    """(first element, element strides) of a strided part of a tensor."""
    each = strides(shape)
    return (
        sum(start * stride for start, stride in zip(starts, each, strict=True)),
        tuple(step * stride for step, stride in zip(steps, each, strict=True)),
    )


def part(
    sizes: Sequence[int], source: tuple[int, tuple[int, ...]], target: tuple[int, tuple[int, ...]]
) -> Box:
    """The box of a part of one tensor that becomes a part of another, as `window` describes both."""
    axes = (Axis(*item) for item in zip(sizes, source[1], target[1], strict=True))
    return Box(tuple(axes), source[0], target[0]).simplified()
