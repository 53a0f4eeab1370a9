"""A random program: what is executed, from which state, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from potluck.isa.assembly.disassembler import disassemble_word
from potluck.isa.context import Context
from potluck.isa.insn import Insn
from potluck.isa.table import TABLE
from tests.differential import values

SANDBOX, SANDBOX_BYTES = 0x1000_0000, 1 << 16
TEXT, TEXT_BYTES = 0x8000_0000, 1 << 20
TABLES = TEXT + TEXT_BYTES // 2
TABLE_BYTES = 4096  # eight registers at VLEN 4096
OFFSETS = {
    8: 20,
    16: 21,
    32: 22,
    64: 23,
}  # element width of offsets -> register with the address of their table
CORNERS = {16: 25, 32: 26, 64: 27}  # width of corner values -> register with the address of their table
STACK, BASES, END = 2, (8, 9), 24
STRIDE, WILD_STRIDE = 18, 19
COUNTERS = (28, 15)  # of an outer and an inner loop
RESERVED = (STACK, *BASES, STRIDE, WILD_STRIDE, END, *OFFSETS.values(), *CORNERS.values(), *COUNTERS)
ECALL = TABLE["ecall"].match


@dataclass(frozen=True, slots=True)
class Item:
    """One instruction; ``context`` is what it was made for.

    Attributes:
        skip: how many of the items that follow a branch jumps over.
        loop: number of the loop that begins behind this item, which sets its counter.
        back: number of the loop that this branch or jump repeats.
        wild: drawn without regard to legality.
    """

    insn: Insn
    fields: dict[str, int]
    context: Context
    skip: int = 0
    loop: int = 0
    back: int = 0
    wild: bool = False


@dataclass(frozen=True)
class State:
    """Registers and memory before a program; ``vtype`` as in the CSR."""

    x: NDArray[np.uint64]
    f: NDArray[np.uint64]
    v: NDArray[np.uint8]
    memory: NDArray[np.uint8]
    vl: int
    vtype: int
    fcsr: int
    vcsr: int


@dataclass(frozen=True)
class Program:
    """Items and the context they begin in; its states follow from (seed, number, run)."""

    items: tuple[Item, ...]
    vtype: int
    frm: int
    vlen: int
    seed: int
    number: int
    reads_flags: bool = True

    def encode(self) -> bytes:
        """The code, ended by (reading fcsr and) an ``ecall``."""
        data = bytearray()
        for item, fields in self._with_offsets():
            data += item.insn.encode(fields).to_bytes(item.insn.length, "little")
        if self.reads_flags:
            read = TABLE["csrrs"].encode({"rd": 5, "csr": 3, "rs1": 0})
            data += read.to_bytes(4, "little")
        return bytes(data + ECALL.to_bytes(4, "little"))

    def _with_offsets(self) -> Iterator[tuple[Item, dict[str, int]]]:
        """Items with the distances of their jumps, which depend on what the shrinker has left between."""
        sizes = [item.insn.length for item in self.items]
        begins = {item.loop: index + 1 for index, item in enumerate(self.items) if item.loop}
        for index, item in enumerate(self.items):
            if "off" not in item.fields:
                yield item, item.fields
            elif begins.get(item.back, index + 1) <= index:
                yield item, item.fields | {"off": -sum(sizes[begins[item.back] : index])}
            else:
                yield item, item.fields | {"off": sum(sizes[index : index + 1 + item.skip])}

    def state(self, run: int) -> State:
        """Registers and memory that a run begins with."""
        rng = values.generator(self.seed, self.number, run)
        vlenb = self.vlen // 8
        kinds = rng.integers(0, 6, 32)
        x = values.image(rng, 256, 64).view(np.uint64).copy()
        x[kinds == 0] = rng.integers(0, 2 * self.vlen, 32, np.uint64)[kinds == 0]
        words = values.image(rng, 128, 32).view(np.int32).astype(np.int64).view(np.uint64)
        x[kinds == 1] = words[kinds == 1]
        x[0] = 0
        x[STACK] = x[BASES[0]] = SANDBOX + SANDBOX_BYTES // 2
        x[BASES[1]] = SANDBOX + SANDBOX_BYTES // 2 + 64 * int(rng.integers(-8, 9))
        x[STRIDE] = 8 * int(rng.integers(-3, 4)) & (1 << 64) - 1
        x[WILD_STRIDE] = int(rng.choice([1, 8191, 1 << 40])) * int(rng.choice([-1, 1])) & (1 << 64) - 1
        x[END] = SANDBOX + SANDBOX_BYTES - 8 * int(rng.integers(1, vlenb))
        for place, register in enumerate([*OFFSETS.values(), *CORNERS.values()]):
            x[register] = TABLES + TABLE_BYTES * place
        f = _floats(rng)
        v = np.concatenate([values.image(rng, 4 * vlenb, int(w)) for w in rng.choice([8, 16, 32, 64], 8)])
        memory = np.concatenate([values.image(rng, 4096, int(w)) for w in rng.choice([8, 16, 32, 64], 16)])
        flags = int(rng.choice([0, 0, rng.integers(0, 32)]))
        vlmax = Context(self.vtype).vlmax(self.vlen)
        vl = int(rng.choice([0, 1, vlmax, vlmax, max(vlmax - 1, 0), rng.integers(0, vlmax + 1)]))
        return State(
            x, f, v.reshape(32, vlenb), memory, vl, self.vtype, self.frm << 5 | flags, int(rng.integers(0, 8))
        )

    def __str__(self) -> str:
        lines = []
        for item, fields in self._with_offsets():
            word = item.insn.encode(fields)
            lines.append(f"    {disassemble_word(word):44} # {word:#0{2 + 2 * item.insn.length}x}")
        return "\n".join(lines)


def _floats(rng: np.random.Generator) -> NDArray[np.uint64]:
    """Registers with numbers of all widths, most of them boxed as they must be."""
    made = []
    for bits in (16, 32, 64):
        raw = values.image(rng, 4 * bits, bits).view(f"u{bits // 8}").astype(np.uint64)
        made.append(raw | np.uint64((1 << 64) - (1 << bits)) * (rng.random(32) < 0.9).astype(np.uint64))
    return np.choose(rng.integers(0, 3, 32), made)


def tables(vlen: int) -> NDArray[np.uint8]:
    """Memory at TABLES: offsets of every element width (multiples of 8 inside the sandbox), then corner values."""
    rng = values.generator(0x7AB1E5, vlen)
    parts = []
    for bits in OFFSETS:
        most = min(1 << bits, SANDBOX_BYTES // 4)
        offsets = rng.integers(0, most // 8, TABLE_BYTES * 8 // bits) * 8
        parts.append(offsets.astype(f"u{bits // 8}").view(np.uint8))
    parts += [values.image(rng, TABLE_BYTES, bits) for bits in CORNERS]
    return np.concatenate(parts)
