"""Hand-written programs for the scalar core: what each is about, and how it ends."""

from __future__ import annotations

from itertools import product

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program
from potluck.kernels.program import runtime
from tests.rtl.bench.core_programs import SANDBOX, SANDBOX_BYTES, TEXT, TEXT_BYTES

END = "li a0, 0\nli a7, 93\necall\n"
CORNERS = [
    0,
    1,
    -1,
    2,
    7,
    -7,
    1 << 63,
    (1 << 63) - 1,
    1 << 31,
    (1 << 31) - 1,
    -(1 << 31),
    0xFFFF_FFFF,
    0x1234_5678_9ABC_DEF0,
]
PRODUCTS = (
    "mul",
    "mulh",
    "mulhsu",
    "mulhu",
    "mulw",
    "div",
    "divu",
    "rem",
    "remu",
    "divw",
    "divuw",
    "remw",
    "remuw",
)
ATOMICS = [f"amo{name}.{width}" for name in ("add", "swap", "xor", "and", "or", "min", "max", "minu", "maxu")
           for width in "wd"]  # fmt: skip

_LOADS = ["lb", "lh", "lw", "ld", "lbu", "lhu", "lwu"]
_SETUP = f"li s0, {SANDBOX}\nli s1, {TEXT + TEXT_BYTES // 2}\nli s2, 0x8899aabbccddeeff\nsd s2, 0(s0)\nsd s2, 8(s0)\n"

PROGRAMS: dict[str, tuple[str, str]] = {
    "loads and stores of every width at every place": ("ecall", _SETUP + "".join(
        f"{name} a{index % 6}, {offset}({base})\n"
        for base in ("s0", "s1") for index, (name, offset) in enumerate(
            (name, offset) for name in _LOADS for offset in range(0, 8, {"b": 1, "h": 2, "w": 4, "d": 8}[name[1]])
        )) + "".join(
        f"{name} s2, {64 + 8 * offset + offset}(s0)\nld a0, {(64 + 9 * offset) & -8}(s0)\n"
        for name, size in (("sb", 1), ("sh", 2), ("sw", 4), ("sd", 8)) for offset in range(0, 8, size)
    )),
    "every FP access and move": ("ecall", _SETUP + "".join(
        f"f{load} fa0, {offset}(s0)\nf{load} fa1, {offset}(s1)\nfs{load[1]} fa0, {16 + offset}(s1)\n"
        f"fs{load[1]} fa1, {32 + offset}(s0)\n"
        for load, size in (("lb", 1), ("lh", 2), ("lw", 4), ("ld", 8)) for offset in range(0, 8, size)
    ) + "".join(f"fmv.x.{w} a0, fa0\nfmv.{w}.x fa2, s2\nfmv.x.d a1, fa2\nadd a2, a0, a1\n" for w in "hwd")),
    "an FP store that waits is not overtaken": ("ecall", _SETUP + """
        li s3, 77
        sd s3, 0(s1)
        fld fa0, 0(s1)
        fsd fa0, 0(s0)
        ld a0, 0(s0)
        fld fa1, 0(s1)
        fsd fa1, 8(s0)
        amoadd.d a1, s3, (s0)
        fld fa2, 0(s1)
        fsd fa2, 16(s0)
        sw s2, 16(s0)
        ld a2, 16(s0)
    """),
    "nor an FP load": ("ecall", _SETUP + """
        fld fa0, 0(s1)
        fld fa0, 0(s0)
        sd zero, 0(s0)
        fmv.x.d a0, fa0
        fld fa1, 0(s1)
        fld fa1, 8(s0)
        amoswap.d a1, zero, (s0)
        fld fa2, 8(s1)
        fld fa2, 8(s0)
        sd zero, 8(s0)
    """),
    "five FP loads from DRAM, and L1 between them": ("ecall", _SETUP + "".join(
        f"fld f{n}, {8 * n}({'s0' if n == 3 else 's1'})\n" for n in range(9)) + "fmv.x.d a0, f8\nfmv.x.d a1, f3\n"),
    "a base that is still to come": ("ecall", _SETUP + """
        sd s0, 0(s1)
        li t0, 1
        ld t0, 0(s1)
        lw a0, 4(t0)
        li t1, 1
        ld t1, 0(s1)
        fsw fa0, 4(t1)
    """),
    "results that come together": ("ecall", _SETUP + """
        li t0, 1000
        li t1, 7
        ld a0, 0(s0)
        mul a1, t0, t1
        addi a2, t0, 1
        addi a3, t0, 2
        divu a4, t0, t1
        ld a5, 0(s1)
        fmv.x.d a6, fa0
        mul a7, t0, t0
        remu a4, t0, t1
        divu zero, t0, t1
        divu t2, t0, t1
        add a0, a4, a5
    """),
    "atomic accesses": ("ecall", _SETUP + "".join(
        f"li t0, {value}\nsd t0, {16 + 8 * upper}(s0)\naddi t2, s0, {16 + 4 * upper if name.endswith('w') else 16}\n"
        f"{name} t1, s2, (t2)\nld t3, 16(s0)\nld t4, 24(s0)\n"
        for name in ATOMICS for value, upper in ((5, 0), (-5, 0), (-(1 << 63) + 1, 1))
    )),
    "reservations": ("ecall", _SETUP + """
        addi s3, s0, 8
        sc.w t0, s2, (s0)
        lr.w t1, (s0)
        sc.w t2, s2, (s0)
        sc.w t3, s2, (s0)
        lr.d t1, (s0)
        sc.d t2, zero, (s3)
        sc.d t2, zero, (s0)
        lr.d t1, (s3)
        sd s3, 0(s3)
        sc.d t2, zero, (s3)
        ld t3, 0(s3)
        lr.w t1, (s3)
        lr.w t1, (s0)
        sc.w t2, s3, (s3)
    """),
    "control and status registers": ("ecall", _SETUP + "".join(
        f"csrrw t0, {csr}, s2\ncsrrs t1, {csr}, zero\ncsrrc t2, {csr}, s0\ncsrrsi t3, {csr}, 21\ncsrrci t4, {csr}, 9\n"
        f"csrrwi t5, {csr}, 31\ncsrrwi zero, {csr}, 0\n"
        for csr in ("fflags", "frm", "fcsr", "fmode", "vxsat", "vxrm", "vcsr", "vstart")
    ) + "".join(f"csrr t{n % 7}, {csr}\n" for n, csr in enumerate(("vl", "vtype", "vlenb", "mhartid")))),
    "counters": ("ecall", _SETUP + "".join(
        f"ld t0, 0(s1)\ncsrr t0, {csr}\ncsrr t1, {csr}\nmul t2, t0, t1\ncsrr t2, {csr}\n"
        for csr in ("cycle", "time", "instret", "mcycle", "minstret"))),
    "registers of the cluster": ("ecall", """
        li s0, 0x11000000
        ld t0, 0(s0)
        lw t1, 0(s0)
        ld t2, 8(s0)
        ld t3, 16(s0)
        lwu t4, 16(s0)
    """),
    "an access to fcsr waits for the sequencer": ("ecall", _SETUP + """
        fld fa0, 0(s1)
        fsd fa0, 0(s0)
        csrr t0, fcsr
        fld fa0, 0(s1)
        fmv.x.d t1, fa0
        csrw frm, t1
    """),
    "jumps": ("ecall", """
        la t0, there
        jalr ra, 1(t0)
        nop
    there:
        nop
        auipc t1, 0
        jal t2, over
        ebreak
    over:
        la t3, last
        jalr zero, 0(t3)
        ebreak
    last:
        bltz t1, last
        bgeu t1, zero, on
        ebreak
    on:
    """),
    "code that changes itself": ("ecall", """
        la s0, patched
        li s1, 0x00150513
        li a0, 0
        jal ra, patched
        sw s1, 0(s0)
        jal ra, patched
        fence.i
        jal ra, patched
        fence
        j done
    patched:
        addi a0, a0, 64
        ret
    done:
    """),
    "an unknown word": ("illegal", "nop\n.word 0xffffffff\n"),
    "half of a word that is none": ("illegal", "nop\n.half 0\n.half 0\n"),
    "an unknown CSR": ("illegal", "csrr t0, 0x7c0\n"),
    "a read-only CSR": ("illegal", "csrw vlenb, t0\n"),
    "a counter cannot be set": ("illegal", "csrrci zero, cycle, 1\n"),
    "but read by csrrs": ("ecall", "csrrs t0, cycle, zero\ncsrrci t0, instret, 0\n"),
    "a breakpoint": ("ebreak", "nop\nebreak\n"),
    "a jump out of memory": ("fetch", "li t0, 0x10fffff0\njalr ra, 0(t0)\n"),
    "a jump into L1": ("illegal", "li t0, 0x10000000\nli t1, 0x13\nsw t1, 0(t0)\njalr ra, 0(t0)\n"),
    "the last parcel of DRAM": ("fetch", f"li t0, {TEXT + TEXT_BYTES - 2}\nli t1, 0x13\nsh t1, 0(t0)\njr t0\n"),
    "a trap after results that are still to come": ("misaligned", _SETUP + """
        fld fa0, 0(s1)
        ld a0, 0(s1)
        divu a1, a0, s0
        fsd fa0, 0(s0)
        lw a2, 2(s0)
    """),
}  # fmt: skip
for _access, _operands in (
    ("lh", "a0, 1(s0)"), ("lwu", "a0, 2(s0)"), ("ld", "a0, 4(s0)"), ("sh", "a0, 3(s0)"), ("sw", "a0, 1(s0)"),
    ("sd", "a0, 1(s0)"), ("flh", "fa0, 1(s0)"), ("flw", "fa0, 2(s0)"), ("fld", "fa0, 4(s0)"), ("fsw", "fa0, 1(s0)"),
    ("fsd", "fa0, 4(s0)"), ("amoadd.w", "a0, a1, (s3)"), ("lr.d", "a0, (s4)"), ("sc.w", "a0, a1, (s3)"),
):  # fmt: skip
    PROGRAMS[f"misaligned {_access}"] = (
        "misaligned", f"{_SETUP}addi s3, s0, 2\naddi s4, s0, 4\n{_access} {_operands}\n"
    )  # fmt: skip
for _where, _address in (
    ("below L1", SANDBOX - 8), ("behind L1", SANDBOX + SANDBOX_BYTES), ("below DRAM", TEXT - 8),
    ("behind DRAM", TEXT + TEXT_BYTES), ("nowhere", -8), ("the barrier", 0x1100_0008),
):  # fmt: skip
    for _access in (
        "ld a0, 0(t0)",
        "sd a0, 0(t0)",
        "fld fa0, 0(t0)",
        "amoadd.d a0, a1, (t0)",
        "lb a0, 7(t0)",
    ):
        _end = "ecall" if (_where, _access[:2]) == ("the barrier", "ld") else "fault"
        PROGRAMS[f"{_access.split()[0]} {_where}"] = (_end, f"li t0, {_address}\n{_access}\n")
for _access in ("sb zero, 0(t0)", "fsw fa0, 0(t0)", "amoor.w a0, a1, (t0)", "sc.d a0, a1, (t0)"):
    PROGRAMS[f"{_access.split()[0]} to the text"] = ("fault", f"la t0, _start\n{_access}\n")
for _access in ("lw a0, 0(t0)", "lr.d a0, (t0)"):
    PROGRAMS[f"{_access.split()[0]} from the text"] = ("ecall", f"la t0, _start\n{_access}\n")


def assemble(source: str) -> Program:
    """A program with an exit behind it."""
    a = Assembler()
    a.text(f"_start:\n{source}\n{END}")
    return a.assemble(TEXT).program()


def products() -> Program:
    """Every product and division of corner values, two after each other."""
    lines = []
    for a, b in product(CORNERS, CORNERS):
        lines += [f"li s0, {a}", f"li s1, {b}"]
        lines += [f"{name} a{index % 8}, s0, s1" for index, name in enumerate(PRODUCTS)]
    return assemble("\n".join(lines))


def start_up(rows: int, granule: int) -> Program:
    """What kernels begin and end with: stack, a hart's share of some rows, barrier, exit."""
    a = Assembler()
    runtime.start(a, SANDBOX_BYTES)
    runtime.hart_share(a, rows, granule, "s2", "s3")
    runtime.barrier(a)
    a("sd", "s2", "-8(sp)")
    a("sd", "s3", "-16(sp)")
    a("fld", "fa0", "-16(sp)")
    runtime.barrier(a, "t5")
    runtime.leave(a)
    return a.assemble(TEXT).program()
