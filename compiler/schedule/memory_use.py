"""How much memory a schedule takes beside the least that it could: peak bytes and the lower bound of live bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from potluck.compiler.schedule.layer import LoweredOp, Span
from potluck.compiler.schedule.memory import Storage
from potluck.compiler.schedule.overlap import span_of


def memory_use(
    ops: Sequence[LoweredOp],
    storages: Iterable[Storage],
    activations: Span,
    constants: Iterable[tuple[int, bytes]],
) -> dict[str, int]:
    """Bytes by name.

    * ``l1_peak``: what the layer with the largest buffers takes of L1, alignment included; ``l1_live``: the bytes that
      transfers fill or empty there, or the largest such number of any layer: tiles in two buffers, weights that stay.
    * ``dram_activations``: from the first to behind the last activation; ``dram_live``: the most bytes of activations
      that exist at the same time, which no placement can do without.
    * ``dram_constants``: weights, biases, fill patterns.

    Args:
        ops: Layers in order.
        storages: Of the activations, with lifetimes.
        activations: The range that they were placed in.
        constants: Address and bytes.
    """
    changes: dict[int, int] = {}
    for storage in storages:
        if storage.used:
            changes[storage.first] = changes.get(storage.first, 0) + storage.bytes
            changes[storage.last + 1] = changes.get(storage.last + 1, 0) - storage.bytes
    live = most = 0
    for layer in sorted(changes):
        live += changes[layer]
        most = max(most, live)
    return {
        "l1_peak": max((sum(high - low for low, high in op.footprint) for op in ops), default=0),
        "l1_live": max((_filled(op) for op in ops), default=0),
        "dram_activations": activations[1] - activations[0],
        "dram_live": most,
        "dram_constants": sum(len(data) for _, data in constants),
    }


def _filled(op: LoweredOp) -> int:
    """Bytes inside a layer's buffers that its transfers fill or empty."""
    spans: set[Span] = set()
    for transfer in (*op.setup, *(load for tile in op.tiles for load in tile.loads)):
        spans.add(span_of(transfer.destination, transfer, True))
    for transfer in (store for tile in op.tiles for store in tile.stores):
        spans.add(span_of(transfer.source, transfer, False))
    total, reached = 0, 0
    for low, high in sorted(spans):
        for first, last in op.footprint:
            if first <= low < last:
                total += max(0, high - max(low, reached))
                reached = max(reached, high)
    return total
