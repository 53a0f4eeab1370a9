"""A transient flip of one bit of a hart's registers, before an instruction that is drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from potluck.isa.errors import DataError
from potluck.isa.insn import Insn
from potluck.sim.blocks import Block, BlockStore
from potluck.sim.driver import R_BLOCK, R_BUDGET
from potluck.sim.hart import POLL_INTERVAL, Event, Hart
from potluck.sim.state import F, V

Site = Literal["vector", "float", "accumulator", "scale"]
SITES: tuple[Site, ...] = get_args(Site)
"""``vector``: v0 to v31; ``float``: f0 to f31, which hold one operand and one scale of VMXDOTP; ``accumulator``: the
elements that the next multiply-accumulate adds to; ``scale``: both scales of the next VMXDOTP."""
NEAR = 600
"""Instructions before the one that is meant, from where a hart goes block by block: more than any block has."""


@dataclass(frozen=True)
class Upset:
    """A flip.

    Attributes:
        hart: number.
        instruction: how many it has executed before; sites that belong to an instruction are met at the first such one
            from there on.
        site: what is struck.
        choice: which bit of it, modulo their number; not negative.

    Raises:
        DataError: an unknown site.
    """

    hart: int
    instruction: int
    site: Site
    choice: int

    def __post_init__(self) -> None:
        if self.site not in SITES:
            raise DataError(f"no site {self.site!r} of flips in a hart", hint=f"One of {', '.join(SITES)}")

    def concerns(self, insn: Insn) -> bool:
        """Whether the site exists before an instruction."""
        if self.site == "accumulator":
            return insn.timing == "vmxdotp" or ("macc" in insn.mnemonic and insn.mnemonic.startswith("v"))
        return insn.timing == "vmxdotp" if self.site == "scale" else True


@dataclass(frozen=True)
class Struck:
    """A flip that happened.

    Attributes:
        pc: of the instruction that came next.
        mnemonic: of it.
        register: such as ``v12`` or ``f3``.
        bit: of the register, or of the register group that begins with it.
    """

    pc: int
    mnemonic: str
    register: str
    bit: int


class Aim:
    """Brings a hart to the instruction before which a flip comes.

    Args:
        upset: the flip.
        store: blocks for the last steps: they are cut where harts have to stop, which the ones for running never are.
    """

    def __init__(self, upset: Upset, store: BlockStore) -> None:
        self.upset, self.store = upset, store
        self.struck: Struck | None = None

    def arm(self, hart: Hart) -> None:
        """Let the hart stop before it is there."""
        if self.struck is None:
            hart.record[R_BUDGET] = max(0, min(hart.budget, self.upset.instruction - NEAR))

    def approach(self, hart: Hart) -> Event | None:
        """Go on from a stop, to the flip or to what the cluster has to do before; see `Hart.answer`."""
        home = hart.store
        while self.struck is None:
            ahead = self.upset.instruction - hart.instructions
            if ahead > NEAR:
                self.arm(hart)
                return None
            if hart.store is home and home.code is self.store.code:
                _change(hart, self.store)
            number = int(hart.record[R_BLOCK])
            block = hart.store.blocks[number]
            at = self._place(block, max(0, ahead))
            if at == 0:
                self.struck = _strike(hart, self.upset, block)
                break
            if at is not None:
                hart.record[R_BLOCK], _ = hart.store.split(number, block.pcs[at])
                hart.jumps[:] = -1
            hart.record[R_BUDGET] = hart.instructions  # one block
            event = hart.answer(hart.run_blocks())
            if event is not None:
                hart.record[R_BUDGET] = hart.instructions  # to come back here as soon as it is carried out
                return event
        return None

    def _place(self, block: Block, first: int) -> int | None:
        """Which instruction of a block the flip comes before, counting from one of them; None: none of the block."""
        found = (k for k in range(first, len(block.insns)) if self.upset.concerns(block.insns[k][0]))
        return next(found, None)


def leave(hart: Hart, store: BlockStore) -> None:
    """Go on in the blocks for running, after a flip."""
    _change(hart, store)
    hart.record[R_BUDGET] = min(hart.budget, hart.instructions + POLL_INTERVAL)


def _change(hart: Hart, store: BlockStore) -> None:
    pc = hart.store.blocks[int(hart.record[R_BLOCK])].pc
    hart.store = store
    hart.jumps[:] = -1
    hart.record[R_BLOCK] = hart.find(pc)


def _strike(hart: Hart, upset: Upset, block: Block) -> Struck:
    """Flip the bit."""
    insn, fields = block.insns[0]
    state, vl = hart.state, hart.state["vl"]
    vlen = 8 * state["vlenb"]
    register, base, bits = "v0", V, 32 * vlen
    if upset.site == "float":
        register, base, bits = "f0", F, 32 * 64
    elif upset.site == "accumulator":
        sew = 8 << (state["vtype"] >> 3 & 7)
        width = 2 * sew if insn.mnemonic.startswith("vw") or insn.mnemonic.startswith("vfw") else sew
        register, base, bits = f"v{fields['vd']}", V + fields["vd"] * state["vlenb"], max(1, vl * width)
    elif upset.site == "scale" and upset.choice % (8 + 8 * vl) < 8 and "fs3" in fields:
        register, base, bits = f"f{fields['fs3']}", F + 8 * fields["fs3"], 8
    elif upset.site == "scale":
        register, base, bits = f"v{fields['vs4']}", V + fields["vs4"] * state["vlenb"], max(1, 8 * vl)
    chosen = upset.choice % bits
    if upset.site == "scale" and base >= V:
        chosen = max(0, upset.choice % (8 + 8 * vl) - 8)
    if upset.site in ("vector", "float"):
        size = vlen if upset.site == "vector" else 64
        register, base, chosen = (
            f"{register[0]}{chosen // size}",
            base + chosen // size * size // 8,
            chosen % size,
        )
    state.raw[base + chosen // 8] ^= np.uint8(1 << chosen % 8)
    return Struck(block.pc, insn.mnemonic, register, chosen)
