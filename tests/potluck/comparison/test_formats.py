"""`potluck formats`: rows against independent measurements, fronts, files, and networks of other kinds."""

import csv
import json

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import potluck
from potluck.assets import load_test_images, model_path
from potluck.cli import app
from potluck.comparison.command import default_schemes
from potluck.comparison.path import instructions
from potluck.comparison.plot import draw
from potluck.comparison.rows import Row, fronts
from potluck.compiler.schemes import Assignment, schemes
from potluck.evaluation.metrics import Estimate, Score
from potluck.isa.errors import DataError

IMAGES, LABELS = load_test_images(300)


def formats(*arguments):
    result = CliRunner().invoke(app, ["formats", *map(str, arguments)])
    return result.exit_code, result.output, result.exception


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """ResNet-8 in four formats, a mixture, and a network that passes for trained."""
    folder = tmp_path_factory.mktemp("formats")
    np.savez(folder / "data.npz", input=IMAGES, labels=LABELS)
    Assignment({"stage3_conv2": "mxfp4"}, "int8").save(folder / "mixed.json")
    potluck.quantize(model_path(), "int4", calibration={"input": IMAGES[:30]}, dims={"batch": 1}).save(
        folder / "qat.onnx"
    )
    status, text, error = formats(
        model_path(), "--data", folder / "data.npz", "--schemes", "mxfp8,int8,pot_apot", "--assign",
        folder / "mixed.json", "--trained", folder / "qat.onnx", "--csv", folder / "t.csv", "--plot", folder / "p.svg",
        "--json", folder / "r.json",
    )  # fmt: skip
    assert status == 0, (text, error)
    return folder, json.loads((folder / "r.json").read_text()), text


def test_rows_say_what_the_machine_and_the_networks_say(report):
    _, found, text = report
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == ["fp32", "mxfp8", "int8", "pot_apot", "mixed", "qat"]
    assert [row["mode"] for row in rows.values()] == ["FP32", "PTQ", "PTQ", "PTQ", "PTQ", "QAT"]
    assert found["data"]["calibration"]["samples"] == 30
    calibration = {"input": IMAGES[:30]}
    result = potluck.run(model_path(), {"input": IMAGES[30:31]}, "int8", calibration=calibration)
    assert (rows["int8"]["cycles"], rows["int8"]["joules"]) == (
        result.cycles,
        pytest.approx(result.energy_joules),
    )
    # on the machine, image by image
    program = potluck.compile(potluck.quantize(model_path(), "mxfp8"))
    logits = [
        potluck.simulate(program, {"input": IMAGES[i : i + 1]}, "functional").outputs["logits"]
        for i in range(30, 50)
    ]
    assert rows["mxfp8"]["score"]["agreement"]["value"] > 0.98
    reference = np.concatenate(logits).argmax(1)
    assert np.mean(reference == LABELS[30:50]) >= rows["mxfp8"]["score"]["accuracy"]["value"] - 0.15
    assert (rows["pot_apot"]["weight_bits"], rows["pot_apot"]["activation_bits"]) == (4, 8)
    assert rows["pot_apot"]["kept_high"] == ["stem"]
    assert rows["int8"]["kept_high"] == []
    assert rows["mxfp8"]["path"].startswith("vmxdotp.wf 99 %, vfmacc.vf")
    assert rows["int8"]["path"] == "vwmacc.vx"
    assert len(rows["int8"]["layers"]) == 10
    assert min(rows["int8"]["layers"].values()) > 20
    assert rows["fp32"]["effective_bits"] == 32
    assert "vmxdotp.wf" in text


def test_no_front_holds_both_ptq_and_qat(report):
    _, found, _ = report
    assert found["fronts"]["QAT"] == ["qat"]
    assert set(found["fronts"]["PTQ"]) <= {"mxfp8", "int8", "pot_apot", "mixed"}
    marked = {row["name"] for row in found["rows"] if row["pareto"]}
    assert marked == {name for front in found["fronts"].values() for name in front}


def test_files(report):
    folder, found, _ = report
    with (folder / "t.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["scheme"] for line in lines] == [row["name"] for row in found["rows"]]
    assert float(lines[1]["sqnr_db:head"]) == found["rows"][1]["layers"]["head"]
    svg = (folder / "p.svg").read_text()
    assert svg.lstrip().startswith("<?xml")
    assert "effective bytes" in svg or "<svg" in svg


def row(name, mode, size, value):
    made = Score(
        "agreement", value, 100, None, None, Estimate(value, value - 0.01, min(1, value + 0.01)), 20.0
    )
    return Row(name, mode, made, {}, size, 4.0, 4, 8, (), None, None, 0, "", "", "")


def test_fronts_are_what_nothing_beats(tmp_path):
    rng = np.random.default_rng(5)
    rows = [
        row(f"r{i}", "PTQ" if i % 2 else "QAT", int(rng.integers(1, 30)), float(rng.integers(1, 30)) / 30)
        for i in range(60)
    ]
    rows.append(row("fp32", "FP32", 1, 1.0))
    found = fronts(rows)
    assert found.keys() == {"PTQ", "QAT"}
    for mode, front in found.items():
        own = [item for item in rows if item.mode == mode]
        for item in own:
            beaten = any(
                other.bytes <= item.bytes and other.score.value >= item.score.value
                and (other.bytes, other.score.value) != (item.bytes, item.score.value)
                for other in own
            )  # fmt: skip
            assert (item in front) == (not beaten)
    draw(rows, tmp_path / "a.svg")
    draw(rows, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    draw(rows, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(DataError, match="suffix"):
        draw(rows, tmp_path / "d.gif")


def weights(model, **shapes):
    rng = np.random.default_rng(2)
    for name, shape in shapes.items():
        array = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:] or shape))
        model.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    return model


def test_depthwise_network_without_labels(tmp_path):
    model = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["" : 17]>
    g (float[1, 3, 16, 16] image) => (float[1, 7] scores) {
      a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (image, w0, b0)
      b = Relu (a)
      c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 32> (b, w1)
      d = Relu (c)
      e = Conv <kernel_shape = [1, 1]> (d, w2)
      f = GlobalAveragePool (e)
      g = Flatten (f)
      scores = Gemm <transB = 1> (g, w3, b3)
    }""")
    onnx.save(weights(model, w0=(32, 3, 3, 3), b0=(32,), w1=(32, 1, 3, 3), w2=(48, 32, 1, 1), w3=(7, 48), b3=(7,)),
              tmp_path / "m.onnx")  # fmt: skip
    np.savez(tmp_path / "d.npz", inputs=np.random.default_rng(0).random((40, 3, 16, 16)))
    arguments = ["--data", tmp_path / "d.npz", "--schemes", "int4,mxfp8", "--json", tmp_path / "r.json"]
    status, text, error = formats(tmp_path / "m.onnx", *arguments)
    assert status == 0, (text, error)
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["metric"] == "agreement"
    # depthwise convolutions are spared by all, first ones by MX, whose blocks they would not fill
    assert [row["kept_high"] for row in found["rows"]] == [[], ["Conv_2"], ["Conv_0", "Conv_2"]]
    assert "few" in text


def test_regression_with_matmuls_and_attention_is_judged_by_noise(tmp_path):
    model = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["" : 17]>
    g (float[batch, 8, 32] x) => (float[batch, 8, 1] y) {
      q = MatMul (x, w0)
      k = MatMul (x, w1)
      t = Transpose <perm = [0, 2, 1]> (k)
      s = MatMul (q, t)
      p = Softmax (s)
      a = MatMul (p, x)
      y = MatMul (a, w2)
    }""")
    onnx.save(weights(model, w0=(32, 32), w1=(32, 32), w2=(32, 1)), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).standard_normal((60, 8, 32)))
    status, text, error = formats(
        tmp_path / "m.onnx", "--data", tmp_path / "d.npz", "--schemes", "int8,mxfp8", "--no-cycles",
        "--plot", tmp_path / "p.svg", "--json", tmp_path / "r.json",
    )  # fmt: skip
    assert status == 0, (text, error)
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["metric"] == "sqnr"
    assert found["rows"][1]["score"]["value"] > 20
    assert found["rows"][1]["cycles"] is None
    assert len(found["rows"][1]["layers"]) == 3  # products of activations have no weights


def test_tokens_and_a_batch_that_is_written_into_the_network(tmp_path):
    tokens = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
    g (int64[batch, 8] ids) => (float[batch, 5] logits) {
      e = Gather (table, ids)
      h = MatMul (e, w1)
      r = Relu (h)
      p = ReduceMean <axes = [1], keepdims = 0> (r)
      logits = Gemm (p, w2)
    }""")
    fixed = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
    g (float[batch, 4, 6, 6] x) => (float[batch, 5] y) {
      c = Conv <kernel_shape = [3, 3]> (x, w1)
      f = Reshape (c, shape)
      y = Gemm <transB = 1> (f, w2)
    }""")
    weights(tokens, table=(50, 16), w1=(16, 24), w2=(24, 5))
    weights(fixed, w1=(8, 4, 3, 3), w2=(5, 128))
    fixed.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 128]), "shape"))
    rng = np.random.default_rng(0)
    data = {"tokens": rng.integers(0, 50, (60, 8)), "fixed": rng.standard_normal((60, 4, 6, 6))}
    for name, model in (("tokens", tokens), ("fixed", fixed)):
        onnx.save(model, tmp_path / "m.onnx")
        np.savez(tmp_path / "d.npz", inputs=data[name], labels=rng.integers(0, 5, 60))
        arguments = [
            "--data",
            tmp_path / "d.npz",
            "--schemes",
            "int8",
            "--no-cycles",
            "--json",
            tmp_path / "r.json",
        ]
        status, text, error = formats(tmp_path / "m.onnx", *arguments)
        assert status == 0, (name, text, error)
        rows = json.loads((tmp_path / "r.json").read_text())["rows"]
        assert rows[1]["score"]["agreement"]["value"] > 0.9
        assert rows[1]["score"]["sqnr"] > 25


def test_what_does_not_fit_is_left_out_and_what_is_unknown_is_an_error(tmp_path):
    np.savez(tmp_path / "d.npz", input=IMAGES[:60], labels=LABELS[:60])
    base = [model_path(), "--data", tmp_path / "d.npz", "--no-cycles"]
    status, text, _ = formats(*base, "--schemes", "int4,int4:clip,pot_recover")
    assert status == 0
    assert "pot_recover left out" in text
    assert "int4:clip" in text
    assert "vwmacc" not in text  # nothing was simulated
    status, _, error = formats(*base, "--schemes", "int4:magic")
    assert status == 1
    assert "magic" in str(error)
    status, _, error = formats(*base, "--schemes", "int9")
    assert status == 1
    assert "int9" in str(error)
    status, _, error = formats(*base, "--schemes", "pot_recover")
    assert status == 1
    assert "no scheme fits" in str(error)


def test_every_scheme_for_trained_networks_is_there():
    names = default_schemes()
    assert {"fp32", "int4", "mxfp4", "pot_msq"} <= set(names)
    assert not [name for name in names if "bbq" in name or name in ("none", "pot_recover")]
    assert len(names) >= len([name for name in schemes() if "bbq" not in name]) - 2


def test_instructions_of_layers():
    program = potluck.compile(potluck.quantize(model_path(), "mxfp4"))
    found = instructions(program)
    assert found["stem"] == ("vfmacc.vf",)
    assert found["stage1_conv1"] == ("vmxdotp.wf",)
