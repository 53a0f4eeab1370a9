"""Pseudo-instructions: their expansions into rows of the table.

An expansion is text with ``;`` between instructions and spaces between operands; ``$0``.. are the operands as
written, ``$*`` those after the last numbered one (an optional mask). Keys carry the number of operands where it
matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from potluck.isa.registers import NUMBERS
from potluck.isa.table import TABLE

Written = tuple[str, tuple["str | int", ...]]

_SCALAR = {
    "nop": "addi zero zero 0", "mv": "addi $0 $1 0", "not": "xori $0 $1 -1", "neg": "sub $0 zero $1",
    "negw": "subw $0 zero $1", "sext.w": "addiw $0 $1 0", "zext.b": "andi $0 $1 255",
    "zext.w": "add.uw $0 $1 zero",
    "seqz": "sltiu $0 $1 1", "snez": "sltu $0 zero $1", "sltz": "slt $0 $1 zero", "sgtz": "slt $0 zero $1",
    "sgt": "slt $0 $2 $1", "sgtu": "sltu $0 $2 $1",
    "beqz": "beq $0 zero $1", "bnez": "bne $0 zero $1", "blez": "bge zero $0 $1", "bgez": "bge $0 zero $1",
    "bltz": "blt $0 zero $1", "bgtz": "blt zero $0 $1", "bgt": "blt $1 $0 $2", "ble": "bge $1 $0 $2",
    "bgtu": "bltu $1 $0 $2", "bleu": "bgeu $1 $0 $2",
    "j": "jal zero $0", "jal/1": "jal ra $0", "jr/1": "jalr zero 0($0)", "jalr/1": "jalr ra 0($0)",
    "jalr/2": "jalr $0 0($1)",
    "jalr/3": "jalr $0 $2($1)", "ret": "jalr zero 0(ra)", "unimp": "csrrw zero cycle zero",
    "fence/0": "fence iorw iorw",
    "csrr": "csrrs $0 $1 zero", "csrw": "csrrw zero $0 $1", "csrs": "csrrs zero $0 $1",
    "csrc": "csrrc zero $0 $1",
    "csrwi": "csrrwi zero $0 $1", "csrsi": "csrrsi zero $0 $1", "csrci": "csrrci zero $0 $1",
    "frcsr": "csrrs $0 fcsr zero", "fscsr/1": "csrrw zero fcsr $0", "fscsr/2": "csrrw $0 fcsr $1",
    "frrm": "csrrs $0 frm zero", "fsrm/1": "csrrw zero frm $0", "fsrm/2": "csrrw $0 frm $1",
    "fsrmi/1": "csrrwi zero frm $0", "fsrmi/2": "csrrwi $0 frm $1",
    "frflags": "csrrs $0 fflags zero", "fsflags/1": "csrrw zero fflags $0", "fsflags/2": "csrrw $0 fflags $1",
    "rdcycle": "csrrs $0 cycle zero", "rdtime": "csrrs $0 time zero", "rdinstret": "csrrs $0 instret zero",
    "fmv.x.s": "fmv.x.w $0 $1", "fmv.s.x": "fmv.w.x $0 $1",
}  # fmt: skip
_FLOAT = {
    "fmv": "fsgnj.? $0 $1 $1", "fabs": "fsgnjx.? $0 $1 $1", "fneg": "fsgnjn.? $0 $1 $1",
    "fgt": "flt.? $0 $2 $1",
    "fge": "fle.? $0 $2 $1",
}  # fmt: skip
_VECTOR = {
    "vneg.v": "vrsub.vx $0 $1 zero $*", "vnot.v": "vxor.vi $0 $1 -1 $*",
    "vwcvt.x.x.v": "vwadd.vx $0 $1 zero $*",
    "vwcvtu.x.x.v": "vwaddu.vx $0 $1 zero $*", "vncvt.x.x.w": "vnsrl.wx $0 $1 zero $*",
    "vmsgt.vv": "vmslt.vv $0 $2 $1 $*", "vmsgtu.vv": "vmsltu.vv $0 $2 $1 $*",
    "vmsge.vv": "vmsle.vv $0 $2 $1 $*",
    "vmsgeu.vv": "vmsleu.vv $0 $2 $1 $*", "vmfgt.vv": "vmflt.vv $0 $2 $1 $*",
    "vmfge.vv": "vmfle.vv $0 $2 $1 $*",
    "vfneg.v": "vfsgnjn.vv $0 $1 $1 $*", "vfabs.v": "vfsgnjx.vv $0 $1 $1 $*",
    "vmmv.m": "vmand.mm $0 $1 $1", "vmcpy.m": "vmand.mm $0 $1 $1", "vmnot.m": "vmnand.mm $0 $1 $1",
    "vmclr.m": "vmxor.mm $0 $0 $0", "vmset.m": "vmxnor.mm $0 $0 $0", "vmandnot.mm": "vmandn.mm $0 $1 $2",
    "vmornot.mm": "vmorn.mm $0 $1 $2", "vpopc.m": "vcpop.m $0 $1 $*",
    "vfredsum.vs": "vfredusum.vs $0 $1 $2 $*",
    "vle1.v": "vlm.v $0 $1", "vse1.v": "vsm.v $0 $1", "vl1r.v": "vl1re8.v $0 $1", "vl2r.v": "vl2re8.v $0 $1",
    "vl4r.v": "vl4re8.v $0 $1", "vl8r.v": "vl8re8.v $0 $1",
}  # fmt: skip
_LESS_THAN_IMMEDIATE = {  # x < i is x <= i-1
    "vmslt.vi": "vmsle.vi", "vmsltu.vi": "vmsleu.vi", "vmsge.vi": "vmsgt.vi", "vmsgeu.vi": "vmsgtu.vi"
}  # fmt: skip
_IMMEDIATE_FORMS = {name: name + "i" for name in ("add", "and", "or", "xor", "sll", "srl", "sra", "slt")} | {
    "sltu": "sltiu", "addw": "addiw", "sllw": "slliw", "srlw": "srliw", "sraw": "sraiw"
}  # fmt: skip


def _expansions() -> dict[str, str]:
    floats = {f"{name}.{k}": text.replace("?", k) for name, text in _FLOAT.items() for k in "sd"}
    return _SCALAR | floats | _VECTOR


EXPANSIONS = _expansions()
"""Expansion text by name, or by ``name/operands``."""
SPECIAL = ("li", "la", "lla", "call", "tail")
"""Pseudo-instructions that the assembler expands itself, by value or distance."""


@lru_cache(maxsize=1)
def names() -> frozenset[str]:
    """Every mnemonic the assembler knows."""
    return frozenset(
        [*TABLE, *(key.partition("/")[0] for key in EXPANSIONS), *_LESS_THAN_IMMEDIATE, *SPECIAL]
    )


def expand(mnemonic: str, operands: tuple[str | int, ...]) -> Iterator[Written]:
    """The instructions that one written instruction stands for; a real one comes back as it is.

    Raises:
        ValueError: too few operands.
    """
    text = EXPANSIONS.get(f"{mnemonic}/{len(operands)}") or EXPANSIONS.get(mnemonic)
    if text is None:
        yield _immediate_form(mnemonic, operands)
        return
    if mnemonic in ("jr", "jalr") and operands and "(" in str(operands[-1]):
        text = text.replace("0($", "$").replace(")", "")
    count = text.count("$") and 1 + max(
        int(c) for c, before in zip(text[1:], text, strict=False) if before == "$" and c.isdigit()
    )
    if len(operands) < count or (len(operands) > count and "$*" not in text):
        raise ValueError(f"{len(operands)} operands: expected {count}")
    for one in text.split(";"):
        name, *parts = one.split()
        filled: list[str | int] = []
        for part in parts:
            if part == "$*":
                filled += operands[count:]
            elif part[0] == "$" and len(part) == 2:
                filled.append(operands[int(part[1])])
            else:
                for index, operand in enumerate(operands):
                    part = part.replace(f"${index}", str(operand))
                filled.append(part)
        yield name, tuple(filled)


def _immediate_form(mnemonic: str, operands: tuple[str | int, ...]) -> Written:
    """``add a0, a1, 4`` means ``addi``; ``vmslt.vi v0, v1, 4`` means ``vmsle.vi v0, v1, 3``."""
    if mnemonic in _IMMEDIATE_FORMS and len(operands) == 3 and operands[2] not in NUMBERS["x"]:
        return _IMMEDIATE_FORMS[mnemonic], operands
    if mnemonic in _LESS_THAN_IMMEDIATE and len(operands) >= 3:
        return _LESS_THAN_IMMEDIATE[mnemonic], (*operands[:2], f"({operands[2]})-1", *operands[3:])
    return mnemonic, operands


def load_immediate(register: str | int, value: int) -> Iterator[Written]:
    """The sequence that sets a register to a 64-bit constant, as LLVM's and GNU's assemblers do.

    Raises:
        ValueError: the value has more than 64 bits.
    """
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError(f"li {value:#x}: expected a 64-bit constant")
    value = ((value & (1 << 64) - 1) ^ (1 << 63)) - (1 << 63)
    low = ((value & 0xFFF) ^ 0x800) - 0x800
    if value == low:
        yield "addi", (register, "zero", value)
        return
    if -(1 << 31) <= value < 1 << 31:
        yield "lui", (register, (value + 0x800 >> 12) & 0xFFFFF)
        if low:
            yield "addiw", (register, register, low)
        return
    rest = (value - low) >> 12
    shift = 12 + ((rest & -rest).bit_length() - 1)
    yield from load_immediate(register, rest >> shift - 12)
    yield "slli", (register, register, shift)
    if low:
        yield "addi", (register, register, low)
