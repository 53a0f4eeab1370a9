"""A campaign's results for people: on the terminal, and as a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console

from potluck.campaign.figures import draw_png, shares_svg
from potluck.isa.errors import DataError
from potluck.pages.document import Section, document, figure, table, write_document
from potluck.report import aligned

Row = tuple[str, ...]
MOST_NAMES = 12
"""Tensors and fields of a cell that a page shows: those most often struck."""


def percent(interval: Mapping[str, float] | None) -> str:
    """A share with its interval, in %."""
    if interval is None:
        return "-"
    return f"{100 * interval['estimate']:.3g} [{100 * interval['low']:.3g}, {100 * interval['high']:.3g}]"


def number(interval: Mapping[str, float] | None) -> str:
    """A number with its interval."""
    if interval is None:
        return "-"
    return f"{interval['estimate']:.4g} [{interval['low']:.4g}, {interval['high']:.4g}]"


def grouped(cells: Sequence[dict[str, Any]]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Cells by the check bits that their stacks store per 256."""
    ordered = sorted(cells, key=lambda c: (c["check_bits"], c["cell"]))
    for bits, members in groupby(ordered, key=lambda c: int(c["check_bits"])):
        yield bits, list(members)


HEAD: Row = (
    "stack",
    "bits/256",
    "scheme",
    "faults",
    "trials",
    "SDC, %",
    "DUE, %",
    "masked, %",
    "other",
    "accuracy, %",
)


def outcome_rows(data: Mapping[str, Any]) -> list[Row]:
    """A row per cell, by stored check bits."""
    rows: list[Row] = []
    for bits, members in grouped(data["cells"]):
        for cell in members:
            counts = cell["outcomes"]
            other = [
                f"{counts[name]} {name}"
                for name in ("tolerable", "non-finite", "crash", "hang")
                if counts[name]
            ]
            rows.append((
                cell["stack"], str(bits), cell["scheme"], cell["faults"], str(cell["trials"]),
                percent(cell["shares"]["sdc"]), percent(cell["shares"]["due"]), percent(cell["shares"]["masked"]),
                ", ".join(other) or "-", percent(cell.get("accuracy")),
            ))  # fmt: skip
    return rows


MEASURE_HEAD: Row = (
    "stack", "scheme", "faults", "AVF, %", "SDC-1, % of inputs", "SDC-5", "SDC-10 %", "SDC-20 %", "critical",
    "accuracy drop, points", "delta NLL, nats", "perplexity ratio", "raw BER", "after on-die",
)  # fmt: skip


def measure_rows(data: Mapping[str, Any]) -> list[Row]:
    """A row per cell: what its answers were."""
    rows: list[Row] = []
    for _, members in grouped(data["cells"]):
        for cell in members:
            inputs = cell["inputs"]
            rows.append((
                cell["stack"], cell["scheme"], cell["faults"], percent(cell["avf"]),
                *(percent(inputs.get(name)) for name in ("sdc1", "sdc5", "sdc10", "sdc20", "critical")),
                percent(cell.get("accuracy_drop")), number(cell.get("delta_nll")), number(cell.get("perplexity_ratio")),
                f"{cell['observed_raw_ber']:.2g}", f"{cell['observed_ber_after_on_die']:.2g}",
            ))  # fmt: skip
    return rows


FIT_HEAD: Row = (
    "stack",
    "bits/256",
    "scheme",
    "FIT touching",
    "FIT_SDC",
    "FIT_DUE",
    "SDC in mission, %",
    "DUE in mission, %",
)


def fit_rows(data: Mapping[str, Any]) -> list[Row]:
    """A row per scheme and stack, by stored check bits."""
    return [
        (row["stack"], str(row["check_bits"]), row["scheme"], f"{row['fit_touching']:.4g}", number(row["fit_sdc"]),
         number(row["fit_due"]), percent(row["mission_sdc"]), percent(row["mission_due"]))
        for row in sorted(data["fit"], key=lambda r: (r["check_bits"], r["scheme"]))
    ]  # fmt: skip


CURVE_HEAD: Row = (
    "stack",
    "bits/256",
    "scheme",
    "faults",
    "raw BER",
    "SDC, % of all trials",
    "DUE, % of all trials",
)


def curve_rows(data: Mapping[str, Any]) -> list[Row]:
    """A row for each rate of a curve, by stored check bits."""
    return [
        (cell["stack"], str(bits), cell["scheme"], cell["faults"], f"{row['ber']:g}", percent(row["sdc"]),
         percent(row["due"]))
        for bits, members in grouped(data["cells"])
        for cell in members
        for row in cell.get("curve", [])
    ]  # fmt: skip


def share_rows(cell: Mapping[str, Any], key: str) -> list[Row]:
    """Tensors or fields that faults struck most often, with the share of such trials that were SDC or DUE."""
    found = sorted(cell[key].items(), key=lambda item: -item[1]["trials"])
    return [
        (name, str(one["trials"]), percent(one["shares"]["sdc"]), percent(one["shares"]["due"]))
        for name, one in found[:MOST_NAMES]
    ]


def comparison_rows(data: Mapping[str, Any]) -> list[Row]:
    """Stacks beside the first one, on the same faults."""
    return [
        (row["stack"], row["against"], row["scheme"], row["faults"], str(row["pairs"]), str(row["only_stack"]),
         str(row["only_against"]), f"{row['p']:.3g}", f"{row['p_holm']:.3g}")
        for row in data["comparisons"]
    ]  # fmt: skip


COMPARISON_HEAD: Row = (
    "stack", "against", "scheme", "faults", "pairs", "SDC here only", "SDC there only", "McNemar p", "Holm's p",
)  # fmt: skip


def print_summary(data: Mapping[str, Any], console: Console) -> None:
    """Tables of outcomes, answers and rates."""
    state = "" if data["complete"] else ", NOT COMPLETE"
    level = f"{100 * data['confidence']:g} %"
    console.print(
        f"{data['name']}: {data['trials']} trials of {data['samples']} inputs{state}; intervals of {level}; "
        f"registered as {data['hash'][:12]}", highlight=False, soft_wrap=True,
    )  # fmt: skip
    tables = [
        (HEAD, outcome_rows(data)),
        (FIT_HEAD, fit_rows(data)),
        (COMPARISON_HEAD, comparison_rows(data)),
    ]
    for head, rows in tables:
        if rows:
            aligned([head, *rows], {0}, console)
            console.print()
    for note in sorted({note for cell in data["cells"] for note in cell["notes"]}):
        console.print(f"note: {note}", highlight=False, soft_wrap=True)


def write_report(data: Mapping[str, Any], path: Path) -> Path:
    """Write a page with tables and figures; beside it, with matplotlib, the figure as PNG.

    Args:
        data: see `potluck.campaign.summary.summarize`.
        path: ``.html``.

    Raises:
        DataError: another suffix, or it cannot be written.
    """
    write_document(page(data), path)
    try:
        if find_spec("matplotlib") is not None:
            draw_png(data["cells"], path.with_suffix(".png"))
    except OSError as problem:
        raise DataError(f"cannot write {path}: {problem.strerror}") from None
    return path


def page(data: Mapping[str, Any]) -> str:
    """The page as HTML; it loads nothing."""
    level = f"{100 * data['confidence']:g} %"
    state = "" if data["complete"] else "<p class=answer><strong>The campaign is not complete.</strong></p>"
    answer = (
        f"{state}<p class=answer>{data['trials']} trials of {data['samples']} inputs each. Registered as "
        f"<code>{data['hash']}</code>. A trial is an SDC if at least {data['sdc_inputs']} of its inputs meet "
        f"<code>{data['sdc']}</code>.</p>"
    )
    outcomes = figure(shares_svg(data["cells"]), "Shares of outcomes")
    outcomes += table(HEAD, outcome_rows(data), "Outcomes")
    note = (
        f"Intervals are confidence sequences of level {level}: they hold at any time, also at the trial at which a "
        "campaign stopped. Faults, not inputs, are what is counted."
    )
    sections = [Section("Outcomes", outcomes, note)]
    if data["fit"]:
        sections.append(Section(
            "Failure rates", table(FIT_HEAD, fit_rows(data), "Failures in 10⁹ hours"),
            "FIT: failures in 10⁹ hours of the whole memory; transient faults weighted by residency, permanent ones by "
            "the rest of the mission.",
        ))  # fmt: skip
    if curve_rows(data):
        sections.append(Section(
            "Over the bit error rate", table(CURVE_HEAD, curve_rows(data), "Shares by bit error rate"),
            "From trials that all have a fault, weighed by how probable their number of faults is at each rate; each "
            "row holds with its own level.",
        ))  # fmt: skip
    if data["comparisons"]:
        sections.append(Section(
            "Stacks on the same faults", table(COMPARISON_HEAD, comparison_rows(data), "Pairs of trials"),
            "Trials that are an SDC under one stack only. Exact McNemar tests for the numbers of pairs shown, "
            "adjusted over all rows.",
        ))  # fmt: skip
    sections.append(Section("Answers", table(MEASURE_HEAD, measure_rows(data), "What answers were like")))
    for title, key, what in (("Tensors", "by_tensor", "tensor"), ("Bit fields", "by_field", "field")):
        tables = [
            table((what, "trials", "SDC, %", "DUE, %"), rows, _title(cell))
            for cell in data["cells"]
            if (rows := share_rows(cell, key))
        ]
        note = f"Trials whose faults struck it, among others; the {MOST_NAMES} struck most often."
        sections.append(Section(title, "".join(tables), note))
    notes = sorted({note for cell in data["cells"] for note in cell["notes"]})
    notes.append(", ".join(f"{name} {version}" for name, version in data["versions"].items()))
    sections.append(Section("Notes", "".join(f"<p>{escape(note)}</p>" for note in notes)))
    return document(data["name"], answer, sections)


def _title(cell: Mapping[str, Any]) -> str:
    return f"{cell['scheme']}, {cell['faults']}, {cell['stack']}"
