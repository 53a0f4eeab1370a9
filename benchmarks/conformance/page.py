"""docs/conformance.md: written from outcomes, and read back, so that the cases of a few operators can be run again."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from potluck.benchmarks.conformance.cases import Case
from potluck.benchmarks.conformance.running import Outcome

_HEAD = """# Conformance

Written by `python -m potluck.benchmarks.conformance`, which runs every case in a few minutes; do not edit. With
operators as arguments it runs their cases alone and renews their rows.

The {total:,} node cases that the `onnx` package generates, each compiled for `spatz-mx`, executed on the simulator and
compared with the outputs that the case states: integers, booleans and outputs of operators that only move data bit for
bit, other floating-point outputs within the case's own tolerance (rtol 1e-3, atol 1e-7), those of FP16 and BF16 within
two units in the last place, which ONNX's own runner leaves to BF16, and those of transforms within 2^-22 of the largest
element, which is the noise that the stated ones have. A case `..._expanded` is the
operator's function body. *Out of scope* are values that are no numbers or no tensors, training, classical machine
learning and random numbers. *Bound* inputs are constants in practice (axes, shapes, weights): the case is compiled
with all its inputs if that works, else with these bound as by `--bind NAME=FILE.npy`. What does not depend on any input
is computed at compile time. Opsets above 24 are taken where their operators differ only in types.

{passed:,} of {scope:,} cases in scope pass: {share:.1%}. {covered} of {operators} operators have a case that
passes, and of the cases of these {rate:.1%} pass. {wrong} cases give wrong values.
"""
_LINE = re.compile(r"^  \* (\w+): (.*): (`[^:]*`)$")


@dataclass(frozen=True)
class Row:
    """What the page says of a case."""

    status: str
    reason: str = ""


def write(outcomes: Mapping[str, Outcome], cases: Mapping[str, Case]) -> str:
    """The page, from an outcome for every case."""
    by_op: dict[str, list[Outcome]] = defaultdict(list)
    for name, case in cases.items():
        by_op[case.op].append(outcomes[name])
    scope = [item for item in outcomes.values() if item.status != "skip"]
    passed = [item for item in scope if item.status == "pass"]
    covered = {cases[item.case].op for item in passed}
    of_covered = [item for item in scope if cases[item.case].op in covered]
    within = {cases[item.case].op for item in scope}
    text = _HEAD.format(
        total=len(outcomes), passed=len(passed), scope=len(scope), share=len(passed) / max(1, len(scope)),
        covered=len(covered), operators=len(within), rate=len(passed) / max(1, len(of_covered)),
        wrong=sum(item.status == "wrong" for item in scope),
    )  # fmt: skip
    lines = [
        "",
        "## Operators",
        "",
        "| operator | cases | out of scope | pass | bound |",
        "|---|---|---|---|---|",
    ]
    for op, items in sorted(by_op.items()):
        bound = sorted({name for item in items if item.status == "pass" for name in item.bound})
        skipped, good = (sum(item.status == status for item in items) for status in ("skip", "pass"))
        lines.append(f"| {op} | {len(items)} | {skipped or ''} | {good} | {', '.join(bound)} |")
    lines += ["", "## Cases that do not pass", ""]
    for op, items in sorted(by_op.items()):
        rest: dict[tuple[str, str], list[str]] = defaultdict(list)
        for item in items:
            if item.status != "pass":
                rest[item.status, item.reason].append(item.case)
        if rest:
            lines.append(f"* **{op}**")
            for (status, reason), names in sorted(rest.items()):
                listed = " ".join(f"`{name}`" for name in names)
                lines.append(f"  * {status}: {reason.replace('`', chr(39))}: {listed}")
    return text + "\n".join(lines) + "\n"


def read(page: str) -> tuple[dict[str, Row], dict[str, tuple[str, ...]]]:
    """Rows of the cases that do not pass, and the bound inputs of every operator."""
    rows: dict[str, Row] = {}
    bound: dict[str, tuple[str, ...]] = {}
    for line in page.splitlines():
        found = _LINE.match(line)
        if found:
            for name in found[3].split():
                rows[name.strip("`")] = Row(found[1], found[2])
        elif line.startswith("| ") and not line.startswith("| operator"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            bound[cells[0]] = tuple(name for name in cells[4].split(", ") if name)
    return rows, bound


def renewed(page: str, cases: Mapping[str, Case], outcomes: Iterable[Outcome]) -> str:
    """The page with some outcomes replaced."""
    rows, bound = read(page)
    every = {}
    for name, case in cases.items():
        row = rows.get(name, Row("pass"))
        every[name] = Outcome(
            name, row.status, row.reason, bound.get(case.op, ()) if row.status == "pass" else ()
        )
    every |= {outcome.case: outcome for outcome in outcomes}
    return write(every, cases)
