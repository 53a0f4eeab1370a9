"""The lane contract against golden vectors and an independent exact reference, flags included."""

import numpy as np
import pytest

from potluck.isa.arithmetic.mxdot import CHUNK_ELEMENTS, NV, NX, OF, UF, mxdot
from potluck.isa.errors import DataError
from potluck.isa.formats.elements import FORMATS
from potluck.isa.formats.rounding import ROUNDINGS
from tests.reference.mxdot_exact import mxdot_lane
from tests.reference.mxdot_lanes import lanes

GOLDEN = """
e5m2 fp32 rne 00000000 3c3c3c3c3c3c3c3c 3c3c3c3c3c3c3c3c 7f 7f 41000000 -
e4m3 fp32 rne 00000000 3838383838383838 3838383838383838 7f 7f 41000000 -
e2m1 fp32 rne 00000000 2222222222222222 2222222222222222 7f 7f 41800000 -
e5m2 fp32 rne 00000000 7b7b7b7b7b7b7b7b 7b7b7b7b7b7b7b7b 7f 7f 50c40000 -
e4m3 fp32 rne 00000000 7e7e7e7e7e7e7e7e 7e7e7e7e7e7e7e7e 7f 7f 49c40000 -
e2m1 fp32 rne 00000000 7777777777777777 7777777777777777 7f 7f 44100000 -
e5m2 fp32 rne 7f7fffff 7b7b7b7b7b7b7b7b 7b7b7b7b7b7b7b7b fe 7f 7f800000 OF,NX
e5m2 fp32 rtz 7f7fffff 7b7b7b7b7b7b7b7b 7b7b7b7b7b7b7b7b fe 7f 7f7fffff OF,NX
e5m2 fp32 rne 3f800000 3c3c3c3c3c3c3c3c 3c3c3c3c3c3c3c3c ff 7f 7fc00000 -
e5m2 fp32 rne 00000000 000000000000007f 000000000000003c 7f 7f 7fc00000 -
e5m2 fp32 rne 00000000 000000000000007d 000000000000003c 7f 7f 7fc00000 NV
e5m2 fp32 rne 00000000 000000000000007c 0000000000000000 7f 7f 7fc00000 NV
e5m2 fp32 rne 3f800000 000000000000007c 00000000000000bc 7f 7f ff800000 -
e5m2 fp32 rne ff800000 000000000000007c 000000000000003c 7f 7f 7fc00000 NV
e5m2 fp32 rup 7f000000 000000000000003c 000000000000003c 7f 7f 7f000000 NX
e5m2 fp32 rne 80000000 0000000000000000 3c3c3c3c3c3c3c3c 7f 7f 80000000 -
e5m2 fp32 rdn c1000000 3c3c3c3c3c3c3c3c 3c3c3c3c3c3c3c3c 7f 7f 00000000 -
e5m2 fp32 rne 00000000 7b7b7b7b7b7b7b7b 7b7b7b7b7b7b7b7b 00 00 00000000 NX
e5m2 fp32 rne 00000000 000000000000003c 000000000000003c 00 75 00001000 -
e5m2 bf16 rne 3f80 000000000000003c 000000000000001c 7f 7f 3f80 NX
e5m2 fp32 rne 417ea419 a5aec7978306d03b e255accb1a466884 7d 83 c87ff40f NX
e5m2 bf16 rne 3c6c 498893101c593af5 1919e93ad11745ad 84 76 42c9 NX
e4m3 fp32 rne cadb8908 ce1d62e05b4c8012 837a7935bef7e268 78 80 cadb87ce NX
e4m3 bf16 rne c709 5d111a9d5e6c9992 6c1672297608d942 78 82 c707 NX
e2m1 fp32 rne c4306e9b d82fb0f1423674a6 90624fe36b82e6c9 85 76 c42ff09b -
e2m1 bf16 rne 3e54 e261e34a7b6bc3c6 d98145593a9afa39 79 84 4175 NX
""".strip().splitlines()

FORMS = [(fmt, acc) for fmt in CHUNK_ELEMENTS for acc in ("fp32", "bf16")]


def _codes(chunk: str, fmt: str) -> list[int]:
    """Element codes of a 64-bit operand, element 0 in the least significant bits."""
    width = 64 // CHUNK_ELEMENTS[fmt]
    return [int(chunk, 16) >> (width * j) & (1 << width) - 1 for j in range(CHUNK_ELEMENTS[fmt])]


@pytest.mark.parametrize("line", GOLDEN)
def test_golden(line: str) -> None:
    fmt, acc_format, frm, acc, a, b, sa, sb, result, flags = line.split()
    lane = (int(acc, 16), _codes(a, fmt), _codes(b, fmt), int(sa, 16), int(sb, 16))
    want = int(result, 16), sum({"NV": NV, "OF": OF, "NX": NX, "-": 0}[f] for f in flags.split(","))
    got = mxdot(*lane, fmt=fmt, acc_format=acc_format, frm=frm)
    assert (int(got[0]), int(got[1])) == want
    assert mxdot_lane(*lane, fmt, acc_format, frm) == want


def _compare(fmt: str, acc_format: str, n: int, seed: int) -> None:
    rng = np.random.default_rng(np.random.Philox(seed))
    for frm in ROUNDINGS:
        acc, a, b, sa, sb = lanes(rng, fmt, acc_format, n // len(ROUNDINGS))
        result, flags = mxdot(acc, a, b, sa, sb, fmt, acc_format, frm)
        each = zip(acc.tolist(), a.tolist(), b.tolist(), sa.tolist(), sb.tolist(), strict=True)
        want = np.array([mxdot_lane(*lane, fmt, acc_format, frm) for lane in each])
        wrong = np.flatnonzero((want[:, 0] != result) | (want[:, 1] != flags))
        shown = [(hex(acc[i]), a[i], b[i], sa[i], sb[i], want[i], result[i], flags[i]) for i in wrong[:3]]
        assert wrong.size == 0, f"{wrong.size} lanes differ in {frm}: {shown}"
        assert {0, NX, NV, OF | NX, UF | NX} <= set(flags.tolist()), "the sample misses a case"


@pytest.mark.parametrize(("fmt", "acc_format"), FORMS)
def test_against_exact_reference(fmt: str, acc_format: str) -> None:
    _compare(fmt, acc_format, 20_000, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize(("fmt", "acc_format"), FORMS)
def test_against_exact_reference_full(fmt: str, acc_format: str) -> None:
    _compare(fmt, acc_format, 1_000_000, seed=2)


@pytest.mark.parametrize("fmt", ["e5m2", "e4m3"])
def test_all_element_pairs(fmt: str) -> None:
    """Every product of two codes, beside zeros, in both orders of the operands."""
    left, right = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8), indexing="ij")
    a, b = np.zeros((256, 256, 8), np.uint8), np.zeros((256, 256, 8), np.uint8)
    a[..., 3], b[..., 3] = left, right
    result, flags = mxdot(np.uint32(0), a, b, 127, 127, fmt)
    swapped = mxdot(np.uint32(0), b, a, 127, 127, fmt)
    assert np.array_equal(result, swapped[0]) and np.array_equal(flags, swapped[1])
    with np.errstate(invalid="ignore"):
        want = FORMATS[fmt].decode(left) * FORMATS[fmt].decode(right) + np.float32(0)
    assert np.array_equal(result.view(np.float32), want, equal_nan=True)


def test_broadcasting_equals_full_shapes() -> None:
    rng = np.random.default_rng(3)
    a = rng.integers(0, 16, (5, 1, 16), dtype=np.uint8)
    b = rng.integers(0, 16, (1, 7, 16), dtype=np.uint8)
    sa, sb = rng.integers(120, 130, (5, 1)), rng.integers(120, 130, (1, 7))
    result, flags = mxdot(np.zeros((5, 7), np.uint32), a, b, sa, sb, "e2m1")
    assert result.shape == flags.shape == (5, 7)
    one, _ = mxdot(np.uint32(0), a[2, 0], b[0, 4], sa[2, 0], sb[0, 4], "e2m1")
    assert one.shape == () and one == result[2, 4]


def test_wrong_calls_are_named() -> None:
    zeros = np.zeros((1, 8), np.uint8)
    with pytest.raises(DataError, match="e5m3"):
        mxdot(0, zeros, zeros, 127, 127, "e5m3")
    with pytest.raises(DataError, match="16 e2m1"):
        mxdot(0, zeros, zeros, 127, 127, "e2m1")
