"""Networks on the host: the mixture of engines gives what onnx's evaluator alone gives, and counts what is stored."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from networks import residual
from onnx.reference import ReferenceEvaluator
from test_integer_networks import chain, samples

from potluck.compiler.footprint import footprints
from potluck.compiler.host import HostNetwork
from potluck.compiler.quantize import quantize_model
from potluck.compiler.schemes import schemes
from potluck.isa.errors import ModelError

SHAPE = (1, 3, 12, 12)


@pytest.mark.parametrize(
    "scheme", [name for name in schemes() if name not in ("none", "pot_recover") and "bbq" not in name]
)
def test_equals_the_reference_evaluator(scheme):
    model = quantize_model(residual(size=12, channels=32), scheme, calibration=samples(SHAPE))
    x = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    host = HostNetwork(model)
    expected = ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x})[0]
    # Sums of a convolution come in another order, which a quantizer behind it may turn into a step.
    assert np.abs(host.run({"x": x})["y"] - expected).max() <= 0.03 * np.abs(expected).max()


def test_q_dq_means_what_the_graph_says():
    """onnxruntime's own kernel for this sum turns -48.500004 into -48: the scales are EfficientNet-Lite0's."""
    scales, zeros = np.float32([0.43796584, 0.4742641, 0.51996166]), np.int8([-1, -4, 14])
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 20]>
    g (int8[256, 256] a, int8[256, 256] b) => (int8[256, 256] y) {
      x = DequantizeLinear (a, s0, z0)
      z = DequantizeLinear (b, s1, z1)
      sum = Add (x, z)
      y = QuantizeLinear (sum, s2, z2)
    }""")
    for index, (scale, zero) in enumerate(zip(scales, zeros, strict=True)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(scale, f"s{index}"))
        model.graph.initializer.append(onnx.numpy_helper.from_array(zero, f"z{index}"))
    every = np.arange(-128, 128, dtype=np.int8)
    a, b = np.meshgrid(every, every)
    host = HostNetwork(ir.from_proto(model))
    assert host.engines == "onnxruntime"
    (wanted,) = ReferenceEvaluator(model).run(None, {"a": a, "b": b})
    assert np.array_equal(host.run({"a": a, "b": b})["y"], wanted)


def test_values_inside_and_engines():
    model = quantize_model(residual(size=12, channels=32), "mxfp4", exclude=["w1"])
    inside = next(node.outputs[0].name for node in model.graph if node.op_type == "MxQuantizeDequantize")
    host = HostNetwork(model, [inside])
    x = {"x": np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)}
    found = host.run(x)
    assert found.keys() == {"y", inside}
    assert host.engines == "onnxruntime and onnx's reference evaluator"
    assert HostNetwork(quantize_model(residual(), "fp32")).engines == "onnxruntime"
    with pytest.raises(ModelError, match="nobody"):
        HostNetwork(model, ["nobody"])


def test_bytes_count_scales_and_padding():
    model = quantize_model(residual(size=12, channels=48), "mxfp4")
    found = {item.node: item for item in footprints(model, HostNetwork(model).constants)}
    second = found["Conv_2"]  # [96, 48, 3, 3]: a row of 48 in two blocks of 32 and a scale byte each
    assert second.elements == 96 * 48 * 9
    assert second.bytes == 96 * 9 * 2 * (16 + 1)
    assert second.effective_bits == pytest.approx(8 * 34 / 48)
    assert (second.bits, second.activation_bits) == (4, 4)
    assert second.macs == 36 * second.elements
    assert second.bops == 16 * second.macs
    first = found["Conv_0"]  # too few channels: BF16
    assert (first.bits, first.bytes, first.scale_bytes) == (16, 2 * first.elements, 0)


def test_integers_count_a_scale_per_channel_and_groups():
    expected = {"int8": 8, "int6": 6, "int4": 4, "int2": 2, "pot_apot": 4}
    for scheme, bits in expected.items():
        model = quantize_model(chain(), scheme, calibration=samples((2, 3, 9, 10)), min_channels=0)
        for item in footprints(model, HostNetwork(model).constants):
            channels = {"Conv_0": 24, "Conv_2": 24, "Conv_6": 17, "Conv_7": 20}
            assert item.bits == bits
            assert item.code_bytes == -(-item.elements * bits // 8)
            assert item.scale_bytes == 4 * channels.get(item.node, item.scale_bytes // 4)
    model = quantize_model(residual(size=12, channels=48), "int4_weights")
    second = {item.node: item for item in footprints(model, HostNetwork(model).constants)}["Conv_2"]
    assert second.bytes == 96 * 9 * 2 * (16 + 4)
    assert second.activation_bits == 32


def test_grids_hold_the_dequantized_weights():
    for scheme in ("int8", "int6", "int4", "mxfp4", "mxfp8", "pot_apot", "int4_weights"):
        model = quantize_model(residual(size=12, channels=32), scheme, calibration=samples(SHAPE))
        constants = HostNetwork(model).constants
        for item in footprints(model, constants):
            if item.bits >= 16:
                assert item.grid is None
                continue
            levels = constants[item.values] / item.grid.scale
            near = np.abs(levels[..., None] - item.grid.levels).min(-1)
            assert near.max() <= 1e-5 * np.abs(item.grid.levels).max()
