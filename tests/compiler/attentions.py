"""Networks of one attention, as exporters write it."""

from dataclasses import dataclass

import numpy as np
import onnxruntime
from onnx import TensorProto
from running import by_reference, by_schedule, by_simulator, feeds, same_bits

from potluck.compiler.lowering.attention import AttentionTile
from potluck.compiler.lowering.attention_rows import BlockTile
from potluck.zoo.graphs import GraphBuilder


@dataclass
class Case:
    """Sizes and spelling of an attention; ``past`` 0: one piece of keys. ``share`` heads use the same keys.

    ``turned``: one Transpose makes keys by depth of what a projection computes.
    """

    batch: int = 1
    groups: int = 1
    share: int = 1
    tokens: int = 1
    past: int = 0
    new: int = 1
    depth: int = 8
    width: int = 8
    mask: str = ""
    scale: str = "Mul"
    repeat: bool = False
    present: bool = False
    turned: bool = False


def decoder(case):
    """Attention as exporters write it."""
    g, c, length = GraphBuilder(), case, case.past + case.new
    sizes = {"key": c.depth, "value": c.width}
    repeated = c.repeat or c.share == 1
    heads = (c.groups * c.share,) if repeated else (c.groups, c.share)
    q = g.input("q", TensorProto.FLOAT, (c.batch, *heads, c.tokens, c.depth))
    held = {}
    for name, size in sizes.items():
        if c.turned and name == "key":
            continue
        held[name] = g.input(f"new_{name}", TensorProto.FLOAT, (c.batch, c.groups, c.new, size))
        if c.past:
            past = g.input(f"past_{name}", TensorProto.FLOAT, (c.batch, c.groups, c.past, size))
            held[name] = g.op("Concat", past, held[name], axis=2, name=f"all_{name}")
        if c.present:
            g.output(held[name], f"present_{name}", (c.batch, c.groups, length, size))
        if c.share > 1:
            held[name] = g.op("Unsqueeze", held[name], g.integers(2))
        if repeated and c.share > 1:
            each = g.op("Expand", held[name], g.integers(c.batch, c.groups, c.share, length, size))
            held[name] = g.op("Reshape", each, g.integers(c.batch, *heads, length, size))
    order = [*range(len(heads) + 1), len(heads) + 2, len(heads) + 1]
    if c.turned:
        held["key"] = g.input("key_by_token", TensorProto.FLOAT, (c.batch, length, c.groups, c.depth))
        order = [0, 2, 3, 1]
    scores = g.op("MatMul", q, g.op("Transpose", held["key"], perm=order), name="scores")
    if c.scale == "Mul":
        scores = g.op("Mul", scores, g.number(float(np.float32(c.depth**-0.5))))
    elif c.scale:
        scores = g.op("Div", scores, g.number(4.0))
    if c.mask == "causal":
        hidden = np.triu(np.full((c.tokens, length), -1e9, np.float32), 1 + length - c.tokens)
        scores = g.op("Add", scores, g.constant("causal", hidden))
    elif c.mask:
        rows = {"vector": (), "row": (1,), "matrix": (c.tokens,)}[c.mask]
        scores = g.op("Add", g.input("mask", TensorProto.FLOAT, (*rows, length)), scores)
    mixed = g.op("MatMul", g.op("Softmax", scores, axis=-1, name="shares"), held["value"], name="mixed")
    g.output(mixed, "y", (c.batch, *heads, c.tokens, c.width))
    return g.model("decoder")


def attentions(schedule):
    return [op for op in schedule.ops if isinstance(op.kernel, AttentionTile | BlockTile)]


def seeded(schedule):
    inputs = feeds(schedule)
    if "mask" in inputs:
        rng = np.random.default_rng(1)
        inputs["mask"] = np.where(rng.random(inputs["mask"].shape) < 0.3, -1e9, 0).astype(np.float32)
        inputs["mask"][..., 0] = 0
    return inputs


def compared(source, schedule, inputs):
    """Outputs of a schedule, which the simulator has to the bit, and onnxruntime and the function's body nearly."""
    outputs = by_schedule(schedule, inputs)
    assert same_bits(by_schedule(schedule, inputs, late=True), outputs)
    assert same_bits(by_simulator(schedule, inputs, timed=True), outputs)
    session = onnxruntime.InferenceSession(source.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in schedule.outputs]
    for got, expected in zip(outputs, session.run(names, inputs), strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)
    for got, expected in zip(by_reference(schedule, inputs), outputs, strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)
    return outputs
