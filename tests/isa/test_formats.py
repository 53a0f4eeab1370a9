"""Element formats against ml_dtypes, gfloat and onnx: every code, and a million values per format."""

import gfloat
import gfloat.formats as gf
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from potluck.isa.errors import DataError
from potluck.isa.formats.elements import (
    BF16,
    E2M1,
    E2M3,
    E3M2,
    E4M3,
    E5M2,
    E8M0,
    FORMATS,
    FP16,
    FP32,
    INT8,
    ElementFormat,
)
from potluck.isa.formats.rounding import ROUNDINGS

SMALL = [BF16, FP16, E5M2, E4M3, E3M2, E2M3, E2M1, INT8, E8M0]
FLOATS = [BF16, FP16, E5M2, E4M3, E3M2, E2M3, E2M1]
GFLOAT = {
    "BF16": gf.format_info_bfloat16,
    "FP16": gf.format_info_binary16,
    "E5M2": gf.format_info_ocp_e5m2,
    "E4M3": gf.format_info_ocp_e4m3,
    "E3M2": gf.format_info_ocp_e3m2,
    "E2M3": gf.format_info_ocp_e2m3,
    "E2M1": gf.format_info_ocp_e2m1,
    "INT8": gf.format_info_ocp_int8,
    "E8M0": gf.format_info_ocp_e8m0,
}
GMODES = dict(
    zip(
        ROUNDINGS,
        [
            gfloat.RoundMode.TiesToEven,
            gfloat.RoundMode.TowardZero,
            gfloat.RoundMode.TowardNegative,
            gfloat.RoundMode.TowardPositive,
            gfloat.RoundMode.TiesToAway,
        ],
        strict=True,
    )
)


def _all_codes(fmt: ElementFormat) -> np.ndarray:
    return np.arange(1 << fmt.bits, dtype=fmt.code_dtype)


def _ml_codes(values: np.ndarray, fmt: ElementFormat) -> np.ndarray:
    with np.errstate(all="ignore"):
        return values.astype(fmt.dtype).view(fmt.code_dtype)


def _values(fmt: ElementFormat, dtype: type, n: int = 1_000_000) -> np.ndarray:
    """Random bit patterns, values around the format's range, every midpoint and its neighbours, specials."""
    rng = np.random.default_rng(np.random.Philox(7))
    with np.errstate(invalid="ignore"):  # signalling NaNs
        bits = rng.integers(0, 1 << 32, n // 2, dtype=np.uint32).view(np.float32).astype(dtype)
    span = np.log2([fmt.min_subnormal / 8, fmt.max_normal * 8])
    near = np.exp2(rng.uniform(*np.clip(span, -150, 127.9), n // 2)) * rng.choice([-1.0, 1.0], n // 2)
    grid = np.unique(fmt.decode(_all_codes(fmt) if fmt.bits <= 16 else fmt.corner_cases).astype(np.float64))
    grid = grid[np.isfinite(grid)]
    edge = fmt.max_normal * (1 + 2.0 ** -(fmt.mantissa_bits + 1))
    middle = np.concatenate([(grid[1:] + grid[:-1]) / 2, grid, [edge, -edge]]).astype(dtype)
    with np.errstate(all="ignore"):
        around = [np.nextafter(middle, dtype(np.inf)), middle, np.nextafter(middle, dtype(-np.inf))]
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, np.finfo(dtype).max, np.finfo(dtype).tiny], dtype)
    subnormal = np.array([2.0**-149, -(2.0**-149), 2.0**-127, 2.0**-128, 3 * 2.0**-128], dtype)
    return np.concatenate([bits, near.astype(dtype), *around, special, subnormal])


@pytest.mark.parametrize("fmt", SMALL, ids=str)
def test_decode_all_codes(fmt: ElementFormat) -> None:
    codes = _all_codes(fmt)
    with np.errstate(invalid="ignore"):
        ml = codes.view(fmt.dtype).astype(np.float64) * (2.0**-6 if fmt is INT8 else 1)
    got = fmt.decode(codes)
    assert got.dtype == np.float32
    assert np.array_equal(got, ml, equal_nan=True)
    assert np.array_equal(np.signbit(got), np.signbit(ml) & ~np.isnan(ml))
    assert np.array_equal(got, gfloat.decode_ndarray(GFLOAT[fmt.name], codes), equal_nan=True)


@pytest.mark.parametrize("fmt", SMALL, ids=str)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_encode_inverts_decode(fmt: ElementFormat, rounding: str) -> None:
    codes = _all_codes(fmt)
    values = fmt.decode(codes)
    back = fmt.encode(values, rounding, saturate=False)
    want = np.where(np.isnan(values), fmt.nan_code or 0, codes)
    if fmt is INT8:
        want[0x80] = 0x81  # -2 is never produced
    assert np.array_equal(back, want)


@pytest.mark.parametrize("fmt", FLOATS, ids=str)
def test_encode_against_ml_dtypes(fmt: ElementFormat) -> None:
    x = _values(fmt, np.float32)
    x = x[~np.isnan(x)]
    assert x.size >= 990_000
    ours = fmt.encode(x, saturate=False)
    theirs = _ml_codes(x, fmt)
    nan = np.isnan(fmt.decode(ours))  # ml_dtypes keeps the sign of a value that overflows to NaN
    assert np.array_equal(nan, np.isnan(theirs.view(fmt.dtype).astype(np.float32)))
    assert np.array_equal(ours[~nan], theirs[~nan])


@pytest.mark.parametrize("fmt", FLOATS, ids=str)
def test_doubles_round_once(fmt: ElementFormat) -> None:
    """Against gfloat: ml_dtypes goes through FP32 and rounds twice."""
    x = _values(fmt, np.float64, 200_000)
    x = x[~np.isnan(x)]
    with np.errstate(all="ignore"):
        want = gfloat.round_ndarray(GFLOAT[fmt.name], x, sat=True)
    assert np.array_equal(fmt.decode(fmt.encode(x)), want)


@pytest.mark.parametrize("fmt", [*FLOATS, INT8], ids=str)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_encode_modes_against_gfloat(fmt: ElementFormat, rounding: str) -> None:
    x = _values(fmt, np.float64, 50_000)
    x = x[~np.isnan(x)]
    x = x if x.size < 100_000 else x[:: x.size // 100_000]
    with np.errstate(all="ignore"):
        want = gfloat.round_ndarray(GFLOAT[fmt.name], x, GMODES[rounding], sat=True)
    got = fmt.decode(fmt.encode(x, rounding, saturate=True))
    want = np.maximum(want, -fmt.max_normal)  # gfloat's INT8 uses -2
    assert np.array_equal(got, want)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("fmt", [BF16, FP16, E5M2], ids=str)
def test_overflow_modes_against_gfloat(fmt: ElementFormat, rounding: str) -> None:
    x = fmt.max_normal * np.array([1, 1.001, 1.01, 1.07, 1.3, 2, 100, np.inf])
    x = np.concatenate([x, -x])
    with np.errstate(all="ignore"):
        want = gfloat.round_ndarray(GFLOAT[fmt.name], x, GMODES[rounding], sat=False)
    assert np.array_equal(fmt.decode(fmt.encode(x, rounding, saturate=False)), want)


def test_fp32_encode_against_numpy() -> None:
    rng = np.random.default_rng(5)
    x = rng.integers(0, 1 << 63, 1_000_000, dtype=np.int64).view(np.float64)
    x = np.concatenate([x, np.exp2(rng.uniform(-152, 129, 1_000_000)), [2.0**-150, 3 * 2.0**-150, np.inf]])
    x = x[~np.isnan(x)]
    with np.errstate(over="ignore", under="ignore"):
        want = np.concatenate([x, -x]).astype(np.float32).view(np.uint32)
    assert np.array_equal(FP32.encode(np.concatenate([x, -x]), saturate=False), want)


@pytest.mark.parametrize("fmt", [E5M2, E4M3, E3M2, E2M3, E2M1], ids=str)
def test_saturating_encode_against_onnx_cast(fmt: ElementFormat) -> None:
    to, opset = getattr(TensorProto, fmt.onnx), 28 if fmt.bits == 6 else 24
    saturate = {"saturate": 1} if fmt.bits == 8 else {}
    node = helper.make_node("Cast", ["x"], ["y"], to=to, **saturate)
    x_info = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [x_info], [helper.make_tensor_value_info("y", to, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    x = _values(fmt, np.float32)
    x = x[~np.isnan(x)]
    (want,) = ReferenceEvaluator(model).run(None, {"x": x})
    assert np.array_equal(fmt.encode(x), want.view(np.uint8))


def test_e8m0_encode() -> None:
    x = _values(E8M0, np.float32)
    with np.errstate(all="ignore"):
        ml = x.astype(E8M0.dtype).view(np.uint8)
    # FP32 subnormals above 2^-127: ml_dtypes rounds them all up, so compare with real arithmetic.
    low = (np.abs(x) > 2.0**-127) & (np.abs(x) < 2.0**-126)
    rest = ~low & (x != 0)
    assert np.array_equal(E8M0.encode(x, saturate=False)[rest], ml[rest])
    assert E8M0.encode([0.0, -0.0]).tolist() == [0, 0]  # as onnx; ml_dtypes gives NaN
    small = x[low & (x > 0)]
    assert small.size > 100 and np.array_equal(E8M0.encode(small), small >= 1.5 * 2.0**-127)
    # onnx ignores signs; on values that E8M0 has a place for, its modes are ours.
    x = x[(x > 0) & (x >= 2.0**-127) & np.isfinite(x)]
    for rounding, mode in (("rne", "nearest"), ("rup", "up"), ("rdn", "down"), ("rtz", "down")):
        want = onnx.numpy_helper.to_float8e8m0(x, True, mode).view(np.uint8)
        # onnx's bit test takes the subnormal 2^-127 for an inexact zero in mode "up" and for 0 in the others.
        normal = x >= 2.0**-126
        assert np.array_equal(E8M0.encode(x, rounding)[normal], want[normal]), mode


def test_int8_against_onnx_quantize() -> None:
    node = helper.make_node("QuantizeLinear", ["x", "s"], ["q"], output_dtype=TensorProto.INT8)
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("x", "s")]
    out = helper.make_tensor_value_info("q", TensorProto.INT8, None)
    graph = helper.make_graph([node], "g", infos, [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)])
    x = _values(INT8, np.float32)
    x = x[np.abs(x) < 2.0**20]
    (want,) = ReferenceEvaluator(model).run(None, {"x": x, "s": np.float32(2.0**-6)})
    assert np.array_equal(INT8.encode(x).view(np.int8), np.maximum(want, -127))


@pytest.mark.parametrize("fmt", list(FORMATS.values()), ids=str)
def test_nan_policy(fmt: ElementFormat) -> None:
    want = {"E3M2": 0x1F, "E2M3": 0x1F, "E2M1": 0x7, "INT8": 0x7F, "E4M3": 0x7F, "E5M2": 0x7E, "E8M0": 0xFF}
    want |= {"BF16": 0x7FC0, "FP16": 0x7E00, "FP32": 0x7FC00000}
    x = np.array([0x7FC00000, 0xFFC00000, 0x7F800001], np.uint32).view(np.float32)
    for saturate in (False, True):
        assert fmt.encode(x, saturate=saturate).tolist() == [want[fmt.name]] * 3


@pytest.mark.parametrize("fmt", list(FORMATS.values()), ids=str)
def test_corner_cases_belong_to_the_format(fmt: ElementFormat) -> None:
    codes = fmt.corner_cases
    assert codes.dtype == fmt.code_dtype and len(set(codes.tolist())) == codes.size
    values = fmt.decode(codes)
    assert {fmt.max_normal, fmt.min_normal, fmt.min_subnormal, 1.0} <= set(values.tolist())
    assert np.isinf(values).any() == fmt.has_inf
    assert np.isnan(values).any() == (fmt.nan != "none")


def test_facts_table() -> None:
    """The table of OCP MX v1.0: smallest and largest values."""
    rows = {
        E5M2: (57344.0, 2.0**-14, 2.0**-16),
        E4M3: (448.0, 2.0**-6, 2.0**-9),
        E3M2: (28.0, 2.0**-2, 2.0**-4),
        E2M3: (7.5, 1.0, 2.0**-3),
        E2M1: (6.0, 1.0, 0.5),
    }
    for fmt, row in rows.items():
        assert (fmt.max_normal, fmt.min_normal, fmt.min_subnormal) == row


def test_scalars_shapes_and_errors() -> None:
    assert E4M3.encode(1.0).shape == () and E4M3.encode(np.zeros((2, 0, 3))).shape == (2, 0, 3)
    assert E4M3.encode(np.ones((4, 3)).T).shape == (3, 4)
    with pytest.raises(DataError, match="E2M1"):
        E2M1.decode(np.array([16]))
    with pytest.raises(DataError, match="up"):
        E2M1.encode(1.0, "up")
