"""Static Linux executables: the stack they start with, their calls, their memory and its limits."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program, read
from potluck.isa.errors import ProgramError, TrapError
from potluck.isa.machine import load_machine
from potluck.sim.cluster import Cluster
from potluck.sim.linux.process import Environment

EXIT = """
    li a7, 93
    ecall
"""


def process(source: str, environment: Environment | None = None, timed: bool = True) -> Cluster:
    a = Assembler()
    a.text(source)
    ours = a.assemble(text_base=0x10000, data_base=0x20000).program()
    program = Program(ours.sections, ours.symbols, ours.entry, ours.manifest, foreign=True)
    cluster = Cluster(program, load_machine("rvv-generic"), timed, environment=environment)
    cluster.run()
    return cluster


def output(source: str, environment: Environment | None = None) -> bytes:
    kernel = process(source, environment).kernel
    assert kernel is not None
    return bytes(kernel.stdout.kept)


def test_the_stack_holds_arguments_environment_and_auxiliary_vector() -> None:
    # Write 1 KiB from sp on and read it as the psABI says.
    source = "li a0, 1; mv a1, sp; li a2, 280; li a7, 64; ecall; li a0, 0;" + EXIT
    raw = output(source, Environment(["one", "two words"], {"HOME": "/x"}, name="prog"))
    words = struct.unpack("<35Q", raw)
    assert words[0] == 3 and words[4] == 0 and words[6] == 0
    auxiliary = dict(zip(words[7::2], words[8::2], strict=False))
    assert auxiliary[6] == 4096 and auxiliary[9] == 0x10000 and auxiliary[16] >> 21 & 1  # page, entry, V
    source = """
        ld s0, 0(sp)          # argc, then each argument
        addi s1, sp, 8
    1:  ld a1, 0(s1)
        beqz a1, 3f
        mv a2, zero
    2:  add t0, a1, a2
        lbu t1, 0(t0)
        addi a2, a2, 1
        bnez t1, 2b
        li a0, 1
        li a7, 64
        ecall
        addi s1, s1, 8
        j 1b
    3:  ld a1, 8(s1)
        li a0, 1
        li a2, 7
        ecall
        li a0, 0
    """
    raw = output(source + EXIT, Environment(["one", "two words"], {"HOME": "/x"}, name="prog"))
    assert raw == b"prog\0one\0two words\0HOME=/x"


def test_heap_and_mappings_are_zero_and_apart() -> None:
    source = (
        """
        li a0, 0
        li a7, 214
        ecall
        mv s0, a0
        li t0, 100000
        add a0, a0, t0
        ecall
        sub s1, a0, s0        # 100000
        ld t0, 0(s0)
        sd s1, 0(s0)
        li a0, 0
        li a1, 5000
        li a2, 3
        li a3, 0x22
        li a4, -1
        li a5, 0
        li a7, 222
        ecall
        mv s2, a0
        ld t1, 4992(s2)
    """.replace("4992(s2)", "2040(s2)")
        + """
        or t0, t0, t1
        sd t0, 0(s2)
        li a7, 215
        mv a0, s2
        li a1, 5000
        ecall
        or a0, a0, t0
        beqz a0, 1f
        li a0, 1
    1:
    """
    )
    cluster = process(source + EXIT)
    assert cluster.exit_code == 0 and cluster.harts[0].state.x[9] == 100000


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("ld a0, 0(zero)", 0),
        ("la a0, _start; sd a0, 0(a0)", 0x10000),
        ("li a0, -8; ld a0, 0(a0)", (1 << 64) - 8),
        ("li a0, 0x10ffc; ld a0, 0(a0)", 0x10FFC),
        ("li t0, 8388608; sub sp, sp, t0; sd a0, -8(sp)", None),
        ("li a0, 0x7fffffffffffffff; ld a0, 0(a0)", (1 << 63) - 1),
    ],
)
def test_an_access_outside_is_a_precise_trap(source: str, address: int | None) -> None:
    with pytest.raises(TrapError, match=r"process's memory|text") as caught:
        process(f"_start: nop; here: nop; {source};" + EXIT)
    if address is not None:
        assert caught.value.address == address
    assert caught.value.pc is not None and caught.value.pc > 0x10000
    assert caught.value.symbol is not None and caught.value.symbol.startswith("here+0x")


def test_files_below_the_root_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"contents")
    (tmp_path / "link").symlink_to("/etc/passwd")
    source = """
        li a0, -100
        la a1, name
        li a2, 0
        li a7, 56
        ecall
        mv s0, a0
        bltz a0, 1f
        la a1, buffer
        li a2, 100
        li a7, 63
        ecall
        mv a2, a0
        la a1, buffer
        li a0, 1
        li a7, 64
        ecall
    1:  li a0, 0
    """
    for name, wanted in [
        ("/in.txt", b"contents"),
        ("../in.txt", b"contents"),
        ("link", b""),
        ("../../../etc/passwd", b""),
        ("no", b""),
    ]:
        text = f'{source}{EXIT}\n.data\nname: .string "{name}"\nbuffer: .zero 128\n'
        assert output(text, Environment(root=tmp_path)) == wanted
        assert output(text) == b""


def test_bad_pointers_are_efault_and_unknown_calls_enosys() -> None:
    source = (
        "li a0, 1; li a1, 8; li a2, 5; li a7, 64; ecall; mv s0, a0; li a7, 4000; ecall; mv s1, a0; li a0, 0;"
    )
    with pytest.warns(UserWarning, match="system call 4000"):
        cluster = process(source + EXIT)
    assert cluster.harts[0].state.x[[8, 9]].tolist() == [-14, -38]


@pytest.mark.parametrize("timed", [True, False])
def test_the_clock_follows_the_cycles(timed: bool) -> None:
    source = (
        """
        li a0, 1
        la a1, first
        li a7, 113
        ecall
        li t0, 1000
    1:  addi t0, t0, -1
        bnez t0, 1b
        li a0, 1
        la a1, second
        ecall
        la a1, first
        ld t0, 8(a1)
        ld t1, 24(a1)
        sub s0, t1, t0
        li a0, 0
    """
        + EXIT
        + "\n.data\n.align 4\nfirst: .dword 0, 0\nsecond: .dword 0, 0\n"
    )
    assert 2000 <= int(process(source, timed=timed).harts[0].state.x[8]) < 2200


def test_an_exit_code_is_an_error() -> None:
    with pytest.raises(ProgramError, match="code 7"):
        process("li a0, 7;" + EXIT)


def test_a_foreign_elf_runs_on_rvv_generic(tmp_path: Path) -> None:
    a = Assembler()
    a.text("li a0, 0;" + EXIT)
    program = a.assemble(text_base=0x10000).program()
    data = program.to_bytes().replace(b".potluck.manifest", b".comment.of.other")
    again = read(data)
    assert again.foreign and again.manifest.machine == "rvv-generic"
