"""Absolute differences, of two registers and of two vectors."""

from potluck.isa.arithmetic.element import maximum, minimum
from potluck.isa.insn import Insn, Kind

ROWS = [
    Insn("example.absd", "1000000 rs2 rs1 111 rd 0001011", "rd:u64, rs1:u64, rs2:u64", Kind.MAP, "alu",
         lambda rs1, rs2: maximum(rs1, rs2) - minimum(rs1, rs2),
         "rd = |rs1 - rs2| of unsigned integers.", "Xexample"),
    Insn("example.vabsd.vv", "100000 vm vs2 vs1 110 vd 0001011", "vd:u, vs2:u, vs1:u, vm", Kind.MAP, "vint",
         lambda vs2, vs1: maximum(vs2, vs1) - minimum(vs2, vs1),
         "vd[i] = |vs2[i] - vs1[i]| of unsigned integers.", "Xexample"),
]  # fmt: skip
