"""The tables of docs/memory.md from the rows of ``potluck bench memory --json``.

python -m potluck.benchmarks.memory_page memory.json > docs/memory.md
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
NAMES = {
    "fp32": "FP32", "bf16_weights": "BF16", "mxfp8": "MXFP8", "mxfp4": "MXFP4", "int8": "INT8", "pot_apot": "PoT",
}  # fmt: skip
_CELL = re.compile(r"^(?P<what>.*): \[(?P<bits>\d+) bits/256\] (?P<stack>.*)$")
_CURVE = re.compile(
    r"^(?P<scheme>\w+), (?P<kind>events|uniform), raw BER (?P<ber>\S+) \((?P<mean>.*) a pass\)$"
)
_FAULT = re.compile(r"^\w+, one (?P<kind>transient|permanent) fault of a (?P<mode>\w+)$")
_COST = re.compile(r"^(?P<scheme>\w+), (?P<what>cycles|energy)$")
_INTERVAL = re.compile(r"95 % (\S+) to ([^,]+), (\d+) trials")
_LOST = re.compile(r"MIS \+ UND (\d+), DUE (\d+)")
_RESIDUAL = re.compile(r"^RG-X / clamp, (?P<format>.+), (?P<pattern>\S+), upper 95 %$")
ACCURACY = """\
# What protection gives and costs

Written by `python -m potluck.benchmarks.memory_page` from the rows of `potluck bench memory --json`; summed up in
[faults.md](faults.md), which also explains the names of stacks. ResNet-8 on 100 Fashion-MNIST images, all constants in
two channels of HBM3, policy `pass`; raw BER is that of cells, below on-die codes.

## Accuracy

In %, mean and 95 % interval over 12 trials (percentile bootstrap); the same faults for all stacks.
"""
FAULTS = """\
## One fault of each kind

BF16, 6 trials each, the fault anywhere that touches the constants. Accuracy in %, then sectors a trial that are wrong
unnoticed (MIS, UND) and uncorrectable (DUE); in parentheses the stored check bits per 256. Faults of a pin come after
the on-die code, all others are in cells below it.
"""
COST = """
## Cost of an image

Percent more cycles (timed with the codec in the path to DRAM; some are fewer, as transfers fall otherwise between
refreshes) and percent more energy; in parentheses the stored check bits per 256.
"""
RESIDUALS = """
## RG-X beside the exponent or code clamp

Blocks of weights (Student t, 5 degrees) with an error above 10 standard deviations, 1e5 blocks a pattern: RG-X's over
the clamp's, upper 95 % bound. Asked for in BF16: 0.1 at most. n/a: the clamp leaves none.
"""
NEAR = 1.0
"""Points from the fault-free accuracy within which a row of the curves is left out."""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cells(rows: Iterable[Row]) -> list[tuple[str, int, str, Row]]:
    """(what, stored check bits, stack, row) of the rows that are about a stack."""
    found = []
    for row in rows:
        match = _CELL.match(row["figure"])
        if match:
            found.append((match["what"], int(match["bits"]), match["stack"], row))
    return found


def _groups(rows: list[tuple[str, int, str, Row]]) -> dict[int, list[str]]:
    groups: dict[int, list[str]] = {}
    for _, bits, stack, _ in rows:
        if stack not in groups.setdefault(bits, []):
            groups[bits].append(stack)
    return dict(sorted(groups.items()))


def curves(rows: list[Row]) -> Iterable[str]:
    """Accuracy by format, fault model and raw BER: a table for each number of stored check bits."""
    clean = {
        r["figure"].split(":")[0]: r["value"] for r in rows if r["figure"].endswith("accuracy without faults")
    }
    mine = [one for one in cells(rows) if _CURVE.match(one[0])]
    found: dict[str, dict[str, Row]] = {}
    for what, _, stack, row in mine:
        found.setdefault(what, {})[stack] = row
    shown: list[tuple[re.Match[str], dict[str, Row]]] = []
    left: list[tuple[re.Match[str], dict[str, Row]]] = []
    for what, by_stack in found.items():
        match = _CURVE.match(what)
        assert match
        near = all(abs(row["value"] - clean[match["scheme"]]) <= NEAR for row in by_stack.values())
        (left if near else shown).append((match, by_stack))
    for bits, stacks in _groups(mine).items():
        yield f"### {bits} stored check bits per 256\n"
        yield table(
            ["format (fault-free)", "faults, raw BER", "expected a pass", *stacks],
            (
                [f"{NAMES[m['scheme']]} ({clean[m['scheme']]:.0f})", f"{m['kind']}, {m['ber']}", _plain(m["mean"]),
                 *(_accuracy(by_stack[stack]) for stack in stacks)]
                for m, by_stack in shown
            ),
        ) + "\n"  # fmt: skip
    names = ", ".join(f"{NAMES[m['scheme']]} {m['kind']} {m['ber']} ({_plain(m['mean'])})" for m, _ in left)
    text = f"Left out, as every stack stays within {NEAR:g} point of the fault-free accuracy: {names}."
    yield textwrap.fill(text, 120) + "\n"


def _plain(mean: str) -> str:
    """``2.3e+02 events`` as ``230 events``."""
    number, unit = mean.split()
    return f"{float(number):g} {unit}"


def _accuracy(row: Row) -> str:
    match = _INTERVAL.search(row["reference"])
    assert match
    return f"{row['value']:.1f} [{match[1]}, {match[2]}]"


def footprints(rows: list[Row]) -> str:
    """Accuracy, silent and detected wrong sectors per trial, by footprint and stack."""
    mine = [one for one in cells(rows) if _FAULT.match(one[0])]
    stacks = [stack for group in _groups(mine).values() for stack in group]
    found: dict[str, dict[str, Row]] = {}
    for what, _, stack, row in mine:
        found.setdefault(what, {})[stack] = row
    lines = []
    for what, by_stack in found.items():
        match = _FAULT.match(what)
        assert match
        lines.append([match["mode"], match["kind"], *(_lost(by_stack[stack]) for stack in stacks)])
    heads = [f"{stack} ({bits})" for bits, group in _groups(mine).items() for stack in group]
    return table(["one fault of a", "", *heads], lines)


def _lost(row: Row) -> str:
    trials, lost = _INTERVAL.search(row["reference"]), _LOST.search(row["reference"])
    assert trials and lost
    silent, detected = (float(f"{int(count) / int(trials[3]):.3g}") for count in lost.groups())
    return f"{row['value']:.0f}: {silent:g}, {detected:g}"


def costs(rows: list[Row]) -> str:
    """Cycles and joules of an image: unprotected, and how much more by stack."""
    base = {r["figure"]: r["value"] for r in rows if r["figure"].endswith("an image, unprotected")}
    mine = [one for one in cells(rows) if _COST.match(one[0])]
    stacks = [(bits, stack) for bits, group in _groups(mine).items() for stack in group]
    value = {(what, stack): row["value"] for what, _, stack, row in mine}
    lines = []
    for scheme, name in NAMES.items():
        cycles, joules = (base[f"{scheme}: {what} an image, unprotected"] for what in ("cycles", "energy"))
        more = (
            f"{value[f'{scheme}, cycles', s]:+.3f}, {value[f'{scheme}, energy', s]:+.2f}" for _, s in stacks
        )
        lines.append([name, f"{cycles:,.0f}", f"{joules:.1f}", *more])
    return table(["format", "cycles", "µJ", *(f"{stack} ({bits})" for bits, stack in stacks)], lines)


def residuals(rows: list[Row]) -> str:
    """Upper 95 % bounds of RG-X's blocks above 10 sigma over the clamp's, by format and pattern."""
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        match = _RESIDUAL.match(row["figure"])
        if match:
            shown = "n/a" if row["value"] is None else f"{row['value']:.2g}"
            found.setdefault(match["format"], {})[match["pattern"]] = shown
    patterns = list(next(iter(found.values())))
    return table(["format", *patterns], ([name, *(one[p] for p in patterns)] for name, one in found.items()))


def page(rows: list[Row]) -> str:
    """The whole page."""
    parts = [ACCURACY, *curves(rows), FAULTS, footprints(rows), COST, costs(rows), RESIDUALS, residuals(rows)]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page(json.loads(Path(sys.argv[1]).read_text())))
