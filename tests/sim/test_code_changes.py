"""Programs that write their own code: patches, generated code, fences, pages whose rights change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program
from potluck.isa.errors import TrapError
from potluck.isa.machine import load_machine
from potluck.sim import blocks
from potluck.sim.blocks import KEPT_VERSIONS, block_store
from potluck.sim.cluster import Cluster
from potluck.sim.simulate import summarize
from tests.reference.spike import Spike, needs_spike

MACHINE = load_machine("spatz-mx")
MODES: list[dict[str, Any]] = [{}, {"timed": False}, {"memoized": False}]
EXIT = "li a7, 93\nli a0, 0\necall\n"
ONLY_HART_0 = f"beqz a0, main\n{EXIT}main:\n"
DATA = 0x8010_0000


def build(source: str) -> Program:
    a = Assembler()
    a.text(".text\n.globl _start\n_start:\n" + source)
    return a.assemble().program()


def word(instruction: str) -> int:
    """The encoding of one instruction."""
    return int.from_bytes(build(instruction).sections[0].data, "little")


def run(source: str, **options: Any) -> Cluster:
    cluster = Cluster(build(source), MACHINE, **options)
    cluster.run()
    return cluster


def in_all_modes(source: str) -> list[int]:
    """x of hart 0 at the end, which every mode and a second run must agree on."""
    found = [run(source, **mode).harts[0] for mode in [*MODES, {}]]
    values = [hart.state.x[:32].tolist() for hart in found]
    assert all(value == values[0] for value in values)
    clocks = [hart.cycles for hart in (found[0], *found[2:])]
    assert len(set(clocks)) == 1 and sum(found[0].causes.values()) == clocks[0]
    assert found[0].causes == found[2].causes
    return [value & (1 << 64) - 1 for value in values[0]]


# Adds 1, then 2, ... then 5 to s0, by an instruction that the loop rewrites.
PATCH = f"""
    la s1, patch
    li s2, {word("addi s0, s0, 1")}
    li s3, {1 << 20}
    li s4, 5
loop:
    sw s2, 0(s1)
    {{fence}}
patch:
    addi s0, s0, 64
    addw s2, s2, s3
    addi s4, s4, -1
    bnez s4, loop
"""


def test_a_patched_instruction_is_executed_after_the_fence() -> None:
    x = in_all_modes(ONLY_HART_0 + PATCH.format(fence="fence.i") + EXIT)
    assert x[8] == 1 + 2 + 3 + 4 + 5


def test_without_a_fence_code_stays_what_it_was_until_there_is_one() -> None:
    x = in_all_modes(ONLY_HART_0 + PATCH.format(fence="nop") + "fence.i\nj patch2\npatch2:" + EXIT)
    assert x[8] == 5 * 64


def test_a_program_without_fences_has_its_text_protected() -> None:
    with pytest.raises(TrapError, match="store into the program's text") as caught:
        run(ONLY_HART_0 + PATCH.format(fence="nop") + EXIT)
    assert "fence.i" in str(caught.value)


def generate(address: str, instructions: list[str], fence: str) -> str:
    """Write words to an address in t0 and call them."""
    lines = [f"li t0, {address}"]
    for index, instruction in enumerate(instructions):
        lines += [f"li t1, {word(instruction)}", f"sw t1, {4 * index}(t0)"]
    return "\n".join([*lines, fence, "jalr t0", ""])


def generated(generator: np.random.Generator) -> str:
    """Code written piece by piece over older pieces, and called at random starts after each fence."""
    end, lines = 24, [f"li s1, {SCRATCH}"]
    ret = word("ret")
    lines += [f"li t1, {ret}", *(f"sw t1, {4 * k}(s1)" for k in range(end + 1)), "fence.i"]
    for _ in range(12):
        for at in generator.integers(0, end, generator.integers(1, 5)).tolist():
            a, b, c = (f"s{n}" for n in generator.integers(2, 8, 3).tolist())
            new = str(
                generator.choice([
                    f"addi {a}, {b}, {generator.integers(-2048, 2048)}", f"mul {a}, {b}, {c}", f"xor {a}, {b}, {c}",
                    f"beq {a}, {b}, 8", f"bltu {a}, {b}, {4 * (end - at)}", f"lw {a}, {4 * at}(s1)",
                ])
            )  # fmt: skip
            lines += [f"li t1, {word(new)}", f"sw t1, {4 * at}(s1)"]
        lines += ["fence.i", f"jalr ra, {4 * generator.integers(0, end)}(s1)"]
    return "\n".join(lines) + "\n"


SCRATCH = 0x8008_0000 - 48  # both here and in Spike; across the border of a page


@needs_spike
@pytest.mark.parametrize("seed", [None, *range(6)])
def test_spike_agrees(seed: int | None) -> None:
    source = PATCH.format(fence="fence.i")
    if seed is not None:
        source = generated(np.random.Generator(np.random.Philox(seed)))
    a = Assembler()
    a.text(".text\n_start:\n" + source + "ecall")
    text = next(s for s in a.assemble(text_base=Spike.code).program().sections if s.executable)
    spike = Spike()
    spike.memory[Spike.code][: len(text.data)] = np.frombuffer(text.data, np.uint8)
    trap = spike.step(10_000, Spike.code)
    assert trap is not None and trap.cause == 11 and spike.retired < 9_000
    x = in_all_modes(ONLY_HART_0 + source + EXIT)
    saved = [8, *range(18, 24)]  # s0, s2..s7
    assert [x[n] for n in saved] == [int(spike.x[n]) for n in saved]


@pytest.mark.parametrize("address", [DATA, DATA + 4092, 0x1000_0100])
def test_code_written_into_data_runs_and_may_be_written_again(address: int) -> None:
    source = "".join(
        generate(str(address), [f"addi s0, s0, {n}", "slli s0, s0, 1", "ret"], "fence.i")
        for n in (1, 2, 3, 1)
    )
    x = in_all_modes(ONLY_HART_0 + source + EXIT)
    expected = 0
    for n in (1, 2, 3, 1):
        expected = (expected + n) * 2
    assert x[8] == expected


def test_the_first_fetch_needs_no_fence() -> None:
    x = in_all_modes(ONLY_HART_0 + generate(str(DATA), ["addi s0, s0, 7", "ret"], "nop") + EXIT)
    assert x[8] == 7


@pytest.mark.parametrize("at", [4094, 4096 - 6, 4096 - 4, 4096 - 2])
def test_instructions_across_the_border_of_a_page(at: int) -> None:
    """A patched second half of an instruction, which may lie in the next page."""
    head = f"li t0, {DATA + at}\nli t1, {word('addi s0, s0, 1')}\nsh t1, 0(t0)\nsrli t1, t1, 16\n"
    call = f"sh t1, 2(t0)\nli t2, {word('c.jr ra')}\nsh t2, 4(t0)\nfence.i\njalr t0\n"
    patched = f"li t1, {word('addi s0, s0, 100') >> 16}\n" + call
    x = in_all_modes(ONLY_HART_0 + head + call + patched + head + call + EXIT)
    assert x[8] == 102


@pytest.mark.parametrize("at", [4096 - 6, 4096 - 4, 4096 - 2])
def test_an_eight_byte_instruction_across_the_border_of_a_page(at: int) -> None:
    """Its second word, in the next page, turns from scale register v3 to v4, which doubles the sum."""
    machine = load_machine("spatz-mx", {"isa.vmxdotp_encoding": "wide64"})

    def encoded(scale: str) -> list[int]:
        a = Assembler("wide64")
        a.text(f"vmxdotp.ww v8, v2, v12, {scale}, v5\nc.jr ra")
        return np.frombuffer(a.assemble().text, np.uint16).tolist()

    def write(scale: str) -> str:
        halves = "".join(f"li t1, {half}\nsh t1, {2 * k}(t0)\n" for k, half in enumerate(encoded(scale)))
        return f"li t0, {DATA + at}\n{halves}fence.i\nvmv.v.i v8, 0\njalr t0\n"

    one, two = 127, 128  # E8M0
    setup = f"""
        li t0, 0x3c  # 1.0 in E5M2
        vsetivli t1, 16, e8, m1, ta, ma
        vmv.v.x v2, t0
        vmv.v.x v12, t0
        li t0, {one}
        vmv.v.x v3, t0
        vmv.v.x v5, t0
        li t0, {two}
        vmv.v.x v4, t0
        vsetivli t1, 1, e32, m1, ta, ma
    """
    source = ONLY_HART_0 + setup + write("v3") + "vmv.x.s s0, v8\n" + write("v4") + "vmv.x.s s1, v8\n" + EXIT
    assert len(encoded("v3")) == 5
    for mode in MODES:
        cluster = Cluster(build(source), machine, **mode)
        cluster.run()
        sums = cluster.harts[0].state.x[8:10].astype(np.uint32).view(np.float32)
        assert sums.tolist() == [8.0, 16.0]


def test_a_patch_in_the_middle_of_a_long_block_costs_only_what_changed() -> None:
    """Blocks of code that did not change stay, and a version that comes back is not translated again."""
    toggles = f"""
        la s1, patch
        li s2, {word("addi s0, s0, 1")}
        li s3, {word("addi s0, s0, 2")}
        li s4, 200
    loop:
        sw s2, 0(s1)
        fence.i
        nop
    patch:
        addi s0, s0, 64
        mv t0, s2; mv s2, s3; mv s3, t0
        addi s4, s4, -1
        bnez s4, loop
    """
    x = in_all_modes(ONLY_HART_0 + toggles + EXIT)
    assert x[8] == 300
    assert len(run(ONLY_HART_0 + toggles + EXIT).harts[0].store.blocks) < 30


def test_each_hart_sees_new_code_after_its_own_fence() -> None:
    """Hart 1 runs the old instruction after hart 0's fence, and the new one after its own."""
    barrier = "li t6, 0x11000008\nld zero, 0(t6)\n"
    source = f"""
        mv s5, a0
        la s1, function
        jalr s1
        {barrier}
        bnez s5, other
        li s2, {word("addi s0, s0, 100")}
        sw s2, 0(s1)
        fence.i
    other:
        {barrier}
        jalr s1
        {barrier}
        fence.i
        jalr s1
        {barrier}
        {EXIT}
    function:
        addi s0, s0, 1
        ret
    """
    for mode in MODES:
        for threads in (1, 2):
            cluster = run(source, threads=threads, **mode)
            assert [int(hart.state.x[8]) for hart in cluster.harts] == [201, 102]


def test_reports_count_dropped_blocks() -> None:
    cluster = run(ONLY_HART_0 + PATCH.format(fence="fence.i") + EXIT)
    result = summarize(cluster, {}, "timed")
    assert result.cycles == sum(result.stalls.values())
    assert result.instructions == sum(layer.instructions for layer in result.layers)
    elsewhere = PATCH.format(fence="fence.i").replace("la s1, patch", "la s1, elsewhere")
    plain = run(ONLY_HART_0 + elsewhere + EXIT + "elsewhere: nop\n")
    same = summarize(plain, {}, "timed")
    assert (result.instructions, result.cycles) == (same.instructions, same.cycles)
    assert result.energy == pytest.approx(same.energy) and result.stalls == same.stalls
    assert plain.harts[0].state.x[8] == 5 * 64


def test_a_fence_costs_what_the_machine_says() -> None:
    def cycles(fence: str) -> int:
        return run(ONLY_HART_0 + f"nop\n{fence}\nnop\n" + EXIT).cycles

    assert cycles("fence.i") - cycles("nop") == MACHINE.timing.fence_i == 10


def test_an_unchanged_program_shares_its_blocks_whatever_its_fences() -> None:
    program = build(ONLY_HART_0 + "fence.i\n" + EXIT)
    cluster = Cluster(program, MACHINE)
    cluster.run()
    shared = block_store(cluster.memory.code, MACHINE)
    assert all(hart.store is shared for hart in cluster.harts)
    changed = run(ONLY_HART_0 + PATCH.format(fence="fence.i") + EXIT)
    original = block_store(changed.memory.code, MACHINE)
    assert changed.harts[0].store is not original and changed.harts[1].store is original
    assert all(original.code.read(block.pc, 2) for block in original.blocks)


def test_a_trap_in_new_code_names_its_bytes() -> None:
    source = (
        generate(str(DATA), ["nop", "ret"], "fence.i")
        + f"li t1, 0xffffffff\nli t0, {DATA}\nsw t1, 4(t0)\nfence.i\njalr t0"
    )
    with pytest.raises(TrapError, match="illegal instruction 0xffffffff") as caught:
        run(ONLY_HART_0 + source)
    assert caught.value.pc == DATA + 4


def test_flags_that_nobody_kept_are_not_read() -> None:
    add = "li t1, 1\nfcvt.d.l fa0, t1\nli t1, 3\nfcvt.d.l fa1, t1\nfdiv.d fa2, fa0, fa1\n"
    read = ["csrr s0, fflags", "ret"]
    with pytest.raises(TrapError, match="fflags"):
        run(ONLY_HART_0 + add + generate(str(DATA), read, "nop") + EXIT)
    x = in_all_modes(ONLY_HART_0 + add + generate(str(DATA), read, "fence.i") + EXIT)
    assert x[8] == 1


@pytest.mark.parametrize("fence", ["fence.i", "nop"])
def test_atomics_in_generated_code_are_atomic(fence: str) -> None:
    """Both harts add in turn, in code that the loader has not seen."""
    source = f"""
        li s1, {DATA}
        li t0, 0x10000000
        slli t1, a0, 12
        add t0, t0, t1
        li t1, {word("amoadd.d zero, s2, (s1)")}
        sw t1, 0(t0)
        li t1, {word("addi s3, s3, -1")}
        sw t1, 4(t0)
        li t1, {word("bnez s3, -8")}
        sw t1, 8(t0)
        li t1, {word("ret")}
        sw t1, 12(t0)
        {fence}
        li s2, 3
        li s3, 500
        jalr t0
        li t6, 0x11000008
        ld zero, 0(t6)
        ld s0, 0(s1)
        ld zero, 0(t6)
        {EXIT}
    """
    for threads in (1, 2):
        cluster = run(source, threads=threads)
        assert [int(hart.state.x[8]) for hart in cluster.harts] == [3000, 3000]


def test_the_versions_that_are_kept_are_bounded() -> None:
    """More versions than are kept, then the loaded program again: what other runs share is not given up."""
    source = f"""
        la s1, patch
        lw s5, 0(s1)
        li s2, {word("addi s0, s0, 0")}
        li s3, {1 << 20}
        li s4, {3 * KEPT_VERSIONS}
    loop:
        sw s2, 0(s1)
        fence.i
    patch:
        addi s0, s0, 1000
        addw s2, s2, s3
        addi s4, s4, -1
        bnez s4, loop
        sw s5, 0(s1)
        fence.i
        j out
    out:
    """
    for _ in range(2):
        x = in_all_modes(ONLY_HART_0 + "bnez s6, patch\n" + source + EXIT)
        assert x[8] == sum(range(3 * KEPT_VERSIONS))
    met = run(ONLY_HART_0 + "bnez s6, patch\n" + source + EXIT).harts[0].store.blocks
    freed = [block for block in met if not block.rows.size]
    assert len(freed) >= KEPT_VERSIONS


def test_code_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_BLOCKS", 6)
    with pytest.raises(TrapError, match="new code without end"):
        run(ONLY_HART_0 + PATCH.format(fence="fence.i") + "nop\n" + EXIT)
