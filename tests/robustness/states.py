"""Register and memory contents that an attacker would choose, and data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tests.robustness.arena import (
    DATA,
    DATA_BYTES,
    END,
    L1,
    L1_BYTES,
    NOTHING,
    TEXT,
    TEXT_BYTES,
    TOHOST,
    State,
)
from tests.robustness.guard import PAGE
from tests.robustness.words import VTYPES

EDGES = [0, L1, L1 + L1_BYTES, TEXT, DATA, END, TOHOST, DATA + PAGE, L1 + PAGE, 1 << 63, 0x1100_0000, 0x1200_0000,
         1 << 32, 1 << 47, TEXT | 1 << 63, TEXT | 1 << 47]  # fmt: skip


def image(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Bytes of L1 and of data in DRAM: noise, zeros, addresses."""
    found = rng.integers(0, 256, L1_BYTES + DATA_BYTES, np.uint8)
    words = found.view(np.uint64)
    kind = rng.integers(0, 4, words.size)
    words[kind == 0] = 0
    words[kind == 1] = addresses(rng, int((kind == 1).sum()))
    return found


def addresses(rng: np.random.Generator, count: int) -> NDArray[np.uint64]:
    """Inside memory, at its ends and those of pages, near 0 and 2^64, and anywhere."""
    near = np.array(EDGES, np.uint64)[rng.integers(0, len(EDGES), count)]
    step = rng.choice(np.array([1, 2, 4, 8, 8, 64], np.int64), count) * rng.integers(-9, 10, count)
    edge = near + step.astype(np.uint64)
    inside = (DATA + 8 * rng.integers(0, DATA_BYTES // 8, count)).astype(np.uint64)
    low = (L1 + 8 * rng.integers(0, L1_BYTES // 8, count)).astype(np.uint64)
    code = (TEXT + 2 * rng.integers(0, TEXT_BYTES // 2, count)).astype(np.uint64)
    wild = rng.integers(0, 1 << 64, count, np.uint64) >> rng.integers(0, 64, count).astype(np.uint64)
    return np.choose(rng.integers(0, 8, count), [edge, edge, inside, inside, low, low, code, wild])


def states(rng: np.random.Generator, vlen: int, count: int) -> list[State]:
    """Initial states; few vtypes, so that few handlers are compiled."""
    found = []
    vlenb = vlen // 8
    vtypes, controls = rng.choice(VTYPES, 2), rng.integers(0, 64, 2) << 3
    for number in range(count):
        x = addresses(rng, 32)
        kind = rng.integers(0, 6, 32)
        small = rng.integers(-70, 4097, 32).astype(np.uint64)
        x[kind == 0] = small[kind == 0]
        x[kind == 1] = (1 << rng.integers(0, 64, 32, np.uint64))[kind == 1]
        x[0] = 0
        if number % 2:
            x[17] = 93  # an ecall is an exit
        v = rng.integers(0, 256, (32, vlenb), np.uint8)
        wide = v.view(np.uint64)
        mode = int(rng.integers(0, 4))
        if mode == 1:  # offsets that stay inside, or just not
            wide[:] = rng.integers(0, L1_BYTES // 8, wide.shape, np.uint64) * 8
        elif mode == 2:
            wide[:] = addresses(rng, wide.size).reshape(wide.shape)
        elif mode == 3:
            v[:] = rng.integers(0, 2, v.shape, np.uint8) * 255
        words = {"vtype": 1 << 63, "vl": 0, "vstart": 0, "vxsat": 0, "reserved": NOTHING}
        if rng.random() < 0.9:
            vtype = int(rng.choice(vtypes))
            code = vtype & 7
            vlmax = (vlen << code if code < 4 else vlen >> 8 - code) // (8 << (vtype >> 3 & 7))
            words |= {
                "vtype": vtype,
                "vl": int(rng.choice([vlmax, vlmax, vlmax, 1, rng.integers(0, vlmax + 1)])),
            }
        words["vxrm"] = int(rng.integers(0, 4))
        control = int(rng.choice([0, *controls])) if number % 4 == 0 else 0
        words["fcsr"] = (control | int(rng.choice([0, 0, 0, 0, 0, 0, 0, 0, 2, 7]))) << 5
        for name in ("dma_source", "dma_target"):
            words[name] = int(addresses(rng, 1)[0])
        for name in ("dma_source_stride", "dma_target_stride", "dma_repeat"):
            words[name] = int(rng.choice([0, 1, 8, 64, (1 << 64) - 8, 4, int(rng.integers(0, 1 << 63))]))
        found.append(State(x, rng.integers(0, 1 << 64, 32, np.uint64), v, words))
    return found
