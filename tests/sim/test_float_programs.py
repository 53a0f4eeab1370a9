"""Floating point as a program sees it: static and dynamic rounding modes, fflags through the CSRs, NaN boxes.

Expected numbers are written out from the specification; ``test_exact_floats`` compares operations with SoftFloat.
"""

from __future__ import annotations

import ctypes
import platform

import numpy as np
import pytest

from potluck.isa.errors import ProgramError
from potluck.sim.cluster import Cluster
from potluck.sim.hart import Hart
from tests.sim.test_cluster import EXIT, MACHINE, build, run

NV, DZ, OF, UF, NX = 16, 8, 4, 2, 1
NAN32 = 0xFFFFFFFF_7FC00000


def hart(source: str) -> Hart:
    return run(f"bnez a0, out\n{source}\nout: {EXIT}").harts[0]


def x(of: Hart, register: int) -> int:
    return int(of.state.x[register]) & (1 << 64) - 1


@pytest.mark.parametrize(
    ("frm", "third", "minus"),
    [(0, 0x3EAAAAAB, 0xBEAAAAAB), (1, 0x3EAAAAAA, 0xBEAAAAAA), (2, 0x3EAAAAAA, 0xBEAAAAAB),
     (3, 0x3EAAAAAB, 0xBEAAAAAA), (4, 0x3EAAAAAB, 0xBEAAAAAB)],
)  # fmt: skip
@pytest.mark.parametrize("static", [False, True])
def test_one_third_in_every_mode(frm: int, third: int, minus: int, static: bool) -> None:
    """A static mode overrides frm; fdiv.s fs2, fs0, fs1 is written as a word to choose rm."""
    word = 0x0C << 25 | 9 << 20 | 8 << 15 | (frm if static else 7) << 12 | 18 << 7 | 0x53
    negative = 0x0C << 25 | 9 << 20 | 7 << 15 | (frm if static else 7) << 12 | 19 << 7 | 0x53
    got = hart(f"""
        csrwi frm, {(frm + 1) % 5 if static else frm}
        li t0, 0x3f800000
        fmv.w.x fs0, t0
        li t0, 0xbf800000
        fmv.w.x ft7, t0
        li t0, 0x40400000
        fmv.w.x fs1, t0
        .word {word}
        .word {negative}
        fmv.x.w s2, fs2
        fmv.x.w s3, fs3
        frflags s4
    """)
    assert (x(got, 18) & 0xFFFFFFFF, x(got, 19) & 0xFFFFFFFF, x(got, 20)) == (third, minus, NX)


def test_flags_accrue_and_are_cleared_by_writing() -> None:
    got = hart("""
        fmv.w.x ft0, zero
        li t0, 0x3f800000
        fmv.w.x ft1, t0
        fsflags s1, zero
        fdiv.s ft2, ft1, ft0
        frflags s2
        fdiv.s ft2, ft0, ft0
        frflags s3
        csrrwi s4, fflags, 0
        fadd.s ft2, ft1, ft1
        frcsr s5
    """)
    assert [x(got, r) for r in (18, 19, 20, 21)] == [DZ, DZ | NV, DZ | NV, 0]


@pytest.mark.parametrize(("bits", "raised"), [(0x7F800001, NV), (0x7FC00001, 0)])
def test_quiet_and_signalling_comparisons(bits: int, raised: int) -> None:
    got = hart(f"""
        li t0, {bits}
        fmv.w.x ft0, t0
        fmv.w.x ft1, zero
        feq.s t1, ft0, ft1
        frflags s2
        fsflags zero
        fmin.s ft2, ft0, ft1
        frflags s3
        fsflags zero
        flt.s t1, ft0, ft1
        frflags s4
        fmv.x.w s5, ft2
    """)
    assert [x(got, r) for r in (18, 19, 20, 21)] == [raised, raised, NV, 0]


def test_a_float_that_is_not_boxed_is_the_canonical_nan() -> None:
    """In scalar and .vf operands; as raw bits for moves and stores."""
    got = hart("""
        li t0, 0x3f800000
        fmv.d.x ft0, t0
        fadd.s ft1, ft0, ft0
        fmv.x.d s2, ft1
        fmv.x.w s3, ft0
        vsetivli t1, 4, e32, m1, ta, ma
        vfmv.v.f v1, ft0
        vmv.x.s s4, v1
        vmv.v.i v2, 0
        vfadd.vf v3, v2, ft0
        vfmv.f.s ft3, v2
        fmv.x.d s5, ft3
        vmv.x.s s6, v3
        frflags s7
    """)
    assert x(got, 18) == NAN32
    assert x(got, 19) == 0x3F800000
    assert x(got, 20) == x(got, 22) == 0x7FC00000
    assert x(got, 21) == 0xFFFFFFFF_00000000
    assert x(got, 23) == 0  # quiet NaNs


def test_inactive_and_tail_elements_raise_nothing() -> None:
    """1/x over 0, 4, 0, 4, ... with only the finite ones active, then with vl ending before a zero."""
    source = """
        vsetivli t1, 8, e32, m1, ta, ma
        vid.v v1
        vand.vi v1, v1, 1
        vmsne.vi v0, v1, 0
        vsll.vi v2, v1, 2
        vfcvt.f.xu.v v2, v2
        li t0, 0x3f800000
        fmv.w.x ft0, t0
        fsflags zero
        vfrdiv.vf v4, v2, ft0, v0.t
        frflags s2
        vslide1down.vx v3, v2, zero
        vsetivli t1, 1, e32, m1, ta, ma
        vfrdiv.vf v4, v3, ft0
        frflags s3
        vsetivli t1, 2, e32, m1, ta, ma
        vfrdiv.vf v4, v3, ft0
        frflags s4
    """
    got = hart(source)
    assert [x(got, r) for r in (18, 19, 20)] == [0, 0, DZ]


def test_reductions_copy_the_scalar_where_nothing_is_active() -> None:
    """A signalling NaN passes without a flag (V 14.3); one active element makes it canonical and invalid."""
    got = hart("""
        vsetivli t1, 4, e32, m1, ta, ma
        li t0, 0x7f800001
        vmv.v.x v1, t0
        vmv.v.i v2, 0
        vmv.v.i v0, 0
        vfredosum.vs v3, v2, v1, v0.t
        vmv.x.s s2, v3
        frflags s3
        vfredosum.vs v3, v2, v1
        vmv.x.s s4, v3
        frflags s5
    """)
    assert [x(got, r) for r in (18, 19, 20, 21)] == [0x7F800001, 0, 0x7FC00000, NV]


def test_the_ordered_sum_rounds_every_addition() -> None:
    """1 + 2^-24 + 2^-24 + ... upward: each step reaches the next number."""
    got = hart("""
        csrwi frm, 3
        vsetivli t1, 8, e32, m1, ta, ma
        li t0, 0x33800000
        vmv.v.x v2, t0
        li t0, 0x3f800000
        vmv.s.x v1, t0
        vfredosum.vs v3, v2, v1
        vmv.x.s s2, v3
        frflags s3
    """)
    assert np.uint32(x(got, 18) & 0xFFFFFFFF) == 0x3F800008
    assert x(got, 19) == NX


def test_half_precision_multiply_add_rounds_once() -> None:
    """(1 + 2^-10)^2 + 2^-11 lies just above a tie; with the product rounded first it would be the tie."""
    got = hart("""
        vsetivli t1, 1, e16, m1, ta, ma
        li t0, 0x3c01
        vmv.v.x v1, t0
        li t0, 0x1000
        vmv.v.x v2, t0
        vfmacc.vv v2, v1, v1
        vmv.x.s s2, v2
        csrwi frm, 2
        vmv.v.x v3, t0
        vfmacc.vv v3, v1, v1
        vmv.x.s s3, v3
        frflags s4
    """)
    assert (x(got, 18), x(got, 19), x(got, 20)) == (0x3C03, 0x3C02, NX)


@pytest.mark.parametrize("mode", [0x400, 0x800, 0xC00])  # FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO on x86-64
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of the modes")
def test_a_host_thread_that_rounds_another_way_is_refused(mode: int) -> None:
    """No wrong value: handlers take the host's nearest even for granted."""
    libm = ctypes.CDLL("libm.so.6")
    program = build(EXIT)
    assert libm.fesetround(mode) == 0
    try:
        with pytest.raises(ProgramError, match="round to nearest"):
            Cluster(program, MACHINE).run()
    finally:
        libm.fesetround(0)
