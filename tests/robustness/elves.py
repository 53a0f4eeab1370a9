"""Executables and what can be wrong with them."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from functools import cache

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program, Section
from potluck.isa.manifest import SECTION, Buffer, Layer, Manifest, Tensor
from tests.robustness.words import THEMES, sequence

WIDE = (
    [0, 1, 2, 4095, 4096, 4097, 0xFFF, 0x1_0000, 0x1000_0000, 0x1100_0000, 0x8000_0000, 0x8000_FFF8]
    + [(1 << k) + d for k in (16, 20, 24, 30, 31, 32, 33, 40, 47, 48, 62, 63, 64) for d in (-4096, -8, -1, 0, 1)]
)  # fmt: skip
EHDR = {"type": (16, 2), "machine": (18, 2), "version": (20, 4), "entry": (24, 8), "phoff": (32, 8), "shoff": (40, 8),
        "flags": (48, 4), "ehsize": (52, 2), "phentsize": (54, 2), "phnum": (56, 2), "shentsize": (58, 2),
        "shnum": (60, 2), "shstrndx": (62, 2)}  # fmt: skip
PHDR = {"type": (0, 4), "flags": (4, 4), "offset": (8, 8), "vaddr": (16, 8), "paddr": (24, 8), "filesz": (32, 8),
        "memsz": (40, 8), "align": (48, 8)}  # fmt: skip
SHDR = {"name": (0, 4), "type": (4, 4), "flags": (8, 8), "addr": (16, 8), "offset": (24, 8), "size": (32, 8),
        "link": (40, 4), "info": (44, 4), "align": (48, 8), "entsize": (56, 8)}  # fmt: skip
SYMBOL = {"name": (0, 4), "info": (4, 1), "other": (5, 1), "shndx": (6, 2), "value": (8, 8), "size": (16, 8)}

BARE = """
_start: la s0, data
    li s1, 40
1:  ld a1, 0(s0)
    add a2, a2, a1
    sd a2, 8(s0)
    vsetvli t0, s1, e32, m2, ta, ma
    vle32.v v8, (s0)
    vadd.vv v8, v8, v8
    vse32.v v8, (s0)
    addi s1, s1, -1
    bnez s1, 1b
    jal work
    li a0, 0
    li a7, 93
    ecall
work: csrr t0, mhartid
    ret
    .data
data: .zero 600
"""
HTIF = """
_start: la s0, tohost
    la s1, words
    sd s1, 0(s0)
1:  ld t0, 0(s0)
    bnez t0, 1b
    li t1, 1
    sd t1, 0(s0)
2:  j 2b
    .data
    .align 6
tohost: .dword 0
fromhost: .dword 0
words: .dword 64, 1, text, 6, 0, 0, 0, 0
text: .string "hello"
"""
LINUX = """
_start: ld s0, 0(sp)
    li a0, 0
    li a7, 214
    ecall
    mv s1, a0
    li t0, 8192
    add a0, a0, t0
    li a7, 214
    ecall
    sd s1, 0(s1)
    li a0, 1
    la a1, text
    li a2, 6
    li a7, 64
    ecall
    vsetvli t0, zero, e8, m8, ta, ma
    vmv.v.i v8, 3
    vse8.v v8, (s1)
    li a0, 0
    li a7, 93
    ecall
    .data
text: .string "hello"
table: .zero 600
"""


@cache
def bases() -> dict[str, bytes]:
    """Executables without a fault: ours, one with ``tohost``, a Linux process."""
    made = {}
    for name, source, text, data in (("ours", BARE, 0x8000_0000, 0x8000_8000), ("htif", HTIF, 0x8000_0000, 0x8000_8000),
                                     ("linux", LINUX, 0x1_0000, 0x2_0000)):  # fmt: skip
        a = Assembler()
        a.text(source)
        manifest = Manifest()
        if name == "ours":
            manifest = Manifest(
                inputs=[Tensor("x", "float32", [1, 3, 4, 4], "NHWC", 0x8000_A000, 192)],
                outputs=[Tensor("y", "float32", [1, 10], "row", 0x8000_B000, 40)],
                layers=[Layer("conv", "Conv", text, text + 16, 100, "mxfp8")],
                buffers=[Buffer("w", "weight", 0x8000_C000, 64, "e4m3", [64], "row")],
            )
        extra = [Section("weights", 0x8000_C000, bytes(range(64)), writable=False)] if name == "ours" else []
        made[name] = a.assemble(text_base=text, data_base=data).program(manifest, extra).to_bytes()
    for name in ("htif", "linux"):  # as another linker would leave them: nothing tells that we made them
        made[name] = made[name].replace(SECTION.encode(), b".comment".ljust(len(SECTION), b"\0"))
    return made


def _put(data: bytearray, at: int, size: int, value: int) -> None:
    if 0 <= at <= len(data) - size:
        data[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")


def _value(rng: random.Random, data: bytearray) -> int:
    near = rng.choice([len(data), len(data) + 1, len(data) - 1, rng.randrange(len(data) + 1)])
    return rng.choice([rng.choice(WIDE), rng.getrandbits(64), rng.getrandbits(64) >> rng.randrange(64), near])


def _field(rng: random.Random, data: bytearray, base: int, fields: dict[str, tuple[int, int]]) -> None:
    at, size = fields[rng.choice(list(fields))]
    _put(data, base + at, size, _value(rng, data))


def _header(rng: random.Random, data: bytearray) -> None:
    _field(rng, data, 0, EHDR)


def _segment(rng: random.Random, data: bytearray) -> None:
    _field(rng, data, 64 + 56 * rng.randrange(4), PHDR)


def _section(rng: random.Random, data: bytearray) -> None:
    start = struct.unpack_from("<Q", data, 40)[0] if len(data) >= 64 else 0
    _field(rng, data, start + 64 * rng.randrange(8), SHDR)


def _symbol(rng: random.Random, data: bytearray) -> None:
    start = struct.unpack_from("<Q", data, 40)[0] if len(data) >= 64 else 0
    for number in range(9):
        at = start + 64 * number
        if at + 64 <= len(data) and data[at + 4 : at + 8] == b"\2\0\0\0":
            table = struct.unpack_from("<Q", data, at + 24)[0]
            _field(rng, data, table + 24 * rng.randrange(1, 7), SYMBOL)


def _bytes(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.randrange(1, 9)):
        _put(data, rng.randrange(len(data)), 1, rng.getrandbits(8))


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def _grow(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.choice([1, 8, 64, 4096]))


def _copy(rng: random.Random, data: bytearray) -> None:
    """A header or something else over another."""
    size = rng.choice([8, 56, 64])
    source, target = (rng.randrange(max(1, len(data) - size)) for _ in range(2))
    data[target : target + size] = data[source : source + size]


def _code(rng: random.Random, data: bytearray) -> None:
    """Other instructions at the entry or behind it."""
    made = sequence(rng, rng.choice((*THEMES, "noise", "mixed", "code changes")), rng.randrange(1, 9))
    at = 0x1000 + 4 * rng.randrange(0, 24)
    if at + len(made) <= len(data):
        data[at : at + len(made)] = made


def _manifest(rng: random.Random, data: bytearray) -> None:
    """A value of the manifest replaced, at equal length."""
    at, end = data.find(b'{\n "version"'), data.find(b"\n}", data.find(b'{\n "version"'))
    if at < 0 or end < 0:
        return
    size = end + 2 - at
    try:
        found = json.loads(data[at : end + 2])
    except ValueError:  # another mutation was here
        return
    _replace(rng, found)
    made = json.dumps(found).encode()
    if len(made) <= size:
        data[at : end + 2] = made.ljust(size)


def _replace(rng: random.Random, found: dict[str, object] | list[object]) -> None:
    place = rng.choice(list(found) if isinstance(found, dict) else list(range(len(found)))) if found else None
    if place is None:
        return
    inner = found[place]  # type: ignore[index,call-overload]
    if isinstance(inner, (dict, list)) and inner and rng.random() < 0.85:
        _replace(rng, inner)
        return
    strange = [None, -1, 0, 1 << 63, 1 << 70, -(1 << 63), 1.5, "", "object", "float32", [], {}, [1 << 40], True, "U8",
               [-1], [1 << 32, 1 << 32]]  # fmt: skip
    found[place] = rng.choice(strange)  # type: ignore[index,call-overload]


MUTATIONS: list[Callable[[random.Random, bytearray], None]] = [
    _header, _segment, _segment, _section, _section, _symbol, _bytes, _cut, _grow, _copy, _code, _code, _manifest,
]  # fmt: skip


def mutated(rng: random.Random, base: str) -> bytes:
    """A base with one to four mutations."""
    data = bytearray(bases()[base])
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        rng.choice(MUTATIONS)(rng, data)
        if not data:
            break
    return bytes(data)


__all__ = ["Program", "bases", "mutated"]
