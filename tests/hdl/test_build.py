"""Builds and runs of a small unit: results, sharing, and errors that say what failed."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from potluck.hdl import build, sources
from potluck.hdl.bench import cocotb_run
from potluck.isa.errors import RtlError

HERE = Path(__file__).parent
HARNESS = HERE / "lzc_harness.cc"
CASES = HERE / "lzc_cases.py"
WIDTH = 13

pytestmark = pytest.mark.usefixtures("rtl_tools")


@pytest.fixture(params=["verilator", "icarus"])
def bench(request: pytest.FixtureRequest) -> build.Bench:
    return build.cocotb_build("lzc", request.param, {"Width": WIDTH})


def broken(tmp_path: Path, old: str, new: str) -> dict[str, Path]:
    """A copy of the unit with a defect, under another name."""
    path = sources.sources("lzc")[-1]
    text = path.read_text()
    assert old in text
    copy = tmp_path / "mutant.sv"
    copy.write_text(text.replace(old, new))
    return {"lzc": copy}


def test_library_streams_arrays_through_a_unit() -> None:
    library = ctypes.CDLL(str(build.build_library("lzc", HARNESS, {"Width": 32})))
    values = np.random.Generator(np.random.Philox(1)).integers(0, 1 << 32, 1000, np.uint32)
    values >>= np.arange(1000, dtype=np.uint32) % 33 % 32
    values[::17] = 0
    zeros, empty = np.zeros((2, 1000), np.uint8)
    library.lzc_run(
        ctypes.c_uint64(1000), *(array.ctypes.data_as(ctypes.c_void_p) for array in (values, zeros, empty))
    )
    assert np.array_equal(empty, values == 0)
    filled = values > 0
    assert [32 - int(value).bit_length() for value in values[filled]] == zeros[filled].tolist()


def test_one_content_is_built_once(tmp_path: Path) -> None:
    first = build.build_library("lzc", HARNESS, {"Width": 32})
    changed = first.stat().st_mtime_ns
    assert build.build_library("lzc", HARNESS, {"Width": 32}) == first
    assert first.stat().st_mtime_ns == changed
    harness = tmp_path / HARNESS.name
    harness.write_text(HARNESS.read_text() + "// another content\n")
    places = {first, build.build_library("lzc", harness, {"Width": 32}, "-O0"),
              build.build_library("lzc", HARNESS, {"Width": 16}, "-O0")}  # fmt: skip
    assert len({place.parent for place in places}) == 3


def test_processes_at_the_same_time_share_a_build(tmp_path: Path) -> None:
    code = "from potluck.hdl import build;print(build.cocotb_build('lzc', 'icarus', {'Width': 9}).folder)"
    cache = {**build.toolchain.environment(), "POTLUCK_CACHE_DIR": str(tmp_path / "cache dir")}
    children = [
        subprocess.Popen([sys.executable, "-c", code], env=cache, stdout=subprocess.PIPE) for _ in range(3)
    ]
    folders = {child.communicate()[0] for child in children}
    assert [child.returncode for child in children] == [0, 0, 0]
    assert len(folders) == 1
    assert [path.suffix for path in (tmp_path / "cache dir" / "rtl").iterdir() if path.is_dir()] == [""]


def test_warning_is_an_error_with_the_tools_own_words(tmp_path: Path) -> None:
    mutant = broken(tmp_path, "endmodule", "  logic [3:0] nobody;\n  assign nobody = 5'd3;\nendmodule")
    for make in (
        lambda: build.build_library("lzc", HARNESS, replaced=mutant),
        lambda: build.cocotb_build("lzc", "verilator", replaced=mutant),
    ):
        with pytest.raises(RtlError, match="WIDTHTRUNC") as caught:
            make()
        assert "mutant.sv" in str(caught.value)


def test_syntax_error_stops_icarus_build(tmp_path: Path) -> None:
    mutant = broken(tmp_path, "endmodule", "assign = ;\nendmodule")
    with pytest.raises(RtlError, match=r"mutant\.sv"):
        build.cocotb_build("lzc", "icarus", replaced=mutant)
    places = [path.name for path in (build.cache_root() / "rtl").iterdir()]
    assert not [name for name in places if name.startswith("lzc-") and name.count(".") and "lock" not in name]


def test_bench_runs_a_test(bench: build.Bench, tmp_path: Path) -> None:
    result = cocotb_run(bench, CASES, tmp_path, testcase=["counts"], seed=3)
    assert [name.split(".")[-1] for name in result.tests] == ["counts"]


def test_bench_sees_a_defect(tmp_path: Path) -> None:
    mutant = broken(tmp_path, ".in_i,", ".in_i(~in_i),")
    for simulator in build.SIMULATORS:
        bench = build.cocotb_build("lzc", simulator, {"Width": WIDTH}, replaced=mutant)
        with pytest.raises(RtlError, match=r"failed .*counts"):
            cocotb_run(bench, CASES, tmp_path / simulator, testcase=["counts"])


def test_failure_names_the_test_and_shows_the_log(bench: build.Bench, tmp_path: Path) -> None:
    with pytest.raises(RtlError, match=r"failed .*is_wrong") as caught:
        cocotb_run(bench, CASES, tmp_path, testcase=["counts", "is_wrong"])
    assert "a leading zero was counted" in str(caught.value)
    assert "counts" not in caught.value.message


def test_no_test_is_no_success(bench: build.Bench, tmp_path: Path) -> None:
    with pytest.raises(RtlError):
        cocotb_run(bench, CASES, tmp_path, testcase=["absent"])


def test_endless_run_is_stopped(bench: build.Bench, tmp_path: Path) -> None:
    with pytest.raises(RtlError, match="longer than 6 s"):
        cocotb_run(bench, CASES, tmp_path, testcase=["hangs"], timeout=6)
