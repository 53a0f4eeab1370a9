"""The vector lane in Verilator against what the instruction table's rows mean."""

from __future__ import annotations

import numpy as np
import pytest

from potluck.isa.context import Context
from potluck.isa.insn import Insn
from potluck.isa.legality import check
from potluck.isa.table import TABLE
from potluck.isa.verilog.vector import lane_op
from tests.rtl.bench.vector_cases import draw
from tests.rtl.bench.vector_lanes import Work, library
from tests.rtl.bench.vector_reference import meaning

pytestmark = pytest.mark.usefixtures("rtl_tools")

FIELDS = {"vd": 8, "vs2": 16, "vs1": 24, "rs1": 11, "fs1": 11, "vm": 1, "imm": 0, "uimm": 0}


def contexts(insn: Insn) -> list[Context]:
    """Every SEW, and format of FP8, under which an instruction is legal."""
    found = [Context(sew << 3 | 1 | alternative << 8, 0) for sew in range(4) for alternative in range(2)]
    return [context for context in found if check(insn, FIELDS, context) is None
            and (not context.altfmt or insn.extension == "Zvfofp8min")]  # fmt: skip


ROWS = [insn for insn in TABLE.values() if lane_op(insn)]


def compare(work: Work) -> None:
    outcomes, _ = library().run(work.steps())
    codes, flags, saturated = meaning(work)
    together = work.together
    found = work.elements(outcomes["value"])
    wrong = np.flatnonzero((found != codes) & work.active)
    assert not wrong.size, describe(work, int(wrong[0]), found, codes)
    for name, each in (("flags", flags), ("saturated", saturated)):
        united = np.bitwise_or.reduce(np.where(work.active, each, 0).reshape(-1, together), axis=1)
        wrong = np.flatnonzero(outcomes[name] != united)
        if wrong.size:
            at = int(wrong[0])
            part = slice(at * together, (at + 1) * together)
            pytest.fail(f"{title(work)}: {name} {outcomes[name][at]:#x}, expected {united[at]:#x}: "
                        f"{work.a[part]} {work.b[part]} {work.c[part]}")  # fmt: skip


def title(work: Work) -> str:
    return f"{work.insn.mnemonic} e{work.sew} frm {work.context.frm} vxrm {work.vxrm}"


def describe(work: Work, at: int, found: np.ndarray, codes: np.ndarray) -> str:
    return (
        f"{title(work)}: a {work.a[at]:#x} b {work.b[at]:#x} c {work.c[at]:#x} mask {work.mask[at]}: "
        f"{found[at]:#x}, expected {codes[at]:#x}"
    )


@pytest.mark.parametrize("insn", ROWS, ids=lambda insn: insn.mnemonic)
def test_sample(insn: Insn) -> None:
    rng = np.random.Generator(np.random.Philox(key=[sum(insn.mnemonic.encode()), 1]))
    for context in contexts(insn):
        modes = range(5) if insn.attributes.get("rounds") or insn.attributes.get("flags") else [0]
        for mode in modes:
            compare(draw(insn, context._replace(control=mode), 128, rng))
