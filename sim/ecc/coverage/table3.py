"""The codes of the artifact's coverage experiment (Table III) as blocks for `exact` and `monte_carlo`."""

from __future__ import annotations

from functools import cache

from potluck.sim.ecc.bch import bch_dec
from potluck.sim.ecc.blocks import top_bits
from potluck.sim.ecc.coverage.exact import Part, TableCounter
from potluck.sim.ecc.coverage.symbols import Hbm3Counter
from potluck.sim.ecc.hamming import artifact_secded
from potluck.sim.ecc.hsiao import hsiao
from potluck.sim.ecc.interface import BLOCK_BITS
from potluck.sim.ecc.linear import LinearCode
from potluck.sim.ecc.outcomes import Outcome
from potluck.sim.ecc.reed_solomon import dsc16, extended_ssc
from potluck.sim.ecc.registry import word_parity

ROWS = (
    "secded_artifact",
    "hsiao_272_256",
    "hbm3",
    "parity_null",
    "vapi_78_64",
    "rangeguard_ssc",
    "rangeguard_dsc",
)


def split(code: LinearCode, detected: Outcome = Outcome.DUE) -> list[Part]:
    """Consecutive codewords of a code over the block."""
    counter, size = TableCounter(code, detected), code.data_bits
    return [Part(counter, tuple(range(first, first + size))) for first in range(0, BLOCK_BITS, size)]


def top(code: LinearCode, bits: int) -> list[Part]:
    """RangeGuard as the experiment abstracts it: a lane's symbol is its upper bits, and they alone must be right."""
    return [Part(TableCounter(code), tuple(top_bits(bits).tolist()))]


@cache
def blocks(row: str) -> list[Part]:
    """Codewords of a row of `ROWS`."""
    if row == "hbm3":
        return [Part(Hbm3Counter(), tuple(range(BLOCK_BITS)))]
    made = {
        "secded_artifact": lambda: split(artifact_secded()),
        "hsiao_272_256": lambda: split(hsiao(256, 16)),
        "parity_null": lambda: split(word_parity(), Outcome.BND),
        "vapi_78_64": lambda: split(bch_dec(64)),
        "rangeguard_ssc": lambda: top(extended_ssc(), 8),
        "rangeguard_dsc": lambda: top(dsc16(), 4),
    }
    return made[row]()
