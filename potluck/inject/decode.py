"""From a program's constants as they lie in DRAM back to the tensors of its ONNX graph.

Each tensor is taken out of its kernel's order, and on clean bytes it must equal the graph's own tensor to the bit; so a
layout that this module does not understand is refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from potluck.isa.errors import DataError
from potluck.isa.formats.blocks import unpack
from potluck.isa.formats.elements import E8M0, FORMATS
from potluck.isa.manifest import Buffer, Manifest
from potluck.kernels.weights.codes import TABLE_BYTES
from potluck.sim.dram.kind import SECTOR
from potluck.sim.ecc.interface import Words
from potluck.sim.faults.parts import Part

BLOCK = 32
Array = NDArray[np.generic]


@dataclass(frozen=True)
class Parameter:
    """A tensor that the graph takes instead of a constant.

    Attributes:
        name: of the graph's value.
        clean: its values, in the type in which they are fed.
        buffers: of the program, in the order of addresses.
        kind: ``values``, ``mx``, ``levels``, ``bias``, ``sums`` or ``factor`` (of an integer product), or ``rows``: as
            the graph has it, for operators that are no products.
        weights: of a bias or factor, the name of its product's weights.
        width: output channels of a slice.
        transposed: whether a matrix is [K, N].
    """

    name: str
    clean: Array
    buffers: tuple[Buffer, ...]
    kind: str
    weights: str = ""
    width: int = 0
    transposed: bool = False


class Image:
    """The constants' bytes by address.

    Args:
        parts: of a program.
        words: of each part, as read.
        base: address of DRAM.
    """

    def __init__(self, parts: Sequence[Part], words: Sequence[Words], base: int) -> None:
        self._start = base + min(p.first for p in parts) * SECTOR
        end = base + max(p.first + p.count for p in parts) * SECTOR
        self._data = np.zeros(end - self._start, np.uint8)
        for part, one in zip(parts, words, strict=True):
            at = base + part.first * SECTOR - self._start
            raw = np.ascontiguousarray(one).view(np.uint8).ravel()
            self._data[at : at + raw.size] = raw

    def of(self, buffer: Buffer) -> NDArray[np.uint8]:
        """The bytes of a buffer."""
        at = buffer.address - self._start
        return self._data[at : at + buffer.bytes]


def slices_of(buffer: Buffer) -> int:
    """Slices of output channels in a buffer."""
    return buffer.shape[0] if buffer.layout.startswith("slice ") else 1


def _slices(buffer: Buffer, array: Array) -> list[Array]:
    """[slices, KH, KW, C, Cout] or one slice without its axis, to arrays [Cout, C, KH, KW]."""
    full = array.reshape(buffer.shape if buffer.layout.startswith("slice ") else [1, *buffer.shape])
    return [np.ascontiguousarray(one.transpose(3, 2, 0, 1)) for one in full]


def _code_slices(buffer: Buffer, raw: NDArray[np.uint8]) -> list[Array]:
    """Element codes of MX chunks [KH, KW, chunks, Cout, 8], [Cout, C filled up, KH, KW] of each slice."""
    bits = FORMATS[buffer.format.lower()].bits
    full = raw.reshape(buffer.shape if buffer.layout.startswith("slice ") else [1, *buffer.shape])
    rows = np.ascontiguousarray(full.transpose(0, 1, 2, 4, 3, 5))
    rows = rows.reshape(*rows.shape[:4], -1)
    codes = unpack(rows, bits, rows.shape[-1] * 8 // bits)
    return [np.ascontiguousarray(one.transpose(2, 3, 0, 1)) for one in codes]


def _join(slices: Sequence[Array], outputs: int, width: int) -> Array:
    """Slices of `width` channels in their places: the last one overlaps the one before it, and counts."""
    out = np.zeros((outputs, *slices[0].shape[1:]), slices[0].dtype)
    for k, one in enumerate(slices):
        start = min(k * width, outputs - width)
        out[start : start + width] = one[:width]
    return out


def _outputs(shape: tuple[int, ...], transposed: bool) -> int:
    return shape[1] if transposed else shape[0]


def _shaped(array: Array, shape: tuple[int, ...], transposed: bool) -> Array:
    """[Cout, C, KH, KW] as the graph has it: a convolution's, [N, K] or, transposed, [K, N]."""
    if len(shape) == 4:
        return array[:, : shape[1]]
    flat = array[:, :, 0, 0]
    return np.ascontiguousarray(flat.T) if transposed else flat[:, : shape[1]]


def mx_values(p: Parameter, image: Image) -> Array:
    """FP32 values of MX weights; finite ones beyond FP32's range become its largest number."""
    shape = p.clean.shape
    chunks = [b for b in p.buffers if b.layout.endswith("chunks")]
    blocks = [b for b in p.buffers if b.layout.endswith("blocks")]
    element = FORMATS[chunks[0].format.lower()]
    codes = [one for b in chunks for one in _code_slices(b, image.of(b))]
    scales = [one for b in blocks for one in _slices(b, image.of(b))]
    outputs = _outputs(shape, p.transposed)
    whole = _join(codes, outputs, p.width)
    spread = np.repeat(E8M0.decode(_join(scales, outputs, p.width)).astype(np.float64), BLOCK, axis=1)
    spread = spread[:, : whole.shape[1]]
    with np.errstate(over="ignore", invalid="ignore"):
        values = element.decode(whole[:, : spread.shape[1]]).astype(np.float64) * spread
        top = float(np.finfo(np.float32).max)
        values = np.where(np.isfinite(values), np.clip(values, -top, top), values)
        return _shaped(values.astype(np.float32), shape, p.transposed)


def level_values(p: Parameter, image: Image) -> Array:
    """Integer weights, int16."""
    shape = p.clean.shape
    c, kh, kw = (shape[1], *shape[2:]) if len(shape) == 4 else (shape[1 - p.transposed], 1, 1)
    found: list[Array] = []
    for buffer in p.buffers:
        raw = image.of(buffer)
        if "table" not in buffer.layout:
            item = np.int8 if buffer.format == "INT8" else np.int16
            found += _slices(buffer, raw.view(item).astype(np.int16))
            continue
        for one in raw.reshape(slices_of(buffer), -1):
            table, nibbles = one[:TABLE_BYTES].copy().view(np.int16), one[TABLE_BYTES:]
            flat = table[np.concatenate([nibbles & 15, nibbles >> 4])]
            found.append(np.ascontiguousarray(flat.reshape(kh, kw, c, -1).transpose(3, 2, 0, 1)))
    return _shaped(_join(found, _outputs(shape, p.transposed), p.width), shape, p.transposed)


def plain_values(p: Parameter, image: Image) -> Array:
    """FP32 values of weights in FP32, BF16 or FP16."""
    found = []
    for buffer in p.buffers:
        held = FORMATS[buffer.format.lower()].dtype
        found += _slices(buffer, image.of(buffer).view(held).astype(np.float32))
    return _shaped(_join(found, _outputs(p.clean.shape, p.transposed), p.width), p.clean.shape, p.transposed)


def row_values(p: Parameter, image: Image) -> Array:
    """A tensor that lies in DRAM as it is in the graph."""
    (buffer,) = p.buffers
    return image.of(buffer).view(p.clean.dtype).reshape(p.clean.shape)


def bias_values(p: Parameter, image: Image, slices: int) -> Array:
    """FP32 biases; a slice's may be filled up, and slices of zeros may share one place."""
    rows = []
    for buffer in p.buffers:
        values = image.of(buffer).view(np.float32)
        count = slices // len(p.buffers)
        rows.append(
            np.tile(values, (count, 1)) if values.size < count * p.width else values.reshape(count, -1)
        )
    return _join(list(np.concatenate(rows)), p.clean.size, p.width).reshape(p.clean.shape)


def sums_and_factors(p: Parameter, image: Image, slices: int) -> tuple[Array, Array]:
    """Biases with the zero point folded in, int32 [Cout], and FP32 factors [Cout]."""
    rows = [image.of(b).view(np.int32).reshape(slices // len(p.buffers), 2, -1) for b in p.buffers]
    both = np.concatenate(rows)
    sums, factors = (_join(list(both[:, k]), p.clean.size, p.width) for k in (0, 1))
    return sums, factors.view(np.float32)


DECODERS: dict[str, Callable[[Parameter, Image], Array]] = {
    "mx": mx_values, "levels": level_values, "values": plain_values, "rows": row_values,
}  # fmt: skip
FILLED = 8
"""Slices are filled up to this many channels at most."""


def fitted(p: Parameter, image: Image) -> Parameter:
    """The weight with the width of its slices and its orientation, such that clean bytes give the graph's tensor.

    Raises:
        DataError: none does; the layout is not one that can be taken back.
    """
    if p.kind == "rows":
        return p  # its caller compares
    outputs = {False: p.clean.shape[0], True: p.clean.shape[1] if p.clean.ndim == 2 else 0}
    count = sum(slices_of(b) for b in p.buffers if not b.layout.endswith("blocks"))
    for transposed, n in outputs.items():
        widths = [n] if count == 1 else range(-(-n // count), min(n, -(-n // count) + FILLED) + 1)
        for width in widths:
            tried = replace(p, width=width, transposed=transposed)
            try:
                got = DECODERS[p.kind](tried, image)
            except (ValueError, IndexError):
                continue
            if same(got, p.clean.astype(got.dtype)):
                return replace(tried, clean=got)
    raise not_taken_back(p.name)


def same(a: Array, b: Array) -> bool:
    """Whether two arrays are equal to the bit."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def not_taken_back(name: str) -> DataError:
    """The error for a layout that is not understood."""
    return DataError(
        "its layout in DRAM cannot be taken back to the graph", tensor=name,
        hint="Use the engine sim, which runs the program itself",
    )  # fmt: skip


def buffers_by_tensor(
    manifest: Manifest, parts: Sequence[Part], shared: bool = False
) -> dict[str, tuple[Buffer, ...]]:
    """The buffers that parts cover, by tensor; with ``shared`` also those of tensors that lie where another does."""
    names = {part.name.split("#")[0].removesuffix(".table") for part in parts}
    places = {
        buffer.address for buffer in manifest.buffers if buffer.name in names and buffer.region == "dram"
    }
    found: dict[str, list[Buffer]] = {}
    taken = set()
    for buffer in sorted(manifest.buffers, key=lambda b: b.address):
        place = (buffer.tensor if shared else "", buffer.address)
        if (buffer.address in places if shared else buffer.name in names) and place not in taken:
            taken.add(place)
            found.setdefault(buffer.tensor, []).append(buffer)
    return {name: tuple(buffers) for name, buffers in found.items()}


def initializers(proto: onnx.ModelProto) -> dict[str, Array]:
    """The graph's constants by name, in NumPy types (codes of narrow types as ml_dtypes)."""
    return {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
