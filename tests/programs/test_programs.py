"""Programs that clang compiled, on the simulator and under QEMU: same standard output, same exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from potluck.isa.elf import Program
from potluck.isa.errors import ProgramError
from potluck.isa.machine import load_machine
from potluck.sim.cluster import Cluster
from potluck.sim.linux.process import Environment
from tests.programs.declared import FLAGS, PROGRAMS, Declared


@pytest.fixture(scope="session")
def executables(tmp_path_factory: pytest.TempPathFactory, zig: None) -> Path:
    """A folder for the executables."""
    return tmp_path_factory.mktemp("programs")


def compiled(declared: Declared, folder: Path) -> Path:
    target = folder / declared.name
    if not target.exists():
        source = Path(__file__).parent / "drivers" / f"{declared.name}.c"
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, str(source), "-o", str(target)]
        subprocess.run(command, check=True, capture_output=True, text=True)
    return target


@pytest.mark.parametrize("vlen", [128, 512])
@pytest.mark.parametrize("declared", PROGRAMS, ids=lambda declared: declared.name)
def test_a_compiled_program_prints_what_it_prints_under_qemu(
    declared: Declared, vlen: int, executables: Path, qemu: str
) -> None:
    path = compiled(declared, executables)
    command = [qemu, "-cpu", f"rv64,v=true,vlen={vlen},vext_spec=v1.0", str(path), *declared.arguments]
    theirs = subprocess.run(command, capture_output=True, cwd=executables, env=dict(os.environ), check=False)
    machine = load_machine("rvv-generic", {"vector.vlen": vlen})
    environment = Environment(list(declared.arguments), {}, name=declared.name)
    cluster = Cluster(Program.load(path), machine, environment=environment)
    try:
        cluster.run()
    except ProgramError:
        if not cluster.exit_code:  # a status other than 0 is an answer, all else is a failure
            raise
    assert cluster.kernel is not None and theirs.stdout
    assert bytes(cluster.kernel.stdout.kept) == theirs.stdout
    assert cluster.exit_code == theirs.returncode
    assert cluster.harts[0].instructions > 1000
