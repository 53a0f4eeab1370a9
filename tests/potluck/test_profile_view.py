"""The profile on the command line: annotated assembly of the hottest blocks, and all of it as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

LOOP = """
.text
.globl _start
_start:
    bnez a0, done
    li a1, 1000
inner:
    mul a2, a1, a1
    add a3, a3, a2
    addi a1, a1, -1
    bnez a1, inner
done:
    li a7, 93
    li a0, 0
    ecall
"""


def test_profile_of_a_program(potluck, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    source, elf, out = tmp_path / "a.s", tmp_path / "a.elf", tmp_path / "p.json"
    run = tmp_path / "r.json"
    source.write_text(LOOP)
    assert potluck("asm", source, "-o", elf)[0] == 0
    status, text = potluck("simulate", elf, "--profile", "--profile-out", out, "--json", run)
    assert status == 0
    hottest = text[text.index("profile:") :].split("\n\n")[1].splitlines()
    assert re.match(
        r"inner: [\d,]+ cycles \(\d+\.\d %\), executed 1,000 times, \d+\.\d\d cycles each", hottest[0]
    )
    assert [line.split()[4] for line in hottest[2:]] == ["mul", "add", "addi", "bne"]
    assert "scalar" in hottest[3] and "scalar" not in hottest[2]
    cores = json.loads(out.read_text())["cores"]
    assert cores[0]["cycles"] == json.loads(run.read_text())["cycles"]
    for core in cores:
        assert core["cycles"] == sum(entry["cycles"] for entry in core["instructions"])
        assert all(entry["cycles"] == sum(entry["causes"].values()) for entry in core["instructions"])
    assert cores[0]["instructions"][2]["symbol"] == "inner"


def test_profile_needs_cycles(potluck, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    source, elf = tmp_path / "a.s", tmp_path / "a.elf"
    source.write_text(".text\n.globl _start\n_start: li a7, 93\nli a0, 0\necall\n")
    assert potluck("asm", source, "-o", elf)[0] == 0
    status, text = potluck("simulate", elf, "--profile", "--mode", "functional")
    assert status == 1 and "functional counts none" in " ".join(text.split())
