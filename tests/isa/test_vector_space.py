"""The table against LLVM's disassembler over the whole encoding space of V 1.0: no instruction missing, none extra.

LLVM 14 knows V 1.0 as ratified and no later vector extension, so the words that it takes are V 1.0.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from potluck.isa.decode import decoder

LLVM_MC = shutil.which("llvm-mc") or shutil.which("llvm-mc-14")
OP_V, LOAD_FP, STORE_FP = 0x57, 0x07, 0x27
V = "V"


def arithmetic() -> Iterator[int]:
    """Every funct6, vm, vs1 field and funct3 but vset's, for a zero and a nonzero vs2."""
    for funct6 in range(64):
        for vm in range(2):
            for funct3 in range(7):
                for vs1 in range(32):
                    for vs2 in (0, 8):
                        yield funct6 << 26 | vm << 25 | vs2 << 20 | vs1 << 15 | funct3 << 12 | 16 << 7 | OP_V


def memory() -> Iterator[int]:
    """Every nf, mew, mop, vm, lumop or rs2 and width."""
    for top in range(4096):
        for width in (0, 5, 6, 7):
            for opcode in (LOAD_FP, STORE_FP):
                yield top << 20 | 10 << 15 | width << 12 | 16 << 7 | opcode


def llvm_mnemonics(words: list[int]) -> list[str | None]:
    """What LLVM reads in each word."""
    source = "\n".join(" ".join(f"{byte:#04x}" for byte in word.to_bytes(4, "little")) for word in words)
    command = [str(LLVM_MC), "-disassemble", "-triple=riscv64", "-mattr=+v,+f,+d", "-M", "no-aliases"]
    done = subprocess.run(command, input=source, capture_output=True, text=True)
    bad = {int(line) for line in re.findall(r"<stdin>:(\d+):\d+: warning: invalid instruction", done.stderr)}
    texts = iter([line.split()[0] for line in done.stdout.splitlines() if line.startswith("\t") and
                  not line.startswith("\t.")])  # fmt: skip
    return [None if number in bad else next(texts) for number in range(1, len(words) + 1)]


@pytest.mark.skipif(LLVM_MC is None, reason="needs llvm-mc")
@pytest.mark.parametrize("space", [arithmetic, memory])
def test_every_word_means_what_llvm_says(space: object) -> None:
    words = list(space())  # type: ignore[operator]
    missing: dict[str, str] = {}
    extra: dict[str, str] = {}
    for word, theirs in zip(words, llvm_mnemonics(words), strict=True):
        found = decoder().decode(word)
        if found and found[0].extension != V:
            continue
        ours = found[0].mnemonic if found else None
        if theirs and theirs != ours:
            missing[theirs] = f"{word:#010x} is {ours} here"
        elif ours and not theirs:
            extra[ours] = f"{word:#010x}"
    assert not missing
    assert not extra
