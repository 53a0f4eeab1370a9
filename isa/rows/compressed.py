"""RV64C: every row says which instruction it stands for (unprivileged specification, chapter "C")."""

from __future__ import annotations

from potluck.isa.insn import Insn, Kind


def _c(
    name: str, encoding: str, operands: str, expands: str, *nonzero: str, carved: tuple[str, ...] = ()
) -> Insn:
    facts = {"expands": expands, "nonzero": nonzero, "carved": carved}
    doc = f"Stands for {expands}."
    return Insn(name, encoding, operands, Kind.COMPRESSED, "as expanded", None, doc, "C", facts)


WORD, DOUBLE = "uimm[5:3] cs1 uimm[2|6]", "uimm[5:3] cs1 uimm[7:6]"
FROM_SP = [
    _c("c.addi4spn", "000 uimm[5:4|9:6|2|3] cd 00", "cd, sp, uimm", "addi cd, sp, uimm", "uimm"),
    _c("c.addi16sp", "011 imm[9] 00010 imm[4|6|8:7|5] 01", "sp, imm", "addi sp, sp, imm", "imm"),
    _c("c.fldsp", "001 uimm[5] fd uimm[4:3|8:6] 10", "fd, uimm(sp)", "fld fd, uimm(sp)"),
    _c("c.lwsp", "010 uimm[5] rd uimm[4:2|7:6] 10", "rd, uimm(sp)", "lw rd, uimm(sp)", "rd"),
    _c("c.ldsp", "011 uimm[5] rd uimm[4:3|8:6] 10", "rd, uimm(sp)", "ld rd, uimm(sp)", "rd"),
    _c("c.fsdsp", "101 uimm[5:3|8:6] fs2 10", "fs2, uimm(sp)", "fsd fs2, uimm(sp)"),
    _c("c.swsp", "110 uimm[5:2|7:6] rs2 10", "rs2, uimm(sp)", "sw rs2, uimm(sp)"),
    _c("c.sdsp", "111 uimm[5:3|8:6] rs2 10", "rs2, uimm(sp)", "sd rs2, uimm(sp)"),
]

MEMORY = [
    _c("c.fld", f"001 {DOUBLE} cfd 00", "cfd, uimm(cs1)", "fld cfd, uimm(cs1)"),
    _c("c.lw", f"010 {WORD} cd 00", "cd, uimm(cs1)", "lw cd, uimm(cs1)"),
    _c("c.ld", f"011 {DOUBLE} cd 00", "cd, uimm(cs1)", "ld cd, uimm(cs1)"),
    _c("c.fsd", f"101 {DOUBLE} cfs2 00", "cfs2, uimm(cs1)", "fsd cfs2, uimm(cs1)"),
    _c("c.sw", f"110 {WORD} cs2 00", "cs2, uimm(cs1)", "sw cs2, uimm(cs1)"),
    _c("c.sd", f"111 {DOUBLE} cs2 00", "cs2, uimm(cs1)", "sd cs2, uimm(cs1)"),
]

IMMEDIATE = [
    _c("c.nop", "000 0 00000 00000 01", "", "addi zero, zero, 0"),
    _c("c.addi", "000 imm[5] rd imm[4:0] 01", "rd, imm", "addi rd, rd, imm", carved=("c.nop",)),
    _c("c.addiw", "001 imm[5] rd imm[4:0] 01", "rd, imm", "addiw rd, rd, imm", "rd"),
    _c("c.li", "010 imm[5] rd imm[4:0] 01", "rd, imm", "addi rd, zero, imm"),
    _c("c.lui", "011 imm[17] rd imm[16:12] 01", "rd, imm", "lui rd, imm", "imm", carved=("c.addi16sp",)),
    _c("c.srli", "100 shamt[5] 00 cd shamt[4:0] 01", "cd, shamt", "srli cd, cd, shamt"),
    _c("c.srai", "100 shamt[5] 01 cd shamt[4:0] 01", "cd, shamt", "srai cd, cd, shamt"),
    _c("c.andi", "100 imm[5] 10 cd imm[4:0] 01", "cd, imm", "andi cd, cd, imm"),
    _c("c.slli", "000 shamt[5] rd shamt[4:0] 10", "rd, shamt", "slli rd, rd, shamt"),
]

REGISTER = [
    *(_c(f"c.{name}", f"100 {high} 11 cd {low} cs2 01", "cd, cs2", f"{name} cd, cd, cs2")
      for name, high, low in (("sub", 0, "00"), ("xor", 0, "01"), ("or", 0, "10"), ("and", 0, "11"),
                              ("subw", 1, "00"), ("addw", 1, "01"))),
    _c("c.mv", "100 0 rd rs2 10", "rd, rs2", "add rd, zero, rs2", "rs2"),
    _c("c.add", "100 1 rd rs2 10", "rd, rs2", "add rd, rd, rs2", "rs2"),
]  # fmt: skip

CONTROL = [
    _c("c.j", "101 off[11|4|9:8|10|6|7|3:1|5] 01", "off", "jal zero, off"),
    _c("c.beqz", "110 off[8|4:3] cs1 off[7:6|2:1|5] 01", "cs1, off", "beq cs1, zero, off"),
    _c("c.bnez", "111 off[8|4:3] cs1 off[7:6|2:1|5] 01", "cs1, off", "bne cs1, zero, off"),
    _c("c.jr", "100 0 rs1 00000 10", "rs1", "jalr zero, 0(rs1)", "rs1"),
    _c("c.jalr", "100 1 rs1 00000 10", "rs1", "jalr ra, 0(rs1)", "rs1"),
    _c("c.ebreak", "100 1 00000 00000 10", "", "ebreak"),
]

ROWS = [*FROM_SP, *MEMORY, *IMMEDIATE, *REGISTER, *CONTROL]
