"""RV64I, M, Zicsr and the system instructions (unprivileged specification, chapters 2 to 13)."""

from __future__ import annotations

from typing import Any

from potluck.isa.arithmetic.element import cast, different, equal, quotient, remainder, select
from potluck.isa.insn import Insn, Kind

OP, OP32, IMM, IMM32 = "0110011", "0111011", "0010011", "0011011"


def _r(name: str, funct7: str, funct3: str, meaning: Any, doc: str, kind: str = "s64", timing: str = "alu",
       extension: str = "I") -> Insn:  # fmt: skip
    opcode = OP32 if kind in ("s32", "u32") else OP
    operands = f"rd:{'s32' if opcode == OP32 else 's64'}, rs1:{kind}, rs2:{kind}"
    return Insn(
        name, f"{funct7} rs2 rs1 {funct3} rd {opcode}", operands, Kind.MAP, timing, meaning, doc, extension
    )


def _i(name: str, funct3: str, meaning: Any, doc: str, kind: str = "s64") -> Insn:
    opcode = IMM32 if kind == "s32" else IMM
    result = "s32" if kind == "s32" else "s64"
    operands = f"rd:{result}, rs1:{kind}, imm:{kind}"
    return Insn(name, f"imm[11:0] rs1 {funct3} rd {opcode}", operands, Kind.MAP, "alu", meaning, doc, "I")


def _shift(name: str, head: str, funct3: str, meaning: Any, doc: str, kind: str) -> Insn:
    word = kind.endswith("32")
    field, opcode = ("shamt[4:0]", IMM32) if word else ("shamt[5:0]", IMM)
    operands = f"rd:{'s32' if word else 's64'}, rs1:{kind}, shamt:{kind}"
    return Insn(
        name, f"{head} {field} rs1 {funct3} rd {opcode}", operands, Kind.MAP, "alu", meaning, doc, "I"
    )


def _branch(name: str, funct3: str, meaning: Any, doc: str, kind: str = "s64") -> Insn:
    encoding = f"off[12|10:5] rs2 rs1 {funct3} off[4:1|11] 1100011"
    return Insn(name, encoding, f"rs1:{kind}, rs2:{kind}, off", Kind.BRANCH, "branch", meaning, doc, "I")


def divide(rs1: Any, rs2: Any) -> Any:
    """Division by zero gives all ones; the one overflow gives the dividend (specification, table 11)."""
    zero = equal(rs2, 0)
    unsafe = zero
    if rs1.type.kind == "s":
        unsafe = zero | (equal(rs1, -1 << rs1.type.bits - 1) & equal(rs2, -1))
    return select(zero, -1, quotient(rs1, select(unsafe, 1, rs2)))


def modulo(rs1: Any, rs2: Any) -> Any:
    """Remainder by zero gives the dividend; the one overflow gives 0."""
    zero = equal(rs2, 0)
    unsafe = zero
    if rs1.type.kind == "s":
        unsafe = zero | (equal(rs1, -1 << rs1.type.bits - 1) & equal(rs2, -1))
    return select(zero, rs1, remainder(rs1, select(unsafe, 1, rs2)))


def _high(a: Any, b: Any) -> Any:
    return cast((cast(a, "s128") * cast(b, "s128")) >> 64, "s64")


INTEGER = [
    Insn("lui", "imm[31:12] rd 0110111", "rd, imm", Kind.MAP, "alu", lambda imm: imm,
         "Load the upper 20 bits.", "I"),
    Insn("auipc", "imm[31:12] rd 0010111", "rd:u64, imm:u64", Kind.MAP, "alu", lambda pc, imm: pc + imm,
         "Add an upper immediate to the pc.", "I"),
    Insn("jal", "off[20|10:1|11|19:12] rd 1101111", "rd, off", Kind.JUMP, "jump", None, "Jump and link.", "I"),
    Insn("jalr", "imm[11:0] rs1 000 rd 1100111", "rd, imm(rs1)", Kind.JUMP, "jump", None,
         "Jump and link to a register address.", "I"),
    _branch("beq", "000", lambda rs1, rs2: equal(rs1, rs2), "Branch if equal."),
    _branch("bne", "001", lambda rs1, rs2: different(rs1, rs2), "Branch if different."),
    _branch("blt", "100", lambda rs1, rs2: rs1 < rs2, "Branch if less."),
    _branch("bge", "101", lambda rs1, rs2: rs1 >= rs2, "Branch if not less."),
    _branch("bltu", "110", lambda rs1, rs2: rs1 < rs2, "Branch if less, unsigned.", "u64"),
    _branch("bgeu", "111", lambda rs1, rs2: rs1 >= rs2, "Branch if not less, unsigned.", "u64"),
    _i("addi", "000", lambda rs1, imm: rs1 + imm, "Add an immediate."),
    _i("slti", "010", lambda rs1, imm: rs1 < imm, "Set if less than an immediate."),
    _i("sltiu", "011", lambda rs1, imm: rs1 < imm, "Set if less than an immediate, unsigned.", "u64"),
    _i("xori", "100", lambda rs1, imm: rs1 ^ imm, "Exclusive or with an immediate."),
    _i("ori", "110", lambda rs1, imm: rs1 | imm, "Or with an immediate."),
    _i("andi", "111", lambda rs1, imm: rs1 & imm, "And with an immediate."),
    _i("addiw", "000", lambda rs1, imm: rs1 + imm, "Add an immediate, 32 bits.", "s32"),
    _shift("slli", "000000", "001", lambda rs1, shamt: rs1 << shamt, "Shift left by an immediate.", "s64"),
    _shift("srli", "000000", "101", lambda rs1, shamt: rs1 >> shamt, "Shift right logical.", "u64"),
    _shift("srai", "010000", "101", lambda rs1, shamt: rs1 >> shamt, "Shift right arithmetic.", "s64"),
    _shift("slliw", "0000000", "001", lambda rs1, shamt: rs1 << shamt, "Shift left, 32 bits.", "s32"),
    _shift("srliw", "0000000", "101", lambda rs1, shamt: rs1 >> shamt, "Shift right logical, 32 bits.", "u32"),
    _shift("sraiw", "0100000", "101", lambda rs1, shamt: rs1 >> shamt, "Shift right arithmetic, 32 bits.", "s32"),
    _r("add", "0000000", "000", lambda rs1, rs2: rs1 + rs2, "Add."),
    _r("sub", "0100000", "000", lambda rs1, rs2: rs1 - rs2, "Subtract."),
    _r("sll", "0000000", "001", lambda rs1, rs2: rs1 << (rs2 & 63), "Shift left."),
    _r("slt", "0000000", "010", lambda rs1, rs2: rs1 < rs2, "Set if less."),
    _r("sltu", "0000000", "011", lambda rs1, rs2: rs1 < rs2, "Set if less, unsigned.", "u64"),
    _r("xor", "0000000", "100", lambda rs1, rs2: rs1 ^ rs2, "Exclusive or."),
    _r("srl", "0000000", "101", lambda rs1, rs2: rs1 >> (rs2 & 63), "Shift right logical.", "u64"),
    _r("sra", "0100000", "101", lambda rs1, rs2: rs1 >> (rs2 & 63), "Shift right arithmetic."),
    _r("or", "0000000", "110", lambda rs1, rs2: rs1 | rs2, "Or."),
    _r("and", "0000000", "111", lambda rs1, rs2: rs1 & rs2, "And."),
    _r("addw", "0000000", "000", lambda rs1, rs2: rs1 + rs2, "Add, 32 bits.", "s32"),
    _r("subw", "0100000", "000", lambda rs1, rs2: rs1 - rs2, "Subtract, 32 bits.", "s32"),
    _r("sllw", "0000000", "001", lambda rs1, rs2: rs1 << (rs2 & 31), "Shift left, 32 bits.", "s32"),
    _r("srlw", "0000000", "101", lambda rs1, rs2: rs1 >> (rs2 & 31), "Shift right logical, 32 bits.", "u32"),
    _r("sraw", "0100000", "101", lambda rs1, rs2: rs1 >> (rs2 & 31), "Shift right arithmetic, 32 bits.", "s32"),
]  # fmt: skip

MEMORY = [
    *(Insn(name, f"imm[11:0] rs1 {funct3} rd 0000011", f"rd:{kind}, imm(rs1)", Kind.LOAD, "load", None,
           f"Load {kind}.", "I")
      for name, funct3, kind in (("lb", "000", "s8"), ("lh", "001", "s16"), ("lw", "010", "s32"), ("ld", "011", "s64"),
                                 ("lbu", "100", "u8"), ("lhu", "101", "u16"), ("lwu", "110", "u32"))),
    *(Insn(name, f"imm[11:5] rs2 rs1 {funct3} imm[4:0] 0100011", f"rs2:{kind}, imm(rs1)", Kind.STORE, "store", None,
           f"Store the low {kind[1:]} bits.", "I")
      for name, funct3, kind in (("sb", "000", "u8"), ("sh", "001", "u16"), ("sw", "010", "u32"),
                                 ("sd", "011", "u64"))),
]  # fmt: skip

MULTIPLY = [
    _r("mul", "0000001", "000", lambda rs1, rs2: rs1 * rs2, "Multiply.", timing="mul", extension="M"),
    _r("mulh", "0000001", "001", lambda rs1, rs2: _high(rs1, rs2), "Upper half of the signed product.",
       timing="mul", extension="M"),
    Insn("mulhsu", "0000001 rs2 rs1 010 rd 0110011", "rd, rs1:s64, rs2:u64", Kind.MAP, "mul",
         lambda rs1, rs2: _high(rs1, rs2), "Upper half of signed times unsigned.", "M"),
    _r("mulhu", "0000001", "011", lambda rs1, rs2: _high(rs1, rs2), "Upper half, unsigned.", "u64", "mul", "M"),
    _r("div", "0000001", "100", divide, "Signed quotient.", timing="div", extension="M"),
    _r("divu", "0000001", "101", divide, "Unsigned quotient.", "u64", "div", "M"),
    _r("rem", "0000001", "110", modulo, "Signed remainder.", timing="div", extension="M"),
    _r("remu", "0000001", "111", modulo, "Unsigned remainder.", "u64", "div", "M"),
    _r("mulw", "0000001", "000", lambda rs1, rs2: rs1 * rs2, "Multiply, 32 bits.", "s32", "mul", "M"),
    _r("divw", "0000001", "100", divide, "Signed quotient, 32 bits.", "s32", "div", "M"),
    _r("divuw", "0000001", "101", divide, "Unsigned quotient, 32 bits.", "u32", "div", "M"),
    _r("remw", "0000001", "110", modulo, "Signed remainder, 32 bits.", "s32", "div", "M"),
    _r("remuw", "0000001", "111", modulo, "Unsigned remainder, 32 bits.", "u32", "div", "M"),
]  # fmt: skip

SYSTEM = [
    *(Insn(name, f"csr rs1 {funct3} rd 1110011", "rd, csr, rs1", Kind.CSR, "csr", None, doc, "Zicsr")
      for name, funct3, doc in (("csrrw", "001", "Swap a CSR."), ("csrrs", "010", "Set bits of a CSR."),
                                ("csrrc", "011", "Clear bits of a CSR."))),
    *(Insn(name, f"csr uimm[4:0] {funct3} rd 1110011", "rd, csr, uimm", Kind.CSR, "csr", None, doc, "Zicsr")
      for name, funct3, doc in (("csrrwi", "101", "Write a CSR."), ("csrrsi", "110", "Set bits of a CSR."),
                                ("csrrci", "111", "Clear bits of a CSR."))),
    Insn("fence", "0000 pred[3:0] succ[3:0] 00000 000 00000 0001111", "pred, succ", Kind.SYSTEM, "fence", None,
         "Order memory accesses.", "I"),
    Insn("fence.i", "000000000000 00000 001 00000 0001111", "", Kind.SYSTEM, "fence_i", None,
         "Order instruction fetches.", "Zifencei"),
    Insn("ecall", "000000000000 00000 000 00000 1110011", "", Kind.SYSTEM, "system", None, "Environment call.", "I"),
    Insn("ebreak", "000000000001 00000 000 00000 1110011", "", Kind.SYSTEM, "system", None, "Breakpoint.", "I"),
    Insn("wfi", "000100000101 00000 000 00000 1110011", "", Kind.SYSTEM, "system", None,
         "Wait until the DMA's queue is empty.", "Priv"),
]  # fmt: skip

ROWS = [*INTEGER, *MEMORY, *MULTIPLY, *SYSTEM]
