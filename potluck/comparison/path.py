"""Which instructions a program multiplies with, read from its code."""

from __future__ import annotations

import re

from potluck.isa.elf import Program

_LINE = re.compile(r"^\s*([0-9a-f]+): [0-9a-f]+\s+(\S+)")
MULTIPLIES = re.compile(r"v\w*(?:macc|nmsac|madd|dot)\w*\..*|v\w*dot\w*|vcpop\..*|fmadd\..*")
"""Instructions that add products (of bits, by counting) to sums."""


def instructions(program: Program, encoding: str = "spatz") -> dict[str, tuple[str, ...]]:
    """Multiplying instructions of each layer that multiplies, in the order of its code.

    Where there are dot products, others belong to the quantizer that ends the layer's tiles.

    Args:
        program: With its manifest.
        encoding: The machine's ``isa.vmxdotp_encoding``.
    """
    found = []
    for line in program.disassemble(encoding).splitlines():
        match = _LINE.match(line)
        if match and MULTIPLIES.fullmatch(match[2]):
            found.append((int(match[1], 16), match[2]))
    made: dict[str, tuple[str, ...]] = {}
    for layer in program.manifest.layers:
        if layer.macs:
            own = dict.fromkeys(name for pc, name in found if layer.start <= pc < layer.end)
            dots = [name for name in own if name.startswith("vmxdotp")]
            made[layer.name] = (*made.get(layer.name, ()), *(dots or own))
    return made


def summary(program: Program, encoding: str = "spatz") -> str:
    """Instructions with their share of multiply-accumulates: ``vmxdotp.ww 97 %, vfmacc.vf 3 %``."""
    of = instructions(program, encoding)
    shares: dict[str, int] = {}
    for layer in program.manifest.layers:
        if layer.macs:
            name = "+".join(of[layer.name]) or "scalar"
            shares[name] = shares.get(name, 0) + layer.macs
    total = sum(shares.values())
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    if len(ordered) == 1:
        return ordered[0][0]
    return ", ".join(
        f"{name} {100 * macs / total:.{0 if macs > 0.01 * total else 1}f} %" for name, macs in ordered
    )
