"""Results as terminal tables."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from potluck.isa.errors import DataError
from potluck.isa.insn import Insn
from potluck.sim.result import InRtl, Result


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
    host = result.manifest.get("host_nodes", [])
    if host:
        total = result.manifest["nodes"]
        console.print(f"[bold]{len(host)} of {total} nodes ran on the host[/], in no time of the machine:")
        for node in host:
            line = f"  {node['name']} ({node['op']}): {node['reason']}"
            console.print(line, highlight=False, markup=False)
    speed = result.instructions / max(result.host_seconds, 1e-9) / 1e6
    console.print(
        f"{result.instructions:,} instructions in {result.host_seconds:.3f} s of host time ({speed:.0f} MIPS)"
    )
    if result.mode == "functional":
        return
    console.print(
        f"[bold]{result.cycles:,} cycles[/] = {1e3 * result.cycles / result.clock_hz:.3f} ms at "
        f"{result.clock_hz / 1e9:g} GHz, {result.macs:,} MACs, utilization {100 * result.utilization:.1f} %, "
        f"energy {1e6 * result.energy_joules:.3f} µJ"
    )
    stalls = ", ".join(f"{cause} {count:,}" for cause, count in result.stalls.items() if count)
    console.print(f"cycles by cause: {stalls}")
    console.print(f"timing error: {result.timing_error_band}", markup=False)
    if result.rtl:
        _print_rtl(console, result.rtl)


def _print_rtl(console: Console, found: InRtl) -> None:
    """The same program in RTL."""
    if found.difference:
        console.print("[bold]in RTL: another run[/]")
        console.print(found.difference, highlight=False, markup=False, soft_wrap=True)
        return
    if len(found.layers) > 1:
        table = Table(title="in RTL", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 0), pad_edge=False)
        table.add_column("layer", no_wrap=True, max_width=36)
        for name in ("cycles", "in RTL", "more %"):
            table.add_column(name, justify="right")
        for layer in found.layers:
            more = _more(layer.cycles, layer.rtl_cycles)
            table.add_row(layer.name, f"{layer.cycles:,}", f"{layer.rtl_cycles:,}", more)
        console.print(table)
    console.print(
        f"[bold]in RTL: {found.rtl_cycles:,} cycles[/], {_more(found.cycles, found.rtl_cycles)} % more; all "
        f"{found.instructions:,} instructions and both memories are the same"
    )


def _more(cycles: int, rtl_cycles: int) -> str:
    return f"{100 * (rtl_cycles / cycles - 1):.1f}" if cycles else ""


def print_quantization(console: Console, record: dict[str, Any]) -> None:
    """What was done to a network while it was quantized: its metadata ``potluck.ptq``."""
    layers = record.get("layers", {})
    if layers:
        kept = record.get("kept", {})
        table = Table(
            "layer", "kept in", title="output error per unit of power, before and after", box=box.SIMPLE_HEAD
        )
        for name in ("nearest, dB", "now, dB"):
            table.add_column(name, justify="right")
        for name, item in layers.items():
            ends = [
                f"{10 * math.log10(max(item[key], 1e-30)):.1f}" for key in ("before", "after") if key in item
            ]
            table.add_row(name, kept.get(name, ""), *(ends or [item.get("left", ""), ""]))
        console.print(table)
    for name, ratio in record.get("sensitivity_db", {}).items():
        console.print(f"{name} alone leaves {ratio:.1f} dB", highlight=False)
    for purpose, samples in record.get("data", {}).items():
        console.print(
            f"{purpose}: {samples['samples']} samples, sha256 {samples['sha256'][:16]}", highlight=False
        )


def aligned(lines: Sequence[Sequence[str]], left: set[int], console: Console) -> None:
    """Prints a table, the columns `left` aligned there; never wrapped, so no number is cut off."""
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    for line in lines:
        cells = [cell.ljust(width) if k in left else cell.rjust(width)
                 for k, (cell, width) in enumerate(zip(line, widths, strict=True))]  # fmt: skip
        console.print("  ".join(cells).rstrip(), soft_wrap=True, markup=False, highlight=False)


def print_instructions(
    console: Console, extension: str | None = None, encoding: str = "spatz"
) -> list[dict[str, str]]:
    """The instruction table, a line per row; gives the rows as plain JSON values.

    Raises:
        DataError: no row is of that extension.
    """
    from potluck.isa.table import table_of

    rows = [insn for insn in table_of(encoding).values() if extension in (None, insn.extension)]
    if not rows:
        known = sorted({insn.extension for insn in table_of(encoding).values()})
        raise DataError(f"no instruction of extension {extension!r}; extensions: {', '.join(known)}")
    for insn in rows:
        console.print(
            f"{insn.mnemonic:18} {insn.extension:10} {insn.timing:12} {insn.operands:28} {insn.doc}",
            highlight=False, markup=False, no_wrap=True, overflow="ignore", crop=False,
        )  # fmt: skip
    return [
        {
            "mnemonic": one.mnemonic,
            "extension": one.extension,
            "timing": one.timing,
            "operands": one.operands,
            "doc": one.doc,
        }
        for one in rows
    ]


def find_instruction(mnemonic: str, encoding: str) -> Insn:
    """The row of a mnemonic in the table of a machine.

    Raises:
        DataError: there is none; names near ones.
    """
    from potluck.isa.table import table_of

    table = table_of(encoding)
    if mnemonic not in table:
        near = difflib.get_close_matches(mnemonic, list(table), 3)
        raise DataError(f"no instruction {mnemonic!r}; near: {', '.join(near) or 'none'}")
    return table[mnemonic]


def print_instruction(console: Console, about: dict[str, Any]) -> None:
    """One row in full, from :func:`potluck.instruction.describe`."""
    width = max(len(field["content"]) for field in about["encoding"])
    lines = [about["syntax"], about["summary"], "", f"extension    {about['extension']}"]
    if "stands_for" in about:
        lines.append(f"stands for   {about['stands_for']}")
    lines.append(f"encoding     mask {about['mask']}  match {about['match']}")
    lines += [f"  {field['bits']:>6}  {field['content']:{width}}".rstrip() for field in about["encoding"]]
    if about["meaning"]:
        lines += ["meaning", *(f"  {line}" for line in about["meaning"].splitlines())]
    lines.append("operands")
    for operand in about["operands"]:
        sizes = ", ".join(f"{key.upper()} {operand[key]}" for key in ("eew", "emul") if key in operand)
        lines.append(f"  {operand['name']:6} {operand['role']:18} {sizes}".rstrip())
    lines.append(f"on {about['machine']}: {about['unit']}, timing class {about['timing_class']}")
    for name, timing in about["timing"].items():
        figures = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in timing.items())
        parts = [
            f"{part['pj']:g} pJ ({part['low']:g} to {part['high']:g}) {key.replace('_', ' ')}"
            for key, part in about["energy"][name].items()
        ]
        lines.append(f"  {name:4} {figures}; energy {' + '.join(parts)}")
    lines.append("timing from")
    for key, stated in about["keys"].items():
        value = stated["value"]
        if isinstance(value, dict):
            value = ", ".join(f"{width} {cycles}" for width, cycles in value.items())
        lines.append(f"  {key} = {value}: {stated['source'] or 'no source given'}")
    lines.append(f"  rules of docs/timing.md: {', '.join(about['rules'])}")
    lines.append("energy from")
    lines += [f"  {entry}: {source}" for entry, source in about["energy_sources"].items()]
    if about["constraints"]:
        lines += ["constraints", *(f"  {line}" for line in about["constraints"])]
    if about["legal"]:
        lines.append(f"legal at     {', '.join(about['legal'])}")
    console.print("\n".join(lines), highlight=False, markup=False)
