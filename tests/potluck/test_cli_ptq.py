"""Better quantization from the command line: what is written, printed and refused."""

import json

import numpy as np
import onnx

from potluck import cli
from potluck.assets import load_test_images, model_path


def run(monkeypatch, capsys, *arguments):
    """Exit status and everything printed, through the real entry point."""
    monkeypatch.setattr("sys.argv", ["potluck", *map(str, arguments)])
    status = 0
    try:
        cli.main()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def test_quantize_improves_and_reports(monkeypatch, capsys, tmp_path):
    images, _ = load_test_images(12)
    np.savez(tmp_path / "x.npz", input=images[:8])
    np.savez(tmp_path / "t.npz", input=images[8:])
    common = ("--scheme", "int4", "--calibration", tmp_path / "x.npz", "--tuning", tmp_path / "t.npz")
    better = ("--ptq", "gptq,bias", "--keep", "last,stem", "--calibration-method", "mse")
    status, text = run(
        monkeypatch, capsys, "quantize", model_path(), *common, *better, "-o", tmp_path / "q.onnx",
        "--json", tmp_path / "q.json",
    )  # fmt: skip
    assert status == 0, text
    assert "stage1_conv1" in text and "tuning: 4 samples" in text
    record = json.loads((tmp_path / "q.json").read_text())
    held = {item.key: item.value for item in onnx.load(tmp_path / "q.onnx").metadata_props}
    assert json.loads(held["potluck.ptq"]) == record
    assert set(record["kept"]) == {"stem", "head"} and record["calibration_method"] == "mse"
    status, text = run(
        monkeypatch, capsys, "run", tmp_path / "q.onnx", "--input", tmp_path / "t.npz", "--mode", "functional"
    )
    assert status == 1 and "4 of the 4 input samples are tuning samples too" in " ".join(text.split())


def test_mistakes_are_one_message(monkeypatch, capsys, tmp_path):
    command = ("quantize", model_path(), "--scheme", "int4", "-o", tmp_path / "q.onnx")
    status, text = run(monkeypatch, capsys, *command, "--ptq", "gptk")
    assert status == 1 and "no PTQ method is called 'gptk'" in text and "'gptq'" in text
    status, text = run(monkeypatch, capsys, *command, "--ptq", "gptq")
    assert status == 1 and "has no samples" in text
    assert not (tmp_path / "q.onnx").exists()


def test_schemes_lists_the_methods(monkeypatch, capsys):
    status, text = run(monkeypatch, capsys, "schemes")
    assert status == 0 and "smoothquant" in text and "better" in text
