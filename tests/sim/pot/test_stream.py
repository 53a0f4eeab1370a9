"""The array behind its streams: layers come back as the contract says, and bad packets are refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from potluck.isa.pot.array import CODE_SETS, CodeSet, Requantizer, code_set, tile
from potluck.isa.pot.stream import (
    END,
    FAILED,
    Buffers,
    Opcode,
    Status,
    activation_word,
    compute,
    config,
    header,
    load_inputs,
    load_weights,
    pack_activations,
    pack_weights,
    unpack_outputs,
)
from potluck.sim.pot.stream import StreamArray

SHIFTS = Buffers(units=4, weight_lines=64, input_lines=32, global_lines=48, parameter_groups=8)
MULTIPLIERS = Buffers(4, 64, 32, 48, 8, multipliers=True)
APOT = code_set("pot_apot")


def buffers(kind: CodeSet) -> Buffers:
    return SHIFTS if kind.pot else MULTIPLIERS


def layer(
    kind: CodeSet, seed: int, rows: int, filters: int, depth: int
) -> tuple[np.ndarray, np.ndarray, Requantizer]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 16, (filters, depth)) if kind.pot else rng.integers(-128, 128, (filters, depth))
    words = [rng.integers(-(1 << 31), 1 << 31, filters).astype(np.int32) for _ in range(2)]
    low, high = sorted(rng.integers(-128, 128, 2).tolist())
    x = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
    shift = rng.integers(28, 42, filters).astype(np.int32)
    return codes, x, Requantizer(words[0] >> 14, words[1], shift, int(rng.integers(-128, 128)), low, high)


def test_layout_is_the_published_one() -> None:
    x = np.arange(5 * 16).reshape(5, 16).astype(np.int8)
    beats = pack_activations(x)
    assert beats.shape == (8, 4)
    assert beats[1, 2] == 0x27262524  # stream 2, second beat: row 2, depths 4 to 7, lowest depth lowest
    assert beats[4].tolist() == [0x43424140, 0, 0, 0]
    codes = np.arange(16)[None] * np.ones((6, 1), int)
    codes[5] = 15 - codes[5]
    words = pack_weights(APOT, codes)
    assert words.shape == (4, 4)
    assert words[0].tolist() == [0x76543210] * 4
    assert words[3].tolist() == [0xFEDCBA98, 0x01234567, 0, 0]
    assert pack_weights(code_set("int8"), [[-1] * 16]).tolist() == [[0xFFFFFFFF, 0, 0, 0]] * 4


@pytest.mark.parametrize("kind", CODE_SETS, ids=str)
@pytest.mark.parametrize(("rows", "filters", "depth"), [(1, 1, 1), (4, 4, 16), (9, 21, 50), (24, 32, 32)])
def test_a_layer_comes_back(kind: CodeSet, rows: int, filters: int, depth: int) -> None:
    codes, x, requantizer = layer(kind, depth, rows, filters, depth)
    array = StreamArray(buffers(kind))
    silent = [
        config(-(-depth // 16) * 16, kind, requantizer),
        load_inputs(x),
        load_weights(kind, codes, requantizer),
    ]
    assert [len(array.packet(words)) for words in silent] == [0, 0, 0]
    found = array.packet(compute(rows, filters))
    assert found[-1].tolist() == [END] * 4 and array.status is Status.OK
    np.testing.assert_array_equal(
        unpack_outputs(found[:-1], rows, filters), tile(kind, codes, x, requantizer)
    )


def test_weights_and_inputs_stay_and_code_sets_change_at_run_time() -> None:
    array = StreamArray(SHIFTS)
    for seed, kind in enumerate([k for k in CODE_SETS if k.pot] * 2):
        codes, x, requantizer = layer(kind, seed, 8, 8, 32)
        array.packet(config(32, kind, requantizer))
        array.packet(load_weights(kind, codes, requantizer))
        for turn in (x, -1 - x):
            array.packet(load_inputs(turn))
            for rows in (8, 4):
                found = array.packet(compute(rows, 8))
                expected = tile(kind, codes, turn[:rows], requantizer)
                np.testing.assert_array_equal(unpack_outputs(found[:-1], rows, 8), expected)


CODES, X, PARAMETERS = layer(APOT, 7, 8, 8, 32)
CONFIG = config(32, APOT, PARAMETERS)
WEIGHTS = load_weights(APOT, CODES, PARAMETERS)
INPUTS = load_inputs(X)
MODE = activation_word(0, -128, 127)


def ready() -> StreamArray:
    array = StreamArray(SHIFTS)
    for words in (CONFIG, WEIGHTS, INPUTS):
        array.packet(words)
    assert array.status is Status.OK
    return array


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (np.array([[3, 0, 0, 0]]), Status.BAD_OPCODE),
        (np.array([[16, 9, 9, 9]]), Status.BAD_OPCODE),
        (header(Opcode.CONFIG, 32, MODE, 5), Status.BAD_MODE),
        (header(Opcode.CONFIG, 32, MODE, code_set("int8").number), Status.BAD_MODE),
        (header(Opcode.CONFIG, 20, activation_word(0, 5, 4), 0), Status.BAD_MODE),
        (header(Opcode.CONFIG, 32, MODE | 1 << 24, 0), Status.BAD_MODE),
        (header(Opcode.CONFIG, 0, MODE, 0), Status.BAD_SIZE),
        (header(Opcode.CONFIG, 24, MODE, 0), Status.BAD_SIZE),
        (header(Opcode.CONFIG, 144, MODE, 0), Status.BAD_SIZE),
        (header(Opcode.LOAD_WEIGHTS, 0, 4), Status.BAD_SIZE),
        (header(Opcode.LOAD_WEIGHTS, 1, 8), Status.BAD_SIZE),
        (header(Opcode.LOAD_WEIGHTS, 33, 4), Status.BAD_SIZE),
        (header(Opcode.LOAD_INPUTS, 7, 8), Status.BAD_SIZE),
        (header(Opcode.COMPUTE, 0, 1), Status.BAD_SIZE),
        (np.array([[Opcode.COMPUTE, 1, 1, 1]]), Status.BAD_SIZE),
        (np.array([[Opcode.NOP, 0, 0, 1]]), Status.BAD_SIZE),
        (header(Opcode.COMPUTE, 3, 2), Status.NOT_LOADED),
        (header(Opcode.COMPUTE, 2, 3), Status.NOT_LOADED),
        (WEIGHTS[:-1], Status.EARLY_LAST),
        (INPUTS[:1], Status.EARLY_LAST),
    ],
)  # fmt: skip
def test_bad_packets_are_refused_by_name(words: np.ndarray, status: Status) -> None:
    array = ready()
    assert array.packet(words).tolist() == [[FAILED | status] * 4]
    assert array.status is status
    assert len(array.packet(CONFIG)) == 0 and array.status is status  # until reset


@pytest.mark.parametrize(
    "words", [CONFIG, WEIGHTS, INPUTS, compute(8, 8)], ids=["config", "weights", "inputs", "compute"]
)
@pytest.mark.parametrize("stream", range(4))
def test_last_is_demanded_of_every_stream(words: np.ndarray, stream: int) -> None:
    last = np.zeros(words.shape, bool)
    last[-1] = True
    last[-1, stream] = False
    array = ready()
    assert array.beats(words, last).tolist() == [[FAILED | Status.MISSING_LAST] * 4]
    if len(words) > 1:
        last[-1], last[-2, stream] = True, True
        array = ready()
        assert array.beats(words, last)[0, 0] == FAILED | Status.EARLY_LAST


def test_config_forgets_what_was_loaded() -> None:
    array = ready()
    array.packet(CONFIG)
    array.packet(compute(4, 4))
    assert array.status is Status.NOT_LOADED
    array = StreamArray(SHIFTS)
    array.packet(INPUTS)
    assert array.status is Status.NOT_LOADED
