"""Which SoftFloat operation each floating row of the table must equal, operand by operand.

A :class:`Reference` takes (frm, codes by parameter name) and gives (code, flags). ``SEWS`` of a row are those under
which it is tried; scalar rows have one entry, 64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.reference import softfloat

Codes = dict[str, int]
Reference = Callable[[int, Codes], tuple[int, int]]
LETTERS = {"h": "f16", "s": "f32", "d": "f64"}
WIDTHS = softfloat.WIDTHS


@dataclass(frozen=True)
class Case:
    """One row under one SEW: its sources (parameter name to format) and what it must equal."""

    mnemonic: str
    sew: int
    sources: dict[str, str]
    reference: Reference
    bits: int  # of the result

    @property
    def id(self) -> str:
        return f"{self.mnemonic}-e{self.sew}"


def widened(code: int, source: str, target: str) -> tuple[int, int]:
    """An operand of a widening instruction; a NaN stays signalling for the operation itself to see."""
    if source == target:
        return code, 0
    value, flags = softfloat.function(f"{source}_to_{target}")(0, code)
    return value, flags


def operation(name: str, order: str, kind: str) -> Reference:
    """``kind``'s operation on parameters in ``order``; ``-x`` negates one, ``x:kind`` is widened."""
    tokens = [(token.lstrip("-"), token.startswith("-")) for token in order.split()]
    sign = 1 << WIDTHS[kind] - 1

    def reference(frm: int, codes: Codes) -> tuple[int, int]:
        arguments, flags = [], 0
        for token, negated in tokens:
            given, _, of = token.partition(":")
            code, raised = widened(codes[given], of or kind, kind)
            flags |= raised
            arguments.append(code ^ sign if negated else code)
        value, raised = softfloat.function(f"{kind}_{name}")(frm, *arguments)
        return value, flags | raised

    return reference


def conversion(source: str, target: str, mode: int | None = None, bits: int = 0) -> Reference:
    """``source`` to ``target``, in frm or the mode given; integers of up to ``bits`` are widened first."""

    def reference(frm: int, codes: Codes) -> tuple[int, int]:
        (code,) = codes.values()
        if bits and source.startswith("i") and code >> bits - 1:
            code -= 1 << bits
        call = softfloat.function(f"{source}_to_{target}")
        return call(frm if mode is None else mode, code & (1 << WIDTHS[source]) - 1)

    return reference


def inverted(reference: Reference) -> Reference:
    """The complement of a relation."""

    def opposite(frm: int, codes: Codes) -> tuple[int, int]:
        value, flags = reference(frm, codes)
        return 1 - value, flags

    return opposite


BINARY = {"add": "add", "sub": "sub", "mul": "mul", "div": "div", "min": "min", "max": "max"}
FUSED = {  # product and addend: of vd, of a register that is multiplied, of vs2
    "vfmadd": "vd {b} vs2", "vfnmadd": "-vd {b} -vs2", "vfmsub": "vd {b} -vs2", "vfnmsub": "-vd {b} vs2",
    "vfmacc": "{b} vs2 vd", "vfnmacc": "-{b} vs2 -vd", "vfmsac": "{b} vs2 -vd", "vfnmsac": "-{b} vs2 vd",
}  # fmt: skip
SCALAR_FUSED = {
    "fmadd": "fs1 fs2 fs3",
    "fmsub": "fs1 fs2 -fs3",
    "fnmsub": "-fs1 fs2 fs3",
    "fnmadd": "-fs1 fs2 -fs3",
}
INTEGERS = {"w": "i32", "wu": "ui32", "l": "i64", "lu": "ui64"}


def scalar_cases() -> Iterator[Case]:
    for letter, kind in LETTERS.items():
        bits, two = WIDTHS[kind], {"fs1": kind, "fs2": kind}
        for name, soft in BINARY.items():
            yield Case(f"f{name}.{letter}", 64, two, operation(soft, "fs1 fs2", kind), bits)
        for name in ("eq", "lt", "le"):
            yield Case(f"f{name}.{letter}", 64, two, operation(name, "fs1 fs2", kind), 8)
        yield Case(f"fsqrt.{letter}", 64, {"fs1": kind}, operation("sqrt", "fs1", kind), bits)
        yield Case(f"fclass.{letter}", 64, {"fs1": kind}, operation("classify", "fs1", kind), 64)
        for name, order in SCALAR_FUSED.items():
            yield Case(f"{name}.{letter}", 64, {**two, "fs3": kind}, operation("mulAdd", order, kind), bits)
        for name, integer in INTEGERS.items():
            yield Case(f"fcvt.{name}.{letter}", 64, {"fs1": kind}, conversion(kind, integer), WIDTHS[integer])
            yield Case(f"fcvt.{letter}.{name}", 64, {"rs1": integer}, conversion(integer, kind), bits)
        for other, target in LETTERS.items():
            if other != letter:
                yield Case(
                    f"fcvt.{other}.{letter}", 64, {"fs1": kind}, conversion(kind, target), WIDTHS[target]
                )
    yield Case("fcvt.bf16.s", 64, {"fs1": "f32"}, conversion("f32", "bf16"), 16)
    yield Case("fcvt.s.bf16", 64, {"fs1": "boxed bf16"}, conversion("bf16", "f32"), 32)


def vector_cases() -> Iterator[Case]:
    for kind in ("f16", "f32", "f64"):
        sew = WIDTHS[kind]
        for form, b in (("vv", "vs1"), ("vf", "fs1")):
            two = {"vs2": kind, b: kind}
            for name, soft in BINARY.items():
                yield Case(f"vf{name}.{form}", sew, two, operation(soft, f"vs2 {b}", kind), sew)
            for name, order in FUSED.items():
                reference = operation("mulAdd", order.format(b=b), kind)
                yield Case(f"{name}.{form}", sew, {"vd": kind, **two}, reference, sew)
            for name, soft in (("vmfeq", "eq"), ("vmflt", "lt"), ("vmfle", "le")):
                yield Case(f"{name}.{form}", sew, two, operation(soft, f"vs2 {b}", kind), 8)
            yield Case(f"vmfne.{form}", sew, two, inverted(operation("eq", f"vs2 {b}", kind)), 8)
        two = {"vs2": kind, "fs1": kind}
        for name, soft in (("vfrsub", "sub"), ("vfrdiv", "div")):
            yield Case(f"{name}.vf", sew, two, operation(soft, "fs1 vs2", kind), sew)
        yield Case("vmfgt.vf", sew, two, operation("lt", "fs1 vs2", kind), 8)
        yield Case("vmfge.vf", sew, two, operation("le", "fs1 vs2", kind), 8)
        for row, soft in (("vfsqrt.v", "sqrt"), ("vfrec7.v", "recip7"), ("vfrsqrt7.v", "rsqrte7"),
                          ("vfclass.v", "classify")):  # fmt: skip
            yield Case(row, sew, {"vs2": kind}, operation(soft, "vs2", kind), sew)
    for kind, wide in (("f16", "f32"), ("f32", "f64")):
        yield from widening_cases(kind, wide)
    yield from conversion_cases()
    for form, b, source in (("vv", "vs1", "bf16"), ("vf", "fs1", "boxed bf16")):
        reference = operation("mulAdd", f"{b}:bf16 vs2:bf16 vd", "f32")
        yield Case(f"vfwmaccbf16.{form}", 16, {"vd": "f32", "vs2": "bf16", b: source}, reference, 32)
        reference = operation("mulAdd", f"{b} vs2 vd", "bf16")
        yield Case(f"vfmacc.bf16.{form}", 16, {"vd": "bf16", "vs2": "bf16", b: "bf16"}, reference, 16)


def widening_cases(kind: str, wide: str) -> Iterator[Case]:
    sew, bits = WIDTHS[kind], WIDTHS[wide]
    for form, b in (("vv", "vs1"), ("vf", "fs1")):
        two = {"vs2": kind, b: kind}
        for name in ("add", "sub", "mul"):
            yield Case(f"vfw{name}.{form}", sew, two, operation(name, f"vs2:{kind} {b}:{kind}", wide), bits)
        for name in ("add", "sub"):
            reference = operation(name, f"vs2 {b}:{kind}", wide)
            yield Case(f"vfw{name}.w{form[1]}", sew, {"vs2": wide, b: kind}, reference, bits)
        for name, product, addend in (
            ("macc", "", ""),
            ("nmacc", "-", "-"),
            ("msac", "", "-"),
            ("nmsac", "-", ""),
        ):
            reference = operation("mulAdd", f"{product}{b}:{kind} vs2:{kind} {addend}vd", wide)
            yield Case(f"vfw{name}.{form}", sew, {"vd": wide, **two}, reference, bits)


def conversion_cases() -> Iterator[Case]:
    floats = {16: "f16", 32: "f32", 64: "f64"}
    for sew in (8, 16, 32, 64):
        for stem, tail, of, to in (
            ("vfcvt", "v", sew, sew),
            ("vfwcvt", "v", sew, 2 * sew),
            ("vfncvt", "w", 2 * sew, sew),
        ):
            for sign, name in (("u", "xu"), ("", "x")):
                if of in floats and to <= 64:
                    integer = f"{sign}i{to}"
                    source = {"vs2": floats[of]}
                    yield Case(f"{stem}.{name}.f.{tail}", sew, source, conversion(floats[of], integer), to)
                    yield Case(
                        f"{stem}.rtz.{name}.f.{tail}", sew, source, conversion(floats[of], integer, 1), to
                    )
                if to in floats and of <= 64:
                    wide = f"{sign}i{max(of, 32)}"
                    reference = conversion(wide, floats[to], bits=of)
                    yield Case(f"{stem}.f.{name}.{tail}", sew, {"vs2": f"{sign}i{of}"}, reference, to)
    for narrow, wide in (("f16", "f32"), ("f32", "f64")):
        sew = WIDTHS[narrow]
        yield Case("vfwcvt.f.f.v", sew, {"vs2": narrow}, conversion(narrow, wide), 2 * sew)
        yield Case("vfncvt.f.f.w", sew, {"vs2": wide}, conversion(wide, narrow), sew)
        yield Case("vfncvt.rod.f.f.w", sew, {"vs2": wide}, conversion(wide, narrow, softfloat.TO_ODD), sew)
    yield Case("vfncvtbf16.f.f.w", 16, {"vs2": "f32"}, conversion("f32", "bf16"), 16)
    yield Case("vfwcvtbf16.f.f.v", 16, {"vs2": "bf16"}, conversion("bf16", "f32"), 32)


CASES = [*scalar_cases(), *vector_cases()]
