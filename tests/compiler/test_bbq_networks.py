"""Networks of Bell Box layers: ONNX's evaluator, the schedule, and the compiled program agree bit for bit."""

import math

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from networks import network, residual
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from running import by_reference, by_schedule, by_simulator, feeds, same_bits, with_l1

from potluck.compiler.build import build, prepare
from potluck.compiler.functions import function
from potluck.compiler.quantize import quantize_model
from potluck.compiler.quantizers.bbq_inference import BbqActivation, BbqCeilingWarning
from potluck.isa.errors import DataError, ModelError
from potluck.isa.formats.bbq import BbqFormat
from potluck.isa.machine import load_machine

MACHINES = {name: load_machine(name) for name in ("spatz-mx", "rvv-generic")}
KINDS = [
    BbqFormat(bits, z)
    for bits, z in ((1, -0.5), (2, -0.5), (3, 0.0), (3, -0.5), (4, 0.0), (4, -0.5), (2, 0.0))
]


class Network:
    """Grows a graph of Bell Box layers with random parameters."""

    def __init__(self, shape, seed=0):
        self.rng = np.random.default_rng(seed)
        self.shape, self.nodes, self.weights, self.last = shape, [], [], "x"

    def layer(self, kind, out, block, taps=0, weight_kind=None, stride=1, **bounds):
        """A quantizer and a product."""
        rng, at, image = self.rng, len(self.nodes), bool(taps)
        channels = self.shape[-1]
        made = BbqActivation.calibrated(kind, block, rng.uniform(2, 5), rng.uniform(0.4, 1.5), 1.0)
        kinds, shape = weight_kind or kind, (out, channels, taps, taps) if image else (channels, out)
        codes = rng.choice(kinds.codes, shape)
        small = codes.max() <= 7
        per = (out, 1, 1) if image else (out,)
        values = {
            f"rate{at}": np.float32(made.rate),
            f"limits{at}": np.array(made.thresholds, np.int32),
            f"factor{at}": (rng.standard_normal(per) / channels / kinds.levels**2 * 8).astype(np.float32),
            f"bias{at}": rng.standard_normal(per).astype(np.float32),
        }
        self.weights += [numpy_helper.from_array(array, name) for name, array in values.items()]
        kind_of = TensorProto.INT4 if small else TensorProto.INT8
        self.weights.append(
            helper.make_tensor(f"w{at}", kind_of, shape, codes.reshape(-1).astype(int).tolist())
        )
        quantized = helper.make_node(
            "BbqQuantizeImage" if image else "BbqQuantize", [self.last, f"rate{at}", f"limits{at}"], [f"q{at}"],
            f"quantize{at}", domain="potluck", block=block, lowest=kind.lowest, multiple=kind.multiple,
        )  # fmt: skip
        attributes = {"min": bounds.get("min", -math.inf), "max": bounds.get("max", math.inf)}
        if image:
            pad = taps // 2
            attributes |= {"kernel_shape": [taps] * 2, "pads": [pad] * 4, "strides": [stride] * 2,
                           "dilations": [1, 1], "group": 1}  # fmt: skip
        product = helper.make_node(
            "BbqConv" if image else "BbqMatMul", [f"q{at}", f"w{at}", f"factor{at}", f"bias{at}"], [f"y{at}"],
            f"product{at}", domain="potluck", **attributes,
        )  # fmt: skip
        self.nodes += [quantized, product]
        self.last = f"y{at}"
        spatial = [-(-size // stride) for size in self.shape[1:-1]] if image else self.shape[1:-1]
        self.outer = (self.shape[0], *spatial)
        self.shape = (*self.outer, out)
        return self

    def model(self, inputs):
        images = any(node.op_type == "BbqConv" for node in self.nodes)

        def onnx_shape(shape):
            return [shape[0], shape[-1], *shape[1:-1]] if images else list(shape)

        graph = helper.make_graph(
            self.nodes, "bbq",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, onnx_shape(inputs))],
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, onnx_shape(self.shape))],
            self.weights,
        )  # fmt: skip
        used = {node.op_type for node in self.nodes}
        made = helper.make_model(
            graph, ir_version=11,
            opset_imports=[helper.make_opsetid("", 24), helper.make_opsetid("potluck", 1)],
            functions=[ir.serde.serialize_function(function(name)) for name in sorted(used)],
        )  # fmt: skip
        onnx.checker.check_model(made, full_check=True)
        return made


def check(model, machine, seed=0):
    schedule = build(prepare(model, None), machine)
    inputs = feeds(schedule, seed)
    outputs = by_schedule(schedule, inputs)
    assert all(np.ptp(output) > 0 for output in outputs)
    assert same_bits(outputs, by_reference(schedule, inputs))
    assert same_bits(by_simulator(schedule, inputs), outputs)
    return schedule


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_matrix_products(kind, machine):
    shape = [(1, 128), (7, 256), (2, 9, 64)][kind.bits % 3]
    network = (
        Network(shape, kind.bits).layer(kind, 40, 64).layer(kind, 24, 8, min=0.0).layer(kind, 5, 8, max=2.0)
    )
    schedule = check(network.model(shape), MACHINES[machine])
    assert {op.format for op in schedule.ops if op.macs} == (
        {"int8"} if kind.bits > 2 or not kind.zero_point else {f"bbq{kind.bits}"}
    )


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_convolutions(kind, machine):
    shape = (2, 6, 7, 16)
    network = (
        Network(shape, kind.bits)
        .layer(kind, 32, 16, 3, min=0.0)
        .layer(kind, 16, 32, 1)
        .layer(kind, 9, 8, 3, stride=2)
    )
    check(network.model(shape), MACHINES[machine])


@pytest.mark.parametrize("bits", [2, 3])
def test_four_dimensions_that_are_no_image(bits):
    shape = (2, 3, 5, 64)
    check(
        Network(shape).layer(BbqFormat(bits), 16, 64).layer(BbqFormat(bits), 7, 16).model(shape),
        MACHINES["spatz-mx"],
    )


def test_operands_of_different_widths_are_bytes():
    shape = (5, 64)
    network = (
        Network(shape)
        .layer(BbqFormat(2), 16, 64, weight_kind=BbqFormat(4))
        .layer(BbqFormat(4), 7, 16, weight_kind=BbqFormat(1))
    )
    check(network.model(shape), MACHINES["spatz-mx"])


@pytest.mark.parametrize("bits", [1, 2])
@pytest.mark.parametrize(("rows", "k", "n"), [(1, 1024, 70), (40, 512, 33), (3, 2048, 200)])
def test_bit_products_in_a_small_l1_take_columns_in_groups(bits, rows, k, n):
    shape = (rows, k)
    machine = with_l1(MACHINES["spatz-mx"], 48 << 10 if k > 1024 else 24 << 10)
    schedule = check(Network(shape).layer(BbqFormat(bits), n, 128).model(shape), machine)
    assert len(schedule.ops[-1].tiles) > 1 or bits * n * k < 100_000


def test_programs_for_any_vlen_give_the_same_bits():
    shape = (3, 256)
    for kind in (BbqFormat(2), BbqFormat(4)):
        model = Network(shape).layer(kind, 19, 128).model(shape)
        for vlen in (128, 1024):
            check(model, load_machine("rvv-generic", {"vector.vlen": vlen}))


def test_what_has_no_kernel_is_named():
    shape = (3, 24)
    model = Network(shape).layer(BbqFormat(2), 4, 4).model(shape)
    with pytest.raises(ModelError, match=r"quantize0.*block of 4"):
        prepare(model, None)


def decibels(got, wanted):
    return 10 * math.log10((wanted**2).mean() / max(((got - wanted) ** 2).mean(), 1e-30))


@pytest.mark.parametrize("scheme", ["bbq1", "bbq2", "bbq3", "bbq4", "bbq3_symmetric", "bbq4_symmetric"])
def test_a_trained_network_is_approximated_with_a_warning_and_runs_bit_for_bit(scheme):
    source = network(
        """g (float[4, 64] x) => (float[4, 24] y) {
          a = Gemm <transB = 1, alpha = 0.5> (x, w0, b0)
          b = Relu (a)
          y = Gemm (b, w2)
        }""",
        w0=(96, 64), b0=(96,), w2=(96, 24),
    )  # fmt: skip
    samples = np.random.default_rng(3).standard_normal((64, 64)).astype(np.float32)
    with pytest.warns(BbqCeilingWarning, match=r"13\.46"):
        model = quantize_model(source, scheme, calibration={"x": samples})
    schedule = check(model, MACHINES["spatz-mx"])
    assert [node.op_type for node in model.graph if node.op_type == "BbqMatMul"] == ["BbqMatMul"] * 2
    x = {"x": samples[:4]}
    exact = ReferenceEvaluator(source).run(None, x)[0]
    found = decibels(by_reference(schedule, x)[0], exact)
    assert found > {"1": 0, "2": 1.5, "3": 2.5, "4": 3.5}[scheme[3]]


def test_convolutions_are_approximated_where_a_block_divides_the_channels():
    samples = {"x": np.random.default_rng(0).standard_normal((8, 3, 8, 8)).astype(np.float32)}
    with pytest.warns(BbqCeilingWarning):
        model = quantize_model(residual(), "bbq4", calibration=samples)
    assert sum(node.op_type == "BbqConv" for node in model.graph) == 3  # the first has 3 channels
    check_near(model)


def check_near(model):
    """A first FP32 layer sums in another order, so codes may flip: near, not equal."""
    schedule = build(prepare(model, None), MACHINES["spatz-mx"])
    inputs = feeds(schedule)
    outputs = by_schedule(schedule, inputs)
    assert same_bits(by_simulator(schedule, inputs), outputs)
    assert decibels(outputs[0], by_reference(schedule, inputs)[0]) > 25


def test_calibration_is_asked_for_and_bad_samples_are_named():
    source = network("g (float[4, 64] x) => (float[4, 8] y) { y = MatMul (x, w) }", w=(64, 8))
    with pytest.raises(DataError, match="no samples"):
        quantize_model(source, "bbq2")
    for samples, message in (
        (np.zeros((4, 64)), "all zero"),
        (np.zeros((4, 63)), "shape"),
        (np.full((4, 64), np.nan), "NaN"),
    ):
        with pytest.raises(DataError, match=message), pytest.warns(BbqCeilingWarning):
            quantize_model(source, "bbq2", calibration={"x": samples})
