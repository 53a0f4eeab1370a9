"""``potluck scale``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from potluck.cli_options import JsonPath, MachineName, Settings, console, machine_of, write_json


def scale(
    model: Annotated[str | None, typer.Argument(help="A language model; lists all if none is named.")] = None,
    clusters: Annotated[str, typer.Option(help="How many share every layer; several separated by commas.")] = "64",
    scheme: Annotated[str, typer.Option(help="Of quantization (`potluck schemes`), or fp32.")] = "mxfp8",
    batch: Annotated[int, typer.Option(help="Sequences at once.")] = 1,
    prompt: Annotated[int, typer.Option(help="Tokens of each prompt.")] = 512,
    context: Annotated[int, typer.Option(help="Tokens in the cache when a token is made.")] = 1024,
    chunk: Annotated[int, typer.Option(help="Tokens of a prompt at a time.")] = 64,
    topology: Annotated[str, typer.Option(help="Of the network between clusters: mesh, ring or tree.")] = "mesh",
    link: Annotated[float, typer.Option(help="Bytes per cycle of a link between neighbours.")] = 64.0,
    hop_cycles: Annotated[float, typer.Option(help="Of a hop between neighbours.")] = 10.0,
    hop_pj: Annotated[float, typer.Option(help="Picojoules of a byte over a hop.")] = 1.0,
    stacks: Annotated[
        int | None, typer.Option(help="HBM stacks that all share; otherwise every cluster has its channels to itself.")
    ] = None,
    stack_gib: Annotated[float, typer.Option(help="Capacity of a stack.")] = 16.0,
    sample_weights: Annotated[
        int, typer.Option(min=1 << 16, help="Weights of a layer that are simulated; more are extrapolated to.")
    ] = 8 << 20,
    sample_past: Annotated[int, typer.Option(min=32, help="Tokens in the cache of samples.")] = 512,
    machine: MachineName = "spatz-mx",
    settings: Settings = None,
    json_path: JsonPath = None,
) -> None:  # fmt: skip
    """Put a language model on many clusters, on paper: tokens/s, J/token, bytes, on top of simulated layers."""
    from potluck.scale.families import FAMILIES, find
    from potluck.scale.model import Load, System, part_of
    from potluck.scale.model import scale as scaled
    from potluck.scale.samples import Sampler

    if model is None:
        return _listing(list(FAMILIES.values()))
    family, description = find(model), machine_of(machine, settings)
    load, found = Load(batch, prompt, context, chunk), []
    with console.status(f"{family.name} ...") as status:
        sampler = Sampler(
            description, scheme, sample_weights, sample_past, lambda text: status.update(f"simulating {text}")
        )
        systems = [
            System(count, topology, link, hop_cycles, hop_pj, stacks, stack_gib)
            for count in _counts(clusters)
        ]
        for system in systems:  # before the first of them is simulated
            part_of(family, system, load)
        for system in systems:
            found.append(scaled(family, scheme, description, system, load, sampler))
    _show(found)
    write_json(json_path, [one.to_json() for one in found])


def _counts(text: str) -> list[int]:
    from potluck.isa.errors import DataError
    from potluck.sweeps.space import values_of

    words = values_of(text, "--clusters ")
    wrong = next((word for word in words if not word.isdecimal()), None)
    if wrong is not None:
        raise DataError(f"--clusters {wrong}: expected whole numbers separated by commas")
    return [int(word) for word in words]


def _listing(families: Sequence[Any]) -> None:
    from potluck.report import aligned

    lines = [["model", "parameters", "layers", "width", "heads", "of keys", "hidden", "vocabulary", "source"]]
    for one in families:
        sizes = (one.parameters, one.layers, one.width, one.heads, one.groups, one.hidden, one.vocabulary)
        lines.append([one.name, *(f"{size:,}" for size in sizes), one.source])
    aligned(lines, {0, 8}, console)


def _show(found: Sequence[Any]) -> None:
    from potluck.report import aligned

    one = found[0]
    family = one.family
    console.print(
        f"{family.name}: {family.parameters:,} parameters, {one.scheme}: {one.weight_bits:.2f} bits a weight, "
        f"{one.weight_bytes / 1e9:.2f} GB; caches {one.cache_bytes / 1e9:.2f} GB",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    head = ["phase", "clusters", "tokens/s", "ms", "mJ/token", "DRAM MB/token", "NoC MB/token", "util %", "NoC %",
            "HBM %", "roofline tokens/s", "reached %", "GiB"]  # fmt: skip
    lines = [head]
    for name in ("decode", "prefill"):
        for one in found:
            p = getattr(one, name)
            fit = f"{one.capacity_bytes / 2**30:,.0f}" + ("" if one.fits else ", too small")
            lines.append([
                name, str(one.system.clusters), f"{p.tokens_per_second:,.1f}", f"{1e3 * p.seconds:,.2f}",
                f"{1e3 * p.joules_per_token:,.1f}", f"{p.dram_bytes_per_token / 1e6:,.1f}",
                f"{p.noc_bytes_per_token / 1e6:,.1f}", f"{100 * p.utilization:.1f}", f"{100 * p.noc_share:.1f}",
                f"{100 * p.hbm_share:.1f}", f"{p.roofline_tokens_per_second:,.1f}", f"{100 * p.of_roofline:.1f}", fit,
            ])  # fmt: skip
    aligned(lines, {0}, console)
    for one in found:
        console.print(f"assumed for {one.system.clusters} clusters:", highlight=False)
        for line in one.assumptions:
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
