"""Every floating row in every rounding mode, element by element, against SoftFloat: values and flags.

The row's meaning is compiled as a vector instruction on 64-bit lanes that gives either the code or the flags, so that
one call checks hundreds of operands; ``test_float_programs`` checks the rows' own handlers.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from potluck.isa.arithmetic.element import bitcast, cast
from potluck.isa.arithmetic.floating import BF16, IEEE
from potluck.isa.context import Context
from potluck.isa.insn import Insn, Kind
from potluck.isa.table import TABLE
from potluck.sim import state as st
from potluck.sim.jit.compile import Compiler
from potluck.sim.jit.handler import Variant
from tests.reference.float_rows import CASES, Case
from tests.reference.softfloat import WIDTHS
from tests.sim.test_handlers import call_handler

VLEN = 4096
LANES = 8 * VLEN // 64


def corners(kind: str) -> np.ndarray:
    """Codes at which something changes: zeros, ends of ranges, ones, halves, NaNs; both signs."""
    if kind not in ("f16", "bf16", "f32", "f64"):
        bits = WIDTHS[kind]
        powers = (
            [1 << k for k in range(bits)]
            + [(1 << k) - 1 for k in range(bits)]
            + [3 << k for k in range(bits - 1)]
        )
        return np.unique(np.array(powers + [(1 << bits) - v for v in powers if v], np.uint64)) & np.uint64(
            (1 << bits) - 1
        )
    form = BF16 if kind == "bf16" else IEEE[WIDTHS[kind]]
    one, unit = form.bias << form.mantissa, 1 << form.mantissa
    top = form.infinity
    sizes = [0, 1, 2, 3, unit // 2, unit - 1, unit, unit + 1, 2 * unit - 1, 2 * unit, 3 * unit, one - unit, one - 1,
             one, one + 1, one + unit // 2, one + unit // 2 + 1, one + unit - 1, one + unit, top - unit,
             top - unit // 2, top - 2, top - 1, top, top + 1, form.nan, form.nan + 1]  # fmt: skip
    return np.array(sizes + [size | form.sign for size in sizes], np.uint64)


def related(kind: str, count: int, generator: np.random.Generator) -> np.ndarray:
    """Random codes: any bits, exponents near the middle or the ends, significands with few bits set."""
    bits = WIDTHS[kind]
    codes = generator.integers(0, 1 << bits, count, np.uint64)
    if not kind.startswith(("f", "bf")):
        return codes >> generator.integers(0, bits, count).astype(np.uint64)
    form = BF16 if kind == "bf16" else IEEE[bits]
    style = generator.integers(0, 6, count)
    fraction = codes & np.uint64((1 << form.mantissa) - 1)
    sparse = generator.integers(0, 8, count, np.uint64) << generator.integers(
        0, form.mantissa - 2, count
    ).astype(np.uint64)
    fraction = np.where(style % 2 == 0, fraction, sparse & np.uint64((1 << form.mantissa) - 1))
    span = form.mantissa + 4
    middle = generator.integers(max(1, form.bias - span), min(2 * form.bias, form.bias + span), count)
    low, high = generator.integers(0, 4, count), 2 * form.bias - generator.integers(0, 4, count)
    halves = form.bias // 2 + generator.integers(-3, 4, count)  # products at the end of the range
    field = np.choose(style, [middle, middle, low, high, halves, middle]).astype(np.uint64)
    made = codes & np.uint64(form.sign) | field << np.uint64(form.mantissa) | fraction
    return np.where(style == 5, codes, made)


def operands(case: Case, count: int) -> dict[str, np.ndarray]:
    """All pairs of corners (a sample for three operands) and ``count`` random ones."""
    generator = np.random.Generator(np.random.Philox(key=[len(case.mnemonic), case.sew]))
    kinds = [kind.removeprefix("boxed ") for kind in case.sources.values()]
    grid = np.meshgrid(*(corners(kind) for kind in kinds), indexing="ij")
    columns = [axis.ravel() for axis in grid]
    if columns[0].size > count:
        pick = generator.choice(columns[0].size, count, replace=False)
        columns = [column[pick] for column in columns]
    columns = [np.concatenate([c, related(k, count, generator)]) for c, k in zip(columns, kinds, strict=True)]
    return dict(zip(case.sources, columns, strict=True))


@cache
def lifted(mnemonic: str, flags: bool) -> Insn:
    """The row as ``vd:u64 = code or flags`` of vectors of its operands' own types."""
    row = TABLE[mnemonic]
    assert row.meaning is not None
    names = [o.name for o in row.syntax if o.name in row.parameters]
    vectors = dict(zip(names, ("vs1", "vs2", "vs3"), strict=False))
    rest = [name for name in row.parameters if name not in vectors]

    def meaning(**values: Any) -> Any:
        fp = values.get("fp")
        given = {name: values[vectors.get(name, name)] for name in row.parameters}
        result = row.meaning(**given)  # type: ignore[misc]
        value, raised = result if isinstance(result, tuple) else (result, fp.flags if fp else None)
        if flags and raised is not None:
            return cast(raised, "u64")
        kind = value.type
        code = cast(bitcast(value, f"u{kind.bits}") if kind.kind != "b" else value, "u64")
        if kind.bits < 64 and raised is not None:
            return code | cast(raised, "u64") << 56
        return code & 0 if flags else code

    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in [*vectors.values(), *rest]
    ]
    meaning.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    typed = ", ".join(f"{vectors[o.name]}:{_spelled(o.type)}" for o in row.syntax if o.name in vectors)
    return replace(
        row,
        mnemonic=f"{'flags' if flags else 'code'}.{mnemonic}",
        operands=f"vd:u64, {typed}",
        kind=Kind.MAP,
        meaning=meaning,
        attributes={"rounds": True, "raises": True, **row.attributes},
    )


def _spelled(kind: Any) -> str:
    if not kind.scale:
        return f"{kind.kind}{kind.bits}"
    return f"{int(kind.scale)}{kind.kind}" if kind.scale >= 1 else f"{kind.kind}/{int(1 / kind.scale)}"


def run(compiler: Compiler, case: Case, columns: dict[str, np.ndarray], frm: int, flags: bool) -> np.ndarray:
    """The lifted row on all operands."""
    insn = lifted(case.mnemonic, flags)
    context = Context((case.sew // 16).bit_length() << 3, frm)
    variant = Variant(insn, context, flags=True)
    compiled = compiler.addresses({variant.name: variant})
    total = len(next(iter(columns.values())))
    results = np.zeros(total, np.uint64)
    registers = {"vd": 0, "vs1": 8, "vs2": 16, "vs3": 24}
    sources = [o for o in insn.syntax if o.name != "vd"]
    order = [o.name for o in TABLE[case.mnemonic].syntax if o.name in columns]
    hart = st.HartState(0, VLEN)
    for start in range(0, total, LANES):
        count = min(LANES, total - start)
        hart["vl"] = count
        for operand, name in zip(sources, order, strict=True):
            codes = columns[name][start : start + count]
            if case.sources[name].startswith("boxed"):
                codes = codes | np.uint64(0xFFFFFFFFFFFF0000)
            raw = codes.astype(f"u{operand.type.at(case.sew).bits // 8}").view(np.uint8)
            at = st.V + registers[operand.name] * VLEN // 8
            hart.raw[at : at + raw.size] = raw
        call_handler(variant, compiled, hart, registers, VLEN)
        results[start : start + count] = hart.raw[st.V : st.V + 8 * count].view(np.uint64)
    return results


def both(
    compiler: Compiler, case: Case, columns: dict[str, np.ndarray], frm: int
) -> tuple[np.ndarray, np.ndarray]:
    """Codes and flags; results of less than 64 bits leave room for the flags beside them."""
    codes = run(compiler, case, columns, frm, False)
    if case.bits == 64:
        return codes, run(compiler, case, columns, frm, True)
    return codes & np.uint64((1 << 56) - 1), codes >> np.uint64(56)


def agree(compiler: Compiler, case: Case, modes: Iterable[int], count: int) -> None:
    columns = operands(case, count)
    width = {name: WIDTHS[kind.removeprefix("boxed ")] for name, kind in case.sources.items()}
    rows = list(zip(*(column.tolist() for column in columns.values()), strict=True))
    for frm in modes:
        values, flags = both(compiler, case, columns, frm)
        mask = (1 << case.bits) - 1
        for row, value, raised in zip(rows, values.tolist(), flags.tolist(), strict=True):
            want = case.reference(frm, dict(zip(columns, row, strict=True)))
            if (value & mask, raised) != (want[0] & mask, want[1]):
                shown = ", ".join(
                    f"{n}={v:#0{width[n] // 4 + 2}x}" for n, v in zip(columns, row, strict=True)
                )
                pytest.fail(
                    f"{case.id} frm={frm} {shown}: ({value & mask:#x}, {raised}), SoftFloat {want[0]:#x}, {want[1]}"
                )


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Compiler:
    """Of its own: what is made here is no instruction and must not stay in the user's cache."""
    return Compiler(tmp_path_factory.mktemp("handlers"))


SAMPLE = [
    pytest.param(case, (0, 1 + number % 4), id=case.id)
    for number, case in enumerate(CASES)
    if not case.mnemonic.endswith("f") or case.mnemonic.replace(".vf", ".vv") not in TABLE
]


@pytest.mark.parametrize(("case", "modes"), SAMPLE)
def test_sample_equals_softfloat(compiler: Compiler, case: Case, modes: tuple[int, ...]) -> None:
    agree(compiler, case, modes, 300)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_corners_and_random_operands_equal_softfloat(compiler: Compiler, case: Case) -> None:
    agree(compiler, case, range(5), 20_000)
