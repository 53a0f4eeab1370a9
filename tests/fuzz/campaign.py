"""Keeps processes of libFuzzer going until a reader had so many inputs, and gathers what they found."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PIECE = 50_000
"""Inputs of a process: it starts again from the corpus, so that nothing that leaks or lingers adds up."""
ENDS = 8
"""Processes that end before their time: then somebody has to look."""


@dataclass(frozen=True)
class Outcome:
    """What became of a reader.

    Attributes:
        reader: its name.
        inputs: that it read.
        accepted: of these.
        seconds: of processor time.
        findings: one text each: what happened, and where; the input lies beside it.
    """

    reader: str
    inputs: int
    accepted: int
    seconds: float
    findings: tuple[str, ...]


def fuzz(reader: str, count: int, seed: int, folder: Path) -> Outcome:
    """Give a reader so many inputs; a folder that has some already is continued.

    Args:
        reader: of `targets.TARGETS`.
        count: inputs in all.
        seed: of the first process; the others follow it.
        folder: where corpus, count and findings are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ends, spent, environment = 0, 0.0, os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    while (done := _counts(folder)[0]) < count:
        command = [sys.executable, "-m", "tests.fuzz.process", reader, str(folder), str(min(PIECE, count - done)),
                   str(seed + done)]  # fmt: skip
        before = os.times()
        with (folder / "log.txt").open("wb") as log:
            status = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False
            ).returncode
        after = os.times()
        spent += after.children_user + after.children_system - before.children_user - before.children_system
        if status:
            text = (folder / "log.txt").read_text(errors="replace")[-3000:]
            (folder / f"ended-{done}.txt").write_text(f"the process ended with status {status}\n{text}")
            ends += 1
        if ends == ENDS or _counts(folder)[0] == done:
            break  # that is in the findings
    with (folder / "seconds").open("a") as file:
        file.write(f"{spent:.2f}\n")
    inputs, accepted = _counts(folder)
    seconds = sum(float(line) for line in (folder / "seconds").read_text().split())
    return Outcome(reader, inputs, accepted, seconds, tuple(_findings(folder)))


def _counts(folder: Path) -> tuple[int, int]:
    path = folder / "count"
    return struct.unpack("<QQ", path.read_bytes()) if path.exists() else (0, 0)


def _findings(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.txt")):
        if path.name != "log.txt":
            yield path.read_text(errors="replace").strip()


__all__ = ["Outcome", "fuzz"]
