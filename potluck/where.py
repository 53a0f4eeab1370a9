"""``potluck where``: bits by address or by tensor, in both coordinates."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from rich.console import Console

from potluck.isa.elf import Program
from potluck.isa.errors import DataError, MachineError
from potluck.isa.machine import Machine
from potluck.report import aligned
from potluck.sim.dram.attach import mapping_of
from potluck.sim.dram.cells import Bit, Cells
from potluck.sim.dram.tensors import TensorBit, address_of, names_of, parse

_ADDRESS = re.compile(r"(0[xX][0-9a-fA-F]+|\d+)(?::(\d+))?")


def locate(program: Program, text: str, machine: Machine) -> list[dict[str, Any]]:
    """A row per bit.

    Args:
        program: with its manifest.
        text: ``0xADDRESS:BIT`` or ``TENSOR#PART[INDEX]:BIT``; without a bit, all of the byte or element.
        machine: whose DRAM.

    Raises:
        MachineError: the machine's DRAM is ``simple``.
        DataError: no such tensor, element or bit, or an address outside DRAM.
    """
    mapping = mapping_of(machine)
    if mapping is None:
        raise MachineError(
            "simple DRAM has no banks", key="dram.kind", hint="Choose a kind: --set dram.kind=hbm3."
        )
    cells, base = Cells(mapping), machine.memory.dram_base
    match = _ADDRESS.fullmatch(text.strip())
    found: list[tuple[int, int, list[TensorBit]]] = []
    if match:
        address = int(match[1], 0)
        if not base <= address < base + machine.memory.dram_bytes:
            raise DataError(
                f"address {address:#x} is outside DRAM ({machine.memory.dram_bytes:#x} bytes from {base:#x})"
            )
        for bit in range(8) if match[2] is None else [int(match[2])]:
            if bit > 7:
                raise DataError(f"a byte has no bit {bit}")
            found.append((address, bit, names_of(program.manifest, address, bit)))
    else:
        found += [(*address_of(place), [place]) for place in parse(program.manifest, text)]
    rows = []
    for address, bit, places in found:
        if any(place.buffer.region != "dram" for place in places):
            raise DataError("lies in L1, not in DRAM", tensor=places[0].buffer.name)
        cell = asdict(cells.locate(Bit("data", address - base, bit)))
        names = [
            {"tensor": place.buffer.name, "format": place.buffer.format, "index": list(place.index),
             "element_bit": place.bit, "field": place.field, "block": list(place.block) if place.block else None}
            for place in places
        ]  # fmt: skip
        rows.append({"address": address, "bit": bit, **cell, "names": names})
    return rows


COLUMNS = ("channel", "pseudochannel", "rank", "bank_group", "bank", "row", "burst", "beat", "pin", "device")
HEADINGS = ("channel", "pc", "rank", "group", "bank", "row", "burst", "beat", "pin", "device")


def print_rows(rows: list[dict[str, Any]], console: Console) -> None:
    """A line per bit, never wrapped."""
    lines: list[tuple[str, ...]] = [("address:bit", *HEADINGS, "stored there")]
    for row in rows:
        stored = [
            f"{name['tensor']}{name['index']} {name['field']}"
            + (f" of block {name['block']}" if name["block"] else "")
            for name in row["names"]
        ]
        cell = [str(row[column]) for column in COLUMNS]
        lines.append((f"{row['address']:#x}:{row['bit']}", *cell, "; ".join(stored) or "-"))
    aligned(lines, {len(HEADINGS) + 1}, console)
