"""The cluster in RTL against the simulator: L1, DMA, registers, and compiled networks from their ELF."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from potluck.compiler.compile import compile_model
from potluck.hdl.cluster import ClusterBuild, cluster_parameters
from potluck.hdl.lockstep import lock_step
from potluck.hdl.simulate import layers_of
from potluck.isa.elf import Program, Section
from potluck.isa.errors import DataError, MachineError, ProgramError
from potluck.isa.machine import load_machine
from potluck.isa.manifest import HostNode
from potluck.sim.memory import Memory
from potluck.sim.observation.retired import steps
from tests.compiler.networks import conv_bn
from tests.rtl.bench import core_programs, vector_programs
from tests.rtl.bench.cluster_programs import PROGRAMS, TWO, executable, machine, random_transfers, transfer
from tests.rtl.bench.lockstep_programs import executable as executable_of
from tests.rtl.bench.lockstep_programs import vector_trap

GAPS = 70
FAR, NEAR = 0x8008_0000, 0x1000_0000
needs_tools = pytest.mark.usefixtures("rtl_tools")


@pytest.fixture(scope="module")
def build() -> ClusterBuild:
    return ClusterBuild(machine(), "-O0")


@needs_tools
@pytest.mark.parametrize("gaps", [0, GAPS])
@pytest.mark.parametrize("name", PROGRAMS)
def test_directed_program(name: str, gaps: int, build: ClusterBuild, tmp_path: Path) -> None:
    found = lock_step(executable(PROGRAMS[name]), build, tmp_path, gaps)
    assert found.difference == "" and found.end == "ecall"


@needs_tools
@pytest.mark.parametrize("gaps", [0, GAPS])
@pytest.mark.parametrize("seed", [1, 2])
def test_random_transfers(seed: int, gaps: int, build: ClusterBuild, tmp_path: Path) -> None:
    found = lock_step(random_transfers(seed, 40), build, tmp_path, gaps)
    assert found.difference == "" and found.end == "ecall"


@needs_tools
@pytest.mark.slow
def test_many_random_transfers(tmp_path: Path) -> None:
    build = ClusterBuild(machine(), "-O1")
    for seed in range(100):
        found = lock_step(random_transfers(seed, 60), build, tmp_path, GAPS * (seed % 2))
        assert found.difference == "", f"seed {seed}: {found.difference}"


def run_random(build: ClusterBuild, programs: int, folder: Path) -> int:
    """Random programs of the core and of the vector unit; how many instructions they retired."""
    done = 0
    for number in range(programs):
        for bench, length in ((core_programs, 400), (vector_programs, 150)):
            program = executable_of(bench.draw(5, number, length), bench is vector_programs)
            if vector_trap(steps(program, build.machine)[0], program):
                continue
            found = lock_step(program, build, folder, GAPS * (number % 2))
            assert found.difference == "", f"{bench.__name__}, program {number}: {found.difference}"
            done += found.instructions
    return done


@needs_tools
def test_random_programs(build: ClusterBuild, tmp_path: Path) -> None:
    assert run_random(build, 2, tmp_path) > 500


@needs_tools
@pytest.mark.slow
def test_many_random_programs(tmp_path: Path) -> None:
    assert run_random(ClusterBuild(machine(), "-O1"), 60, tmp_path) > 20_000


@needs_tools
@pytest.mark.parametrize("beats", [1, 20])
def test_a_transfer_takes_the_cycles_of_the_model(beats: int, build: ClusterBuild) -> None:
    """Set-up, latency, a beat a cycle; two cycles more, of the bytes' queue and of the answer to the core."""
    alone = lock_step(executable("wfi\n" + transfer(FAR, NEAR + 0x1000, 64 * beats) + "\nwfi"), build)
    assert alone.difference == "" and alone.rtl_cycles - alone.cycles == 2


@needs_tools
@pytest.mark.parametrize("scheme", ["fp32", "mxfp8"])
def test_compiled_network(scheme: str, build: ClusterBuild, tmp_path: Path) -> None:
    """From its ELF: what it retires, its memories, and so its outputs, which are near those of onnxruntime."""
    model = conv_bn()
    program = compile_model(model, build.machine, scheme)
    (tensor,) = program.manifest.inputs
    value = np.random.default_rng(1).normal(size=tensor.shape).astype(tensor.dtype)
    found = lock_step(program, build, tmp_path, inputs={tensor.name: value})
    assert found.difference == "" and found.end == "ecall"
    layers = layers_of(program, found)
    assert {layer.name for layer in layers} >= {layer.name for layer in program.manifest.layers}
    assert abs(sum(layer.rtl_cycles for layer in layers) - found.rtl_cycles) <= 1
    memory = Memory(build.machine, program)
    assert found.run is not None
    memory.l1[:], memory.dram[:] = found.run.l1, found.run.dram
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {tensor.name: value})
    (output,) = program.manifest.outputs
    error = np.abs(memory.read_tensor(output) - expected).max() / np.abs(expected).max()
    assert error < (1e-5 if scheme == "fp32" else 0.2)


@pytest.fixture(scope="module")
def two() -> ClusterBuild:
    return ClusterBuild(machine(2), "-O0")


@needs_tools
@pytest.mark.slow
@pytest.mark.parametrize("gaps", [0, GAPS])
@pytest.mark.parametrize("name", TWO)
def test_directed_program_of_two_cores(name: str, gaps: int, two: ClusterBuild, tmp_path: Path) -> None:
    found = lock_step(executable(TWO[name]), two, tmp_path, gaps)
    assert found.difference == "" and found.end == "ecall"
    assert found.run is not None and len(found.run.others) == 1


@needs_tools
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["fp32", "mxfp8"])
def test_compiled_network_of_two_cores(scheme: str, two: ClusterBuild, tmp_path: Path) -> None:
    program = compile_model(conv_bn(), two.machine, scheme)
    (tensor,) = program.manifest.inputs
    value = np.random.default_rng(1).normal(size=tensor.shape).astype(tensor.dtype)
    found = lock_step(program, two, tmp_path, inputs={tensor.name: value})
    assert found.difference == "" and found.end == "ecall"


@needs_tools
@pytest.mark.slow
def test_two_cores_have_no_order_of_atomic_accesses(two: ClusterBuild) -> None:
    with pytest.raises(ProgramError, match="atomic"):
        two.run(executable("amoadd.d a0, a1, (s0)"), 100, 100)


@needs_tools
def test_a_difference_in_what_the_dma_leaves_is_found(build: ClusterBuild) -> None:
    """The simulator moves what the RTL does not: rows that overlap in source and target have no order there."""
    text = transfer(NEAR, NEAR + 512, 1024) + "\nwfi"
    assert "L1 differs" in lock_step(executable(text), build).difference


@needs_tools
@pytest.mark.parametrize(
    "text",
    [transfer(FAR, 0x2000_0000, 64), transfer(NEAR + 0xFFC0, FAR, 128), transfer(NEAR, 0x8000_0000, 64),
     transfer(FAR, NEAR, 64, 1 << 33, (64, 0))],
)  # fmt: skip
def test_a_transfer_outside_memory_ends_the_run(text: str, build: ClusterBuild) -> None:
    assert "DMA" in build.run(executable(text + "\nwfi"), 100, 10_000).failure


@needs_tools
def test_a_missing_input_is_named(build: ClusterBuild) -> None:
    program = executable("nop")
    with pytest.raises(DataError, match="missing"):
        build.run(compile_model(conv_bn(), build.machine, "fp32"), 100, 100)
    host = [HostNode("Cast_3", "Cast", "", "", [], [])]
    with pytest.raises(ProgramError, match="Cast_3"):
        build.run(replace(program, manifest=replace(program.manifest, host=host)), 100, 100)
    near = Section(".text.near", NEAR + 0x4000, b"\x13\0\0\0", True, False)
    with pytest.raises(ProgramError, match="L1"):
        build.run(Program([*program.sections, near], {}, program.entry), 100, 100)


@pytest.mark.parametrize(
    ("key", "value"),
    [("dram.kind", "hbm3"), ("dma.width_bits", 256), ("dma.setup_cycles", 0), ("memory.l1_bytes", 98304)],
)
def test_machines_that_the_cluster_is_not_written_for_are_refused(key: str, value: object) -> None:
    with pytest.raises(MachineError, match=key):
        cluster_parameters(load_machine("spatz-mx", {"cluster.cores": 1, "dram.kind": "simple", key: value}))
