"""Cycles of a computation against the pipeline itself, row block by row block."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potluck.isa.machine import load_machine
from potluck.isa.pot.command import Command, Decoded, decode, encode
from potluck.isa.pot.cycles import PRODUCTS, compute_cycles, decode_cycles, run_reads

POT = load_machine("spatz-mx-pot").pot
assert POT is not None and POT.engine is not None
ENGINE = POT.engine


def command(**fields: Any) -> Decoded:
    found, status, field = decode(encode(Command.COMPUTE, high=1, first=1, final=1, **fields))
    assert found is not None, (status, field)
    return found


def pipeline(stages: list[tuple[int, int]]) -> int:
    """End of the last stage's work: two line buffers between reads and work, each stage (reads, work)."""
    fed = worked = before = 0
    for feed, work in stages:
        fed = max(fed, before) + feed  # the buffer of the stage before the last must be free
        before, worked = worked, max(fed, worked) + work
    return worked


FETCH = ENGINE.fetch_bytes * POT.units


def ends(c: Decoded, lines: int) -> int:
    """What follows the last line: the rest of a round that is shorter than its outputs take waits for nobody."""
    return ENGINE.fill_cycles - max(0, ENGINE.post_cycles - lines)


SIZES = {name: st.integers(1, most) for name, most in
         (("out_height", 9), ("out_width", 9), ("kernel_height", 5), ("kernel_width", 5), ("planes", 5),
          ("dilation_width", 2), ("channels", 90), ("filters", 90))}  # fmt: skip


@given(st.fixed_dictionaries(SIZES))
def test_dense_computations_are_their_pipeline(fields: dict[str, int]) -> None:
    c = command(**fields)
    depth = fields["kernel_height"] * fields["kernel_width"] * fields["channels"]
    lines = -(-depth // 4)
    work = -(-c.weight_blocks // 4) * max(4, lines * fields["planes"])
    run = fields["channels"] * (fields["kernel_width"] if fields["dilation_width"] == 1 else 1)
    reads = depth // run * -(-run // FETCH)
    blocks = [min(4, c.pixels - start) for start in range(0, c.pixels, 4)]
    stages = [(rows * reads, work) for rows in blocks]
    assert compute_cycles(c, POT, ENGINE) == pipeline(stages) + ends(c, lines * fields["planes"])
    assert run_reads(c, FETCH) == reads


@given(st.fixed_dictionaries({**SIZES, "channels": st.integers(1, 300)}))
def test_depthwise_computations_are_their_pipeline(fields: dict[str, int]) -> None:
    fields["filters"] = fields["channels"]
    c = command(depthwise=1, **fields)
    taps, stages = fields["kernel_height"] * fields["kernel_width"], []
    lines = taps * (1 if fields["planes"] <= 4 else 2)
    for start in range(0, c.weight_blocks, 16):  # four rounds of four units, four channels each
        work = min(4, -(-(c.weight_blocks - start) // 4)) * max(4, lines)
        stages += [(min(4, c.pixels - pixel) * taps, work) for pixel in range(0, c.pixels, 4)]
    assert compute_cycles(c, POT, ENGINE) == pipeline(stages) + ends(c, lines)


def test_kept_sums_and_fp32_outputs_end_at_other_times() -> None:
    sizes = {"out_height": 4, "kernel_height": 5, "channels": 32, "filters": 16}
    usual = compute_cycles(command(**sizes), POT, ENGINE)
    assert compute_cycles(command(**sizes, law=2), POT, ENGINE) == usual + 12  # four rows in four pieces each
    found, _, _ = decode(encode(Command.COMPUTE, high=1, first=1, **sizes))
    assert found is not None
    assert compute_cycles(found, POT, ENGINE) == usual - 12  # no requantizers


@pytest.mark.parametrize(
    ("channels", "kernel", "reads"), [(16, 1, 1), (17, 1, 2), (3, 7, 14), (64, 3, 36), (1, 3, 3)]
)
def test_reads_of_a_window(channels: int, kernel: int, reads: int) -> None:
    assert run_reads(command(channels=channels, kernel_height=kernel, kernel_width=kernel), 16) == reads


def test_a_computation_takes_longer_to_check() -> None:
    transfer, computation = encode(Command.FENCE), encode(Command.COMPUTE, high=1, first=1, final=1)
    assert decode_cycles(transfer, ENGINE) == ENGINE.command_cycles
    assert decode_cycles(computation, ENGINE) == ENGINE.command_cycles + PRODUCTS
