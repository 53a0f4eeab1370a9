"""Block layouts and the order of packed bits."""

import numpy as np
import pytest

from potluck.isa.errors import DataError
from potluck.isa.formats.blocks import LAYOUTS, layout, pack, unpack


def test_declared_sizes() -> None:
    bits = {name: 8 * block.bytes_per_block for name, block in LAYOUTS.items()}
    assert bits == {
        "mxfp8": 264,
        "mxfp8_e5m2": 264,
        "mxfp6": 200,
        "mxfp6_e3m2": 200,
        "mxfp4": 136,
        "mxint8": 264,
    }
    assert layout("mxfp4").bits_per_element == 4.25
    assert layout("mxfp6", 16).bytes_per_block == 13
    assert layout("MXFP8_E4M3") == layout("mxfp8")
    assert layout("mxfp4", 5).element_bytes == 3 and layout("mxfp4", 5).blocks(11) == 3


def test_unknown_layout_suggests_the_near_one() -> None:
    with pytest.raises(DataError, match="'mxfp8'"):
        layout("mxpf8")
    with pytest.raises(DataError, match="block size 0"):
        layout("mxfp8", 0)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("count", [0, 1, 3, 4, 8, 31, 32])
def test_pack_against_python_integers(bits: int, count: int) -> None:
    """Element j is bits [bits*j + bits - 1 : bits*j] of the little-endian integer."""
    codes = np.random.default_rng(bits).integers(0, 1 << bits, (5, count), dtype=np.uint8)
    packed = pack(codes, bits)
    assert packed.shape == (5, -(-count * bits // 8)) and packed.dtype == np.uint8
    for row, data in zip(codes.tolist(), packed, strict=True):
        assert int.from_bytes(data.tobytes(), "little") == sum(c << (bits * j) for j, c in enumerate(row))
    assert np.array_equal(unpack(packed, bits, count), codes)


def test_fp4_order_of_the_vmxdotp_operand() -> None:
    assert pack([0x1, 0x2, 0x3, 0x4], 4).tobytes() == bytes([0x21, 0x43])


def test_pack_refuses_wide_codes_and_short_data() -> None:
    with pytest.raises(DataError, match="4 bits"):
        pack([16], 4)
    with pytest.raises(DataError, match="fewer than 9"):
        unpack(np.zeros(4, np.uint8), 4, 9)
    with pytest.raises(DataError, match="9 bits"):
        pack([0], 9)
