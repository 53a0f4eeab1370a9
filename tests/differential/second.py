"""A second opinion on whole programs: QEMU runs what Spike has run, as one Linux executable that prints every state.

Spike and QEMU share no code for instructions, so a mistake that we copied from one of them shows. Each case is a
program of the campaign with one of its states; only those that end normally on Spike are taken (a signal would end all
the others). The driver puts the state into the registers and the sandbox, jumps into the program, whose last ``ecall``
is replaced by a jump back, and writes registers, CSRs and a hash of the sandbox to standard output.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program as Executable
from potluck.isa.elf import Section
from potluck.isa.table import TABLE
from tests.differential.program import OFFSETS, SANDBOX, SANDBOX_BYTES, TABLES, TEXT, Program, tables
from tests.differential.run import Pair

DRIVER, CASES = 0x2000_0000, 0x3000_0000
BACK = TABLES + 0x1_0000
"""Where programs end: a jump from any of them reaches it."""
ENTRY = 64
"""Bytes between the entries of programs, which follow it."""
KEPT = OFFSETS[8]
"""A register that no program writes: what it held is known, so the driver may overwrite it."""
CSRS = ("fcsr", "vcsr", "vl", "vtype", "vstart")
FACTOR = 0x9E37_79B9_7F4A_7C15
"""Of the hash of the sandbox's words: h = h * FACTOR + word."""
MOST_VLEN = 1024
"""QEMU's largest VLEN."""
LEFT_OUT = ("Zvfofp8min", "Zvdot4a8i")
"""Extensions that QEMU 10 lacks; programs with a row of theirs, or with vtype.altfmt, are not given to it.
Neither are fault-only-first loads, of which QEMU 10.0.2 as a Linux process dies where they are cut short, nor
conditional stores, which it lets fail when the value has changed since the reservation, whoever changed it."""
EXTENSIONS = ["zba", "zbb", "zbc", "zbs", "zicond", "zfh", "zfbfmin", "zvfh", "zvfbfmin", "zvfbfwma"]
ALTFMT = 1 << 8
MISTAKEN = ("vfwmaccbf16.vf", "fcvt.s.bf16")
"""QEMU 10.0.2 replaces a scalar that is not NaN-boxed by FP16's NaN, which is a number in BF16."""
UNMASKED = (0x009, 0x00A, 0x00F)
"""vxsat, vxrm and vcsr: QEMU 10.0.2 keeps bits there that do not exist, when an instruction writes them."""


@dataclass(frozen=True)
class Case:
    """A program from one state, and the state that Spike leaves."""

    program: int
    run: int
    x: NDArray[np.uint64]
    f: NDArray[np.uint64]
    v: NDArray[np.uint8]
    csrs: tuple[int, ...]
    memory: int


def suits(program: Program) -> bool:
    """Whether QEMU knows every instruction."""
    known = all(item.insn.extension not in LEFT_OUT for item in program.items)
    names = [item.insn.mnemonic for item in program.items]
    other = any("ff.v" in name or name.startswith("sc.") or name in MISTAKEN for name in names)
    other |= any(item.fields.get("csr") in UNMASKED for item in program.items)
    # At SEW 8 these convert OFP8, which is Zvfofp8min.
    other |= any("cvtbf16" in item.insn.mnemonic and item.context.sew == 8 for item in program.items)
    altfmt = any((item.context.vtype | program.vtype) & ALTFMT for item in program.items)
    return known and not other and not altfmt


def hash_of(memory: NDArray[np.uint8]) -> int:
    """As the driver computes it."""
    words = memory.view(np.uint64)
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.array([1, *[FACTOR] * (words.size - 1)], np.uint64))[::-1]
        return int((words * powers).sum(dtype=np.uint64))


def cases(pair: Pair, runs: int) -> Iterator[Case]:
    """Every run of the loaded programs that ends with its ``ecall`` on Spike."""
    spike = pair.spike
    for number, program in enumerate(pair.programs):
        if not suits(program):
            continue
        for run in range(runs):
            state = program.state(run)
            if pair.sums_nothing(number, state) or pair._run_spike(number, state).what != "ecall":
                continue
            csrs = tuple(spike[name] for name in CSRS)
            memory = hash_of(spike.memory[SANDBOX])
            yield Case(number, run, spike.x.copy(), spike.f.copy(), spike.v.copy(), csrs, memory)


class SecondOpinion:
    """Gives cases of a pair to QEMU.

    Args:
        qemu: Path of ``qemu-riscv64``, 10.0 or later.
        pair: Its programs are loaded.
        folder: For the executable.
    """

    def __init__(self, qemu: str, pair: Pair, folder: Path) -> None:
        assert pair.vlen <= MOST_VLEN, f"QEMU's VLEN ends at {MOST_VLEN}"
        self.qemu, self.pair, self.path = qemu, pair, folder / "cases.elf"
        self.vlenb = pair.vlen // 8
        self.record = 1024 + 32 * self.vlenb + SANDBOX_BYTES
        self.result = 1024 + 32 * self.vlenb

    def differences(self, todo: Sequence[Case]) -> list[str]:
        """What differs from Spike, in words, one entry per case that does.

        A case at which QEMU fails an assertion of its own is passed over: QEMU 10.0.2 as a Linux process does so at
        some vector accesses that cross a page (probe_access_flags).
        """
        flags = ",".join(f"{name}=true" for name in EXTENSIONS)
        cpu = f"rv64,v=true,vlen={self.pair.vlen},elen=64,vext_spec=v1.0,{flags}"
        found: list[str] = []
        while todo:
            self._write(todo)
            done = subprocess.run([self.qemu, "-cpu", cpu, str(self.path)], capture_output=True, timeout=600)
            finished = len(done.stdout) // self.result
            for index, case in enumerate(todo[:finished]):
                raw = np.frombuffer(done.stdout, np.uint8, self.result, index * self.result)
                what = self._compare(case, raw)
                if what:
                    found.append(f"{what}\n{self._show(case)}")
            why = done.stderr.decode(errors="replace")
            if finished < len(todo) and "assertion failed" not in why:
                found.append(f"QEMU ended with {done.returncode} {why.strip()}\n{self._show(todo[finished])}")
            todo = todo[finished + 1 :]
        return found

    def _show(self, case: Case) -> str:
        return f"program {case.program} run {case.run}:\n{self.pair.programs[case.program]}"

    def _compare(self, case: Case, raw: NDArray[np.uint8]) -> str:
        words = raw[:1024].view(np.uint64)
        x, f, rest = words[:32], words[32:64], words[64:].tolist()
        v = raw[1024:].reshape(32, self.vlenb)
        found = []
        for name, got, want in (("x", x, case.x), ("f", f, case.f)):
            for n in np.flatnonzero(got != want).tolist():
                if (name, n) != ("x", KEPT):
                    found.append(f"{name}{n} = {int(got[n]):#x}, Spike {int(want[n]):#x}")
        found += [f"v{n} differs" for n in np.flatnonzero((v != case.v).any(1)).tolist()]
        for name, value, wanted in zip((*CSRS, "memory"), rest, (*case.csrs, case.memory), strict=False):
            if value != wanted:
                found.append(f"{name} = {value:#x}, Spike {wanted:#x}")
        return "; ".join(found)

    def _write(self, todo: Sequence[Case]) -> None:
        text = self.pair.spike.memory[TEXT][: TABLES - TEXT].copy()
        ecall = TABLE["ecall"].match.to_bytes(4, "little")
        for number, program in enumerate(self.pair.programs):
            end = self.pair.starts[number] - TEXT + len(program.encode()) - 4
            assert text[end : end + 4].tobytes() == ecall
            jump = TABLE["jal"].encode({"rd": 0, "off": BACK - TEXT - end})
            text[end : end + 4] = np.frombuffer(jump.to_bytes(4, "little"), np.uint8)
        records = b"".join(self._record(case) for case in todo)
        driver = Assembler()
        self._emit(driver, len(todo))
        code = driver.assemble(text_base=DRIVER)
        edge = self._edge(code.symbols["back"])
        sections = [
            Section(".driver", DRIVER, code.text, executable=True, writable=False),
            Section(".text", TEXT, text.tobytes(), executable=True, writable=False),
            Section(".tables", TABLES, tables(self.pair.vlen).tobytes(), writable=True),
            Section(".edge", BACK, edge, executable=True, writable=False),
            Section(".sandbox", SANDBOX, bytes(SANDBOX_BYTES), writable=True),
            Section(".cases", CASES, records, writable=True),
            Section(".result", RESULT, bytes(4096 + self.result), writable=True),
        ]
        Executable(sections, {}, DRIVER).save(self.path)
        os.chmod(self.path, self.path.stat().st_mode | stat.S_IXUSR)

    def _edge(self, back: int) -> bytes:
        """Where programs end, then an entry of `ENTRY` bytes for each: it gives the last register its value."""
        a = Assembler()
        a("li", f"x{KEPT}", back)
        a("jr", f"x{KEPT}")
        code = a.assemble(text_base=BACK).text
        made = code + bytes(ENTRY - len(code))
        for number, (program, start) in enumerate(zip(self.pair.programs, self.pair.starts, strict=True)):
            a = Assembler()
            a("li", f"x{KEPT}", int(program.state(0).x[KEPT]))
            code = a.assemble(text_base=0).text
            place = BACK + ENTRY * (number + 1)
            jump = TABLE["jal"].encode({"rd": 0, "off": start - place - len(code)})
            code += jump.to_bytes(4, "little")
            made += code + bytes(ENTRY - len(code))
        return made

    def _record(self, case: Case) -> bytes:
        """x, f, CSRs and the program's address (1024 bytes), v, the sandbox."""
        state = self.pair.programs[case.program].state(case.run)
        words = np.zeros(128, np.uint64)
        words[:32], words[32:64] = state.x, state.f
        words[64:69] = (state.fcsr, state.vcsr, state.vl, state.vtype, BACK + ENTRY * (case.program + 1))
        return words.tobytes() + state.v.tobytes() + state.memory.tobytes()

    def _emit(self, a: Assembler, count: int) -> None:
        """The driver; s registers hold nothing across a program, so the place in the cases is in memory."""
        a.text(_LOAD.format(result=RESULT, cases=CASES, sandbox=SANDBOX, bytes=SANDBOX_BYTES, count=count,
                            vectors=8 * self.vlenb))  # fmt: skip
        for n in range(32):
            a("fld", f"f{n}", f"{256 + 8 * n}(t6)")
        for n in range(1, 31):
            a("ld", f"x{n}", f"{8 * n}(t6)")
        a.text(
            f"li x{KEPT}, {RESULT}\nld x31, 8(x{KEPT})\nld x{KEPT}, {8 * 68}(x31)\nld x31, 248(x31)\njr x{KEPT}"
        )
        a.label("back")
        a.text(f"li x{KEPT}, {RESULT + 1024}")
        for n in range(32):
            if n != KEPT:
                a("sd", f"x{n}", f"{8 * n}(x{KEPT})")
            a("fsd", f"f{n}", f"{256 + 8 * n}(x{KEPT})")
        a.text(_STORE.format(result=RESULT, sandbox=SANDBOX, bytes=SANDBOX_BYTES, factor=FACTOR, size=self.result,
                             vectors=8 * self.vlenb, record=self.record))  # fmt: skip


RESULT = 0x2800_0000
"""Cases left, address of the present one; a word for a store that drops the reservation; from 1024 on what is
written after each."""
_LOAD = """
li t0, {result}
li t1, {count}
sd t1, 0(t0)
li t1, {cases}
sd t1, 8(t0)
again:
li t0, {result}
ld t6, 8(t0)
li t1, 1024
add t5, t6, t1
li t4, {vectors}
vl8re8.v v0, (t5)
add t5, t5, t4
vl8re8.v v8, (t5)
add t5, t5, t4
vl8re8.v v16, (t5)
add t5, t5, t4
vl8re8.v v24, (t5)
add t5, t5, t4
li t0, {sandbox}
li t1, {bytes}
add t1, t1, t0
copy:
ld t2, 0(t5)
ld t3, 8(t5)
sd t2, 0(t0)
sd t3, 8(t0)
addi t5, t5, 16
addi t0, t0, 16
bltu t0, t1, copy
li t0, {result}
addi t0, t0, 16
sc.d zero, zero, (t0)
ld t0, 536(t6)
ld t1, 528(t6)
vsetvl zero, t1, t0
ld t0, 520(t6)
csrw vcsr, t0
ld t0, 512(t6)
csrw fcsr, t0
"""
_STORE = """
li t6, {result}
addi t6, t6, 1024
csrr t0, fcsr
sd t0, 512(t6)
csrr t0, vcsr
sd t0, 520(t6)
csrr t0, vl
sd t0, 528(t6)
csrr t0, vtype
sd t0, 536(t6)
csrr t0, vstart
sd t0, 544(t6)
csrw vstart, zero
li t5, 1024
add t5, t5, t6
li t4, {vectors}
vs8r.v v0, (t5)
add t5, t5, t4
vs8r.v v8, (t5)
add t5, t5, t4
vs8r.v v16, (t5)
add t5, t5, t4
vs8r.v v24, (t5)
li t0, {sandbox}
li t1, {bytes}
add t1, t1, t0
li t2, 0
li t3, {factor}
hash:
ld t4, 0(t0)
mul t2, t2, t3
add t2, t2, t4
addi t0, t0, 8
bltu t0, t1, hash
sd t2, 552(t6)
li a0, 1
mv a1, t6
li a2, {size}
li a7, 64
ecall
li t0, {result}
ld t1, 8(t0)
li t2, {record}
add t1, t1, t2
sd t1, 8(t0)
ld t1, 0(t0)
addi t1, t1, -1
sd t1, 0(t0)
bgtz t1, again
li a0, 0
li a7, 93
ecall
"""
