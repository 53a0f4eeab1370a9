"""Energy of DRAM commands: from data sheet currents where there are any, and summed over a run.

The currents' formulas are DRAMsim3's (``src/configuration.cc``), with the clock period that it leaves out: V times mA
times *nanoseconds* is pJ, V times mA times *clocks* is not unless the clock has 1 ns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from potluck.isa.machine import EnergyEntry

if TYPE_CHECKING:
    from potluck.sim.dram.kind import Organization


@dataclass(frozen=True)
class Currents:
    """Data sheet currents of one device.

    Attributes:
        vdd: supply in volts.
        idd0: mA, one bank activated and precharged every tRC.
        idd2n: mA, precharged standby.
        idd3n: mA, active standby.
        idd4r: mA, reading without a pause.
        idd4w: mA, writing without a pause.
        idd5ab: mA, all-bank refresh every tRFC.
        devices: that work together in a rank.
        share: part of a device's standby, burst and refresh currents that belongs to one rank of the model.
        low: factor from the value to the lower end of its band.
        high: to its upper end.
        node: process.
        source: of the currents.
    """

    vdd: float
    idd0: float
    idd2n: float
    idd3n: float
    idd4r: float
    idd4w: float
    idd5ab: float
    devices: int
    share: float
    low: float
    high: float
    node: str
    source: str


def from_currents(
    currents: Currents, timing: Mapping[str, int], organization: Organization
) -> dict[str, EnergyEntry]:
    """Core energies without I/O: pJ per activation and per bit, mW of standby.

    Args:
        currents: of a device.
        timing: in clocks, with ``tCK_ps``.
        organization: for the bits of a burst.
    """
    c, tck = currents, timing["tCK_ps"] / 1000
    whole = c.vdd * c.devices
    part = whole * c.share
    bits = 8 * organization.burst_bytes
    burst = organization.burst_length / 2 * tck  # ns at double data rate
    values = {
        "act": whole * (c.idd0 * timing["nRC"] - c.idd3n * timing["nRAS"] - c.idd2n * timing["nRP"]) * tck,
        "read": part * (c.idd4r - c.idd3n) * burst / bits,
        "write": part * (c.idd4w - c.idd3n) * burst / bits,
        "refresh": part * (c.idd5ab - c.idd3n) * timing["nRFC"] * tck,
        "active": part * c.idd3n,
        "precharged": part * c.idd2n,
    }
    return {
        name: EnergyEntry(
            pj=value, low=c.low * value, high=c.high * value, node=c.node, voltage=c.vdd, source=c.source
        )
        for name, value in values.items()
    }
