"""A layer of a transformer as exporters write it, whole on the machine: against onnxruntime."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from potluck.compiler.compile import compile_model
from potluck.isa.machine import load_machine
from potluck.sim.simulate import simulate

TOKENS, WIDTH, HEADS, HIDDEN, WORDS = 24, 48, 4, 96, 60
TEXT = f"""<ir_version: 10, opset_import: ["" : 20]>
encoder (int64[1, {TOKENS}] ids, int64[1, {TOKENS}] mask) => (float[1, {TOKENS}, {WIDTH}] y) {{
  words = Gather (table, ids)
  shape = Shape (ids)
  one = Constant <value_int = 1> ()
  count = Gather <axis = 0> (shape, one)
  zero = Constant <value_int = 0> ()
  places = Range (zero, count, one)
  where = Gather (positions, places)
  embedded = Add (words, where)
  x = LayerNormalization <epsilon = 1e-12> (embedded, gain, offset)

  floats = Cast <to = 1> (mask)
  axes = Constant <value_ints = [1, 2]> ()
  wide = Unsqueeze (floats, axes)
  unit = Constant <value_float = 1.0> ()
  hidden = Sub (unit, wide)
  lowest = Constant <value_float = -3.4e38> ()
  bias = Mul (hidden, lowest)

  q0 = MatMul (x, wq)
  q1 = Add (q0, bq)
  k0 = MatMul (x, wk)
  v0 = MatMul (x, wv)
  heads = Constant <value_ints = [0, -1, {HEADS}, {WIDTH // HEADS}]> ()
  q2 = Reshape (q1, heads)
  k2 = Reshape (k0, heads)
  v2 = Reshape (v0, heads)
  q = Transpose <perm = [0, 2, 1, 3]> (q2)
  k = Transpose <perm = [0, 2, 3, 1]> (k2)
  v = Transpose <perm = [0, 2, 1, 3]> (v2)
  raw = MatMul (q, k)
  root = Constant <value_float = {(WIDTH / HEADS) ** 0.5}> ()
  scaled = Div (raw, root)
  scores = Add (scaled, bias)
  shares = Softmax <axis = -1> (scores)
  mixed = MatMul (shares, v)
  back = Transpose <perm = [0, 2, 1, 3]> (mixed)
  whole = Constant <value_ints = [0, 0, {WIDTH}]> ()
  joined = Reshape (back, whole)
  projected = MatMul (joined, wo)
  first = Add (projected, x)
  normal = LayerNormalization <epsilon = 1e-12> (first, gain, offset)

  up = MatMul (normal, w1)
  half = Constant <value_float = 0.5> ()
  rooted = Constant <value_float = 1.41421356> ()
  inner = Div (up, rooted)
  curve = Erf (inner)
  lifted = Add (curve, unit)
  product = Mul (up, lifted)
  active = Mul (product, half)
  down = MatMul (active, w2)
  second = Add (down, normal)
  y = LayerNormalization <epsilon = 1e-12> (second, gain, offset)
}}"""


def encoder():
    rng = np.random.default_rng(5)
    model = onnx.parser.parse_model(TEXT)
    shapes = {
        "table": (WORDS, WIDTH), "positions": (TOKENS, WIDTH), "gain": (WIDTH,), "offset": (WIDTH,), "bq": (WIDTH,),
        "wq": (WIDTH, WIDTH), "wk": (WIDTH, WIDTH), "wv": (WIDTH, WIDTH), "wo": (WIDTH, WIDTH),
        "w1": (WIDTH, HIDDEN), "w2": (HIDDEN, WIDTH),
    }  # fmt: skip
    for name, shape in shapes.items():
        values = (rng.standard_normal(shape) * (1.0 if len(shape) == 1 else 0.3)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    inputs = {
        "ids": rng.integers(0, WORDS, (1, TOKENS)),
        "mask": (np.arange(TOKENS) < TOKENS - 5).astype(np.int64)[None],
    }
    return model, inputs


@pytest.mark.parametrize("machine", ["spatz-mx", "rvv-generic"])
def test_an_encoder_layer_whole(machine):
    model, inputs = encoder()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, inputs)
    described = load_machine(machine)
    program = compile_model(model, described)
    got = simulate(program, inputs, machine=described).outputs["y"]
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4)
    assert sum(layer.macs for layer in program.manifest.layers) == TOKENS * (
        4 * WIDTH * WIDTH + 2 * TOKENS * WIDTH + 2 * WIDTH * HIDDEN
    )


def test_an_encoder_layer_in_microscaling():
    """Products with constant matrices in MXFP8, those of two activations in FP32."""
    model, inputs = encoder()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, inputs)
    described = load_machine("spatz-mx")
    program = compile_model(model, described, "mxfp8")
    got = simulate(program, inputs, machine=described).outputs["y"]
    noise = ((got - want) ** 2).sum() / (want**2).sum()
    assert 1e-6 < noise < 0.02
    assert sum("mx" in layer.format for layer in program.manifest.layers) >= 6
