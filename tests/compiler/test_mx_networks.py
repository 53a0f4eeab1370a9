"""Every MX scheme through the compiler: NumPy contracts, simulator and ONNX's evaluator on one network each."""

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from networks import network
from onnx.reference import ReferenceEvaluator
from running import by_reference, by_schedule, by_simulator, feeds, same_bits, with_l1

from potluck.compiler.build import build, prepare
from potluck.compiler.quantize import quantize_model
from potluck.compiler.schemes import schemes
from potluck.isa.errors import DataError, MachineError, ModelError
from potluck.isa.machine import load_machine
from potluck.isa.manifest import members

MACHINE = load_machine("spatz-mx")
BOTH = [name for name in schemes() if name.startswith("mx") and not name.endswith("_weights")]
WEIGHTS = [name for name in schemes() if name.startswith("mx") and name.endswith("_weights")]
SIX = [name for name in BOTH if "mxfp6" in name or "_mxfp" in name]
FORMATS = {
    "FLOAT8E4M3FN": ml_dtypes.float8_e4m3fn,
    "FLOAT8E5M2": ml_dtypes.float8_e5m2,
    "FLOAT6E2M3": ml_dtypes.float6_e2m3fn,
    "FLOAT6E3M2": ml_dtypes.float6_e3m2fn,
    "FLOAT4E2M1": ml_dtypes.float4_e2m1fn,
    "INT8": np.int8,
}


def products():
    """One of each product, with ragged blocks: convolutions of one tensor, rows and a vector times matrices."""
    return network(
        """g (float[1, 40, 7, 6] x, float[1, 5, 72] m, float[1, 200] v)
            => (float[1, 33, 7, 6] a, float[1, 18, 4, 3] b, float[1, 5, 20] c, float[1, 12] d) {
          p = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, wa, ba)
          a = Relu (p)
          b = Conv <kernel_shape = [1, 1], strides = [2, 2]> (x, wb)
          c = MatMul (m, wc)
          d = Gemm <transB = 1, alpha = 0.5> (v, wd, bd)
        }""",
        wa=(33, 40, 3, 3),
        ba=(33,),
        wb=(18, 40, 1, 1),
        wc=(72, 20),
        wd=(12, 200),
        bd=(12,),
    )


def check(source, scheme, machine=MACHINE, rtol=2e-5, **options):
    schedule = build(prepare(source, scheme, **options), machine)
    inputs = feeds(schedule)
    outputs = by_schedule(schedule, inputs)
    for got, expected in zip(outputs, by_reference(schedule, inputs), strict=True):
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol)
    assert same_bits(by_simulator(schedule, inputs), outputs)
    return schedule


@pytest.mark.parametrize("scheme", [*BOTH, *WEIGHTS])
def test_every_scheme(scheme):
    schedule = check(products(), scheme)
    layers = [op for op in schedule.ops if op.macs]
    assert sum(len(members(op.name)) for op in layers) == 4
    stored = {
        operand.format
        for op in layers
        for operand in op.operands
        if "codes" in operand.layout or "HWIO" in operand.layout
    }
    assert "FP32" not in stored


@pytest.mark.parametrize("scheme", ["mxfp6", "mxfp4_mxfp8", "mxfp4_weights", "mxfp8_weights", "mxint8"])
def test_groups_of_channels_in_a_small_l1(scheme):
    """Weights are expanded again whenever another group's arrive, and a long product in pieces of K."""
    source = network(
        """g (float[2, 40, 12, 9] x, float[1, 600] v) => (float[2, 52, 12, 9] y, float[1, 70] z) {
          y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w, b)
          r = MatMul (v, m)
          z = Relu (r)
        }""",
        w=(52, 40, 3, 3),
        b=(52,),
        m=(600, 70),
    )
    schedule = check(source, scheme, with_l1(MACHINE, (52 if scheme.endswith("weights") else 32) << 10))
    conv, dense = (op for op in schedule.ops if op.macs)
    assert len(conv.tiles) > 2 and any(loop.name == "k" and len(loop) > 1 for loop in dense.loops)


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("mxfp8", {"block_size": 16, "scale_rule": "even"}),
        ("mxfp8", {"block_size": 64, "scale_rule": "rceil"}),
        ("mxfp4", {"block_size": 128, "scale_rule": "mse"}),
        ("mxfp4", {"block_size": 16, "scale_rule": "rceil"}),
        ("mxfp6_e3m2", {"block_size": 64, "scale_rule": "even"}),
        ("mxfp6_weights", {"block_size": 8, "scale_rule": "mse"}),
        ("mxfp4_weights", {"block_size": 128}),
        ("mxint8", {"block_size": 16, "scale_rule": "even"}),
        ("mxint8", {"block_size": 64, "scale_rule": "mse"}),
    ],
)
def test_block_sizes_and_scale_rules(scheme, options):
    schedule = check(products(), scheme, **options)
    size = options["block_size"]
    shapes = {name: value.shape for name, value in schedule.model.graph.initializers.items()}
    assert list(shapes["wa_scales"]) == [33, -(-40 // size), 3, 3]
    assert list(shapes["wc_scales"]) == [-(-72 // size), 20]


@pytest.mark.parametrize("scheme", [*SIX, "mxfp8_e5m2", "mxint8"])
@pytest.mark.parametrize("rule", ["floor", "even", "rceil", "mse"])
def test_standard_onnx_says_the_same(scheme, rule, tmp_path):
    """A saved file is valid, has the codes that ml_dtypes makes of values by its scales, and dequantizes to them."""
    path = tmp_path / "q.onnx"
    source = products()
    quantize_model(source, scheme, scale_rule=rule).save(path)
    onnx.checker.check_model(str(path), full_check=True)
    loaded = ir.load(path)
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in source.graph.initializer}
    for node in loaded.graph:
        if node.op_type != "DequantizeLinear":
            continue
        codes, scales = (value.const_value.numpy() for value in node.inputs)
        name, axis = node.inputs[0].name.removesuffix("_codes"), node.attributes["axis"].as_int()
        step = np.repeat(scales.view(ml_dtypes.float8_e8m0fnu).astype(np.float32), 32, axis)
        step = step[(slice(None),) * axis + (slice(codes.shape[axis]),)]
        value = tensors[name] * np.float32(0.5 if name == "wd" else 1)
        kind = FORMATS[node.inputs[0].dtype.name]
        top = np.float32(127 if kind is np.int8 else ml_dtypes.finfo(kind).max)
        exact = np.clip(value / step, -top, top)
        want = (np.rint(exact) if kind is np.int8 else exact).astype(kind)
        np.testing.assert_array_equal(codes.view(np.uint8), want.view(np.uint8))
    inputs = {"x": np.ones((1, 40, 7, 6), np.float32), "m": np.ones((1, 5, 72), np.float32)}
    inputs["v"] = np.ones((1, 200), np.float32)
    assert all(np.isfinite(out).all() for out in ReferenceEvaluator(str(path)).run(None, inputs))
    build(prepare(path), MACHINE)  # what was written can be read


def few_channels():
    """First layers of image networks: 3 channels, and 5 with odd pads, strides and dilations."""
    return network(
        """g (float[2, 3, 12, 11] x, float[1, 5, 9, 10] z) => (float[2, 20, 6, 6] y, float[1, 9, 7, 5] u) {
          p = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (x, w, b)
          y = Relu (p)
          u = Conv <kernel_shape = [2, 3], pads = [0, 1, 0, 2], strides = [1, 2], dilations = [2, 2]> (z, v)
        }""",
        w=(20, 3, 3, 3),
        b=(20,),
        v=(9, 5, 2, 3),
    )


@pytest.mark.parametrize("scheme", ["mxfp8", "mxfp4", "mxfp6", "mxint8"])
def test_few_channels_have_bf16_weights_unless_windows_are_flattened(scheme, tmp_path):
    spared = build(prepare(few_channels(), scheme), MACHINE)
    assert {op.format for op in spared.ops if op.macs} == {"bf16_weights"}
    schedule = check(few_channels(), scheme, mx_small_k=True)
    assert {op.format for op in schedule.ops if op.macs} == {scheme}
    shapes = {name: list(value.shape) for name, value in schedule.model.graph.initializers.items()}
    assert shapes["w_flat_codes"] == [20, 27, 1, 1] and shapes["w_flat_scales"] == [20, 1, 1, 1]
    quantize_model(few_channels(), scheme, mx_small_k=True).save(tmp_path / "q.onnx")
    onnx.checker.check_model(str(tmp_path / "q.onnx"), full_check=True)


def samples(count=4):
    """Calibration samples of `products`, the inputs of `feeds` among them."""
    rng = np.random.default_rng(0)
    shapes = {"x": (1, 40, 7, 6), "m": (1, 5, 72), "v": (1, 200)}
    first = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return {name: np.concatenate([value] * count) for name, value in first.items()}


@pytest.mark.parametrize("scheme", ["nvfp4", "nvfp4_weights"])
@pytest.mark.parametrize("machine", ["spatz-mx", "rvv-generic"])
def test_nvfp4(scheme, machine, tmp_path):
    """Two DequantizeLinear in a chain; the machine decodes E2M1 by E4M3 scales and one FP32 number."""
    schedule = check(products(), scheme, load_machine(machine), calibration=samples())
    chains = [node for node in schedule.model.graph if node.op_type == "DequantizeLinear"]
    assert len(chains) == 8
    quantize_model(products(), scheme, calibration=samples()).save(tmp_path / "q.onnx")
    onnx.checker.check_model(str(tmp_path / "q.onnx"), full_check=True)
    again = build(prepare(tmp_path / "q.onnx"), load_machine(machine))
    inputs = feeds(schedule)
    assert same_bits(by_schedule(again, inputs), by_schedule(schedule, inputs))


def test_nvfp4_needs_samples():
    with pytest.raises(DataError, match="samples"):
        quantize_model(products(), "nvfp4")


def test_weights_alone_are_decoded_exactly():
    """FP32 products of decoded weights: the bits of FP32 products of the dequantized ones."""
    source = products()
    model = quantize_model(source, "mxfp4_weights")
    decoded = build(prepare(model), MACHINE)
    replaced = onnx.ModelProto.FromString(source.SerializeToString())
    dequantized = {}
    for node in model.graph:
        if node.op_type == "DequantizeLinear":
            proto = ir.to_proto(model)
            proto.graph.output.append(onnx.helper.make_tensor_value_info(node.outputs[0].name, 1, None))
            zeros = feeds(decoded)
            value = ReferenceEvaluator(proto).run([node.outputs[0].name], zeros)[0]
            dequantized[node.inputs[0].name.removesuffix("_codes")] = value
    for tensor in replaced.graph.initializer:
        if tensor.name in dequantized:
            value = dequantized[tensor.name] * np.float32(2 if tensor.name == "wd" else 1)
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    plain = build(prepare(replaced), MACHINE)
    inputs = feeds(decoded)
    assert same_bits(by_schedule(decoded, inputs), by_schedule(plain, inputs))


@pytest.mark.parametrize("scheme", ["mxfp6", "mxfp6_e3m2", "mxfp4_mxfp8", "mxfp4_weights"])
def test_on_base_vector_instructions(scheme):
    check(products(), scheme, load_machine("rvv-generic"), scale_rule="even")


def test_errors_name_what_is_wrong():
    source = products()
    with pytest.raises(DataError, match="ceil"):
        quantize_model(source, "mxfp8", scale_rule="ceil")
    with pytest.raises(ModelError, match="block size 20"):
        quantize_model(source, "mxfp8", block_size=20)
    with pytest.raises(ModelError, match="block size 8 with mxfp4"):
        quantize_model(source, "mxfp4", block_size=8)
    with pytest.raises(ModelError, match="VLEN 512"):
        build(prepare(source, "mxfp8", block_size=256), MACHINE)
    broken = products()
    weights = onnx.numpy_helper.to_array(broken.graph.initializer[0]).copy()
    weights[3, 2, 1, 0] = np.nan
    broken.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "wa"))
    with pytest.raises(DataError, match=r"'wa'.*\[3, 2, 1, 0\] is nan"):
        quantize_model(broken, "mxfp4")


def test_scales_of_the_wrong_shape_are_refused():
    model = ir.to_proto(quantize_model(products(), "mxfp8"))
    for tensor in model.graph.initializer:
        if tensor.name == "wc_scales":
            tensor.CopyFrom(
                onnx.helper.make_tensor("wc_scales", tensor.data_type, [1, 20], b"\x7f" * 20, raw=True)
            )
    with pytest.raises((ModelError, DataError), match="wc_scales"):
        build(prepare(model), MACHINE)


def test_e5m2_is_refused_where_there_is_no_kernel():
    for scheme, name in (("mxfp8_e5m2", "E5M2"), ("mxint8", "MXINT8")):
        with pytest.raises(MachineError, match=name):
            build(prepare(products(), scheme), load_machine("rvv-generic"))
