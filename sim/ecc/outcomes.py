"""What became of a block: the decoder's status against the truth of the data, two axes and their summary."""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from potluck.sim.ecc.interface import BLOCK_BITS, Decoded, Status, Words


class Bounding(Protocol):
    """What a protection promises about wrong data."""

    def bounded(self, clean: Words, read: Words) -> NDArray[np.bool_]:
        """See `Protection.bounded`."""
        ...


class Data(IntEnum):
    """Data as read."""

    EXACT = 0
    BOUNDED = 1
    WRONG = 2


class Outcome(IntEnum):
    """Summary of a block; of several codewords the largest counts.

    CE: the data are right. BND: wrong within the protection's bound. MIS: wrong, and the decoder reports a correction.
    UND: some wrong codeword was taken for clean. DUE: detected, uncorrectable.
    """

    CE = 0
    BND = 1
    MIS = 2
    UND = 3
    DUE = 4


class ArtifactOutcome(IntEnum):
    """`compat_artifact`: a mis-correction counts as DUE, because the decoder said something."""

    CE = 0
    DUE = 1
    SDC = 2


def data_state(protection: Bounding, clean: Words, read: Words) -> NDArray[np.uint8]:
    """`Data` of each row."""
    exact = (clean == read).all(axis=1)
    bounded = protection.bounded(clean, read)
    return np.where(exact, Data.EXACT, np.where(bounded, Data.BOUNDED, Data.WRONG)).astype(np.uint8)


def classify(protection: Bounding, clean: Words, decoded: Decoded) -> NDArray[np.uint8]:
    """`Outcome` of each row."""
    state = data_state(protection, clean, decoded.data)
    touched = _wrong_only_where_touched(clean ^ decoded.data, decoded.status)
    wrong = np.where(touched, Outcome.MIS, Outcome.UND)
    out = np.where(state == Data.EXACT, Outcome.CE, np.where(state == Data.BOUNDED, Outcome.BND, wrong))
    due = (decoded.status == Status.DUE).any(axis=1)
    return np.where(due, Outcome.DUE, out).astype(np.uint8)


def _wrong_only_where_touched(wrong: Words, status: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Rows whose wrong bits all lie in codewords that the decoder did not call clean."""
    words = status.shape[1]
    if words < 2:
        return np.asarray((status != Status.CLEAN).any(axis=1))
    parts = wrong.view(np.uint8)[:, : BLOCK_BITS // 8].reshape(len(wrong), words, -1).any(axis=2)
    return np.asarray(~(parts & (status == Status.CLEAN)).any(axis=1))


def classify_artifact(protection: Bounding, clean: Words, decoded: Decoded) -> NDArray[np.uint8]:
    """`ArtifactOutcome` of each row."""
    good = data_state(protection, clean, decoded.data) != Data.WRONG
    said = (decoded.status != Status.CLEAN).any(axis=1)
    out = np.where(said, ArtifactOutcome.DUE, ArtifactOutcome.SDC)
    return np.where(good, ArtifactOutcome.CE, out).astype(np.uint8)
