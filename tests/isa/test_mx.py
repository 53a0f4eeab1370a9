"""MX quantization against onnx's reference evaluator, real arithmetic and the machine's recipe."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from potluck.isa.errors import DataError
from potluck.isa.formats.blocks import LAYOUTS, BlockLayout, layout
from potluck.isa.formats.elements import E8M0, FP32
from potluck.isa.formats.mx import SCALE_RULES, MxTensor, dequantize, quantize

EVERY = pytest.mark.parametrize("block", list(LAYOUTS.values()), ids=lambda b: b.name)
RULES = pytest.mark.parametrize("rule", SCALE_RULES)


def _blocks(n: int, size: int = 32) -> np.ndarray:
    """Blocks [n, size]: tame, wide, any FP32 bits, at the rules' boundaries, subnormal, sparse, corners."""
    rng = np.random.default_rng(np.random.Philox(11))
    x = rng.standard_normal((n, size))
    kind = rng.integers(0, 7, n)
    x *= np.exp2(rng.integers(-20, 20, n))[:, None]
    wide = kind == 1
    x[wide] = np.exp2(rng.uniform(-40, 0, (int(wide.sum()), size))) * rng.choice(
        [-1, 1], (int(wide.sum()), size)
    )
    x[kind == 2] *= np.exp2(rng.integers(-135, 100, int((kind == 2).sum())))[:, None]
    x[kind == 5] *= rng.random((int((kind == 5).sum()), size)) < 0.1
    with np.errstate(over="ignore", under="ignore"):
        y = x.astype(np.float32)
    y = np.where(np.isfinite(y), y, np.float32(1))
    exact = np.flatnonzero(kind == 3)  # maxima on and around the boundaries of the scale rules
    top = rng.choice([1.0, 1.25, 1.5, 1.75, 1.875, 1.9375, 1.984375, 2.0], exact.size)
    top *= np.exp2(rng.integers(-140, 127, exact.size))
    top = np.nextafter(top.astype(np.float32), rng.choice([0, 1, np.inf], exact.size).astype(np.float32))
    y[exact] = (rng.uniform(-1, 1, (exact.size, size)) * top[:, None]).astype(np.float32)
    y[exact, rng.integers(0, size, exact.size)] = top
    bits = np.flatnonzero(kind == 4)
    y[bits] = FP32.decode(rng.integers(0, 0x7F800000, (bits.size, size), dtype=np.uint32))
    tiny = np.flatnonzero(kind == 6)
    limit = rng.choice([0x01800000, 0x7F4000, 0x7E8000], (tiny.size, 1))
    y[tiny] = FP32.decode((limit * rng.random((tiny.size, size)) ** 0.1).astype(np.uint32))
    corner = FP32.corner_cases
    finite = corner[(corner & 0x7F800000) != 0x7F800000]
    y[: finite.size, :] = FP32.decode(finite)[:, None]
    y[finite.size : finite.size + 2] = [[0.0], [-0.0]]
    return y


def _scales_by_real_arithmetic(x: np.ndarray, block: BlockLayout, rule: str) -> np.ndarray:
    """E8M0 codes of blocks [n, size] from double-precision logarithm-free real arithmetic."""
    element = block.element
    top = np.abs(x.astype(np.float64)).max(-1)
    fraction, exponent = np.frexp(top)  # top = fraction * 2^exponent, fraction in [0.5, 1)
    k = exponent - 1 - element.emax
    if rule == "rceil":
        k = exponent - 1 - element.emax - 1
        for _ in range(2):
            k += top > element.max_normal * np.exp2(k.astype(np.float64))
    if rule == "even":
        width = element.mantissa_bits + 1
        k += np.rint(fraction * 2.0**width) == 2.0**width  # rint ties to even
    return np.where(top == 0, 0, np.clip(k + 127, 0, 254)).astype(np.uint8)


@EVERY
@RULES
def test_scale_rules(block: BlockLayout, rule: str) -> None:
    x = _blocks(100_000)
    got = quantize(x, block, scale_rule=rule).scales[:, 0]
    want = _scales_by_real_arithmetic(x, block, rule)
    if block.name == "mxint8" and rule != "floor":  # the documented corner
        top = np.abs(x).max(-1).view(np.uint32)
        corner = (top > 0x7E0000) & (top <= 0x7F0000)
        if rule == "even":
            corner = (top >= 0x7F0000) & (top < 0x7F8000)
        assert corner.any() and (got[corner] == 1).all()
        got, want = got[~corner], want[~corner]
    assert np.array_equal(got, want)
    if rule == "rceil":  # nothing saturates
        top, scale = np.abs(x.astype(np.float64)).max(-1), np.exp2(want.astype(np.float64) - 127)
        assert block.name == "mxint8" or (top <= block.element.max_normal * scale).all()


@EVERY
@RULES
def test_codes_are_the_quotient_rounded_once(block: BlockLayout, rule: str) -> None:
    """The recipe multiplies in FP32; here the quotient is exact in double precision."""
    x = _blocks(40_000)
    got = quantize(x, block, scale_rule=rule)
    exact = x.astype(np.float64) * np.exp2(127.0 - got.scales)
    assert np.array_equal(got.codes, block.element.encode(exact))


@EVERY
def test_against_onnx_reference(block: BlockLayout) -> None:
    """A million values through QuantizeLinear and DequantizeLinear with E8M0 scales, blocks of 32."""
    x = _blocks(32_000)
    mx = quantize(x.reshape(-1, 640), block)
    q_type, opset = getattr(TensorProto, block.element.onnx), 28 if block.element.bits == 6 else 24
    common = {"axis": -1, "block_size": 32}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"], output_dtype=q_type, **common),
        # Without output_dtype the result would have the type of the scale.
        helper.make_node("DequantizeLinear", ["c", "t"], ["y"], output_dtype=TensorProto.FLOAT, **common),
    ]
    types = {
        "x": TensorProto.FLOAT,
        "s": TensorProto.FLOAT,
        "c": q_type,
        "t": TensorProto.FLOAT8E8M0,
        "q": q_type,
        "y": TensorProto.FLOAT,
    }
    infos = {name: helper.make_tensor_value_info(name, t, None) for name, t in types.items()}
    graph = helper.make_graph(nodes, "g", [infos[n] for n in "xsct"], [infos["q"], infos["y"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    # MXINT8's elements are multiples of 2^-6, those of ONNX integers: the difference goes into the scale.
    unit = np.float32(2.0**-6 if block.name == "mxint8" else 1)
    x = x.reshape(-1, 640)
    feeds = {"x": x, "s": E8M0.decode(mx.scales) * unit}
    feeds |= {"c": mx.codes.view(block.element.dtype), "t": mx.scales.view(E8M0.dtype)}
    with np.errstate(all="ignore"):
        q, y = ReferenceEvaluator(model).run(None, feeds)
    exact = np.repeat(mx.scales, 32, axis=-1) >= (
        6 if block.name == "mxint8" else 0
    )  # 2^-6 * 2^-127 underflows
    want = q.view(np.uint8)
    if block.name == "mxint8":
        want = np.where(want == 0x80, 0x81, want)
    assert np.array_equal(mx.codes[exact], want[exact])
    inside = np.isfinite(y)  # without 2^-6, onnx's product may already have overflowed
    assert inside.mean() > 0.98 and np.array_equal(dequantize(mx)[inside], (y * unit)[inside])


@EVERY
def test_dequantize_equals_real_product(block: BlockLayout) -> None:
    codes = np.tile(np.arange(1 << block.element.bits, dtype=np.uint8), 256).reshape(256, -1)
    mx = MxTensor(
        codes, np.arange(256, dtype=np.uint8)[:, None].repeat(-(-codes.shape[1] // 32), 1), block, 1
    )
    with np.errstate(all="ignore"):
        want = block.element.decode(codes).astype(np.float64) * np.exp2(np.arange(256.0) - 127)[:, None]
        want[255] = np.nan
        assert np.array_equal(mx.dequantize(), want.astype(np.float32), equal_nan=True)


@EVERY
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_nan_and_infinity_spoil_their_block_only(block: BlockLayout, bad: float) -> None:
    x = np.ones((1, 96), np.float32)
    x[0, 40] = bad
    mx = quantize(x, block)
    assert mx.scales[0, 1] == 0xFF and (mx.scales[0, [0, 2]] != 0xFF).all()
    assert (mx.codes[0, 32:64] == 0).all()
    back = dequantize(mx)
    assert np.isnan(back[0, 32:64]).all() and (back[0, :32] == 1).all() and (back[0, 64:] == 1).all()


@EVERY
@RULES
def test_zero_block_keeps_signs(block: BlockLayout, rule: str) -> None:
    x = np.zeros((1, 32), np.float32)
    x[0, ::2] = -0.0
    mx = quantize(x, block, scale_rule=rule)
    assert mx.scales.tolist() == [[0]]
    sign = 0 if block.name == "mxint8" else block.element.sign_mask
    assert (mx.codes[0, ::2] == sign).all() and (mx.codes[0, 1::2] == 0).all()


@pytest.mark.parametrize("size", [1, 4, 16, 32, 33])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_axes_block_sizes_and_ragged_ends(size: int, axis: int) -> None:
    x = np.random.default_rng(0).standard_normal((37, 5, 70)).astype(np.float32)
    block = layout("mxfp8", size)
    mx = quantize(x, block, axis=axis)
    length = x.shape[axis]
    assert mx.codes.shape == x.shape and mx.scales.shape[axis] == -(-length // size)
    rows, codes = np.moveaxis(x, axis, -1), np.moveaxis(mx.codes, axis, -1)
    scales = np.moveaxis(mx.scales, axis, -1)
    for j in range(-(-length // size)):
        part = slice(j * size, (j + 1) * size)
        one = quantize(rows[..., part], layout("mxfp8", 64))
        assert np.array_equal(one.codes, codes[..., part]) and np.array_equal(
            one.scales[..., 0], scales[..., j]
        )


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(DataError, match="ceil"):
        quantize(np.ones(4), layout("mxfp8"), scale_rule="ceil")
    with pytest.raises(DataError, match="axis 1"):
        quantize(np.ones(4), layout("mxfp8"), axis=1)
    with pytest.raises(DataError, match=r"\[3\]"):
        dequantize(MxTensor(np.zeros(64, np.uint8), np.zeros(3, np.uint8), layout("mxfp8"), 0))
