"""Hand-written programs for the vector unit, one per class of instructions: what each is about."""

from __future__ import annotations

import numpy as np

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program, Section
from tests.rtl.bench.core_directed import END
from tests.rtl.bench.core_programs import SANDBOX, TEXT, TEXT_BYTES

_FAR = TEXT + TEXT_BYTES // 2
_START = f"li s0, {SANDBOX}\nli s1, {SANDBOX + 0x2000}\nli s2, {SANDBOX + 0x4000}\nli s3, {_FAR}\n"
"""Sources, results, offsets; corner values in DRAM."""


def executable(source: str) -> Program:
    """A program with bytes that all differ from their neighbours where it finds s0, and an exit behind it."""
    a = Assembler()
    a.text(f"_start:\n{source}\n{END}")
    words = np.arange(512, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x123456789)
    return a.assemble(TEXT).program(None, [Section(".data", SANDBOX, words.tobytes(), False, True)])


def _vset() -> str:
    types = [
        f"{sew}, {lmul}"
        for sew in ("e8", "e16", "e32", "e64")
        for lmul in ("mf8", "mf4", "mf2", "m1", "m2", "m4", "m8")
    ]
    lines = ["li t1, 37", "li t2, -1"]
    for number, kind in enumerate(types):
        lines += [
            f"vsetvli a0, t1, {kind}, ta, ma",
            f"vsetvli a1, t2, {kind}, tu, mu",
            f"vsetvli a2, zero, {kind}, ta, ma",
            f"vsetivli a3, {number % 32}, {kind}, ta, ma",
            "csrr a4, vl",
            "csrr a5, vtype",
        ]
    lines += [
        "vsetvli zero, t1, e32, m2, ta, ma",
        "vsetvli zero, zero, e16, m1, ta, ma",
        "csrr a0, vl",
        "li t3, 0x40",
        "vsetvl a1, t1, t3",
        "li t3, 0x101",
        "vsetvl a2, t1, t3",
        "csrr a3, vtype",
        "li t3, 0x400",
        "vsetvl a4, t1, t3",
        "csrr a5, vtype",
        "vsetivli zero, 5, e32, m2, ta, ma",
        "vsetvli zero, zero, e16, m1, ta, ma",
        "csrr a6, vl",
    ]
    return "\n".join(lines) + "\n"


def _accesses() -> str:
    """Every kind of access at every width, some masked, of several lengths."""
    lines = [_START, "vsetivli zero, 8, e64, m1, ta, ma", "vle64.v v0, (s0)"]
    for size in (8, 16, 32, 64):
        step = size // 8
        for lmul, length in (("m1", 5), ("m2", 64), ("m4", 23), ("mf2" if size < 64 else "m1", 3)):
            lines += [
                f"li t0, {length}",
                f"vsetvli t1, t0, e{size}, {lmul}, ta, ma",
                f"vle{size}.v v8, (s0)",
                f"addi t2, s0, {step}",
                f"vle{size}.v v12, (t2), v0.t",
                f"li t3, {3 * step}",
                f"vlse{size}.v v16, (s0), t3",
                f"li t4, {-step}",
                "addi t5, s0, 1024",
                f"vlse{size}.v v20, (t5), t4, v0.t",
                f"vse{size}.v v8, (s1)",
                f"addi t2, s1, {step}",
                f"vse{size}.v v12, (t2), v0.t",
                "addi t2, s1, 1024",
                f"vsse{size}.v v16, (t2), t3",
                f"vsse{size}.v v20, (t2), t3, v0.t",
                f"vle{size}.v v8, (s1)",
                "vlm.v v1, (s0)",
                "vsm.v v1, (t2)",
            ]
    for count in (1, 2, 4, 8):
        lines += [
            f"vl{count}re8.v v8, (s0)",
            f"vs{count}r.v v8, (s1)",
            "addi t2, s0, 8",
            f"vl{count}re32.v v16, (t2)",
        ]
    return "\n".join(lines) + "\n"


def _indexed() -> str:
    lines = [_START, "vsetivli zero, 8, e64, m1, ta, ma", "vle64.v v0, (s0)"]
    for offsets in (8, 16, 32):
        for size, lmul in ((8, "m1"), (32, "m1"), (64, "m2")):
            lines += [
                f"li t0, {13 if offsets * 2 > size else 5}",
                f"vsetvli t1, t0, e{offsets}, m{max(1, offsets // size)}, ta, ma",
                "vle8.v v4, (s0)" if offsets == 8 else f"vle{offsets}.v v4, (s0)",
                "li t6, 7",
                "vmv.v.x v4, t6" if offsets == 8 else "vmv.v.i v4, 8",
                f"vsetvli t1, t0, e{size}, {lmul}, ta, ma",
            ]
            if (max(1, offsets // size) == 1 and size >= offsets) or (size, offsets) == (32, 32):
                lines += [
                    f"vluxei{offsets}.v v8, (s0), v4" if size == 8 or offsets != 8 else "vle8.v v8, (s0)",
                    f"vsoxei{offsets}.v v8, (s1), v4, v0.t"
                    if size == 8 or offsets != 8
                    else "vse8.v v8, (s1)",
                ]
    return "\n".join(lines) + "\n"


def _moves() -> str:
    lines = [
        _START,
        "vsetivli zero, 8, e64, m1, ta, ma",
        "vle64.v v0, (s0)",
        "fld fa0, 0(s0)",
        "flw fa1, 4(s0)",
    ]
    for size in (8, 16, 32, 64):
        for lmul, length in (("m1", 7), ("m2", 9), ("m4", 40)):
            lines += [
                f"li t0, {length}",
                f"vsetvli t1, t0, e{size}, {lmul}, ta, ma",
                f"vle{size}.v v8, (s0)",
                "vmv.v.v v12, v8",
                "vmv.v.i v16, -3",
                "vmv.v.x v20, t0",
                "li t2, 3",
                "vslidedown.vx v12, v8, t2",
                "vslidedown.vi v16, v8, 1, v0.t",
                "vslideup.vi v20, v8, 2",
                "vslideup.vx v24, v8, t0, v0.t",
                "vslideup.vx v24, v8, t2",
                "li t2, -1",
                "vslidedown.vx v12, v8, t2",
                "vslidedown.vi v12, v8, 31",
                "vmv.x.s a0, v8",
                "vmv.s.x v12, a0",
                "vand.vi v4, v8, 7" if size == 8 else "vmv.v.i v4, 3",
                "vrgather.vv v28, v8, v4",
                "vmv1r.v v16, v8",
                "vmv2r.v v18, v8",
                "vmv4r.v v24, v8",
            ]
            if size >= 32:
                lines += [
                    "vfmv.f.s fa2, v8",
                    f"vfmv.s.f v12, fa{int(size == 32)}",
                    f"vfmv.v.f v20, fa{int(size == 32)}",
                ]
    return "\n".join(lines) + "\n"


def _integers() -> str:
    lines = [_START, "vsetivli zero, 8, e64, m1, ta, ma", "vle64.v v0, (s0)", "li a0, -77"]
    for size in (8, 16, 32, 64):
        for lmul, length in (("m1", 6), ("m2", 11)):
            lines += [
                f"li t0, {length}",
                f"vsetvli t1, t0, e{size}, {lmul}, ta, ma",
                f"vle{size}.v v8, (s0)",
                f"addi t2, s0, {size * 3}",
                f"vle{size}.v v12, (t2)",
            ]
            for name in (
                "vadd",
                "vsub",
                "vmin",
                "vmaxu",
                "vand",
                "vor",
                "vxor",
                "vsll",
                "vsrl",
                "vsra",
                "vsadd",
                "vssra",
            ):
                lines += [f"{name}.vv v16, v8, v12", f"{name}.vx v18, v12, a0, v0.t"]
            lines += [
                "vadd.vi v16, v16, 5",
                "vrsub.vi v16, v16, 5",
                "vmerge.vvm v20, v8, v12, v0",
                "vmerge.vxm v20, v8, a0, v0",
                "vmerge.vim v20, v20, -1, v0",
                "vmseq.vv v4, v8, v12",
                "vmslt.vx v5, v8, a0",
                "vmsleu.vi v6, v8, 7",
                "vmsgt.vx v7, v12, a0, v0.t",
                "vcpop.m a1, v5",
                "vfirst.m a2, v4",
                "vcpop.m a3, v7, v0.t",
                "vfirst.m a4, v5, v0.t",
                "vmand.mm v4, v5, v7",
                "vmxor.mm v4, v4, v5",
                "vmnand.mm v6, v5, v0",
                "vredmaxu.vs v24, v8, v12",
                "vmv.x.s a5, v24",
                "vredmin.vs v24, v8, v12, v0.t",
                "vredand.vs v25, v12, v8",
            ]
            if size < 64:
                lines += [
                    "vwadd.vx v24, v8, a0",
                    "vwaddu.vx v24, v8, a0",
                    "vwadd.wv v28, v24, v8",
                    "vnsrl.wi v16, v24, 3",
                    "vnclip.wv v18, v28, v8",
                    "vnsrl.wx v16, v28, a0, v0.t",
                ]
            if size > 8:
                lines += ["vsext.vf2 v16, v8", "vzext.vf2 v18, v12, v0.t"]
            if size > 16:
                lines += ["vsext.vf4 v16, v8", "vzext.vf4 v18, v12"]
    return "\n".join(lines) + "\n"


def _floats() -> str:
    lines = [
        _START,
        "vsetivli zero, 8, e64, m1, ta, ma",
        "vle64.v v0, (s0)",
        "flw fa0, 12(s0)",
        "flw fa1, 40(s0)",
    ]
    for lmul, length in (("m1", 16), ("m1", 5), ("m2", 29)):
        lines += [
            f"li t0, {length}",
            f"vsetvli t1, t0, e32, {lmul}, ta, ma",
            "vle32.v v8, (s0)",
            "addi t2, s0, 96",
            "vle32.v v12, (t2)",
            "vle32.v v16, (s0)",
        ]
        for name in ("vfadd", "vfsub", "vfmul", "vfmacc", "vfmadd"):
            lines += [
                f"{name}.vv v16, v8, v12" if name[:4] != "vfma" else f"{name}.vv v16, v12, v8",
                f"{name}.vf v16, v8, fa0" if name[:4] != "vfma" else f"{name}.vf v16, fa1, v8, v0.t",
            ]
        lines += [
            "fadd.s fa2, fa0, fa1",
            "fmul.s fa3, fa2, fa0",
            "fsub.s fa4, fa3, fa1",
            "fmadd.s fa5, fa0, fa1, fa4",
            "csrr a0, fflags",
            "csrwi fflags, 0",
            "csrwi frm, 1",
            "vfmul.vv v20, v8, v12",
            "csrwi frm, 0",
            "csrr a1, fcsr",
        ]
    return "\n".join(lines) + "\n"


def _products() -> str:
    """VMXDOTP in its forms and formats, chained and not."""
    lines = [_START, "li t0, 0xff", "fld fa0, 8(s0)", "flb fa1, 3(s0)", "fld fa2, 24(s0)", "flb fa3, 40(s0)"]
    for control in (0, 1 << 9, 1 << 13):
        lines += [f"li t1, {control | 1 << 8}", "csrw fcsr, t1"]
        for length in (16, 7, 1):
            lines += [
                f"vsetivli zero, {length}, e32, m1, ta, ma",
                "vle32.v v8, (s0)",
                f"vsetivli zero, {length}, e64, m2, ta, ma",
                "vle64.v v12, (s0)",
                "addi t2, s0, 256",
                "vle64.v v14, (t2)",
                f"vsetivli zero, {length}, e8, mf4, ta, ma",
                "vle8.v v4, (s0)",
                "vle8.v v5, (t2)",
                f"vsetivli zero, {length}, e32, m1, ta, ma",
                "vmxdotp.wf v8, fa0, v12, fa1, v4",
                "vmxdotp.wf v8, fa2, v14, fa3, v5",
                "vmxdotp.ww v8, v12, v14, v4, v5",
                "vmxdotp.wf v9, fa0, v14, fa3, v5",
                "vse32.v v8, (s1)",
                "vse32.v v9, (s1)",
            ]
        lines += [
            "vsetivli zero, 13, e16, mf2, ta, ma",
            "vle16.v v8, (s0)",
            "vmxdotp.qf v8, fa0, v12, fa1, v4",
            "vmxdotp.qq v8, v12, v14, v4, v5",
            "vse16.v v8, (s1)",
        ]
    return "\n".join(lines) + "\ncsrr a0, fcsr\n"


def _inactive() -> str:
    """What is masked off, or lies past vl, raises no flags and is not written, whatever stands there."""
    lines = [
        _START,
        "li t0, 0x7f800001",
        "li t1, 0x3f800001",
    ]  # a signalling NaN; a number with an inexact square
    lines += [
        "vsetivli zero, 16, e32, m1, ta, ma",
        "vmv.v.i v0, 0",
        "vmv.v.x v8, t0",
        "vle32.v v12, (s0)",
        "csrwi fflags, 0",
        "vfredmax.vs v12, v12, v8, v0.t",
        "vredmaxu.vs v13, v12, v8, v0.t",
        "vfadd.vv v12, v8, v8, v0.t",
        "csrr a0, fflags",
        "vsetivli zero, 0, e32, m1, ta, ma",
        "vfredmax.vs v12, v12, v8",
        "vredmaxu.vs v12, v12, v8",
        "vmv.v.i v12, 1",
        "vmv.s.x v12, t0",
        "csrr a1, fflags",
        # Dot products: of four lanes the first has zeros, the others what overflows.
        "vsetivli zero, 8, e64, m1, ta, ma",
        "vle64.v v16, (s0)",
        "addi t2, s0, 64",
        "vle64.v v18, (t2)",
        "vsetivli zero, 1, e64, m1, tu, ma",
        "vmv.v.i v16, 0",
        "vmv.v.i v18, 0",
        "vsetivli zero, 16, e8, m1, ta, ma",
        "vmv.v.i v4, -2",
        "vmv.v.i v5, -2",
        "vsetivli zero, 1, e32, m1, ta, ma",
        "vmv.v.i v20, 0",
        "csrwi fflags, 0",
        "vmxdotp.ww v20, v16, v18, v4, v5",
        "csrr a2, fflags",
    ]
    # Sixty-four and more scales: the word that they come from is renewed.
    lines += [
        "vsetivli zero, 4, e32, m1, ta, ma",
        "li t0, 48",
        "vsetvli zero, t0, e8, m1, ta, ma",
        "vle8.v v4, (s0)",
        "addi t2, s0, 96",
        "vle8.v v5, (t2)",
        "vsetvli zero, t0, e64, m8, ta, ma",
        "vle64.v v8, (s0)",
        "vsetvli zero, t0, e32, m4, ta, ma",
        "vle32.v v24, (s1)",
        "fld fa0, 24(s0)",
        "flb fa1, 3(s0)",
        "vmxdotp.wf v24, fa0, v8, fa1, v4",
        "vmxdotp.wf v24, fa0, v8, fa1, v5",
        "vmxdotp.ww v24, v8, v8, v5, v4",
        "vse32.v v24, (s1)",
        "csrr a3, fflags",
    ]
    return "\n".join(lines) + "\n"


def _hazards() -> str:
    """Short work behind long work that still has to read or to write the same, in registers and in memory."""
    long = "vsetvli zero, t0, e32, m4, ta, ma"
    busy = [
        "vdivu.vv v20, v8, v12",
        "vdivu.vv v20, v8, v12",
        "vrgather.vv v24, v8, v12",
        "vrgather.vv v24, v8, v12",
    ]
    lines = [
        _START,
        "li t0, 64",
        long,
        "vle32.v v8, (s0)",
        "vle32.v v12, (s0)",
        "vle32.v v16, (s0)",
        "vle32.v v0, (s0)",
    ]
    lines += [
        # A mask, a slide's source beyond vl, and a store's data, each written while it is awaited.
        "vdivu.vv v20, v8, v12, v0.t",
        "vsetivli zero, 4, e32, m1, ta, ma",
        "vmv.v.i v0, 0",
        long,
        "vrgather.vv v24, v8, v12",
        "vsetivli zero, 4, e32, m4, ta, ma",
        "li t2, 40",
        "vslidedown.vx v16, v8, t2",
        long,
        "vle32.v v8, (s1)",
        "vle32.v v16, (s3)",
        "vse32.v v12, (s1)",
        "vmv.v.i v12, 1",
        # The core's own accesses behind one that has not even an id.
        *busy,
        "vle32.v v8, (s1)",
        "sd t0, 0(s1)",
        "sd t0, 64(s1)",
        *busy,
        "vse32.v v8, (s2)",
        "ld a0, 0(s2)",
        "ld a1, 64(s2)",
        # Offsets of the upper half of what 16 bits count.
        "vsetivli zero, 4, e16, m1, ta, ma",
        "li t2, 0x8010",
        "vmv.v.x v4, t2",
        "vsoxei16.v v8, (s0), v4",
        "vluxei16.v v9, (s0), v4",
    ]
    # Results for integer registers that come together.
    for count in range(5):
        lines += [
            "vcpop.m a0, v8",
            "vmv.x.s a1, v8",
            "vmv.x.s a2, v8",
            "vmv.x.s a3, v8",
            *["addi a4, a4, 1"] * count,
        ]
        lines += ["vmv.x.s a1, v8", *[f"vsetivli a{n}, {n}, e16, m1, ta, ma" for n in range(2, 7)]]
        lines += [
            "vmv.x.s a1, v8",
            *["addi a4, a4, 1"] * count,
            "vsetivli a2, 3, e16, m1, ta, ma",
            "vcpop.m a3, v8",
        ]
    return "\n".join(lines) + "\n"


INACTIVE = "what is not active; scales of many elements"
PROGRAMS = {
    "vset of every kind": _vset(),
    "loads and stores": _accesses(),
    "indexed accesses": _indexed(),
    "moves, slides, gathers": _moves(),
    "integer work, masks, reductions": _integers(),
    "floating-point multiply-adds": _floats(),
    "dot products": _products(),
    INACTIVE: _inactive(),
    "what is awaited": _hazards(),
}

_LOADS = "\n".join(
    [
        "vsetvli t0, zero, e32, m4, ta, ma",
        *(f"vle32.v v{first}, (s0)" for first in (0, 4, 12, 16, 20)),
        "fmv.w.x ft0, t0\nfmv.w.x ft1, t0\ncsrr t3, fcsr\n",
    ]
)
TIMED = {
    "a scalar division takes the time of one element": "fmv.w.x fa0, s0\nfmv.w.x fa1, s1\nfdiv.s fa2, fa0, fa1\n"
    "fadd.s fa3, fa2, fa1\nfsqrt.s fa4, fa3\nfadd.s fa5, fa4, fa4",
    "results that meet a load's words wait while the lanes go on": _LOADS
    + "vfmacc.vf v4, ft0, v16\nvfmacc.vf v12, ft1, v16\n"
    "vle32.v v16, (s1)\nvfmacc.vf v0, ft0, v20\nvfmacc.vf v4, ft1, v20",
    "a strided load's requests do not wait for what its writes wait for": _LOADS
    + "li t1, 8\nvfmacc.vf v12, ft1, v16\nvlse32.v v16, (s1), t1\nvfadd.vv v0, v16, v16",
    "parts of a group are read when they are there": "vsetvli t0, zero, e32, m8, ta, ma\nvle32.v v8, (s0)\n"
    "vsetvli t0, zero, e32, m2, ta, ma\nvfadd.vv v16, v8, v8\nvfadd.vv v18, v10, v10",
    "conversions of the same width chain word by word": _LOADS
    + "vfcvt.x.f.v v24, v0\nvfcvt.f.x.v v0, v24\n" * 4,
}
"""Programs in which RTL and timer are a few cycles apart, and would be more without what each is named after."""

ILLEGAL = {
    "no vtype": "vadd.vv v8, v8, v8\naddi t0, t0, 1\n",
    "an unaligned group": "vsetivli zero, 4, e32, m2, ta, ma\nli t0, 1\nvadd.vv v8, v9, v10\nli t0, 2\n",
    "a group of sixteen": "vsetivli zero, 4, e16, m8, ta, ma\nvwadd.vx v8, v16, t0\n",
    "a width of 128 bits": "vsetivli zero, 2, e64, m1, ta, ma\nvwadd.vx v8, v16, t0\n",
    "a product at another SEW": "vsetivli zero, 2, e16, m1, ta, ma\nvmxdotp.wf v8, fa0, v16, fa1, v24\n",
    "an FP16 result of a product": "vsetivli zero, 2, e16, m1, ta, ma\nvmxdotp.qf v8, fa0, v16, fa1, v24\n",
    "a reserved rounding mode": "csrwi frm, 5\nvsetivli zero, 2, e32, m1, ta, ma\nvfadd.vv v8, v8, v8\n",
}
"""Programs that end with an illegal instruction."""
