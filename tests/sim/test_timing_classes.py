"""Audit: every row of the table has a timing class that the machine files define; nothing falls into a default."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from potluck.isa.context import Context
from potluck.isa.errors import MachineError
from potluck.isa.insn import Kind
from potluck.isa.legality import check
from potluck.isa.machine import Timing, load_machine, presets
from potluck.isa.sources import TAGS
from potluck.isa.table import TABLE, table_of
from potluck.sim.timing import rows as t
from potluck.sim.timing.classes import CLASSES, cycles, timing_class

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


def timed_alike(name):
    """What an instruction's time depends on."""
    machine = load_machine(name)
    return repr((machine.isa, machine.vector, machine.timing, machine.dram, machine.memory.l1_banks))


@pytest.mark.parametrize("machine", {timed_alike(name): name for name in reversed(presets())}.values())
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


UNIT_PATHS = {
    "core": {t.SCALAR, t.BRANCH, t.DRAIN, t.STORE}, "lsu": {t.LOAD, t.STORE}, "controller": {t.VSET},
    "sequencer": {t.FLOAT_LOAD, t.FLOAT_STORE}, "float": {t.FLOAT, t.MOVE, t.VECTOR}, "integer": {t.VECTOR},
    "slide": {t.VECTOR}, "vlsu": {t.VECTOR_LOAD, t.VECTOR_STORE},
}  # fmt: skip


@pytest.mark.parametrize("encoding", ["spatz", "custom", "wide64"])
def test_no_instruction_takes_a_path_that_is_not_its_units(encoding):
    """A class without a path of its own would be timed as an addition, without a word."""
    machine = load_machine("spatz-mx", {"isa.vmxdotp_encoding": encoding})
    for insn in executable(encoding):
        fields, context = next(cases(insn))
        row = t.timing_row(insn, fields, context, machine)
        assert row[t.PATH] in UNIT_PATHS[timing_class(insn).unit], insn.mnemonic
        assert bool(insn.is_vector and insn.kind is not Kind.VSET) == (
            row[t.PATH] in (t.VECTOR, t.VECTOR_LOAD, t.VECTOR_STORE)
        )


def test_every_class_names_documented_rules():
    """And every rule of an instruction's own is named by a class; the others concern all instructions."""
    text = (Path(__file__).parents[2] / "docs" / "timing.md").read_text()
    documented = set(re.findall(r"^\| `([a-z0-9-]+)` \|", text, re.M))
    named = {rule for known in CLASSES.values() for rule in known.rules.split()}
    assert all(known.rules for known in CLASSES.values()) and named <= documented
    common = {"core-issue", "unit-switch", "unit-whole-at-vstart", "memory-loads-and-stores", "sequencer-register",
              "sequencer-operands", "controller-issue", "controller-order", "controller-buffer", "controller-in-flight",
              "controller-queue"}  # fmt: skip
    assert documented - named - {rule for rule in documented if rule.startswith("chain-")} == common


@pytest.mark.parametrize("name", presets())
@pytest.mark.parametrize("group", ["timing", "vector", "dma", "dram"])
def test_every_value_of_a_preset_is_stated_with_its_source(name, group):
    """No key is left at its default, and each has a tag that says what it stands on."""
    machine = load_machine(name)
    for key in type(getattr(machine, group)).model_fields:
        source = machine.source(f"{group}.{key}")
        assert source.replace(":", " ").replace(";", " ").split()[:1] in [[tag] for tag in TAGS], (
            f"{group}.{key}"
        )


def test_a_row_without_a_class_is_an_error():
    insn = replace(TABLE["add"], timing="alau")
    with pytest.raises(MachineError, match="add has the timing class 'alau'"):
        t.timing_row(insn, {"rd": 1, "rs1": 1, "rs2": 1}, Context(0), load_machine())


def test_a_formula_without_positive_cycles_names_key_and_instruction():
    machine = load_machine("spatz-mx", {"timing.fma": "sew - 32"})
    with pytest.raises(MachineError, match=r"(?s)timing\.fma.*vfadd|vfadd.*timing\.fma"):
        cycles("fma", TABLE["vfadd.vv"], Context(2 << 3), machine)
