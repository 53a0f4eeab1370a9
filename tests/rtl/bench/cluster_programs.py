"""Programs for the cluster: what each part of it does by hand, and random transfers of the DMA."""

from __future__ import annotations

import random

import numpy as np

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program, Section
from potluck.isa.machine import Machine, load_machine
from tests.rtl.bench.core_directed import END
from tests.rtl.bench.core_programs import SANDBOX, SANDBOX_BYTES, TEXT, TEXT_BYTES

FAR = TEXT + TEXT_BYTES // 2
BYTES = 0x2000
"""Bytes of each memory with something in them, behind ``SANDBOX`` and ``FAR``."""
START = f"li s0, {SANDBOX}\nli s3, {FAR}\n"


def machine(cores: int = 1) -> Machine:
    """A cluster with as much memory as random programs and small networks need."""
    keys = {"cluster.cores": cores, "memory.l1_bytes": SANDBOX_BYTES, "memory.dram_bytes": 1 << 22,
            "dram.kind": "simple"}  # fmt: skip
    return load_machine("spatz-mx", keys)


def executable(source: str) -> Program:
    """A program with other bytes everywhere in ``BYTES`` of both memories, and an exit behind it."""
    a = Assembler()
    a.text(f"_start:\n{START}{source}\n{END}")
    words = np.arange(BYTES // 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x123456789)
    near, far = np.split(words, 2)
    sections = [Section(name, at, data.tobytes(), False, True)
                for name, at, data in ((".near", SANDBOX, near), (".far", FAR, far))]  # fmt: skip
    return a.assemble(TEXT).program(None, sections)


def transfer(source: int, target: int, size: int, rows: int = 1, steps: tuple[int, int] = (0, 0)) -> str:
    """A transfer with constant operands; clobbers t0 to t2, its number is in a0."""
    lines = [f"li t0, {source}", "dmsrc t0, zero", f"li t0, {target}", "dmdst t0, zero"]
    if rows != 1:
        lines += [f"li t1, {steps[0]}", f"li t2, {steps[1]}", "dmstr t1, t2", f"li t1, {rows}", "dmrep t1"]
    lines += [f"li t0, {size}", f"dmcpyi a0, t0, {0 if rows == 1 else 2}"]
    return "\n".join(lines)


POLL = "poll{0}: dmstati t3, 2\nbnez t3, poll{0}"
VECTOR = "vsetivli zero, 16, e64, m2, ta, ma"
PROGRAMS = {
    "in and out": "\n".join([
        transfer(FAR, SANDBOX + 0x1000, 256), "wfi", VECTOR, f"li t0, {SANDBOX + 0x1000}", "vle64.v v8, (t0)",
        "vadd.vv v8, v8, v8", "vse64.v v8, (t0)", "ld t1, 0(t0)",
        transfer(SANDBOX + 0x1000, FAR + 0x1000, 256), "wfi", f"li t0, {FAR + 0x1000}", "ld a1, 8(t0)"]),
    "numbers and status": "\n".join([
        "dmstati a0, 0", "dmstati a1, 2", transfer(FAR, SANDBOX + 0x1000, 512), "dmstati a2, 0",
        transfer(FAR + 512, SANDBOX + 0x1200, 64), POLL.format(0), "dmstati a3, 0",
        transfer(SANDBOX, FAR + 0x1000, 1), "again: dmstati a4, 0", "bltu a4, a0, again", "csrr a5, cycle",
        "li t0, 0x11000000", "ld a6, 16(t0)", "lw a7, 16(t0)", "ld s2, 0(t0)"]),
    "read when the status says so": "\n".join([
        transfer(FAR, SANDBOX + 0x1000, 512), "again: dmstati a4, 0", "bltu a4, a0, again",
        f"li t0, {SANDBOX + 0x1000}", "ld a1, 504(t0)", "ld a2, 0(t0)"]),
    "nothing to move": "\n".join([
        transfer(FAR, SANDBOX + 0x1000, 0), transfer(FAR, SANDBOX, 8, 0, (8, 8)), "wfi",
        transfer(FAR + 5, SANDBOX + 0x1003, 3), transfer(FAR, SANDBOX, 0), "wfi", "dmstati a0, 0"]),
    "rows": "\n".join([
        transfer(FAR + 3, SANDBOX + 0x1001, 7, 20, (13, 9)),
        transfer(FAR + 0x800, SANDBOX + 0x1400, 100, 4, (-90, 100)),
        transfer(SANDBOX + 7, FAR + 0x1000, 65, 3, (3, -70)), transfer(SANDBOX, FAR + 0x1200, 8, 5, (0, 16)),
        transfer(SANDBOX + 64, FAR + 0x1400, 64, 6, (64, 0)), transfer(SANDBOX, FAR + 0x1600, 24, 6, (24, 8)), "wfi"]),
    "what one writes the next reads": "\n".join([
        transfer(FAR, SANDBOX + 0x1000, 200), transfer(SANDBOX + 0x1000, FAR + 0x1000, 200),
        transfer(FAR + 0x1000, SANDBOX + 0x1800, 200), transfer(SANDBOX + 0x1800, SANDBOX + 0x1C03, 200),
        transfer(SANDBOX + 0x100, SANDBOX + 0x1000, 200), transfer(FAR + 0x1000, FAR + 0x1400, 100), "wfi",
        f"li t0, {SANDBOX + 0x1C03}", "lb a1, 0(t0)"]),
    "banks that the DMA takes": "\n".join([
        transfer(FAR, SANDBOX + 0x1000, 2048), VECTOR, "li t4, 12", "loop: vle64.v v8, (s0)", "fld fa0, 0(s0)",
        "ld t5, 64(s0)", "vse64.v v8, (s0)", "fsd fa0, 8(s0)", "sd t5, 72(s0)", "li t6, 128", "vlse64.v v4, (s0), t6",
        "addi t4, t4, -1", "bnez t4, loop", transfer(SANDBOX + 0x1000, FAR + 0x1000, 2048), "wfi"]),
    "many waiting": "\n".join(
        [transfer(FAR + 48 * n, SANDBOX + 0x1000 + 40 * n, 40) for n in range(40)] + ["wfi", "dmstati a1, 0"]),
    "barrier of one": "li t0, 0x11000000\nld a0, 8(t0)\nmv a1, a0\nlw a2, 8(t0)\nld a3, 0(t0)\nadd a3, a3, a2",
    "atomic accesses": "\n".join([
        "li t0, 5", "amoadd.d a0, t0, (s0)", "ld a1, 0(s0)", "addi s0, s0, 8", "amomaxu.w a2, t0, (s0)",
        "lr.d a3, (s0)", "sc.d a4, t0, (s0)", "sc.d a5, t0, (s0)", "lw a6, 4(s0)", "amoswap.w a7, t0, (s3)",
        "ld t1, 0(s3)"]),
    "ports of both memories": "\n".join([
        VECTOR, "li t0, 4096", "sub t1, s3, s0", "vle64.v v8, (s3)", "vle64.v v12, (s0)", "addi t2, s0, 1024",
        "vse64.v v8, (t2)", "vmv.v.x v2, t1", "vmv.v.i v4, 8", "vmul.vv v4, v4, v4",
        "vsetivli zero, 2, e64, m1, ta, ma", "vse64.v v2, (t2)", "sd zero, 8(t2)", "vle64.v v6, (t2)",
        "vluxei64.v v10, (s0), v6", "vse64.v v10, (s3)"]),
}  # fmt: skip

BARRIER = "li t0, 0x11000000\nld t1, 8(t0)\nmv t1, t1"
_WORK = "\n".join([
    VECTOR, "li t4, 9", "{0}: vle64.v v8, (s4)", "vle64.v v16, (s0)", "vadd.vv v8, v8, v16", "fld fa0, 0(s4)",
    "ld t5, 64(s0)", "vse64.v v8, (s4)", "fsd fa0, 512(s4)", "sd t5, 520(s4)", "lw t5, 516(s0)", "addi t4, t4, -1",
    "bnez t4, {0}"])  # fmt: skip
TWO = {
    "barriers and banks": "\n".join([
        f"li s4, {SANDBOX + 0x1000}", "slli t0, a0, 10", "add s4, s4, t0", "bnez a0, other",
        transfer(FAR, SANDBOX + 0x1000, 2048).replace("a0", "a2"), "wfi", BARRIER, _WORK.format("first"), BARRIER,
        transfer(SANDBOX + 0x1000, FAR + 0x1000, 2048).replace("a0", "a2"), "wfi", "csrr a3, mhartid", "j out",
        "other:", BARRIER, _WORK.format("second"), "li t2, 50", "late: addi t2, t2, -1", "bnez t2, late", BARRIER,
        "ld a3, 0(t0)", "dmstati a4, 2", "csrr a5, mhartid", "csrr a6, cycle", "out:"]),
    "one ends before the other waits": "\n".join([
        "bnez a0, other", BARRIER, "li t2, 30", "late: addi t2, t2, -1", "bnez t2, late", BARRIER, "j out", "other:",
        BARRIER, "out:"]),
}  # fmt: skip
"""Programs for two cores."""


def random_transfers(seed: int, count: int) -> Program:
    """Transfers of any size, distance and direction, sometimes awaited; what is read may have been written before."""
    draw = random.Random(seed)
    lines = []
    for number in range(count):
        size = draw.choice([draw.randrange(1, 20), draw.randrange(1, 200), 64 * draw.randrange(1, 6)])
        rows = draw.choice([1, 1, draw.randrange(2, 9)])
        steps = [
            draw.choice([size, draw.randrange(size, size + 40), draw.randrange(-250, 250)]) for _ in range(2)
        ]
        ends = []
        for base, half, step in zip(
            draw.choices((SANDBOX, FAR), k=2), draw.sample((0, 1), 2), steps, strict=True
        ):
            # Source and target lie in different halves: a transfer does not read what it writes.
            reach = abs(step) * (rows - 1) + size
            begin = base + half * BYTES // 2 + draw.randrange(BYTES // 2 - reach)
            ends.append(begin - min(0, step) * (rows - 1))
        lines.append(transfer(*ends, size, rows, (steps[0], steps[1])))
        if draw.random() < 0.15:
            lines.append(draw.choice(["wfi", POLL.format(number), "nop\n" * draw.randrange(40)]))
    return executable("\n".join([*lines, "wfi"]))
