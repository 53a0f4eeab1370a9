"""What vector instructions did in the RTL and on the simulator: their writes of the register file, and their flags.

The RTL's writes come when they come. Taken in program order they must leave, after every instruction, the registers
that the simulator has there; so a difference is told of the instruction that made it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from potluck.hdl.harness import RAISED, WROTE
from potluck.sim.observation.retired import Steps

WORD_BYTES = 32
FLAGS = 31


def vector_difference(known: Steps, events: NDArray[np.void]) -> tuple[int, str]:
    """The first instruction with other vector registers or flags, and what is other; -1 and "" if there is none."""
    registers = _registers(known, events)
    flags = _flags(known, events)
    found = [item for item in (registers, flags) if item[1]]
    return min(found) if found else (-1, "")


def _registers(known: Steps, events: NDArray[np.void]) -> tuple[int, str]:
    vlenb = known.cluster.harts[known.hart].state.v.shape[1]
    image = np.zeros((32, vlenb), np.uint8)
    words = image.reshape(-1, WORD_BYTES)
    expected = np.zeros_like(image)
    writes = events[events["kind"] == WROTE]
    writes = writes[np.argsort(writes["record"], kind="stable")]
    enabled = (writes["strobe"][:, None] >> np.arange(WORD_BYTES, dtype=np.uint32) & 1).astype(np.bool_)
    numbers = [wrote.record for wrote in known.vectors]
    borders = np.searchsorted(writes["record"], numbers, "right")
    strange = np.setdiff1d(writes["record"][: borders[-1] if numbers else 0], numbers)
    if strange.size:
        return int(strange[0]), "vector registers: it is no vector instruction"
    begin = 0
    for wrote, end in zip(known.vectors, borders, strict=True):
        touched = set(wrote.registers.tolist())
        for index in range(begin, end):
            place = int(writes["place"][index])
            words[place][enabled[index]] = writes["data"][index][enabled[index]]
            touched.add(place * WORD_BYTES // vlenb)
        begin = int(end)
        expected[wrote.registers] = wrote.values
        rows = sorted(touched)
        if not np.array_equal(image[rows], expected[rows]):
            return wrote.record, "vector registers: " + _told(image, expected)
    return -1, ""


def _told(image: NDArray[np.uint8], expected: NDArray[np.uint8]) -> str:
    """Every register that differs, highest byte first."""
    rows = np.flatnonzero((image != expected).any(1))
    lines = [f"v{row} is {image[row, ::-1].tobytes().hex()}\n      expected {expected[row, ::-1].tobytes().hex()}"
             for row in rows[:4]]  # fmt: skip
    return "\n    ".join(lines)


def _flags(known: Steps, events: NDArray[np.void]) -> tuple[int, str]:
    """Flags of the instructions of the vector unit, which are accrued when they come, not in order."""
    count = known.records.size
    raised = np.zeros(count, np.uint32)
    own = events[(events["kind"] == RAISED) & (events["record"] < count)]
    np.bitwise_or.at(raised, own["record"].astype(np.int64), own["strobe"])
    before = known.records["fcsr"].astype(np.uint32) & FLAGS
    last = known.cluster.harts[known.hart].state["fcsr"] & FLAGS
    after = np.append(before[1:], np.uint32(last))
    wrong = np.flatnonzero(known.in_unit & ((before | raised & FLAGS) != after))
    if not wrong.size:
        return -1, ""
    index = int(wrong[0])
    text = f"flags: it raises {int(raised[index]) & FLAGS:#x}, expected {int(after[index]):#x}"
    return index, f"{text} with {int(before[index]):#x} before it"


__all__ = ["vector_difference"]
