"""Queues at the limits of what the accelerator takes, from both sides, and the status that each must have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from potluck.isa.machine import Machine
from potluck.isa.pot.command import Command, encode
from potluck.isa.pot.stream import Status
from tests.rtl.bench.pot_engine_cases import AREA
from tests.sim.pot.pot_layers import INPUT, OUTPUT

U32 = NDArray[np.uint32]


class Limit(NamedTuple):
    """A queue, and the status it ends with."""

    name: str
    commands: U32
    status: Status


def limits(machine: Machine, text: range) -> Iterator[Limit]:
    """All of them; ``text`` is the program's, in DRAM."""
    yield from overwritten(machine)
    yield from stores_into_text(machine, text)
    yield from windows(machine)


def _queue(*commands: U32) -> U32:
    rows = np.stack(commands)
    rows[-1, 0] |= 1 << 8
    return rows


def _compute(machine: Machine, **fields: int) -> U32:
    """A computation from slots 0 to slot 0, of kernel 1 where nothing else is said."""
    assert machine.pot is not None
    fields = {
        "first": 1,
        "final": 1,
        "low": -128,
        "high": 127,
        "code_set": 4 * machine.pot.multipliers,
        **fields,
    }
    return encode(Command.COMPUTE, **fields)


def _outputs(machine: Machine) -> tuple[list[U32], int, dict[str, int]]:
    """Commands that fill an output slot, its bytes, and the computation's fields."""
    assert machine.pot is not None and machine.pot.engine is not None
    filters = 4 * machine.pot.units
    pixels = machine.pot.engine.output_bytes // filters
    fields = {
        "height": pixels,
        "width": 1,
        "channels": 4,
        "filters": filters,
        "out_height": pixels,
        "out_width": 1,
    }
    return (
        [
            encode(Command.LOAD_INPUTS, address=INPUT, rows=1, row_bytes=4 * pixels),
            encode(Command.LOAD_WEIGHTS, address=INPUT + AREA, blocks=machine.pot.units, lines=1),
            _compute(machine, **fields),
        ],
        pixels * filters,
        fields,
    )


def overwritten(machine: Machine) -> Iterator[Limit]:
    """A slot is made anew while the store of what it held, a byte a cycle, is under way."""
    before, size, fields = _outputs(machine)
    yield Limit(
        "an output slot overwritten",
        _queue(
            *before,
            encode(Command.STORE, address=OUTPUT, rows=size, row_bytes=1, stride=1),
            _compute(machine, unsigned_outputs=1, **fields),
            encode(Command.STORE, address=OUTPUT + AREA, rows=1, row_bytes=size),
        ),
        Status.OK,
    )


def stores_into_text(machine: Machine, text: range) -> Iterator[Limit]:
    """Rows that begin, end or lie in the text, and those that just do not; loads from it are legal."""
    before, _, _ = _outputs(machine)
    free = text.stop
    stores = {
        "behind the text": ({"address": free, "rows": 1, "row_bytes": 8}, True),
        "the text's last byte": ({"address": free - 1, "rows": 1, "row_bytes": 1}, False),
        "from the text on": ({"address": free - 4, "rows": 1, "row_bytes": 8}, False),
        "the text's begin": ({"address": text.start, "rows": 1, "row_bytes": 8}, False),
        "a later row behind the text": (
            {"address": free + 64, "rows": 2, "row_bytes": 8, "stride": -64},
            True,
        ),
        "a later row in the text": ({"address": free + 64, "rows": 2, "row_bytes": 8, "stride": -65}, False),
        "no later row": ({"address": free, "rows": 1, "row_bytes": 8, "stride": -64}, True),
    }
    for name, (fields, legal) in stores.items():
        status = Status.OK if legal else Status.BAD_ADDRESS
        yield Limit(f"store, {name}", _queue(*before, encode(Command.STORE, **fields)), status)
    load = encode(Command.LOAD_INPUTS, address=text.start, rows=1, row_bytes=len(text))
    yield Limit("load from the text", _queue(load), Status.OK)


def windows(machine: Machine) -> Iterator[Limit]:
    """Depthwise and dense windows that just fit into the window buffer, and those of a tap or a line more."""
    pot = machine.pot
    assert pot is not None
    most = pot.input_lines // (4 * pot.units)
    for taps in (most, most + 1):
        height = max(h for h in range(1, 256) if taps % h == 0 and taps // h < 256 and h <= taps // h)
        if taps <= pot.weight_slot_lines:
            yield Limit(
                f"depthwise window of {taps} taps",
                _window(machine, (height, taps // height), channels=3, depthwise=1, filters=3),
                Status.OK if taps <= most else Status.BAD_SIZE,
            )
    for lines in (pot.input_lines, pot.input_lines + 1):
        if lines <= pot.weight_slot_lines:
            yield Limit(
                f"dense window of {lines} lines",
                _window(machine, (1, 1), channels=4 * lines, filters=3),
                Status.OK if lines <= pot.input_lines else Status.BAD_SIZE,
            )


def _window(machine: Machine, kernel: tuple[int, int], channels: int, **fields: int) -> U32:
    """Two output pixels of a kernel."""
    height, width = kernel
    taps, size = height * width, height * (width + 1) * channels
    lines = taps if fields.get("depthwise") else -(-taps * channels // 4)
    shape = {
        "height": height, "width": width + 1, "channels": channels, "out_height": 1, "out_width": 2,
        "kernel_height": height, "kernel_width": width,
    }  # fmt: skip
    return _queue(
        encode(Command.LOAD_INPUTS, address=INPUT, rows=1, row_bytes=size),
        encode(Command.LOAD_WEIGHTS, address=INPUT + AREA, blocks=1, lines=lines),
        _compute(machine, **shape, **fields),
        encode(Command.STORE, address=OUTPUT, rows=1, row_bytes=2 * fields["filters"]),
    )
