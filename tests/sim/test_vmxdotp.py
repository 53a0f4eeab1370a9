"""VMXDOTP as executed: golden vectors as whole programs, random lanes through the compiled handlers."""

from __future__ import annotations

import numpy as np
import pytest

from potluck.isa.arithmetic.mxdot import CHUNK_ELEMENTS, ElementName, mxdot
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.context import Context
from potluck.isa.formats.rounding import ROUNDINGS
from potluck.isa.machine import load_machine
from potluck.isa.rows.vmxdotp import FORMATS
from potluck.isa.table import TABLE, table_of
from potluck.sim import state as st
from potluck.sim.cluster import Cluster
from potluck.sim.jit.handler import Variant
from tests.isa.test_mxdot import GOLDEN
from tests.sim.test_handlers import VLEN, run_handler

FLAGS = {"-": 0, "NX": 1, "UF": 2, "OF": 4, "DZ": 8, "NV": 16}
CONTROL = {"e5m2": 0, "e4m3": 1 << 9, "e2m1": 1 << 13}


@pytest.mark.parametrize("encoding", ["spatz", "custom", "wide64"])
@pytest.mark.parametrize("form", ["vv", "vf"])
def test_golden_vectors_as_programs(form: str, encoding: str) -> None:
    """Every golden vector of the facts (§1.6), flags read back through fcsr by the program itself."""
    a = Assembler(encoding)
    a.text(".text\n.globl _start\n_start:\nbnez a0, out\nla s0, results\nla s1, operands\n")
    data = []
    for line in GOLDEN:
        fmt, acc, frm, start, x, y, sx, sy, *_ = line.split()
        wide = acc == "fp32"
        control = CONTROL[fmt] | ROUNDINGS.index(frm) << 5 | (0 if wide else 1 << 8)
        name = {("vv", True): "vmxdotp.ww", ("vf", True): "vmxdotp.wf", ("vv", False): "vmxdotp.qq",
                ("vf", False): "vmxdotp.qf"}[form, wide]  # fmt: skip
        registers = "v8, v9, v10, v11, v12" if form == "vv" else "v8, ft9, v10, ft10, v12"
        if not wide:  # EMUL of the elements is 4 at LMUL = 1
            registers = "v8, v16, v20, v11, v12" if form == "vv" else "v8, ft9, v20, ft10, v12"
        v1, v2 = ("v9", "v10") if wide else ("v16", "v20")
        data.append((int(start, 16), int(x, 16), int(y, 16), int(sx, 16), int(sy, 16)))
        sew, lmul = ("e32", "mf2") if wide else ("e16", "mf4")
        a.text(f"""
            li t0, {control}
            csrw fcsr, t0
            vsetivli t1, 1, e64, m1, ta, ma
            addi t2, s1, 8
            vle64.v {v1}, (t2)
            fld ft9, 0(t2)
            addi t2, s1, 16
            vle64.v {v2}, (t2)
            vsetivli t1, 1, e8, m1, ta, ma
            addi t2, s1, 24
            vle8.v v11, (t2)
            lbu t3, 0(t2)
            fmv.d.x ft10, t3
            addi t2, s1, 25
            vle8.v v12, (t2)
            vsetivli t1, 1, {sew}, {lmul}, ta, ma
            vle{sew[1:]}.v v8, (s1)
            {name} {registers}
            vse{sew[1:]}.v v8, (s0)
            frflags t0
            sw t0, 4(s0)
            addi s0, s0, 8
            addi s1, s1, 32
        """)
    a.text("out:\nli a7, 93\nli a0, 0\necall\n.data\n.align 3\noperands:\n")
    for start, x, y, sx, sy in data:
        a.text(f".dword {start}, {x}, {y}\n.byte {sx}, {sy}, 0, 0, 0, 0, 0, 0\n")
    a.text(f"results: .zero {8 * len(GOLDEN)}\n")
    program = a.assemble().program()
    cluster = Cluster(
        program, load_machine("spatz-mx", {"cluster.cores": 1, "isa.vmxdotp_encoding": encoding})
    )
    cluster.run()
    words = cluster.memory.view(program.symbols["results"], 8 * len(GOLDEN)).view(np.uint32).reshape(-1, 2)
    for line, (value, flags) in zip(GOLDEN, words.tolist(), strict=True):
        *_, result, names = line.split()
        assert (value, flags) == (int(result, 16), sum(FLAGS[n] for n in names.split(","))), line


def lanes(fmt: str, wide: bool, count: int, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Accumulators, chunks and scales with special codes and near-cancelling exponents."""
    acc = generator.integers(0, 1 << 32, count, np.uint32)
    special = np.array(
        [0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 1, 0x7F7FFFFF], np.uint32
    )
    pick = generator.random(count) < 0.1
    acc[pick] = generator.choice(special, int(pick.sum()))
    near = generator.random(count) < 0.5
    acc[near] = (acc[near] & 0x807FFFFF) | (
        generator.integers(100, 155, int(near.sum())).astype(np.uint32) << 23
    )
    if not wide:
        acc = (acc >> 16).astype(np.uint16)
    a, b = (generator.integers(0, 1 << 64, count, np.uint64) for _ in range(2))
    if fmt != "e2m1":  # mostly finite
        tame = generator.random(count) < 0.9
        a[tame] &= np.uint64(0xBBBBBBBBBBBBBBBB)
        b[tame] &= np.uint64(0xBBBBBBBBBBBBBBBB)
    sa, sb = (np.where(generator.random(count) < 0.9, generator.integers(115, 140, count),
                       generator.integers(0, 256, count)).astype(np.uint8) for _ in range(2))  # fmt: skip
    return acc, a, b, sa, sb


def unpacked(chunks: np.ndarray, fmt: str) -> np.ndarray:
    """Element codes [..., k] of 64-bit chunks."""
    bits = 64 // CHUNK_ELEMENTS[fmt]
    shifts = np.arange(0, 64, bits, dtype=np.uint64)
    return (chunks[:, None] >> shifts & np.uint64((1 << bits) - 1)).astype(np.uint8)


def agree(fmt: str, wide: bool, frm: int, count: int, keep: bool = True) -> None:
    """Compiled lanes and the contract, with flags if they are kept."""
    generator = np.random.Generator(np.random.Philox(key=[frm, len(fmt) + wide]))
    control = CONTROL[fmt] | frm << 5 | (0 if wide else 1 << 8)
    context = Context((2 if wide else 1) << 3 | (1 if wide else 0), control >> 5)
    insn = TABLE["vmxdotp.ww" if wide else "vmxdotp.qq"]
    variant = Variant(insn, context, flags=keep)
    batch = 29  # ragged: a whole chunk and a part
    fields = {"vd": 0, "vs1": 8, "vs2": 16, "vs3": 24, "vs4": 25}
    hart = st.HartState(0, VLEN)
    acc, a, b, sa, sb = lanes(fmt, wide, count, generator)
    want, flags = mxdot(
        acc, unpacked(a, fmt), unpacked(b, fmt), sa, sb, fmt, "fp32" if wide else "bf16", ROUNDINGS[frm]
    )
    for i in range(0, count - batch + 1, batch):
        part = slice(i, i + batch)
        hart["vl"], hart["fcsr"] = batch, control
        for register, value in ((0, acc), (8, a), (16, b), (24, sa), (25, sb)):
            raw = np.ascontiguousarray(value[part]).view(np.uint8)
            start = st.V + register * VLEN // 8
            hart.raw[start : start + raw.size] = raw
        run_handler(variant, hart, fields)
        got = hart.raw[st.V : st.V + batch * acc.itemsize].view(acc.dtype)
        np.testing.assert_array_equal(got, want[part])
        if keep:
            assert hart["fcsr"] & 31 == int(np.bitwise_or.reduce(flags[part]))


FORMS = [(fmt, wide) for fmt in CONTROL for wide in (True, False)]


@pytest.mark.parametrize("frm", range(5))
@pytest.mark.parametrize(("fmt", "wide"), FORMS)
def test_random_lanes_equal_the_contract(fmt: str, wide: bool, frm: int) -> None:
    agree(fmt, wide, frm, 20_000 if frm == 0 else 3_000)


@pytest.mark.parametrize(("fmt", "wide"), FORMS)
def test_random_lanes_of_a_program_that_reads_no_flags(fmt: str, wide: bool) -> None:
    agree(fmt, wide, 0, 20_000, keep=False)


def test_flags_once_inexact_is_set() -> None:
    """Then only unusual results look for more: one lane of a kind beside seven that are merely inexact."""
    generator = np.random.Generator(np.random.Philox(11))
    variant = Variant(TABLE["vmxdotp.ww"], Context(2 << 3, CONTROL["e4m3"] >> 5), flags=True)
    hart = st.HartState(0, VLEN)
    for _ in range(3_000):
        acc, a, b, sa, sb = lanes("e4m3", True, 8, generator)
        a[1:], b[1:], sa[1:], sb[1:] = 0x3031323334353637, 0x3031323334353637, 127, 127
        acc[1:] = 0x4B800001  # its last bit is above that of the sum
        want, flags = mxdot(acc, unpacked(a, "e4m3"), unpacked(b, "e4m3"), sa, sb, "e4m3")
        hart["vl"], hart["fcsr"] = 8, CONTROL["e4m3"] | 1
        for register, value in ((0, acc), (8, a), (16, b), (24, sa), (25, sb)):
            raw = np.ascontiguousarray(value).view(np.uint8)
            hart.raw[st.V + register * VLEN // 8 :][: raw.size] = raw
        run_handler(variant, hart, {"vd": 0, "vs1": 8, "vs2": 16, "vs3": 24, "vs4": 25})
        np.testing.assert_array_equal(hart.raw[st.V : st.V + 32].view(np.uint32), want)
        assert hart["fcsr"] & 31 == int(np.bitwise_or.reduce(flags)) | 1


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("fmt", FORMATS)
def test_long_words_carry_format_rounding_and_mask(fmt: ElementName, wide: bool, masked: bool) -> None:
    """Every format of OCP MX in the 64-bit encoding against the contract, whatever fcsr says."""
    generator = np.random.Generator(np.random.Philox(len(fmt) + wide))
    frm, count = 3, 29
    insn = table_of("wide64")[f"vmxdotp.{'ww' if wide else 'qq'}.{fmt}"]
    context = Context((2 if wide else 1) << 3 | (1 if wide else 0), CONTROL["e2m1"] >> 5)
    fields = {"vd": 2, "vs1": 8, "vs2": 16, "vs3": 24, "vs4": 25}
    hart = st.HartState(0, VLEN)
    for _ in range(40):
        acc, a, b, sa, sb = lanes(fmt, wide, count, generator)
        if fmt in ("e3m2", "e2m3"):
            a, b = a & np.uint64(0x3F3F3F3F3F3F3F3F), b & np.uint64(0x3F3F3F3F3F3F3F3F)
        want, flags = mxdot(
            acc, unpacked(a, fmt), unpacked(b, fmt), sa, sb, fmt, "fp32" if wide else "bf16", ROUNDINGS[frm]
        )
        hart["vl"], hart["fcsr"] = count, CONTROL["e2m1"]
        hart.v[0] = generator.integers(0, 256, VLEN // 8, np.uint8)
        active = (
            np.unpackbits(hart.v[0], bitorder="little")[:count].astype(bool)
            if masked
            else np.ones(count, bool)
        )
        for register, value in ((2, acc), (8, a), (16, b), (24, sa), (25, sb)):
            raw = np.ascontiguousarray(value).view(np.uint8)
            start = st.V + register * VLEN // 8
            hart.raw[start : start + raw.size] = raw
        run_handler(Variant(insn, context, masked, flags=True, rm=frm), hart, fields)
        got = hart.raw[st.V + 2 * VLEN // 8 :][: count * acc.itemsize].view(acc.dtype)
        np.testing.assert_array_equal(got, np.where(active, want, acc))
        assert hart["fcsr"] & 31 == int(np.bitwise_or.reduce(flags[active]))


@pytest.mark.slow
@pytest.mark.parametrize(("fmt", "wide"), FORMS)
def test_a_million_random_lanes_equal_the_contract(fmt: str, wide: bool) -> None:
    agree(fmt, wide, 0, 1_000_000)
