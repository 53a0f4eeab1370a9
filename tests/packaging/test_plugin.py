"""The sample package, installed as any other: what it adds is found, and works, beside Potluck's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from potluck.isa.plugins import GROUPS

SAMPLE = Path(__file__).parents[2] / "examples" / "plugin"
USE = '''
import json, sys
import numpy as np, onnx, potluck
from onnx import TensorProto, helper as h
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.formats.elements import FORMATS
from potluck.isa.machine import load_machine, presets
from potluck.isa.table import TABLE
from potluck.sim.dram.kind import kinds, load_kind
from potluck.sim.ecc.interface import Status
from potluck.sim.ecc.registry import code

import ml_dtypes
found = {"presets": presets(), "kinds": kinds()}

machine = load_machine("example-wide")
found["machine"] = [machine.vector.vlen, machine.dram.kind, load_kind(machine.dram.kind).timing["nRCDRD"]]

values = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e3m4).astype(np.float32)
found["format"] = bool(np.array_equal(FORMATS["e3m4"].decode(np.arange(256)), values, equal_nan=True))

parity, data = code("example_parity_33_32"), np.arange(8, dtype=np.uint64).reshape(2, 4)
checks = parity.encode(data).checks
wrong = data.copy(); wrong[1, 3] ^= np.uint64(1 << 40)
found["code"] = [parity.check_bits, parity.decode(data, checks).status.max(1).tolist(),
                 (parity.decode(wrong, checks).status.max(1) == Status.DUE).tolist()]

source = """
.globl _start
_start: bnez a0, end
li a0, 7
li a1, 12
example.absd a2, a0, a1
vsetivli t0, 8, e16, m1, ta, ma
vid.v v1
vmv.v.i v2, 3
example.vabsd.vv v3, v1, v2
la t1, begin_signature
sd a2, 0(t1)
addi t1, t1, 8
vse16.v v3, (t1)
li a0, 0
end: li a7, 93
ecall
.data
.align 3
begin_signature: .zero 24
end_signature:
"""
open("p.s", "w").write(source)

x, y = (h.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2, 8, 8]) for n in "xy")
graph = h.make_graph([h.make_node("Snake", ["x"], ["y"], domain="example", name="snake")], "g", [x], [y])
onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 24), h.make_opsetid("example", 1)], ir_version=11),
          "snake.onnx")
value = np.linspace(-4, 4, 128, dtype=np.float32).reshape(1, 2, 8, 8)
result = potluck.run("snake.onnx", {"x": value}, machine=machine)
wanted = value.astype(np.float64) + np.sin(value.astype(np.float64)) ** 2
found["operator"] = [float(np.abs(result.outputs["y"] - wanted).max()), result.layers[0].op, result.cycles]

from potluck.assets import load_test_images, model_path
images, labels = load_test_images(4)
quantized = potluck.quantize(model_path(), "example_mxfp6_e3m2_mxfp8")
right = potluck.simulate(potluck.compile(quantized, machine), {"input": images[:1]}).outputs["logits"]
quantized.save("q.onnx")
found["types"] = sorted({TensorProto.DataType.Name(t.data_type) for t in onnx.load("q.onnx").graph.initializer})
found["scheme"] = int(right.argmax()) == int(labels[0])
json.dump(found, open("found.json", "w"))
'''


def _run(*words: str | Path, path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, env=environment,
                          cwd=folder, timeout=500, check=False)  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample in it, put there by pip."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(SAMPLE, folder / "source")
    made = _run("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target",
                folder / "there", folder / "source", path=folder, folder=folder)  # fmt: skip
    assert made.returncode == 0, made.stderr
    return folder / "there"


def test_everything_that_it_adds_works(installed: Path, tmp_path: Path) -> None:
    made = _run("-c", USE, path=installed, folder=tmp_path)
    assert made.returncode == 0, made.stderr[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert "example-wide" in found["presets"] and "spatz-mx" in found["presets"]
    assert "example-hbm3-slow" in found["kinds"] and "rules" not in found["kinds"]
    assert found["machine"] == [1024, "example-hbm3-slow", 40]
    assert found["format"] is True
    assert found["code"] == [8, [0, 0], [False, True]]
    error, title, cycles = found["operator"]
    assert error < 2e-6 and "Snake" in title and cycles > 0
    assert {"FLOAT6E3M2", "FLOAT8E8M0"} <= set(found["types"]) and found["scheme"] is True
    made = _run("-m", "potluck", "asm", "p.s", "-o", "p.elf", path=installed, folder=tmp_path)
    made = _run("-m", "potluck", "simulate", "p.elf", "--signature", "p.sig", path=installed, folder=tmp_path)
    assert made.returncode == 0, made.stdout + made.stderr
    words = [int(line, 16) for line in (tmp_path / "p.sig").read_text().split()]
    assert words == [5, 0, 2 << 16 | 3, 0 << 16 | 1, 2 << 16 | 1, 4 << 16 | 3]
    shown = _run("-m", "potluck", "isa", "example.absd", path=installed, folder=tmp_path).stdout
    assert "Xexample" in shown and "unsigned integers" in shown


def test_the_pages_show_the_package() -> None:
    """Every file of it is a block of a guide (tests/docs compares the two), every group a row of the page."""
    docs = SAMPLE.parents[1] / "docs"
    page = (docs / "extending.md").read_text()
    shown = page + "".join(path.read_text() for path in (docs / "howto").glob("*.md"))
    for path in (SAMPLE / "potluck_example").rglob("*.*"):
        if path.suffix in (".py", ".toml") and path.name != "__init__.py":
            assert f" {path.relative_to(docs.parent)}\n" in shown, path
    groups = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `potluck.")}
    declared = {
        line.split('"')[1]
        for line in (SAMPLE / "pyproject.toml").read_text().splitlines()
        if '" = { ' in line
    }
    assert groups == set(GROUPS) == declared


def test_nothing_of_it_is_there_without_it(tmp_path: Path) -> None:
    made = _run("-m", "potluck", "isa", "example.absd", path=tmp_path, folder=tmp_path)
    assert made.returncode == 1 and "no instruction" in made.stdout + made.stderr


def test_a_package_that_cannot_be_loaded_is_named(installed: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(installed, broken)
    (broken / "potluck_example" / "codes.py").write_text("import nowhere\n")
    made = _run(
        "-m", "potluck", "inject", "demo", "--stack", "hsiao", "--trials", "1", path=broken, folder=tmp_path
    )
    said = made.stdout + made.stderr
    assert made.returncode == 1 and "Traceback" not in said
    assert "potluck-example" in said and "nowhere" in said and "pip uninstall" in said


def test_two_files_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from potluck.isa import plugins
    from potluck.isa.errors import ToolError

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.toml").write_text("")
    monkeypatch.setattr(plugins, "added", lambda group: [("other", tmp_path / "b")])
    with pytest.raises(ToolError, match="another 'same'"):
        plugins.files("potluck.machines", tmp_path / "a")
