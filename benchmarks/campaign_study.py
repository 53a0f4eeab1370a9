"""A study of the packaged ResNet-8, its tables by one command: ``python -m potluck.benchmarks.campaign_study``.

Which format and stack costs how many silent errors, reported errors, joules and stored bits; what a real RangeGuard
decoder does worse than one that knows the clean data; and whether a framework's operators rank formats as the machine's
instructions do, on the same faults.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from potluck import api
from potluck.campaign.api import Campaign, Result
from potluck.campaign.statistics import Binary, Bounded, mcnemar
from potluck.inject.target import load_target
from potluck.isa.machine import load_machine

Json = dict[str, Any]
SCHEMES = ("as-is", "int8", "mxfp8", "mxfp4")
STACKS = ("none", "hsiao", "ondie+CRC", "ondie+RG")
SAMPLES = 16
MACHINE = {"dram.kind": "hbm3"}
GUARD = "rg-dsc"
FLIPS = (1, 16, 64)
DECODED: tuple[tuple[str, list[Json]], ...] = (
    ("hbm3", [{"kind": "events", "ber": [1e-4, 1e-3]}]),
    ("ddr5", [{"kind": "uniform", "ber": 3e-3}, {"kind": "events", "ber": 1e-3}]),
)
"""Kinds of DRAM, and faults. RS(19,17) on the die takes an aligned 16 bits; SEC (136,128) takes most double errors for
another bit's."""


def interval(found: Mapping[str, float], scale: float = 1.0) -> str:
    """An estimate with its interval."""
    return f"{scale * found['estimate']:.3g} [{scale * found['low']:.2g}, {scale * found['high']:.2g}]"


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> list[str]:
    """Of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def costs() -> dict[str, tuple[float, int]]:
    """Joules of an inference in time, and bits of constants, by scheme."""
    found = {}
    for scheme in SCHEMES:
        chosen = None if scheme == "as-is" else scheme
        target = load_target("demo", chosen, load_machine("spatz-mx", MACHINE), samples=1, engine="sim")
        result = api.simulate(target.program, target.inputs, machine=target.machine)
        found[scheme] = sum(result.energy.values()), 256 * sum(part.count for part in target.parts)
    return found


def campaign(
    engine: str, schemes: Sequence[str], faults: Sequence[Json], stacks: Sequence[str], trials: int, jobs: int,
    kind: str = "hbm3", stop: Json | None = None,
) -> Result:  # fmt: skip
    """A campaign on the packaged network."""
    network = {"schemes": list(schemes), "engine": engine, "set": {"dram.kind": kind}}
    made = Campaign("demo", faults=list(faults), protection=list(stacks), trials=trials, samples=SAMPLES, seed=2026,
                    network=network, stop=stop or {})  # fmt: skip
    return made.run(jobs)


def rates(name: str, modes: Sequence[str], trials: int, jobs: int) -> list[str]:
    """FIT rates over formats and stacks, by a table of rates."""
    known = costs()
    faults = {"kind": "modes", "rates": name, "modes": list(modes)}
    found = campaign(
        "sim", SCHEMES, [faults], STACKS, trials, jobs, stop={"allocation": "neyman", "every": 5}
    )
    rows = []
    for row in found.fit:
        joules, bits = known[row["scheme"]]
        stored = bits * (256 + row["check_bits"]) // 256
        rows.append([row["scheme"], row["stack"], f"{stored:,}", f"{1e6 * joules:.1f}", interval(row["fit_sdc"], 1e3),
                     interval(row["fit_due"], 1e3)])  # fmt: skip
    head = ["scheme", "stack", "bits stored", "microjoules of an inference", "FIT_SDC, 1e-3", "FIT_DUE, 1e-3"]
    return table(head, iter(rows))


def decoders(trials: int, jobs: int) -> list[str]:
    """Accuracy of a real RangeGuard decoder less that of the oracle, on the same faults."""
    rows = []
    for kind, faults in DECODED:
        stacks = [f"{on_die}{GUARD}{told}" for on_die in ("", "ondie+") for told in ("", "-oracle")]
        result = campaign("auto", ("bf16_weights", "int8"), faults, stacks, trials, jobs, kind)
        cells = {(c["scheme"], c["faults"], c["stack"]): c for c in result.cells}
        accuracy: dict[int, list[float]] = {}
        for trial in result.trials:
            accuracy.setdefault(trial["cell"], []).append(trial["accuracy"])
        for (scheme, label, stack), real in cells.items():
            if stack.endswith("-oracle"):
                continue
            oracle = cells[scheme, label, f"{stack}-oracle"]
            pairs = np.array(accuracy[real["cell"]]) - np.array(accuracy[oracle["cell"]])
            less = Bounded(0.05, -1.0, 1.0)
            less.update(pairs)
            rows.append([kind, label, scheme, stack, interval(real["accuracy"], 100), interval(oracle["accuracy"], 100),
                         interval(less.interval.to_json(), 100), str(int((pairs != 0).sum()))])  # fmt: skip
    head = ["DRAM", "faults", "scheme", "stack", "accuracy, %, real", "oracle", "real minus oracle, points",
            "trials that differ"]  # fmt: skip
    return table(head, iter(rows))


def ranks(trials: int, jobs: int) -> tuple[list[str], list[str]]:
    """Shares of SDC by the machine's instructions and by onnxruntime on the same faults; and the formats' ranks."""
    faults = [{"kind": "flips", "count": list(FLIPS)}]
    both = [campaign(engine, SCHEMES, faults, STACKS[:1], trials, jobs) for engine in ("sim", "onnx")]
    silent = [{(t["cell"], t["number"]) for t in one.trials if t["outcome"] == "sdc"} for one in both]
    rows, orders = [], []
    pairs = list(zip(*(one.cells for one in both), strict=True))
    for count in FLIPS:
        chosen = [pair for pair in pairs if pair[0]["faults"] == f"flips {count}"]
        for mine, theirs in chosen:
            assert (mine["cell"], mine["scheme"], mine["faults"]) == tuple(
                theirs[k] for k in ("cell", "scheme", "faults")
            )
            here, there = ({n for cell, n in one if cell == mine["cell"]} for one in silent)
            rows.append([mine["faults"], mine["scheme"], *(interval(c["shares"]["sdc"], 100) for c in (mine, theirs)),
                         str(len(here - there)), str(len(there - here)),
                         f"{mcnemar(len(here - there), len(there - here)):.2g}"])  # fmt: skip
        for one, other in combinations(range(len(SCHEMES)), 2):
            said = [separated(*(chosen[k][side] for k in (one, other))) for side in (0, 1)]
            orders.append(
                [
                    f"flips {count}",
                    f"{SCHEMES[one]}, {SCHEMES[other]}",
                    *said,
                    "yes" if said[0] == said[1] else "no",
                ]
            )
    head = ["faults", "scheme", "SDC, %, machine", "SDC, %, onnxruntime", "SDC on the machine alone",
            "on onnxruntime alone", "McNemar's p"]  # fmt: skip
    second = ["faults", "formats", "more SDCs, machine", "more SDCs, onnxruntime", "alike"]
    return table(head, iter(rows)), table(second, iter(orders))


def separated(one: Json, other: Json) -> str:
    """The scheme with more SDCs, if confidence sequences lie apart that hold together for all pairs of schemes."""
    level = 0.05 / len(SCHEMES)
    first, second = (Binary(level).update(c["outcomes"]["sdc"], c["trials"]) for c in (one, other))
    if first.low > second.high:
        return str(one["scheme"])
    return str(other["scheme"]) if second.low > first.high else "not separated"


def page(tables: Sequence[Sequence[str]], trials: int) -> list[str]:
    """Lines of the page around its tables: rates twice, decoders, shares, ranks."""
    first = f"""Written by `python -m potluck.benchmarks.campaign_study --trials {trials}`. The packaged network on
        `spatz-mx` with HBM3 where nothing else is said, its first {SAMPLES} test images in every trial; an SDC is a
        trial in which the top-1 of one of them changes. `as-is` is FP32. Intervals are confidence sequences at 95 %."""
    dram = f"""One fault of each mode that touches the network (bit, word, column, row; transient and permanent; rates
        of the table `sridharan2012`), {trials} trials of each on average, more where they narrow the rate; on the
        machine, every instruction that can make a difference. FIT rates are of the network's own memory, so they fall
        with its size; joules are those of an inference without decoders."""
    mix = f"""The same for the RangeGuard artifact's mix of events as correlated modes (`rangeguard_mix`): bits, pairs,
        and words of 16 and 32 bits in the rows of sub-word-lines and their drivers; {trials} trials of each on average.
        The artifact gives shares of events; 100 FIT per device are ours."""
    told = f"""RangeGuard (`{GUARD}`) with a real decoder, and with one that knows the clean data and never corrects
        wrongly, as the artifact's fast decoder, on the same {5 * trials} trials each; without an on-die code, and
        behind one whose own wrong corrections both meet. The real decoder's check bits fail, too."""
    both = f"""The same flipped bits ({15 * trials} trials each, no protection), answered by the compiled program on the
        machine, whose dot products accumulate as the instruction does, and by the quantized graph on onnxruntime, which
        is what a framework's injector strikes."""
    order = f"""Which of two formats has more SDCs: those whose confidence sequences lie apart, at a level that lets all
        {len(SCHEMES)} hold together with 95 %."""
    sections = (
        ("# Formats and stacks of ResNet-8", first, ()), ("## Faults of DRAM", dram, tables[:1]),
        ("## The artifact's mix", mix, tables[1:2]), ("## A real decoder and one that knows", told, tables[2:3]),
        ("## The machine and a framework's operators", both, tables[3:4]), ("## Ranks of formats", order, tables[4:5]),
    )  # fmt: skip
    lines: list[str] = []
    for title, text, held in sections[: len(tables) + 1]:
        lines += [title, "", fill(" ".join(text.split()), 120, break_on_hyphens=False), ""]
        for one in held:
            lines += [*one, ""]
    return lines


def tables_of(trials: int, jobs: int) -> Iterator[list[str]]:
    """The tables, one after the other."""
    yield rates("sridharan2012", ("bit", "word", "column", "row"), trials, jobs)
    yield rates("rangeguard_mix", (), trials, jobs)
    yield decoders(5 * trials, jobs)
    yield from ranks(15 * trials, jobs)


def main() -> None:
    """Write the page, as far as it is, after each table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/study/README.md"))
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    held: list[list[str]] = []
    for one in tables_of(given.trials, given.jobs):
        held.append(one)
        temporary = given.out.with_suffix(".part")
        temporary.write_text("\n".join(page(held, given.trials)))
        temporary.replace(given.out)


if __name__ == "__main__":
    main()
