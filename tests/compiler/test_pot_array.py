"""Networks on the PoT accelerator: schedule, simulator and onnx's evaluator agree to the bit; cost decides."""

import numpy as np
import pytest
from networks import network, residual
from running import by_reference, by_schedule, by_simulator, feeds, same_bits

from potluck.compiler.build import build, prepare
from potluck.compiler.compile import generate
from potluck.isa.machine import load_machine
from potluck.isa.pot import POT_FORMATS
from potluck.sim.simulate import simulate

POT = load_machine("spatz-mx-pot", {"dram.kind": "simple"})
SPATZ = load_machine("spatz-mx", {"dram.kind": "simple"})
SINGLE = "tflite_single"


def samples(shape, count=8, seed=3):
    return {"x": np.random.default_rng(seed).standard_normal((count, *shape[1:])).astype(np.float32)}


CHAIN = """g (float[2, 3, 25, 26] x) => (float[2, 20, 13, 13] y) {
  a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w0, b0)
  b = Relu (a)
  c = Conv <kernel_shape = [3, 3], pads = [1, 0, 1, 2], group = 24> (b, w1, b1)
  low = Constant <value_float = 0.0> ()
  high = Constant <value_float = 1.25> ()
  d = Clip (c, low, high)
  e = Conv <kernel_shape = [3, 3], pads = [2, 2, 2, 2], dilations = [2, 2], strides = [2, 2]> (d, w2)
  y = Conv <kernel_shape = [1, 1]> (e, w3, b3)
}"""


def chain():
    shapes = {"w0": (24, 3, 3, 3), "b0": (24,), "w1": (24, 1, 3, 3), "b1": (24,), "w2": (17, 24, 3, 3)}
    return network(CHAIN, 4, w3=(20, 17, 1, 1), b3=(20,), **shapes)


def on_array(schedule):
    """Names of operators that run on the accelerator, with the planes of their weights."""
    return [(op.op, op.format) for op in schedule.ops if " on array" in op.format]


def agree(model, machine=POT, outputs=True):
    """Builds, and compares schedule, simulator and evaluator; returns the schedule."""
    schedule = build(model, machine)
    given = feeds(schedule)
    expected = by_schedule(schedule, given)
    assert same_bits(by_simulator(schedule, given), expected)
    if outputs:
        assert same_bits(expected, by_reference(schedule, given))
    assert np.ptp(expected[0]) > 0
    return schedule


@pytest.mark.parametrize("scheme", ["int8", "int4", *POT_FORMATS])
def test_convolutions_run_on_the_array_to_the_bit(scheme):
    model = prepare(chain(), scheme, calibration=samples((2, 3, 25, 26)), requantization=SINGLE)
    schedule = agree(model)
    found = on_array(schedule)
    kinds = {name for _, name in found}
    assert len(found) >= 2
    if scheme in POT_FORMATS:
        assert f"{scheme} on array" in kinds
    assert same_bits(
        by_simulator(schedule, feeds(schedule)), by_simulator(build(model, SPATZ), feeds(schedule))
    )


def test_only_its_own_law_goes_to_the_array():
    model = prepare(chain(), "pot_apot", calibration=samples((2, 3, 25, 26)))
    assert not on_array(build(model, POT))
    single = prepare(chain(), "pot_apot", calibration=samples((2, 3, 25, 26)), requantization=SINGLE)
    assert on_array(build(single, POT)) and not on_array(build(single, SPATZ))


def test_cost_decides():
    """A slow accelerator gets nothing; where it gets layers, they take less time there, the smallest, too."""
    body = """g (float[1, 16] x) => (float[1, 8] y) {
      a = MatMul (x, w0)
      b = Relu (a)
      y = MatMul (b, w1)
    }"""
    small = network(body, 2, w0=(16, 12), w1=(12, 8))
    model = prepare(small, "pot_apot", calibration=samples((1, 16)), requantization=SINGLE)
    slow = load_machine("spatz-mx-pot", {"dram.kind": "simple", "pot.engine.fill_cycles": "10000"})
    assert not on_array(agree(model, slow))
    schedule = agree(model)
    assert on_array(schedule)
    first = [op.name for op in schedule.ops if " on array" in op.format]
    cycles = [
        {layer.name: layer.cycles for layer in simulate(generate(build(model, m)), feeds(schedule), m).layers}
        for m in (POT, slow)
    ]
    assert all(cycles[0][name] < cycles[1][name] for name in first)


def test_products_with_biases_run_on_the_array():
    body = """g (float[140, 40] x) => (float[140, 12] y) {
      a = Gemm <transB = 1> (x, w0, b0)
      b = Relu (a)
      c = Gemm (b, w1, b1)
      d = Relu (c)
      y = Gemm (d, w2, b2)
    }"""
    shapes = {"w0": (33, 40), "b0": (33,), "w1": (33, 65), "b1": (65,), "w2": (65, 12), "b2": (12,)}
    calibration = samples((140, 40), count=140)
    model = prepare(network(body, 2, **shapes), "pot_msq", calibration=calibration, requantization=SINGLE)
    assert len(on_array(agree(model))) == 2  # the last one's outputs are FP32


def test_a_residual_network_takes_fewer_cycles_than_on_the_cores():
    model = prepare(residual(size=24), "pot_apot", calibration=samples((1, 3, 24, 24)), requantization=SINGLE)
    schedule = agree(model, outputs=False)
    assert on_array(schedule)
    results = [
        simulate(generate(build(model, machine)), feeds(schedule), machine) for machine in (POT, SPATZ)
    ]
    there, cores = ({layer.name: layer.cycles for layer in result.layers} for result in results)
    assert results[0].cycles < results[1].cycles
    for op in schedule.ops:
        if " on array" in op.format:
            assert there[op.name] < cores[op.name]
    assert results[0].stalls["pot"] > 0 and results[0].energy["pot"] > 0
    assert all(0 <= layer.utilization <= 1 for layer in results[0].layers)
