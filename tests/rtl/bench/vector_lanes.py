"""A verilated vector lane as a function of arrays, and steps of instructions made from elements."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.hdl.build import build_library
from potluck.isa.context import Context
from potluck.isa.insn import Insn, Kind
from potluck.isa.verilog.vector import UNITS, LaneOp, encoded_op, lane_op

HARNESS = Path(__file__).with_name("vector_lane.cc")
OPERATION = np.dtype(
    [("a", "u8"), ("b", "u8"), ("c", "u8"), ("op", "u4"), *((name, "u1") for name in (
        "sew", "rm", "vxrm", "e5m2", "mask", "active", "pause", "pad"))], align=True
)  # fmt: skip
OUTCOME = np.dtype(
    [("value", "u8"), ("flags", "u4"), ("saturated", "u4"), ("taken", "u4"), ("given", "u4")], align=True
)
Codes = NDArray[Any]


@cache
def library(parameters: tuple[tuple[str, int], ...] = (), optimize: str = "-O1") -> Lane:
    """A build with parameters other than the lane's own."""
    return Lane(dict(parameters), optimize)


class Lane:
    """A built lane."""

    def __init__(
        self, parameters: Mapping[str, int], optimize: str = "-O1", replaced: Mapping[str, Path] | None = None
    ) -> None:
        path = build_library("vector_lane", HARNESS, {"TagWidth": 8, **parameters}, optimize, replaced)
        self.run_all = ctypes.CDLL(str(path)).vector_lane_run
        self.run_all.restype = ctypes.c_uint64

    def run(self, operations: NDArray[np.void], seed: int = 0) -> tuple[NDArray[np.void], int]:
        """Outcomes and the cycles that they took; with a seed the consumer stalls."""
        operations = np.ascontiguousarray(operations, OPERATION)
        outcomes = np.zeros(len(operations), OUTCOME)
        top = (len(UNITS) - 1).bit_length()
        paths = (operations["op"] >> encoded_width() - top).astype(np.uint8)
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (operations, paths, outcomes)]
        cycles = self.run_all(ctypes.c_uint64(len(operations)), ctypes.c_uint64(seed), *pointers)
        assert cycles, "the lane lost, repeated or reordered operations"
        return outcomes, cycles


@cache
def encoded_width() -> int:
    """Bits of ``vector_op_t``."""
    from potluck.isa.verilog.vector import CODES, FLAGS

    codes = sum(len(codes) for codes in CODES.values())
    return (len(UNITS) - 1).bit_length() + (codes - 1).bit_length() + 9 + len(FLAGS)


@dataclass(frozen=True)
class Work:
    """Elements for an instruction under a context.

    Attributes:
        a, b, c: codes of operands (unsigned integers of their widths) [n].
        mask: bits of v0 [n].
        active: elements that count [n].
        vxrm: fixed-point rounding mode.
    """

    insn: Insn
    context: Context
    a: Codes
    b: Codes
    c: Codes
    mask: NDArray[np.bool_]
    active: NDArray[np.bool_]
    vxrm: int = 0

    @property
    def op(self) -> LaneOp:
        """What the lane does."""
        found = lane_op(self.insn)
        assert found is not None
        return found

    @property
    def sew(self) -> int:
        """SEW in bits as the lane sees it."""
        return 64 if self.op.mask else self.context.sew

    def width(self, scale: int) -> int:
        """Bits of an operand."""
        return int(self.sew * 2.0**scale)

    @property
    def together(self) -> int:
        """Elements of a step."""
        return 64 // self.width(self.op.widest)

    def steps(self) -> NDArray[np.void]:
        """The operations of all elements."""
        op, together = self.op, self.together
        count = len(self.a) // together
        found = np.zeros(count, OPERATION)
        rng = np.random.Generator(np.random.Philox(len(self.a)))
        for name, codes in (("a", self.a), ("b", self.b), ("c", self.c)):
            word = rng.integers(0, 1 << 64, count, np.uint64)  # above the elements stands anything
            size = codes.dtype.itemsize
            parts = word.view(f"u{size}").reshape(count, -1)
            parts[:, :together] = codes.reshape(count, together)
            found[name] = parts.reshape(-1).view(np.uint64)
        weights = 1 << np.arange(together, dtype=np.uint64)
        found["mask"] = (self.mask.reshape(count, together) * weights).sum(1)
        per = 8 // together
        whole = sum(1 << i for i in range(per))
        ends = whole * (1 << per * np.arange(together, dtype=np.uint64))
        found["active"] = (self.active.reshape(count, together) * ends).sum(1)
        found["op"] = encoded_op(op)
        found["sew"] = self.sew.bit_length() - 4
        found["rm"] = self.context.frm
        found["vxrm"] = self.vxrm
        found["e5m2"] = fp8_is_e5m2(self.insn, self.context)
        return found

    def elements(self, values: NDArray[np.uint64]) -> Codes:
        """Elements of result words [n]; what is above them must be zero."""
        together = self.together
        if self.insn.kind is Kind.COMPARE:
            assert not (values >> np.uint64(together)).any() if together < 64 else True
            return ((values[:, None] >> np.arange(together, dtype=np.uint64)) & np.uint64(1)).reshape(-1)
        size = self.width(self.op.d) // 8
        parts = np.ascontiguousarray(values).view(f"u{size}").reshape(len(values), -1)
        assert not parts[:, together:].any(), "a result is not zero above its elements"
        return np.ascontiguousarray(parts[:, :together]).reshape(-1)


def fp8_is_e5m2(insn: Insn, context: Context) -> bool:
    """Which FP8 format an instruction means: Xf8's by fcsr, Zvfofp8min's by vtype."""
    return context.mx_format == "e5m2" if insn.extension == "Xf8" else bool(context.altfmt)
