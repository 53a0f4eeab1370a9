"""Sweeps: what each point gives is what `potluck run` gives, errors are rows, a killed sweep goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from pyarrow import parquet
from typer.testing import CliRunner

import potluck
from potluck.assets import load_test_images, model_path
from potluck.cli import app
from potluck.isa.errors import DataError
from potluck.isa.machine import load_machine
from potluck.parallel.journal import Journal
from potluck.sweeps.plan import SweepFolder

COMMAND = "from potluck.cli import main; main()"
AXES = {"vector.vlen": [256, 512], "dram.kind": ["simple", "ddr4"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product of two matrices, 16x64 by 64x32, as small as a network comes."""
    path = tmp_path_factory.mktemp("sweep") / "product.onnx"
    weights = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")], "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [16, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [16, 32])], [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.fixture(scope="module")
def swept(model: Path) -> potluck.sweeps.api.Swept:  # type: ignore[name-defined]
    return potluck.sweep(model, AXES, scheme=["mxfp8", "fp32"])


def essence(row: dict) -> dict:
    """What does not depend on when and where a point ran."""
    return {
        key: value
        for key, value in row.items()
        if key not in ("seconds_host", "worker", "simulation_seconds")
    }


def test_every_point_is_what_run_gives(model: Path, swept) -> None:  # type: ignore[no-untyped-def]
    assert len(swept.rows) == 8 and not swept.failed
    places = [(row["scheme"], row["vector.vlen"], row["dram.kind"]) for row in swept.rows]
    assert places == [(s, v, d) for s in ("mxfp8", "fp32") for v in (256, 512) for d in ("simple", "ddr4")]
    for row in swept.rows[::3]:
        machine = load_machine("spatz-mx", {key: row[key] for key in AXES})
        alone = potluck.run(model, scheme=row["scheme"], machine=machine)
        assert (row["cycles"], row["energy_joules"]) == (alone.cycles, alone.energy_joules)
        assert {key: row[f"stall.{key}"] for key in alone.stalls} == alone.stalls
        assert row["seconds"] == alone.cycles / 1e9 and row["macs"] == 16 * 64 * 32


def test_the_front_is_the_definition(swept) -> None:  # type: ignore[no-untyped-def]
    costs = [(row["seconds"], row["energy_joules"]) for row in swept.rows]
    beaten = [any(a <= x and b <= y and (a, b) != (x, y) for a, b in costs) for x, y in costs]
    assert [row["pareto"] for row in swept.rows] == [not b for b in beaten] and any(beaten)
    assert [row["seconds"] for row in swept.front] == sorted(row["seconds"] for row in swept.front)


def test_parquet_has_every_column_with_its_type(swept, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    table = parquet.read_table(swept.to_parquet(tmp_path / "p.parquet"))
    assert table.num_rows == 8 and table.column("vector.vlen").to_pylist() == [256, 256, 512, 512] * 2
    for name in ("id", "machine", "scheme", "cycles", "seconds", "energy_joules", "area_gates", "utilization", "error",
                 "stall.issue", "energy.static", "dram.bytes"):  # fmt: skip
        assert table.column(name).to_pylist() == [row[name] for row in swept.rows]
    assert b"potluck.versions" in table.schema.metadata and not list(tmp_path.glob(".*"))


def test_pages_and_images(swept, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    text = swept.report(tmp_path / "r.html").read_text()
    assert text == swept.report(tmp_path / "s.html").read_text() and text.count("<circle") == 8
    assert "<script" not in text and "http" not in text
    assert swept.report(tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(DataError, match="unknown suffix"):
        swept.report(tmp_path / "r.txt")


def test_an_image_that_cannot_be_drawn_is_refused_before_any_point_runs(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("potluck.sweeps.api.sweep", None)
    done = CliRunner().invoke(app, ["sweep", str(model), "--plot", "p.gif"])
    assert isinstance(done.exception, DataError) and "--plot 'p.gif': unknown suffix" in str(done.exception)


def test_no_objective(model: Path) -> None:
    with pytest.raises(DataError, match="no objective"):
        potluck.sweep(model, objectives=())


def test_points_that_cannot_run_are_rows(model: Path) -> None:
    """32 ports need 32 banks: only the two of four machines that agree can be."""
    found = potluck.sweep(model, {"memory.l1_banks": [16, 32], "vector.ports": [4, 32]})
    assert [row["error_kind"] for row in found.rows] == ["", "MachineError", "", ""]
    assert "l1_banks = 16: each of the 32 vector.ports needs a bank" in found.rows[1]["error"]
    assert not found.rows[1]["pareto"] and "cycles" not in found.rows[1]


def test_a_network_that_does_not_compile_is_a_row_and_a_status(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("RandomUniformLike", ["x"], ["y"], "dice")], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
    )  # fmt: skip
    path = tmp_path / "dice.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    words = ["sweep", str(path), "--set", "vector.vlen=256,512", "--out", str(tmp_path / "s"), "-j", "1"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code != 0 and "dice" in str(result.exception)
    rows = parquet.read_table(tmp_path / "s" / "points.parquet").to_pylist()
    assert [row["error_kind"] for row in rows] == ["UnsupportedError"] * 2


def test_an_elf_program(model: Path, tmp_path: Path) -> None:
    program = potluck.compile(model, machine="spatz-mx")
    program.save(tmp_path / "p.elf")
    found = potluck.sweep(tmp_path / "p.elf", {"dram.kind": ["simple", "ddr4"]})
    assert [row["machine"] for row in found.rows] == ["spatz-mx"] * 2 and not found.failed
    with pytest.raises(DataError, match="is compiled already"):
        potluck.sweep(tmp_path / "p.elf", scheme="mxfp8")


def test_a_metric(tmp_path: Path) -> None:
    found = potluck.sweep("demo", {"dram.kind": ["simple"]}, scheme=["mxfp8", "mxfp4"], samples=4,
                          objectives=("seconds", "metric_value"))  # fmt: skip
    assert [row["samples"] for row in found.rows] == [4, 4]
    assert all(row["metric"].startswith("top-1") and 0 <= row["metric_value"] <= 100 for row in found.rows)
    with pytest.raises(DataError, match="objective 'speed'"):
        potluck.sweep("demo", objectives=("speed",))


def test_a_metric_of_a_file_with_labels(tmp_path: Path) -> None:
    """What three images give on onnxruntime in FP32 is what the machine gives."""
    images, labels = load_test_images(3)
    np.savez(tmp_path / "d.npz", input=images, labels=labels)
    found = potluck.sweep(model_path(), {"dram.kind": ["simple"]}, data=tmp_path / "d.npz", samples=3)
    (row,) = found.rows
    session = onnxruntime.InferenceSession(str(model_path()), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"input": images})
    assert not row["error"] and row["metric"] == "accuracy" and row["samples"] == 3
    assert row["metric_value"] == pytest.approx((logits.argmax(1) == labels).mean())
    with pytest.raises(DataError, match="have 3 samples, not 4"):
        potluck.sweep(model_path(), data=tmp_path / "d.npz", samples=4)
    with pytest.raises(DataError, match="needs inputs and labels"):
        potluck.sweep(model_path(), samples=2)


def words(model: Path, folder: Path) -> list[str]:
    sets = [f"--set={key}={','.join(map(str, values))}" for key, values in AXES.items()]
    return ["sweep", str(model), *sets, "--scheme", "mxfp8,fp32", "--out", str(folder), "-j", "2"]


def test_a_killed_sweep_goes_on(model: Path, swept, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """kill -9 of the command and its workers after some points: the same rows in the end, each once."""
    store = SweepFolder(tmp_path / "s")
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words(model, store.folder)], start_new_session=True
    )
    limit = time.monotonic() + 240
    while not store.journals.exists() or not store.journal_bytes:
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {row["id"]: row["worker"] for row in store.records()}
    assert 1 <= len(before) < 8
    result = CliRunner().invoke(app, [*words(model, store.folder), "--json", str(tmp_path / "r.json")])
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert [essence(row) for row in rows] == [essence(row) for row in swept.rows]
    assert {
        row["id"]: row["worker"] for row in rows if row["id"] in before
    } == before  # these did not run again
    paths = list(store.journals.glob("*.journal"))
    again = CliRunner().invoke(app, words(model, store.folder))
    assert again.exit_code == 0 and sorted(store.journals.glob("*.journal")) == sorted(
        paths
    )  # nothing was left to do


def test_a_point_written_twice_or_torn_counts_once(model: Path, swept, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    calm = potluck.sweep(model, AXES, scheme=["mxfp8", "fp32"], folder=tmp_path / "s")
    store = SweepFolder(tmp_path / "s")
    with Journal(store.journals) as journal:
        for row in calm.rows:
            journal.append(
                {key: value for key, value in row.items() if key != "pareto"} | {"worker": "other"}
            )
    whole = next(path for path in store.journals.glob("*.journal") if path != journal.path)
    whole.write_bytes(whole.read_bytes()[:-5])
    again = potluck.sweep(model, AXES, scheme=["mxfp8", "fp32"], folder=tmp_path / "s")
    assert [essence(row) for row in again.rows] == [essence(row) for row in swept.rows]


def test_workers_of_a_dask_cluster(model: Path, swept, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        local_directory=str(tmp_path),
    ) as cluster:
        found = potluck.sweep(
            model, AXES, scheme=["mxfp8", "fp32"], folder=tmp_path / "s", scheduler=cluster.scheduler_address
        )
    assert [essence(row) for row in found.rows] == [essence(row) for row in swept.rows]
    assert not any(row["worker"].endswith(f"-{os.getpid()}") for row in found.rows)


def test_another_sweep_in_the_folder_is_refused(model: Path, tmp_path: Path) -> None:
    potluck.sweep(model, {"dram.kind": ["simple"]}, folder=tmp_path / "s")
    with pytest.raises(DataError, match="holds another sweep: its axes differ"):
        potluck.sweep(model, {"dram.kind": ["ddr4"]}, folder=tmp_path / "s")


def test_an_unknown_key_leaves_nothing_behind(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    result = CliRunner().invoke(app, ["sweep", str(model), "--set", "vector.vlem=256", "--out", str(folder)])
    assert "Did you mean 'vector.vlen'" in str(result.exception) and not folder.exists()
