"""cocotb test of ``isa_decoder`` against the table, run by :mod:`test_decoder`."""

import cocotb
from cocotb.triggers import Timer
from decoder_words import make_words

from potluck.isa.decode import decoder
from potluck.isa.verilog.table import op_codes, operand_widths


@cocotb.test()
async def decodes(dut):
    codes, widths = op_codes(), operand_widths()
    for word in make_words(1, 0, 100, seed=cocotb.RANDOM_SEED).tolist():
        dut.word_i.value = word
        await Timer(1, "ns")
        found = decoder().decode(word)
        found = found if found and found[0].length == 4 else None  # compressed words are expanded before
        expected = found[1] if found else {}
        assert int(dut.op_o.value) == (codes[found[0].mnemonic] if found else 0), hex(word)
        for name, width in widths.items():
            output = getattr(dut, f"{name}_o").value
            assert int(output) == expected.get(name, 0) & (1 << width) - 1, (hex(word), name)
