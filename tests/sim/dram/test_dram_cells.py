"""The bijection between bits of tensors and cells of DRAM, for every format, kind and kind of check bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potluck.isa.errors import DataError
from potluck.isa.formats.blocks import pack
from potluck.isa.formats.elements import FORMATS
from potluck.isa.manifest import Buffer, Manifest
from potluck.sim.dram.cells import Bit, Cell, Cells
from potluck.sim.dram.kind import kinds, load_kind
from potluck.sim.dram.mapping import Mapping
from potluck.sim.dram.tensors import TensorBit, address_of, bits_of, names_of, parse

BASE = 0x8000_0000


def _buffer(name: str, format: str, shape: list[int], address: int, layout: str = "row") -> Buffer:
    return Buffer(name, name, address, -(-math.prod(shape) * bits_of(format) // 8), format, shape, layout)


@pytest.mark.parametrize("key", kinds())
@pytest.mark.parametrize("format", [*sorted(FORMATS), "bytes"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_every_bit_comes_back(key: str, format: str, data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    buffer = _buffer("t", format.upper(), shape, BASE + 32 * data.draw(st.integers(0, 1 << 24)))
    manifest = Manifest(buffers=[buffer, _buffer("other", "FP32", [4], BASE + (1 << 30) - 64)])
    index = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    place = TensorBit(buffer, index, data.draw(st.integers(0, bits_of(format) - 1)))
    address, bit = address_of(place)
    assert names_of(manifest, address, bit) == [place]
    cells = Cells(Mapping(load_kind(key), data.draw(st.sampled_from([1, 2, 8]))))
    cell = cells.locate(Bit("data", address - BASE, bit))
    assert cells.bit(cell) == Bit("data", address - BASE, bit)


@pytest.mark.parametrize("key", kinds())
def test_all_bits_of_a_burst_have_cells_of_their_own(key: str) -> None:
    kind = load_kind(key)
    o, cells = kind.organization, Cells(Mapping(kind, 2))
    start = 12345 * o.burst_bytes
    bits = [Bit("data", start + k // 8, k % 8) for k in range(8 * o.burst_bytes)]
    for sector in range(start, start + o.burst_bytes, 32):
        bits += [Bit("sideband", sector, k) for k in range(o.sideband_bits)]
        bits += [Bit("on-die", sector, k) for k in range(o.on_die_bits)]
    found = [cells.locate(bit) for bit in bits]
    assert len(set(found)) == len(bits)
    assert [cells.bit(cell) for cell in found] == bits
    assert (
        len({(c.channel, c.pseudochannel, c.rank, c.bank_group, c.bank, c.row, c.burst) for c in found}) == 1
    )
    assert sum(c.beat < o.burst_length for c in found) == o.burst_length * (o.data_pins + o.check_pins)


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_bits_are_where_packing_puts_them(format: str) -> None:
    """Flip a bit in packed bytes and see which code changes, in which bit."""
    width = FORMATS[format].bits
    if width > 8:
        codes = np.arange(30, dtype=np.uint64) * 2654435761 % (1 << width)
        codes = codes.astype(np.uint32 if width == 32 else np.uint16)
        packed = codes.copy().view(np.uint8)
    else:
        codes = np.arange(30) * 37 % (1 << width)
        packed = pack(codes, width)
    buffer = _buffer("t", format.upper(), [5, 6], BASE)
    for element, bit in ((0, 0), (7, width - 1), (29, width // 2), (13, 1)):
        address, at = address_of(TensorBit(buffer, (element // 6, element % 6), bit))
        changed = codes.copy()
        changed[element] ^= 1 << bit
        expected = changed.view(np.uint8) if width > 8 else pack(changed, width)
        flipped = packed.copy()
        flipped[address - BASE] ^= 1 << at
        assert (flipped == expected).all()


def test_pins_and_devices_are_the_standards() -> None:
    """A pin of an HBM3 pseudochannel carries the bits with the same index modulo 32, one per beat (facts §3.4); a DDR4
    x8 device carries a byte of every beat; its ninth device carries the check bits."""
    hbm3 = Cells(Mapping(load_kind("hbm3"), 1))
    for pin in range(32):
        cell = hbm3.locate(Bit("data", pin // 8, pin % 8))
        bits = [hbm3.bit(Cell(*(0,) * 7, beat, pin, cell.device)) for beat in range(8)]
        assert [8 * b.offset + b.bit for b in bits] == list(range(pin, 256, 32))
    ddr4 = Cells(Mapping(load_kind("ddr4"), 1))
    for byte in range(64):
        cell = ddr4.locate(Bit("data", byte, 3))
        assert (cell.device, cell.beat, cell.pin) == (byte % 8, byte // 8, byte % 8 * 8 + 3)
    assert {ddr4.locate(Bit("sideband", 32, k)).device for k in range(32)} == {8}
    assert {ddr4.locate(Bit("sideband", 32, k)).beat for k in range(32)} == {4, 5, 6, 7}


def test_blocks_and_fields() -> None:
    codes = _buffer("a.codes", "E4M3", [2, 64], BASE, "row codes")
    assert TensorBit(codes, (1, 33), 7).block == (1, 1)
    chunks = _buffer("w.chunks", "E2M1", [3, 3, 4, 32, 16], BASE, "HWIO chunks")
    assert TensorBit(chunks, (2, 1, 3, 5, 15), 0).block == (2, 1, 1, 5)
    names = [TensorBit(codes, (0, 0), bit).field for bit in range(8)]
    assert names == ["mantissa 0", "mantissa 1", "mantissa 2", "exponent 0", "exponent 1", "exponent 2", "exponent 3",
                     "sign"]  # fmt: skip
    assert TensorBit(_buffer("s", "E8M0", [4], BASE, "row scales"), (3,), 7).field == "scale 7"


def test_specs_and_errors() -> None:
    parts = [_buffer("w", "FP32", [4, 4], BASE), _buffer("w", "FP32", [4, 4], BASE + 64)]
    manifest = Manifest(buffers=[*parts, _buffer("a", "E3M2", [8], BASE + 128)])
    assert parse(manifest, "a[3]:5") == [TensorBit(manifest.buffers[2], (3,), 5)]
    assert len(parse(manifest, "w#1[1, 2]")) == 32
    for text, message in (
        ("w[0,0]", "2 buffers have this name.*w#0 is w at 0x80000000"), ("q[0]", "tensor 'q'.*no such tensor"),
        ("a[8]", r"tensor 'a'.*no element \[8\]"), ("a[1]:6", "with a bit 6"), ("a[1,1]", r"no element \[1, 1\]"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            parse(manifest, text)
    hbm3 = Cells(Mapping(load_kind("hbm3"), 1))
    for bit, message in (
        (Bit("sideband", 0, 16), "no sideband bit 16"), (Bit("on-die", 4, 0), "no on-die bit 0 at 0x4"),
        (Bit("data", 1 << 40, 0), "outside DRAM"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            hbm3.locate(bit)
    lpddr5 = Cells(Mapping(load_kind("lpddr5"), 1))
    with pytest.raises(DataError, match="lpddr5 has 0 there"):
        lpddr5.locate(Bit("sideband", 0, 0))
    with pytest.raises(DataError, match="no beat 0 on pin 16"):
        lpddr5.bit(Cell(*(0,) * 7, 0, 16, 1))
