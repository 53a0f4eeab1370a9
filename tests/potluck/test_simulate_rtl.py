"""Mode rtl: the same program in RTL, told in one result, and what it is not for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from potluck import saved
from potluck.compiler.compile import compile_model
from potluck.hdl.cluster import ClusterBuild
from potluck.hdl.simulate import simulate_in_rtl
from potluck.isa.assembly.assembler import assemble_file
from potluck.isa.elf import Program
from potluck.isa.errors import DataError, MachineError, ProgramError
from potluck.isa.machine import load_machine
from potluck.isa.manifest import HostNode, Layer
from potluck.sim.simulate import simulate
from tests.compiler.networks import network
from tests.rtl.bench.cluster_programs import machine

END = "li a0, 0\nli a7, 93\necall\n"
LOOP = f"""
.globl _start
_start: li a0, 16
  vsetvli t0, a0, e32, m1, ta, ma
  la a1, data
  vle32.v v1, (a1)
  li s0, 5
body: vmul.vv v2, v1, v1
  vadd.vv v1, v2, v1
  addi s0, s0, -1
  bnez s0, body
done: vse32.v v1, (a1)
  {END}
.data
.balign 64
data: .word 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16
"""


def _program(source: str, tmp_path: Path) -> Program:
    path = tmp_path / "p.s"
    path.write_text(source)
    return assemble_file(path)


@pytest.fixture(scope="module")
def build() -> ClusterBuild:
    return ClusterBuild(machine(), "-O0")


@pytest.mark.usefixtures("rtl_tools")
def test_same_program_in_rtl(build: ClusterBuild, tmp_path: Path) -> None:
    program = _program(LOOP, tmp_path)
    body, done = program.symbols["body"], program.symbols["done"]
    program.manifest.layers.append(Layer("loop", "Mul+Add", body, done))
    result = simulate_in_rtl(program, {}, build.machine, build=build)
    found = result.rtl
    assert found is not None and result.mode == "rtl"
    assert (found.difference, found.instructions, found.cycles) == ("", result.instructions, result.cycles)
    layers = {layer.name: layer for layer in found.layers}
    assert layers.keys() == {"loop", "(runtime)"}
    assert layers["loop"].rtl_cycles >= 5 * 4 and layers["(runtime)"].cycles > 0
    # The ecall leaves when everything before it has come to its end.
    assert 0 < sum(layer.rtl_cycles for layer in found.layers) <= found.rtl_cycles
    path = tmp_path / "r.json"
    path.write_text(json.dumps(result.to_json()))
    assert saved.load(path)["rtl"]["rtl_cycles"] == found.rtl_cycles


@pytest.mark.usefixtures("rtl_tools")
def test_compiled_network_in_rtl(build: ClusterBuild) -> None:
    """Every layer has its cycles on both; outputs are those of mode timed."""
    text = "g (float[3, 40] x, float[40, 9] w) => (float[3, 9] y) { p = MatMul (x, w)\n y = Relu (p) }"
    program = compile_model(network(text), build.machine)
    rng = np.random.default_rng(3)
    inputs = {
        tensor.name: rng.standard_normal(tensor.shape).astype(np.float32)
        for tensor in program.manifest.inputs
    }
    result = simulate_in_rtl(program, inputs, build.machine, build=build)
    found, timed = result.rtl, simulate(program, inputs, build.machine)
    assert found is not None and found.difference == ""
    assert np.array_equal(result.outputs["y"], timed.outputs["y"])
    assert np.allclose(result.outputs["y"], np.maximum(inputs["x"] @ inputs["w"], 0), atol=1e-5)
    assert [layer.name for layer in found.layers] == [layer.name for layer in timed.layers]
    assert found.cycles == timed.cycles


@pytest.mark.usefixtures("rtl_tools")
def test_what_the_rtl_does_not_execute_is_named(build: ClusterBuild, tmp_path: Path) -> None:
    program = _program(LOOP.replace("vmul.vv v2, v1, v1", "vredsum.vs v2, v1, v1"), tmp_path)
    found = simulate_in_rtl(program, {}, build.machine, build=build).rtl
    assert found is not None
    assert (
        "vredsum.vs v2, v1, v1" in found.difference
        and "its vector unit does not execute sums" in found.difference
    )


def test_dram_of_commands(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"--set dram\.kind=simple"):
        simulate_in_rtl(_program(LOOP, tmp_path), {}, load_machine("spatz-mx"))


def test_what_needs_a_host(tmp_path: Path) -> None:
    program = _program(LOOP, tmp_path)
    program.manifest.host.append(HostNode("n", "If", "control flow", "", [], []))
    with pytest.raises(ProgramError, match="no host that computes n"):
        simulate_in_rtl(program, {}, machine())
    program = _program(LOOP + ".globl tohost\ntohost: .dword 0\n", tmp_path)
    with pytest.raises(ProgramError, match="tohost"):
        simulate_in_rtl(program, {}, machine())


def test_no_trace_of_it(potluck, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    elf = tmp_path / "p.elf"
    _program(LOOP, tmp_path).save(elf)
    status, text = potluck("simulate", elf, "--mode", "rtl", "--trace", tmp_path / "t.log")
    assert status == 1 and "mode rtl has no cycles to trace" in text


def test_unknown_input(tmp_path: Path) -> None:
    """Said before anything is built."""
    with pytest.raises(DataError, match="no such input"):
        simulate_in_rtl(_program(LOOP, tmp_path), {"x": 0}, machine())  # type: ignore[dict-item]
