import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from networks import constant_weights, conv_bn, network, residual
from onnx.reference import ReferenceEvaluator

from potluck.compiler.graph.printer import render
from potluck.compiler.importer import load
from potluck.compiler.passes import make, run_passes
from potluck.compiler.quantize import folding
from potluck.compiler.schemes import Options, find
from potluck.isa.errors import ModelError


def reference(model, **inputs):
    return ReferenceEvaluator(ir.to_proto(model)).run(None, inputs)


def operators(model):
    return [node.op_type for node in model.graph]


def test_import_makes_shapes_static_and_attributes_explicit():
    model = load(conv_bn(), dims={"batch": 2})
    assert [tuple(v.shape) for v in model.graph.inputs] == [(2, 3, 9, 8)]
    conv = model.graph[0]
    assert conv.attributes["pads"].as_ints() == (1, 0, 1, 1)  # SAME_UPPER: the odd column goes to the end
    assert conv.attributes["dilations"].as_ints() == (1, 1)
    assert tuple(model.graph.outputs[0].shape) == (2, 20, 5, 4)
    x = np.random.default_rng(1).standard_normal((2, 3, 9, 8)).astype(np.float32)
    session = ort.InferenceSession(conv_bn().SerializeToString())
    np.testing.assert_allclose(reference(model, x=x)[0], session.run(None, {"x": x})[0], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("operator", "given", "lacks"), [("Conv", ["", "x"], "X"), ("Conv", ["x"], "W"), ("Add", ["x"], "B")]
)
def test_an_input_that_cannot_be_left_out(operator, given, lacks):
    """Found by fuzzing: onnx's checker takes a call that leaves out what the function's body needs."""
    opset = onnx.helper.make_opsetid("", 21)
    body = onnx.helper.make_node(operator, ["a", "b"], ["c"], "it")
    function = onnx.helper.make_function("own", "F", ["a", "b"], ["c"], [body], [opset])
    values = [onnx.helper.make_tensor_value_info(name, 1, [1, 1, 4]) for name in ("x", "y")]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("F", given, ["y"], domain="own")], "g", values[:1], values[1:]
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[opset, onnx.helper.make_opsetid("own", 1)], functions=[function], ir_version=10
    )
    onnx.checker.check_model(model)
    with pytest.raises(ModelError, match=f"it.*{operator} lacks its input {lacks}"):
        load(model)


def test_an_unbound_dimension_is_named():
    with pytest.raises(ModelError, match="'rows'"):
        load(constant_weights())
    with pytest.raises(ModelError, match="sequence"):
        load(constant_weights(), dims={"rows": 2, "sequence": 3})


def test_constant_nodes_and_shape_chains_fold():
    model = load(constant_weights(), dims={"rows": 5})
    run_passes(model, [make("constant_fold")])
    assert operators(model) == ["Reshape", "MatMul"]
    assert "w" in model.graph.initializers
    x = np.random.default_rng(1).standard_normal((5, 2, 3)).astype(np.float32)
    w = model.graph.initializers["w"].const_value.numpy()
    np.testing.assert_allclose(reference(model, x=x)[0], x.reshape(5, 6) @ w, rtol=1e-5, atol=1e-6)


def test_old_opsets_are_converted():
    model = network(
        """g (float[1, 2, 4, 4] x) => (float[1, 2, 1, 1] y) {
          c = Clip <min = 0.0, max = 6.0> (x)
          y = ReduceMean <axes = [2, 3], keepdims = 1> (c)
        }""",
        opset=9,
    )
    assert load(model).graph.opset_imports[""] == 24


def test_a_bad_model_says_so(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        load(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"bad\.onnx"):
        load(tmp_path / "bad.onnx")
    broken = residual()
    broken.graph.node[1].input[0] = "nobody"
    with pytest.raises(ModelError, match="nobody"):
        load(broken)


def test_the_source_model_is_left_alone():
    source = ir.from_proto(conv_bn())
    before = ir.to_proto(source).SerializeToString()
    model = load(source)
    run_passes(model, [*folding(), *find("mxfp8").passes(Options())])
    assert ir.to_proto(source).SerializeToString() == before


def test_batchnorm_folds_into_conv_and_relu_fuses():
    model = load(conv_bn(), dims={"batch": 1})
    x = np.random.default_rng(2).standard_normal((1, 3, 9, 8)).astype(np.float32)
    expected = reference(model, x=x)[0]
    run_passes(model, folding())
    assert operators(model) == ["FusedConv"]
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    np.testing.assert_allclose(reference(model, x=x)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("transposed", [0, 1])
def test_batchnorm_folds_into_gemm(transposed):
    shape = (7, 5) if transposed else (5, 7)
    source = network(
        f"""g (float[3, 5] x) => (float[3, 7] y) {{
          a = Gemm <alpha = 0.5, beta = 2.0, transB = {transposed}> (x, w, b)
          y = BatchNormalization (a, gamma, beta, mean, variance)
        }}""",
        w=shape, b=(7,), gamma=(7,), beta=(7,), mean=(7,), variance=(7,),
    )  # fmt: skip
    model = load(source)
    x = np.random.default_rng(2).standard_normal((3, 5)).astype(np.float32)
    expected = reference(model, x=x)[0]
    run_passes(model, [make("fold_batchnorm")])
    assert operators(model) == ["Gemm"]
    np.testing.assert_allclose(reference(model, x=x)[0], expected, rtol=1e-5, atol=1e-5)


def test_a_batchnorm_with_two_readers_of_its_input_stays():
    source = network(
        """g (float[1, 3, 4, 4] x) => (float[1, 4, 4, 4] y, float[1, 4, 4, 4] c) {
          c = Conv <kernel_shape = [1, 1]> (x, w)
          y = BatchNormalization (c, gamma, beta, mean, variance)
        }""",
        w=(4, 3, 1, 1), gamma=(4,), beta=(4,), mean=(4,), variance=(4,),
    )  # fmt: skip
    model = load(source)
    run_passes(model, folding())
    assert operators(model) == ["Conv", "Mul", "Add"]


def test_print_after_shows_the_graph():
    shown = []
    model = load(residual())
    run_passes(
        model,
        [*folding(), *find("mxfp8").passes(Options())],
        print_after=["fuse_activation"],
        write=shown.append,
    )
    assert len(shown) == 1
    assert "%u:f32[1,32,4,4] = potluck.FusedAdd(%f, %s) {max=inf min=0}" in shown[0]
    assert shown[0].count("FusedConv") == 2
    assert "MxQuantizeDequantize" in render(model)
    with pytest.raises(ModelError, match="Did you mean 'fuse_activation'"):
        run_passes(model, [], print_after=["fuse_activations"])


RESHAPE = """<ir_version: 10, opset_import: ["" : 21]> g (float[2, 3] x, int64[2] shape) => (float[3, 2] y) {
  y = Reshape (x, shape)
}"""


def test_a_bound_input_is_a_constant():
    model = load(onnx.parser.parse_model(RESHAPE), bind={"shape": np.array([3, 2])})
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert model.graph.initializers["shape"].const_value.numpy().tolist() == [3, 2]
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(reference(model, x=x)[0], x.reshape(3, 2))


@pytest.mark.parametrize(
    ("bind", "says"),
    [
        ({"sahpe": np.array([3, 2])}, "'sahpe'"),
        ({"shape": np.array([3.0, 2.0])}, "float64"),
        ({"shape": np.array([6])}, "shape"),
    ],
)
def test_what_cannot_be_bound_is_named(bind, says):
    with pytest.raises(ModelError, match=says):
        load(onnx.parser.parse_model(RESHAPE), bind=bind)


def test_a_newer_opset_is_taken_if_its_operators_say_the_same():
    text = """<ir_version: 13, opset_import: ["" : 26]> g (float[2, 3] x) => (float[3, 2] y) { y = Transpose (x) }"""
    assert load(onnx.parser.parse_model(text)).graph.opset_imports[""] == 24
    newer = """<ir_version: 13, opset_import: ["" : 26]> g (float[2] x) => (int32[2] y) { y = BitCast <to = 6> (x) }"""
    with pytest.raises(ModelError, match="BitCast"):
        load(onnx.parser.parse_model(newer))


def test_shape_computations_vanish():
    """Chains as exporters write them: sizes are taken from a shape, changed and put together again."""
    text = """<ir_version: 10, opset_import: ["" : 20]>
    g (float[2, 3, 4, 5] x) => (float[2, 3, 20] y, float[20, 20] mask) {
      zero = Constant <value_int = 0> ()
      axis = Constant <value_ints = [0]> ()
      last = Constant <value_ints = [-1]> ()
      s = Shape (x)
      n = Gather (s, zero)
      first, rest = Split <num_outputs = 2> (s)
      two = Slice (s, zero1, two1)
      h = Shape <start = 2, end = 4> (x)
      size = ReduceProd <keepdims = 1> (h)
      target = Concat <axis = 0> (two, last)
      r = Reshape (x, target)
      square = Concat <axis = 0> (size, size)
      ones = ConstantOfShape <value = float[1] {1.0}> (square)
      eye = EyeLike (ones)
      mask = Sub (ones, eye)
      count = Squeeze (size)
      places = Range (zero, count, one)
      total = ReduceSum <keepdims = 0> (places)
      scale = Cast <to = 1> (total)
      y = Div (r, scale)
    }"""
    model = onnx.parser.parse_model(text)
    for name, array in (("zero1", [0]), ("two1", [2]), ("one", 1)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(array, np.int64), name))
    source, model = model, load(model)
    run_passes(model, [make("constant_fold")])
    assert operators(model) == ["Reshape", "Div"]
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 5)).astype(np.float32)
    for got, want in zip(reference(model, x=x), ReferenceEvaluator(source).run(None, {"x": x}), strict=True):
        np.testing.assert_array_equal(got, want)


def test_an_operator_newer_than_ours_becomes_the_function_that_defines_it():
    text = """<ir_version: 13, opset_import: ["" : 25]>
    g (float[1, 2, 4, 8] q, float[1, 2, 4, 8] k, float[1, 2, 4, 8] v) => (float[1, 2, 4, 8] y) {
      y = Attention <is_causal = 1> (q, k, v)
    }"""
    source = onnx.parser.parse_model(text)
    rng = np.random.default_rng(2)
    feeds = {name: rng.standard_normal((1, 2, 4, 8)).astype(np.float32) for name in "qkv"}
    model = load(source)
    run_passes(model, folding())
    assert model.graph.opset_imports[""] == 24
    want = ReferenceEvaluator(source).run(None, feeds)[0]
    np.testing.assert_allclose(reference(model, **feeds)[0], want, rtol=1e-5, atol=1e-6)
