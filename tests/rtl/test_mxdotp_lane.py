"""The VMXDOTP lane in Verilator against the NumPy contract, the simulator's compiled instruction and exact integers."""

from __future__ import annotations

import numpy as np
import pytest

from potluck.isa.arithmetic.mxdot import CHUNK_ELEMENTS
from potluck.isa.context import Context
from potluck.isa.formats.rounding import ROUNDINGS
from potluck.isa.table import TABLE
from potluck.sim import state as st
from potluck.sim.jit.compile import compiler
from potluck.sim.jit.handler import Variant
from tests.reference.mxdot_exact import mxdot_lane
from tests.reference.mxdot_lanes import lanes
from tests.rtl.bench.lane_library import differences
from tests.rtl.bench.running import ALL_FORMATS, Coverage, directed_form, form_bins, lane_library, random_form
from tests.rtl.bench.transactions import ACC_FORMATS, ELEM_FORMATS, Lanes, encoded
from tests.sim.test_handlers import call_handler
from tests.sim.test_vmxdotp import CONTROL

pytestmark = pytest.mark.usefixtures("rtl_tools")

FORMS = [(fmt, acc_format) for fmt in ELEM_FORMATS for acc_format in ACC_FORMATS]
SAMPLE, WHOLE = 100_000, 10_000_000  # lanes a form
BATCH = 100_000
VLEN, GROUP = 4096, 128  # the widest machine: 128 FP32 accumulators a register


def simulated(given: Lanes, fmt: str, acc_format: str, frm: str) -> tuple[np.ndarray, np.ndarray]:
    """Result bits as the unit gives them [n], and the fflags of each group of GROUP lanes, by the simulator."""
    wide = acc_format == "fp32"
    control = CONTROL[fmt] | ROUNDINGS.index(frm) << 5 | (0 if wide else 1 << 8)
    context = Context((2 if wide else 1) << 3, control >> 5)
    variant = Variant(TABLE["vmxdotp.ww" if wide else "vmxdotp.qq"], context, flags=True)
    address = compiler().addresses({variant.name: variant})
    fields = {"vd": 0, "vs1": 8, "vs2": 16, "vs3": 24, "vs4": 25}
    hart = st.HartState(0, VLEN)
    acc = given.acc if wide else (given.acc >> 16).astype(np.uint16)
    result, flags = np.zeros(len(given), acc.dtype), []
    for first in range(0, len(given), GROUP):
        part = slice(first, first + GROUP)
        hart["vl"], hart["fcsr"] = len(acc[part]), control
        for register, value in (
            (0, acc),
            (8, given.a),
            (16, given.b),
            (24, given.scale_a),
            (25, given.scale_b),
        ):
            raw = np.ascontiguousarray(value[part]).view(np.uint8)
            start = st.V + register * VLEN // 8
            hart.raw[start : start + raw.size] = raw
        call_handler(variant, address, hart, fields, VLEN)
        result[part] = hart.raw[st.V : st.V + acc[part].nbytes].view(acc.dtype)
        flags.append(hart["fcsr"] & 31)
    return result.astype(np.uint32) << np.uint32(0 if wide else 16), np.array(flags)


def compare(fmt: str, acc_format: str, count: int, seed: int) -> Coverage:
    """RTL, contract and, where an instruction exists, simulator: the same bits and flags on ``count`` lanes."""
    library = lane_library(optimize="-O1" if count == SAMPLE else "-O3 -march=native")
    coverage = Coverage(form_bins(fmt, acc_format))
    rng = np.random.Generator(np.random.Philox(seed))
    for frm in ROUNDINGS:
        for first in range(0, count // len(ROUNDINGS), BATCH):
            size = min(BATCH, count // len(ROUNDINGS) - first)
            given = random_form(fmt, acc_format, frm, size, rng, coverage)
            result, flags = library.run(given)
            found = differences(given, result, flags)
            assert not found, found
            if fmt in CONTROL:
                values, accrued = simulated(given, fmt, acc_format, frm)
                np.testing.assert_array_equal(values, result)
                united = np.bitwise_or.reduceat(flags, np.arange(0, len(flags), GROUP))
                np.testing.assert_array_equal(accrued, united)
    return coverage


@pytest.mark.parametrize(("fmt", "acc_format"), FORMS)
def test_random_lanes_and_coverage(fmt: str, acc_format: str) -> None:
    coverage = compare(fmt, acc_format, SAMPLE, seed=1)
    assert not coverage.missing(), f"{coverage}; not hit: {coverage.missing()}"


@pytest.mark.slow
@pytest.mark.parametrize(("fmt", "acc_format"), FORMS)
def test_random_lanes_whole(fmt: str, acc_format: str) -> None:
    """10^7 lanes a form; the sample of the normal run comes from another seed."""
    compare(fmt, acc_format, WHOLE, seed=2)


@pytest.mark.parametrize("thin", [5, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("fmt", "acc_format"), FORMS)
def test_directed_lanes(fmt: str, acc_format: str, thin: int) -> None:
    given = directed_form(fmt, acc_format, thin)
    found = differences(given, *lane_library().run(given))
    assert not found, found


@pytest.mark.parametrize(("fmt", "acc_format"), FORMS)
def test_exact_reference(fmt: str, acc_format: str) -> None:
    """Without the contract in between: the lane against exact integers."""
    rng = np.random.Generator(np.random.Philox(3))
    for frm in ROUNDINGS:
        lane = lanes(rng, fmt, acc_format, 1000)
        each = zip(*(x.tolist() for x in lane), strict=True)
        want = np.array([mxdot_lane(*one, fmt, acc_format, frm) for one in each])
        given = encoded(lane, fmt, acc_format, frm, want[:, 0].astype(np.uint32), want[:, 1].astype(np.uint8))
        found = differences(given, *lane_library().run(given))
        assert not found, f"{frm}: {found}"


@pytest.mark.parametrize(
    ("name", "parameters", "formats"),
    [
        ("FP8 only", {"EnableFp4": 0}, ("e5m2", "e4m3")),
        ("FP8 and FP4", {}, ("e5m2", "e4m3", "e2m1")),
        ("FP4 only", {"EnableFp8": 0}, ("e2m1",)),
        ("INT8 only", {"EnableFp8": 0, "EnableFp4": 0, "EnableInt8": 1}, ("int8",)),
        ("combinational", {**ALL_FORMATS, "Latency": 0}, ELEM_FORMATS),
        ("deep", {**ALL_FORMATS, "Latency": 7}, ELEM_FORMATS),
    ],
)
def test_configurations(name: str, parameters: dict[str, int], formats: tuple[str, ...]) -> None:
    """What a lane was built for does not depend on what it was not built for, nor on its registers."""
    library = lane_library(parameters)
    rng = np.random.Generator(np.random.Philox(4))
    for fmt in formats:
        for acc_format in ACC_FORMATS:
            given = Lanes.concatenate(
                [directed_form(fmt, acc_format, thin=11)]
                + [random_form(fmt, acc_format, frm, 2000, rng) for frm in ROUNDINGS]
            )
            found = differences(given, *library.run(given))
            assert not found, f"{name}: {found}"


assert set(ELEM_FORMATS) == set(CHUNK_ELEMENTS)
