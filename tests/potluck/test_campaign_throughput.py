"""The bench's faults are the same ones in the program's memory and in the network."""

from __future__ import annotations

import numpy as np
import onnx

from potluck.benchmarks.campaign_throughput import Weights, folded, patch_of
from potluck.inject.target import load_target
from potluck.isa.machine import load_machine


def test_a_flip_in_memory_is_one_in_the_network() -> None:
    """The element that the patch changes has the network's value before, and one other bit after."""
    target = load_target("demo", None, load_machine("spatz-mx"), samples=1, engine="sim")
    graph = folded()
    held = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    weights = Weights(target, graph)
    assert sum(e.size for e in weights.elements.values()) == sum(a.size for a in held.values() if a.ndim == 4)
    drawn = weights.draw(400, 5)
    names = set()
    for bit in drawn:
        part, at = bit
        name, element, number = weights.flip(bit)
        names.add(name)
        patch = patch_of(bit)
        row = int(patch.sectors[0]) - part.first
        before, after = (
            np.ascontiguousarray(w).view(np.uint32).ravel() for w in (part.clean[row], patch.words[0])
        )
        changed = np.flatnonzero(before != after)
        assert changed.tolist() == [at // 32 % 8]
        assert before[changed[0]] ^ after[changed[0]] == 1 << number
        assert before[changed[0]] == held[name].ravel()[element].view(np.uint32)
    assert len(names) >= 6
