"""Every code over blocks of 256 data bits by name, with the check bits that it stores."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from potluck.isa.errors import DataError
from potluck.isa.plugins import added
from potluck.sim.ecc.bch import bch_dec
from potluck.sim.ecc.blocks import Selected, Split, Unprotected, top_bits
from potluck.sim.ecc.crc import crc16
from potluck.sim.ecc.hamming import artifact_secded, on_die_sec
from potluck.sim.ecc.hsiao import hsiao
from potluck.sim.ecc.interface import Protection
from potluck.sim.ecc.linear import Detector, LinearCode
from potluck.sim.ecc.reed_solomon import dsc16, dsc256, extended_ssc, ssc
from potluck.sim.ecc.zero_space import ZeroSpace


def word_parity() -> LinearCode:
    """One even-parity bit per 16-bit word."""
    return LinearCode("parity_17_16", 16, 1, np.ones(16, np.uint64), Detector(1))


CODES: dict[str, Callable[[], Protection]] = {
    "none": Unprotected,
    "parity_null": lambda: Split(word_parity(), 16, null=True),  # Qin et al.'s weight nulling
    "hsiao_72_64": lambda: Split(hsiao(64, 8), 4),
    "hsiao_39_32": lambda: Split(hsiao(32, 7), 8),
    "hsiao_137_128": lambda: Split(hsiao(128, 9), 2),
    "hsiao_272_256": lambda: Split(hsiao(256, 16), 1),
    "secded_artifact": lambda: Split(artifact_secded(), 1),
    "ondie_136_128": lambda: Split(on_die_sec(), 2),
    "chipkill_18_16": lambda: Split(ssc(18), 2),
    "chipkill_10_8": lambda: Split(ssc(10), 4),
    "chipkill_36_32": lambda: Split(dsc256(), 1),
    "crc16": lambda: Split(crc16(), 1),
    "bch_144_128": lambda: Split(bch_dec(128), 2),
    "bch_274_256": lambda: Split(bch_dec(256), 1),
    "vapi_78_64": lambda: Split(bch_dec(64), 4),  # check bits hidden in the values; counted all the same
    "zero_space": lambda: Split(ZeroSpace(), 4),
    "top4_rs_12_8": lambda: Selected("top4_rs_12_8", dsc16(), top_bits(4)),
    "top8_rs_10_8": lambda: Selected("top8_rs_10_8", extended_ssc(), top_bits(8)),
}
for _name, _make in added("potluck.codes"):
    assert CODES.setdefault(_name, _make) is _make, f"code {_name} is declared twice"
"""RangeGuard and the filters depend on a tensor and are made by `rangeguard` and `filters`."""


@cache
def code(name: str) -> Protection:
    """The code of that name.

    Raises:
        DataError: there is none.
    """
    if name not in CODES:
        raise DataError(f"no code {name!r}", hint=f"There are: {', '.join(CODES)}")
    return CODES[name]()


def by_check_bits() -> dict[int, list[str]]:
    """Names of the codes, grouped by the check bits that they store per 256 data bits, ascending."""
    groups: dict[int, list[str]] = {}
    for name in CODES:
        groups.setdefault(code(name).check_bits, []).append(name)
    return dict(sorted(groups.items()))
