"""Contention of cores and DMA for the banks of L1: a deterministic rate model, one synchronization segment at a time.

Inside a core, bank conflicts follow from the access pattern (access classes). Between requesters only
rates are known: in each cycle of the segment, requester o asks for ``words / cycles`` banks, spread evenly over all
banks and independent of the others. A request that meets another one at its bank loses half of the time and comes
again one cycle later; a DMA beat takes a superbank and always wins. A vector word is late if any of its requests is
late, and only a core that waits for its memory unit loses the cycle.

Stated error: requests of real programs are regular, and regular streams fall into lock-step after their first
conflict. The model therefore bounds steady streams from above (their true loss is near zero) and is meant for mixed
traffic; ``tests/sim/test_contention.py`` measures it against a cycle-by-cycle bank simulation with random addresses:
within 20 % of the delay at bank loads up to one half.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SUPERBANK = 8  # banks that a 512-bit DMA beat takes (facts vmxdotp §4)


def contention_cycles(
    cycles: NDArray[np.int64],
    words: NDArray[np.int64],
    memory_cycles: NDArray[np.int64],
    dma_beats: int,
    banks: int = 16,
    ports: int = 4,
) -> NDArray[np.int64]:
    """Cycles each core loses to the others and to the DMA in one segment.

    Args:
        cycles: int64 [cores], the segment's length without contention.
        words: int64 [cores], 64-bit L1 requests of the core in the segment.
        memory_cycles: int64 [cores], cycles in which the core waited for its memory unit (causes ``vlsu`` and
            ``bank_conflict``): the only ones that a late answer lengthens.
        dma_beats: 512-bit beats of the DMA into or out of L1 in the segment.
        banks: 64-bit banks of L1.
        ports: requests of a core that must all be answered before it goes on.

    Returns:
        int64 [cores], at most ``memory_cycles`` times the number of other requesters.
    """
    length = max(1, int(np.max(cycles, initial=1)))
    rate = np.minimum(words / length, ports) / banks  # chance that a core asks for a given bank in a cycle
    dma = min(1.0, dma_beats / length) * min(1.0, SUPERBANK / banks)
    late = np.empty(cycles.size)
    for core in range(cycles.size):
        others = np.delete(rate, core).sum()
        late[core] = min(1.0, others / 2 + dma)
    share = 1 - (1 - late) ** ports
    requesters = cycles.size - 1 + (dma_beats > 0)
    lost = np.where(late < 1, memory_cycles * share / np.maximum(1 - late, 1e-9), memory_cycles * requesters)
    return np.floor(np.minimum(lost, memory_cycles * requesters)).astype(np.int64)
