"""kill -9 at any moment, of the command, a worker or all: no trial is lost or doubled, the result is the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from potluck.campaign.api import run
from potluck.campaign.record import essence
from potluck.campaign.run import begin
from potluck.campaign.spec import load_spec
from potluck.campaign.store import Store
from potluck.campaign.summary import summarize

COMMAND = "from potluck.cli import main; main()"
TEXT = """
seed = 11
[network]
model = "demo"
schemes = ["int8"]
[data]
samples = 1
[[faults]]
kind = "flips"
[[faults]]
kind = "uniform"
ber = 1e-4
[protection]
stacks = ["none", "ondie+RG"]
[stop]
trials = {trials}
"""


def children(pid: int) -> list[int]:
    """Processes that a process began, of this moment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def one_life(path: Path, store: Store, dice: random.Random, victim: str, growth: int) -> str:
    """Run until the journals have grown so much, then kill somebody; what was done."""
    words = [sys.executable, "-c", COMMAND, "campaign", "resume", str(path), "-j", "2"]
    before = store.journal_bytes
    process = subprocess.Popen(
        words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    limit = time.monotonic() + 240
    while process.poll() is None and store.journal_bytes - before < growth:
        assert time.monotonic() < limit
        time.sleep(dice.random() * 0.01)
    if process.poll() is not None:
        message = process.stderr.read().decode() if process.stderr else ""
        assert process.returncode == 0, message
        return "ended"
    if victim == "worker":
        workers = children(process.pid)
        os.kill(dice.choice(workers), signal.SIGKILL)
        process.wait(timeout=240)  # the command goes on without it
        message = process.stderr.read().decode() if process.stderr else ""
        assert process.returncode == 0, message
        return "ended"
    if victim == "command":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if victim == "command":  # its workers are orphans now and may write on, as long as they like
        time.sleep(dice.random() * 0.2)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return "killed"


ZYGOTE = """
import os, sys
from pathlib import Path
from potluck.campaign import plan, run
from potluck.campaign.record import record_trial
from potluck.parallel.schedulers import Here
from potluck.campaign.store import Store
from potluck.campaign.worker import bench_of
plan.LARGEST_ROUND, run.JOURNAL_LIMIT = 6, 1  # compact all the time: kills find it at that, too
store = Store(sys.argv[1])
bench = bench_of(store.folder.resolve(), store.spec().hash)
for cell in bench.cells:
    record_trial(bench, cell.index)
print("ready", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        try:
            with store.locked():
                run.work(store, Here())
            os._exit(0)
        finally:
            os._exit(1)
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""
"""Begins a life from a process that has everything ready, so that a life costs its trials."""


def begun(tmp_path: Path, trials: int) -> tuple[Path, Store, Store]:
    """A campaign that was registered, and the same one done without a kill."""
    path = tmp_path / "killed.toml"
    path.write_text(TEXT.format(trials=trials))
    spec, store, calm = load_spec(path), Store(path.with_suffix(".campaign")), Store(tmp_path / "calm")
    run(spec, tmp_path, calm)
    begin(spec, tmp_path, store)
    return path, store, calm


def check(path: Path, store: Store, calm: Store) -> None:
    """End a campaign, and compare it with the one that nobody killed."""
    run(load_spec(path), path.parent, store, resume=True)
    found, expected = (
        [essence(r) for r in sorted(s.records(), key=lambda r: r["id"])] for s in (store, calm)
    )
    assert [r["id"] for r in found] == list(range(len(expected)))
    assert found == expected
    ours, theirs = summarize(store), summarize(calm)
    assert ours.pop("trial_seconds") > 0 and theirs.pop("trial_seconds") > 0
    assert ours == theirs and ours["complete"]


@pytest.mark.parametrize(
    "victims", [["command"], pytest.param(["worker", "all", "command", "worker"], marks=pytest.mark.slow)]
)
def test_kills_of_the_command_and_its_workers(tmp_path: Path, victims: list[str]) -> None:
    path, store, calm = begun(tmp_path, 30 * len(victims))
    dice = random.Random(1)
    lives = [one_life(path, store, dice, victim, 3_000) for victim in victims]
    assert lives[0] == ("ended" if victims[0] == "worker" else "killed")
    check(path, store, calm)


def rapid(tmp_path: Path, trials: int, kills: int, seed: int) -> None:
    """Kill lives that last some milliseconds."""
    path, store, calm = begun(tmp_path, trials)
    dice, done = random.Random(seed), 0
    words = [sys.executable, "-c", ZYGOTE, str(store.folder)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as zygote:
        assert zygote.stdin and zygote.stdout and zygote.stdout.readline() == "ready\n"
        while done < kills:
            zygote.stdin.write("live\n")
            zygote.stdin.flush()
            pid = int(zygote.stdout.readline())
            time.sleep(dice.random() * 0.06)
            os.kill(pid, signal.SIGKILL)  # until its parent has waited for it, nobody else has its number
            status = int(zygote.stdout.readline())
            assert os.WIFSIGNALED(status), f"the campaign ended after {done} kills"
            done += 1
        zygote.stdin.close()
    ids = [r["id"] for r in store.records()]
    assert 0 < len(ids) == len(set(ids)) < 4 * trials
    check(path, store, calm)


def test_many_kills(tmp_path: Path) -> None:
    rapid(tmp_path, 80, 25, 2)


@pytest.mark.slow
def test_two_hundred_kills(tmp_path: Path) -> None:
    rapid(tmp_path, 400, 200, 3)
