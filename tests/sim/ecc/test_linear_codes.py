"""Bit-exact codes: published constants, `galois` as an independent reference, every correctable pattern."""

from __future__ import annotations

import binascii
from itertools import combinations

import galois
import numpy as np
import pytest
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.sim.ecc.bch import bch_dec, generator
from potluck.sim.ecc.crc import crc16
from potluck.sim.ecc.hamming import artifact_secded, ascending_columns, on_die_sec
from potluck.sim.ecc.hsiao import hsiao, hsiao_columns
from potluck.sim.ecc.interface import Status, Words, as_words, int_rows, words_of
from potluck.sim.ecc.linear import LinearCode
from potluck.sim.ecc.reed_solomon import dsc16, dsc256, extended_ssc, hbm3_on_die, ssc
from potluck.sim.ecc.registry import CODES, by_check_bits, code

HSIAO_72_64 = """07 0b 13 23 43 83 0d 15 25 45 85 19 29 49 89 31 51 91 61 a1 c1 0e 16 26 46 86 1a 2a 4a 8a 32 52 92 62
 a2 c2 1c 2c 4c 8c 34 54 94 64 a4 c4 38 58 98 68 a8 c8 70 b0 d0 e0 1f e3 7c 8f f1 3e c7 f8"""
HSIAO_39_32 = (
    """07 38 43 1c 61 0e 70 0b 34 45 1a 62 0d 31 46 58 23 2c 51 16 68 13 4c 25 2a 52 15 29 4a 54 26 19"""
)
DSC_MASKS = """a59a79f9 febf8b1b ed6e1636 dacd3c7c 7dd528fb 877e691d 1ffdc23a 3eea9475 6b196b65 ad2badae 5a465a5d
 b58cb5ba a2472b76 f6c86d8a ec91ca15 d923953b"""
SSC_MASKS = """e2c4881020408001 c488102040800102 6ad4a850a0418204 366cd8b061c28408 8e1c3871e2c48810 1c3871e2c4881020
 3871e2c488102040 71e2c48810204080"""
RNG = np.random.default_rng(7)

LINEAR = {
    "hsiao_72_64": hsiao(64, 8),
    "hsiao_39_32": hsiao(32, 7),
    "hsiao_137_128": hsiao(128, 9),
    "hsiao_272_256": hsiao(256, 16),
    "secded_artifact": artifact_secded(),
    "on_die": on_die_sec(),
    "bch_78_64": bch_dec(64),
    "bch_79_64": bch_dec(64, extended=True),
    "bch_144_128": bch_dec(128),
    "bch_274_256": bch_dec(256),
    "rs_12_8": dsc16(),
    "rs_10_8": ssc(10),
    "rs_18_16": ssc(18),
    "rs_34_32": ssc(34),
    "rs_36_32": dsc256(),
    "rs_10_8_extended": extended_ssc(),
    "rs_19_17": hbm3_on_die(),
}


def hexadecimal(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def random_words(bits: int, rows: int) -> Words:
    return int_rows(
        [int.from_bytes(RNG.bytes(words_of(bits) * 8)) & ((1 << bits) - 1) for _ in range(rows)], bits
    )


def symbols(codeword_bits: NDArray[np.uint8], bits: int) -> NDArray[np.int64]:
    return codeword_bits.reshape(-1, bits) @ (1 << np.arange(bits))


def test_hsiao_columns_and_checks_are_the_published_ones() -> None:
    assert hsiao_columns(64, 8) == hexadecimal(HSIAO_72_64)
    assert hsiao_columns(32, 7) == hexadecimal(HSIAO_39_32)
    data = int_rows([0x0123456789ABCDEF, (1 << 64) - 1, 0xDEADBEEFCAFEF00D], 64)
    assert hsiao(64, 8).checks_of(data).tolist() == [0x24, 0x00, 0x1B]
    data = int_rows([0x89ABCDEF, 0xFFFFFFFF, 0xCAFEF00D], 32)
    assert hsiao(32, 7).checks_of(data).tolist() == [0x72, 0x60, 0x47]
    with pytest.raises(DataError, match="no SEC-DED"):
        hsiao_columns(64, 7)


@pytest.mark.parametrize("name, rows, ones", [("hsiao_72_64", 8, 208), ("hsiao_39_32", 7, 96)])
def test_hsiao_rows_are_balanced(name: str, rows: int, ones: int) -> None:
    weights = LINEAR[name].parity_matrix[:, :-rows].sum(axis=1)
    assert weights.sum() == ones
    assert weights.max() - weights.min() <= 1


def triple_miscorrections(columns: list[int], check_bits: int) -> float:
    every = np.array([*columns, *(1 << r for r in range(check_bits))])
    known = np.zeros(1 << check_bits, bool)
    known[every] = True
    pairs = np.array(list(combinations(range(len(every)), 2)))
    pair_syndromes = every[pairs[:, 0]] ^ every[pairs[:, 1]]
    wrong = total = 0
    for third in range(len(every)):
        later = pairs[:, 0] > third
        wrong += int(known[pair_syndromes[later] ^ every[third]].sum())
        total += int(later.sum())
    return wrong / total


@pytest.mark.parametrize(
    "data, checks, expected", [(64, 8, 0.563), (32, 7, 0.597), (256, 10, 0.537), (256, 16, 0.061)]
)
def test_hsiao_triple_miscorrection_is_the_published_share(data: int, checks: int, expected: float) -> None:
    assert triple_miscorrections(hsiao_columns(data, checks), checks) == pytest.approx(expected, abs=6e-4)


def test_on_die_sec_miscorrects_most_double_errors() -> None:
    columns = [*ascending_columns(128), *(1 << r for r in range(8))]
    assert columns[127] == 136
    wrong = sum((a ^ b) in columns for a, b in combinations(columns, 2))
    assert wrong / (136 * 135 / 2) == pytest.approx(0.88, abs=5e-3)


def test_artifact_secded_ends_at_its_largest_column() -> None:
    assert max(c & 0x7FFF for c in artifact_secded().columns.tolist()) == 0x109


@pytest.mark.parametrize("bits", [6, 7, 8, *(pytest.param(b, marks=pytest.mark.slow) for b in (9, 10))])
@pytest.mark.parametrize("errors", [2, 3])
def test_bch_generators_are_those_of_galois(bits: int, errors: int) -> None:
    published = {2: [0x1539, 0x4377, 0x16F63, 0x495C9, 0x101877],
                 3: [0x782CF, 0x26D9E3, 0x1BBA1B5, 0xD612B79, 0x50A91113]}  # fmt: skip
    assert generator(bits, errors) == published[errors][bits - 6]
    polynomial = galois.Poly.Int({6: 0x43, 7: 0x89, 8: 0x11D, 9: 0x211, 10: 0x409}[bits])
    extension = galois.GF(2**bits, irreducible_poly=polynomial, compile="python-calculate")
    reference = galois.BCH(2**bits - 1, d=2 * errors + 1, extension_field=extension)
    assert int(reference.generator_poly) == generator(bits, errors)


@pytest.mark.parametrize("data_bits", [64, 128, 256])
def test_bch_codewords_are_multiples_of_the_generator(data_bits: int) -> None:
    bch = bch_dec(data_bits)
    g = galois.Poly.Int(generator({64: 7, 128: 8, 256: 9}[data_bits], 2))
    for row in random_words(data_bits, 20):
        checks = int(bch.checks_of(row[None])[0])
        word = int.from_bytes(row.tobytes(), "little") << bch.check_bits | checks
        assert galois.Poly.Int(word) % g == 0


@pytest.mark.parametrize("name", ["rs_12_8", "rs_10_8", "rs_18_16", "rs_34_32", "rs_36_32", "rs_19_17"])
def test_rs_codewords_vanish_at_the_roots_in_galois(name: str) -> None:
    rs = LINEAR[name]
    bits, modulus = {"rs_12_8": (4, 0x13), "rs_19_17": (16, 0x1100B)}.get(name, (8, 0x11D))
    gf = galois.GF(2**bits, irreducible_poly=galois.Poly.Int(modulus), primitive_element=2,
                   compile="python-calculate")  # fmt: skip
    for row in random_words(rs.data_bits, 20):
        data = np.unpackbits(row.view(np.uint8), bitorder="little")[: rs.data_bits]
        if name == "rs_19_17":
            data = data.reshape(-1, 16)[:, ::-1].ravel()
        checks = int(rs.checks_of(row[None])[0]) >> np.arange(rs.check_bits) & 1
        word = gf(symbols(np.concatenate([data, checks]), bits))
        for j in range(rs.check_bits // bits):
            assert galois.Poly(word[::-1])(gf(2) ** j) == 0


def test_dsc_constants_and_vectors() -> None:
    dsc = dsc16()
    assert dsc.xor_masks() == hexadecimal(DSC_MASKS)
    assert sum(m.bit_count() for m in dsc.xor_masks()) == 288
    words = [sum(s << 4 * i for i, s in enumerate(data)) for data in ([1, 2, 3, 4, 5, 6, 7, 8], [15] * 8)]
    data = int_rows([*words, 1 << 28], 32)
    assert dsc.checks_of(data).tolist() == [0x8213, 0xE349, 0xACDA]


def test_dsc_corrects_15031_syndromes_and_miscorrects_the_published_share() -> None:
    status = dsc16().locator.locate(np.arange(65536, dtype=np.uint64)).status
    assert (status != Status.DUE).sum() == 15031
    assert (status != Status.DUE).mean() == pytest.approx(0.2294, abs=5e-5)


def test_ssc_constants_and_vectors() -> None:
    code8 = extended_ssc()
    assert code8.xor_masks() == [0x0101010101010101 << b for b in range(8)] + hexadecimal(SSC_MASKS)
    data = as_words(bytes([1, 2, 3, 4, 5, 6, 7, 8]) + b"\xff" * 8 + b"\0" * 7 + b"\1", 64)
    assert code8.checks_of(data).tolist() == [0x1008, 0xE200, 0x8001]


def test_hbm3_vector_and_crc() -> None:
    payload = as_words(bytes(range(32)))
    check = crc16().checks_of(payload)
    assert int(f"{int(check[0]):016b}"[::-1], 2) == 0x2979
    assert hbm3_on_die().checks_of(np.hstack([payload, check[:, None]])).tolist() == [0x7D73540A]
    for raw in (RNG.bytes(32) for _ in range(50)):
        mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in raw)
        ours = int(crc16().checks_of(as_words(raw))[0])
        assert int(f"{ours:016b}"[::-1], 2) == binascii.crc_hqx(mirrored, 0)


def flips(linear: LinearCode, supports: list[tuple[int, ...]]) -> tuple[Words, Words]:
    values = [sum(1 << b for b in support) for support in supports]
    data = int_rows([v & ((1 << linear.data_bits) - 1) for v in values], linear.data_bits)
    return data, np.array([v >> linear.data_bits for v in values], np.uint64)


def assert_corrects(linear: LinearCode, supports: list[tuple[int, ...]]) -> None:
    errors, check_errors = flips(linear, supports)
    data = random_words(linear.data_bits, len(supports))
    read = linear.decode(data ^ errors, linear.checks_of(data)[:, None] ^ check_errors[:, None])
    assert np.array_equal(read.data, data)
    assert (read.status == Status.CORRECTED).all()


@pytest.mark.parametrize("name", LINEAR)
def test_clean_words_stay_and_single_bits_are_corrected(name: str) -> None:
    linear = LINEAR[name]
    data = random_words(linear.data_bits, 10)
    read = linear.decode(*linear.encode(data))
    assert np.array_equal(read.data, data)
    assert not read.status.any()
    assert_corrects(linear, [(b,) for b in range(linear.data_bits + linear.check_bits)])


@pytest.mark.parametrize("name", ["bch_78_64", "bch_79_64", "bch_144_128", "bch_274_256"])
def test_dec_codes_correct_every_pair(name: str) -> None:
    assert_corrects(
        LINEAR[name], list(combinations(range(LINEAR[name].data_bits + LINEAR[name].check_bits), 2))
    )


@pytest.mark.parametrize("name", [n for n in LINEAR if n.startswith("hsiao") or n == "secded_artifact"])
def test_secded_detects_every_pair(name: str) -> None:
    linear = LINEAR[name]
    length = linear.data_bits + linear.check_bits
    errors, check_errors = flips(linear, list(combinations(range(length), 2)))
    read = linear.decode(errors, check_errors[:, None])
    assert (read.status == Status.DUE).all()


def test_extended_bch_detects_triples() -> None:
    linear = LINEAR["bch_79_64"]
    supports = [tuple(RNG.choice(79, 3, replace=False).tolist()) for _ in range(5000)]
    errors, check_errors = flips(linear, supports)
    assert (linear.decode(errors, check_errors[:, None]).status == Status.DUE).all()


@pytest.mark.parametrize("name, bits, count", [
    ("rs_12_8", 4, 2), ("rs_10_8", 8, 1), ("rs_18_16", 8, 1), ("rs_34_32", 8, 1), ("rs_36_32", 8, 2),
    ("rs_10_8_extended", 8, 1), ("rs_19_17", 16, 1),
])  # fmt: skip
def test_symbol_codes_correct_random_symbols(name: str, bits: int, count: int) -> None:
    linear = LINEAR[name]
    length = (linear.data_bits + linear.check_bits) // bits
    supports = []
    for _ in range(4000):
        places = RNG.choice(length, count, replace=False)
        values = RNG.integers(1, 1 << bits, count)
        supports.append(tuple(int(p) * bits + b for p, v in zip(places, values, strict=True)
                              for b in range(bits) if v >> b & 1))  # fmt: skip
    assert_corrects(linear, supports)


def test_dsc_corrects_all_two_symbol_errors() -> None:
    one = [0] + [v << 4 * i for i in range(12) for v in range(1, 16)]
    every = sorted({a ^ b for a in one for b in one} - {0})
    assert len(every) == 180 + 66 * 225
    assert_corrects(dsc16(), [tuple(b for b in range(48) if v >> b & 1) for v in every])


@pytest.mark.parametrize("name", CODES)
def test_registered_codes_restore_a_single_data_bit_or_say_so(name: str) -> None:
    protection = code(name)
    data = random_words(256, 64)
    if name == "zero_space":
        weights = RNG.integers(-64, 64, (64, 32)).astype(np.int8)
        weights[:, 7::8] = RNG.integers(-128, 128, (64, 4))
        data = as_words(weights)
    stored = protection.encode(data)
    assert np.array_equal(protection.decode(*stored).data, data)
    assert not protection.decode(*stored).status.any()
    bits = RNG.integers(0, 256, 64)
    faulty = stored.data.copy()
    faulty[np.arange(64), bits >> 6] ^= np.uint64(1) << (bits & 63).astype(np.uint64)
    read = protection.decode(faulty, stored.checks)
    exact = (read.data == data).all(axis=1)
    if name in ("none", "crc16"):
        assert not exact.any()
    elif name == "parity_null" or name.startswith("top"):
        assert (exact | protection.bounded(data, read.data)).all()
    else:
        assert exact.all()
    if name != "none" and not name.startswith("top"):
        assert (read.status.max(axis=1) == (Status.DUE if name == "crc16" else Status.CORRECTED)).all()


def test_grouped_by_check_bits() -> None:
    groups = by_check_bits()
    assert list(groups) == sorted(groups)
    assert {"hsiao_272_256", "secded_artifact", "crc16", "parity_null", "top4_rs_12_8"} <= set(groups[16])
    assert groups[56] == ["hsiao_39_32", "vapi_78_64"]
    with pytest.raises(DataError, match="no code"):
        code("hsiao")


def test_zero_space_refuses_weights_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="outside"):
        code("zero_space").encode(as_words(np.full((1, 32), 100, np.int8)))
