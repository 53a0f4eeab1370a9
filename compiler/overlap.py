"""Moves what a layer can load early into the end of the layer before it.

Weights, borders and older tensors do not depend on the layer that is running. Their transfers may run while its last
tile is computed, if they write to L1 that this layer does not use, and read nothing that it writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from potluck.compiler.schedule import LoweredOp, Span, Transfer

MOST = 32
"""Transfers that may move, so that the record of the last tile stays small."""


def overlap(ops: Sequence[LoweredOp], prefetch: Sequence[bool] | None = None) -> list[LoweredOp]:
    """The same layers with transfers moved; their number and order of effect stay.

    Args:
        ops: In order.
        prefetch: Of each layer, whether its transfers may move; None: all.
    """
    result = list(ops)
    for index in range(len(result) - 1):
        op, following = result[index], result[index + 1]
        written = [span_of(store.destination, store, True) for tile in op.tiles for store in tile.stores]
        if op.kernel is None:  # its loads are its stores
            written += [span_of(load.destination, load, True) for tile in op.tiles for load in tile.loads]
        written += op.written
        hull = (min(low for low, _ in written), max(high for _, high in written))
        early: list[Transfer] = []
        late: list[Transfer] = []
        first = following.tiles[0]
        for transfer in (*following.setup, *first.loads):
            free = not meets(span_of(transfer.destination, transfer, True), op.footprint)
            ready = not meets(span_of(transfer.source, transfer, False), [hull])
            # Order matters between transfers to the same bytes: a border under a row.
            clear = not meets(
                span_of(transfer.destination, transfer, True), (span_of(t.destination, t, True) for t in late)
            )
            allowed = following.kernel is not None and (prefetch is None or prefetch[index + 1])
            good = allowed and free and ready and clear and len(early) < MOST
            (early if good else late).append(transfer)
        result[index] = replace(op, ahead=tuple(early))
        # What is left of setup and loads runs at the start of the layer, in the old order.
        tiles = (replace(first, loads=tuple(late)), *following.tiles[1:])
        result[index + 1] = replace(following, setup=(), tiles=tiles)
    return result


def span_of(start: int, transfer: Transfer, destination: bool) -> Span:
    """The range of memory that a transfer touches at its source or its destination, which begins at ``start``."""
    stride = transfer.destination_stride if destination else transfer.source_stride
    return start, start + (transfer.repeats - 1) * stride + transfer.bytes


def meets(span: Span, others: Iterable[Span]) -> bool:
    """Whether a range shares bytes with any other."""
    return any(span[0] < high and low < span[1] for low, high in others)
