"""Tensors in memory bit by bit: (buffer, element, bit) to (address, bit) and back, from the ELF file's manifest.

A buffer's elements lie in the order of its shape, packed without gaps, the first element in the lowest bits
(:mod:`potluck.isa.formats.blocks`), FP32 little-endian. Buffers whose lifetimes are apart may share memory, so an
address can have several names.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from potluck.isa.errors import DataError
from potluck.isa.formats.blocks import LAYOUTS
from potluck.isa.formats.elements import FORMATS
from potluck.isa.manifest import Buffer, Manifest

BLOCK = next(iter(LAYOUTS.values())).block_size
"""Elements per scale where a layout does not say ``block64`` or the like."""
INSTRUCTIONS, WORDS = "RV64", "WORDS"
"""Formats of program text, 32 bits each (compressed ones are met in pairs), and of pointers and counts."""
_PLACES = (("opcode", 0), ("rd", 7), ("funct3", 12), ("rs1", 15), ("rs2", 20), ("funct7", 25))
"""Fields of a 32-bit instruction, with their lowest bits."""
_SPEC = re.compile(r"(?P<name>.+?)(?:#(?P<part>\d+))?(?:\[(?P<index>[\d,\s]*)\])?(?::(?P<bit>\d+))?")


@dataclass(frozen=True)
class TensorBit:
    """A bit of a tensor.

    Attributes:
        buffer: the part of the tensor that holds it.
        index: of the element, in the order of dimensions in memory.
        bit: of the element, 0 the least significant.
    """

    buffer: Buffer
    index: tuple[int, ...]
    bit: int

    @property
    def element(self) -> int:
        """Number of the element in the buffer."""
        number = 0
        for index, size in zip(self.index, self.buffer.shape, strict=True):
            number = number * size + index
        return number

    @property
    def field(self) -> str:
        """``sign``, ``exponent``, ``mantissa``, ``integer``, ``scale`` or ``byte``, with the bit in it."""
        return field_of(self.buffer.format, self.bit)

    @property
    def block(self) -> tuple[int, ...] | None:
        """Index of the element's scale in the buffer of scales; None if the format has no blocks."""
        words = self.buffer.layout.split()
        last, stated = words[-1], [int(word[5:]) for word in words if re.fullmatch(r"block\d+", word)]
        size = stated[0] if stated else BLOCK
        if last in ("scales", "blocks"):
            return self.index
        if last == "codes":
            return (*self.index[:-1], self.index[-1] // size)
        if last == "chunks":  # [..., chunk, output, element of the chunk]
            *outer, chunk, output, element = self.index
            return (*outer, (chunk * self.buffer.shape[-1] + element) // size, output)
        return None


def bits_of(format: str) -> int:
    """Bits of an element; BYTES and what has no element format count as bytes."""
    known = FORMATS.get(format.lower())
    return known.bits if known else 32 if format in (INSTRUCTIONS, WORDS) else 8


def field_of(format: str, bit: int) -> str:
    """The field that a bit of an element belongs to, e.g. ``exponent 3``."""
    if format == INSTRUCTIONS:
        return next(f"{name} {bit - low}" for name, low in reversed(_PLACES) if bit >= low)
    if format == WORDS:
        return f"word {bit}"
    known = FORMATS.get(format.lower())
    if known is None:
        return f"byte {bit}"
    if known.kind == "scale":
        return f"scale {bit}"
    if known.kind == "int":
        return "sign" if bit == known.bits - 1 else f"integer {bit}"
    if bit < known.mantissa_bits:
        return f"mantissa {bit}"
    exponent = bit - known.mantissa_bits
    return f"exponent {exponent}" if exponent < known.exponent_bits else "sign"


def address_of(place: TensorBit) -> tuple[int, int]:
    """Address and bit in the byte.

    Raises:
        DataError: the index or the bit is outside the tensor; names it.
    """
    buffer, width = place.buffer, bits_of(place.buffer.format)
    inside = len(place.index) == len(buffer.shape) and all(
        0 <= index < size for index, size in zip(place.index, buffer.shape, strict=True)
    )
    if not inside or not 0 <= place.bit < width:
        raise DataError(
            f"no element {list(place.index)} with a bit {place.bit}: {buffer.format} of shape {buffer.shape}",
            tensor=buffer.name,
        )
    position = place.element * width + place.bit
    return buffer.address + position // 8, position % 8


def names_of(manifest: Manifest, address: int, bit: int) -> list[TensorBit]:
    """The tensors' bits that are stored at a bit of an address; empty if there is none."""
    found = []
    for buffer in manifest.buffers:
        if buffer.address <= address < buffer.address + buffer.bytes:
            width = bits_of(buffer.format)
            element, rest = divmod((address - buffer.address) * 8 + bit, width)
            if element < math.prod(buffer.shape):
                found.append(TensorBit(buffer, _unravel(element, buffer.shape), rest))
    return found


def _unravel(element: int, shape: list[int]) -> tuple[int, ...]:
    index: list[int] = []
    for size in reversed(shape):
        element, rest = divmod(element, size)
        index.insert(0, rest)
    return tuple(index)


def parse(manifest: Manifest, text: str) -> list[TensorBit]:
    """Read ``TENSOR#PART[INDEX, ...]:BIT``: the bits of one element, or the one that is named.

    ``#PART`` chooses among several buffers of a name, ``[...]`` defaults to the first element.

    Raises:
        DataError: not of this form, no such tensor or element, or several parts and none named.
    """
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        raise DataError(
            f"{text!r} names no tensor", hint="Write NAME[0,1]:3, or an address such as 0x80001000:3."
        )
    name = match["name"]
    buffers = [b for b in manifest.buffers if name in (b.name, b.tensor)]
    if not buffers:
        raise DataError("no such tensor in the manifest", tensor=name)
    part = int(match["part"] or 0)
    if part >= len(buffers) or (match["part"] is None and len(buffers) > 1):
        names = ", ".join(f"{name}#{k} is {b.name} at {b.address:#x}" for k, b in enumerate(buffers[:4]))
        raise DataError(f"{len(buffers)} buffers have this name", tensor=name, hint=f"Choose one: {names}.")
    buffer = buffers[part]
    numbers = re.findall(r"\d+", match["index"] or "")
    index = tuple(int(n) for n in numbers) if numbers else (0,) * len(buffer.shape)
    bits = range(bits_of(buffer.format)) if match["bit"] is None else [int(match["bit"])]
    places = [TensorBit(buffer, index, bit) for bit in bits]
    for place in places:
        address_of(place)
    return places
