"""The same campaign on a Dask cluster whose workers die in the middle."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from potluck.campaign.api import run
from potluck.campaign.record import essence
from potluck.campaign.spec import load_spec
from potluck.campaign.store import Store
from potluck.isa.errors import ToolError
from potluck.parallel.schedulers import Cluster

distributed = pytest.importorskip("distributed")
TEXT = """
seed = 12
[network]
model = "demo"
schemes = ["int8"]
[data]
samples = 4
[[faults]]
kind = "uniform"
ber = 1e-4
[protection]
stacks = ["none", "ondie+RG"]
[stop]
trials = 60
"""


def test_workers_killed_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(TEXT)
    spec, store, calm = load_spec(path), Store(tmp_path / "cluster"), Store(tmp_path / "calm")
    run(spec, tmp_path, calm)
    cluster = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        local_directory=str(tmp_path),
    )
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        """A worker dies when some trials were written down."""
        for growth in (4_000,):
            while not over.is_set() and (not store.journals.exists() or store.journal_bytes < growth):
                time.sleep(0.01)
            with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
                pids = client.run(os.getpid)
            if not over.is_set() and pids:
                killed.append(next(iter(pids.values())))
                os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        result = run(spec, tmp_path, store, scheduler=cluster.scheduler_address)
    finally:
        over.set()
        killer.join()
        cluster.close()
    assert killed and result.data["complete"]
    found, expected = (
        [essence(r) for r in sorted(s.records(), key=lambda r: r["id"])] for s in (store, calm)
    )
    assert [r["id"] for r in found] == list(range(120)) and found == expected
    workers = {r["worker"].rpartition("-")[2] for r in store.records()}
    assert str(os.getpid()) not in workers and len(workers) >= 2


def test_no_cluster_there() -> None:
    with pytest.raises(ToolError, match="no Dask scheduler answers at nonsense"):
        Cluster("nonsense://x")
