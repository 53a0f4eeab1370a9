"""The DRAM model's figures: speed, streams against the bound of the constraints, energy per bit."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from potluck.sim.dram.kind import Kind, kinds, load_kind
from potluck.sim.dram.system import System

Report = Callable[..., None]
FACTS = {("ddr4", "read"): 5.48, ("ddr4", "write"): 4.63, ("hbm2", "read"): 1.57, ("hbm2", "write"): 2.09}


def stream_bound(kind: Kind, write: bool) -> float:
    """Bytes per clock of a channel that no schedule can exceed: a burst every nCCDS on each pseudochannel's pins, but
    for the pause of a refresh, from the last column command before it to the first after it."""
    t, o = kind.timing, kind.organization
    end = t["nCWL"] + t["nBL"] + t["nWR"] if write else t["nRTP"]
    pause = end + t["nRPab"] + t["nRFC"] + t["nRCDWR" if write else "nRCDRD"] - t["nCCDS"]
    return o.pseudochannels * o.burst_bytes / t["nCCDS"] * (1 - pause / t["nREFI"])


def _trace(kind: Kind, random: bool, n: int) -> tuple[float, float]:
    """Requests per second of host time, bytes per clock."""
    burst = kind.organization.burst_bytes
    offsets = np.arange(n, dtype=np.int64) * burst
    if random:
        generator = np.random.Generator(np.random.Philox(0))
        offsets = generator.integers(0, kind.organization.channel_bytes // burst, n) * burst
    best, clocks = float("inf"), 1
    for _ in range(3):
        system = System(kind)
        start = time.perf_counter()
        clocks = int(system.serve(offsets, np.zeros(n, bool), np.zeros(n, np.int64)).done.max())
        best = min(best, time.perf_counter() - start)
    return n / best, n * burst / clocks


def run(report: Report) -> None:
    """All figures."""
    for key in kinds():
        kind = load_kind(key)
        speed, rate = _trace(kind, False, 300_000)
        report(f"dram_speed {key} stream", speed / 1e6, "M requests/s", "one thread", ">= 5", speed >= 5e6)
        share = 100 * rate / stream_bound(kind, False)
        report(
            f"dram_stream {key}",
            share,
            "% of bound",
            "from the constraints",
            "100 +- 2",
            abs(share - 100) <= 2,
        )
        speed, rate = _trace(kind, True, 100_000)
        report(f"dram_speed {key} random", speed / 1e6, "M requests/s", "one thread, every row a conflict")
        gigabytes = rate / kind.timing["tCK_ps"] * 1000
        report(f"dram_random {key}", gigabytes, "GB/s", f"pins {kind.peak_bytes_per_second / 1e9:.1f}")
    for (key, command), value in FACTS.items():
        pj = load_kind(key).energy[command].pj
        report(f"dram_energy {key} {command}", pj, "pJ/bit", f"{value} (DRAMsim3's currents, facts §2.4)",
               f"{value} +- 2 %", abs(pj / value - 1) <= 0.02)  # fmt: skip
