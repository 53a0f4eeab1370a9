"""Runs of a cocotb bench: one process, its log, and the outcome of every test in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from potluck.hdl.build import Bench, run_cocotb
from potluck.hdl.process import tail
from potluck.hdl.sources import find_unit
from potluck.isa.errors import RtlError


@dataclass(frozen=True, slots=True)
class BenchResult:
    """A run in which every test passed.

    Attributes:
        tests: names of the tests, in order.
        folder: where it ran; files that tests wrote, ``run.log``, ``results.xml``, waveforms.
    """

    tests: tuple[str, ...]
    folder: Path


def cocotb_run(
    bench: Bench,
    module: Path,
    folder: Path,
    *,
    testcase: Sequence[str] = (),
    seed: int = 0,
    randomize: bool = False,
    variables: Mapping[str, str] | None = None,
    timeout: float = 300.0,
) -> BenchResult:
    """Run the cocotb tests of a Python file on a built bench.

    Args:
        bench: from :func:`~potluck.hdl.build.cocotb_build`.
        module: Python file with ``@cocotb.test()`` functions; modules beside it can be imported.
        folder: working folder of the run (a test's ``tmp_path``).
        testcase: names of the tests to run; all of them if empty.
        seed: of cocotb's generator and, with ``randomize``, of initial values.
        randomize: Verilator's registers and inputs come up random rather than zero, which shows what a reset forgets;
            inputs are so in the very first evaluation, before a test can drive them.
        variables: environment variables for the tests.
        timeout: seconds.

    Raises:
        RtlError: a test failed, none ran, or the simulator stopped early; carries the log's end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results, log = folder / "results.xml", folder / "run.log"
    results.unlink(missing_ok=True)
    top = find_unit(bench.unit).top
    plus = {
        "verilator": [f"+verilator+seed+{seed % 0x7FFFFFFF + 1}", f"+verilator+rand+reset+{2 * randomize}"],
        "icarus": [f"+dumpfile_path={folder / 'dump.fst'}"] if bench.waves else [],
    }
    arguments = {
        "test_module": module.stem,
        "hdl_toplevel": top,
        "hdl_toplevel_lang": "verilog",
        "build_dir": str(bench.folder),
        "test_dir": str(folder),
        "results_xml": str(results),
        "testcase": list(testcase) or None,
        "seed": seed,
        "plusargs": plus[bench.simulator],
        "waves": bench.waves,
    }
    path = os.pathsep.join(filter(None, [str(module.parent.absolute()), os.environ.get("PYTHONPATH", "")]))
    given = {"PYTHONPATH": path, "COCOTB_ANSI_OUTPUT": "0", "NO_COLOR": "1"} | dict(variables or {})
    try:
        run_cocotb("test", bench.simulator, arguments, log, given, bench.unit, timeout)
    except RtlError:
        if results.exists():  # failed tests say more than the exit status
            _check(bench, results, log)
        raise
    return BenchResult(_check(bench, results, log), folder)


def _check(bench: Bench, results: Path, log: Path) -> tuple[str, ...]:
    where = f"on {bench.simulator}, log {log}"
    if not results.exists():
        raise RtlError(f"the simulation stopped without results {where}", unit=bench.unit, log=tail(log))
    cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    ran = [case for case in cases if case.find("skipped") is None]
    failed = [
        case.get("name", "?")
        for case in ran
        if case.find("failure") is not None or case.find("error") is not None
    ]
    if failed:
        raise RtlError(f"failed {', '.join(failed)} {where}", unit=bench.unit, log=tail(log))
    if not ran:
        raise RtlError(f"no test ran {where}", unit=bench.unit, log=tail(log))
    return tuple(case.get("name", "?") for case in ran)
