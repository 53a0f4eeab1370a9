"""What ``potluck isa MNEMONIC`` shows: everything that follows from one row of the table on one machine."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from potluck.access import access_text
from potluck.isa.context import Context, legal_vtype
from potluck.isa.insn import Insn, Kind, Operand
from potluck.isa.legality import check, is_mask
from potluck.isa.machine import Machine
from potluck.isa.table import table_of
from potluck.sim.timing import rows as t
from potluck.sim.timing.classes import timing_class
from potluck.sim.timing.energy import COMPONENTS, instruction_energy

_LMUL = {0: "1", 1: "2", 2: "4", 3: "8", 7: "1/2", 6: "1/4", 5: "1/8"}
_SPACED = ((8, 16, 24, 28, 30), (8, 16, 17, 28, 30), (0, 8, 16, 24, 28))
"""Registers for vd, vs1 to vs4 that keep groups apart: one of the choices is legal wherever any is."""


def describe(insn: Insn, machine: Machine) -> dict[str, Any]:
    """Encoding, syntax, meaning, operands, timing, energy and legality of an instruction, ready for JSON.

    Timing and energy are per legal SEW at LMUL 1 or the nearest legal LMUL; cycles are ``machine``'s, energies
    picojoules with the lowest and highest value that the bands of the machine's entries allow.
    """
    found: dict[str, Any] = {
        "mnemonic": insn.mnemonic,
        "syntax": f"{insn.mnemonic} {_assembly(insn)}".strip(),
        "extension": insn.extension,
        "summary": insn.doc,
        "bytes": insn.length,
        "encoding": _bit_fields(insn),
        "mask": f"{insn.mask:#0{2 + 2 * insn.length}x}",
        "match": f"{insn.match:#0{2 + 2 * insn.length}x}",
        "machine": machine.name,
    }
    if insn.kind is Kind.COMPRESSED:
        found["stands_for"] = insn.attributes["expands"]
        base = table_of(machine.isa.vmxdotp_encoding)[insn.attributes["expands"].split()[0]]
        return found | _executed(base, machine)
    return found | _executed(insn, machine)


def _executed(insn: Insn, machine: Machine) -> dict[str, Any]:
    known = timing_class(insn)
    contexts = _by_sew(insn)
    legal = sorted({(c.sew, c.lmul) for _, c in _legal(insn)}) if _typed(insn) else []
    return {
        "meaning": _meaning(insn),
        "operands": [_operand(operand, insn) for operand in insn.syntax],
        "kind": insn.kind.value,
        "timing_class": insn.timing,
        "unit": _unit(insn, machine),
        "keys": {key: _key(key, machine) for key in known.keys},
        "rules": known.rules.split(),
        "timing": {name: _timing(insn, fields, context, machine) for name, (fields, context) in contexts.items()},
        "energy": {name: _energy(insn, context, machine) for name, (_, context) in contexts.items()},
        "energy_sources": _energy_sources(insn, [context for _, context in contexts.values()], machine),
        "legal": [f"e{sew} m{lmul}".replace("m1/", "mf") for sew, lmul in legal],
        "constraints": _constraints(insn),
    }  # fmt: skip


def _key(key: str, machine: Machine) -> dict[str, Any]:
    """Value of a machine key, as the file has it, and its source."""
    group, name = key.split(".")
    return {"value": machine.model_dump(include={group: {name}})[group][name], "source": machine.source(key)}


def _typed(insn: Insn) -> bool:
    """Whether vtype matters."""
    return insn.is_vector and insn.kind is not Kind.VSET


def _legal(insn: Insn) -> Iterator[tuple[dict[str, int], Context]]:
    """Legal operands and contexts, one for each SEW and LMUL (more where formats differ)."""
    for choice in _SPACED:
        names = dict(zip(("vd", "vs1", "vs2", "vs3", "vs4"), choice, strict=True))
        fields = {piece.name: names.get(piece.name, 1) for piece in insn.pieces}
        if "rm" in fields:
            fields["rm"] = 7
        if insn.kind is Kind.VSTORE:
            fields["vs3"] = names["vd"]
        for vtype in range(0x200):
            context = Context(vtype, 1 << 3)
            if legal_vtype(vtype) and not vtype & 0xC0 and check(insn, fields, context) is None:
                yield fields, context


def _by_sew(insn: Insn) -> dict[str, tuple[dict[str, int], Context]]:
    """The legal case of each SEW with the LMUL nearest to 1; a single case where vtype does not matter."""
    if not _typed(insn) or insn.attributes.get("whole_registers"):
        return {"any": next(_legal(insn))}
    found: dict[str, tuple[dict[str, int], Context]] = {}

    def distance(lmul: Fraction) -> Fraction:
        return max(lmul, 1 / lmul)

    for fields, context in sorted(_legal(insn), key=lambda case: (case[1].sew, distance(case[1].lmul))):
        found.setdefault(f"e{context.sew}", (fields, context))
    return found


def _assembly(insn: Insn) -> str:
    parts: list[str] = []
    for operand in insn.syntax:
        if operand.memory:
            ahead = parts.pop() if parts and parts[-1] in ("imm", "uimm") else ""
            parts.append(f"{ahead}({operand.name})")
        else:
            parts.append("v0.t" if operand.name == "vm" else operand.name)
    text = ", ".join(parts)
    return text.replace(", v0.t", "[, v0.t]")


def _bit_fields(insn: Insn) -> list[dict[str, str]]:
    """Fields from the top bit down: fixed bits by value, operand bits by name."""
    top = 8 * insn.length
    taken = {bit: piece for piece in insn.pieces for bit in range(piece.at, piece.at + piece.width)}
    found: list[dict[str, str]] = []
    bit = top - 1
    while bit >= 0:
        piece = taken.get(bit)
        if piece:
            low = piece.at
            end = piece.low + piece.width - 1
            whole = sum(p.name == piece.name for p in insn.pieces) == 1 and piece.low == 0
            content = piece.name if whole else f"{piece.name}[{end}:{piece.low}]"
        else:
            low = bit
            while low > 0 and low - 1 not in taken:
                low -= 1
            content = f"{insn.match >> low & ((1 << bit - low + 1) - 1):0{bit - low + 1}b}"
        found.append({"bits": f"{bit}:{low}" if bit > low else str(bit), "content": content})
        bit = low - 1
    return found


def _meaning(insn: Insn) -> str:
    """Source of the element function, and what it was made from; else what an access moves, or the summary."""
    if insn.meaning is None:
        accesses = (Kind.LOAD, Kind.STORE, Kind.VLOAD, Kind.VSTORE)
        return access_text(insn) if insn.kind in accesses else insn.doc
    lines = [_source(insn.meaning)]
    if inspect.isfunction(insn.meaning):
        made_from = inspect.getclosurevars(insn.meaning).nonlocals
        lines += [f"{name} = {_source(v) if callable(v) else repr(v)}" for name, v in made_from.items()]
    return "\n".join(lines)


def _source(function: Any) -> str:
    """A function's definition; of a lambda, which stands in the middle of a row, the lambda alone."""
    try:
        if function.__name__ != "<lambda>":
            return textwrap.dedent(inspect.getsource(function)).strip()
        node = _lambda_at(inspect.getsourcefile(function) or "", _places(function))
    except (OSError, TypeError, AttributeError):  # a built-in, a callable object, a package without sources
        return str(getattr(function, "__name__", function))
    return ast.unparse(node) if node else "lambda"


def _places(function: Any) -> tuple[int, int]:
    """Line and column of the last expression of a function's code, its return value."""
    found = [(line, column) for line, _, column, _ in function.__code__.co_positions() if line and column]
    return found[-1]


@cache
def _tree(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text())


def _lambda_at(path: str, place: tuple[int, int]) -> ast.Lambda | None:
    """The innermost lambda whose body begins at or before a place and ends after it."""
    found = None
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Lambda):
            begin, body = (node.body.lineno, node.body.col_offset), node.body
            if begin <= place < (body.end_lineno or 0, body.end_col_offset or 0):
                found = node  # walk goes outside in
    return found


def _operand(operand: Operand, insn: Insn) -> dict[str, str]:
    kind = operand.type
    found = {"name": operand.name, "role": "address" if operand.memory else _role(operand, insn)}
    if operand.bank == "v":
        if is_mask(operand, insn):
            return found | {"eew": "1 (mask)", "emul": "one register"}
        ratio = Fraction(kind.scale).limit_denominator(64)
        eew = ("SEW" if ratio == 1 else f"{ratio}*SEW") if kind.scale else str(kind.bits)
        emul = ("LMUL" if ratio == 1 else f"{ratio}*LMUL") if kind.scale else f"{kind.bits}/SEW*LMUL"
        if operand.element0:
            emul = "element 0 of one register"
        elif whole := insn.attributes.get("whole_registers"):
            emul = f"{whole} whole registers"
        fields = insn.attributes.get("segments", 1)
        if fields > 1 and operand is insn.syntax[0]:
            emul = f"{fields} groups of {emul}"
        return found | {"type": kind.kind, "eew": eew, "emul": emul}
    if operand.bank in "xf":
        width = (
            f"{Fraction(kind.scale).limit_denominator(64)}*SEW".replace("1*", "") if kind.scale else kind.bits
        )
        return found | {"type": kind.kind, "eew": str(width)}
    return found


def _role(operand: Operand, insn: Insn) -> str:
    if operand.bank not in ("x", "f", "v"):
        return "encoded"
    written = operand.name in ("rd", "fd", "vd")
    return ("read and written" if operand.name in insn.parameters else "written") if written else "read"


def _unit(insn: Insn, machine: Machine) -> str:
    known = timing_class(insn)
    names = {
        "core": "scalar core", "lsu": "scalar core, memory port", "sequencer": "FP sequencer, memory port",
        "controller": "vector controller", "float": "VFU (floating point)", "integer": "VFU (integer)",
        "slide": "VSLDU (slide unit)", "vlsu": "VLSU (vector memory)",
    }  # fmt: skip
    if known.unit == "integer" and machine.vector.integer_unit == "separate":
        return "VFU (integer products)" if known.product else "VALU (integer)"
    if insn.mnemonic.startswith("fmv.") and not insn.is_vector:
        return "FP sequencer"
    return names[known.unit]


def _timing(insn: Insn, fields: dict[str, int], context: Context, machine: Machine) -> dict[str, Any]:
    """Latency in cycles, and elements (or instructions, if scalar) per cycle in steady state."""
    row = t.timing_row(insn, fields, context, machine)
    path = int(row[t.PATH])
    found: dict[str, Any] = {"latency": int(row[t.LATENCY])}
    if path in (t.VECTOR, t.VECTOR_LOAD, t.VECTOR_STORE):
        if row[t.NUMERATOR]:
            scattered = insn.attributes.get("strided") or insn.attributes.get("indexed") or row[t.FIELDS] > 1
            rate = row[t.MODE] / row[t.FIELDS] if scattered and path != t.VECTOR else (
                row[t.DENOMINATOR] / row[t.NUMERATOR])  # fmt: skip
            found["elements_per_cycle"] = round(float(rate), 4)
        else:
            found["cycles"] = max(1, int(row[t.EXTRA]))
        if row[t.EXTRA] and row[t.NUMERATOR]:
            found["tail"] = int(row[t.EXTRA])
        return found
    occupied = {t.LOAD: max(1, found["latency"] - 1), t.FLOAT: 1 + int(row[t.EXTRA])}.get(path, 1)
    found["instructions_per_cycle"] = round(1 / occupied, 4)
    if path == t.BRANCH:
        found["taken_penalty"] = int(row[t.TAKEN_PENALTY])
    return found


def _with_energies(machine: Machine, field: str) -> Machine:
    entries = {name: e.model_copy(update={"pj": getattr(e, field)}) for name, e in machine.energy.items()}
    return machine.model_copy(update={"energy": entries})


def _energy(insn: Insn, context: Context, machine: Machine) -> dict[str, Any]:
    """Fixed and per-element picojoules with their band, and the components of both."""
    values, low, high = (
        instruction_energy(insn, context, m)
        for m in (machine, _with_energies(machine, "low"), _with_energies(machine, "high"))
    )
    found: dict[str, Any] = {}
    for index, part in enumerate(("fixed", "per_element")):
        components = {n: round(float(v), 4) for n, v in zip(COMPONENTS, values[index], strict=True) if v}
        if components:
            found[part] = {
                "pj": round(float(values[index].sum()), 4),
                "low": round(float(low[index].sum()), 4),
                "high": round(float(high[index].sum()), 4),
                "components": components,
            }
    return found


def _energy_sources(insn: Insn, contexts: list[Context], machine: Machine) -> dict[str, str]:
    """The entries of the energy table that matter to the instruction, with their sources."""
    found = {}
    for name, entry in machine.energy.items():
        raised = {**machine.energy, name: entry.model_copy(update={"pj": entry.pj + 1})}
        other = machine.model_copy(update={"energy": raised})
        if any(
            (instruction_energy(insn, c, machine) != instruction_energy(insn, c, other)).any()
            for c in contexts
        ):
            found[f"energy.{name}"] = entry.source
    return found


def _constraints(insn: Insn) -> list[str]:
    """What makes the instruction illegal, as :func:`potluck.isa.legality.check` decides it."""
    a = insn.attributes
    found = []
    if "sew" in a:
        found.append(f"SEW must be {a['sew']}")
    if a.get("bf16_destination"):
        found.append("fcsr bit 8 (fmode.dst) must be set")
    if "rm" in {piece.name for piece in insn.pieces}:
        found.append("rm, or frm where rm is dynamic, at most 4")
    if not _typed(insn):
        return found
    if a.get("whole_registers"):
        return [*found, f"registers aligned to {a['whole_registers']}"]
    found.append("vtype.vill clear; register groups aligned to EMUL, EMUL within 1/8..8, EEW at most 64")
    if a.get("vstart0") or insn.kind is Kind.REDUCE:
        found.append("vstart must be 0")
    written = insn.syntax[0]
    to_mask = is_mask(written, insn) and not a.get("no_overlap")
    if insn.maskable and written.name == "vd" and not written.element0 and not to_mask:
        found.append("masked: the destination must not overlap v0")
    if "segments" in a:
        found.append(f"{a['segments']} groups take at most 8 registers and end at v31")
    if a.get("no_overlap"):
        found.append("the destination overlaps no source")
    if "raises" in a or "rounds" in a or "flags" in a:
        found.append("frm at most 4")
    return found


__all__ = ["describe"]
