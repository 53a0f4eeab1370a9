"""Weights in the blocks of a GGUF file (llama.cpp), put into a network in place of its own.

The file (version 2 or 3, little-endian): magic, version, number of tensors and of metadata entries, metadata, then of
each tensor name, dimensions (innermost first), type and offset, then the data at multiples of ``general.alignment``.
Blocks of 32 elements run along the innermost dimension, the contraction of a matrix:

* Q4_0: FP16 scale d, 16 bytes; byte i holds codes i (low) and i + 16; values (code - 8) d.
* Q8_0: FP16 scale d, 32 signed bytes; values code d.
* MXFP4: an E8M0 scale, 16 bytes of E2M1 codes in the order of Q4_0.
* F32, F16: plain values.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.nodes import constant, drop_unused, label
from potluck.compiler.imports.base import dequantized
from potluck.compiler.passes.quantize_mx import contraction, typed
from potluck.isa.errors import DataError, ModelError
from potluck.isa.formats.elements import E2M1, E8M0

BLOCK = 32
U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class BlockType:
    """A block of 32 elements: a scale, then codes.

    Attributes:
        name: As ggml has it.
        scale: NumPy type of the scale.
        bits: Of a code.
    """

    name: str
    scale: np.dtype[Any]
    bits: int

    @property
    def bytes(self) -> int:
        """Of a block."""
        return self.scale.itemsize + BLOCK * self.bits // 8


Q4_0 = BlockType("Q4_0", np.dtype("<f2"), 4)
Q8_0 = BlockType("Q8_0", np.dtype("<f2"), 8)
MXFP4 = BlockType("MXFP4", np.dtype(np.uint8), 4)
assert (Q4_0.bytes, Q8_0.bytes, MXFP4.bytes) == (18, 34, 17)
BLOCK_TYPES = {2: Q4_0, 8: Q8_0, 39: MXFP4}
"""By ggml's number."""
PLAIN_TYPES: dict[int, np.dtype[Any]] = {0: np.dtype("<f4"), 1: np.dtype("<f2")}
_VALUE_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, eq=False)
class GgufTensor:
    """A tensor of a file.

    Attributes:
        name: Of the tensor.
        shape: Outermost dimension first.
        kind: ggml's number of its type.
        data: Its bytes.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    data: U8

    def parts(self) -> tuple[U8, NDArray[Any]]:
        """Codes [..., K], one per byte, and scales [..., K / 32] of a block type."""
        held = BLOCK_TYPES[self.kind]
        blocks = self.data.reshape(*self.shape[:-1], self.shape[-1] // BLOCK, held.bytes)
        size = held.scale.itemsize
        scales = np.ascontiguousarray(blocks[..., :size]).view(held.scale)[..., 0]
        codes = blocks[..., size:]
        if held.bits == 4:
            codes = np.concatenate([codes & np.uint8(15), codes >> np.uint8(4)], axis=-1)
        return np.ascontiguousarray(codes.reshape(self.shape)), scales


class _Reader:
    """Numbers and strings from the start of a file on."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> Any:
        """The next value of a `struct` format."""
        value = struct.unpack_from("<" + form, self.data, self.at)[0]
        self.at += struct.calcsize("<" + form)
        return value

    def text(self) -> str:
        """A string behind its length."""
        size = self.take("Q")
        raw = bytes(self.data[self.at : self.at + size])
        if len(raw) < size:
            raise struct.error("a string beyond the end")
        self.at += size
        return raw.decode("utf-8")

    def value(self, kind: int) -> Any:
        """A metadata value; arrays are skipped."""
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.take(_VALUE_FORMATS[kind])
        inner, count = self.take("I"), self.take("Q")
        if inner in (_STRING, _ARRAY):
            for _ in range(count):
                self.value(inner)
        else:
            self.at += count * struct.calcsize("<" + _VALUE_FORMATS[inner])
        return None


def read(path: str | os.PathLike[str]) -> dict[str, GgufTensor]:
    """The tensors of a file; their data are mapped, not read.

    Raises:
        DataError: It is no GGUF file, or it is cut off; names it.
    """
    try:
        with Path(path).open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {str(path)!r}: {error}") from None
    try:
        return _tensors(memoryview(data))
    except (struct.error, KeyError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise DataError(f"{str(path)!r} is no whole GGUF file: {error}") from None


def _tensors(data: memoryview) -> dict[str, GgufTensor]:
    reader = _Reader(data)
    magic, version = bytes(data[:4]), 0
    reader.at = 4
    version = reader.take("I")
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError(f"magic {magic!r}, version {version}")
    count, entries = reader.take("Q"), reader.take("Q")
    alignment = 32
    for _ in range(entries):
        key = reader.text()
        value = reader.value(reader.take("I"))
        if key == "general.alignment":
            alignment = int(value)
    heads = []
    for _ in range(count):
        name, rank = reader.text(), reader.take("I")
        dims = tuple(reader.take("Q") for _ in range(min(rank, 8)))
        heads.append((name, dims[::-1], reader.take("I"), reader.take("Q")))
    start = -(-reader.at // alignment) * alignment
    found = {}
    for name, shape, kind, offset in heads:
        size = _size(shape, kind)
        if size is not None and start + offset + size > len(data):
            raise ValueError(f"tensor {name!r} ends beyond it")
        piece = data[start + offset : start + offset + (size or 0)]
        found[name] = GgufTensor(name, shape, kind, np.frombuffer(piece, np.uint8))
    return found


def _size(shape: tuple[int, ...], kind: int) -> int | None:
    """Bytes of a tensor; None for types that are not known."""
    if kind in PLAIN_TYPES:
        return math.prod(shape) * PLAIN_TYPES[kind].itemsize
    if kind in BLOCK_TYPES and shape and shape[-1] % BLOCK == 0:
        return math.prod(shape) // BLOCK * BLOCK_TYPES[kind].bytes
    return None


def replace_weights(
    model: ir.Model, tensors: Mapping[str, GgufTensor], names: Mapping[str, str]
) -> list[str]:
    """Gives products the weights of a file, as DequantizeLinear of its blocks, in place.

    Args:
        model: An imported network.
        tensors: Of the file.
        names: Weight in the network -> tensor; weights of the same name need no entry.

    Returns:
        Weights replaced.

    Raises:
        ModelError: No weight has a tensor, or a tensor is of another shape or of a type that is not taken.
    """
    done: list[str] = []
    unknown = sorted(set(names) - set(model.graph.initializers))
    if unknown:
        raise ModelError(f"names {unknown}, which are no weights of the network")
    for node in list(model.graph):
        axes = contraction(node)
        weight = node.inputs[1] if axes is not None else None
        if axes is None or weight is None or constant(weight) is None or weight.shape is None:
            continue
        wanted = names.get(weight.name or "", weight.name or "")
        if wanted not in tensors:
            if weight.name in names:
                raise ModelError(f"the file has no tensor {wanted!r}", node=label(node))
            continue
        node.replace_input_with(1, _weights(model, node, weight, axes[1], tensors[wanted]))
        done.append(weight.name or "")
    if not done:
        raise ModelError(
            "no weight of the network has the name of a tensor of the file",
            hint=f"Give names; the file has {', '.join(list(tensors)[:5])}...",
        )
    drop_unused(model.graph)
    return done


def _weights(model: ir.Model, node: ir.Node, weight: ir.Value, axis: int, tensor: GgufTensor) -> ir.Value:
    assert weight.shape is not None
    shape = tuple(int(dim) for dim in weight.shape if isinstance(dim, int))
    turned = len(shape) == 2 and axis == 0  # blocks run along the last dimension of the file's tensor
    expected = shape[::-1] if turned else (shape[0], math.prod(shape[1:])) if len(shape) == 4 else shape
    if tensor.shape not in (expected, shape[::-1] if turned else shape):
        raise ModelError(
            f"tensor {tensor.name!r} has shape {list(tensor.shape)}, its weights {weight.name!r} need "
            f"{list(expected)}",
            node=label(node),
        )
    if len(shape) == 4 and shape[2:] != (1, 1) and tensor.kind in BLOCK_TYPES:
        raise ModelError(
            "blocks run along C_in, KH and KW together, which no product takes", node=label(node)
        )

    def placed(array: NDArray[Any]) -> NDArray[Any]:
        if turned:
            return np.ascontiguousarray(array.T)
        return array[:, :, None, None] if len(shape) == 4 and array.ndim == 2 else array

    name = weight.name or tensor.name
    if tensor.kind in PLAIN_TYPES:
        from potluck.compiler.graph.nodes import add_constant

        values = tensor.data.view(PLAIN_TYPES[tensor.kind]).reshape(tensor.shape).astype(np.float32)
        return add_constant(model.graph, f"{name}_values", placed(values))
    if tensor.kind not in BLOCK_TYPES:
        known = ", ".join(held.name for held in BLOCK_TYPES.values())
        raise ModelError(
            f"tensor {tensor.name!r} is of ggml type {tensor.kind}",
            node=label(node),
            hint=f"Use F32, F16, {known}",
        )
    codes, scales = (placed(part) for part in tensor.parts())
    held = BLOCK_TYPES[tensor.kind]
    if held is MXFP4:
        return dequantized(model, node, typed(codes, E2M1), typed(scales, E8M0), axis, BLOCK, name=name)
    steps = scales.astype(np.float32)
    if held is Q8_0:
        return dequantized(model, node, codes.view(np.int8), steps, axis, BLOCK, name=name)
    levels = ir.Tensor((codes.astype(np.int8) - np.int8(8)).astype(ml_dtypes.int4), dtype=ir.DataType.INT4)
    return dequantized(model, node, levels, steps, axis, BLOCK, name=name)
