"""The assembler: pseudo-instructions against LLVM and by execution of ``li``, directives, relaxation, errors."""

import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from potluck.isa.assembly import pseudo
from potluck.isa.assembly.assembler import Assembler, assemble_file
from potluck.isa.assembly.disassembler import disassemble_word
from potluck.isa.assembly.link import Object
from potluck.isa.decode import decoder
from potluck.isa.errors import ProgramError

LLVM_MC = shutil.which("llvm-mc") or shutil.which("llvm-mc-14")


def assemble(source: str, **bases: int) -> Object:
    a = Assembler()
    a.text(source)
    return a.assemble(**bases)


def words(source: str) -> list[int]:
    text = assemble(source).text
    return [int.from_bytes(text[k : k + 4], "little") for k in range(0, len(text), 4)]


def lines(source: str) -> list[str]:
    return [disassemble_word(word) for word in words(source)]


PSEUDO = """nop
mv a0, a1
not a0, a1
neg a0, a1
negw a0, a1
sext.w a0, a1
sext.b a0, a1
zext.h a0, a1
zext.w a0, a1
seqz a0, a1
snez a0, a1
sltz a0, a1
sgtz a0, a1
sgt a0, a1, a2
sgtu a0, a1, a2
beqz a0, 16
bnez a0, -16
blez a0, 16
bgez a0, 16
bltz a0, 16
bgtz a0, 16
bgt a0, a1, 16
ble a0, a1, 16
bgtu a0, a1, 16
bleu a0, a1, 16
j 2048
jal 2048
jal s0, 2048
jr a0
jalr a0
jalr a0, a1
jalr a0, a1, 8
jalr a0, 8(a1)
ret
fence
fence rw, w
csrr a0, fcsr
csrw fcsr, a0
csrs fcsr, a0
csrc fcsr, a0
csrwi fcsr, 3
csrsi fcsr, 3
csrci fcsr, 3
frcsr a0
fscsr a0
fscsr a0, a1
frrm a0
fsrm a0
fsrm a0, a1
fsrmi 3
frflags a0
fsflags a0, a1
rdcycle a0
rdtime a0
rdinstret a0
fmv.s fa0, fa1
fabs.s fa0, fa1
fneg.s fa0, fa1
fmv.d fa0, fa1
fabs.d fa0, fa1
fneg.d fa0, fa1
fgt.s a0, fa0, fa1
fge.d a0, fa0, fa1
fmv.x.s a0, fa0
fmv.s.x fa0, a0
add a0, a1, 5
and a0, a1, -5
sll a0, a1, 3
sltu a0, a1, 3
addw a0, a1, 3
fcvt.w.s a0, fa0
fcvt.w.s a0, fa0, rtz
fadd.d fa0, fa1, fa2, rne
lw a0, (a1)
vneg.v v4, v8, v0.t
vnot.v v4, v8
vfneg.v v4, v8
vfabs.v v4, v8
vwcvt.x.x.v v4, v8
vwcvtu.x.x.v v4, v8, v0.t
vncvt.x.x.w v4, v8
vmsgt.vv v4, v8, v12
vmsgtu.vv v4, v8, v12
vmsge.vv v4, v8, v12
vmsgeu.vv v4, v8, v12, v0.t
vmslt.vi v4, v8, 5
vmsltu.vi v4, v8, 5
vmsge.vi v4, v8, 5
vmfgt.vv v4, v8, v12
vmfge.vv v4, v8, v12
vmmv.m v4, v8
vmnot.m v4, v8
vmclr.m v4
vmset.m v4
vl1r.v v4, (a0)
vl8r.v v8, (a0)
vsetvli a0, a1, e8, mf8, ta, ma
vsetvli x0, x0, e64, m8, tu, mu
vsetivli a0, 16, e32, m1, ta, ma
lui a0, 0xfffff
auipc a0, 1
unimp
"""


@pytest.mark.skipif(LLVM_MC is None, reason="needs llvm-mc")
def test_pseudo_instructions_against_llvm() -> None:
    command = [str(LLVM_MC), "-triple=riscv64", "-mattr=+m,+f,+d,+v,+zba,+zbb", "-show-encoding"]
    done = subprocess.run(command, input=PSEUDO, capture_output=True, text=True)
    assert not done.stderr
    theirs = [
        int.from_bytes(bytes(int(part, 16) for part in line.split(",")), "little")
        for line in re.findall(r"encoding: \[(.*)\]", done.stdout)
    ]
    assert words(PSEUDO) == theirs


@given(st.integers(-(2**63), 2**64 - 1))
@example(0)
@example(2047)
@example(-2048)
@example(2048)
@example(0x7FFFFFFF)
@example(0x80000000)
@example(0xFFFFFFFF)
@example(-(2**31))
@example(2**63)
@example(0x7FFFFFFFFFFFFFFF)
@example(0x123456789ABCDEF0)
def test_li_gives_the_value(value: int) -> None:
    mask = (1 << 64) - 1
    x = 0
    sequence = words(f"li a0, {value}")
    assert len(sequence) <= 8
    for word in sequence:
        found = decoder().decode(word)
        assert found is not None
        insn, fields = found
        assert fields["rd"] == 10 and fields.get("rs1", 10) in (0, 10)
        source = x if fields.get("rs1") == 10 else 0
        if insn.mnemonic == "lui":
            x = fields["imm"]
        elif insn.mnemonic == "slli":
            x = source << fields["shamt"]
        else:
            x = source + fields["imm"]
            if insn.mnemonic == "addiw":
                x = ((x & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
        x &= mask
    assert x == value & mask


def test_directives() -> None:
    result = assemble(
        """
        .equ N, 3 * (2 + 2)        # constants
        M = N << 2
        .text
        _start: li a0, N; li a1, M // two statements on a line
        /* a comment
           of two lines */
        .data
        .align 3
        values: .byte 1, -1, 'A', '\\n'
        .half 0x1234
        .balign 4
        .word _start, values + 4, N - 1
        .dword 0x1122334455667788
        .float 1.0
        .double -2.0
        .zero 3
        .space 1, 0xff
        .string "a;#\\t\\"b"
        .ascii "xy", "z"
        end_of_data:
        .section .rodata
        .fill 2, 2, 7
        """,
        text_base=0x8000_0000,
    )
    data = result.sections[".data"]
    base = data.address
    expected = b"\x01\xffA\n\x34\x12\0\0" + (0x8000_0000).to_bytes(4, "little")
    expected += (base + 4).to_bytes(4, "little") + (11).to_bytes(4, "little")
    expected += bytes.fromhex("8877665544332211 0000803f 00000000000000c0 000000ff")
    expected += b'a;#\t"b\0xyz'
    assert data.data == expected
    assert result.symbols["end_of_data"] == base + len(expected)
    assert result.symbols["values"] == base and base % 64 == 0 and result.symbols["N"] == 12
    assert result.sections[".rodata"].data == b"\x07\0\x07\0" and not result.sections[".rodata"].writable
    assert result.sections[".text"].executable and result.entry == 0x8000_0000
    assert lines("li a0, 12; li a1, 48") == [
        disassemble_word(int.from_bytes(result.text[k : k + 4], "little")) for k in (0, 4)
    ]


def test_constants_may_be_redefined() -> None:
    assert lines(".equ A, 1\nli a0, A\naddi a1, a1, A\n.equ A, 2\nli a0, A\naddi a1, a1, A") == [
        "addi a0, zero, 1", "addi a1, a1, 1", "addi a0, zero, 2", "addi a1, a1, 2",
    ]  # fmt: skip


def test_numeric_labels() -> None:
    text = lines("1: nop\nbeqz a0, 1f\nj 1b\n1: nop\nj 1b")
    assert text[1] == "beq a0, zero, 8" and text[2] == "jal zero, -8" and text[4] == "jal zero, -4"


def test_addresses() -> None:
    result = assemble(
        """
        la a0, target
        lui a1, %hi(low)
        addi a1, a1, %lo(low)
        sw a2, %lo(low)(a1)
        here: auipc a2, %pcrel_hi(target)
        addi a2, a2, %pcrel_lo(here)
        .equ low, 0x10000ffc
        .section .l1, "aw", address=0x10000800
        .zero 0x7fc
        target: .word 0
        """
    )
    text = [disassemble_word(int.from_bytes(result.text[k : k + 4], "little")) for k in range(0, 28, 4)]
    target = result.symbols["target"]
    assert target == 0x10000FFC
    for at, pc in ((0, 0x8000_0000), (5, 0x8000_0014)):
        upper = int(text[at].split(", ")[1], 16)
        lower = int(text[at + 1].split(", ")[2])
        assert (pc + (upper << 12) + lower) & 0xFFFFFFFF == target
    assert text[2:5] == ["lui a1, 0x10001", "addi a1, a1, -4", "sw a2, -4(a1)"]


@pytest.mark.parametrize("distance", [4090, 4092, 4096, 4100, 8192, 1 << 19])
@pytest.mark.parametrize("branch", ["beq", "bne", "blt", "bge", "bltu", "bgeu"])
def test_long_branches_are_relaxed(branch: str, distance: int) -> None:
    padding = distance // 4 * 4
    forward = assemble(f"{branch} a0, a1, far\n.zero {padding - 4}\nfar: nop")
    first = disassemble_word(int.from_bytes(forward.text[:4], "little"))
    if padding < 4096:
        assert first == f"{branch} a0, a1, {padding}"
        return
    second = disassemble_word(int.from_bytes(forward.text[4:8], "little"))
    inverse = {"beq": "bne", "bne": "beq", "blt": "bge", "bge": "blt", "bltu": "bgeu", "bgeu": "bltu"}
    assert first == f"{inverse[branch]} a0, a1, 8" and second == f"jal zero, {padding}"


def test_relaxation_reaches_a_fixed_point() -> None:
    """Lengthening one branch puts others out of reach."""
    source = "\n".join(f"beqz a0, end{k}\n.zero 4" for k in range(510)) + "\n"
    source += "\n".join(f"end{k}: nop" for k in range(510))
    result = assemble(source)
    symbols = result.symbols
    at = 0
    for k in range(510):
        insn, fields = decoder().decode(int.from_bytes(result.text[at : at + 4], "little")) or (None, {})
        assert insn is not None
        if insn.mnemonic == "beq":
            assert at + fields["off"] == symbols[f"end{k}"] - 0x8000_0000
            at += 8
        else:
            target = decoder().decode(int.from_bytes(result.text[at + 4 : at + 8], "little"))
            assert target is not None and at + 4 + target[1]["off"] == symbols[f"end{k}"] - 0x8000_0000
            at += 12


def test_far_calls() -> None:
    near = assemble("call f\n.zero 1000\nf: ret")
    assert disassemble_word(int.from_bytes(near.text[:4], "little")) == "jal ra, 1004"
    far = assemble("call f\ntail f\n.zero 0x200000\nf: ret")
    text = [disassemble_word(int.from_bytes(far.text[k : k + 4], "little")) for k in range(0, 16, 4)]
    assert text == ["auipc ra, 0x200", "jalr ra, 16(ra)", "auipc t1, 0x200", "jalr zero, 8(t1)"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nop\nadi a0, a0, 1", r"line 2: `adi a0, a0, 1`: no instruction 'adi'; near: .*addi"),
        ("addi a0, a0, 2048", r"imm 2048 does not fit: expected -2048\.\.2047"),
        ("addi a0, a9, 1", r"'a9' for rs1: expected an integer register"),
        ("addi a0, a1", r"operand imm is missing: expected addi rd, rs1, imm"),
        ("addi a0, a1, 1, 2", r"superfluous operand '2'"),
        ("lw a0, a1", r"expected an address, lw rd, imm\(rs1\)"),
        ("vle8.v v0, 4(a0)", r"takes an address without an offset"),
        ("vadd.vv v1, v2, a0", r"expected a vector register"),
        ("slli a0, a0, 64", r"shamt 64 does not fit: expected 0\.\.63"),
        ("beq a0, a1, 3", r"expected a multiple of 2"),
        ("beq a0, a1, nowhere", r"line 1: `beq a0, a1, nowhere`: the symbol 'nowhere' is not defined"),
        ("la a0, nowhere", r"'nowhere' is not defined"),
        ("x: nop\nx: nop", r"line 2: `x: nop`: the symbol 'x' is already defined"),
        ("j far\n.zero 0x200000\nfar: nop", r"beyond 1 MiB use tail or call"),
        ("beqz a0, far\n.zero 0x200000\nfar: nop", r"line 1: `beqz"),
        ("li a0, later\nlater: nop", r"use la"),
        ("li a0, 0x10000000000000000", r"64-bit constant"),
        (".word 1 +", r"ends too early"),
        (".byte 256", r"0x100 does not fit into 1 bytes"),
        (".byte 4 @ 5", r"cannot read the expression"),
        (".frobnicate 3", r"unknown directive \.frobnicate; known are"),
        (".align", r"expected an alignment"),
        (".balign 3", r"expected a power of two"),
        (".string abc", r"expected a string in double quotes"),
        ("lui a0, %hi(0x80000000)", r"not in reach"),
        ("lui a0, %top(4)", r"%top: expected one of %hi"),
        ("vsetvli a0, a1, e128, m1", r"vtypei|cannot read|not defined"),
        ("csrr a0, nosuch", r"'nosuch' is not defined"),
        ("j 1b", r"there is no label 1: before"),
        ("mv a0", r"1 operands: expected 2"),
        ("fence rx, w", r"expected a part of iorw"),
    ],
)
def test_errors_name_line_text_and_what_was_expected(source: str, message: str) -> None:
    with pytest.raises(ProgramError, match=message) as caught:
        assemble(source)
    assert "line" in str(caught.value)


def test_calls() -> None:
    a = Assembler()
    a("li", "a0", 1024)
    loop = a.fresh("loop")
    assert loop != a.fresh("loop")
    a.label(loop)
    a.comment("the load")
    a("vle8.v", "v8", "(a1)")
    a("vsetvli", "t0", "a0", "e8alt", "m2", "ta", "ma")
    a("bnez", "t0", loop)
    result = a.assemble(text_base=0x1000)
    assert [disassemble_word(int.from_bytes(result.text[k : k + 4], "little")) for k in range(0, 16, 4)] == [
        "addi a0, zero, 1024", "vle8.v v8, (a1)", "vsetvli t0, a0, e8alt, m2, ta, ma", "bne t0, zero, -8",
    ]  # fmt: skip
    assert "# the load" in result.listing() and result.comments == {0x1004: "the load"}
    assert result.symbols == {}, "labels beginning with a dot are local"
    with pytest.raises(ProgramError, match="`frob x1`: no instruction"):
        a("frob", "x1")
    with pytest.raises(ProgramError, match="`addi a0, a0, 9999`: imm 9999 does not fit"):
        a("addi", "a0", "a0", 9999)


def test_the_cache_does_not_confuse_places() -> None:
    a = Assembler()
    for value in (1, 2):
        a.equ("K", value)
        a("addi", "a0", "a0", "K")
    a.label("here")
    a("j", "here")
    a("nop")
    a("j", "here")
    text = a.assemble().text
    got = [disassemble_word(int.from_bytes(text[k : k + 4], "little")) for k in range(0, len(text), 4)]
    assert got == [
        "addi a0, a0, 1", "addi a0, a0, 2", "jal zero, 0", "addi zero, zero, 0", "jal zero, -8",
    ]  # fmt: skip


def test_every_pseudo_instruction_is_exercised() -> None:
    written = {line.split()[0] for line in PSEUDO.splitlines()}
    others = {"zext.b", "sext.h", "fsflags", "vmcpy.m", "vmandnot.mm", "vmornot.mm", "vpopc.m", "vfredsum.vs"}
    others |= {"vle1.v", "vse1.v", "vl2r.v", "vl4r.v", "fgt.d", "fge.s"}
    assert {key.partition("/")[0] for key in pseudo.EXPANSIONS} <= written | others
    rest = (
        "zext.b a0, a1\nvmandnot.mm v1, v2, v3\nvpopc.m a0, v2, v0.t\nvfredsum.vs v1, v2, v3\nvle1.v v1, (a0)"
    )
    assert len(words(rest)) == 5


def test_alignment_in_code_is_nops() -> None:
    assert lines("ret\n.align 4\nret")[1:4] == ["addi zero, zero, 0"] * 3


def test_big_programs_assemble_fast_enough_to_unroll() -> None:
    a = Assembler()
    rng = random.Random(1)
    for _ in range(50_000):
        a("vfmacc.vf", f"v{rng.randrange(32)}", f"fa{rng.randrange(8)}", "v8")
    assert len(a.assemble().text) == 200_000


def test_files(tmp_path: Path) -> None:
    source = tmp_path / "x.s"
    source.write_text("li a7, 93\nli a0, 0\necall\n")
    assert assemble_file(source).text_bytes == 12
    source.write_text("li a7, 93\nfrob\n")
    with pytest.raises(ProgramError, match=r"x\.s: line 2: `frob`"):
        assemble_file(source)
    with pytest.raises(ProgramError, match="cannot read"):
        assemble_file(tmp_path / "absent.s")
