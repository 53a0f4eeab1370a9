"""Templates for what ends a basic block: branches, jumps, vset, CSR accesses, events."""

from __future__ import annotations

from potluck.isa.arithmetic.element import bitcast, cast, maximum, select
from potluck.isa.context import VILL, legal_vtype
from potluck.sim import state as st
from potluck.sim.jit.handler import Handler, operand_type
from potluck.sim.jit.ir import Symbol

FFLAGS, FRM, FCSR, FMODE = 0x001, 0x002, 0x003, 0x800
VSTART, VTYPE = 0x008, 0xC21
STATE_CSRS = {0x008: "vstart", 0x009: "vxsat", 0x00A: "vxrm", 0xC20: "vl", 0xC21: "vtype", 0xC22: "vlenb",
              0xF14: "hart"}  # fmt: skip
READ_ONLY = {0xC20, 0xC21, 0xC22, 0xF14}
COUNTERS = {0xC00, 0xC01, 0xC02, 0xB00, 0xB02}
KNOWN_CSRS = {FFLAGS, FRM, FCSR, FMODE, *STATE_CSRS, *COUNTERS, 0x00F}


def emit_branch(h: Handler) -> None:
    """Return 1 if taken, else 0."""
    values = {name: h.read(h.insn.operand(name), operand_type(h.insn.operand(name), h.context))
              for name in h.insn.parameters}  # fmt: skip
    condition = h.insn.meaning(**values)  # type: ignore[misc]
    h.leave(cast(condition, "u64").name)


def emit_jump(h: Handler) -> None:
    """jal has a static target; jalr leaves the target in ``next_pc``."""
    if h.variant.halts:
        h.event(st.EVENT)
        return
    link = h.row("next", "u64")
    target = None
    if "rs1" in [operand.name for operand in h.insn.syntax]:
        target = (h.read(h.insn.operand("rs1"), operand_type(h.insn.operand("rs1"), h.context)) +
                  h.row("imm", "s64")) & -2  # fmt: skip
    h.body.store(link, h.pointer("rd"))
    if target is None:
        h.leave(st.TAKEN)
        return
    h.set_word("next_pc", bitcast(target, "u64"))
    h.leave(st.DYNAMIC)


def emit_vset(h: Handler) -> None:
    """vsetvli, vsetivli (static type) and vsetvl (type from a register)."""
    names = [operand.name for operand in h.insn.syntax]
    if "rs2" in names:
        vtype = h.read(h.insn.operand("rs2"), operand_type(h.insn.operand("rs2"), h.context))
        _set_dynamic(h, bitcast(vtype, "u64"))
        return
    vtype = h.row("imm", "u64")
    avl: Symbol
    if "rs1" in names:
        avl = bitcast(h.read(h.insn.operand("rs1"), operand_type(h.insn.operand("rs1"), h.context)), "u64")
    else:
        avl = h.row("key", "u64")
    _set(h, avl, vtype, h.vlmax() if not h.context.vill else h.body.constant(0, "u64"))
    h.leave(st.FALL)


def _set(h: Handler, avl: Symbol, vtype: Symbol, vlmax: Symbol) -> None:
    """Row column ``rs3`` says which AVL applies: 0 = the operand, 1 = VLMAX, 2 = keep vl."""
    mode = h.row("rs3", "u64")
    wanted = select(mode.apply("equal", 1), h.body.constant((1 << 64) - 1, "u64"), avl)
    wanted = select(mode.apply("equal", 2), h.word("vl"), wanted)
    vl = select(wanted < vlmax, wanted, vlmax)
    h.set_word("vl", vl)
    h.set_word("vtype", vtype)
    h.set_word("vstart", h.body.constant(0, "u64"))
    h.body.store(vl, h.pointer("rd"))


def _set_dynamic(h: Handler, vtype: Symbol) -> None:
    """Every legal vtype is tried in turn: vsetvl is rare, and the list is the single definition of legality."""
    body = h.body
    vlenb = h.word("vlenb")
    vlmax = body.constant(0, "u64")
    for code in range(512):
        if not legal_vtype(code):
            continue
        sew, lmul = 1 << (code >> 3 & 7), code & 7
        shift = (lmul if lmul < 4 else lmul - 8) - (sew.bit_length() - 1)
        size = vlenb << shift if shift >= 0 else vlenb >> -shift
        vlmax = select(vtype.apply("equal", code), size, vlmax)
    old = body.constant(0, "u64") if h.context.vill else h.vlmax()
    keeps = h.row("rs3", "u64").apply("equal", 2)
    good = (vlmax > 0) & (
        keeps.apply("equal", 0) | vlmax.apply("equal", old)
    )  # reserved: a kept vl, another VLMAX
    vlmax = select(good, vlmax, 0)
    avl = bitcast(h.read(h.insn.operand("rs1"), operand_type(h.insn.operand("rs1"), h.context)), "u64")
    _set(h, avl, select(good, vtype, 1 << 63), vlmax)
    h.set_word("next_pc", h.row("next", "u64"))
    h.leave(st.DYNAMIC)


def _read_csr(h: Handler, csr: int) -> Symbol:
    fcsr = h.word("fcsr")
    if csr == FFLAGS:
        return fcsr & 31
    if csr == FRM:
        return fcsr >> 5 & 7
    if csr == FCSR:
        return fcsr & 0x3FFF
    if csr == FMODE:
        return fcsr >> 8 & 0x3F
    if csr == 0x00F:  # vcsr
        return h.word("vxsat") | h.word("vxrm") << 1
    value = h.word(STATE_CSRS[csr])
    return value & ~st.PARTWAY if csr == VTYPE else value


def _write_csr(h: Handler, csr: int, value: Symbol) -> None:
    fcsr = h.word("fcsr")
    everything = (1 << 64) - 1
    if csr == FFLAGS:
        h.set_word("fcsr", (fcsr & (everything ^ 31)) | (value & 31))
    elif csr == FRM:
        h.set_word("fcsr", (fcsr & (everything ^ 0xE0)) | (value & 7) << 5)
    elif csr == FCSR:
        h.set_word("fcsr", value & 0x3FFF)
    elif csr == FMODE:
        h.set_word("fcsr", (fcsr & 0xFF) | (value & 0x3F) << 8)
    elif csr == 0x00F:
        h.set_word("vxsat", value & 1)
        h.set_word("vxrm", value >> 1 & 3)
    elif csr == VSTART:  # as many bits as an element index needs (3.7)
        start = value & (h.word("vlenb") << 3) - 1
        h.set_word("vstart", start)
        vtype = h.word("vtype") & ~st.PARTWAY
        h.set_word("vtype", select(start.apply("equal", 0), vtype, vtype | st.PARTWAY))
    else:
        width = {0x009: 1, 0x00A: 3}.get(csr, everything)
        h.set_word(STATE_CSRS[csr], value & width)


def emit_csr(h: Handler) -> None:
    """csrrw/s/c and immediate forms; a write to fcsr may change the decode context, so the successor is dynamic."""
    csr = h.variant.csr
    if csr in COUNTERS:
        h.event(st.EVENT)
        return
    mnemonic = h.insn.mnemonic
    old = _read_csr(h, csr)
    if mnemonic.endswith("i"):
        operand = h.row("imm", "u64")
    else:
        operand = bitcast(
            h.read(h.insn.operand("rs1"), operand_type(h.insn.operand("rs1"), h.context)), "u64"
        )
    new = {"csrrw": operand, "csrrs": old | operand, "csrrc": old & ~operand}[mnemonic.removesuffix("i")]
    if csr not in READ_ONLY:
        _write_csr(h, csr, new)
    h.body.store(old, h.pointer("rd"))
    h.set_word("next_pc", h.row("next", "u64"))
    h.leave(st.DYNAMIC)


def emit_system(h: Handler) -> None:
    """``fence`` and DMA set-up go on; everything else is handled outside."""
    mnemonic = h.insn.mnemonic
    settings = {
        "dmsrc": ("dma_source", None), "dmdst": ("dma_target", None),
        "dmstr": ("dma_source_stride", "dma_target_stride"), "dmrep": ("dma_repeat", None),
    }  # fmt: skip
    if mnemonic in settings:
        sources = [operand for operand in h.insn.syntax if operand.bank == "x"]
        for operand, word in zip(sources, settings[mnemonic], strict=False):
            if word:
                h.set_word(word, bitcast(h.read(operand, operand_type(operand, h.context)), "u64"))
        h.next()
    elif mnemonic == "fence":
        h.next()
    else:
        h.event(st.EVENT)


def emit_end(h: Handler) -> None:
    """A block cut without a branch falls through."""
    h.leave(st.FALL)


__all__ = [
    "COUNTERS", "FCSR", "FFLAGS", "KNOWN_CSRS", "READ_ONLY", "VILL", "emit_branch", "emit_csr", "emit_end",
    "emit_jump", "emit_system", "emit_vset", "maximum",
]  # fmt: skip
