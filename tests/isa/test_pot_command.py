"""Commands of the PoT accelerator: every bit is a field's, legal values survive, illegal ones are named."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.isa.errors import DataError
from potluck.isa.pot.codes import QKERAS
from potluck.isa.pot.command import (
    BUSY,
    FIELDS,
    FLOAT_BOUNDS,
    INFINITY,
    WORDS,
    Command,
    Field,
    decode,
    encode,
    pack_lines,
    planes_of,
    state_word,
    unpack_lines,
    unpack_weights,
    weight_bytes,
    weight_data,
)
from potluck.isa.pot.stream import Opcode, Status


def span(field: Field) -> set[int]:
    start = 32 * field.word + field.low
    return set(range(start, start + field.bits))


@pytest.mark.parametrize("command", Command)
def test_fields_do_not_overlap(command: Command) -> None:
    fields = [Field(0, 0, 8), Field(0, 8, 1), *FIELDS[command].values()]
    for one, other in itertools.combinations(fields, 2):
        assert not span(one) & span(other)
    assert max(max(span(field)) for field in fields) < 32 * WORDS


def test_opcodes_are_those_of_the_streams() -> None:
    assert all(Opcode[c.name] == c for c in Command if c.name in Opcode.__members__)


@given(st.sampled_from(list(Command)), st.booleans(), st.data())
def test_legal_commands_survive(command: Command, last: bool, data: st.DataObject) -> None:
    values = {name: data.draw(st.integers(f.least, f.highest), name) for name, f in FIELDS[command].items()}
    if command is Command.COMPUTE:
        values["low"], values["high"] = sorted((values["low"], values["high"]))
        for name in FLOAT_BOUNDS:
            values[name] = min(values[name] & 0x7FFF_FFFF, INFINITY) | values[name] & 1 << 31
        values["depthwise"] = 0
    found, status, _ = decode(encode(command, last=last, **values))
    assert status is Status.OK and found is not None
    assert (found.command, dict(found.values), found.last) == (command, values, last)


@pytest.mark.parametrize(
    ("words", "status", "field"),
    [
        (np.full(16, 0x77, np.uint32), Status.BAD_OPCODE, "opcode"),
        (encode(Command.COMPUTE, planes=6), Status.BAD_MODE, "planes"),
        (encode(Command.COMPUTE, planes=0), Status.BAD_MODE, "planes"),
        (encode(Command.COMPUTE, code_set=5), Status.BAD_MODE, "code_set"),
        (encode(Command.COMPUTE, low=3, high=2), Status.BAD_MODE, "low"),
        (encode(Command.COMPUTE, law=3), Status.BAD_MODE, "law"),
        (encode(Command.COMPUTE, float_high=0x7F80_0001), Status.BAD_MODE, "float_high"),
        (encode(Command.COMPUTE, width=0, high=2), Status.BAD_SIZE, "width"),
        (encode(Command.COMPUTE, depthwise=1, channels=8, filters=4), Status.BAD_SIZE, "filters"),
        (encode(Command.COMPUTE, depthwise=1, final=1), Status.BAD_SIZE, "final"),
        (encode(Command.STORE, rows=0), Status.BAD_SIZE, "rows"),
        (encode(Command.LOAD_WEIGHTS, blocks=0), Status.BAD_SIZE, "blocks"),
        (encode(Command.NOP) + np.arange(16, dtype=np.uint32) // 15, Status.BAD_SIZE, "reserved"),
        (encode(Command.NOP) | np.uint32(1 << 9), Status.BAD_SIZE, "reserved"),
    ],
)
def test_illegal_commands_name_the_field(words: np.ndarray, status: Status, field: str) -> None:
    assert decode(words) == (None, status, field)


def test_encoding_refuses_what_does_not_fit() -> None:
    with pytest.raises(DataError, match="no field 'colour'"):
        encode(Command.STORE, colour=1)
    with pytest.raises(DataError, match="65536 does not fit into width"):
        encode(Command.COMPUTE, width=65536)
    assert encode(Command.LOAD_INPUTS, stride=-64)[6] == 0x1_0000_0000 - 64
    assert encode(Command.STORE, address=0x8000_0001_0000_0002)[2:4].tolist() == [2, 0x8000_0001]


def test_derived_sizes() -> None:
    values = {"kernel_height": 3, "kernel_width": 3, "channels": 5, "filters": 9, "planes": 2, "high": 1}
    found, _, _ = decode(encode(Command.COMPUTE, **values))
    assert found is not None
    assert (found.depth, found.weight_lines, found.weight_blocks) == (45, 24, 3)
    values |= {"depthwise": 1, "filters": 5, "first": 1, "final": 1}
    found, _, _ = decode(encode(Command.COMPUTE, **values))
    assert found is not None
    assert (found.depth, found.weight_lines, found.weight_blocks) == (9, 9, 2)
    found, _, _ = decode(encode(Command.COMPUTE, **(values | {"planes": 5})))
    assert found is not None and found.weight_lines == 18


def test_lines_are_those_of_the_weight_buffers() -> None:
    codes = np.zeros((1, 2, 4, 4), np.uint8)
    codes[0, 0, 1, 2] = 0xA  # filter 1, depth 2: bits 16 + 8
    codes[0, 1, 3, 3] = 0x5
    assert pack_lines(codes).view(np.uint64).tolist() == [[0xA << 24, 0x5 << 60]]
    many = np.random.default_rng(0).integers(0, 16, (3, 7, 4, 4)).astype(np.uint8)
    np.testing.assert_array_equal(unpack_lines(pack_lines(many)), many)

    bytes_ = np.arange(-48, 48).reshape(3, 2, 4, 4)
    packed = pack_lines(bytes_, 8)
    assert packed.shape == (3, 32) and packed[0, :2].tolist() == [0xD0, 0xD1]
    np.testing.assert_array_equal(unpack_lines(packed, 8).view(np.int8), bytes_)


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_come_in_rounds(bits: int) -> None:
    """Line by line those of all units, then sums, multipliers and shifts of all their filters; whole rounds."""
    many = np.random.default_rng(0).integers(0, 1 << bits, (3, 7, 4, 4)).astype(np.uint8)
    parameters, size = np.arange(36).reshape(3, 12), 2 * bits
    data = weight_data(many, parameters, 2, bits)
    assert data.size == weight_bytes(3, 7, 2, bits) == 2 * 2 * (7 * size + 48)
    lines = pack_lines(many, bits).reshape(3, 7, size)
    first, second = data.reshape(2, -1)
    np.testing.assert_array_equal(first[: 2 * size], lines[:2, 0].ravel())
    np.testing.assert_array_equal(first[2 * size : 4 * size], lines[:2, 1].ravel())
    assert first[14 * size :].view(np.int32).tolist() == [*range(8), *range(12, 20), *range(24, 32)]
    np.testing.assert_array_equal(second[:size], lines[2, 0])
    assert not second[size : 2 * size].any()
    codes, words = unpack_weights(data, 3, 7, 2, bits)
    np.testing.assert_array_equal(codes, many)
    np.testing.assert_array_equal(words, parameters)


@pytest.mark.parametrize(
    ("values", "planes"),
    [
        (np.arange(-255, 256), 5),
        (np.arange(-128, 128), 4),
        (np.arange(-8, 8), 2),
        (np.array([1, -128]), 1),
        (np.array([0]), 2),
        (np.array([[85, 0]]), 4),
    ],
)
def test_integers_are_sums_of_as_few_codes_as_hold_all(values: np.ndarray, planes: int) -> None:
    found = planes_of(values)
    assert found is not None and found.shape == (*values.shape, planes)
    np.testing.assert_array_equal(QKERAS.decode(found).sum(axis=-1), values)


def test_an_integer_beyond_five_codes_has_none() -> None:
    assert planes_of(np.array([641])) is None


def test_the_state_word_says_what_and_where() -> None:
    assert state_word(Status.OK, 7, True) == BUSY
    assert state_word(Status.BAD_SIZE, 7, False) == 7 << 16 | 3
