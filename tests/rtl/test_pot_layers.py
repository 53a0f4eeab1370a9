"""Whole layers on the PoT array, driven by programs: values, cycles, faults."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from potluck.isa.pot.array import tile
from potluck.isa.pot.stream import END, Opcode, Status, header, unpack_outputs
from tests.rtl.bench.bins import Coverage
from tests.rtl.bench.pot_builds import Build, program
from tests.rtl.bench.pot_cases import ANY, INT8
from tests.rtl.bench.pot_programs import FAULTS, FORM, Layer, bad_program, kinds, shortened, with_last
from tests.rtl.bench.running import run_bench

pytestmark = pytest.mark.usefixtures("rtl_tools")

BUILDS = [  # units, code set, overlap; the first ones in every run
    (2, ANY, 0),
    *(pytest.param(*build, marks=pytest.mark.slow) for build in (
        (4, ANY, 0), (1, ANY, 1), (4, ANY, 1), (8, 0, 0), (2, 1, 0), (2, 2, 0), (2, 3, 1), (1, INT8, 0), (4, INT8, 0),
    )),
]  # fmt: skip


def layer_bins(code_set: int) -> list[str]:
    bins = [f"{kind}, {what}" for kind in kinds(code_set) for what in ("ragged", "whole")]
    bins += [f"ragged {what}" for what in ("rows", "filters", "depth")]
    bins += ["one block", "fewer blocks than units", "blocks left over", "full weights", "full parameters"]
    return [*bins, "full inputs", "least depth", "one row block", "many row blocks"]


def cover(coverage: Coverage, layer: Layer, build: Build) -> None:
    rows, filters = len(layer.activations), len(layer.codes)
    ragged = {"rows": rows % 4, "filters": filters % 4, "depth": layer.codes.shape[1] % 16}
    coverage.hit(f"{layer.kind}, {'ragged' if any(ragged.values()) else 'whole'}")
    for what, rest in ragged.items():
        coverage.hit(f"ragged {what}", int(rest > 0))
    (row_blocks, blocks), room, units = layer.blocks, build.room, build.units
    lines, local = layer.depth // 4, -(-blocks // units)
    coverage.hit("one block", int(blocks == 1))
    coverage.hit("fewer blocks than units", int(blocks < units or units == 1))
    coverage.hit("blocks left over", int(blocks % units > 0 or units == 1))
    coverage.hit("full weights", int((local + 1) * lines > room.weight_lines))
    coverage.hit("full parameters", int(local == room.parameter_groups))
    coverage.hit("full inputs", int((row_blocks + 1) * lines > room.global_lines))
    coverage.hit("least depth", int(lines == 4))
    coverage.hit("one row block", int(row_blocks == 1))
    coverage.hit("many row blocks", int(row_blocks > 4))


@pytest.mark.parametrize(("units", "code_set", "overlap"), BUILDS)
def test_layers(units: int, code_set: int, overlap: int) -> None:
    """Random layers, bit by bit; the cycles of loads and of COMPUTE, exactly; every bin is hit."""
    build, coverage = Build(units, code_set, overlap), Coverage(layer_bins(code_set))
    rng = np.random.Generator(np.random.Philox(units + 16 * code_set))
    for number in range(220):
        layer = build.layer(rng, number)
        cover(coverage, layer, build)
        beats = program(layer)
        run = build.array.run(beats)
        assert run.status is Status.OK
        assert (run.out[-1] == [*[END] * 4, 1]).all()
        assert not run.out[:-1, 4].any()
        wanted = tile(layer.kind, layer.codes, layer.activations, layer.requantizer)
        assert (unpack_outputs(run.out[:-1, :4], *wanted.shape) == wanted).all(), f"layer {number}: {layer}"
        # A beat a cycle until COMPUTE; the NOP waits for its end.
        assert run.taken[-2] - run.taken[0] == len(beats) - 2
        assert run.taken[-1] - run.taken[-2] == build.events(layer), layer.blocks
    assert not coverage.missing(), coverage.missing()


@pytest.mark.parametrize(("units", "code_set", "overlap"), BUILDS)
def test_many_layers_in_a_row(units: int, code_set: int, overlap: int) -> None:
    """One program of several layers, some with parts of the loads of others, under gaps and stalls."""
    build, rng = Build(units, code_set, overlap), np.random.Generator(np.random.Philox(77))
    for gaps, stalls in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.9), (0.3, 0.5), (0.0, 0.98)):
        packets = []
        for number in range(6):
            layer = build.layer(rng, number)
            packets += layer.packets()
            rows, blocks = layer.blocks  # again, with less of what is loaded, and with other rows
            packets.append(
                header(Opcode.COMPUTE, int(rng.integers(1, rows + 1)), int(rng.integers(1, blocks + 1)))
            )
            packets += [layer.packets()[2], layer.packets()[3]]
        _, status, differs = build.run(with_last(packets), gaps=gaps, stalls=stalls, limit=2_000_000)
        assert status is Status.OK and not differs, differs


def test_bad_programs() -> None:
    """Whatever is wrong, the array says what the contract says, takes every beat and hangs at none."""
    build, rng = Build(2), np.random.Generator(np.random.Philox(5))
    found: Counter[tuple[str, Status]] = Counter()
    for number in range(495):
        layers = [build.layer(rng, int(rng.integers(4))) for _ in range(2)]
        layers = [shortened(layer, rng) for layer in layers]
        what = FAULTS[number % len(FAULTS)]
        beats = bad_program(rng, layers, what)
        _, status, differs = build.run(beats, gaps=0.2 * (number % 3), stalls=0.2 * (number % 2))
        assert not differs, f"{what}: {differs}"
        found[what, status] += 1
    assert {status for _, status in found} == set(Status) - {Status.BAD_ADDRESS}  # streams carry no addresses
    bins = [("none", Status.OK), ("opcode", Status.BAD_OPCODE), ("argument", Status.BAD_SIZE),
            ("argument", Status.BAD_MODE), ("argument", Status.NOT_LOADED), ("mode", Status.BAD_MODE),
            ("order", Status.NOT_LOADED), ("missing packet", Status.NOT_LOADED), ("more", Status.NOT_LOADED),
            ("reserved", Status.BAD_SIZE), ("cut", Status.EARLY_LAST), ("longer", Status.MISSING_LAST),
            ("last", Status.EARLY_LAST), ("last", Status.MISSING_LAST)]  # fmt: skip
    missing = [pair for pair in bins if not found[pair]]
    assert not missing, (missing, found)


@pytest.mark.parametrize(("units", "code_set", "overlap"), BUILDS)
def test_limits(units: int, code_set: int, overlap: int) -> None:
    """Depths and loads that just fit, and those that just do not."""
    build, found = Build(units, code_set, overlap), Counter[Status]()
    for beats in build.limits():
        _, status, differs = build.run(beats, quiet=20)
        assert not differs, (differs, beats.tolist())
        found[status] += 1
    assert found[Status.OK] > 2
    assert min(found[Status.BAD_SIZE], found[Status.EARLY_LAST]) > 20


@pytest.mark.parametrize(
    ("simulator", "units", "programs"),
    [("verilator", 1, 12), *(pytest.param("icarus", units, 3, marks=pytest.mark.slow) for units in (1, 2))],
)
def test_streams(simulator: str, units: int, programs: int, tmp_path: Path) -> None:
    """The four streams of the whole accelerator, also in a second simulator and front end."""
    parameters = {**FORM, "Units": units, "CodeSet": ANY}
    variables = {"POTLUCK_PROGRAMS": str(programs)}
    result = run_bench(
        "pot_axis_bench", "pot_accelerator", tmp_path, parameters, simulator=simulator, variables=variables
    )
    assert set(result.tests) == {"streams_apart", "faults_and_reset", "reset_at_any_time"}
