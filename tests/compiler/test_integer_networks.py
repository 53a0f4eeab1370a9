"""Integer and PoT networks: schedule, simulator and onnx's evaluator agree to the bit, onnxruntime in the codes."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from integer_chain import FOREIGN, agree, chain, qdq_network, samples
from networks import network, residual
from onnx.reference import ReferenceEvaluator
from running import by_reference, by_schedule, by_simulator, feeds, same_bits

from potluck.compiler.build import build, prepare
from potluck.compiler.graph.integer_nodes import dequantized
from potluck.compiler.quantize import quantize_model
from potluck.compiler.quantizers import pot
from potluck.compiler.quantizers.integers import IntegerFormat, quantize
from potluck.isa.errors import DataError, ModelError
from potluck.isa.formats.requantize import REQUANTIZATIONS
from potluck.isa.machine import load_machine
from potluck.isa.pot.codes import POT_FORMATS

SPATZ, GENERIC = load_machine("spatz-mx"), load_machine("rvv-generic")


@pytest.mark.parametrize("law", REQUANTIZATIONS)
@pytest.mark.parametrize("scheme", ["int8", "int4", "pot_qkeras"])
def test_convolutions_dense_and_depthwise_stay_in_codes(scheme, law):
    model = prepare(chain(), scheme, calibration=samples((2, 3, 9, 10)), requantization=law)
    schedule = agree(model, SPATZ)
    assert [op.op for op in schedule.ops] == ["QuantizeLinear", "Conv", "Conv", "Conv", "Conv"]
    stored = [operand.format for op in schedule.ops for operand in op.operands if operand.role == "output"]
    assert stored == ["INT8"] * 4 + ["FP32"]


@pytest.mark.parametrize("scheme", ["int8", "int4", *POT_FORMATS])
def test_residual_networks_keep_sums_in_codes(scheme):
    model = prepare(residual(size=12), scheme, calibration=samples((1, 3, 12, 12)))
    schedule = agree(model, SPATZ, outputs=False)  # the mean over 36 pixels rounds
    assert [op.op for op in schedule.ops].count("Add") == 1
    assert {op.format for op in schedule.ops if op.op == "Add"} == {"int8"}


@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_machines_without_l1_run_the_same_bits(scheme):
    model = prepare(chain(), scheme, calibration=samples((2, 3, 9, 10)))
    wide, flat = agree(model, SPATZ), agree(model, GENERIC)
    given = feeds(wide)
    assert same_bits(by_schedule(wide, given), by_schedule(flat, given))


def test_products_of_tensors_and_rows():
    body = """g (float[2, 7, 40] x) => (float[2, 7, 12] y) {
      a = MatMul (x, w0)
      b = Relu (a)
      y = MatMul (b, w1)
    }"""
    model = prepare(network(body, 2, w0=(40, 33), w1=(33, 12)), "int8", calibration=samples((2, 7, 40)))
    agree(model, SPATZ)
    gemm = """g (float[1, 300] x) => (float[1, 50] y) {
      y = Gemm <alpha = 0.5, beta = 2.0, transB = 1> (x, w, b)
    }"""
    agree(prepare(network(gemm, 3, w=(50, 300), b=(50,)), "int8", calibration=samples((1, 300))), SPATZ)


@pytest.mark.parametrize(("x_type", "w_type", "w_zero"), FOREIGN)
def test_foreign_qdq_networks_run_as_integers(x_type, w_type, w_zero):
    proto = qdq_network(x_type, w_type, w_zero)
    model = prepare(proto)
    assert [node.op_type for node in model.graph] == ["QuantizeLinear", "IntegerConvOrt", "DequantizeLinear"]
    schedule = agree(model, SPATZ)
    # The reals that QDQ states, rounded once more at the end: at most one step away, and seldom.
    given = feeds(schedule)
    (stated,) = ReferenceEvaluator(proto).run(None, given)
    step = np.rint((by_schedule(schedule, given)[0] - stated) / np.float32(0.05))
    assert np.abs(step).max() <= 1 and np.mean(step != 0) < 0.02


def test_codes_are_those_of_onnxruntimes_integer_kernels():
    """onnxruntime fuses the saved QDQ graph to QLinearConv; its codes and ours are equal."""
    made = quantize_model(chain(), "int8", calibration=samples((2, 3, 9, 10)))
    proto = ir.to_proto(made)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    schedule = build(prepare(made), SPATZ)
    given = feeds(schedule)
    (theirs,), (ours,) = session.run(None, given), by_schedule(schedule, given)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scheme", ["int8", "int4", "pot_apot", "int4_weights"])
def test_saved_networks_compile_to_the_same_bits(scheme, tmp_path):
    made = quantize_model(chain(), scheme, calibration=samples((2, 3, 9, 10)), requantization="tflite_single")
    made.save(tmp_path / "q.onnx")
    onnx.checker.check_model(str(tmp_path / "q.onnx"), full_check=True)
    loaded, direct = prepare(tmp_path / "q.onnx"), prepare(made)
    first, second = build(loaded, SPATZ), build(direct, SPATZ)
    given = feeds(first)
    assert same_bits(by_schedule(first, given), by_schedule(second, given))
    if scheme != "int4_weights":
        assert {node.op_type for node in loaded.graph} >= {"IntegerConvSingle", "IntegerConvFloat"}


def test_weights_alone_are_dequantized():
    model = prepare(chain(), "int4_weights")
    stored = {node.inputs[0].dtype.name for node in model.graph if node.op_type == "DequantizeLinear"}
    assert stored == {"INT4", "INT8"}  # INT8: few products a channel, and depthwise
    schedule = build(model, SPATZ)
    given = feeds(schedule)
    got = by_schedule(schedule, given)
    assert same_bits(by_simulator(schedule, given), got)
    np.testing.assert_allclose(got[0], by_reference(schedule, given)[0], rtol=1e-4, atol=1e-5)


def test_excluded_layers_stay_in_fp32():
    given = samples((2, 3, 9, 10))
    model = prepare(chain(), "int8", calibration=given, exclude=["w2"])
    kinds = [node.op_type for node in model.graph]
    assert kinds.count("Conv") == 1 and "IntegerConvFloat" in kinds
    build(model, SPATZ)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "has no samples"),
        ({"z": np.zeros((1, 3, 9, 10))}, "x.*no calibration samples|no calibration samples.*x"),
        ({"x": np.zeros((4, 3, 9, 9))}, r"\[4, 3, 9, 9\]"),
        ({"x": np.full((2, 3, 9, 10), np.nan)}, "NaN"),
    ],
)
def test_calibration_errors_name_the_tensor(given, words):
    with pytest.raises(DataError, match=words):
        prepare(chain(), "int8", calibration=given)


def test_unknown_laws_and_names_are_errors():
    with pytest.raises(ModelError, match="tflite_tripel"):
        prepare(chain(), "int8", calibration=samples((2, 3, 9, 10)), requantization="tflite_tripel")
    with pytest.raises(ModelError, match="w9"):
        prepare(chain(), "int8", calibration=samples((2, 3, 9, 10)), exclude=["w9"])


@pytest.mark.parametrize("scheme", ["int4", "pot_qkeras", "pot_msq"])
def test_four_bit_weights_lie_in_memory_as_codes(scheme):
    schedule = agree(prepare(chain(), scheme, calibration=samples((2, 3, 9, 10))), SPATZ)
    packed = [o for op in schedule.ops for o in op.operands if o.layout.endswith("HWIO halves")]
    assert {operand.format for operand in packed} == {scheme.upper()}
    # w2: 9 taps, 24 channels, 17 outputs filled up to 20, behind a table of 16 levels. w3: 17 channels, 20 outputs.
    sizes = [sum(o.bytes for o in packed if o.tensor.startswith(name)) for name in ("w2", "w3")]
    assert sizes[0] >= 32 + 9 * 24 * 20 // 2 and sizes[1] >= 32 + 17 * 20 // 2
    assert sum(sizes) < 9 * 24 * 17  # less than a byte each


def stored_pot(kind, seed=0):
    """A QDQ network whose second convolution holds PoT levels as a converter stores them."""
    rng = np.random.default_rng(seed)
    given = samples((2, 3, 9, 10))
    model = quantize_model(chain(), "int8", calibration=given)
    proto = ir.to_proto(model)
    levels = rng.choice(kind.levels, (17, 24, 3, 3)).astype(np.float64)
    levels[:, 0, 0, 0] = kind.top
    (tensor,) = [t for t in proto.graph.initializer if t.name == "w2_codes"]
    tensor.CopyFrom(
        onnx.numpy_helper.from_array(np.rint(127 * levels / kind.top).astype(np.int8), "w2_codes")
    )
    return proto, levels


@pytest.mark.parametrize("name", ["pot_qkeras", "pot_apot", "pot_msq"])
def test_pot_weights_are_recovered_from_int8_networks(name):
    proto, levels = stored_pot(POT_FORMATS[name])
    made = quantize_model(proto, "pot_recover")
    (node,) = [node for node in made.graph if node.op_type == "PotDequantize"]
    codes, table = (np.asarray(value.const_value.numpy()) for value in node.inputs[:2])
    np.testing.assert_array_equal(table[codes.astype(int)], levels)
    agree(prepare(made), SPATZ)
    with pytest.raises(ModelError, match="none of its INT8 weights"):
        quantize_model(quantize_model(chain(), "int8", calibration=samples((2, 3, 9, 10))), "pot_recover")


@pytest.mark.parametrize("scheme", ["pot_qkeras", "pot_apot", "int4", "int4_weights"])
def test_weights_in_onnx_are_the_quantizers_values(scheme):
    """What onnx's evaluator makes of the written weights, against the quantizers in NumPy."""
    made = quantize_model(chain(), scheme, calibration=samples((2, 3, 9, 10)))
    proto = ir.to_proto(made)
    (source,) = [t for t in chain().graph.initializer if t.name == "w2"]
    weights = onnx.numpy_helper.to_array(source)
    if scheme in POT_FORMATS:
        wanted = pot.quantize(weights, POT_FORMATS[scheme]).dequantize()
    else:
        kind = IntegerFormat(4, axis=0) if scheme == "int4" else IntegerFormat(4, axis=1, group=32)
        # 24 channels are fewer than a group: one scale per output channel then
        wanted = quantize(weights, kind if weights.shape[1] >= 32 else IntegerFormat(4, axis=0)).dequantize()
    (name,) = [n.output[0] for n in proto.graph.node if n.output and n.output[0].startswith("w2")]
    proto.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, weights.shape))
    given = {"x": samples((2, 3, 9, 10))["x"][:2]}
    got = ReferenceEvaluator(proto).run([name], given)[0]
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("law", REQUANTIZATIONS)
def test_grouped_weights_are_integer_products(law):
    """W4A8 in groups of 32: codes and multiples in DRAM, INT8 levels in L1, the sums of whole channels."""
    given = samples((1, 3, 12, 12))
    model = prepare(residual(channels=32, size=12), "int4_groups", calibration=given, requantization=law)
    schedule = agree(model, SPATZ, outputs=False)
    products = [op for op in schedule.ops if op.op in ("Conv", "Gemm")]
    assert {op.format for op in products} == {"int8"}
    parts = [o for op in products for o in op.operands if o.role == "weights" and o.format == "INT4"]
    assert len(parts) == 4  # the first layer contracts too little and stays INT8
    for op in products[1:]:
        (part,) = (o for o in op.operands if o.role == "weights" and o.format == "INT4")
        assert (
            part.bytes <= 0.6 * {"w1": 18432, "w2": 36864, "w3": 2048, "w4": 1024}[part.tensor.split("_")[0]]
        )
    agree(prepare(residual(channels=32, size=12), "int4_groups", calibration=given), GENERIC, outputs=False)


def test_grouped_products_of_rows_keep_their_bits():
    body = "g (float[1, 6, 70] x) => (float[1, 6, 45] y) { y = MatMul (x, w0) }"
    source = network(body, 2, w0=(70, 45))
    made = quantize_model(source, "int4_groups", calibration=samples((1, 6, 70)))
    agree(prepare(source, "int4_groups", calibration=samples((1, 6, 70))), SPATZ)
    (stated,) = ReferenceEvaluator(ir.to_proto(made)).run(None, feeds(build(prepare(made), SPATZ)))
    (ours,) = by_schedule(build(prepare(made), SPATZ), feeds(build(prepare(made), SPATZ)))
    np.testing.assert_allclose(ours, stated, rtol=1e-5, atol=1e-5)


def test_groups_beat_channels():
    """Finer scales leave less noise where inputs' weights differ in size."""
    source = network("g (float[1, 6, 96] x) => (float[1, 6, 40] y) { y = MatMul (x, w0) }", 2, w0=(96, 40))
    weights = onnx.numpy_helper.to_array(source.graph.initializer[0]).copy()
    weights[:32] *= 5
    source.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "w0"))

    def error(scheme):
        made = quantize_model(source, scheme, calibration=samples((1, 6, 96)))
        node = next(node for node in made.graph if node.name == "w0_dequantize")
        return np.square(dequantized(node.outputs[0]) - weights).sum()

    assert error("int4_groups") < 0.5 * error("int4")


def test_foreign_groups_run_in_fp32_unless_their_scales_are_multiples():
    source = network("g (float[1, 6, 64] x) => (float[1, 6, 12] y) { y = MatMul (x, w0) }", 2, w0=(64, 12))
    made = quantize_model(source, "int4_groups", calibration=samples((1, 6, 64)))
    scales = next(value for name, value in made.graph.initializers.items() if name == "w0_scales")
    shifted = scales.const_value.numpy() * np.float32([[1.0], [1.0371]])
    scales.const_value = ir.tensor(shifted, name=scales.name)
    model = prepare(made)
    assert not any(node.op_type.startswith("IntegerMatMul") for node in model.graph)
    agree(model, SPATZ, outputs=False)
