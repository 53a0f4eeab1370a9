"""The second tier's loops: which path is compiled, and what the driver has to know of it.

A hot loop's path is recorded by going along it once, block by block. Its descriptor tells the driver
(:func:`potluck.sim.driver.run_loop`) what the first tier would have written down for a turn, and for the part of one
that a way out leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from potluck.isa.insn import Kind
from potluck.sim import state as st
from potluck.sim.jit.loop import AFTER, COLUMNS, MEMORY, SLOT, Exit, Loop, Member, NotTaken, name_of
from potluck.sim.jit.loop_templates import EMITTERS

if TYPE_CHECKING:
    from potluck.sim.blocks import Block

# Words of a descriptor. The blocks' words follow, then those of the exits.
(
    L_FUNCTION, L_ROWS, L_HEAD, L_VL, L_BLOCKS, L_INSTRUCTIONS, L_NEXT, L_OFF, L_ENTERED, L_TURNS,
) = range(10)  # fmt: skip
L_WORDS = 10
# Of a block of the path: its number, whether its branch was taken, vl, the key of its access classes, their address.
B_NUMBER, B_TAKEN, B_VL, B_KEY, B_CODES, B_LENGTH = range(6)
B_WORDS = 6
# Of an exit: its kind, block of the path, row, memory instructions before it, their key.
E_KIND, E_BLOCK, E_ROW, E_SLOTS, E_KEY = range(5)
E_WORDS = 5

HOT = 1 << 8  # executions of a branch from which on it may close a loop that is worth a look,
LOAD = 1 << 17  # instructions of its block that were executed then,
COMPILE = 1 << 20  # and those of the loop from which on one is compiled that never was
NEVER = 1 << 62
MOST_BLOCKS = 64
MOST_MEMBERS = 1024
MOST_UNROLLED = 512  # instructions of a path through inner loops; longer ones are worth their own functions
MOST_VERSIONS = 4  # of one loop, by vl


@dataclass(frozen=True, slots=True)
class Step:
    """One block of a recorded path: its number, vl at entry and the access classes found in it."""

    number: int
    vl: int
    codes: bytes


class Path:
    """A loop's path, from its head to the branch back.

    Args:
        blocks: of the path.
        steps: what was recorded of them.
        vlenb: bytes of a vector register.
    """

    def __init__(self, blocks: list[Block], steps: list[Step], vlenb: int) -> None:
        self.blocks, self.steps, self.vlenb = blocks, steps, vlenb
        self.numbers = frozenset(step.number for step in steps)
        self.head = steps[0].number
        self.length = sum(len(block.insns) for block in blocks)
        self.refused = False  # whether the first tier has to run it
        self.name = ""
        self.members: list[Member] = []
        try:
            self.members = _members(blocks, steps)
            self.name = name_of(self.members, vlenb)
        except NotTaken:
            self.refused = True

    def loop(self) -> Loop:
        """Its code.

        Raises:
            NotTaken: the first tier has to run it.
        """
        return Loop(self.members, self.vlenb, self.name, EMITTERS)


class Descriptor:
    """What the driver has to know of a compiled loop.

    Args:
        path: its path.
        function: its address.
        exits: of the function.
        following: address of the descriptor for another vl, 0: there is none.
    """

    def __init__(self, path: Path, function: int, exits: list[Exit], following: int) -> None:
        self.path = path
        self.rows = _rows(path.blocks)
        self.codes = np.frombuffer(b"".join(step.codes for step in path.steps), np.uint8).copy()
        codes = self.codes.ctypes.data
        words = [
            function, self.rows.ctypes.data, path.head, path.steps[0].vl, len(path.steps), path.length, following,
            0, 0, 0,
        ]  # fmt: skip
        place = 0
        for number, (step, block) in enumerate(zip(path.steps, path.blocks, strict=True)):
            place += len(block.insns)
            last = path.members[place - 1]
            taken = last.variant.insn.kind is Kind.JUMP or (
                last.variant.insn.kind is Kind.BRANCH and last.way
            )
            slots = sum(variant.insn.kind in MEMORY for variant in block.variants)
            words += [
                step.number, int(taken), step.vl, _key(step.codes, slots), codes + number * st.MAX_CODES,
                len(block.insns),
            ]  # fmt: skip
        places = [(b, row) for b, block in enumerate(path.blocks) for row in range(len(block.insns))]
        for leaving in exits:
            at, row = places[leaving.member]
            slots = sum(variant.insn.kind in MEMORY for variant in path.blocks[at].variants[:row])
            row += leaving.kind == AFTER
            words += [leaving.kind, at, row, slots, _key(path.steps[at].codes, slots)]
        self.words = np.array(words, np.int64)
        self.address: int = self.words.ctypes.data

    @property
    def turns(self) -> int:
        """How often the loop was gone through."""
        return int(self.words[L_TURNS])


def _members(blocks: list[Block], steps: list[Step]) -> list[Member]:
    """The path's instructions.

    Raises:
        NotTaken: a path that no function can be made of.
    """
    unrolled = len({step.number for step in steps}) < len(steps)
    if sum(len(block.insns) for block in blocks) > (MOST_UNROLLED if unrolled else MOST_MEMBERS):
        raise NotTaken
    found: list[Member] = []
    for number, (block, step) in enumerate(zip(blocks, steps, strict=True)):
        following = (number + 1) % len(blocks)
        columns = zip(*(block.rows[column].tolist() for column in COLUMNS), strict=True)
        for index, (variant, name, row) in enumerate(zip(block.variants, block.names, columns, strict=False)):
            last = index == len(block.variants) - 1
            kind, way = variant.insn.kind, 0
            if kind is Kind.BRANCH:
                target = (block.pcs[index] + block.insns[index][1]["off"]) & (1 << 64) - 1
                if target == block.end:
                    raise NotTaken
                way = int(blocks[following].pc == target)
            elif kind is Kind.VSET:
                way = steps[following].vl
            code = step.codes[row[SLOT]] if kind in MEMORY else -1
            found.append(Member(variant, name, row, step.vl, code, way, last))
    return found


def _key(codes: bytes, slots: int) -> int:
    """The word ``code_key`` after so many memory instructions of a block."""
    return _wrapped(sum(codes[slot] * (slot + 1) for slot in range(slots)) * st.KEY_MULTIPLIER)


def _wrapped(value: int) -> int:
    """Modulo 2^64, as a signed number."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def _rows(blocks: list[Block]) -> NDArray[np.void]:
    """Each row of the path, and behind it the one that ends a block: for handlers that are called alone."""
    count = 2 * sum(len(block.insns) for block in blocks)
    raw = np.zeros(count * st.ROW.itemsize + 64, np.uint8)
    skip = -raw.ctypes.data % 64
    rows = raw[skip : skip + count * st.ROW.itemsize].view(st.ROW)
    at = 0
    for block in blocks:
        for index in range(len(block.insns)):
            rows[at], rows[at + 1] = block.rows[index], block.rows[len(block.insns)]
            at += 2
    return rows
