"""Faults a second: the machine's instructions, from checkpoints or from the start, beside PyTorch and its injectors.

A fault-image is one flipped bit of a convolution's weights and one image. Times are CPU seconds of one thread.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.assets import load_test_images, model_path
from potluck.campaign.bench import Bench
from potluck.campaign.record import observed, record_of
from potluck.campaign.spec import validated
from potluck.compiler.build import prepare
from potluck.inject.target import Target, load_target
from potluck.isa.machine import load_machine
from potluck.sim.checkpoints.replay import Patch
from potluck.sim.checkpoints.runs import FaultyRuns
from potluck.sim.faults.parts import Part

COUNT, IMAGES, WARM, SLOW = 1000, 64, 40, 140
ASKED = 200.0
Bit = tuple[Part, int]
"""A part of the program's constants, and the bit of it that flips."""


class Weights:
    """Where the weights of convolutions lie, in the program and in the network.

    Args:
        target: the packaged network in FP32.
        graph: the same as ONNX.
    """

    def __init__(self, target: Target, graph: onnx.GraphProto) -> None:
        shapes = {t.name: tuple(t.dims) for t in graph.initializer}
        buffers = {b.address: b for b in target.program.manifest.buffers}
        base, done = target.machine.memory.dram_base, dict.fromkeys(shapes, 0)
        self.parts: list[Part] = []
        self.elements: dict[int, NDArray[np.int64]] = {}
        for part in target.parts:
            buffer = buffers[base + 32 * part.first]
            shape = shapes[buffer.tensor]
            if len(shape) != 4:
                continue
            outputs = np.arange(np.prod(shape)).reshape(shape)
            own = np.moveaxis(outputs, 0, -1).transpose(1, 2, 0, 3)  # HWIO
            width = buffer.shape[-1] * (buffer.shape[0] if len(buffer.shape) == 5 else 1)
            own = own[..., done[buffer.tensor] : done[buffer.tensor] + width]
            done[buffer.tensor] += width
            if len(buffer.shape) == 5:  # slices of outputs
                own = np.moveaxis(own.reshape(*own.shape[:3], buffer.shape[0], -1), 3, 0)
            self.parts.append(part)
            self.elements[part.first] = own.ravel()

    def draw(self, count: int, seed: int) -> list[Bit]:
        """Bits of weights, every one as likely as any other."""
        rng = np.random.Generator(np.random.Philox(seed))
        sizes = np.array([32 * self.elements[part.first].size for part in self.parts])
        ends = np.cumsum(sizes)
        found = []
        for bit in rng.integers(0, ends[-1], count).tolist():
            k = int(np.searchsorted(ends, bit, side="right"))
            found.append((self.parts[k], bit - int(ends[k] - sizes[k])))
        return found

    def flip(self, bit: Bit) -> tuple[str, int, int]:
        """The same in the network: tensor, element, bit."""
        part, at = bit
        return part.name.removesuffix(".HWIO"), int(self.elements[part.first][at // 32]), at % 32


def patch_of(bit: Bit) -> Patch:
    """The same in memory."""
    part, at = bit
    words = part.clean[at // 256 : at // 256 + 1].copy()
    words[0, at // 64 % 4] ^= np.uint64(1) << np.uint64(at % 64)
    return Patch(np.array([part.first + at // 256]), words)


def folded() -> onnx.GraphProto:
    """The packaged network as it is compiled in FP32."""
    made = prepare(model_path(), None, dims={})
    return (ir.serde.serialize_model(made) if isinstance(made, ir.Model) else made).graph


def rate(answers: Iterator[NDArray[Any]], count: int) -> tuple[float, NDArray[Any]]:
    """Answers a second, and the answers; the first `WARM` of ``count`` are not timed."""
    found = [next(answers) for _ in range(WARM)]
    start = time.process_time()
    found += list(answers)
    return (count - WARM) / (time.process_time() - start), np.concatenate(found)


def simulated(target: Target, bits: list[Bit], delayed: bool, dropping: bool) -> Iterator[NDArray[Any]]:
    """First outputs of faults, each on an image."""
    assert target.runs is not None
    held = target.runs
    runs = FaultyRuns(held.program, held.machine, held.inputs, held.first, held.count, held.patience, None,
                      delayed, dropping)  # fmt: skip
    runs.__dict__["recorded"] = held.recorded
    name = target.program.manifest.outputs[0].name
    for k, bit in enumerate(bits):
        yield np.asarray(runs.outputs(k % IMAGES, patch_of(bit))[name])


def from_the_start(target: Target, bits: list[Bit]) -> Iterator[NDArray[Any]]:
    """The same without anything that is kept from run to run."""
    plain = replace(target, checkpoints=False)
    for k, bit in enumerate(bits):
        patch, (part, at) = patch_of(bit), bit
        words = [one.clean for one in target.parts]
        number = target.parts.index(part)
        words[number] = part.clean.copy()
        words[number][at // 256] = patch.words[0]
        one = {key: value[k % IMAGES : k % IMAGES + 1] for key, value in target.inputs.items()}
        yield replace(plain, inputs=one).executed(words).values


def alike(mine: NDArray[Any], others: NDArray[Any]) -> float:
    """Share of answers with the same largest output, NaN and infinity being the same."""
    tops = [np.where(np.isfinite(a).all(-1), np.nan_to_num(a).argmax(-1), -1) for a in (mine, others)]
    return float((tops[0] == tops[1]).mean())


def run(report: Callable[..., None]) -> None:
    """Figures of throughput."""
    machine = load_machine("spatz-mx", {"dram.kind": "hbm3"})
    target = load_target("demo", None, machine, samples=IMAGES, engine="sim")
    assert target.runs is not None
    graph = folded()
    weights = Weights(target, graph)
    bits = weights.draw(COUNT, 1)
    images = load_test_images(IMAGES)[0]
    flips = [weights.flip(bit) for bit in bits]
    target.runs.golden(0)
    what = "ResNet-8 in FP32, a flipped bit of a convolution's weights, an image; CPU time of one thread"
    speed, answers = rate(simulated(target, bits, True, True), COUNT)
    others = _others(graph, flips, images, answers)
    best = {name: found[0] for name, found in others.items()}
    tools = max([best[name] for name in ("PyTorchFI", "MRFI") if best[name] == best[name]], default=nan)
    report(
        "fault-images/s, every instruction", speed, "1/s", what, "ahead of PyTorchFI and MRFI",
        speed > tools if tools == tools else None,
    )  # fmt: skip
    for name, delayed, dropping in (
        ("delayed start alone", True, False), ("fault dropping alone", False, True), ("neither", False, False),
    ):  # fmt: skip
        found, same = rate(simulated(target, bits, delayed, dropping), COUNT)
        assert same.tobytes() == answers.tobytes(), "checkpoints changed an answer"
        report(f"  {name}", found, "1/s", "the same answers to the bit")
    found, same = rate(from_the_start(target, bits[:SLOW]), SLOW)
    assert same.tobytes() == answers[:SLOW].tobytes(), "checkpoints changed an answer"
    report("  nothing kept from run to run", found, "1/s", "the same answers to the bit")
    for name, (found, agreement) in others.items():
        text = (
            f"the same top-1 on {agreement:.1%}" if found == found else "not installed: pip install --no-deps"
        )
        report(f"  {name}, batch 1", found, "1/s", text)
    _trials(report)


def _others(
    graph: onnx.GraphProto,
    flips: list[tuple[str, int, int]],
    images: NDArray[np.float32],
    answers: NDArray[Any],
) -> dict[str, tuple[float, float]]:
    """Speed, and agreement with ours, of PyTorch and its injectors; NaN of what is not installed."""
    found = dict.fromkeys(("bare PyTorch loop", "PyTorchFI", "MRFI"), (nan, nan))
    try:
        from potluck.benchmarks import campaign_tools as tools
    except ImportError:
        return found
    for name, make in zip(found, (tools.bare, tools.pytorchfi, tools.mrfi), strict=True):
        try:
            speed, theirs = rate(make(graph)(flips, images), len(flips))
        except ImportError:
            continue
        found[name] = speed, alike(answers, theirs)
    return found


def _trials(report: Callable[..., None]) -> None:
    """Whole trials of a campaign in MXFP8: faults drawn, struck, decoded, run on all images, judged."""
    spec = validated({
        "seed": 1, "network": {"model": "demo", "schemes": ["mxfp8"], "engine": "sim", "set": {"dram.kind": "hbm3"}},
        "data": {"samples": IMAGES}, "protection": {"stacks": ["none", "ondie+RG"]},
        "faults": [{"kind": "flips"}, {"kind": "uniform", "ber": 1e-4}],
    })  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(spec, Path(folder), Path(folder))
        for cell in bench.cells:
            bench.judge(cell)
            count, changed, start = 0, 0, time.process_time()
            while time.process_time() - start < 4 or count < 8:
                seen = observed(bench, cell, count)
                changed += record_of(bench, cell, count, seen)["changed"]
                count += 1
            found = count * IMAGES / (time.process_time() - start)
            asked = cell.stack != "none"
            report(
                f"MXFP8 trials, {cell.source.label}, {cell.stack}", found, "fault-images/s",
                f"{count} trials of {IMAGES} images, {changed} of them read something wrong",
                f">= {ASKED:g}" if asked else "", found >= ASKED if asked else None,
            )  # fmt: skip
