import pytest

from potluck.isa.machine import load_machine
from potluck.kernels.program.standalone import build
from potluck.sim.simulate import simulate


@pytest.fixture(scope="session")
def run():
    """Run a kernel on both harts of the machine; returns the simulator's result."""

    def run(kernel, rows, mode="functional", vlen=512, **inputs):
        options = {key: inputs.pop(key) for key in ("granule", "repeat", "operands") if key in inputs}
        machine = load_machine("spatz-mx", {"vector.vlen": vlen})
        return simulate(build(kernel, rows, **options), inputs, machine, mode)

    return run
