"""Operations for the RangeGuard units over formats, range tables and errors, and the bins that they must hit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from potluck.isa.formats.elements import BF16, E2M1, E2M3, E3M2, E4M3, E5M2, FP16, FP32, INT8, ElementFormat
from potluck.sim.ecc.interface import Status, Words
from potluck.sim.ecc.rangeguard.codec import LANES, RangeGuard
from potluck.sim.ecc.rangeguard.hardware import (
    BOUND_BITS,
    BOUNDS,
    CODE_BITS,
    CODES,
    REPRESENTATIVE_BITS,
    REPRESENTATIVES,
    hardware_table,
)
from potluck.sim.ecc.rangeguard.ranges import (
    SYMBOL_BITS,
    RangeTable,
    Scheme,
    artifact_table,
    exponent_table,
    fitted_table,
)
from tests.rtl.bench.bins import Coverage
from tests.rtl.bench.ecc_cases import random_words, rows
from tests.rtl.bench.vectors import Ports, Vectors

CELLS: list[tuple[Scheme, ElementFormat]] = [
    *(("dsc", element) for element in (FP32, BF16, FP16, E4M3, E5M2, INT8, E2M1)),
    *(("ssc", element) for element in (FP32, BF16, FP16, E4M3, E5M2, INT8, E2M1, E3M2, E2M3)),
]
TABLE_PORTS = {
    "format_i": 3,
    "bounds_i": BOUNDS * BOUND_BITS,
    "representatives_i": REPRESENTATIVES * REPRESENTATIVE_BITS,
    "codes_i": CODES * CODE_BITS,
}
ENCODER = Ports(
    {"data_i": 256},
    {"data_o": 256, "checks_o": 16},
    {port: bits for port, bits in TABLE_PORTS.items() if port != "representatives_i"},
)
DECODER = Ports({"data_i": 256, "checks_i": 16, "null_i": 1}, {"data_o": 256, "status_o": 2}, TABLE_PORTS)


def sampled(element: ElementFormat, rng: np.random.Generator, count: int) -> NDArray[np.generic]:
    """Codes of a Gaussian tensor."""
    scale = 0.02 if element.bits >= 16 else element.max_normal / 4
    return element.encode(rng.normal(0, scale, count).astype(np.float32))


@cache
def tables(scheme: Scheme, element: ElementFormat) -> list[RangeTable]:
    """The artifact's table where it has one, those fitted to a tensor, and one of fewer ranges than RIDs."""
    codes = sampled(element, np.random.default_rng(11), 4000)
    if element.bits < 16:
        return [fitted_table(element, scheme, codes)]
    fitted = [
        fitted_table(element, scheme, codes, objective) for objective in ("mae", "fault_aware", "tails")
    ]
    if element is FP32 and scheme == "ssc":  # knows one table only
        return [artifact_table(element, scheme), *fitted]
    middle = element.bias - 2
    few = exponent_table(element, scheme, [middle, middle + 3], [middle - 1, middle, middle + 4])
    return [artifact_table(element, scheme), *fitted, few]


@dataclass(frozen=True)
class Reads:
    """Blocks as written and as read.

    Attributes:
        clean: (n, 4).
        data: received, (n, 4).
        checks: received, (n,).
        null: whether what cannot be corrected is to become zero, (n,).
    """

    clean: Words
    data: Words
    checks: Words
    null: NDArray[np.uint8]


def blocks(guard: RangeGuard, element: ElementFormat, rng: np.random.Generator, count: int) -> Words:
    """Half of them any bits, half around the table's bounds, so that all RIDs are common."""
    data = random_words(rng, count, 256)
    t = guard.table
    half = data[: count // 2].view(np.uint32)
    rids = rng.integers(0, 1 << t.rid_bits, (*half.shape, t.slots))
    for slot in range(t.slots):
        code = t.representative[rids[..., slot]] | (rng.integers(0, 1 << 32, half.shape) & t.keep).astype(
            np.uint32
        )
        mask = np.uint32((1 << t.width) - 1 << t.width * slot)
        half[:] = half & ~mask | code.astype(np.uint32) << np.uint32(t.width * slot)
    return data


def lane_errors(rng: np.random.Generator, count: int, lanes: int) -> Words:
    """Garbage in so many lanes of each block, evenly over their sets; one in four errors is a single bit of each."""
    every = list(combinations(range(LANES), lanes))
    error = np.zeros((count, LANES), np.uint32)
    chosen = np.array(every)[rng.permutation(count) % len(every)]
    garbage = rng.integers(1, 1 << 32, (count, lanes), np.uint32)
    single = np.uint32(1) << rng.integers(0, 32, (count, lanes), np.uint32)
    np.put_along_axis(error, chosen, np.where(rng.random((count, 1)) < 0.25, single, garbage), axis=1)
    return error.view(np.uint64)


def reads(guard: RangeGuard, element: ElementFormat, rng: np.random.Generator, each: int) -> Reads:
    """`each` blocks of eight kinds.

    No error, errors in 1, 2, 3 and 8 lanes, in the check bits, in both, and garbage with check bits that fit it.
    """
    count = 8 * each
    clean = blocks(guard, element, rng, count)
    order = rng.permutation(count)  # so that each kind of error meets each kind of block
    clean = np.ascontiguousarray(clean[order])
    checks = guard.encode(clean).checks[:, 0]
    error = np.zeros_like(clean)
    for part, lanes in ((1, 1), (2, 2), (3, 3), (4, 8), (5, 1)):
        error[part * each : (part + 1) * each] = lane_errors(rng, each, lanes)
    wrong = rng.integers(1, 1 << 16, 2 * each, np.uint64)
    wrong[::2] = np.uint64(1) << (wrong[::2] % np.uint64(16))
    checks[5 * each : 7 * each] ^= wrong
    error[7 * each :] = lane_errors(rng, each, 4)
    data = clean ^ error
    checks[7 * each :] = guard.encode(data[7 * each :]).checks[:, 0]
    return Reads(clean, data, checks, rng.integers(0, 2, count, np.uint8))


def encoded(guard: RangeGuard, data: Words) -> Vectors:
    """Blocks with their check bits."""
    held = {
        port: value for port, value in hardware_table(guard.table).ports().items() if port in ENCODER.held
    }
    checks = guard.encode(data).checks[:, 0]
    return Vectors(
        {"data_i": rows(data, 256)}, {"data_o": rows(data, 256), "checks_o": rows(checks, 16)}, held
    )


def decoded(guard: RangeGuard, given: Reads) -> Vectors:
    """Blocks as the Python codec reads them."""
    right, status = guard.decode(given.data, given.checks[:, None])
    nulled = (status[:, 0] == Status.DUE) & (given.null == 1)
    right = np.where(nulled[:, None], np.uint64(0), right)
    return Vectors(
        {"data_i": rows(given.data, 256), "checks_i": rows(given.checks, 16), "null_i": rows(given.null, 1)},
        {"data_o": rows(right, 256), "status_o": rows(status, 2)},
        hardware_table(guard.table).ports(),
    )


def range_bins(scheme: Scheme, element: ElementFormat) -> list[str]:
    """Bins of one cell of the table of formats."""
    table = tables(scheme, element)[0]
    symbols = 12 if scheme == "dsc" else 10
    bins = [f"status {s.name}, RIDs {what}" for s in Status for what in ("right", "wrong")]
    bins += [f"lane {lane} corrected" for lane in range(LANES)]
    bins += [f"slot {slot} replaced" for slot in range(table.slots)]
    bins += [f"replaced by RID {rid}" for rid in range(min(1 << table.rid_bits, 16))]
    bins += [f"check bit {bit} wrong alone" for bit in range(16)]
    bins += ["changed within its range", "DUE nulled", "DUE passed", "check symbols and a lane wrong"]
    if table.keep:
        bins += ["negative value replaced", "positive value replaced"]
    if scheme == "dsc":
        bins += [f"lanes {a} and {b} corrected" for a, b in combinations(range(LANES), 2)]
    if table.slots * table.rid_bits < SYMBOL_BITS[scheme]:
        bins.append("impossible RID")
    assert symbols * SYMBOL_BITS[scheme] == 8 * SYMBOL_BITS[scheme] + 16
    return bins


def cover(coverage: Coverage, guard: RangeGuard, given: Reads, expected: Vectors) -> None:
    """Count the bins that reads hit."""
    t, bits = guard.table, SYMBOL_BITS[guard.table.scheme]
    received, clean = guard.symbols(given.data)[:, 0], guard.symbols(given.clean)[:, 0]
    right, code_status = guard.code.decode(received[:, None], given.checks[:, None])
    status = expected.outputs["status_o"][:, 0]
    places = np.arange(LANES, dtype=np.uint64) * np.uint64(bits)

    def lanes(symbols: Words) -> Words:
        return np.asarray((symbols[:, None] >> places) & np.uint64((1 << bits) - 1))

    final = np.where(status == Status.DUE, received, right[:, 0])
    for s in Status:
        coverage.hit(f"status {s.name}, RIDs right", int(((status == s) & (final == clean)).sum()))
        coverage.hit(f"status {s.name}, RIDs wrong", int(((status == s) & (final != clean)).sum()))
    changed = lanes(received ^ final) != 0
    for lane in range(LANES):
        coverage.hit(f"lane {lane} corrected", int(changed[:, lane].sum()))
    if t.scheme == "dsc":
        for a, b in combinations(range(LANES), 2):
            coverage.hit(f"lanes {a} and {b} corrected", int((changed[:, a] & changed[:, b]).sum()))
    mask = np.uint64((1 << t.rid_bits) - 1)
    words = given.data.view(np.uint32)
    for slot in range(t.slots):
        place = np.uint64(t.rid_bits * (t.slots - 1 - slot))
        was, now = (lanes(x) >> place & mask for x in (received, final))
        coverage.hit(f"slot {slot} replaced", int((was != now).sum()))
        for rid in range(min(1 << t.rid_bits, 16)):
            coverage.hit(f"replaced by RID {rid}", int(((was != now) & (now == rid)).sum()))
        if t.keep:
            negative = (words >> np.uint32(t.width * (slot + 1) - 1) & np.uint32(1)) == 1
            coverage.hit("negative value replaced", int(((was != now) & negative).sum()))
            coverage.hit("positive value replaced", int(((was != now) & ~negative).sum()))
    syndrome = guard.code.checks_of(clean[:, None]) ^ given.checks
    for bit in range(16):
        alone = (syndrome == np.uint64(1 << bit)) & (received == clean)
        coverage.hit(f"check bit {bit} wrong alone", int(alone.sum()))
    coverage.hit("check symbols and a lane wrong", int(((syndrome != 0) & (received != clean)).sum()))
    coverage.hit(
        "changed within its range", int(((given.data != given.clean).any(axis=1) & (received == clean)).sum())
    )
    coverage.hit("DUE nulled", int(((status == Status.DUE) & (given.null == 1)).sum()))
    coverage.hit("DUE passed", int(((status == Status.DUE) & (given.null == 0)).sum()))
    if t.slots * t.rid_bits < bits:
        coverage.hit(
            "impossible RID", int(((code_status[:, 0] == Status.CORRECTED) & (status == Status.DUE)).sum())
        )


def every_code(guard: RangeGuard) -> Words:
    """Blocks that hold every code of a value in every slot (of FP32 every sign and exponent), neighbours differing."""
    t = guard.table
    codes = np.arange(1 << (t.width - t.shift), dtype=np.uint32) << np.uint32(t.shift)
    if t.width == 16:
        codes = np.arange(1 << 16, dtype=np.uint32)
    lanes = np.zeros((len(codes), LANES), np.uint32)
    for lane in range(LANES):
        for slot in range(t.slots):
            lanes[:, lane] |= np.roll(codes, 37 * (t.slots * lane + slot)) << np.uint32(t.width * slot)
    return lanes.view(np.uint64)


def symbol_blocks(guard: RangeGuard, symbols: Words) -> Words:
    """Blocks of FP32 values that have these packed symbols (n,): a value for each."""
    bits = SYMBOL_BITS[guard.table.scheme]
    places = np.arange(LANES, dtype=np.uint64) * np.uint64(bits)
    each = (symbols[:, None] >> places) & np.uint64((1 << bits) - 1)
    return np.ascontiguousarray(guard.table.representative[each.astype(np.intp)]).view(np.uint64)
