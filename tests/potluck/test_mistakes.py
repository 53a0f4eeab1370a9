"""What users get wrong: one clear message with the next step, a non-zero exit, no traceback, nothing half-written."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from potluck.assets import model_path
from potluck.exits import Exit

MODEL = str(model_path())
MISTAKES: dict[str, tuple[str, ...]] = {
    # command -> what the message has to say, the thing and the next step
    "run nope.onnx": ("nope.onnx", "path"),
    "run folder.onnx": ("folder.onnx", "path"),
    "run empty.onnx": ("empty.onnx", "not a valid ONNX model"),
    "run text.onnx": ("text.onnx", "not a valid ONNX model"),
    "run torn.onnx": ("torn.onnx", "not a valid ONNX model"),
    "run dynamic.onnx": ("'n'", "dims="),
    "run future.onnx": ("opset 99", "Export"),
    "run unknown.onnx": ("Frobnicate",),
    "run strings.onnx": ("StringNormalizer", "--allow-host"),
    "run MODEL --scheme mxfp9": ("'mxfp9'", "Did you mean 'mxfp"),
    "run MODEL --scheme mxfp8 --exclude nope": ("nope", "neither nodes nor weights"),
    "run MODEL --machine spatz": ("'spatz'", "spatz-mx"),
    "run MODEL --machine key.toml": ("vector.vlenn", "Did you mean 'vector.vlen'"),
    "run MODEL --machine broken.toml": ("broken.toml", "not TOML"),
    "run MODEL --set vector.vlan=1": ("vector.vlan", "Did you mean 'vector.vlen'"),
    "run MODEL --set vector.vlen=100": ("vector.vlen", "128"),
    "run MODEL --set vector.vlen": ("key=value",),
    "run MODEL --set dram.kind=hbm9": ("hbm9", "hbm3"),
    "run MODEL --input nope.npz": ("nope.npz", "no such file"),
    "run MODEL --input text.npz": ("text.npz", "no .npz file", "numpy.savez"),
    "run MODEL --input torn.npz": ("torn.npz", "npz"),
    "run MODEL --input name.npz": ("'inp'", "input"),
    "run MODEL --input shape.npz": ("(1, 3, 28, 28)", "(1, 1, 28, 28)"),
    "run MODEL --mode timd": ("'timd'", "timed"),
    "run MODEL --json nowhere/r.json": ("nowhere", "Create it"),
    "run MODEL --output nowhere/r.npz": ("nowhere", "Create it"),
    "run MODEL --output folder.onnx": ("folder.onnx", "it is a folder"),
    "run MODEL --report r.pdf": ("r.pdf", ".html"),
    "run MODEL --trace r.txt": ("r.txt", "kanata"),
    "run MODEL --dim n": ("--dim", "expected"),
    "run MODEL --scheme int8 --calibration nope.npz": ("nope.npz", "no such file"),
    "quantize MODEL -o q.onnx": ("--scheme",),
    "compile MODEL -o p.elf --schedule nope.toml": ("nope.toml", "--schedule-out"),
    "run MODEL --input bomb.npz": ("bomb.npz", "promises"),
    "run MODEL --machine deep.toml": ("deep.toml", "nests too deeply"),
    "explain deep.json": ("deep.json", "nests too deeply"),
    "compile MODEL -o nowhere/p.elf": ("nowhere", "Create it"),
    "simulate text.elf": ("text.elf", "potluck compile"),
    "simulate nope.elf": ("nope.elf", "No such file"),
    "asm wrong.s -o wrong.elf": ("adddi", "addi", "line 1"),
    "isa vad.vv": ("'vad.vv'", "vadd.vv"),
    "campaign run key.toml": ("unknown key", "There are data, faults"),
    "campaign report nope.toml": ("campaign run",),
    "campaign run nope.toml": ("nope.toml",),
    "inject demo --stack hsiaoo --ber 1e-4": ("hsiaoo", "hsiao"),
    "inject demo --stack hsiao": ("--ber",),
    "explain text.json": ("text.json", "JSON"),
    "sweep MODEL --set vector.vlan=1,2": ("vector.vlan", "Did you mean"),
    "bench nope": ("'nope'", "spine"),
    "zoo nope": ("'nope'", "resnet8"),
    "rnu MODEL": ("rnu", "run"),
    "run": ("Missing argument",),
}


def _model(path: Path, op: str, kind: int = TensorProto.FLOAT, shape: Any = (1, 4), opset: int = 21) -> None:
    x, y = (helper.make_tensor_value_info(name, kind, shape) for name in "xy")
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mistakes")
    _model(folder / "dynamic.onnx", "Relu", shape=("n", 4))
    _model(folder / "future.onnx", "Relu", opset=99)
    _model(folder / "unknown.onnx", "Frobnicate")
    _model(folder / "strings.onnx", "StringNormalizer", TensorProto.STRING, (4,))
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "torn.onnx").write_bytes(model_path().read_bytes()[:5000])
    np.savez(folder / "name.npz", inp=np.zeros((1, 1, 28, 28), np.float32))
    np.savez(folder / "shape.npz", input=np.zeros((1, 3, 28, 28), np.float32))
    header = (
        b"\x93NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }".ljust(127)
        + b"\n"
    )
    with zipfile.ZipFile(folder / "bomb.npz", "w") as archive:
        archive.writestr("input.npy", header)
    (folder / "deep.toml").write_text("x = " + "[" * 5000)
    (folder / "deep.json").write_text("[" * 5000)
    (folder / "torn.npz").write_bytes((folder / "shape.npz").read_bytes()[:600])
    (folder / "folder.onnx").mkdir()
    (folder / "key.toml").write_text('name = "x"\nextends = "spatz-mx"\n[vector]\nvlenn = 512\n')
    (folder / "broken.toml").write_text("name = [")
    (folder / "wrong.s").write_text("_start: adddi a0, a0, 1\n")
    for suffix in ("onnx", "npz", "elf", "json"):
        (folder / f"text.{suffix}").write_text("hello, world")
    return folder


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake(potluck: Any, place: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "400")
    before = sorted(place.rglob("*"))
    status, said = potluck(*(MODEL if word == "MODEL" else word for word in command.split()))
    assert status not in (0, None) and "Traceback" not in said
    for words in MISTAKES[command]:
        assert words.lower() in said.lower(), said
    assert len(said) < 3000 and sorted(place.rglob("*")) == before


def _start(folder: Path, *words: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "potluck", *words], cwd=folder, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)  # fmt: skip


def test_a_full_disk(tmp_path: Path) -> None:
    """Files of this process may have 2 KB: what is written fails in the middle."""

    def little() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))

    process = _start(tmp_path, "run", MODEL, "--scheme", "mxfp8", "--json", "r.json", preexec_fn=little)
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 1 and "Traceback" not in said and "File too large" in said
    assert not list(tmp_path.iterdir())


def test_an_interrupt(tmp_path: Path) -> None:
    def heard() -> None:  # who is started in the background of a script inherits that it is not
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = _start(tmp_path, "inject", "demo", "--scheme", "int8", "--ber", "1e-4", "--trials", "100000",
                     "--json", "r.json", start_new_session=True, preexec_fn=heard)  # fmt: skip
    try:
        time.sleep(12)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == Exit.INTERRUPTED and "Traceback" not in said, said[-2000:]
    assert not list(tmp_path.iterdir())


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    """``potluck isa | head -1``."""
    line = f"{sys.executable} -m potluck isa | head -1"
    made = subprocess.run(
        line, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert made.stdout.count("\n") == 1 and "Traceback" not in made.stderr and "Exception" not in made.stderr
