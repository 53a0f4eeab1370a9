"""A verilated mxdotp_lane as a function of arrays (the harness is mxdotp_lane.cc)."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from tests.rtl.bench.transactions import Lanes


class LaneLibrary:
    """Loaded shared library; :meth:`run` streams operations through the lane, one a cycle."""

    def __init__(self, path: Path) -> None:
        self._run = ctypes.CDLL(str(path)).mxdotp_lane_run
        self._run.restype = ctypes.c_int

    def run(self, lanes: Lanes) -> tuple[np.ndarray, np.ndarray]:
        """Result bits uint32 [n] (BF16 in the upper half) and fflags uint8 [n]."""
        result, flags = np.zeros(len(lanes), np.uint32), np.zeros(len(lanes), np.uint8)
        inputs = [
            lanes.a,
            lanes.b,
            lanes.scale_a,
            lanes.scale_b,
            lanes.acc,
            lanes.elem_fmt,
            lanes.acc_fmt,
            lanes.rm,
        ]
        wanted = [np.uint64, np.uint64, np.uint8, np.uint8, np.uint32, np.uint8, np.uint8, np.uint8]
        arrays = [np.ascontiguousarray(x, t) for x, t in zip(inputs, wanted, strict=True)]
        pointers = [ctypes.c_void_p(x.ctypes.data) for x in (*arrays, result, flags)]
        if self._run(ctypes.c_uint64(len(lanes)), *pointers):
            raise AssertionError("the lane swallowed an operation")
        return result, flags


def differences(lanes: Lanes, result: np.ndarray, flags: np.ndarray) -> str:
    """Empty, or how many lanes differ and the first of them."""
    wrong = np.flatnonzero((result != lanes.result) | (flags != lanes.flags))
    if not wrong.size:
        return ""
    i = int(wrong[0])
    fields = {n: hex(int(getattr(lanes, n)[i])) for n in lanes.__annotations__}
    return f"{wrong.size} of {len(lanes)} lanes differ; first {fields}, RTL {int(result[i]):#x} flags {flags[i]:#x}"
