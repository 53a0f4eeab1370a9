"""Comparisons of a lane with the table's rows, and of all its instructions under all that they depend on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from potluck.isa.context import Context
from potluck.isa.insn import Insn
from potluck.isa.legality import check
from potluck.isa.table import TABLE
from potluck.isa.verilog.vector import lane_op
from tests.rtl.bench.vector_bins import met
from tests.rtl.bench.vector_cases import draw
from tests.rtl.bench.vector_lanes import Lane, Work
from tests.rtl.bench.vector_reference import meaning
from tests.rtl.bench.vector_simulated import FIELDS, group, simulated, uniform

ROWS = [insn for insn in TABLE.values() if lane_op(insn)]
E4M3 = 1 << 4  # fmode.src among the control bits


def unit_of(insn: Insn) -> str:
    """The datapath of an instruction."""
    found = lane_op(insn)
    assert found is not None
    return found.unit


def contexts(insn: Insn) -> Iterator[Context]:
    """Every SEW, rounding mode and format of FP8 under which an instruction is legal, if its result depends on them."""
    modes = range(5) if insn.attributes.get("rounds") or "frm" in insn.parameters else [0]
    for sew in range(4):
        for altfmt in range(2 if "altfmt" in insn.parameters else 1):
            for source in (0, E4M3) if "mx_format" in insn.parameters else (0,):
                for mode in modes:
                    context = Context(sew << 3 | 1 | altfmt << 8, mode | source)
                    if check(insn, FIELDS, context) is None:
                        yield context


def wrong(lane: Lane, work: Work, bins: set[str] | None = None) -> str:
    """How the lane differs from the meaning of the row; empty if it does not."""
    outcomes, _ = lane.run(work.steps())
    codes, flags, saturated = meaning(work)
    if bins is not None:
        bins |= met(work, codes, flags, saturated)
    found = work.elements(outcomes["value"])
    differ = np.flatnonzero((found != codes) & work.active)
    if differ.size:
        return _element(work, int(differ[0]), found, codes)
    for name, each in (("flags", flags), ("saturated", saturated)):
        united = np.bitwise_or.reduce(np.where(work.active, each, 0).reshape(-1, work.together), axis=1)
        differ = np.flatnonzero(outcomes[name] != united)
        if differ.size:
            return _step(work, int(differ[0]), work.together, name, outcomes[name], united)
    return ""


def wrong_simulated(lane: Lane, work: Work) -> str:
    """How the lane differs from the simulator's compiled handler; all elements are active."""
    work = uniform(work)
    outcomes, _ = lane.run(work.steps())
    codes, flags, saturated = simulated(work)
    found = work.elements(outcomes["value"])
    differ = np.flatnonzero(found != codes)
    if differ.size:
        return _element(work, int(differ[0]), found, codes)
    size = group(work)
    for name, each in (("flags", flags), ("saturated", saturated)):
        united = np.bitwise_or.reduceat(outcomes[name], np.arange(0, len(outcomes), size // work.together))
        differ = np.flatnonzero(united != each)
        if differ.size:
            return _step(work, int(differ[0]), size, name, united, each)
    return ""


def sample(lane: Lane, insns: list[Insn], count: int, seed: int, bins: set[str] | None = None) -> str:
    """The first difference in ``count`` elements of each instruction in each context; empty if there is none."""
    for insn in insns:
        rng = np.random.Generator(np.random.Philox(key=[sum(insn.mnemonic.encode()), seed]))
        for context in contexts(insn):
            for vxrm in range(4) if "vxrm" in insn.parameters else (0,):
                if found := wrong(lane, draw(insn, context, count, rng, vxrm), bins):
                    return found
    return ""


def wrong_together(lane: Lane, count: int) -> str:
    """How operations of all datapaths in random order, with and without stalls, differ from what each gives alone."""
    rng = np.random.Generator(np.random.Philox(6))
    parts = [draw(insn, next(iter(contexts(insn))), 64, rng).steps() for insn in ROWS]
    operations = np.concatenate(parts)[rng.permutation(sum(map(len, parts)))[:count]]
    apart = operations.copy()
    apart["pause"] = 100
    alone, _ = lane.run(apart)
    for seed in (0, 77):
        operations["pause"] = rng.integers(0, 3, len(operations))
        together, _ = lane.run(operations, seed)
        for name in ("value", "flags", "saturated"):
            differ = np.flatnonzero(together[name] != alone[name])
            if differ.size:
                at = int(differ[0])
                return f"operation {at}: {name} {together[name][at]:#x}, alone {alone[name][at]:#x}"
    return ""


def _title(work: Work) -> str:
    return f"{work.insn.mnemonic} e{work.sew} frm {work.context.frm} vxrm {work.vxrm}"


def _element(work: Work, at: int, found: np.ndarray, codes: np.ndarray) -> str:
    return (
        f"{_title(work)}: a {work.a[at]:#x} b {work.b[at]:#x} c {work.c[at]:#x} mask {work.mask[at]}: "
        f"{found[at]:#x}, expected {codes[at]:#x}"
    )


def _step(work: Work, at: int, size: int, name: str, found: np.ndarray, expected: np.ndarray) -> str:
    part = slice(at * size, (at + 1) * size)
    return (
        f"{_title(work)}: {name} {found[at]:#x}, expected {expected[at]:#x}: "
        f"{work.a[part]} {work.b[part]} {work.c[part]}"
    )
