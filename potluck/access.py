"""What loads and stores do, in words of their own row: they have no element function to show."""

from __future__ import annotations

from potluck.isa.insn import Insn, Kind


def access_text(insn: Insn) -> str:
    """Assignments between registers and memory, for a load or store of any kind; bytes are little-endian.

    >>> from potluck.isa.table import TABLE
    >>> access_text(TABLE["lw"])
    'rd = s32 memory[rs1 + imm]'
    """
    data = insn.syntax[0]
    if insn.kind in (Kind.LOAD, Kind.STORE):
        offset = " + imm" if any(operand.name == "imm" for operand in insn.syntax) else ""
        memory = f"{data.type.kind}{data.type.bits} memory[{_base(insn)}{offset}]"
        return f"{data.name} = {memory}" if insn.kind is Kind.LOAD else f"{memory} = {data.name}"
    return _vector(insn)


def _base(insn: Insn) -> str:
    return next(operand.name for operand in insn.syntax if operand.memory)


def _vector(insn: Insn) -> str:
    a, data = insn.attributes, insn.syntax[0]
    size = str(data.type.bits // 8) if data.type.bits else "SEW/8"
    fields = a.get("segments", 1)
    step = size if fields == 1 else f"{fields} * {size}"
    where = f"{_base(insn)} + i * {step}"
    if a.get("strided"):
        where = f"{_base(insn)} + i * rs2"
    elif a.get("indexed"):
        where = f"{_base(insn)} + vs2[i]"
    register = f"{data.name}[i]" if fields == 1 else f"field[f][i] of {data.name}"
    memory = f"memory[{where}{f' + f * {size}' if fields > 1 else ''}]"
    width = f"u{data.type.bits} " if data.type.bits else ""
    one = f"{register} = {width}{memory}" if insn.kind is Kind.VLOAD else f"{width}{memory} = {register}"
    if whole := a.get("whole_registers"):
        elements = f"i < {whole} * VLEN/{8 * int(size)}"
    else:
        elements = "i < ceil(vl/8)" if a.get("mask") else "i < vl"
    lines = [f"for vstart <= i, {elements}{', v0[i] or unmasked' if insn.maskable else ''}:", f"    {one}"]
    if fields > 1:
        lines.insert(1, f"    for f < {fields}:")
        lines[2] = f"    {lines[2]}"
    if a.get("first_fault"):
        lines.append("a fault at i > 0 sets vl = i instead")
    return "\n".join(lines)
