"""Decoded basic blocks of a program, keyed by (pc, decode context).

A block is cut at a branch, a jump, a ``vset*``, a CSR access or an event, so that vl and the context are constant
inside it. Its rows are the direct-threaded code that the handlers walk.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from potluck.isa.context import VILL, Context, legal_vtype
from potluck.isa.decode import decoder
from potluck.isa.errors import TrapError
from potluck.isa.insn import Insn, Kind
from potluck.isa.legality import check
from potluck.isa.machine import Machine
from potluck.sim import state as st
from potluck.sim.code import Code, ExecutableMemory, LiveCode
from potluck.sim.jit.compile import compiler
from potluck.sim.jit.control import COUNTERS, FCSR, FFLAGS, KNOWN_CSRS, READ_ONLY
from potluck.sim.jit.handler import Variant, assign_slots
from potluck.sim.jit.loop import NotTaken
from potluck.sim.loops import MOST_VERSIONS, Descriptor, Path, Step
from potluck.sim.timing.energy import COMPONENTS, instruction_energy
from potluck.sim.timing.timer import ROW as TIMING_ROW
from potluck.sim.timing.timer import timing_row

_T = TypeVar("_T", bound=np.generic)
MAX_LENGTH = 256
MEMORY = (Kind.LOAD, Kind.STORE, Kind.VLOAD, Kind.VSTORE, Kind.ATOMIC)
ENDS = (Kind.BRANCH, Kind.JUMP, Kind.VSET, Kind.CSR)
GOES_ON = ("fence", "dmsrc", "dmdst", "dmstr", "dmrep")
CUSTOM = ("VMXDOTP", "Xf8", "Xdma")  # extensions that come and go with ``isa.vmxdotp``
KEPT_VERSIONS = 64  # blocks of one address and context that are kept while the code there is another
MOST_DECODED = 1 << 18  # instructions under a context that are kept decoded
MAX_ROWS = 1 << 24
MAX_BLOCKS = 1 << 21  # some GiB; a number has 25 bits in the driver's memo keys
# What the cluster can carry out in compiled code for the instruction that a block begins with (`potluck.sim.rounds`).
NOTHING, COPY, STATUS, WAIT, READ_REGISTER = range(5)
OF_CLUSTER = {
    "dmcpyi": COPY, "dmstati": STATUS, "wfi": WAIT, "lw": READ_REGISTER, "lwu": READ_REGISTER, "ld": READ_REGISTER
}  # fmt: skip
INFO = 4  # words of a block's ``info``: its first row, how many rows, what the cluster can do, which request to the DMA


@dataclass(slots=True)
class Block:
    """One translated block; compressed instructions are kept as what they expand to."""

    number: int
    pc: int
    context: Context
    insns: list[tuple[Insn, dict[str, int]]]
    pcs: list[int]  # of each instruction, and of the first one after the block
    rows: NDArray[np.void]  # keeps the memory alive that ``pointers`` refers to
    variants: list[Variant]
    names: list[str]  # of their handlers

    @property
    def end(self) -> int:
        """Address after the last instruction."""
        return self.pcs[-1]


@dataclass(frozen=True, slots=True)
class _Decoded:
    """An instruction under a context, ready to be put into a block."""

    variant: Variant
    name: str
    fields: dict[str, int]
    offsets: dict[str, int]
    immediate: int
    key: int
    length: int
    timing: NDArray[np.int32]
    energy: NDArray[np.float64]


class BlockArrays(NamedTuple):
    """What the driver, and the sums after a run, need of all blocks; see :class:`BlockStore`."""

    pointers: NDArray[np.uint64]
    successors: NDArray[np.int64]
    info: NDArray[np.int64]
    timing_rows: NDArray[np.int32]
    code_slots: NDArray[np.int64]
    extents: NDArray[np.uint64]  # first address and the one behind the last, of each block
    energy: NDArray[np.float64]  # picojoules [blocks, 2, components]: fixed and per element of vl


class BlockStore:
    """All blocks of one program on one machine, shared by its harts while its code is what was loaded.

    A hart that meets other code goes on with a copy of its own (:meth:`private`). Block numbers stay what they are, and
    none is given twice, so that links, memo entries and counts keep their meaning.
    """

    def __init__(self, code: Code, machine: Machine) -> None:
        self.code, self.machine = code, machine
        self._decoder = decoder(machine.isa.vmxdotp_encoding)
        self._compiler = compiler()
        self._lock = threading.Lock()
        self._cache: dict[tuple[int, Context], _Decoded] = {}
        self._known: dict[tuple[int, Context], int] = {}
        self._dropped: dict[tuple[int, Context], dict[bytes, int]] = {}  # by the code they are of
        self._cuts: set[int] = set()
        self.blocks: list[Block] = []
        self.requests: dict[int, int] = {}  # pcs of ``dmcpyi``, numbered
        self._longest = MAX_LENGTH  # instructions of a block
        self._loops: dict[
            int, list[Descriptor]
        ] = {}  # by head; the last one's ``L_NEXT`` is the one before it
        self._kept_loops: list[Descriptor] = []
        self._paths: dict[tuple[int, int], Path] = {}
        self._shared = 0  # how many of the blocks belong to another store, too
        self.flags = code.reads_flags()
        self.arrays = self._allocate(1024, 16384)
        self._rows_used = 0

    @staticmethod
    def _allocate(blocks: int, rows: int) -> BlockArrays:
        return BlockArrays(
            pointers=np.zeros(blocks, np.uint64),
            successors=np.full((blocks, 2), -1, np.int64),
            info=np.zeros((blocks, INFO), np.int64),
            timing_rows=np.zeros((rows, TIMING_ROW), np.int32),
            code_slots=np.full(rows, -1, np.int64),
            extents=np.zeros((blocks, 2), np.uint64),
            energy=np.zeros((blocks, 2, len(COMPONENTS)), np.float64),
        )

    def find(self, pc: int, context: Context) -> int:
        """The block at ``pc``, translated if new.

        Raises:
            TrapError: ``pc`` is outside the text or misaligned, or its instruction is illegal in the context.
        """
        with self._lock:
            number = self._known.get((pc, context))
            return self._translate(pc, context) if number is None else number

    def split(self, number: int, pc: int) -> tuple[int, int]:
        """Cut a block before ``pc`` for good: the numbers of the part before and of the block at ``pc``."""
        with self._lock:
            old = self.blocks[number]
            self._cuts |= {pc, pc + self.code.fetch(pc)[1]}
            extents = self.arrays.extents[: len(self.blocks)]
            longer = np.flatnonzero((extents[:, 0] <= pc) & (pc < extents[:, 1]))
            for block in (self.blocks[index] for index in longer.tolist()):
                if self._known.get((block.pc, block.context)) == block.number:
                    del self._known[block.pc, block.context]
            self._unlink(longer)  # links to them are looked up again
            return self._translate(old.pc, old.context), self._translate(pc, old.context)

    def private(self, memory: ExecutableMemory) -> BlockStore:
        """A copy for one hart, which sees all of executable memory and follows its changes."""
        return self._copied(LiveCode(self.code, memory))

    def with_code(self, code: Code) -> BlockStore:
        """A copy for other code of the same addresses, kind of flags and length: what differs is translated anew."""
        found = self._copied(code)
        extents = found.arrays.extents[: len(found.blocks)].astype(np.int64)
        differs = np.zeros(len(found.blocks), np.bool_)
        for (base, before), (_, after) in zip(self.code.regions, code.regions, strict=True):
            changed = np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8)
            sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(changed)])
            inside = np.clip(extents - base, 0, len(before))
            differs |= sums[inside[:, 1]] > sums[inside[:, 0]]
        found._known = {key: number for key, number in found._known.items() if not differs[number]}
        numbers = np.flatnonzero(differs)
        found.arrays.successors[numbers] = -1
        found._unlink(numbers)
        return found

    def one_by_one(self) -> BlockStore:
        """A copy whose blocks hold one instruction each and which keeps fflags, for runs that look at every one."""
        found = self._copied(self.code)
        if not self.flags:
            found.flags, found._cache = True, {}
        found._known, found._dropped, found._longest = {}, {}, 1
        found._loops, found._paths = {}, {}
        return found

    def _copied(self, code: Code) -> BlockStore:
        with self._lock:
            found = copy(self)
            found.code, found._lock = code, threading.Lock()
            found._cache, found._known, found._dropped = self._cache.copy(), self._known.copy(), {}
            found._cuts, found.blocks = self._cuts.copy(), self.blocks.copy()
            found.requests = self.requests.copy()
            found._loops = {head: versions.copy() for head, versions in self._loops.items()}
            found._paths = self._paths.copy()
            found._shared = len(self.blocks)
            found.arrays = BlockArrays._make(array.copy() for array in self.arrays)
            return found

    def synchronize(self, memory: ExecutableMemory) -> bool:
        """Fetch anew, for a private store: drop every block whose code is another in memory; whether there was one."""
        assert isinstance(self.code, LiveCode)
        with self._lock:
            changes = self.code.changes(memory)
            dropped = [
                (key, number) for key, number in self._known.items()
                if any(self.blocks[number].pc < x.end and x.begin < self.blocks[number].end for x in changes)
            ]  # fmt: skip
            for key, number in dropped:
                block = self.blocks[number]
                data = self.code.read(block.pc, block.end - block.pc)
                if data is not None:
                    self._keep(key, data, number)
                del self._known[key]
            self.code.renew(changes)
            numbers = np.array([number for _, number in dropped], np.int64)
            self.arrays.successors[numbers] = -1
            self._unlink(numbers)
            return bool(changes)

    def _keep(self, key: tuple[int, Context], data: bytes, number: int) -> None:
        """Keep a dropped block for the time when its code is back."""
        versions = self._dropped.setdefault(key, {})
        versions[data] = number
        if len(versions) > KEPT_VERSIONS:
            oldest = versions.pop(next(iter(versions)))
            if oldest >= self._shared:
                self.blocks[oldest].rows = np.zeros(
                    0, st.ROW
                )  # never run again; the rest is for the sums at the end

    def _again(self, pc: int, context: Context) -> int | None:
        """The dropped block whose code is what fetch sees now."""
        for data, number in self._dropped.get((pc, context), {}).items():
            if self.code.read(pc, len(data)) == data and self._cuts.isdisjoint(self.blocks[number].pcs[1:-1]):
                self._known[pc, context] = number
                return number
        return None

    def link(self, number: int, way: int, target: int) -> None:
        """Remember a static successor; where a loop begins, the loop."""
        versions = self._loops.get(target)
        self.arrays.successors[number, way] = -versions[-1].address if versions else target

    def _unlink(self, numbers: NDArray[np.integer[Any]]) -> None:
        """Forget all links to blocks, and the loops that they are part of."""
        successors, gone = self.arrays.successors, set(numbers.tolist())
        self._paths = {key: path for key, path in self._paths.items() if not gone & path.numbers}
        lost = [head for head, held in self._loops.items() if any(gone & loop.path.numbers for loop in held)]
        addresses = [-loop.address for head in lost for loop in self._loops[head]]
        successors[np.isin(successors, np.concatenate([numbers, np.array(addresses, np.int64)]))] = -1
        for head in lost:
            del self._loops[head]

    @property
    def turns(self) -> int:
        """How often the second tier has gone through loops of this store."""
        return sum(loop.turns for loop in self._kept_loops)

    def path(self, head: int, vl: int) -> Path | None:
        """The loop that begins at a block with a vl, if it was recorded."""
        return self._paths.get((head, vl))

    def record(self, steps: list[Step]) -> Path:
        """Remember a loop that was recorded."""
        blocks = [self.blocks[step.number] for step in steps]
        found = self._paths[steps[0].number, steps[0].vl] = Path(blocks, steps, self.machine.vector.vlen // 8)
        return found

    def install(self, path: Path, build: bool) -> None:
        """Let the second tier run a loop, if its function is there or is to be made (``build``)."""
        with self._lock:
            versions = self._loops.get(path.head, [])
            if path.refused or len(versions) >= MOST_VERSIONS or any(loop.path is path for loop in versions):
                return
            try:
                known = self._compiler.loop(path.name, path.loop if build else None)
            except NotTaken:
                path.refused = True
                return
            if known is None:
                return
            found = Descriptor(path, *known, versions[-1].address if versions else 0)
            successors = self.arrays.successors
            self._kept_loops.append(found)  # a hart may be in it when it is forgotten
            self._loops[path.head] = [*versions, found]
            successors[successors == (-versions[-1].address if versions else path.head)] = -found.address

    def _decode(self, pc: int, context: Context) -> _Decoded:
        word, length = self.code.fetch(pc)
        found = self._cache.get((word, context))
        if found is None:
            if len(self._cache) >= MOST_DECODED:
                self._cache.clear()
            found = self._cache[word, context] = self._prepare(word, length, pc, context)
        return found

    def _prepare(self, word: int, length: int, pc: int, context: Context) -> _Decoded:
        decoded = self._decoder.execute(word)
        if decoded is None:
            raise TrapError(f"illegal instruction {word:#0{2 + 2 * length}x}", pc=pc)
        insn, fields = decoded
        reason = check(insn, fields, context) or self._refusal(insn, fields, context)
        if reason:
            raise TrapError(
                f"illegal instruction {word:#0{2 + 2 * length}x} ({insn.mnemonic}): {reason}", pc=pc
            )
        csr = fields["csr"] if insn.kind is Kind.CSR else -1
        masked = fields.get("vm") == 0 and insn.maskable
        rm = fields.get("rm", 7)
        variant = Variant(insn, context, masked, self.flags and _has_flags(insn), csr, rm)
        if insn.kind in (Kind.LOAD, Kind.STORE) and self.machine.memory.misaligned:
            variant = replace(variant, unaligned=True)
        if insn.attributes.get("strided") and self.machine.memory.l1_bytes:
            vector = self.machine.vector
            requests = vector.element_requests or vector.ports
            variant = replace(variant, ports=requests, banks=self.machine.memory.l1_banks)
        if insn.mnemonic == "jal" and fields["off"] == 0:
            variant = replace(variant, halts=True)
        offsets = {column: _offset(insn, name, fields[name], self.machine.vector.vlen)
                   for name, column in assign_slots(insn).items()}  # fmt: skip
        immediate = next((fields[n] for n in ("imm", "uimm", "shamt", "off", "vtypei") if n in fields), 0)
        key = 0
        if insn.kind is Kind.VSET:
            variant, immediate = _new_type(insn, fields, variant)
            offsets["rs3"], key = _avl_mode(fields), fields.get("uimm", 0)
        timing = timing_row(insn, fields, context, self.machine)
        energy = instruction_energy(insn, context, self.machine)
        return _Decoded(variant, variant.name, fields, offsets, immediate, key, length, timing, energy)

    def _refusal(self, insn: Insn, fields: dict[str, int], context: Context) -> str | None:
        """What this simulator or machine does not take, said before it could give a wrong value."""
        if insn.extension in CUSTOM and not self.machine.isa.vmxdotp:
            return f"machine {self.machine.name} has no {insn.extension} (isa.vmxdotp = false)"
        if insn.kind is Kind.CSR:
            csr = fields["csr"]
            if csr not in KNOWN_CSRS:
                return f"unknown CSR {csr:#x}"
            writes = insn.mnemonic.startswith("csrrw") or fields.get("rs1", fields.get("uimm", 0)) != 0
            if csr in READ_ONLY | COUNTERS and writes:
                return f"CSR {csr:#x} is read-only"
            if csr in (FFLAGS, FCSR) and fields["rd"] and not self.flags:  # so nothing has gathered them
                return "the program's text neither reads fflags nor has a fence.i, so fflags were not kept for new code"
        return None

    def _translate(self, pc: int, context: Context) -> int:
        again = self._again(pc, context)
        if again is not None:
            return again
        start = pc
        decoded: list[_Decoded] = []
        memory = 0
        ended = False
        while len(decoded) < self._longest and not ended:
            if pc in self._cuts and pc != start:
                break
            try:
                one = self._decode(pc, context)
            except TrapError:
                if not decoded:
                    raise
                break  # reached only if control gets there
            insn = one.variant.insn
            event = _is_event(one)
            memory += insn.kind in MEMORY
            if memory > st.MAX_CODES or (event and decoded):
                break
            decoded.append(one)
            pc += one.length
            ended = event or insn.kind in ENDS or one.variant.partway
        return self._enter(start, context, decoded)

    def _enter(self, pc: int, context: Context, decoded: list[_Decoded]) -> int:
        if len(self.blocks) >= MAX_BLOCKS or self._rows_used >= MAX_ROWS:
            raise TrapError(
                f"more than {MAX_BLOCKS} blocks or {MAX_ROWS} instructions of code in all contexts: the program "
                "writes new code without end", pc=pc,
            )  # fmt: skip
        addresses = self._compiler.addresses({one.name: one.variant for one in decoded})
        count = len(decoded)
        raw = np.zeros((count + 2) * st.ROW.itemsize, np.uint8)
        skip = -raw.ctypes.data % 64
        rows = raw[skip : skip + (count + 1) * st.ROW.itemsize].view(st.ROW)
        number = len(self.blocks)
        self._reserve(number + 1, self._rows_used + count)
        first = self._rows_used
        slot = 0
        pcs = [pc]
        for index, one in enumerate(decoded):
            row = rows[index]
            row["handler"] = addresses[one.name]
            for column, offset in one.offsets.items():
                row[column] = offset
            insn = one.variant.insn
            pcs.append(pcs[-1] + one.length)
            row["imm"] = _signed(one.immediate)
            row["pc"], row["next"] = pcs[index], pcs[-1] & (1 << 64) - 1
            row["key"] = one.key
            if insn.kind in MEMORY:
                row["slot"] = slot
                row["key"] = (slot + 1) * st.KEY_MULTIPLIER & (1 << 64) - 1
                self.arrays.code_slots[first + index] = slot
                slot += 1
            self.arrays.timing_rows[first + index] = one.timing
        rows[count]["handler"] = addresses["end"]
        self._rows_used += count
        opening = decoded[0].variant.insn.mnemonic
        request = self.requests.setdefault(pc, len(self.requests)) if opening == "dmcpyi" else -1
        self.arrays.info[number] = first, count, OF_CLUSTER.get(opening, NOTHING), request
        self.arrays.extents[number] = pcs[0], pcs[-1]
        self.arrays.pointers[number] = rows.ctypes.data
        insns = [(one.variant.insn, one.fields) for one in decoded]
        self.arrays.energy[number] = np.sum([one.energy for one in decoded], axis=0)
        self.blocks.append(
            Block(
                number,
                pc,
                context,
                insns,
                pcs,
                rows,
                [one.variant for one in decoded],
                [one.name for one in decoded],
            )
        )
        self._known[pc, context] = number
        return number

    def word(self, pc: int) -> int:
        """The instruction word at a pc inside the text."""
        return self.code.fetch(pc)[0]

    def _reserve(self, blocks: int, rows: int) -> None:
        """Make room. All arrays are replaced together: a hart that still runs on the old ones sees no link to a new
        block, so it comes back for the new arrays at its next unknown successor.
        """
        if blocks <= self.arrays.pointers.size and rows <= self.arrays.code_slots.size:
            return
        old = self.arrays
        self.arrays = BlockArrays(
            _grown(old.pointers, 0), _grown(old.successors, -1), _grown(old.info, 0), _grown(old.timing_rows, 0),
            _grown(old.code_slots, -1), _grown(old.extents, 0), _grown(old.energy, 0),
        )  # fmt: skip
        self._reserve(blocks, rows)


def _grown(array: NDArray[_T], fill: int) -> NDArray[_T]:
    larger: NDArray[_T] = np.full((2 * array.shape[0], *array.shape[1:]), fill, array.dtype)
    larger[: array.shape[0]] = array
    return larger


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 == 1 else value


def _offset(insn: Insn, name: str, register: int, vlen: int) -> int:
    """Byte offset of a register in the state; writes to x0 go to a sink."""
    bank = insn.operand(name).bank
    if bank == "x":
        return st.X + 8 * (32 if register == 0 and name == "rd" else register)
    return st.F + 8 * register if bank == "f" else st.V + register * vlen // 8


def _is_event(one: _Decoded) -> bool:
    """Whether the cluster carries the instruction out; it then stands alone in its block.

    A jump to itself is one, too: nothing follows it, so the cluster decides whether that is an end.
    """
    insn = one.variant.insn
    if insn.kind is Kind.CSR:
        return one.variant.csr in COUNTERS
    if insn.mnemonic == "jal":
        return one.fields["off"] == 0
    return insn.kind is Kind.SYSTEM and insn.mnemonic not in GOES_ON


KEEPS_VL = 2


def _avl_mode(fields: dict[str, int]) -> int:
    """Which AVL a vset takes: 0 = its operand, 1 = VLMAX, ``KEEPS_VL`` = the present vl (6.2)."""
    if fields.get("rs1", 1):
        return 0
    return 1 if fields["rd"] else KEEPS_VL


def _new_type(insn: Insn, fields: dict[str, int], variant: Variant) -> tuple[Variant, int]:
    """The variant of a vset under its new type, whose VLMAX it needs, and the value of vtype.

    To keep vl while VLMAX changes, or from vill on, is reserved; as in Spike it sets vill. A vsetvl finds out itself.
    """
    if "vtypei" not in fields:
        return variant, 0
    old, new = variant.context, Context(fields["vtypei"], variant.context.control)
    legal = legal_vtype(fields["vtypei"])
    if legal and _avl_mode(fields) == KEEPS_VL:
        legal = not old.vill and old.lmul / old.sew == new.lmul / new.sew
    if not legal:
        return replace(variant, context=Context(VILL, old.control)), 1 << 63
    return replace(variant, context=new), fields["vtypei"]


def _has_flags(insn: Insn) -> bool:
    return bool(insn.attributes.get("flags") or insn.attributes.get("raises"))


_STORES: OrderedDict[tuple[bytes, str], BlockStore] = OrderedDict()
KEPT_STORES = 8


def block_store(code: Code, machine: Machine) -> BlockStore:
    """The blocks of a program on a machine; those of the last few programs are kept for the next run."""
    key = (code.digest, repr(machine))
    if key not in _STORES:
        _STORES[key] = BlockStore(code, machine)
        if len(_STORES) > KEPT_STORES:
            _STORES.popitem(last=False)
    _STORES.move_to_end(key)
    return _STORES[key]
