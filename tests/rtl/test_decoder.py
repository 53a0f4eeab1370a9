"""The decoders made from the instruction table, in Verilator and Icarus, against the table's own decoder."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from potluck.hdl.bench import cocotb_run
from potluck.hdl.build import build_library, cocotb_build
from potluck.isa.context import Context
from potluck.isa.decode import Decoder, decoder
from potluck.isa.machine import load_machine
from potluck.isa.table import TABLE
from potluck.isa.verilog.core import ROUTES, route, uses
from potluck.isa.verilog.table import isa_package, op_codes, operand_widths
from potluck.sim.timing import rows as tr
from potluck.sim.timing.rows import timing_row
from tests.differential.generate import VTYPES, suits

HERE = Path(__file__).parent

pytestmark = pytest.mark.usefixtures("rtl_tools")


def make_words(each: int, flipped: int, random: int, seed: int) -> NDArray[np.uint32]:
    scope: dict[str, Callable[..., NDArray[np.uint32]]] = {}
    exec((HERE / "decoder_words.py").read_text(), scope)
    return scope["make_words"](each, flipped, random, seed)


def harness() -> str:
    """C++ that puts op and every operand of a word in a row of int32."""
    stores = "\n".join(
        f"        *outputs++ = int32_t(uint32_t(top->{name}_o) << {32 - width})"
        f" {'>>' if name in ('imm', 'off') else '>> 0; outputs[-1] = uint32_t(outputs[-1]) >>'} {32 - width};"
        for name, width in operand_widths().items()
    )
    return f"""#include <cstdint>
#include <memory>
#include "Visa_decoder.h"
#include "verilated.h"

extern "C" void decoder_run(uint64_t count, const uint32_t* words, int32_t* outputs) {{
    const auto context = std::make_unique<VerilatedContext>();
    const auto top = std::make_unique<Visa_decoder>(context.get());
    for (uint64_t i = 0; i < count; i++) {{
        top->word_i = words[i];
        top->eval();
        *outputs++ = top->op_o;
{stores}
    }}
}}
"""


def run(library: Path, *arrays: NDArray[np.generic]) -> None:
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in arrays]
    ctypes.CDLL(str(library)).decoder_run(ctypes.c_uint64(arrays[0].size), *pointers)


def test_every_row_and_random_words_decode_as_in_the_table(tmp_path: Path) -> None:
    source = tmp_path / "isa_decoder.cc"
    source.write_text(harness())
    words = make_words(60, 60, 200_000, seed=11)
    widths = operand_widths()
    outputs = np.zeros((words.size, 1 + len(widths)), np.int32)
    run(build_library("isa_decoder", source, optimize="-O1"), words, outputs)

    expected = decoder().decode_text(words)
    codes = np.array([*(op_codes().get(insn.mnemonic, 0) for insn in decoder().insns), 0])
    known = codes[expected.index] > 0  # compressed words are none of the hardware decoder's
    assert np.array_equal(outputs[:, 0], codes[expected.index])
    assert set(outputs[:, 0].tolist()) == set(range(len(op_codes()) + 1))
    for column, name in enumerate(widths, 1):
        assert np.array_equal(
            outputs[:, column], np.where(known, expected.operands[name], 0).astype(np.int32)
        ), name


def test_icarus_agrees_on_a_sample(tmp_path: Path) -> None:
    cocotb_run(cocotb_build("isa_decoder", "icarus"), HERE / "decoder_cases.py", tmp_path, seed=5)


def test_vmxdotp_under_every_control_word() -> None:
    rows = [insn for insn in TABLE.values() if insn.mnemonic.startswith("vmxdotp.")]
    assert len(rows) == 4
    generator = np.random.Generator(np.random.Philox(7))
    own = np.repeat(np.array([insn.match for insn in rows], np.uint32), 1 << 14)
    masks = np.repeat(np.array([insn.mask for insn in rows], np.uint32), 1 << 14)
    own |= generator.integers(0, 1 << 32, own.size, np.uint32) & ~masks
    others = make_words(3, 3, 5000, seed=8)
    words = np.concatenate([own, others])
    fcsr = (np.arange(words.size) % (1 << 14)).astype(np.uint32)
    outputs = np.zeros((words.size, 12), np.uint32)
    run(build_library("mxdotp_decoder", HERE / "mxdotp_decoder.cc", optimize="-O1"), words, fcsr, outputs)

    table = Decoder(rows)
    formats = {"e5m2": 0, "e4m3": 1, "e2m1": 2}
    for word, control, output in zip(words.tolist(), fcsr.tolist(), outputs.tolist(), strict=True):
        found = table.decode(word)
        assert output[0] == (found is not None), hex(word)
        if found is None:
            assert output[1] == 0
            continue
        insn, fields = found
        context = Context(0, control >> 5)
        quad, scalar = ".q" in insn.mnemonic, insn.mnemonic.endswith("f")
        illegal = context.frm > 4 or (quad and not context.bf16_destination)
        first, third = (fields["fs1"], fields["fs3"]) if scalar else (fields["vs1"], fields["vs3"])
        registers = [fields["vd"], first, fields["vs2"], third, fields["vs4"]]
        assert output[1:] == [
            illegal,
            quad,
            scalar,
            *registers,
            formats[context.mx_format],
            quad,
            context.frm,
        ], (
            hex(word),
            hex(control),
        )


EXPANDER = """#include <cstdint>
#include <memory>
#include "Visa_expander.h"
#include "verilated.h"

extern "C" void decoder_run(uint64_t count, const uint32_t* parcels, uint32_t* words) {
    const auto context = std::make_unique<VerilatedContext>();
    const auto top = std::make_unique<Visa_expander>(context.get());
    for (uint64_t i = 0; i < count; i++) {
        top->parcel_i = parcels[i];
        top->eval();
        words[i] = top->word_o;
    }
}
"""


def test_every_parcel_expands_as_in_the_table(tmp_path: Path) -> None:
    source = tmp_path / "isa_expander.cc"
    source.write_text(EXPANDER)
    parcels = np.arange(1 << 16, dtype=np.uint32)
    words = np.zeros(parcels.size, np.uint32)
    run(build_library("isa_expander", source, optimize="-O1"), parcels, words)
    table = decoder()
    known = 0
    for parcel, word in enumerate(words.tolist()):
        found = table.execute(parcel) if parcel & 3 != 3 else None
        assert word == (found[0].encode(found[1]) if found else 0), hex(parcel)
        known += found is not None
    assert known > 40_000


def test_core_routes_are_those_of_the_timer() -> None:
    """Of every row: the path that the simulator times, and the registers that it waits for."""
    machine = load_machine("spatz-mx")
    paths = {
        "alu": tr.SCALAR, "multiply": tr.SCALAR, "divide": tr.SCALAR, "branch": tr.BRANCH, "jump": tr.BRANCH,
        "load": tr.LOAD, "store": tr.STORE, "atomic": tr.LOAD, "csr": tr.SCALAR, "fence": tr.SCALAR, "none": tr.SCALAR,
        "fence_i": tr.STORE, "ecall": tr.SCALAR, "ebreak": tr.SCALAR, "wfi": tr.SCALAR, "dma": tr.SCALAR,
        "float_load": tr.FLOAT_LOAD, "float_store": tr.FLOAT_STORE, "move": tr.MOVE, "float": tr.FLOAT, "vset": tr.VSET,
        "vector": tr.VECTOR, "vector_load": tr.VECTOR_LOAD, "vector_store": tr.VECTOR_STORE,
    }  # fmt: skip
    numbers = {"rd": 1, "rs1": 2, "rs2": 3, "fd": 4, "fs1": 5, "fs2": 6, "fs3": 7}
    banks = {"x": [tr.XD, tr.XS1, tr.XS2], "f": [tr.FD, tr.FS1, tr.FS2, tr.FS3]}
    assert set(paths) == set(ROUTES)
    for insn in TABLE.values():
        if insn.length != 4:
            continue
        vtype = next((v for v in VTYPES if suits(insn.mnemonic, v)), 0)
        fields = {piece.name: numbers.get(piece.name, 8) for piece in insn.pieces}
        row = timing_row(insn, fields, Context(vtype, 1 << 3), machine)
        assert row[tr.PATH] == paths[route(insn)], insn.mnemonic
        named = uses(insn)
        for bank, columns in banks.items():
            waits = {int(row[column]) for column in columns if row[column] >= 0}
            mine = {numbers[name] for name in named if (name[0] == "f") == (bank == "f")}
            assert waits == mine, (insn.mnemonic, bank)


def test_two_names_that_become_one_are_refused() -> None:
    from dataclasses import replace

    row = TABLE["vadd.vv"]
    with pytest.raises(ValueError, match="OP_VADD_VV"):
        isa_package([row, replace(row, mnemonic="vadd_vv")])
