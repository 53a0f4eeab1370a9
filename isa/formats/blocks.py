"""MX block layouts: an element format, a scale format and a block size, and how codes lie in bytes.

Sources: OCP MX v1.0 section 5 (concrete formats, block size 32). The order of bits is that of the VMXDOTP
operands (facts: FP4 element j is bits [4j+3:4j] of its 64-bit chunk): element 0 in the least significant
bits of byte 0, six-bit elements following without gaps, so four of them fill three bytes.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError
from potluck.isa.formats.elements import E2M1, E2M3, E3M2, E4M3, E5M2, E8M0, INT8, ElementFormat


@dataclass(frozen=True)
class BlockLayout:
    """One MX format: ``block_size`` elements that share one scale.

    In memory the packed elements of a row (all blocks in order) and its scales are two separate arrays, since
    the machine loads them into different vector registers.

    Attributes:
        name: Lowercase name, e.g. ``mxfp8`` (E4M3).
        element: Format of the private elements.
        scale: Format of the shared scale.
        block_size: Elements per scale, at least 1.
    """

    name: str
    element: ElementFormat
    scale: ElementFormat = E8M0
    block_size: int = 32

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise DataError(
                f"{self.name} with block size {self.block_size}", hint="Use a block size of 1 or more"
            )

    @property
    def element_bytes(self) -> int:
        """Bytes of one block's packed elements; a last partial byte is filled with zero bits."""
        return -(-self.block_size * self.element.bits // 8)

    @property
    def scale_bytes(self) -> int:
        """Bytes of one scale."""
        return self.scale.bits // 8

    @property
    def bytes_per_block(self) -> int:
        """Bytes of one whole block, elements and scale."""
        return self.element_bytes + self.scale_bytes

    @property
    def bits_per_element(self) -> float:
        """Storage cost of one element, its share of the scale included."""
        return 8 * self.bytes_per_block / self.block_size

    def blocks(self, length: int) -> int:
        """Blocks along an axis of ``length`` elements; the last one may be ragged."""
        return -(-length // self.block_size)

    def with_block_size(self, block_size: int) -> BlockLayout:
        """The same formats at another block size (1 or more, else DataError)."""
        return replace(self, block_size=block_size)


def _declare(name: str, element: ElementFormat, bits: int) -> BlockLayout:
    """A layout of OCP MX v1.0 table 1, whose block of 32 has ``bits`` bits, scale included."""
    layout = BlockLayout(name, element)
    assert 8 * layout.bytes_per_block == bits, f"{name}: {8 * layout.bytes_per_block} bits, declared {bits}"
    return layout


MXFP8_E4M3 = _declare("mxfp8", E4M3, 264)
MXFP8_E5M2 = _declare("mxfp8_e5m2", E5M2, 264)
MXFP6_E2M3 = _declare("mxfp6", E2M3, 200)
MXFP6_E3M2 = _declare("mxfp6_e3m2", E3M2, 200)
MXFP4 = _declare("mxfp4", E2M1, 136)
MXINT8 = _declare("mxint8", INT8, 264)

LAYOUTS: dict[str, BlockLayout] = {
    layout.name: layout for layout in (MXFP8_E4M3, MXFP8_E5M2, MXFP6_E2M3, MXFP6_E3M2, MXFP4, MXINT8)
}
"""Every MX layout by name, with block size 32."""
_ALIASES = {"mxfp8_e4m3": "mxfp8", "mxfp6_e2m3": "mxfp6", "mxfp4_e2m1": "mxfp4"}


def layout(name: str, block_size: int = 32) -> BlockLayout:
    """The layout called ``name``: one of `LAYOUTS`, or an alias such as ``mxfp8_e4m3``.

    Raises:
        DataError: Unknown name, or a block size below 1.
    """
    key = name.lower()
    key = _ALIASES.get(key, key)
    if key not in LAYOUTS:
        near = difflib.get_close_matches(key, LAYOUTS, n=1, cutoff=0.0)[0]
        raise DataError(
            f"unknown MX format {name!r}", hint=f"Did you mean {near!r}? Known: {', '.join(LAYOUTS)}"
        )
    return LAYOUTS[key].with_block_size(block_size)


def pack(codes: ArrayLike, bits: int) -> NDArray[np.uint8]:
    """Packs codes along the last axis, the first code into the lowest bits of the first byte.

    Args:
        codes: Integer array [..., n] of values below ``2**bits``.
        bits: Width of a code, 1 to 8.

    Returns:
        uint8 array [..., ceil(n * bits / 8)]; bits after the last code are 0.

    Raises:
        DataError: Width out of range, or a code that needs more than ``bits`` bits.
    """
    array = np.asarray(codes)
    _check_bits(bits)
    if array.size and (int(array.max()) >= 1 << bits or int(array.min()) < 0):
        raise DataError(
            f"a code does not fit in {bits} bits", hint="Encode with the format that has that width"
        )
    array = array.astype(np.uint8)
    if bits == 8:
        return array
    if bits == 4 and array.shape[-1] % 2 == 0:
        paired: NDArray[np.uint8] = array[..., 0::2] | (array[..., 1::2] << np.uint8(4))
        return paired
    stream = np.unpackbits(array[..., None], axis=-1, count=bits, bitorder="little")
    return np.packbits(stream.reshape(*array.shape[:-1], -1), axis=-1, bitorder="little")


def unpack(data: ArrayLike, bits: int, count: int) -> NDArray[np.uint8]:
    """Reads ``count`` codes from packed bytes; the inverse of `pack`.

    Args:
        data: uint8 array [..., bytes].
        bits: Width of a code, 1 to 8.
        count: Codes to read along the last axis.

    Returns:
        uint8 array [..., count].

    Raises:
        DataError: Width out of range, or fewer bytes than ``count`` codes need.
    """
    array = np.asarray(data, dtype=np.uint8)
    _check_bits(bits)
    if array.shape[-1] * 8 < count * bits:
        raise DataError(
            f"{array.shape[-1]} bytes hold fewer than {count} codes of {bits} bits",
            hint="Check the tensor's shape against its layout",
        )
    if bits == 8:
        return array[..., :count].copy()
    if bits == 4:
        pairs = np.stack([array & np.uint8(15), array >> np.uint8(4)], axis=-1)
        return pairs.reshape(*array.shape[:-1], -1)[..., :count]
    stream = np.unpackbits(array, axis=-1, count=count * bits, bitorder="little")
    weights = np.left_shift(1, np.arange(bits)).astype(np.uint8)
    groups = stream.reshape(*array.shape[:-1], count, bits)
    return np.asarray((groups * weights).sum(axis=-1, dtype=np.uint8))


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= 8:
        raise DataError(f"codes of {bits} bits cannot be packed", hint="Use a width of 1 to 8 bits")
