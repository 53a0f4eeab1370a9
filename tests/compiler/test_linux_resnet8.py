"""The trained ResNet-8 as a Linux process: NumPy's evaluation, the simulator and QEMU agree to the bit."""

import onnx_ir as ir
import pytest
from running import by_schedule, same_bits
from test_linux import Linux, simulated
from test_resnet8 import MODEL, images

from potluck.compiler.build import build, prepare
from potluck.compiler.compile import generate
from potluck.isa.machine import load_machine

pytestmark = pytest.mark.skipif(not MODEL.is_file(), reason="the trained network is not packaged")


def lowered(scheme, count, machine):
    symbol = next(iter(ir.load(MODEL).graph.inputs[0].shape))
    dims = {} if isinstance(symbol, int) else {symbol.value: count}
    return build(prepare(MODEL, scheme, dims=dims), load_machine(machine))


@pytest.mark.parametrize("count", [2, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.parametrize("scheme", ["none", "mxfp8", "mxfp4"])
def test_the_whole_network(scheme, count, qemu, tmp_path):
    schedule, x = lowered(scheme, count, "rvv-generic"), images(count)
    inputs = {schedule.inputs[0].name: x}
    want, program = by_schedule(schedule, inputs), generate(schedule)
    assert same_bits(simulated(program, inputs, schedule.target.machine, timed=True), want)
    assert same_bits(Linux(qemu, program, tmp_path).run(schedule, inputs, 256), want)
    if count == 2:  # the machine with VMXDOTP computes the same
        assert same_bits(by_schedule(lowered(scheme, count, "spatz-mx"), inputs), want)
