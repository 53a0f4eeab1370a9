"""The DRAM model's figures: speed, streams against the bound of the constraints, energy per bit."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from potluck.sim.dram.kind import Kind, kinds, load_kind
from potluck.sim.dram.system import System

Report = Callable[..., None]
Trace = tuple[NDArray[np.int64], NDArray[np.bool_]]
RUN, AREA = 1 << 11, 1 << 24
FACTS = {("ddr4", "read"): 5.48, ("ddr4", "write"): 4.63, ("hbm2", "read"): 1.57, ("hbm2", "write"): 2.09}


def stream_bound(kind: Kind, write: bool) -> float:
    """Bytes per clock of a channel that no schedule can exceed: a burst every nCCDS on each pseudochannel's pins, but
    for the pause of a refresh, from the last column command before it to the first after it."""
    t, o = kind.timing, kind.organization
    end = t["nCWL"] + t["nBL"] + t["nWR"] if write else t["nRTP"]
    pause = end + t["nRPab"] + t["nRFC"] + t["nRCDWR" if write else "nRCDRD"] - t["nCCDS"]
    return o.pseudochannels * o.burst_bytes / t["nCCDS"] * (1 - pause / t["nREFI"])


def _stream(kind: Kind, n: int) -> Trace:
    """Reads in order."""
    return np.arange(n, dtype=np.int64) * kind.organization.burst_bytes, np.zeros(n, bool)


def _tiles(kind: Kind, n: int) -> Trace:
    """What a DMA asks for layer by layer: runs of 2 KiB anywhere in 16 MiB, every fourth written."""
    burst = kind.organization.burst_bytes
    run = RUN // burst
    generator = np.random.Generator(np.random.Philox(0))
    starts = generator.integers(0, AREA // RUN, -(-n // run)) * RUN
    offsets = (starts[:, None] + np.arange(run) * burst).ravel()[:n]
    return offsets, np.repeat(np.arange(len(starts)) % 4 == 3, run)[:n]


def _random(kind: Kind, n: int) -> Trace:
    """Reads of single bursts anywhere in the channel: nearly each has to close a row."""
    generator = np.random.Generator(np.random.Philox(0))
    burst = kind.organization.burst_bytes
    return generator.integers(0, kind.organization.channel_bytes // burst, n) * burst, np.zeros(n, bool)


def _serve(kind: Kind, trace: Trace) -> tuple[float, float]:
    """Requests per second of CPU time, as cores may be shared; bytes per clock."""
    offsets, writes = trace
    n, best, clocks = len(offsets), float("inf"), 1
    for _ in range(5):
        system = System(kind)
        start = time.thread_time()
        clocks = int(system.serve(offsets, writes, np.zeros(n, np.int64)).done.max())
        best = min(best, time.thread_time() - start)
    return n / best, n * kind.organization.burst_bytes / clocks


def run(report: Report) -> None:
    """All figures."""
    for key in kinds():
        kind = load_kind(key)
        speed, rate = _serve(kind, _stream(kind, 300_000))
        report(
            f"dram_speed {key} stream",
            speed / 1e6,
            "M requests/s",
            "CPU time, one thread",
            ">= 5",
            speed >= 5e6,
        )
        share = 100 * rate / stream_bound(kind, False)
        report(
            f"dram_stream {key}",
            share,
            "% of bound",
            "from the constraints",
            "100 +- 2",
            abs(share - 100) <= 2,
        )
        speed, _ = _serve(kind, _tiles(kind, 200_000))
        report(
            f"dram_speed {key} tiles",
            speed / 1e6,
            "M requests/s",
            "runs of 2 KiB in 16 MiB, a quarter written",
        )
        speed, rate = _serve(kind, _random(kind, 100_000))
        report(f"dram_speed {key} random", speed / 1e6, "M requests/s", "single bursts, every row a conflict")
        gigabytes = rate / kind.timing["tCK_ps"] * 1000
        report(f"dram_random {key}", gigabytes, "GB/s", f"pins {kind.peak_bytes_per_second / 1e9:.1f}")
    for (key, command), value in FACTS.items():
        pj = load_kind(key).energy[command].pj
        report(f"dram_energy {key} {command}", pj, "pJ/bit", f"{value} (DRAMsim3's currents, facts §2.4)",
               f"{value} +- 2 %", abs(pj / value - 1) <= 0.02)  # fmt: skip
