"""Moves what a layer can load early into the end of the layer before it.

Weights, borders and older tensors do not depend on the layer that is running. Their transfers may run while its last
tile is computed, if they write to L1 that this layer does not use, and read nothing that it writes. In a chain, whose
layers do not wait, they may begin several layers before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from potluck.compiler.schedule.layer import LoweredOp, Span, Transfer

MOST = 32
"""Transfers that may move, so that the record of the last tile stays small."""


def overlap(ops: Sequence[LoweredOp], prefetch: Sequence[bool] | None = None) -> list[LoweredOp]:
    """The same layers with transfers moved; their number and order of effect stay.

    Args:
        ops: In order.
        prefetch: Of each layer, whether its transfers may move; None: all.
    """
    result = list(ops)
    for index in range(1, len(result)):
        following = result[index]
        first = following.tiles[0]
        allowed = following.kernel is not None and (prefetch is None or prefetch[index])
        places = _places(result, index) if allowed else []
        late: list[Transfer] = []
        moved: dict[int, list[Transfer]] = {}
        for transfer in (*following.setup, *first.loads):
            # Order matters between transfers to the same bytes: a border under a row.
            clear = not meets(
                span_of(transfer.destination, transfer, True), (span_of(t.destination, t, True) for t in late)
            )
            place = None
            for at in places if clear else ():
                if not _passes(transfer, result[at]):
                    break
                if len(result[at].ahead) + len(moved.get(at, ())) < MOST:
                    place = at
            if place is None:
                late.append(transfer)
            else:
                moved.setdefault(place, []).append(transfer)
        for at, early in moved.items():
            result[at] = replace(result[at], ahead=result[at].ahead + tuple(early))
        # What is left of setup and loads runs at the start of the layer, in the old order.
        tiles = (replace(first, loads=tuple(late)), *following.tiles[1:])
        result[index] = replace(following, setup=(), tiles=tiles)
    return result


def _places(ops: Sequence[LoweredOp], index: int) -> list[int]:
    """Layers beside whose last tile a layer's transfers may run, nearest first.

    Before the nearest only those of its chain and what are transfers alone: nobody in between waits for all transfers.
    """
    places = [index - 1]
    while places[-1] and (ops[places[-1]].joined or ops[places[-1]].bare):
        places.append(places[-1] - 1)
    return places


def _passes(transfer: Transfer, op: LoweredOp) -> bool:
    """Whether a transfer may run beside a layer's last tile: it needs nothing of it, and the layer not its room."""
    written = [span_of(store.destination, store, True) for tile in op.tiles for store in tile.stores]
    if op.kernel is None:  # its loads are its stores
        written += [span_of(load.destination, load, True) for tile in op.tiles for load in tile.loads]
    written += op.written
    free = not meets(span_of(transfer.destination, transfer, True), op.footprint)
    if not free or not written:
        return free
    hull = (min(low for low, _ in written), max(high for _, high in written))
    return not meets(span_of(transfer.source, transfer, False), [hull])


def span_of(start: int, transfer: Transfer, destination: bool) -> Span:
    """The range of memory that a transfer touches at its source or its destination, which begins at ``start``."""
    stride = transfer.destination_stride if destination else transfer.source_stride
    return start, start + (transfer.repeats - 1) * stride + transfer.bytes


def meets(span: Span, others: Iterable[Span]) -> bool:
    """Whether a range shares bytes with any other."""
    return any(span[0] < high and low < span[1] for low, high in others)
