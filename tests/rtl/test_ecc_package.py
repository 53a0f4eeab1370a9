"""The generated package of code matrices against the published masks, without any hardware tool."""

from __future__ import annotations

import re

import pytest

from potluck.sim.ecc.interface import Status
from potluck.sim.ecc.rangeguard.hardware import RangeFormat
from potluck.sim.ecc.verilog import ecc_package, hsiao_codes

# Fact sheet 1.3: per check bit the RID bits whose parity it is.
DSC = """a59a79f9 febf8b1b ed6e1636 dacd3c7c 7dd528fb 877e691d 1ffdc23a 3eea9475
6b196b65 ad2badae 5a465a5d b58cb5ba a2472b76 f6c86d8a ec91ca15 d923953b"""
SSC_WEIGHTED = """e2c4881020408001 c488102040800102 6ad4a850a0418204 366cd8b061c28408
8e1c3871e2c48810 1c3871e2c4881020 3871e2c488102040 71e2c48810204080"""
SSC_PLAIN = [0x0101010101010101 << bit for bit in range(8)]


def array(name: str) -> list[int]:
    """Elements of a packed array of the package, element 0 first."""
    found = re.search(
        rf"localparam logic \[(\d+):0\]\[(\d+):0\] {name} = \{{(.*?)\}};", ecc_package(), re.DOTALL
    )
    assert found, name
    items = re.findall(r"(\d+)'h([0-9a-f]+)", found[3])
    assert {int(width) for width, _ in items} == {int(found[2]) + 1}
    assert len(items) == int(found[1]) + 1
    return [int(value, 16) for _, value in reversed(items)]


def masks(columns: list[int], rows: int) -> list[int]:
    return [sum((column >> row & 1) << bit for bit, column in enumerate(columns)) for row in range(rows)]


def test_rangeguard_matrices_are_the_published_ones() -> None:
    assert masks(array("DSC_COLUMNS"), 16) == [int(mask, 16) for mask in DSC.split()]
    assert masks(array("SSC_COLUMNS"), 16) == SSC_PLAIN + [int(mask, 16) for mask in SSC_WEIGHTED.split()]


def test_power_sums_are_the_published_parity_check_matrix() -> None:
    # Of bit 0 of symbol i: alpha^(i j) in power sum j.
    exp = [1, 2, 4, 8, 3, 6, 12, 11, 5, 10, 7, 14, 15, 13, 9]
    assert array("DSC_SUMS")[::4] == [sum(exp[i * j % 15] << 4 * j for j in range(4)) for i in range(12)]
    assert array("DSC_LOCATORS") == exp[:12]


@pytest.mark.parametrize("data_bits, check_bits", [(32, 7), (64, 8), (128, 9), (256, 16)])
def test_hsiao_columns_make_a_sec_ded_code(data_bits: int, check_bits: int) -> None:
    columns = array(f"HSIAO_{data_bits}")
    whole = {*columns, *(1 << row for row in range(check_bits))}
    # Distinct odd columns: no single error looks like another, no double error like a single or none.
    assert len(columns) == data_bits and len(whole) == data_bits + check_bits
    assert all(column.bit_count() % 2 for column in whole)
    assert f"{data_bits}: return {check_bits};" in ecc_package()
    assert {code.data_bits for code in hsiao_codes()} == {32, 64, 128, 256}


def test_inverses_in_gf16() -> None:
    exp = [*array("DSC_LOCATORS"), 15, 13, 9]
    inverse = array("GF16_INVERSE")
    assert inverse[0] == 0
    assert all(inverse[exp[k]] == exp[-k % 15] for k in range(15))


def test_enumerations_are_those_of_python() -> None:
    text = ecc_package()
    for prefix, members in (("", Status), ("RANGE_", RangeFormat)):
        for member in members:
            assert re.search(rf"\b{prefix}{member.name} = \d'd{member.value}\b", text)
