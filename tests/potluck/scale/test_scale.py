"""Scaling: exact where costs are affine, near where they are simulated, below the roofline, arithmetic by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from potluck.cli import app
from potluck.isa.errors import DataError
from potluck.isa.machine import load_machine
from potluck.scale import command
from potluck.scale.families import Family, find
from potluck.scale.model import Load, System, check, scale
from potluck.scale.samples import Sampler, Size
from potluck.scale.shard import shard

MACHINE = load_machine("spatz-mx")
FIRST, HEAD = np.array([1000.0, 1e-6, 2e-6, 5000.0, 100.0]), np.array([7.0, 1e-9, 2e-9, 70.0, 9.0])
GROUP, HIDDEN, TOKEN = 3 * FIRST, FIRST / 16, FIRST / 64


class Affine(Sampler):
    """Costs that are affine in every size, by a formula instead of a simulation."""

    def _simulated(self, size: Size) -> np.ndarray:
        self.bits = 4.25
        part = size.part
        layer = (
            size.rows * (FIRST + GROUP * part.groups + HIDDEN * part.hidden) + TOKEN * size.past * part.groups
        )
        return size.layers * layer + 5 * HEAD + HEAD * part.vocabulary * size.rows


def sampler(weights: int = 8 << 20) -> Affine:
    return Affine(MACHINE, "mxfp4", weights, 256)


@pytest.mark.parametrize("name", ["smollm2-135m", "llama-7b", "llama2-70b"])
@pytest.mark.parametrize("clusters", [1, 4, 16])
def test_extrapolation_of_what_is_affine_is_exact(name: str, clusters: int) -> None:
    part, made = shard(find(name), clusters), sampler(1 << 20)
    for rows, past in ((1, 64), (8, 5000)):
        expected = rows * (FIRST + GROUP * part.groups + HIDDEN * part.hidden) + TOKEN * past * part.groups
        assert made.layer(part, rows, past) == pytest.approx(expected)
        assert made.head(part, rows) == pytest.approx(5 * HEAD + HEAD * part.vocabulary * rows)
    assert len(made.samples) <= 12 and all(size.layers <= 2 for size in made.samples)


def test_a_step_by_hand() -> None:
    """Four clusters, two sequences behind 100 tokens, links of 32 bytes a cycle."""
    family = find("tinyllama-1.1b")  # 4 groups of 8 heads, 22 layers of width 2048
    found = scale(family, "mxfp4", MACHINE, System(4, link_bytes_per_cycle=32.0, hop_cycles=5.0, hop_pj_per_byte=2.0),
                  Load(2, 128, 100, 32), sampler())  # fmt: skip
    part = found.shard
    assert (part.groups, part.heads, part.hidden, part.vocabulary) == (1, 8, 1408, 8000)
    layer = 2 * (1000 + 3000 + 62.5 * 1408) + 2 * 100 * 1000 / 64
    head = 7 * 5 + 7 * 8000 * 2
    share = 0.75 * 2 * 2048 * 4  # bytes to reduce and scatter, of 2 rows in FP32
    reduce = 2 * (share / 32 + 2 * (5 + 12)) + share / 4 / 16  # a 2 x 2 mesh has two steps; 16 sums a cycle
    cycles = 22 * (layer + 2 * reduce) + head
    assert found.decode.seconds == pytest.approx(cycles / 1e9)
    assert found.decode.tokens_per_second == pytest.approx(2 / (cycles / 1e9))
    assert found.decode.noc_share == pytest.approx(22 * 2 * reduce / cycles)
    assert found.decode.noc_bytes_per_token == pytest.approx(22 * 2 * 2 * share * 4 / 2)
    assert found.decode.dram_bytes_per_token == pytest.approx(4 * (22 * layer * 5 + head * 10) / 2)
    work = 4 * (22 * layer * 3e-9 + head * 3e-9 / 7)  # joules of work and of time
    waiting = 4 * 22 * 2 * reduce * 2e-9
    noc = 22 * 2 * 2 * share * 4 * 2e-12
    assert found.decode.joules_per_token == pytest.approx((work + waiting + noc) / 2, rel=1e-6)
    chunk = 4 * (32 * (1000 + 3000 + 62.5 * 1408)) + (0 + 32 + 64 + 96) * 1000 / 64  # four chunks of a prompt
    size = 0.75 * 32 * 2048 * 4
    each = 2 * (size / 32 + 2 * 17) + size / 4 / 16
    assert found.prefill.seconds == pytest.approx((22 * (2 * chunk + 2 * 8 * each) + head) / 1e9)


def test_the_roofline_by_hand() -> None:
    """Llama-7B in MXFP4: 6.607 G weights of 4.25 bits a step, and FP32 caches, over 64 x 102.4 GB/s.

    The paper's peak, 250 MXFP4 GFLOPS a cluster (arXiv 2603.04979, 256 less 2 %), is the bound of short caches.
    """
    weights = 32 * (4 * 4096**2 + 3 * 4096 * 11008) + 4096 * 32000
    long = scale(find("llama-7b"), "mxfp4", MACHINE, System(64), Load(context=10_000), sampler())
    bytes_ = weights * 4.25 / 8 + 10_000 * 2 * 32 * 4096 * 4
    assert long.decode.roofline_tokens_per_second == pytest.approx(64 * 102.4e9 / bytes_, rel=1e-3)
    found = scale(find("llama-7b"), "mxfp4", MACHINE, System(64), Load(context=1000), sampler())
    groups = scale(find("llama2-70b"), "mxfp4", MACHINE, System(64), Load(context=10), sampler())
    assert groups.cache_bytes == 8 * 10 * 80 * 2 * 8 * 128 * 4  # eight clusters keep the same keys and values
    assert found.decode.roofline_tokens_per_second == pytest.approx(64 * 250e9 / (2 * weights), rel=0.03)
    assert found.weight_bytes == pytest.approx(weights * 4.25 / 8 + 4096 * 32000 * 4)
    assert found.cache_bytes == 1000 * 2 * 32 * 4096 * 4 and found.fits


class Thirsty(Affine):
    """Forty times the bytes: 200 a cycle, more than 102.4."""

    def _simulated(self, size: Size) -> np.ndarray:
        return super()._simulated(size) * np.array([1.0, 1.0, 1.0, 40.0, 1.0])


def test_shared_stacks_slow_down_what_needs_more() -> None:
    """A stack of HBM3 gives eight clusters what each has alone: 64 on two stacks get a quarter."""
    family, thirsty = find("llama-7b"), Thirsty(MACHINE, "mxfp4", 8 << 20, 256)
    alone = scale(family, "mxfp4", MACHINE, System(64), sampler=thirsty)
    full = scale(family, "mxfp4", MACHINE, System(64, stacks=8), sampler=thirsty)
    assert (
        full.decode == alone.decode and alone.decode.hbm_share == 0
    )  # simulated cycles have their own channels
    few = scale(family, "mxfp4", MACHINE, System(64, stacks=2), sampler=thirsty).decode
    compute, bytes_ = (
        alone.decode.seconds * alone.decode.compute_share,
        alone.decode.dram_bytes_per_token / 64,
    )
    assert few.seconds * (1 - few.noc_share) == pytest.approx(bytes_ / 25.6e9)
    assert few.seconds * few.compute_share == pytest.approx(compute)
    assert few.joules_per_token > alone.decode.joules_per_token
    weights = family.layers * family.layer_weights + family.embedding
    bytes_ = weights * 4.25 / 8 + 4 * family.cache_values(1024)
    assert few.roofline_tokens_per_second == pytest.approx(64 * 25.6e9 / bytes_)
    small = scale(family, "mxfp4", MACHINE, System(64, stacks=1, stack_gib=2.0), sampler=thirsty)
    assert small.capacity_bytes == 2 << 30 and not small.fits and alone.fits


@pytest.mark.parametrize(("system", "load", "message"), [
    (System(0), Load(), "clusters = 0"), (System(4, link_bytes_per_cycle=0), Load(), "link_bytes_per_cycle = 0"),
    (System(4), Load(batch=0), "batch = 0"), (System(4, stacks=0), Load(), "stacks = 0"),
    (System(4, link_bytes_per_cycle=math.inf), Load(), "link_bytes_per_cycle = inf"),
    (System(4, stack_gib=math.nan), Load(), "stack_gib = nan: give a number above 0"),
    (System(4096), Load(), "cannot be split over 4096"), (System(4, topology="star"), Load(), "topology 'star'"),
])  # fmt: skip
def test_what_cannot_be(system: System, load: Load, message: str) -> None:
    with pytest.raises(DataError, match=message):
        scale(find("llama-7b"), "mxfp4", MACHINE, system, load, sampler())


def test_the_command_refuses_before_it_simulates(monkeypatch: pytest.MonkeyPatch) -> None:
    """That the last of many systems cannot be is not said minutes after the first of them was simulated."""
    monkeypatch.setattr("potluck.scale.model.scale", None)
    for clusters, message in (
        ("1,4096", "cannot be split over 4096"),
        ("1,,2", "^--clusters 1,,2: a value is empty"),
    ):
        with pytest.raises(DataError, match=message):
            command.scale("llama-7b", clusters)


def test_one_cluster_is_the_simulation() -> None:
    """SmolLM2's sizes cut to three layers: scaled from pieces of a third of the weights, and simulated whole."""
    family = find("smollm2-135m")
    cut = Sampler(MACHINE, "mxfp8", weights=1 << 20, past=64)
    scaled, whole = check(family, "mxfp8", MACHINE, 3, 512, 96, sampler=cut)
    assert cut.fitting(shard(family, 1)).hidden < family.hidden
    assert scaled == pytest.approx(whole, rel=0.1)
    exact, _ = check(family, "mxfp8", MACHINE, 3, 512, 96, sampler=Sampler(MACHINE, "mxfp8", past=96))
    assert exact == pytest.approx(whole, rel=0.03)
    assert cut.bits == 8.25  # codes of a byte, a byte of scale for 32


def test_the_command(tmp_path: Path) -> None:
    tiny = ["scale", "smollm2-135m", "--clusters", "3,6", "--scheme", "mxfp8", "--prompt", "16", "--chunk", "8",
            "--context", "64", "--sample-past", "32", "--json", str(tmp_path / "s.json")]  # fmt: skip
    told = CliRunner().invoke(app, tiny)
    assert told.exit_code == 0, told.output
    rows = json.loads((tmp_path / "s.json").read_text())
    assert [row["system"]["clusters"] for row in rows] == [3, 6] and rows[0]["parameters"] == 134_515_008
    for row in rows:
        assert (
            all(0 < row[phase]["of_roofline"] < 1 for phase in ("decode", "prefill"))
            and len(row["assumptions"]) >= 5
        )
    assert rows[1]["decode"]["tokens_per_second"] > rows[0]["decode"]["tokens_per_second"]
    assert "tensor parallel" in told.output and "reached %" in told.output
    listed = CliRunner().invoke(app, ["scale"])
    assert listed.exit_code == 0 and "6,738,415,616" in listed.output
    wrong = CliRunner().invoke(app, ["scale", "llama-7b", "--clusters", "many"])
    assert wrong.exit_code != 0 and "--clusters many" in str(wrong.exception)


def test_families_are_what_the_builder_takes() -> None:
    odd = Family("odd", 1, 64, 2, 1, 96, 64, True, "made up")
    found = scale(odd, "fp32", MACHINE, System(1), Load(1, 4, 8, 4), Sampler(MACHINE, "fp32", past=16))
    assert found.weight_bits == 32 and 0 < found.decode.of_roofline < 1
