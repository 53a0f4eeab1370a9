"""The bench's larger decoder: a part of it has the proportions of the whole."""

from __future__ import annotations

import math

import onnx
import pytest

from potluck.benchmarks.schedule_utilization import CASES, LARGE, PART, layers_of
from potluck.scale.families import Family, find

SMALL = Family("small", 6, 64, 4, 2, 96, 192, True, "here")


@pytest.mark.parametrize("share", [1, 2, 3])
def test_a_part_has_its_share_of_every_matrix(share: int) -> None:
    model = layers_of(SMALL, 5, share)
    onnx.checker.check_model(model)
    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    matrices = sum(math.prod(size) for name, size in sizes.items() if "blk." in name and len(size) == 2)
    assert share * matrices == SMALL.layers * SMALL.layer_weights
    assert share * math.prod(sizes["embedding"]) == SMALL.embedding
    held = [item for item in model.graph.input if item.name.startswith("past.")]
    shape = [[dim.dim_value for dim in item.type.tensor_type.shape.dim] for item in held]
    assert shape == [[1, SMALL.groups, 5, SMALL.head]] * (2 * SMALL.layers // share)


def test_the_part_divides_the_network() -> None:
    family = find(LARGE)
    assert not family.layers % PART and not family.vocabulary % PART
    assert all(CASES[name].part for name in CASES if name.startswith("decode-large"))
