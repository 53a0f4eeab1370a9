"""Networks on the PoT accelerator: schedule, simulator and onnx's evaluator agree to the bit; cost decides."""

import pytest
from integer_chain import FOREIGN, agree, chain, qdq_network, samples
from networks import network, residual
from running import by_simulator, feeds, same_bits

from potluck.compiler.build import build, prepare
from potluck.compiler.compile import generate
from potluck.isa.machine import load_machine
from potluck.isa.pot.array import LAWS
from potluck.isa.pot.codes import POT_FORMATS
from potluck.sim.simulate import simulate

POT = load_machine("spatz-mx-pot", {"dram.kind": "simple"})
SPATZ = load_machine("spatz-mx", {"dram.kind": "simple"})
EIGHT = load_machine("spatz-mx-pot", {"dram.kind": "simple", "pot.multipliers": True})
SINGLE = "tflite_single"
SCHEMES = ("int8", "int4", *POT_FORMATS)


def on_array(schedule):
    """Names of operators that run on the accelerator, with the planes of their weights."""
    return [(op.op, op.format) for op in schedule.ops if " on array" in op.format]


@pytest.mark.parametrize(("scheme", "law"), [(scheme, law) for law in LAWS[:2] for scheme in SCHEMES])
def test_convolutions_run_on_the_array_to_the_bit(scheme, law):
    model = prepare(chain(25, 26), scheme, calibration=samples((2, 3, 25, 26)), requantization=law)
    schedule = agree(model, POT)
    found = on_array(schedule)
    kinds = {name for _, name in found}
    assert len(found) == 4
    if scheme in POT_FORMATS:
        assert f"{scheme} on array" in kinds
    assert same_bits(
        by_simulator(schedule, feeds(schedule)), by_simulator(build(model, SPATZ), feeds(schedule))
    )


def test_laws_that_the_ppu_lacks_stay_on_the_cores():
    model = prepare(
        chain(25, 26), "pot_apot", calibration=samples((2, 3, 25, 26)), requantization="tflite_double"
    )
    assert len(on_array(agree(model, POT))) == 1  # the last one, whose outputs are FP32
    assert not on_array(build(model, SPATZ))


def test_multipliers_take_the_same_layers():
    model = prepare(chain(25, 26), "int8", calibration=samples((2, 3, 25, 26)))
    schedule = agree(model, EIGHT)
    assert on_array(schedule) == [("Conv", "int8 on array")] * 4


@pytest.mark.parametrize("kinds", FOREIGN)
def test_networks_of_other_tools_run_on_the_array(kinds):
    """Unsigned codes: the bit of the sign is turned over. Asymmetric weights: those of 9 bits are up to five codes."""
    assert len(on_array(agree(prepare(qdq_network(*kinds)), POT))) == 1


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
    schedule = agree(model, POT)
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
    assert len(on_array(agree(model, POT))) == 3


def test_a_residual_network_takes_fewer_cycles_than_on_the_cores():
    model = prepare(residual(size=24), "pot_apot", calibration=samples((1, 3, 24, 24)), requantization=SINGLE)
    schedule = agree(model, POT, outputs=False)
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
