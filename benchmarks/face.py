"""What a new user meets: installation and demo from nothing, start-up, the wheel's size, pages, mistakes, fuzzing.

Needs a source checkout with its tests. Seconds of the installation include pip's downloads. ``POTLUCK_BENCH_FUZZ`` is
the folder of a run of ``python -m tests.fuzz --folder``, whose counts are reported; else `SAMPLE` inputs of each reader
are read here.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from potluck.benchmarks.checkout import ROOT, checkout

Report = Callable[..., None]
STARTS = 5
SAMPLE = 4_000
MILLION = 1_000_000
READERS = ("onnx", "elf", "toml", "results")


def run(report: Report) -> None:
    """Reports what issue 12 asks for.

    Raises:
        ToolError: there is no checkout.
    """
    fuzzing, pages = checkout("tests.fuzz.campaign"), checkout("tests.docs.__main__")
    _from_nothing(report)
    _starts(report)
    counted = pages.count()
    run_here, others = (
        counted["commands: run"],
        sum(
            number
            for kind, number in counted.items()
            if kind.startswith("commands: ") and not kind.endswith(": run")
        ),
    )
    report("commands of README and docs run by the tests", run_here, "", f"{others} more are marked, with the reason",
           "all", others == 0)  # fmt: skip
    mistakes = len(checkout("tests.potluck.test_mistakes").MISTAKES)
    passed = _passed()
    report("mistakes answered as asked", passed, "", f"{mistakes} commands, a full disk, an interrupt, a closed pipe",
           ">= 30, all", passed >= mistakes + 3 >= 30)  # fmt: skip
    kept = os.environ.get("POTLUCK_BENCH_FUZZ")
    with tempfile.TemporaryDirectory() as temporary:
        for reader in READERS:
            folder = Path(kept or temporary) / reader
            found = fuzzing.fuzz(reader, 0 if kept else SAMPLE, 1, folder)
            rate = found.inputs / max(found.seconds, 1e-9)
            told = f"{found.accepted:,} of them read; {rate:,.0f} a second"
            report(f"fuzzed inputs: {reader}", found.inputs, "", told,
                   f">= {MILLION:,}", found.inputs >= MILLION)  # fmt: skip
            report(f"findings: {reader}", len(found.findings), "", "", "0", not found.findings)


def _from_nothing(report: Report) -> None:
    """A wheel, an empty environment, the demo; processor and wall seconds."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _call(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT)
        wheel = next(folder.glob("potluck-*.whl"))
        size = wheel.stat().st_size / 1e6
        report("size of the wheel", size, "MB", "", "<= 5", size <= 5)
        before, start = _cpu(), time.perf_counter()
        _call(sys.executable, "-m", "venv", folder / "bare")
        python = folder / "bare" / "bin" / "python"
        _call(python, "-m", "pip", "install", "-q", "--no-cache-dir", wheel)
        installed = time.perf_counter() - start
        caches = {"NUMBA_CACHE_DIR": str(folder / "numba"), "POTLUCK_CACHE_DIR": str(folder / "potluck")}
        _call(python, "-m", "potluck", "demo", **caches)
        seconds = time.perf_counter() - start
        report("from a bare environment to the demo's table", seconds, "s",
               f"installation {installed:.0f} s; {_cpu() - before:.0f} s of processor time", "<= 120 on two cores",
               seconds <= 120)  # fmt: skip


def _starts(report: Report) -> None:
    for name, words in (
        ("import potluck", ("-c", "import potluck")),
        ("potluck --help", ("-m", "potluck", "--help")),
    ):
        best = float("inf")
        for _ in range(STARTS):
            before = _cpu()
            _call(sys.executable, *words)
            best = min(best, _cpu() - before)
        report(name, best, "s", f"processor time, the least of {STARTS}", "<= 0.5", best <= 0.5)


def _passed() -> int:
    """Mistakes whose tests pass."""
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-rN", "tests/potluck/test_mistakes.py"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return sum(line.split("%")[0].count(".") for line in said.splitlines() if line.rstrip().endswith("%]"))


def _call(*words: object, **environment: str) -> None:
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL, env=os.environ | environment,
                   cwd=tempfile.gettempdir())  # fmt: skip


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
