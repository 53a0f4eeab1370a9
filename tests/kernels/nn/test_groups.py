"""Codes in groups: packed, expanded by the machine, and what has no such codes."""

import numpy as np
import pytest
from one_kernel import Bench, same
from test_weights import Counted

from potluck.isa.errors import DataError
from potluck.kernels.weights.groups import ExpandGroups, multiples_of, pack_groups


def integers(rng, shape, group):
    """Products of codes and multiples, and both."""
    kh, kw, depth, row = shape
    codes = rng.integers(-7, 8, shape)
    multiples = rng.integers(1, 19, (kh, kw, -(-depth // group), row))
    return codes * np.repeat(multiples, group, axis=2)[:, :, :depth]


@pytest.mark.parametrize(
    ("shape", "group"), [((1, 1, 40, 8), 32), ((3, 2, 70, 24), 16), ((1, 2, 33, 600), 32)]
)
def test_codes_become_the_integers_they_were(shape, group):
    levels = integers(np.random.default_rng(shape[2]), shape, group)
    kernel = ExpandGroups(shape[0] * shape[1], shape[2], shape[3], group)
    packed = pack_groups(levels, group)
    assert len(packed) == kernel.packed_bytes < 0.6 * levels.size
    want = levels.astype(np.int8).reshape(-1, *shape[2:])
    same(kernel.contract(packed), want)
    bench = Bench(Counted(kernel))
    source, out = bench.place(packed), bench.output("out", np.zeros_like(want))
    same(bench.run([0, source, out, 0, 0, 0, 1]).outputs["out"], want)


def test_the_least_multiple_is_found():
    levels = np.array([6, 0, -12, 6, 0, 0, 0, 0, -112, 98, 0, 14]).reshape(1, 1, 3, 4).transpose(0, 1, 3, 2)
    assert multiples_of(levels, 4).reshape(-1).tolist() == [2, 1, 14]


def test_what_is_no_multiple_of_codes_is_refused():
    with pytest.raises(DataError, match="no multiple of 4-bit codes"):
        pack_groups(np.array([1, 127]).reshape(1, 1, 2, 1).repeat(2, axis=3), 2)
    with pytest.raises(DataError, match="no weights"):
        ExpandGroups(1, 8, 7)
