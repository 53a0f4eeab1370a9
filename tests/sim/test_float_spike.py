"""Floating instructions, scalar and vector, one by one against Spike: registers, fflags, reserved rounding modes."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from potluck.isa.insn import Insn
from potluck.isa.table import TABLE
from tests.reference.float_cases import FloatPair, float_case, in_scope
from tests.reference.spike import needs_spike
from tests.reference.vector_cases import Case, vtypes

pytestmark = needs_spike
ROWS = [insn for insn in TABLE.values() if in_scope(insn)]


def masks(insn: Insn) -> tuple[bool, ...]:
    return (False, True) if insn.maskable else (False,)


def differences(vlen: int, cases: list[Case]) -> list[str]:
    pair = FloatPair(vlen, cases)
    return [
        f"{case} frm={case.context.frm}\n    {found}"
        for number, case in enumerate(cases)
        if (found := pair.compare(number))
    ]


def sample(vlen: int, rng: random.Random) -> Iterator[Case]:
    for insn in ROWS:
        for masked in masks(insn):
            legal = [code for code in vtypes() if code >> 3 & 7 or "sew" in insn.attributes]
            yield float_case(insn, rng.choice(legal), masked, vlen, rng)


def test_every_row_equals_spike() -> None:
    found = differences(512, list(sample(512, random.Random(5))))
    assert not found, "\n".join(found[:20])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
@pytest.mark.parametrize("vlen", [128, 512, 4096])
def test_every_row_at_every_vtype_equals_spike(vlen: int, part: int) -> None:
    rng = random.Random(vlen + part)
    cases = [
        float_case(insn, vtype, masked, vlen, rng)
        for insn in ROWS[part::8]
        for vtype in (vtypes() if insn.is_vector else [0])
        for masked in masks(insn)
        for _ in range(6 if insn.is_vector else 500)
    ]
    found = differences(vlen, cases)
    assert not found, "\n".join(found[:20])
