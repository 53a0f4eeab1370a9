"""A study of the packaged ResNet-8, its tables by one command: ``python -m potluck.benchmarks.campaign_study``.

Which format and stack costs how many silent errors, reported errors, joules and stored bits; and whether a framework's
operators rank formats as the machine's instructions do, on the same faults.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from potluck import api
from potluck.campaign.api import Campaign
from potluck.inject.target import load_target
from potluck.isa.machine import load_machine

SCHEMES = ("as-is", "int8", "mxfp8", "mxfp4")
STACKS = ("none", "hsiao", "ondie+CRC", "ondie+RG")
SAMPLES = 16
MACHINE = {"dram.kind": "hbm3"}
Json = dict[str, Any]


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
    engine: str, faults: Sequence[Json], stacks: Sequence[str], trials: int, jobs: int, stop: Json | None = None
) -> Json:  # fmt: skip
    """The summary of a campaign over all schemes."""
    network = {"schemes": list(SCHEMES), "engine": engine, "set": MACHINE}
    made = Campaign("demo", faults=list(faults), protection=list(stacks), trials=trials, samples=SAMPLES, seed=2026,
                    network=network, stop=stop or {})  # fmt: skip
    return dict(made.run(jobs).data)


def rates(trials: int, jobs: int) -> list[str]:
    """FIT rates over formats and stacks."""
    known = costs()
    found = campaign("sim", [{"kind": "modes", "modes": ["bit", "word", "column", "row"]}], STACKS, trials, jobs,
                     {"allocation": "neyman", "every": 5})  # fmt: skip
    rows = []
    for row in found["fit"]:
        joules, bits = known[row["scheme"]]
        stored = bits * (256 + row["check_bits"]) // 256
        rows.append([row["scheme"], row["stack"], f"{stored:,}", f"{1e6 * joules:.1f}", interval(row["fit_sdc"], 1e3),
                     interval(row["fit_due"], 1e3)])  # fmt: skip
    head = ["scheme", "stack", "bits stored", "microjoules of an inference", "FIT_SDC, 1e-3", "FIT_DUE, 1e-3"]
    return table(head, iter(rows))


def ranks(trials: int, jobs: int) -> list[str]:
    """Shares of SDC and mean accuracy on the same faults, by the machine's instructions and by onnxruntime."""
    faults = [{"kind": "flips", "count": [1, 16]}]
    both = [campaign(engine, faults, STACKS[:1], trials, jobs)["cells"] for engine in ("sim", "onnx")]
    rows = []
    for mine, theirs in zip(*both, strict=True):
        assert (mine["scheme"], mine["faults"]) == (theirs["scheme"], theirs["faults"])
        row = [mine["faults"], mine["scheme"]]
        for cell in (mine, theirs):
            row += [interval(cell["shares"]["sdc"], 100), str(cell["outcomes"]["masked"])]
        rows.append(row)
    rows.sort(key=lambda row: row[0])
    head = [
        "faults",
        "scheme",
        "SDC, %, machine",
        "masked, machine",
        "SDC, %, onnxruntime",
        "masked, onnxruntime",
    ]
    return table(head, iter(rows))


def page(first: Sequence[str], second: Sequence[str], trials: int) -> list[str]:
    """Lines of the page around its two tables."""
    said = [
        f"""Written by `python -m potluck.benchmarks.campaign_study --trials {trials}`. The packaged network on
        `spatz-mx` with HBM3, its first {SAMPLES} test images in every trial; an SDC is a trial in which the top-1 of
        one of them changes. `as-is` is FP32. Intervals are confidence sequences at 95 %.""",
        f"""One fault of each mode (bit, word, column, row; transient and permanent; rates of the table
        `sridharan2012`) that touches the network, {trials} trials of each on average, more where they narrow the rate;
        on the machine, every instruction that can make a difference. FIT rates are of the network's own memory, so
        they fall with its size; joules are those of an inference without decoders.""",
        f"""The same flipped bits ({5 * trials} trials each, no protection), answered by the compiled program on the
        machine and by the quantized graph on onnxruntime.""",
    ]
    whole, dram, both = (fill(" ".join(text.split()), 120, break_on_hyphens=False) for text in said)
    return [
        "# Formats and stacks of ResNet-8", "", whole, "", "## Faults of DRAM", "", dram, "", *first, "",
        "## The machine and a framework's operators", "", both, "", *second, "",
    ]  # fmt: skip


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/study/README.md"))
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    first, second = rates(given.trials, given.jobs), ranks(5 * given.trials, given.jobs)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text("\n".join(page(first, second, given.trials)))


if __name__ == "__main__":
    main()
