"""Integer inference: equal to the float quantizer's codes, and to ONNX's evaluators bit for bit."""

import math

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from potluck.compiler.functions import function
from potluck.compiler.quantizers.bbq import forward
from potluck.compiler.quantizers.bbq_inference import (
    BbqActivation,
    BbqCeilingWarning,
    BbqLayer,
    approximate,
    calibrate,
    factor_of,
)
from potluck.isa.errors import DataError
from potluck.isa.formats.bbq import BbqFormat, hadamard

ALL = [BbqFormat(bits, z) for bits in (1, 2, 3, 4) for z in (-0.5, 0.0)]


def model(op, inputs, output, initializers, **attributes):
    """One node of the domain potluck with its function."""
    import onnx_ir as ir

    proto = ir.serde.serialize_function(function(op))
    node = helper.make_node(op, [*inputs, *initializers], ["y"], domain="potluck", **attributes)
    made = helper.make_model(
        helper.make_graph(
            [node],
            "one",
            [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
            [helper.make_tensor_value_info("y", *output)],
            [
                array if isinstance(array, TensorProto) else numpy_helper.from_array(array, name)
                for name, array in initializers.items()
            ],
        ),
        ir_version=11,
        opset_imports=[helper.make_opsetid("", 24), helper.make_opsetid("potluck", 1)],
        functions=[proto],
    )
    onnx.checker.check_model(made, full_check=True)
    return made


def evaluators(made):
    """Two that nobody here wrote."""
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return (
        lambda x: ReferenceEvaluator(made).run(None, x)[0],
        lambda x: session.run(None, x)[0],
    )


def activation(rng, kind, block):
    return BbqActivation.calibrated(
        kind, block, float(rng.uniform(1, 6)), float(rng.uniform(0.3, 3)), float(rng.uniform(-2, 2))
    )


@pytest.mark.parametrize("kind", ALL, ids=str)
@pytest.mark.parametrize("image", [False, True])
def test_quantization_equals_the_onnx_function(kind, image):
    rng = np.random.default_rng([kind.bits, image])
    for block in (1, 8, 32, 128):
        shape = (2, 2 * block, 3, 5) if image else (3, 4, 3 * block)
        made = activation(rng, kind, block)
        x = (rng.standard_normal(shape) * 2).astype(np.float32)
        ties = (rng.integers(-255, 255, 30) / 2 / made.rate).astype(np.float32)
        x.flat[rng.integers(0, x.size, 33)] = [*ties, np.inf, -np.inf, -0.0]
        network = model(
            "BbqQuantizeImage" if image else "BbqQuantize",
            {"x": (TensorProto.FLOAT, shape)},
            (TensorProto.INT8, shape),
            {"rate": np.float32(made.rate), "thresholds": np.array(made.thresholds, np.int32)},
            block=block,
            lowest=kind.lowest,
            multiple=kind.multiple,
        )
        want = made.codes(np.moveaxis(x, 1, -1) if image else x)
        for run in evaluators(network):
            assert np.array_equal(run({"x": x}), np.moveaxis(want, -1, 1) if image else want)


@pytest.mark.parametrize("kind", ALL, ids=str)
def test_products_equal_the_onnx_function(kind):
    rng = np.random.default_rng(kind.bits)
    made = activation(rng, kind, 8)
    weights = rng.choice(kind.codes, (48, 21))
    layer = BbqLayer(
        made,
        weights,
        factor_of(made, rng.standard_normal(21), kind),
        rng.standard_normal(21).astype(np.float32),
    )
    stored = weights
    if kind.codes.max() <= 7:
        stored = helper.make_tensor("w", TensorProto.INT4, weights.shape, weights.reshape(-1))
    network = model(
        "BbqMatMul",
        {"q": (TensorProto.INT8, (5, 48))},
        (TensorProto.FLOAT, (5, 21)),
        {"w": stored, "factor": layer.factor, "bias": layer.bias},
        min=-math.inf,
        max=math.inf,
    )
    x = rng.standard_normal((5, 48)).astype(np.float32)
    for run in evaluators(network):
        got = run({"q": made.codes(x)})
        assert np.array_equal(got.view(np.uint32), layer(x).view(np.uint32))


def test_convolutions_equal_the_onnx_function():
    """Borders are zero, and the evaluator's convolution of integers is checked by a product of patches."""
    rng, kind = np.random.default_rng(5), BbqFormat(2)
    q = rng.choice(kind.codes, (2, 8, 6, 5))
    w = rng.choice(kind.codes, (3, 8, 3, 3))
    factor, bias = (rng.standard_normal((3, 1, 1)).astype(np.float32) for _ in range(2))
    network = model(
        "BbqConv",
        {"q": (TensorProto.INT8, q.shape)},
        (TensorProto.FLOAT, (2, 3, 6, 5)),
        {"w": w, "factor": factor, "bias": bias},
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
        strides=[1, 1],
        dilations=[1, 1],
        group=1,
        min=0.0,
        max=math.inf,
    )
    padded = np.pad(q.astype(np.int64), [(0, 0), (0, 0), (1, 1), (1, 1)])
    acc = sum(
        np.einsum("nchw,oc->nohw", padded[:, :, i : i + 6, j : j + 5], w[:, :, i, j].astype(np.int64))
        for i in range(3)
        for j in range(3)
    )
    want = np.maximum(acc.astype(np.float32) * factor + bias, 0)
    for run in evaluators(network):
        assert np.array_equal(run({"q": q}), want)


@pytest.mark.parametrize("kind", ALL, ids=str)
def test_codes_are_those_of_the_float_quantizer_but_for_rounding_to_eight_bits(kind):
    rng = np.random.default_rng(7)
    x = rng.standard_normal((64, 256)).astype(np.float32)
    made = calibrate(x, kind, 128)
    held = np.clip(
        np.rint(x * np.float32(made.rate)), -127, 127
    )  # the float quantizer on what eight bits hold
    sigma = np.sqrt((np.asarray(x, np.float64) ** 2).mean())
    wanted = forward(held, kind, 128, reciprocal=1 / sigma / made.rate).codes
    assert np.array_equal(made.codes(x), wanted)
    near = np.abs(made.codes(x).astype(int) - forward(x, kind, 128, per_row=False).codes)
    assert near.max() <= kind.multiple and (near > 0).mean() < 0.05


def test_sums_fit_int16_and_thresholds_are_clipped():
    x = 1000.0 * hadamard(128)[77:78]
    made = BbqActivation.calibrated(BbqFormat(4), 128, 1.0, 1e-6, 1.0)
    assert made.thresholds[0] == -128 * 127 and made.thresholds[-1] == 128 * 127 + 1
    assert made.codes(x)[0, 77] == 0 and made.codes(-x)[0, 77] == -1  # 16256, far inside the middle bins


def test_without_training_it_warns_of_its_ceiling():
    w = np.random.default_rng(0).standard_normal((16, 256))
    with pytest.warns(BbqCeilingWarning, match=r"13\.46 dB"):
        made = approximate(w, BbqFormat(4, -0.5))
    noise = w - made.reconstruct()
    assert 12 < 10 * math.log10((w**2).mean() / (noise**2).mean()) < 13.46
    assert made.gamma == pytest.approx(made.sigma * made.kind.zeta, rel=0.03)


def test_errors():
    kind = BbqFormat(2)
    for action, message in (
        (lambda: BbqActivation.calibrated(kind, 256, 1, 1, 1), "256"),
        (lambda: BbqActivation.calibrated(kind, 8, 0, 1, 1), "peak"),
        (lambda: BbqActivation.calibrated(kind, 8, 1, math.nan, 1), "sigma"),
        (lambda: calibrate(np.zeros((2, 8)), kind, 8), "zero"),
        (lambda: calibrate([math.inf] * 8, kind, 8), "infinite"),
    ):
        with pytest.raises(DataError, match=message):
            action()
