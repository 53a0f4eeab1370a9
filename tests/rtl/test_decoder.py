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
from potluck.isa.table import TABLE
from potluck.isa.verilog import isa_package, op_codes, operand_widths

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


def test_two_names_that_become_one_are_refused() -> None:
    from dataclasses import replace

    row = TABLE["vadd.vv"]
    with pytest.raises(ValueError, match="OP_VADD_VV"):
        isa_package([row, replace(row, mnemonic="vadd_vv")])
