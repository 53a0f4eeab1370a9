"""Audit: every row of the table has a timing class that the machine files define; nothing falls into a default."""

from __future__ import annotations

from dataclasses import replace

import pytest

from potluck.isa.context import Context
from potluck.isa.errors import MachineError
from potluck.isa.insn import Kind
from potluck.isa.legality import check
from potluck.isa.machine import Timing, load_machine, presets
from potluck.isa.table import TABLE, table_of
from potluck.sim import timing_rows as t
from potluck.sim.timing_classes import CLASSES, cycles, timing_class

CONTEXTS = [Context(sew << 3 | lmul | alt << 8, 1 << 3) for sew in range(4) for lmul in (0, 1, 2, 3, 7, 6, 5)
            for alt in (0, 1)]  # fmt: skip
REGISTERS = [(8, 16, 24, 28, 30), (8, 16, 17, 28, 30), (0, 8, 16, 24, 28)]


def executable(encoding="spatz"):
    return [insn for insn in table_of(encoding).values() if insn.kind is not Kind.COMPRESSED]


def cases(insn):
    """Legal operand values and contexts of a row."""
    for vd, vs1, vs2, vs3, vs4 in REGISTERS:
        fields = {piece.name: 1 for piece in insn.pieces}
        fields |= {n: v for n, v in zip(("vd", "vs1", "vs2", "vs3", "vs4"), (vd, vs1, vs2, vs3, vs4), strict=True)
                   if n in fields}  # fmt: skip
        if "rm" in fields:
            fields["rm"] = 7
        for context in CONTEXTS:
            if check(insn, fields, context) is None:
                yield fields, context


@pytest.mark.parametrize("encoding", ["spatz", "custom", "wide64"])
def test_every_instruction_has_a_class(encoding):
    assert [insn.mnemonic for insn in executable(encoding) if insn.timing not in CLASSES] == []


def test_every_class_is_used_and_names_keys_of_the_machine():
    assert {insn.timing for insn in executable()} == set(CLASSES)
    keys = {key for known in CLASSES.values() for key in (known.latency, known.rate)} - {""}
    assert keys <= set(Timing.model_fields)
    assert set(Timing.model_fields) - keys == {"float_result"}


@pytest.mark.parametrize("machine", presets())
def test_every_instruction_is_timed_in_every_legal_context(machine):
    machine = load_machine(machine)
    units = {"float": t.VFU, "slide": t.VSLDU, "vlsu": t.VLSU}
    units["integer"] = t.VALU if machine.vector.integer_unit == "separate" else t.VFU
    for insn in executable():
        tried = 0
        for fields, context in cases(insn):
            row = t.timing_row(insn, fields, context, machine)
            assert row[t.LATENCY] >= 1 or row[t.PATH] == t.MOVE, insn.mnemonic
            known = timing_class(insn)
            if row[t.PATH] in (t.VECTOR, t.VECTOR_LOAD, t.VECTOR_STORE):
                unit = "float" if known.product and machine.vector.integer_unit == "separate" else known.unit
                assert row[t.UNIT] == units[unit], insn.mnemonic
                assert row[t.LATENCY] == cycles(known.latency, insn, context, machine)
                assert row[t.FIELDS] == insn.attributes.get("segments", 1)
            tried += 1
            if not insn.is_vector:
                break
        assert tried, insn.mnemonic


def test_a_row_without_a_class_is_an_error():
    insn = replace(TABLE["add"], timing="alau")
    with pytest.raises(MachineError, match="add has the timing class 'alau'"):
        t.timing_row(insn, {"rd": 1, "rs1": 1, "rs2": 1}, Context(0), load_machine())


def test_a_formula_without_positive_cycles_names_key_and_instruction():
    machine = load_machine("spatz-mx", {"timing.fma": "sew - 32"})
    with pytest.raises(MachineError, match=r"(?s)timing\.fma.*vfadd|vfadd.*timing\.fma"):
        cycles("fma", TABLE["vfadd.vv"], Context(2 << 3), machine)
