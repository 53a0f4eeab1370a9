"""Weights in BF16 and FP16 of FP32 activations: half the bytes in DRAM, the values of the Cast that ONNX has."""

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from networks import conv_bn, network, residual
from onnx.reference import ReferenceEvaluator
from running import by_schedule, by_simulator, feeds, same_bits
from test_integer_weights import weight_bytes

from potluck.compiler.build import build, prepare
from potluck.compiler.footprint import footprints
from potluck.compiler.host import HostNetwork
from potluck.compiler.quantize import quantize_model
from potluck.isa.errors import DataError, ModelError
from potluck.isa.machine import load_machine

SPATZ, GENERIC = load_machine("spatz-mx"), load_machine("rvv-generic")
DTYPES = {"bf16": ml_dtypes.bfloat16, "fp16": np.float16}
FORMATS = ["bf16", "fp16"]


def rounded(model, element, names, alpha=1.0):
    """An ONNX model whose weights, times a power of two, are rounded by ml_dtypes beforehand, in FP32."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for tensor in made.graph.initializer:
        if tensor.name in names:
            array = onnx.numpy_helper.to_array(tensor) * np.float32(alpha)
            array = array.astype(DTYPES[element]).astype(np.float32) / np.float32(alpha)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return made


@pytest.mark.parametrize("element", FORMATS)
def test_halves_in_dram_give_the_bits_of_values(element):
    """Against the same network with weights that were rounded outside and lie in DRAM as FP32."""
    source = residual(channels=32, size=8)
    halves = build(prepare(source, f"{element}_weights"), SPATZ)
    values = build(prepare(rounded(source, element, {"w0", "w1", "w2", "w3", "w4"})), SPATZ)
    given = feeds(halves)
    expected = by_schedule(values, given)
    assert same_bits(by_simulator(halves, given), expected)
    assert same_bits(by_schedule(halves, given), expected)
    assert np.ptp(expected[0]) > 0
    stored, held = weight_bytes(halves)
    assert element.upper() in held and stored <= 0.55 * weight_bytes(values)[0]
    flat = build(prepare(source, f"{element}_weights"), GENERIC)
    assert same_bits(by_simulator(flat, given), by_schedule(flat, given))


@pytest.mark.parametrize("element", FORMATS)
def test_products_of_rows_and_of_one_long_row(element):
    body = """g (float[1, 6, 70] x) => (float[1, 6, 12] y) {
      a = MatMul (x, w0)
      b = Relu (a)
      y = MatMul (b, w1)
    }"""
    gemm = "g (float[1, 900] x) => (float[1, 130] y) { y = Gemm <alpha = 0.5, transB = 1> (x, w, b) }"
    for source, alpha in (
        (network(body, 2, w0=(70, 45), w1=(45, 12)), 1.0),
        (network(gemm, 3, w=(130, 900), b=(130,)), 0.5),
    ):
        halves = build(prepare(source, f"{element}_weights"), SPATZ)
        values = build(prepare(rounded(source, element, {"w0", "w1", "w"}, alpha)), SPATZ)
        given = feeds(halves)
        assert same_bits(by_simulator(halves, given), by_schedule(values, given))
        assert weight_bytes(halves)[0] <= 0.6 * weight_bytes(values)[0]


def test_the_file_is_standard_onnx_and_comes_back(tmp_path):
    """The file says Cast of a BF16 constant; compiled from it, weights are still 16 bits wide."""
    model = quantize_model(residual(channels=16, size=8), "bf16_weights")
    path = tmp_path / "q.onnx"
    model.save(path)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    casts = [node for node in proto.graph.node if node.op_type == "Cast"]
    kinds = {t.name: t.data_type for t in proto.graph.initializer}
    assert len(casts) == 5
    assert all(kinds[node.input[0]] == onnx.TensorProto.BFLOAT16 for node in casts)
    again = build(prepare(path), SPATZ)
    assert weight_bytes(again)[1] == {"BF16", "FP32"}  # biases are FP32
    given = feeds(again)
    got = by_simulator(again, given)
    assert same_bits(got, by_simulator(build(prepare(model), SPATZ), given))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, given)
    np.testing.assert_allclose(got[0].reshape(want.shape), want, rtol=1e-4, atol=1e-5)
    assert np.allclose(ReferenceEvaluator(proto).run(None, given)[0], want, rtol=1e-4, atol=1e-5)


def test_casts_of_other_tools_are_folded_as_ever():
    """A network with BF16 constants and no mark has FP32 weights, so that every scheme may quantize them."""
    source = ir.from_proto(ir.to_proto(quantize_model(residual(channels=16, size=8), "bf16_weights")))
    for node in source.graph:
        node.metadata_props.clear()
    assert not any(node.op_type == "Cast" for node in prepare(source).graph)
    eight = prepare(source, "int8_weights")
    assert sum(node.op_type == "DequantizeLinear" for node in eight.graph) == 5


def test_batch_normalization_is_folded_before_rounding():
    model = prepare(conv_bn(), "bf16_weights", dims={"batch": 1})
    assert [node.op_type for node in model.graph] == ["Cast", "FusedConv"]


def test_depthwise_weights_are_rounded_values():
    body = """g (float[1, 24, 7, 7] x) => (float[1, 24, 7, 7] y) {
      y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 24> (x, w)
    }"""
    source = network(body, 2, w=(24, 1, 3, 3))
    halves, values = (
        build(prepare(source, "bf16_weights"), SPATZ),
        build(prepare(rounded(source, "bf16", {"w"})), SPATZ),
    )
    given = feeds(halves)
    assert same_bits(by_simulator(halves, given), by_schedule(values, given))


def test_what_else_reads_the_values_gets_them():
    """A weight that is an output as well stays a tensor: the Cast runs on the machine."""
    body = "g (float[1, 6, 32] x) => (float[1, 6, 12] y) { y = MatMul (x, w) }"
    model = prepare(network(body, 2, w=(32, 12)), "bf16_weights")
    cast = next(node for node in model.graph if node.op_type == "Cast")
    model.graph.outputs.append(cast.outputs[0])
    schedule = build(model, SPATZ)
    given = feeds(schedule)
    results = by_simulator(schedule, given)
    want = cast.inputs[0].const_value.numpy().astype(np.float32)
    assert any(np.array_equal(np.asarray(one).reshape(-1), want.reshape(-1)) for one in results)


def test_stored_bits_are_sixteen():
    model = prepare(residual(channels=16, size=8), "bf16_weights")
    found = footprints(model, HostNetwork(model).constants)
    assert len(found) == 5 and {f.bits for f in found} == {16} and {f.effective_bits for f in found} == {16.0}
    some = prepare(residual(channels=16, size=8), "bf16_weights", exclude=["w0"])
    assert sorted(f.bits for f in footprints(some, HostNetwork(some).constants)) == [16, 16, 16, 16, 32]


def test_numbers_that_do_not_fit_are_refused():
    source = network("g (float[1, 6, 32] x) => (float[1, 6, 12] y) { y = MatMul (x, w) }", 2, w=(32, 12))
    big = onnx.numpy_helper.to_array(source.graph.initializer[0]).copy()
    big[3, 4] = 7e4
    source.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(big, "w"))
    with pytest.raises(
        DataError, match=r"1 weights, up to 7e\+04, exceed FP16's 6.55e\+04.*\n?.*bf16_weights"
    ):
        prepare(source, "fp16_weights")
    prepare(source, "bf16_weights")
    with pytest.raises(ModelError, match="neither nodes nor weights"):
        prepare(source, "bf16_weights", exclude=["nobody"])
