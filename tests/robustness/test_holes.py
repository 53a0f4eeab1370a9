"""Each hole that the campaign, or reading with its eyes, has found: closed, and shown to stay so."""

from __future__ import annotations

import json
import struct
import time

import numpy as np
import pytest

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program, Section, read
from potluck.isa.errors import PotluckError, ProgramError, TrapError
from potluck.isa.machine import load_machine
from potluck.isa.manifest import Manifest
from potluck.sim.cluster import Cluster
from potluck.sim.hart import Usage, _merged
from potluck.sim.linux import files
from tests.robustness.elves import bases

MACHINE = {"cluster.cores": 1}
EXIT = "; li a0, 0; li a7, 93; ecall"


def bare(source: str, timed: bool = True) -> Cluster:
    a = Assembler()
    a.text(source)
    return Cluster(a.assemble(text_base=0x8000_0000).program(), load_machine("spatz-mx", MACHINE), timed)


def process(source: str) -> Cluster:
    a = Assembler()
    a.text(source)
    ours = a.assemble(text_base=0x10000, data_base=0x20000).program()
    program = Program(ours.sections, ours.symbols, ours.entry, ours.manifest, foreign=True)
    return Cluster(program, load_machine("rvv-generic"), timed=False)


@pytest.mark.parametrize("bit", [63, 62, 50, 47])
def test_a_jump_to_high_addresses_never_finds_a_known_block(bit: int) -> None:
    # Twice to a good target, so that it is known; then to one that differs in a bit which vtype's place hid.
    cluster = bare(f"""
        la t0, target
        li t1, 3
    1:  jalr ra, t0, 0
        addi t1, t1, -1
        bnez t1, 1b
        li t2, 1
        slli t2, t2, {bit}
        add t0, t0, t2
        jalr ra, t0, 0
    target: ret""")
    with pytest.raises(TrapError, match="jump outside") as caught:
        cluster.run()
    assert caught.value.pc == (cluster.program.symbols["target"] + (1 << bit)) % (1 << 64)


def test_a_jump_with_another_vtype_does_not_reuse_a_block() -> None:
    """e64 with a vl of e8, m8 would write eight times as many bytes as there are registers."""
    a, b = 0x1B, 0x03  # e64, m8 and e8, m8
    cluster = bare(f"""
        la t0, target
        vsetvli x0, x0, e64, m8, ta, ma
        li t1, 3
        vsetvli t3, x0, e64, m8, ta, ma
    1:  jalr ra, t0, 0
        addi t1, t1, -1
        bnez t1, 1b
        vsetvli t3, x0, e8, m8, ta, ma
        li t2, {a ^ b}
        slli t2, t2, 47
        xor t0, t0, t2
        jalr ra, t0, 0
        .align 4
    target: vadd.vv v24, v24, v24
        ret""")
    with pytest.raises(TrapError, match="jump outside"):
        cluster.run()


@pytest.mark.parametrize("timed", [True, False])
def test_an_instruction_is_complete_when_the_next_one_cannot_be_fetched(timed: bool) -> None:
    cluster = bare("li t0, 99; csrr t0, instret; .word 0", timed)
    with pytest.raises(TrapError, match="illegal instruction"):
        cluster.run()
    assert cluster.harts[0].state.x[5] == 1
    cluster = bare("li t0, 99; dmstati t0, 0; .word 0", timed)
    with pytest.raises(TrapError, match="illegal instruction"):
        cluster.run()
    assert cluster.harts[0].state.x[5] == 0


def test_an_exit_by_tohost_counts_when_nothing_can_be_fetched_after_it() -> None:
    cluster = bare("la t0, tohost; li t1, 7; sd t1, 0(t0); .word 0; .data; .align 6; tohost: .dword 0")
    with pytest.raises(ProgramError, match="code 3"):
        cluster.run()


def test_what_precedes_a_misaligned_access_in_its_block_is_counted() -> None:
    cluster = bare("li t0, 1; addi t1, t0, 1; lw t2, 0(t0)")
    with pytest.raises(TrapError, match="misaligned"):
        cluster.run()
    assert cluster.harts[0].instructions == 2 and cluster.cycles > 0


def test_dma_rows_without_end_cost_the_host_nothing() -> None:
    """2^30 rows that overlap, at both ends, in the source and in the target."""
    # The first is small: whatever has to be compiled for any transfer is not what is timed.
    for source, target, rows in ((0, 0, 2), (0, 0, 1 << 30), (0, 1, 1 << 16), (1, 0, 1 << 16)):
        cluster = bare(f"""
            li t0, 0x10000000; dmsrc t0, x0
            li t0, 0x80100000; dmdst t0, x0
            li t1, {source}; li t2, {target}; dmstr t1, t2
            li t0, {rows}; dmrep t0
            li t0, 256; dmcpyi t1, t0, 2; wfi{EXIT}""")
        start = time.process_time()
        cluster.run()
        assert rows == 2 or time.process_time() - start < 5
        assert cluster.cycles > rows
    cluster = bare(
        "li t0, 0x10000000; dmsrc t0, x0; dmdst t0, x0; li t0, -1; dmrep t0; li t0, 8; dmcpyi t1, t0, 2"
    )
    with pytest.raises(TrapError, match="DMA transfer of"):
        cluster.run()


def test_dma_moves_overlapping_rows_in_order() -> None:
    rng = np.random.default_rng(3)
    for step in (-3, -1, 1, 3, 8):
        cluster = bare(f"""
            li t0, 0x10000000; dmsrc t0, x0
            li t0, 0x80100100; dmdst t0, x0
            li t1, 16; li t2, {step}; dmstr t1, t2
            li t0, 9; dmrep t0
            li t0, 8; dmcpyi t1, t0, 2; wfi{EXIT}""")
        image = rng.integers(0, 256, 256, np.uint8)
        cluster.memory.l1[:256] = image
        cluster.run()
        expected = np.zeros(512, np.uint8)
        for row in range(9):
            expected[256 + row * step : 264 + row * step] = image[16 * row : 16 * row + 8]
        assert np.array_equal(cluster.memory.dram[0x10_0000:0x10_0200], expected)


def test_dma_cannot_write_the_text() -> None:
    cluster = bare(
        "li t0, 0x10000000; dmsrc t0, x0; la t0, 1f; dmdst t0, x0; li t0, 8; dmcpyi t1, t0, 0; 1: nop"
    )
    with pytest.raises(TrapError, match="into the program's text"):
        cluster.run()


def test_a_process_has_no_cluster_registers() -> None:
    with pytest.raises(TrapError, match="outside the process's memory") as caught:
        process("li t0, 0x11000000; ld t1, 0(t0)" + EXIT).run()
    assert caught.value.address == 0x1100_0000


@pytest.mark.parametrize(
    ("number", "arguments", "result"),
    [
        (216, ["SIZE", "0", "4096", "1"], -22),  # mremap of nothing at the end of the address space
        (222, ["0", "4096", "1", "2", "0", "-4096"], -75),  # mmap of a file behind 2^63
    ],
)
def test_system_calls_take_any_number(number: int, arguments: list[str], result: int) -> None:
    machine = load_machine("rvv-generic")
    loads = "; ".join(f"li a{k}, {text}" for k, text in enumerate(arguments))
    loads = loads.replace("SIZE", str(machine.memory.dram_bytes))
    cluster = process(f"{loads}; li a7, {number}; ecall; mv s0, a0" + EXIT)
    cluster.run()
    assert cluster.harts[0].state.x[8] == result


def test_output_without_end_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "KEPT_BYTES", 1 << 20)
    cluster = process("1: li a0, 1; mv a1, sp; li a2, 64; li a7, 64; ecall; j 1b")
    with pytest.raises(ProgramError, match="wrote more than"):
        cluster.run()


def test_output_of_overlapping_vectors_is_not_gathered() -> None:
    """1,024 vectors of the same 64 KiB: written until the stream is full, never held at once."""
    source = (
        """
        la s0, vectors; li t0, 1024; mv t1, s0; la t2, vectors; li t3, 65536
    1:  sd t2, 0(t1); sd t3, 8(t1); addi t1, t1, 16; addi t0, t0, -1; bnez t0, 1b
        li a0, 1; mv a1, s0; li a2, 1024; li a7, 66; ecall; mv s1, a0"""
        + EXIT
    )
    cluster = process(source + "; .data; vectors: .zero 70000")
    cluster.run()
    assert cluster.harts[0].state.x[9] == 1024 * 65536


def damaged(**changes: int) -> bytes:
    data = bytearray(bases()["ours"])
    sections = struct.unpack_from("<Q", data, 40)[0]
    places = {"phentsize": (54, "<H"), "phnum": (56, "<H"), "shentsize": (58, "<H"), "shnum": (60, "<H"),
              "memsz": (64 + 40, "<Q"), "sh_type": (sections + 4 * 64 + 4, "<I"), "sh_size": (sections + 288, "<Q"),
              "sh0_size": (sections + 32, "<Q")}  # fmt: skip
    for name, value in changes.items():
        at, kind = places[name]
        struct.pack_into(kind, data, at, value)
    return bytes(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"phentsize": 0, "phnum": 0xFFFE}, {"phnum": 0xFFFF}, {"shentsize": 0}, {"shnum": 0, "sh0_size": 1 << 60},
        {"sh_size": 1 << 62}, {"sh_type": 8, "sh_size": 1 << 36},
    ],
)  # fmt: skip
def test_tables_of_an_executable_are_not_believed(changes: dict[str, int]) -> None:
    start = time.process_time()
    try:
        read(damaged(**changes))
    except ProgramError as error:
        assert "damaged" in error.message
    assert time.process_time() - start < 1


def test_memory_that_a_segment_asks_for_is_not_made() -> None:
    data = damaged(memsz=0x4000)
    program = read(data)
    assert max(len(s.data) for s in program.sections) < len(data)
    assert read(program.to_bytes()).sections == program.sections
    sections = [*program.sections, Section("bss", 0xFFFF_0000, b"", zeros=1 << 31)]
    with pytest.raises(ProgramError, match=r"bss .*outside"):
        Cluster(Program(sections, {}, program.entry), load_machine("spatz-mx"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"float32"', b'"object" '), (b'"address": 2147524608', b'"address": -1        '),
        (b'"bytes": 192', b'"bytes": -19'), (b'"start": 2147483648', b'"start": -147483648'),
        (b'"layout": "NHWC"', b'"layout": "what"'),
    ],
)  # fmt: skip
def test_manifests_say_what_can_be(old: bytes, new: bytes) -> None:
    data = bases()["ours"]
    assert old in data
    with pytest.raises(ProgramError, match="which cannot be"):
        read(data.replace(old, new))


@pytest.mark.parametrize("shape", [[True, 3], [0, 1 << 70], [1 << 40, 1 << 40], [-1], [1] * 40])
def test_shapes_of_a_manifest_are_shapes(shape: list[int]) -> None:
    tensor = {"name": "x", "dtype": "float32", "shape": shape, "layout": "row", "address": 0, "bytes": 64}
    with pytest.raises(ProgramError, match="outputs"):
        Manifest.from_json(json.dumps({"version": 1, "outputs": [tensor]}))


def test_harvests_of_the_memo_are_summed_up() -> None:
    ones = np.ones(3, np.int64)
    part = Usage(np.array([1, 2, 1]), np.array([7, 7, 8]), ones, np.ones((3, 2), np.int64), 0 * ones)
    merged = _merged([part, part])
    assert merged.block.tolist() == [1, 1, 2] and merged.vl.tolist() == [7, 8, 7]
    assert merged.count.tolist() == [2, 2, 2] and merged.causes.sum() == 12


def test_every_error_is_of_our_tree() -> None:
    assert issubclass(TrapError, PotluckError) and issubclass(ProgramError, PotluckError)
