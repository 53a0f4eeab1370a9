"""Whole programs on the simulated cluster: values, synchronization, DMA, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program
from potluck.isa.errors import DataError, ProgramError, TrapError
from potluck.isa.machine import load_machine
from potluck.isa.manifest import Layer, Manifest, Tensor
from potluck.sim.cluster import Cluster
from potluck.sim.hart import Event
from potluck.sim.helper import Helper
from potluck.sim.simulate import simulate

L1, DRAM = 0x1000_0000, 0x8010_0000
MACHINE = load_machine("spatz-mx")
EXIT = "li a7, 93\nli a0, 0\necall\n"


def build(source: str, manifest: Manifest | None = None) -> Program:
    assembler = Assembler()
    assembler.text(".text\n.globl _start\n_start:\n" + source)
    return assembler.assemble().program(manifest)


def run(source: str, **options: Any) -> Cluster:
    cluster = Cluster(build(source), MACHINE, **options)
    cluster.run()
    return cluster


def test_scalar_loop_computes_a_sum() -> None:
    cluster = run(
        f"li t0, 100\nli t1, 0\nloop: add t1, t1, t0\naddi t0, t0, -1\nbnez t0, loop\nmv s5, t1\n{EXIT}"
    )
    assert int(cluster.harts[0].state.x[21]) == 5050


def test_barrier_orders_the_harts_and_costs_the_wait() -> None:
    """Hart 1 works long before the barrier; hart 0 reads its result after it."""
    source = f"""
    li s0, {L1}
    bnez a0, other
    li s1, 0x11000008
    lw t0, 0(s1)
    lw s2, 0(s0)
    {EXIT}
    other:
    li t0, 1000
    spin: addi t0, t0, -1
    bnez t0, spin
    li t1, 77
    sw t1, 0(s0)
    li s1, 0x11000008
    lw t0, 0(s1)
    li a7, 93
    ecall
    """
    cluster = run(source)
    assert int(cluster.harts[0].state.x[18]) == 77
    assert cluster.harts[0].causes["sync"] > 900
    assert sum(cluster.harts[0].causes.values()) == cluster.cycles


def test_what_follows_a_register_access_in_its_block_is_charged_once() -> None:
    """The access stops at the first instruction of a block: the divisions behind it are not part of it."""
    divisions = "div t2, s0, s2\n" * 8

    def program(cut: str) -> Cluster:
        source = f"li s0, -1; li s1, 0x11000010; li s2, 3; j here; here: ld s3, 0(s1)\n{cut}{divisions}"
        return run(f"{source}ld s4, 0(s1)\n{EXIT}")

    whole, apart = program(""), program("beqz s0, 8\n")
    begin, end = (int(whole.harts[0].state.x[k]) for k in (19, 20))
    assert begin < 20 < 8 * 20 < end - begin
    assert apart.cycles == whole.cycles + 1


def test_two_dimensional_dma_moves_rows_and_takes_time() -> None:
    source = f"""
    bnez a0, done
    li t0, {DRAM}
    li t1, {L1 + 256}
    dmsrc t0, zero
    dmdst t1, zero
    li t2, 64
    li t3, 16
    dmstr t2, t3
    li t4, 4
    dmrep t4
    li t5, 16
    dmcpyi s3, t5, 2
    dmstati s4, 2
    wfi
    dmstati s5, 2
    dmstati s6, 0
    done:
    {EXIT}
    """
    manifest = Manifest(
        inputs=[Tensor("x", "uint8", [4, 64], "row", DRAM, 256)],
        outputs=[Tensor("y", "uint8", [4, 16], "row", L1 + 256, 64)],
    )
    data = np.arange(256, dtype=np.uint8).reshape(4, 64)
    cluster = Cluster(build(source, manifest), MACHINE)
    outputs = cluster.run({"x": data})
    np.testing.assert_array_equal(outputs["y"], data[:, :16])
    x = cluster.harts[0].state.x
    assert [int(x[k]) for k in (19, 20, 21, 22)] == [1, 1, 0, 1]
    assert cluster.harts[0].causes["dma"] > 0
    assert cluster.dma.bytes["dram_read"] == 64


TRAPS = {
    "illegal instruction": (".word 0xffffffff", "illegal instruction"),
    "no vset before": ("vadd.vv v1, v2, v3", "vill"),
    "misaligned register group": ("vsetivli t0, 4, e32, m2, ta, ma\nvadd.vv v1, v2, v4", "not aligned"),
    "vmxdotp with a wrong SEW": ("vsetivli t0, 4, e8, m1, ta, ma\nvmxdotp.wf v8, ft0, v16, ft1, v24", "SEW"),
    "load outside memory": ("li t0, 0x40000000\nlw t1, 0(t0)", "outside"),
    "load across the end of L1": (
        f"li t0, {L1 + 128 * 1024 - 8}\nvsetivli t1, 16, e8, m1, ta, ma\nvle8.v v1, (t0)",
        "outside",
    ),
    "wrapping stride": (
        f"li t0, {L1}\nli t1, 1<<60\nvsetivli t2, 16, e8, m1, ta, ma\nvlse8.v v1, (t0), t1",
        "outside",
    ),
    "store into the text": ("la t0, _start\nsw t0, 0(t0)", "program's text"),
    "misaligned load": (f"li t0, {L1 + 2}\nlw t1, 0(t0)", "misaligned"),
    "jump into zeros": (f"li t0, {L1}\njr t0", "illegal instruction 0x0000"),
    "jump outside memory": (f"li t0, {L1 - 4}\njr t0", "outside executable memory"),
    "breakpoint": ("ebreak", "ebreak"),
    "unknown system call": ("li a7, 5\necall", "ecall 5"),
    "unknown CSR": ("csrr t0, 0x7c0", "CSR"),
    "write to a read-only CSR": ("csrw vl, t0", "read-only"),
    "reserved rounding mode": ("csrwi frm, 5\nfadd.s ft0, ft1, ft2", "rounding mode"),
    "reserved static rounding mode": (
        ".word 0x0020d053  # fadd.s ft0, ft1, ft2 with rm = 5",
        "rounding mode",
    ),
    "widening BF16 under a reserved frm": (
        "csrwi frm, 6\nvsetivli t0, 4, e16, m1, ta, ma\nvfwcvtbf16.f.f.v v2, v4",
        "rounding mode",
    ),
    "vector floats under a reserved frm": (
        "csrwi frm, 7\nvsetivli t0, 4, e32, m1, ta, ma\nvfsgnj.vv v1, v2, v3",
        "rounding mode",
    ),
}


@pytest.mark.parametrize(("source", "message"), TRAPS.values(), ids=TRAPS.keys())
def test_wrongdoing_traps_with_a_place(source: str, message: str) -> None:
    program = build(f"nop\nwrong: {source}\n{EXIT}")
    program.manifest.layers.append(Layer("layer1", "Conv", program.entry, program.entry + 4096))
    with pytest.raises(TrapError, match=message) as caught:
        Cluster(program, MACHINE).run()
    assert caught.value.pc is not None
    assert caught.value.pc % 4 == 0


def test_trap_names_symbol_layer_and_address() -> None:
    program = build(f"nop\nwrong: li t0, 0x40000000\nlw t1, 4(t0)\n{EXIT}")
    program.manifest.layers.append(Layer("conv1", "Conv", program.entry, program.entry + 4096))
    with pytest.raises(TrapError) as caught:
        Cluster(program, MACHINE).run()
    assert caught.value.address == 0x40000004
    assert caught.value.layer == "conv1"
    assert "wrong" in str(caught.value.symbol)


def test_endless_loop_ends_at_the_budget() -> None:
    with pytest.raises(ProgramError, match="endless loop"):
        run("forever: j forever", budget=100_000)


def test_hart_that_waits_forever_is_reported() -> None:
    with pytest.raises(ProgramError, match="hart 0"):
        run("bnez a0, other\nloop: j loop\nother: li a7, 93\necall", budget=10_000)


def test_non_zero_exit_is_an_error() -> None:
    with pytest.raises(ProgramError, match="code 3"):
        run("li a7, 93\nli a0, 3\necall")


def test_inputs_are_checked() -> None:
    manifest = Manifest(inputs=[Tensor("x", "float32", [2, 2], "row", L1, 16)])
    program = build(EXIT, manifest)
    with pytest.raises(DataError, match="missing"):
        simulate(program, {}, MACHINE)
    with pytest.raises(DataError, match="shape"):
        simulate(program, {"x": np.zeros((2, 3))}, MACHINE)
    with pytest.raises(DataError, match="no such input"):
        simulate(program, {"x": np.zeros((2, 2)), "z": np.zeros(1)}, MACHINE)


def test_signature_is_written(tmp_path: Path) -> None:
    source = f"""
    la t0, begin_signature
    li t1, 0x12345678
    sw t1, 0(t0)
    {EXIT}
    .data
    .globl begin_signature
    begin_signature: .word 0, 0xdeadbeef
    .globl end_signature
    end_signature:
    """
    simulate(build(source), {}, MACHINE, signature=tmp_path / "sig")
    assert (tmp_path / "sig").read_text().split() == ["12345678", "deadbeef"]


MODES: list[dict[str, Any]] = [{"timed": False}, {"threads": 2}, {"memoized": False}, {}]


def test_modes_and_threads_change_neither_values_nor_cycles() -> None:
    """Irregular branches, calls, changing vl and memory classes; every way of running must agree."""
    source = f"""
    li s0, {L1}
    slli t0, a0, 12
    add s0, s0, t0
    li s1, 300
    li s2, 12345
    again:
    li t0, 1103515245
    mul s2, s2, t0
    addi s2, s2, 1234
    srli t1, s2, 16
    andi t1, t1, 31
    vsetvli t2, t1, e32, m2, ta, ma
    vle32.v v8, (s0)
    vadd.vx v8, v8, s2
    vse32.v v8, (s0)
    andi t3, s2, 8
    beqz t3, skip
    vlse32.v v4, (s0), t3
    vmul.vv v6, v4, v8
    vse32.v v6, (s0)
    call helper
    skip:
    addi s1, s1, -1
    bnez s1, again
    li t0, 0x11000008
    lw zero, 0(t0)
    {EXIT}
    helper:
    lw t4, 16(s0)
    div t5, t4, s2
    sw t5, 20(s0)
    ret
    """
    program = build(source)
    clusters = [Cluster(program, MACHINE, **mode) for mode in MODES]
    for cluster in clusters:
        cluster.run()
    for cluster in clusters[:-1]:
        np.testing.assert_array_equal(cluster.memory.l1, clusters[-1].memory.l1)
        for a, b in zip(cluster.harts, clusters[-1].harts, strict=True):
            np.testing.assert_array_equal(a.state.v, b.state.v)
            assert a.instructions == b.instructions
            if cluster.timed:
                assert a.cycles == b.cycles
                assert a.causes == b.causes
    assert sum(clusters[-1].harts[0].causes.values()) == clusters[-1].cycles


@pytest.mark.parametrize("mode", MODES)
def test_more_blocks_than_the_arrays_begin_with(mode: dict[str, Any]) -> None:
    """Thousands of small blocks, met first by either hart while the other runs."""
    lines = ["li s0, 0", "li s1, 3", "again:", "bnez a0, half"]
    for part in ("first", "half"):
        lines.append(f"{part}:")
        lines += [f"addi s0, s0, {k % 7}\nbltz s0, {part}\naddi s2, s2, 1" for k in range(1500)]
    lines += ["addi s1, s1, -1", "bnez s1, again", "li t0, 0x11000008", "lw zero, 0(t0)", EXIT]
    cluster = run("\n".join(lines), **mode)
    total = 3 * sum(k % 7 for k in range(1500))
    assert [int(hart.state.x[8]) for hart in cluster.harts] == [2 * total, total]
    assert len(cluster.store.blocks) > 2048


TOHOST = "\n.data\n.align 3\n.globl tohost\ntohost: .dword 0\n"


@pytest.mark.parametrize("ending", ["stop: j stop", "again: sw t1, 0(t0)\nj again"])
@pytest.mark.parametrize("code", [0, 5])
def test_a_store_to_tohost_ends_the_program(ending: str, code: int) -> None:
    """The two usual endings of bare-metal tests: a jump to itself, and storing over and over; other harts park."""
    source = f"bnez a0, park\nla t0, tohost\nli t1, {code << 1 | 1}\nsw t1, 0(t0)\n{ending}\npark: j park\n{TOHOST}"
    if code:
        with pytest.raises(ProgramError, match="code 5"):
            run(source)
    else:
        assert run(source).exit_code == 0


MEETINGS = f"""
    li s0, {L1}
    li s1, 0x11000008
    li s3, 4
    li s2, 0
    bnez a0, other
    again: csrr t1, cycle
    li t4, 2
    bne s3, t4, known
    li t5, 5
    new: addi t5, t5, -1
    bnez t5, new
    known: lw zero, 0(s1)
    csrr t1, cycle
    lw zero, 0(s1)
    lw t2, 0(s0)
    add s2, s2, t2
    addi s3, s3, -1
    bnez s3, again
    {EXIT}
    other: csrr t6, cycle
    lw zero, 0(s1)
    lw t1, 0(s0)
    addi t1, t1, 1
    sw t1, 0(s0)
    li t0, 1000
    spin: addi t0, t0, -1
    bnez t0, spin
    lw zero, 0(s1)
    addi s3, s3, -1
    bnez s3, other
    li a7, 93
    li a0, 0
    ecall
"""


@pytest.mark.parametrize("timed", [True, False])
def test_who_waited_at_a_barrier_before_is_not_sent_back_to_it(timed: bool) -> None:
    """Hart 1 waits while hart 0 enters code that is new; then an event is carried out in Python while hart 1 runs."""
    assert int(run(MEETINGS, timed=timed).harts[0].state.x[18]) == 1 + 2 + 3 + 4


@pytest.mark.parametrize("timed", [True, False])
def test_only_the_table_says_who_waits(timed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code releases harts that Python had noted: such a note is no reason to park a hart that runs."""
    loop = Cluster._loop

    def noted(cluster: Cluster, helper: Helper, waiting: dict[int, Event]) -> None:
        loop(cluster, helper, {1: cluster.harts[1].here()})

    monkeypatch.setattr(Cluster, "_loop", noted)
    cluster = run(MEETINGS, timed=timed)
    assert int(cluster.harts[0].state.x[18]) == 1 + 2 + 3 + 4
    monkeypatch.undo()
    assert [h.cycles for h in cluster.harts] == [h.cycles for h in run(MEETINGS, timed=timed).harts]
