"""The command line as a user meets it: files in, files out, exit status, one-message errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from potluck import cli
from potluck.api import load_program
from potluck.assets import load_test_images, model_path
from potluck.isa.assembly.assembler import Assembler

SOURCE = """
.text
.globl _start
_start:
    la t0, begin_signature
    li t1, 0x12345678
    sw t1, 0(t0)
    li a7, 93
    li a0, 0
    ecall
.data
.globl begin_signature
begin_signature: .word 0
.globl end_signature
end_signature:
"""


def test_assemble_disassemble_simulate_with_signature(potluck, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    source, elf, signature = tmp_path / "a.s", tmp_path / "a.elf", tmp_path / "a.sig"
    source.write_text(SOURCE)
    assert potluck("asm", source, "-o", elf)[0] == 0
    status, text = potluck("disasm", elf)
    assert status == 0
    assert "ecall" in text
    status, text = potluck("simulate", elf, "--signature", signature)
    assert status == 0
    assert signature.read_text() == "12345678\n"


def test_quantize_compile_simulate_by_files(potluck, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    quantized, elf, inputs = tmp_path / "q.onnx", tmp_path / "q.elf", tmp_path / "x.npz"
    outputs, report = tmp_path / "y.npz", tmp_path / "r.json"
    images, _ = load_test_images(1)
    np.savez(inputs, input=images)
    assert potluck("quantize", model_path(), "--scheme", "mxfp8", "-o", quantized)[0] == 0
    assert potluck("compile", quantized, "-o", elf)[0] == 0
    status, text = potluck("simulate", elf, "--input", inputs, "--output", outputs, "--json", report)
    assert status == 0, text
    assert np.load(outputs)["logits"].shape == (1, 10)
    result = json.loads(report.read_text())
    wanted = {"cycles", "seconds_at_clock", "instructions", "macs", "utilization", "energy_joules", "layers", "stalls",
              "dram", "machine", "timing_error_band", "timing_error", "host_seconds", "manifest"}  # fmt: skip
    assert wanted <= result.keys()
    roofs = result["roofs"]
    assert roofs["macs_per_cycle"]["mxfp8"] == 2 * 4 * 8  # cores, lanes, products of vmxdotp
    assert roofs["dram_bytes_per_cycle"] == 64  # the DMA's 512 bits are less than two channels of HBM3
    assert sum(result["stalls"].values()) == result["cycles"] == sum(x["cycles"] for x in result["layers"])
    parts = {key: value for key, value in result["energy_joules"].items() if key != "total"}
    assert sum(parts.values()) == pytest.approx(result["energy_joules"]["total"])
    assert sum(x["energy_joules"] for x in result["layers"]) == pytest.approx(
        result["energy_joules"]["total"]
    )


def test_a_run_as_a_page(potluck, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "out.html"
    status, text = potluck("run", model_path(), "--scheme", "mxfp8", "--report", out)
    assert status == 0 and f"wrote {out}" in text.replace("\n", "")
    assert "--report" in out.read_text()
    status, text = potluck("run", model_path(), "--report", tmp_path / "out.pdf")
    assert status == 1 and ".html" in text and [item.name for item in tmp_path.iterdir()] == ["out.html"]


def test_mx_options_and_gguf_weights(potluck, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Block size and scale rule are in the file; a wrong rule and a file that is no GGUF are named."""
    import onnx

    path, weights = tmp_path / "q.onnx", tmp_path / "w.gguf"
    options = ("--block-size", 16, "--scale-rule", "even", "--mx-small-k", "--min-channels", 8)
    assert potluck("quantize", model_path(), "--scheme", "mxfp6", *options, "-o", path)[0] == 0
    graph = onnx.load(path).graph
    kinds = {t.data_type for t in graph.initializer}
    assert {onnx.TensorProto.FLOAT6E2M3, onnx.TensorProto.FLOAT8E8M0} <= kinds
    assert any(node.op_type == "Im2col" for node in graph.node)
    status, text = potluck("quantize", model_path(), "--scheme", "mxfp6", "--scale-rule", "up", "-o", path)
    assert status == 1 and "'up'" in text and "rceil" in text
    weights.write_bytes(b"GGML" + bytes(40))
    status, text = potluck("import-gguf", model_path(), weights, "-o", path)
    assert status == 1 and "w.gguf" in text


def test_run_and_machine_overrides(potluck, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    reports = []
    for setting in ("vector.vlen=512", "vector.vlen=1024"):
        report = tmp_path / "r.json"
        status, text = potluck("run", model_path(), "--scheme", "mxfp8", "--set", setting, "--json", report)
        assert status == 0, text
        reports.append(json.loads(report.read_text()))
    assert reports[0]["macs"] == reports[1]["macs"]
    assert reports[0]["cycles"] != reports[1]["cycles"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("simulate", "missing.elf"), "missing.elf"),
        (("machine", "nowhere"), "spatz-mx"),
        (("machine", "spatz-mx", "--set", "vector.vlenn=3"), "vector.vlen"),
        (("machine", "spatz-mx", "--set", "vector.vlen=many"), "vector.vlen"),
        (("isa", "vadd.vw"), "vadd.vv"),
        (("bench", "nothing"), "spine"),
        (("run", "missing.onnx"), "missing.onnx"),
    ],
)
def test_bad_requests_fail_with_a_next_step(potluck, arguments: tuple[str, ...], message: str) -> None:  # type: ignore[no-untyped-def]
    status, text = potluck(*arguments)
    assert status == 1
    assert message in text.replace("\n", "")
    assert "Traceback" not in text


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_the_exit_status_is_the_programs_own(potluck, tmp_path: Path, status: int, foreign: bool) -> None:  # type: ignore[no-untyped-def]
    a = Assembler()
    a.text(f"li a0, {status}; li a7, 93; ecall")
    elf, report = tmp_path / "a.elf", tmp_path / "a.json"
    data = a.assemble().program().to_bytes()
    elf.write_bytes(data.replace(b".potluck.manifest", b".comment.of.other") if foreign else data)
    found, text = potluck("simulate", elf, "--json", report)
    assert found == status
    assert "Traceback" not in text and ("ExitError" in text) == (status != 0 and not foreign)
    if foreign:  # what the run cost is told whatever the status
        assert json.loads(report.read_text())["instructions"] == 2  # the ecall does not retire


def test_failed_run_leaves_no_file(potluck, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    source = tmp_path / "bad.s"
    source.write_text(".text\n_start: nonsense a0\n")
    status, text = potluck("asm", source, "-o", tmp_path / "bad.elf")
    assert status == 1
    assert "line 2" in text
    assert [path.name for path in tmp_path.iterdir()] == ["bad.s"]


def test_every_command_explains_itself() -> None:
    for command in (
        "demo",
        "run",
        "quantize",
        "schemes",
        "compile",
        "simulate",
        "asm",
        "disasm",
        "isa",
        "machine",
        "bench",
        "doctor",
    ):
        shown = CliRunner().invoke(cli.app, [command, "--help"])
        assert shown.exit_code == 0
        assert "Usage" in shown.output


def test_schemes_are_listed_and_a_near_name_is_offered(potluck, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    status, text = potluck("schemes")
    assert status == 0
    assert "mxfp8_e5m2" in text
    status, text = potluck("quantize", model_path(), "--scheme", "mxpf8", "-o", tmp_path / "q.onnx")
    assert status == 1
    assert "Did you mean 'mxfp8'" in text


def test_isa_shows_one_row_and_all(potluck) -> None:  # type: ignore[no-untyped-def]
    status, text = potluck("isa", "vmxdotp.wf")
    assert status == 0
    assert "1011111" in text
    assert "vfmacc.vf" in potluck("isa")[1]


def test_demo_reports_all_formats(potluck, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    report = tmp_path / "demo.json"
    status, text = potluck("demo", "--images", "4", "--json", report)
    assert status == 0, text
    result = json.loads(report.read_text())
    assert set(result["accuracy"]) == {"fp32", "mxfp8", "mxfp4"}
    assert result["mxfp8"]["cycles_per_image"] > 0


def test_where_names_tensor_and_cell(potluck, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    elf, found = tmp_path / "m.elf", tmp_path / "w.json"
    assert potluck("compile", model_path(), "--scheme", "mxfp8", "-o", elf)[0] == 0
    buffer = next(b for b in load_program(elf).manifest.buffers if b.layout.endswith("chunks"))
    name = f"{buffer.name}#0[{','.join('0' * len(buffer.shape))}]:7"
    status, text = potluck("where", elf, name, f"{buffer.address:#x}:7", "--json", found)
    assert status == 0 and "sign of block" in text and text.count(f"{buffer.address:#x}:7") == 2
    by_name, by_address = json.loads(found.read_text())
    assert by_name["names"][0] in by_address["names"]
    assert {k: v for k, v in by_name.items() if k != "names"} == {
        k: v for k, v in by_address.items() if k != "names"
    }
    for what, message in (("nothing[0]", "no such tensor"), ("0x10", "outside DRAM")):
        status, text = potluck("where", elf, what)
        assert status == 1 and message in text
    status, text = potluck("where", elf, name, "--set", "dram.kind=simple")
    assert status == 1 and "dram.kind" in text
