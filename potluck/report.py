"""Results as terminal tables."""

from __future__ import annotations

import difflib

from rich import box
from rich.console import Console
from rich.table import Table

from potluck.isa.errors import DataError
from potluck.isa.insn import Insn
from potluck.sim.result import Result


def layer_table(result: Result) -> Table:
    """One line per layer: cycles, work, utilization, energy and the largest stall cause."""
    table = Table(
        title=f"{result.machine}, {result.mode}", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 0), pad_edge=False
    )
    widths = {"layer": 15, "op": 8, "format": 6, "cycles": 9, "MMAC": 6, "util %": 6, "µJ": 8, "mostly": 10}
    for name, width in widths.items():  # 80 columns in all; the JSON has names in full
        left = name in ("layer", "op", "format", "mostly")
        table.add_column(name, justify="left" if left else "right", no_wrap=True, max_width=width,
                         min_width=0 if left else min(width, 8))  # fmt: skip
    for layer in result.layers:
        cause, share = max(layer.stalls.items(), key=lambda item: item[1], default=("", 0))
        table.add_row(
            layer.name, layer.op, layer.format, f"{layer.cycles:,}", f"{layer.macs / 1e6:.3f}",
            f"{100 * layer.utilization:.1f}" if layer.macs else "", f"{1e6 * layer.energy_joules:.3f}",
            f"{cause} {100 * share / max(1, layer.cycles):.0f} %",
        )  # fmt: skip
    return table


def print_result(console: Console, result: Result) -> None:
    """A run's summary."""
    if result.layers:
        console.print(layer_table(result))
    speed = result.instructions / max(result.host_seconds, 1e-9) / 1e6
    console.print(
        f"{result.instructions:,} instructions in {result.host_seconds:.3f} s of host time ({speed:.0f} MIPS)"
    )
    if result.mode != "timed":
        return
    console.print(
        f"[bold]{result.cycles:,} cycles[/] = {1e3 * result.cycles / result.clock_hz:.3f} ms at "
        f"{result.clock_hz / 1e9:g} GHz, {result.macs:,} MACs, utilization {100 * result.utilization:.1f} %, "
        f"energy {1e6 * result.energy_joules:.3f} µJ"
    )
    stalls = ", ".join(f"{cause} {count:,}" for cause, count in result.stalls.items() if count)
    console.print(f"cycles by cause: {stalls}")
    console.print(f"timing error: {result.timing_error_band}")


def print_instructions(console: Console) -> None:
    """The instruction table, a line per row."""
    from potluck.isa.table import TABLE

    table = Table()
    for name in ("instruction", "operands", "extension", "timing class", "meaning"):
        table.add_column(name)
    for insn in TABLE.values():
        table.add_row(insn.mnemonic, insn.operands, insn.extension, insn.timing, insn.doc)
    console.print(table)


def print_instruction(console: Console, mnemonic: str) -> None:
    """One row in full."""
    from potluck.isa.table import TABLE

    insn: Insn | None = TABLE.get(mnemonic)
    if insn is None:
        near = difflib.get_close_matches(mnemonic, list(TABLE), 3)
        raise DataError(f"no instruction {mnemonic!r}; near: {', '.join(near) or 'none'}")
    console.print(f"[bold]{insn.mnemonic}[/] {insn.operands}\n{insn.doc}")
    console.print(
        f"encoding  {insn.encoding}\nmask      {insn.mask:#010x}  match {insn.match:#010x}", highlight=False
    )
    console.print(f"extension {insn.extension}, timing class {insn.timing}, kind {insn.kind.value}")
