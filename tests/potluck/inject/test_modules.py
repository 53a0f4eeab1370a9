"""The artifact's site: layer outputs as BF16 in blocks, against onnxruntime's whole network."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from potluck.assets import load_test_images, model_path
from potluck.inject.modules import STORED, Modules, inject_modules, struck_parameters
from potluck.isa.errors import DataError
from potluck.sim.dram.kind import load_kind
from potluck.sim.dram.mapping import Mapping
from potluck.sim.faults.models import EventMix, Uniform
from potluck.sim.faults.recipes import recipe

HBM3 = Mapping(load_kind("hbm3"), 1)
IMAGES, LABELS = load_test_images(6)
MODEL = onnx.load(str(model_path()))


def test_node_by_node_is_the_network() -> None:
    (whole,) = onnxruntime.InferenceSession(str(model_path()), providers=["CPUExecutionProvider"]).run(
        None, {"input": IMAGES}
    )
    plain = Modules(MODEL, "fp32", recipe("none"), HBM3)
    mine, seen = plain.run({"input": IMAGES})
    np.testing.assert_allclose(mine, whole, rtol=1e-4, atol=1e-5)  # onnxruntime fuses what it sees whole
    assert not seen.reads and len(plain.layers) > 10
    again, seen = plain.run({"input": IMAGES}, Uniform(0.0))
    assert again.tobytes() == mine.tobytes() and not seen.reads
    with pytest.raises(DataError, match="Run without faults first"):
        Modules(MODEL, "bf16", recipe("none"), HBM3).run({"input": IMAGES}, Uniform(1e-6))
    with pytest.raises(DataError, match="stored as 'int3'"):
        Modules(MODEL, "int3", recipe("none"), HBM3)


def test_parameters_are_struck_once_and_tails_are_left_alone() -> None:
    struck, seen = struck_parameters(MODEL, STORED["bf16"], recipe("none"), HBM3, Uniform(1e-3), (1, 1))
    wrong = blocks = 0
    for before, after in zip(MODEL.graph.initializer, struck.graph.initializer, strict=True):
        a, b = (onnx.numpy_helper.to_array(t) for t in (before, after))
        if a.dtype != np.float32:
            continue
        stored = STORED["bf16"].encode(a).ravel()
        now = STORED["bf16"].encode(b).ravel()
        size = stored.size // 16 * 16
        assert np.array_equal(stored[size:], now[size:])
        wrong += int(np.bitwise_count(stored ^ now).sum())
        blocks += size // 16
    assert seen.cells == (256 * blocks, 256 * blocks)
    # NaN codes become the canonical NaN in FP32, so some wrong bits are not seen in values.
    assert 0 < wrong <= seen.raw and abs(seen.raw - 0.256 * blocks) < 5 * (0.256 * blocks) ** 0.5


def test_campaigns_replay_and_protection_helps() -> None:
    def run(stack: str, trials: object = 3, ber: float = 2e-5):
        return inject_modules(MODEL, {"input": IMAGES}, LABELS, "bf16", stack, EventMix(ber), trials, 4, HBM3)  # type: ignore[arg-type]

    bare, artifact = run("none"), run("RG alone (compat_artifact)")
    assert run("none", [2]).trials == bare.trials[2:]
    assert artifact.metric[0] >= bare.metric[0] and artifact.outcomes[0, 1] + artifact.outcomes[0, 0] > 0
    assert not artifact.outcomes[0, 2], "the oracle never mis-corrects within two lanes"
    raw, _ = bare.observed_ber()
    assert raw == pytest.approx(2e-5, rel=0.35)
    assert run("none", 1, 0.0).metric[0] == bare.golden and bare.check_bits == 0
