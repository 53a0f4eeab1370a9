import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from networks import network, residual
from onnx.reference import ReferenceEvaluator
from running import by_schedule, same_bits

from potluck.compiler.build import build, prepare
from potluck.compiler.graph.mx_nodes import quantized
from potluck.compiler.graph.nodes import constant
from potluck.compiler.lowering.packing import pack_mx
from potluck.compiler.quantize import quantize_model
from potluck.compiler.schemes import calibrated, schemes
from potluck.isa.errors import ModelError
from potluck.isa.formats import blocks, mx
from potluck.isa.machine import load_machine
from potluck.kernels.conv.mx import pack_weights

SCHEMES = ["mxfp8", "mxfp8_e5m2", "mxfp4"]


def run(model, x):
    return ReferenceEvaluator(model).run(None, {"x": x})[0]


@pytest.mark.parametrize("scheme", [*SCHEMES, "mxfp6", "mxfp6_e3m2", "mxint8"])
@pytest.mark.parametrize("rule", ["floor", "even", "rceil"])
@pytest.mark.parametrize(("channels", "block"), [(16, 32), (33, 32), (100, 16), (200, 64)])
def test_the_function_quantizes_as_the_machine_does(scheme, rule, channels, block):
    """Bit for bit `potluck.isa.formats.mx`, on values that reach every exponent, NaN, infinities and zeros."""
    source = network(
        f"""g (float[2, {channels}, 3, 2] x) => (float[2, 4, 3, 2] y) {{
          y = Conv <kernel_shape = [1, 1]> (x, w)
        }}""",
        w=(4, channels, 1, 1),
    )
    model = quantize_model(source, scheme, scale_rule=rule, block_size=block)
    node = next(node for node in model.graph if node.op_type.endswith("QuantizeDequantize"))
    proto = ir.to_proto(model)
    proto.graph.output.append(
        onnx.helper.make_tensor_value_info(node.outputs[0].name, onnx.TensorProto.FLOAT, [2, channels, 3, 2])
    )
    rng = np.random.default_rng(channels)
    x = (rng.standard_normal((2, channels, 3, 2)) * np.exp(rng.uniform(-60, 60, (2, channels, 3, 2)))).astype(
        np.float32
    )
    x[0, 3, 0, 0], x[1, 5, 0, 0], x[0, :, 1, 1] = np.inf, np.nan, 0
    x[1, :, 0, 1], x[1, ::2, 0, 1] = 0.0, -0.0
    x[1, :, 1, 1] *= np.float32(1e-38) / np.abs(x[1, :, 1, 1]).max()
    x[1, :, 2, 1] *= np.float32(3e38) / np.abs(x[1, :, 2, 1]).max()
    x[0, :, 2, 0] = np.clip(
        x[0, :, 2, 0], -1.984375, 1.984375
    )  # maxima at and around the limits of the rules
    for column, top in enumerate(np.float32([1.5, 1.75, 1.875])):
        x[0, :, column, 1] = rng.uniform(-1, 1, channels).astype(np.float32)
        x[0, 1, column, 1] = np.nextafter(top, np.float32(column))
    with np.errstate(all="ignore"):
        got = ReferenceEvaluator(proto).run([node.outputs[0].name], {"x": x})[0]
    expected = mx.quantize(x, quantized(node), axis=1, scale_rule=rule).dequantize()
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_saved_model_is_standard_onnx(scheme, tmp_path):
    """Checker, save and load, and the reference evaluator against NumPy on dequantized tensors."""
    model = quantize_model(residual(), scheme)
    path = tmp_path / "q.onnx"
    model.save(path)
    assert list(tmp_path.iterdir()) == [path]
    onnx.checker.check_model(str(path), full_check=True)
    x = np.random.default_rng(3).standard_normal((1, 3, 8, 8)).astype(np.float32)
    again = ReferenceEvaluator(str(path))
    got = again.run(None, {"x": x})[0]
    assert np.array_equal(got, run(ir.to_proto(model), x))

    layout = blocks.layout(scheme)

    def fake(array, axis=1):
        return mx.quantize(array, layout, axis=axis).dequantize()

    source = residual()
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in source.graph.initializer}
    for name in ("w1", "w2", "w3", "w4"):
        weights[name] = fake(weights[name])
    weights["w0"] = weights["w0"].astype(ml_dtypes.bfloat16).astype(np.float32)  # spared: three channels

    def conv(data, w, b, stride, pad):
        attributes = f"kernel_shape = [{w.shape[2]}, {w.shape[3]}], pads = [{pad}, {pad}, {pad}, {pad}]"
        text = f"""<ir_version: 10, opset_import: ["" : 20]>
        g (float[N, C, H, W] x, float[O, C, K, L] w, float[O] b) => (float[N, O, P, Q] y) {{
          y = Conv <{attributes}, strides = [{stride}, {stride}]> (x, w, b)
        }}"""
        return ReferenceEvaluator(onnx.parser.parse_model(text)).run(None, {"x": data, "w": w, "b": b})[0]

    def relu(array):
        return np.maximum(array, np.float32(0))

    b = fake(relu(conv(x, weights["w0"], weights["b0"], 1, 1)))
    e = fake(relu(conv(b, weights["w1"], weights["b1"], 2, 1)))
    f = conv(e, weights["w2"], weights["b2"], 1, 1)
    u = relu(f + conv(b, weights["w3"], weights["b3"], 2, 0))
    q = fake(u.mean(axis=(2, 3)))
    y = q @ weights["w4"].T + weights["b4"]
    np.testing.assert_allclose(got, y, rtol=1e-3, atol=1e-3)  # rounding moves a value across a code's edge


def test_quantization_changes_little():
    x = np.random.default_rng(3).standard_normal((1, 3, 8, 8)).astype(np.float32)
    exact = run(residual(), x)
    errors = [np.abs(run(ir.to_proto(quantize_model(residual(), s)), x) - exact).max() for s in SCHEMES]
    assert 0 < errors[0] < errors[1] < errors[2] < np.abs(exact).max()


def test_what_is_spared():
    def quantized(model, dtype=ir.DataType.FLOAT8E4M3FN):
        return [v.name for v in model.graph.initializers.values() if v.dtype == dtype]

    assert quantized(quantize_model(residual(), "mxfp8")) == ["w1_codes", "w2_codes", "w3_codes", "w4_codes"]
    assert quantized(quantize_model(residual(), "mxfp8"), ir.DataType.BFLOAT16) == ["w0_bf16"]
    assert quantized(quantize_model(residual(), "mxfp8", spared="fp32"), ir.DataType.BFLOAT16) == []
    assert quantized(quantize_model(residual(), "mxfp8", exclude=["w0"]), ir.DataType.BFLOAT16) == []
    with pytest.raises(ModelError, match="bf16 or fp32"):
        quantize_model(residual(), "mxfp8", spared="int8")
    assert quantized(quantize_model(residual(), "fp32")) == []
    chosen = quantize_model(
        residual(), "mxfp8", exclude=["w2", quantize_model(residual(), "fp32").graph[0].name]
    )
    assert quantized(chosen) == ["w1_codes", "w3_codes", "w4_codes"]
    assert quantized(quantize_model(residual(), "mxfp8", min_channels=1))[0] == "w0_codes"
    with pytest.raises(ModelError, match="nothere"):
        quantize_model(residual(), "mxfp8", exclude=["nothere"])
    with pytest.raises(ModelError, match="mxfp9"):
        quantize_model(residual(), "mxfp9")


def test_one_quantized_activation_serves_every_reader():
    model = quantize_model(residual(), "mxfp8")
    assert [n.op_type for n in model.graph].count("MxQuantizeDequantize") == 4 - 1  # b feeds w1 and w3


@pytest.mark.parametrize("scheme", SCHEMES)
def test_weights_are_the_machines_codes(scheme, tmp_path):
    model = quantize_model(residual(), scheme)
    ir.save(model, tmp_path / "q.onnx")
    loaded = ir.load(tmp_path / "q.onnx")
    weight = constant(ir.from_proto(residual()).graph.initializers["w2"])
    expected = mx.quantize(weight, blocks.layout(scheme), axis=1)
    codes = loaded.graph.initializers["w2_codes"].const_value.numpy().view(np.uint8)
    scales = loaded.graph.initializers["w2_scales"].const_value.numpy().view(np.uint8)
    np.testing.assert_array_equal(codes, expected.codes)
    np.testing.assert_array_equal(scales, expected.scales)
    assert expected.scales.shape == (32, 1, 3, 3)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("shape", [(24, 16, 3, 3), (10, 33, 1, 1), (7, 100, 1, 2)])
def test_packed_codes_are_what_the_kernel_packs_from_values(scheme, shape):
    weights = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    layout = blocks.layout(scheme)
    for ours, theirs in zip(
        pack_mx(mx.quantize(weights, layout, axis=1)), pack_weights(weights, layout), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.filterwarnings("ignore::potluck.compiler.quantizers.bbq_inference.BbqCeilingWarning")
@pytest.mark.parametrize(
    "scheme", [name for name in schemes() if name not in ("none", "fp32", "pot_recover")]
)
def test_a_weight_of_two_products_can_be_written_and_read(scheme, tmp_path):
    """As in recurrent layers: both products are quantized, and no two values have one name."""
    source = network(
        """g (float[1, 32] x) => (float[1, 32] y) {
          h = MatMul (x, w)
          t = Tanh (h)
          y = MatMul (t, w)
        }""",
        w=(32, 32),
    )
    samples = np.random.default_rng(2).standard_normal((8, 32)).astype(np.float32)
    model = quantize_model(source, scheme, calibration={"x": samples} if calibrated(scheme) else None)
    path = tmp_path / "q.onnx"
    model.save(path)
    onnx.checker.check_model(path)
    machine = load_machine("spatz-mx")
    written, held = (build(prepare(item), machine) for item in (path, model))
    assert same_bits(by_schedule(written, {"x": samples[:1]}), by_schedule(held, {"x": samples[:1]}))
