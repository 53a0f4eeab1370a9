"""Discrete Fourier transforms: products with the matrix of the transform, which is known."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from potluck.compiler.bodies import body, ints, number, scalar
from potluck.compiler.graph.nodes import constant, integer, shape_of

MOST = 1 << 22
"""Elements of the matrix."""


def _matrix(rows: int, columns: int, period: int, scale: float, inverse: bool) -> list[str]:
    """Statements: ``real`` and ``imaginary``, the matrix [rows, columns]; angles are reduced as integers."""
    sign = 1.0 if inverse else -1.0
    return [
        f"down = Reshape ({ints(*range(rows))}, {ints(rows, 1)})",
        f"along = Reshape ({ints(*range(columns))}, {ints(1, columns)})",
        "steps = Mul (down, along)",
        f"within = Mod (steps, {scalar(period)})",
        f"turns = Cast <to = {int(ir.DataType.DOUBLE)}> (within)",
        f"turn_single = Cast <to = {int(ir.DataType.DOUBLE)}> ({number(1.0)})",
        # pi in two parts, as numbers of statements are FP32
        f"pi_high = Cast <to = {int(ir.DataType.DOUBLE)}> ({number(float(np.float32(math.pi)))})",
        f"pi_low = Cast <to = {int(ir.DataType.DOUBLE)}> "
        f"({number(float(np.float32(math.pi - float(np.float32(math.pi)))))})",
        "pi = Add (pi_high, pi_low)",
        f"period = Cast <to = {int(ir.DataType.DOUBLE)}> ({scalar(period)})",
        "twice = Add (turn_single, turn_single)",
        "circle = Mul (twice, pi)",
        "part = Div (circle, period)",
        "angles = Mul (turns, part)",
        "cosines = Cos (angles)",
        "sines = Sin (angles)",
        f"cosine = Cast <to = {int(ir.DataType.FLOAT)}> (cosines)",
        f"sine = Cast <to = {int(ir.DataType.FLOAT)}> (sines)",
        f"real = Mul (cosine, {number(scale)})",
        f"imaginary = Mul (sine, {number(sign * scale)})",
    ]


def _constant(node: ir.Node, index: int) -> int | None:
    value = node.inputs[index] if len(node.inputs) > index else None
    held = constant(value)
    return None if held is None else int(held.reshape(-1)[0])


@body("DFT")
def transform(node: ir.Node) -> str | None:
    """x W for real and imaginary parts; the axis is brought to the end."""
    assert node.inputs[0] is not None
    if node.inputs[0].dtype is not ir.DataType.FLOAT:
        return None
    shape, out = shape_of(node.inputs[0], node), shape_of(node.outputs[0], node)
    rank = len(shape)
    given = len(node.inputs) > 2 and node.inputs[2] is not None
    axis = _constant(node, 2) if given else integer(node, "axis", -2)
    if axis is None or (len(node.inputs) > 1 and node.inputs[1] is not None and _constant(node, 1) is None):
        return None
    axis %= rank
    inverse, one_sided = bool(integer(node, "inverse", 0)), bool(integer(node, "onesided", 0))
    have = shape[axis]
    length = _constant(node, 1) or (2 * (have - 1) if inverse and one_sided else have)
    complex_in = shape[-1] == 2
    used = min(have, length // 2 + 1 if inverse and one_sided else length)
    results = out[axis]
    if used * results > MOST:
        return None
    lines = _matrix(used, results, length, 1 / length if inverse else 1.0, inverse)
    order = [i for i in range(rank - 1) if i != axis] + [axis]
    back = [order.index(i) for i in range(rank - 1)]
    parts = ["re", "im"] if complex_in else ["re"]
    axes = ints(axis, rank - 1)
    for index, part in enumerate(parts):
        lines += [
            f"cut_{part} = Slice (x0, {ints(0, index)}, {ints(used, index + 1)}, {axes})",
            f"flat_{part} = Squeeze (cut_{part}, {ints(rank - 1)})",
            f"{part} = Transpose <perm = {order}> (flat_{part})",
        ]
    if inverse and one_sided:
        # The other half is the conjugate of this one: all but the ends count twice, and only the real part is left.
        doubled = [1 if i == 0 or (length % 2 == 0 and i == length // 2) else 2 for i in range(used)]
        lines += [
            f"counts = Reshape ({ints(*doubled)}, {ints(used, 1)})",
            f"weights = Cast <to = {int(ir.DataType.FLOAT)}> (counts)",
            "real_w = Mul (real, weights)", "imaginary_w = Mul (imaginary, weights)",
            "rr = MatMul (re, real_w)", "ii = MatMul (im, imaginary_w)", "made_re = Sub (rr, ii)",
        ]  # fmt: skip
    elif complex_in:
        lines += [
            "rr = MatMul (re, real)", "ii = MatMul (im, imaginary)", "made_re = Sub (rr, ii)",
            "ri = MatMul (re, imaginary)", "ir = MatMul (im, real)", "made_im = Add (ri, ir)",
        ]  # fmt: skip
    else:
        lines += ["made_re = MatMul (re, real)", "made_im = MatMul (re, imaginary)"]
    names = []
    for part in ("re", "im")[: out[-1]]:
        lines += [
            f"turned_{part} = Transpose <perm = {back}> (made_{part})",
            f"last_{part} = Unsqueeze (turned_{part}, {ints(rank - 1)})",
        ]
        names.append(f"last_{part}")
    return "\n".join([*lines, f"y0 = Concat <axis = {rank - 1}> ({', '.join(names)})"])


@body("STFT")
def short_time(node: ir.Node) -> str | None:
    """Frames of the signal times the window, each transformed."""
    assert node.inputs[0] is not None
    shape, out = shape_of(node.inputs[0], node), shape_of(node.outputs[0], node)
    step, frames = _constant(node, 1), out[1]
    window = node.inputs[2] if len(node.inputs) > 2 else None
    length = _constant(node, 3) or (shape_of(window, node)[0] if window is not None else None)
    if step is None or length is None or frames * length > MOST:
        return None
    places = [frame * step + i for frame in range(frames) for i in range(length)]
    last = shape[2] if len(shape) == 3 else 1
    lines = [
        f"signal = Reshape (x0, {ints(*shape[:2], last)})",
        f"taken = Gather <axis = 1> (signal, {ints(*places)})",
        f"frames = Reshape (taken, {ints(shape[0] * frames, length, last)})",
    ]
    source = "frames"
    if window is not None:
        lines += [f"shaped = Reshape (x2, {ints(1, length, 1)})", "windowed = Mul (frames, shaped)"]
        source = "windowed"
    return "\n".join([
        *lines, f"spectra = DFT <onesided = {integer(node, 'onesided', 1)}> ({source}, , {scalar(1)})",
        f"y0 = Reshape (spectra, {ints(*out)})",
    ])  # fmt: skip
