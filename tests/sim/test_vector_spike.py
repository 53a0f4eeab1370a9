"""V 1.0 and Zvdot4a8i, instruction by instruction, against Spike: registers, CSRs, memory, traps, legality."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from potluck.isa.assembly.disassembler import disassemble_word
from potluck.isa.context import PARTWAY, VILL, Context
from potluck.isa.insn import Insn, Kind
from potluck.isa.legality import check
from potluck.isa.table import TABLE
from tests.reference.spike import Spike, needs_spike
from tests.reference.vector_cases import L1, TWO_WIDTHS, Case, Pair, generate, in_scope, vtypes

pytestmark = needs_spike
ROWS = [insn for insn in TABLE.values() if in_scope(insn)]
ILLEGAL = 2


def differences(vlen: int, cases: list[Case]) -> list[str]:
    pair = Pair(vlen, cases)
    return [f"{case}\n    {found}" for number, case in enumerate(cases) if (found := pair.compare(number))]


def masks(insn: Insn) -> tuple[bool, ...]:
    return (False, True) if insn.maskable else (False,)


def sample(vlen: int, seed: int) -> Iterator[Case]:
    """Rows and masks under vtypes that do not depend on VLEN, so that handlers are compiled once.

    Of the 252 rows that only differ in the number of fields, a part.
    """
    choice, rng = random.Random(seed), random.Random(seed + vlen)
    for insn in ROWS:
        for masked in masks(insn):
            vtype = choice.choice(vtypes())
            if "segments" not in insn.attributes or choice.random() < 0.15:
                yield from (generate(insn, vtype, masked, vlen, rng) for _ in range(3))


@pytest.mark.parametrize("vlen", [128, 512, 1024, 4096])
def test_every_row_equals_spike(vlen: int) -> None:
    found = differences(vlen, list(sample(vlen, 1)))
    assert not found, "\n".join(found[:20])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
@pytest.mark.parametrize("vlen", [128, 256, 512, 1024])
def test_every_row_at_every_vtype_equals_spike(vlen: int, part: int) -> None:
    rng = random.Random(vlen)
    cases = [
        generate(insn, vtype, masked, vlen, rng)
        for insn in ROWS[part::8]
        for vtype in vtypes()
        for masked in masks(insn)
        for _ in range(4)
    ]
    found = differences(vlen, cases)
    assert not found, "\n".join(found[:20])


def any_registers(insn: Insn, rng: random.Random) -> dict[str, int]:
    """Register numbers that often overlap or are misaligned."""
    fields = {piece.name: rng.getrandbits(piece.width) for piece in insn.pieces}
    if rng.random() < 0.7:
        fields |= {name: value & -rng.choice([1, 2, 4, 8]) for name, value in fields.items() if name[0] == "v"
                   and name != "vm"}  # fmt: skip
    if rng.random() < 0.3 and {"vd", "vs2"} <= fields.keys():
        fields["vs2"] = (fields["vd"] + rng.choice([0, 0, 1, 2, 4, -1])) % 32
    if fields.get("imm", 0) > 15:
        fields["imm"] -= 32
    return fields


@pytest.mark.parametrize("count", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_the_same_encodings_are_illegal(count: int) -> None:
    """Group alignment, overlaps, EMUL, SEW, vstart; Spike alone accepts one register read with two widths."""
    rng, vlen = random.Random(7), 512
    spike = Spike(vlen=vlen)
    found = []
    both = 0
    for insn in TABLE.values():
        if (
            not insn.is_vector
            or insn.kind is Kind.VSET
            or insn.extension[0] not in "VZ"
            or insn.extension == "VMXDOTP"
        ):
            continue
        for _ in range(count):
            context, vstart = Context(rng.choice(vtypes())), rng.choice([0, 0, 0, 1])
            fields = any_registers(insn, rng)
            spike.set_vtype(context.vlmax(vlen), context.vtype)
            spike["vstart"], spike["fcsr"] = vstart, 0
            spike.x[1:] = L1
            word = insn.encode(fields)
            trap = spike.run([word])
            theirs = trap is not None and trap.cause == ILLEGAL
            reason = check(insn, fields, Context(context.vtype | (PARTWAY if vstart else 0)))
            if reason and "not modeled" in reason:
                continue
            both += bool(reason) and theirs
            if bool(reason) != theirs and TWO_WIDTHS not in (reason or ""):
                found.append(
                    f"{disassemble_word(word)} e{context.sew} m{context.lmul} vstart={vstart}: {reason}"
                )
    assert not found, "\n".join(found[:20])
    assert both > 100


def configurations(rng: random.Random) -> Iterator[Case]:
    """vset* from every kind of state, with every vtype bit, and AVLs around VLMAX."""
    for mnemonic in ("vsetvli", "vsetivli", "vsetvl"):
        insn = TABLE[mnemonic]
        for _ in range(400):
            context = rng.choice([Context(rng.choice(vtypes())), Context(VILL)])
            fields = {piece.name: rng.getrandbits(5) for piece in insn.pieces}
            vtype = rng.choice(
                [rng.choice(vtypes()) | rng.getrandbits(2) << 6, rng.getrandbits(10), rng.getrandbits(64)]
            )
            if "vtypei" in fields:
                fields["vtypei"] = vtype & (1023 if mnemonic == "vsetivli" else 2047)
            fields |= {name: rng.choice([0, 0, fields[name]]) for name in ("rd", "rs1") if name in fields}
            vl = 0 if context.vill else rng.randint(0, context.vlmax(512))
            case = Case(insn, fields, context, vl, rng.choice([0, 3]), rng.getrandbits(32))
            avl = [0, 1, rng.randrange(1200), rng.getrandbits(64), (1 << 64) - 1]
            case.x = {number: rng.choice(avl) for number in range(1, 32)}
            if fields.get("rs2"):
                case.x[fields["rs2"]] = vtype
            if (
                fields.get("rs1") == 0 == fields["rd"]
                and vl
                and _ratio(context) != _ratio(Context(vtype & 511))
            ):
                continue  # reserved: vl would have to change (6.2)
            yield case


def _ratio(context: Context) -> object:
    return context.lmul / context.sew


def test_vset_equals_spike() -> None:
    found = differences(512, list(configurations(random.Random(2))))
    assert not found, "\n".join(found[:20])


def test_vector_csrs_equal_spike() -> None:
    rng = random.Random(3)
    cases = []
    for mnemonic in ("csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci"):
        for csr in (0x008, 0x009, 0x00A, 0x00F, 0xC20, 0xC21, 0xC22):
            for _ in range(6):
                source = "uimm" if mnemonic.endswith("i") else "rs1"
                value = 0 if csr >> 10 == 3 else rng.randrange(32)
                if csr >> 10 == 3 and "w" in mnemonic:
                    continue  # read-only
                context = Context(rng.choice(vtypes()))
                fields = {"rd": rng.randrange(32), source: value, "csr": csr}
                vl, vstart = context.vlmax(512), rng.choice([0, 5])
                case = Case(
                    TABLE[mnemonic], fields, context, vl, vstart, rng.getrandbits(32), vxrm=rng.randrange(4)
                )
                case.x = {number: rng.getrandbits(64) for number in range(1, 32)}
                cases.append(case)
    found = differences(512, cases)
    assert not found, "\n".join(found[:20])
