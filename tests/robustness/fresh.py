"""Executions that each need a machine of their own: mutated executables, and processes with hostile system calls."""

from __future__ import annotations

import random
import struct
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program, read
from potluck.isa.errors import PotluckError, ProgramError, TrapError
from potluck.isa.machine import Machine, load_machine
from potluck.sim.cluster import Cluster
from potluck.sim.linux.process import Environment
from potluck.sim.linux.syscalls import CALLS, QUIET, REFUSED
from potluck.sim.simulate import summarize
from tests.robustness.arena import Escape, Outcome, guard
from tests.robustness.elves import WIDE

LIMIT = 400
SECRET = b"what lies beside the root must stay unseen"
CALLER = """
_start: la s0, table
1:  ld a0, 0(s0)
    ld a1, 8(s0)
    ld a2, 16(s0)
    ld a3, 24(s0)
    ld a4, 32(s0)
    ld a5, 40(s0)
    ld a7, 48(s0)
    addi s0, s0, 56
    ecall
    bnez a7, 1b
    li a0, 0
    li a7, 93
    ecall
    .data
table: .zero 800
path: .string "file"
    .string "/../secret"
    .string "link"
    .string "new"
strings: .zero 6000
"""


@cache
def machine(name: str, dram: int) -> Machine:
    """A preset with little DRAM."""
    found = load_machine(name)
    return found.model_copy(update={"memory": found.memory.model_copy(update={"dram_bytes": dram})})


def execute(program: Program, where: Machine, timed: bool, environment: Environment | None = None) -> Outcome:
    """Run from the start to an end, and sum up.

    Raises:
        Escape: a trap without pc.
    """
    try:
        cluster = Cluster(program, where, timed, LIMIT, 1, environment=environment)
        guard(cluster)
        tensors = [] if cluster.kernel else program.manifest.inputs
        inputs: dict[str, Any] = {}
        for tensor in tensors:
            if np.prod([max(abs(n), 1) for n in tensor.shape], dtype=float) < 1e6:
                inputs[tensor.name] = np.zeros([max(n, 0) for n in tensor.shape], np.float32)
        outputs = cluster.run(inputs)
        summarize(cluster, outputs, "timed" if timed else "functional")
        return Outcome("exit", 0, cluster.harts[0].instructions, str(cluster.exit_code))
    except TrapError as error:
        if error.pc is None:
            raise Escape(f"a trap that names no pc: {error}") from error
        return Outcome("trap", error.pc, 0, error.message, error.address)
    except PotluckError as error:
        limit = "without an end" in error.message
        return Outcome("limit" if limit else "error", getattr(error, "pc", None) or 0, 0, error.message)


def mutant(data: bytes, timed: bool) -> Outcome:
    """Read an executable and run it: refused, or as :func:`execute`."""
    try:
        program = read(data)
    except ProgramError as error:
        return Outcome("refused", 0, 0, error.message)
    linux = program.foreign and "tohost" not in program.symbols
    small = machine("rvv-generic", 12 << 20) if linux else machine("spatz-mx", 1 << 17)
    return execute(program, small, timed)


@cache
def caller() -> tuple[Program, dict[str, int]]:
    """A process that makes the calls of a table, and its symbols."""
    a = Assembler()
    a.text(CALLER)
    made = a.assemble(text_base=0x1_0000, data_base=0x2_0000).program()
    return made, made.symbols


def _argument(rng: random.Random, symbols: dict[str, int]) -> int:
    table = symbols["table"]
    chosen = rng.randrange(8)
    if chosen == 0:
        return rng.choice(
            [*range(8), (1 << 64) - 1, (1 << 64) - 100, 1 << 31, 1 << 32, 93, 0o101, 0x22, 0x32, 0x10]
        )
    if chosen == 1:
        return rng.choice(WIDE) & (1 << 64) - 1
    if chosen == 2:
        return symbols["path"] + rng.choice((0, 5, 16, 21))
    if chosen == 3:
        return symbols["strings"] + rng.randrange(6000)
    if chosen == 4:
        return rng.choice(
            [0x1_0000, 0x2_0000, 0x2_2000, 0xBF_F000, 0xC0_0000, 0xBF_FFF8, 0x100_0000]
        ) + rng.randrange(-9, 9)
    if chosen == 5:
        return 4096 * rng.randrange(0, 3300)
    return rng.choice([0, 1, table, rng.getrandbits(64), rng.getrandbits(16)])


def calling(rng: random.Random) -> Program:
    """The caller with a random table."""
    program, symbols = caller()
    known = sorted(set(CALLS) | set(QUIET) | set(REFUSED))
    table = bytearray()
    for _ in range(rng.randrange(2, 14)):
        number = rng.choice(known) if rng.random() < 0.93 else rng.getrandbits(rng.choice((9, 64)))
        if number in (93, 94) and rng.random() < 0.8:
            number = 222
        arguments = [_argument(rng, symbols) for _ in range(6)]
        table += struct.pack("<7Q", *arguments, number)
    sections = []
    for section in program.sections:
        data = bytearray(section.data)
        if not section.executable:
            data[: len(table)] = table
            vectors = b"".join(
                struct.pack("<QQ", _argument(rng, symbols), _argument(rng, symbols)) for _ in range(300)
            )
            at = symbols["strings"] - section.address
            data[at : at + len(vectors)] = vectors
        sections.append(
            type(section)(section.name, section.address, bytes(data), section.executable, section.writable)
        )
    return Program(sections, program.symbols, program.entry, program.manifest, foreign=True)


class Root:
    """A directory that a process sees as /, and one beside it that it must not."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="robustness-")
        top = Path(self._temporary.name)
        self.secret, self.root = top / "secret", top / "root"
        self.secret.write_bytes(SECRET)
        self.root.mkdir()
        (self.root / "file").write_bytes(bytes(range(256)) * 20)
        (self.root / "link").symlink_to(self.secret)

    def run(self, rng: random.Random, timed: bool) -> Outcome:
        """One process with random calls.

        Raises:
            Escape: it saw or changed what lies outside its root.
        """
        environment = Environment(root=self.root, stdin=b"input of the program\n", seed=rng.getrandbits(32))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = execute(calling(rng), machine("rvv-generic", 12 << 20), timed, environment)
        if self.secret.read_bytes() != SECRET or len(list(self.secret.parent.iterdir())) != 2:
            raise Escape("a process changed a file outside its root")
        return outcome

    def close(self) -> None:
        """Remove it."""
        self._temporary.cleanup()
