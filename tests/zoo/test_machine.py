"""The machine computes what the quantized ONNX network computes."""

from dataclasses import replace

import numpy as np
import pytest

from potluck.isa.machine import load_machine
from potluck.zoo.running import Stand, compared
from tests.zoo.conftest import SMALL


@pytest.fixture(scope="module")
def stands():
    made = {}

    def stand(network, count=1):
        if network.name not in made:
            few = network.samples().part(slice(0, 20))
            network = replace(network, samples=lambda: few)
            made[network.name] = Stand(network, load_machine("spatz-mx"), count, "functional")
        return made[network.name]

    return stand


def near(outcome, sqnr=100.0):
    """A whole network on the machine that gives what the reference gives."""
    assert outcome.error == "" and outcome.refused == ()
    assert outcome.macs_share == outcome.nodes_share == 100
    against = outcome.machine.against
    assert against.agreement == 100 and against.sqnr > sqnr
    assert outcome.machine.measure.value == outcome.reference.value
    return against


def test_int8_is_the_reference_bit_for_bit(zoo, stands):
    against = near(stands(zoo("mnist-cnn")).outcome("int8"))
    assert against.equal == 100 and against.difference == 0


def test_int8_with_an_average_in_fp32(zoo, stands):
    """Integers are equal; the average behind them, in another order, may move a code by one."""
    near(stands(zoo("resnet8")).outcome("int8"), sqnr=40)


@pytest.mark.parametrize("scheme", ["fp32", "mxfp8", "mxfp4"])
@pytest.mark.parametrize("name", SMALL)
def test_other_formats_differ_by_the_order_of_sums(zoo, stands, name, scheme):
    """Sums in FP32 are rounded, and the reference's in another order: 1e-5 of the largest output."""
    assert near(stands(zoo(name)).outcome(scheme)).difference < 1e-5


def test_better_quantization_is_nearer_to_fp32_and_still_the_reference(zoo, stands):
    stand = stands(zoo("resnet8"))
    plain, better = stand.outcome("mxfp4"), stand.outcome("mxfp4:clip+gptq")
    near(better)
    assert better.scheme == "mxfp4:clip+gptq" and better.noise > plain.noise


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv2", "efficientnet-lite0"])
def test_a_photo_in_int8(zoo, stands, name):
    near(stands(zoo(name)).outcome("int8"), sqnr=40)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv2", "efficientnet-lite0"])
def test_a_photo_in_mxfp8(zoo, stands, name):
    """A rounded sum now and then gets another code, which the layers behind it spread: less than quantization does."""
    outcome = stands(zoo(name)).outcome("mxfp8")
    near(outcome, sqnr=max(10.0, outcome.noise))


def test_comparison():
    reference = np.array([[1.0, 2.0, -4.0, 0.0]], np.float32)
    ours = np.array([[1.0, 2.0, -4.0, -0.0]], np.float32)
    same = compared(ours, reference)
    assert (same.agreement, same.equal, same.difference) == (100, 75, 0)  # zeros have different bits
    off = compared(np.array([[1.0, 2.5, -4.0, 3.0]], np.float32), reference)
    assert off.agreement == 0 and off.difference == 3 / 4
    assert off.sqnr == pytest.approx(10 * np.log10(21 / 9.25))
