"""Random instruction words: uniform ones, rows of the table with random or damaged fields, and what lies between."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache

from potluck.isa.context import legal_vtype
from potluck.isa.decode import length
from potluck.isa.insn import Insn, Kind
from potluck.isa.table import TABLE
from potluck.sim.code import FENCE_I
from potluck.sim.jit.control import KNOWN_CSRS

ECALL = TABLE["ecall"].match
LOADS_AND_STORES = (Kind.LOAD, Kind.STORE, Kind.ATOMIC)
CSRS = sorted(KNOWN_CSRS)
VTYPES = [
    code for code in range(512) if legal_vtype(code) and not code & 0xC0
]  # policies change nothing here


@cache
def rows(theme: str) -> tuple[Insn, ...]:
    """The rows that a theme draws from."""
    chosen: dict[str, Callable[[Insn], bool]] = {
        "any": lambda row: True,
        "compressed": lambda row: row.kind is Kind.COMPRESSED,
        "scalar memory": lambda row: row.kind in LOADS_AND_STORES,
        "vector memory": lambda row: row.kind in (Kind.VLOAD, Kind.VSTORE),
        "vector": lambda row: row.is_vector or row.kind is Kind.VSET,
        "permutations": lambda row: row.kind in (Kind.PERMUTE, Kind.SCAN, Kind.MASK, Kind.REDUCE),
        "control": lambda row: row.kind in (Kind.BRANCH, Kind.JUMP, Kind.CSR, Kind.VSET, Kind.SYSTEM),
        "machine": lambda row: row.extension in ("VMXDOTP", "Xdma", "Xf8") or row.kind is Kind.SYSTEM,
    }
    # A fence.i anywhere makes every text one that changes: it belongs to the theme that is about that.
    return tuple(row for row in TABLE.values() if chosen[theme](row) and row.mnemonic != "fence.i")


THEMES = (
    "any",
    "compressed",
    "scalar memory",
    "vector memory",
    "vector",
    "permutations",
    "control",
    "machine",
)


def word(rng: random.Random, theme: str) -> tuple[int, int]:
    """An instruction word of a theme, and its bytes."""
    row = rng.choice(rows(theme))
    fields = {piece.name: _field(rng, row, piece.name) for piece in row.pieces}
    made = row.encode(fields)
    if rng.random() < 0.04:  # a damaged one
        for _ in range(rng.randrange(1, 3)):
            made ^= 1 << rng.randrange(8 * row.length)
    if row.length == 2:
        made &= 0xFFFF
        return (made, 2) if made & 3 != 3 else (made | rng.getrandbits(16) << 16, 4)
    return made, row.length


def _field(rng: random.Random, row: Insn, name: str) -> int:
    if name == "vtypei":
        return rng.choice(VTYPES) if rng.random() < 0.9 else rng.getrandbits(11)
    if name == "csr":
        return rng.choice(CSRS) if rng.random() < 0.9 else rng.getrandbits(12)
    if name in ("vd", "vs1", "vs2", "vs3"):
        return rng.randrange(32) & -rng.choice((1, 1, 2, 4, 8, 8))
    if name == "vm":
        return int(rng.random() < 0.6)
    if name == "rm":
        return rng.choice((0, 1, 2, 3, 4, 7, 7, 7, 7, 5))
    if name == "off" and rng.random() < 0.8:  # near by, in the middle of an instruction as well
        return 2 * rng.randrange(-24, 25)
    if name == "imm" and rng.random() < 0.5:
        return rng.choice((0, 0, 8, -8, 1, -1, 2047, -2048))
    return rng.getrandbits(64)


def sequence(rng: random.Random, theme: str, count: int) -> bytes:
    """About ``count`` instructions and often an ``ecall``; theme ``noise`` is random bits."""
    ending = ECALL.to_bytes(4, "little") if rng.random() < 0.5 else b""
    return _sequence(rng, theme, count) + ending


def _sequence(rng: random.Random, theme: str, count: int) -> bytes:
    if theme == "noise":
        return _noise(rng, count)
    found = bytearray()
    for _ in range(count):
        if theme == "code changes" and rng.random() < 0.35:
            found += _change(rng)
            continue
        chosen = rng.choice(THEMES) if theme in ("mixed", "code changes") else theme
        made, size = word(rng, chosen if rng.random() < 0.8 else "any")
        found += made.to_bytes(size, "little")
    return bytes(found)


def _noise(rng: random.Random, count: int) -> bytes:
    """Random words of 16 and 32 bits; half of the latter with an opcode that some row has."""
    found = bytearray()
    opcodes = _opcodes()
    for _ in range(count):
        bits = rng.getrandbits(32)
        if rng.random() < 0.5:
            bits = bits & ~0x7F | rng.choice(opcodes)
        found += bits.to_bytes(4, "little")[: min(4, length(bits & 0xFFFF))]
    return bytes(found)


@cache
def _opcodes() -> Sequence[int]:
    return sorted({row.match & 0x7F for row in TABLE.values() if row.length == 4})


def _change(rng: random.Random) -> bytes:
    """Stores into nearby code, and fences: t0 (x5) is made the address of what follows."""
    auipc = TABLE["auipc"].encode({"rd": 5, "imm": 0})
    store = TABLE[rng.choice(("sb", "sh", "sw", "sd"))]
    imm = 4 * rng.randrange(0, 16) + rng.choice((0, 0, 0, 2, 1))
    made = [auipc, store.encode({"rs1": 5, "rs2": rng.randrange(32), "imm": imm})]
    if rng.random() < 0.6:
        made.append(FENCE_I)
    return b"".join(one.to_bytes(4, "little") for one in made)
