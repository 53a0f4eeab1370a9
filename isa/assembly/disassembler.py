"""Instruction words as assembly text, made from the same rows as everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from potluck.isa.decode import decoder
from potluck.isa.operands import format_operands, order_suffix


def disassemble_word(word: int, encoding: str = "spatz") -> str:
    """One instruction as text that the assembler reads back to the same word; ``.word`` if it is none.

    A word below 2^16 whose low two bits are not 11 is a compressed one.
    """
    found = decoder(encoding).decode(word)
    if found is None:
        if word & 3 != 3 and word < 1 << 16:
            return f".half {word:#06x}"
        return f".word {word:#010x}" if word < 1 << 32 else f".dword {word:#018x}"
    insn, values = found
    operands = format_operands(insn, values)
    return f"{insn.mnemonic}{order_suffix(values)} {operands}".rstrip()


def disassemble(
    text: bytes,
    base: int = 0,
    symbols: Mapping[str, int] | None = None,
    comments: Mapping[int, str] | None = None,
    encoding: str = "spatz",
) -> str:
    """A listing: address, word and text of every instruction, labels, and the targets of branches by name.

    ``encoding`` is a machine's ``isa.vmxdotp_encoding``.
    """
    return "\n".join(listing(text, base, symbols or {}, comments or {}, encoding))


def listing(
    text: bytes, base: int, symbols: Mapping[str, int], comments: Mapping[int, str], encoding: str = "spatz"
) -> Iterator[str]:
    """Lines of :func:`disassemble`."""
    labels: dict[int, list[str]] = {}
    for name, address in symbols.items():
        labels.setdefault(address, []).append(name)
    at = 0
    while at < len(text) - 1:
        pc = base + at
        count = min(decoder(encoding).length(text[at]), len(text) - at)
        word = int.from_bytes(text[at : at + count], "little")
        yield from (f"\n{name}:" for name in labels.get(pc, ()))
        if pc in comments:
            yield f"                         # {comments[pc]}"
        line = f"{pc:12x}: {word:0{2 * count}x}{' ' * (11 - 2 * count)}{disassemble_word(word, encoding)}"
        found = decoder(encoding).decode(word)
        if found and "off" in found[1]:
            target = pc + found[1]["off"]
            line += f"  # {target:x}" + "".join(f" <{name}>" for name in labels.get(target, [])[:1])
        yield line
        at += count
