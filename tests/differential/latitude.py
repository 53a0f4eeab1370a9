"""Where Spike and we may differ: what the specifications reserve or leave open. docs/differential.md lists the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TWO_WIDTHS = "a register read with two element widths"
EMPTY_SUM = "an unordered sum without active elements"
LATITUDE = (TWO_WIDTHS, EMPTY_SUM)


def allowed(mine: Any, theirs: Any) -> str | None:
    """The name of the latitude that explains two different outcomes of an instruction, None if there is none."""
    reserved = mine.what == "illegal" and "read one register with element widths" in mine.detail
    return TWO_WIDTHS if reserved and theirs.what != "illegal" else None


def sums_nothing(mask: NDArray[np.uint8], vl: int) -> bool:
    """Whether a masked reduction has no active element; ``vfredusum`` may then copy or quieten ``vs1[0]``."""
    return not np.unpackbits(mask, bitorder="little")[:vl].any()
