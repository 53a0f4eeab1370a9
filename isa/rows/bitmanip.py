"""Zba, Zbb, Zbc, Zbs and Zicond (unprivileged specification, chapters "B" and "Zicond")."""

from __future__ import annotations

from typing import Any

from potluck.isa.arithmetic.element import (
    cast,
    clz,
    ctz,
    different,
    equal,
    maximum,
    minimum,
    popcount,
    select,
)
from potluck.isa.insn import Insn, Kind

OP, OP32, IMM, IMM32 = "0110011", "0111011", "0010011", "0011011"


def _r(name: str, funct7: str, funct3: str, meaning: Any, doc: str, extension: str, kind: str = "u64",
       result: str = "u64", opcode: str = OP, second: str = "", timing: str = "alu") -> Insn:  # fmt: skip
    operands = f"rd:{result}, rs1:{kind}, rs2:{second or kind}"
    encoding = f"{funct7} rs2 rs1 {funct3} rd {opcode}"
    return Insn(name, encoding, operands, Kind.MAP, timing, meaning, doc, extension)


def _i(name: str, head: str, funct3: str, meaning: Any, doc: str, extension: str, kind: str = "u64",
       bits: int = 6, opcode: str = IMM) -> Insn:  # fmt: skip
    """A shift-like instruction; ``bits`` of shift amount."""
    operands = f"rd:{'s32' if opcode == IMM32 and kind == 'u32' else 'u64'}, rs1:{kind}, shamt:{kind}"
    encoding = f"{head} shamt[{bits - 1}:0] rs1 {funct3} rd {opcode}"
    return Insn(name, encoding, operands, Kind.MAP, "alu", meaning, doc, extension)


def _unary(name: str, head: str, funct3: str, meaning: Any, doc: str, kind: str = "u64", result: str = "u64",
           opcode: str = IMM) -> Insn:  # fmt: skip
    encoding = f"{head} rs1 {funct3} rd {opcode}"
    return Insn(name, encoding, f"rd:{result}, rs1:{kind}", Kind.MAP, "alu", meaning, doc, "Zbb")


def _shift_add(amount: int) -> Any:
    return lambda rs1, rs2: (cast(rs1, "u64") << amount) + rs2


def rotate_left(x: Any, amount: Any) -> Any:
    """Rotate left by ``amount`` below the width."""
    width = x.type.bits
    return x << amount | x >> (-amount & width - 1)


def rotate_right(x: Any, amount: Any) -> Any:
    """Rotate right by ``amount`` below the width."""
    width = x.type.bits
    return x >> amount | x << (-amount & width - 1)


def _or_bytes(rs1: Any) -> Any:
    """Every byte with a set bit becomes 0xFF."""
    x = rs1 | rs1 >> 4 & 0x0F0F0F0F0F0F0F0F
    x = x | x >> 2 & 0x3333333333333333
    x = x | x >> 1 & 0x5555555555555555
    return (x & 0x0101010101010101) * 255


def _reverse_bytes(rs1: Any) -> Any:
    x = rs1 >> 8 & 0x00FF00FF00FF00FF | (rs1 & 0x00FF00FF00FF00FF) << 8
    x = x >> 16 & 0x0000FFFF0000FFFF | (x & 0x0000FFFF0000FFFF) << 16
    return x >> 32 | x << 32


def _carryless(first: int, last: int, shift: Any) -> Any:
    """Exclusive or of ``shift(rs1, i)`` over the set bits i of rs2 from ``first`` to ``last``."""

    def product(rs1: Any, rs2: Any) -> Any:
        total = rs1 & 0
        for i in range(first, last + 1):
            total = total ^ (shift(rs1, i) & -(rs2 >> i & 1))
        return total

    return product


ZBA = [
    *(_r(f"sh{n}add", "0010000", funct3, _shift_add(n), f"Shift left by {n} and add.", "Zba")
      for n, funct3 in ((1, "010"), (2, "100"), (3, "110"))),
    _r("add.uw", "0000100", "000", _shift_add(0), "Add an unsigned word.", "Zba", "u32", opcode=OP32, second="u64"),
    *(_r(f"sh{n}add.uw", "0010000", funct3, _shift_add(n), f"Shift an unsigned word left by {n} and add.", "Zba", "u32",
         opcode=OP32, second="u64")
      for n, funct3 in ((1, "010"), (2, "100"), (3, "110"))),
    Insn("slli.uw", "000010 shamt[5:0] rs1 001 rd 0011011", "rd:u64, rs1:u32, shamt:u64", Kind.MAP, "alu",
         lambda rs1, shamt: cast(rs1, "u64") << shamt, "Shift an unsigned word left by an immediate.", "Zba"),
]  # fmt: skip

ZBB = [
    _r("andn", "0100000", "111", lambda rs1, rs2: rs1 & ~rs2, "And with the complement.", "Zbb"),
    _r("orn", "0100000", "110", lambda rs1, rs2: rs1 | ~rs2, "Or with the complement.", "Zbb"),
    _r("xnor", "0100000", "100", lambda rs1, rs2: ~(rs1 ^ rs2), "Exclusive nor.", "Zbb"),
    _unary("clz", "011000000000", "001", lambda rs1: clz(rs1), "Count leading zero bits."),
    _unary("ctz", "011000000001", "001", lambda rs1: ctz(rs1), "Count trailing zero bits."),
    _unary("cpop", "011000000010", "001", lambda rs1: popcount(rs1), "Count set bits."),
    _unary("clzw", "011000000000", "001", lambda rs1: clz(rs1), "Count leading zero bits of a word.", "u32", "u32",
           IMM32),
    _unary("ctzw", "011000000001", "001", lambda rs1: ctz(rs1), "Count trailing zero bits of a word.", "u32", "u32",
           IMM32),
    _unary("cpopw", "011000000010", "001", lambda rs1: popcount(rs1), "Count set bits of a word.", "u32", "u32", IMM32),
    _unary("sext.b", "011000000100", "001", lambda rs1: rs1, "Sign-extend a byte.", "s8", "s8"),
    _unary("sext.h", "011000000101", "001", lambda rs1: rs1, "Sign-extend a halfword.", "s16", "s16"),
    _unary("zext.h", "000010000000", "100", lambda rs1: rs1, "Zero-extend a halfword.", "u16", "u16", OP32),
    _unary("orc.b", "001010000111", "101", _or_bytes, "Set every byte that has a set bit to 255."),
    _unary("rev8", "011010111000", "101", _reverse_bytes, "Reverse the bytes."),
    _r("max", "0000101", "110", lambda rs1, rs2: maximum(rs1, rs2), "Larger.", "Zbb", "s64", "s64"),
    _r("maxu", "0000101", "111", lambda rs1, rs2: maximum(rs1, rs2), "Larger, unsigned.", "Zbb"),
    _r("min", "0000101", "100", lambda rs1, rs2: minimum(rs1, rs2), "Smaller.", "Zbb", "s64", "s64"),
    _r("minu", "0000101", "101", lambda rs1, rs2: minimum(rs1, rs2), "Smaller, unsigned.", "Zbb"),
    _r("rol", "0110000", "001", lambda rs1, rs2: rotate_left(rs1, rs2 & 63), "Rotate left.", "Zbb"),
    _r("ror", "0110000", "101", lambda rs1, rs2: rotate_right(rs1, rs2 & 63), "Rotate right.", "Zbb"),
    _r("rolw", "0110000", "001", lambda rs1, rs2: rotate_left(rs1, rs2 & 31), "Rotate a word left.", "Zbb", "u32",
       "s32", OP32),
    _r("rorw", "0110000", "101", lambda rs1, rs2: rotate_right(rs1, rs2 & 31), "Rotate a word right.", "Zbb", "u32",
       "s32", OP32),
    _i("rori", "011000", "101", lambda rs1, shamt: rotate_right(rs1, shamt), "Rotate right by an immediate.", "Zbb"),
    _i("roriw", "0110000", "101", lambda rs1, shamt: rotate_right(rs1, shamt), "Rotate a word right by an immediate.",
       "Zbb", "u32", 5, IMM32),
]  # fmt: skip

ZBC = [
    _r("clmul", "0000101", "001", _carryless(0, 63, lambda a, i: a << i), "Carry-less product, lower half.", "Zbc",
       timing="mul"),
    _r("clmulh", "0000101", "011", _carryless(1, 63, lambda a, i: a >> 64 - i), "Carry-less product, upper half.",
       "Zbc", timing="mul"),
    _r("clmulr", "0000101", "010", _carryless(0, 63, lambda a, i: a >> 63 - i),
       "Carry-less product, bits 126 to 63.", "Zbc", timing="mul"),
]  # fmt: skip

_SINGLE: dict[str, tuple[str, str, Any, str]] = {
    "bclr": ("010010", "001", lambda x, n: x & ~(((x & 0) + 1) << n), "Clear one bit"),
    "bext": ("010010", "101", lambda x, n: x >> n & 1, "Extract one bit"),
    "binv": ("011010", "001", lambda x, n: x ^ ((x & 0) + 1) << n, "Invert one bit"),
    "bset": ("001010", "001", lambda x, n: x | ((x & 0) + 1) << n, "Set one bit"),
}
ZBS = [
    *(_r(name, head + "0", funct3, lambda rs1, rs2, m=meaning: m(rs1, rs2 & 63), f"{doc}.", "Zbs")
      for name, (head, funct3, meaning, doc) in _SINGLE.items()),
    *(_i(name + "i", head, funct3, lambda rs1, shamt, m=meaning: m(rs1, shamt), f"{doc} by an immediate.", "Zbs")
      for name, (head, funct3, meaning, doc) in _SINGLE.items()),
]  # fmt: skip

ZICOND = [
    _r("czero.eqz", "0000111", "101", lambda rs1, rs2: select(equal(rs2, 0), 0, rs1), "Zero if rs2 is zero.", "Zicond"),
    _r("czero.nez", "0000111", "111", lambda rs1, rs2: select(different(rs2, 0), 0, rs1), "Zero if rs2 is not zero.",
       "Zicond"),
]  # fmt: skip

ROWS = [*ZBA, *ZBB, *ZBC, *ZBS, *ZICOND]
