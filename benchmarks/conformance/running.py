"""Runs cases: each is compiled as far as layers on its own, then many are one program, which saves most of the time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.compose
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.benchmarks.conformance.cases import MOVES, Arrays, Case
from potluck.compiler.build import build, prepare
from potluck.compiler.compile import generate
from potluck.compiler.support import UnsupportedError
from potluck.isa.errors import PotluckError
from potluck.sim.simulate import simulate

if TYPE_CHECKING:
    from potluck.isa.machine import Machine

TOGETHER = 24
"""Cases of one program."""
HALVES = {"bfloat16": 2.0**-6, "float16": 2.0**-9}
"""Two units in the last place, which ONNX's own runner leaves to BF16: they round after every operation."""
TRANSFORMS = ("DFT", "STFT")
"""Operators whose errors are relative to the largest element: what cancels is noise, in the stated outputs as well."""
BUDGET = 200_000_000
"""Instructions after which a program is taken to hang."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        case: Its name.
        status: ``pass``; ``refused`` by the compiler; ``skip`` out of scope; ``wrong`` values; ``error``.
        reason: Why it did not pass.
        bound: Inputs that were constants when it was compiled.
    """

    case: str
    status: str
    reason: str = ""
    bound: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Ready:
    """A case that compiles."""

    case: Case
    model: ir.Model
    bound: tuple[str, ...]


def run(
    chosen: Sequence[Case], machine: Machine, progress: Callable[[Outcome], object] = lambda outcome: None
) -> list[Outcome]:
    """Runs cases; the outcomes come in their order."""
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    done: dict[str, Outcome] = {}

    def note(outcome: Outcome) -> None:
        done[outcome.case] = outcome
        progress(outcome)

    waiting: list[_Ready] = []
    for case in chosen:
        found = Outcome(case.name, "skip", case.skip) if case.skip else _prepared(case)
        if isinstance(found, Outcome):
            note(found)
        else:
            waiting.append(found)
        if len(waiting) == TOGETHER:
            for outcome in _together(waiting, machine):
                note(outcome)
            waiting = []
    for outcome in _together(waiting, machine):
        note(outcome)
    return [done[case.name] for case in chosen]


def _prepared(case: Case) -> _Ready | Outcome:
    """The case ready to be lowered: with all inputs if possible, else with the usual constants bound."""
    refused = ""
    for bound in dict.fromkeys(((), case.constants)):
        try:
            return _Ready(case, prepare(case.model, bind={name: case.inputs[name] for name in bound}), bound)
        except UnsupportedError as error:
            refused = "; ".join(dict.fromkeys(f"{item.op}: {item.reason}" for item in error.unsupported))
        except PotluckError as error:
            refused = str(error).splitlines()[0]
        except Exception as error:
            return Outcome(case.name, "error", _short(error))
    return Outcome(case.name, "refused", refused)


def _together(ready: Sequence[_Ready], machine: Machine) -> Iterator[Outcome]:
    """Outcomes of cases that run as one program, or each as its own if that fails."""
    if not ready:
        return
    try:
        with np.errstate(all="ignore"):
            outputs = _execute(ready, machine)
    except Exception as error:
        if len(ready) > 1:
            for item in ready:
                yield from _together([item], machine)
        elif isinstance(error, PotluckError) and error.__class__.__name__ in ("ModelError", "MachineError"):
            yield Outcome(ready[0].case.name, "refused", str(error).splitlines()[0], ready[0].bound)
        else:
            yield Outcome(ready[0].case.name, "error", _short(error), ready[0].bound)
        return
    for item, got in zip(ready, outputs, strict=True):
        reason = difference(item.case, got)
        yield Outcome(item.case.name, "wrong" if reason else "pass", reason, item.bound)


def _execute(ready: Sequence[_Ready], machine: Machine) -> list[Arrays]:
    merged = merge([item.model for item in ready])
    program = generate(build(merged, machine))
    inputs = {
        f"c{index}/{name}": array
        for index, item in enumerate(ready)
        for name, array in item.case.inputs.items()
        if name not in item.bound
    }
    known = {tensor.name for tensor in program.manifest.inputs}
    used = {name: array for name, array in inputs.items() if name in known}
    result = simulate(program, used, machine=machine, mode="functional", budget=BUDGET)
    return [
        {name: result.outputs[f"c{index}/{name}"] for name in item.case.outputs}
        for index, item in enumerate(ready)
    ]


def merge(models: Sequence[ir.Model]) -> ir.Model:
    """Networks side by side in one; everything of network number i is called ``ci/...``."""
    whole = onnx.ModelProto()
    functions = {}
    for index, model in enumerate(models):
        proto = onnx.compose.add_prefix(ir.to_proto(model), f"c{index}/", rename_functions=False)
        if not index:
            whole.CopyFrom(proto)
            whole.ClearField("functions")
        else:
            for name in ("node", "input", "output", "initializer", "value_info"):
                getattr(whole.graph, name).extend(getattr(proto.graph, name))
        for function in proto.functions:
            functions[function.domain, function.name, function.overload] = function
        for opset in proto.opset_import:
            if all(opset.domain != other.domain for other in whole.opset_import):
                whole.opset_import.append(opset)
    whole.functions.extend(functions.values())
    return ir.from_proto(whole)


def difference(case: Case, got: Arrays) -> str:
    """What is wrong with the outputs of a case, or nothing."""
    for name, want in case.outputs.items():
        have = got[name]
        if (have.dtype, have.shape) != (want.dtype, want.shape):
            return f"{name} is {have.dtype}{list(have.shape)}, not {want.dtype}{list(want.shape)}"
        exact = case.op in MOVES or not np.issubdtype(_plain(want).dtype, np.inexact)
        rtol, atol = max(case.rtol, HALVES.get(want.dtype.name, 0.0)), case.atol
        if case.op in TRANSFORMS:
            atol = max(atol, 2.0**-22 * float(np.abs(want).max(initial=0.0)))
        good = _same(have, want) if exact else _close(have, want, rtol, atol)
        if not good.all():
            where = tuple(int(axis[0]) for axis in np.nonzero(~good)) if want.ndim else ()
            count = int(good.size - good.sum())
            return f"{count} of {good.size} elements of {name} differ, the first is {have[where]}, not {want[where]}"
    return ""


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Types that NumPy does not know itself, as FP32."""
    return array.astype(np.float32) if array.dtype.kind == "V" or array.dtype.name == "bfloat16" else array


def _same(have: NDArray[Any], want: NDArray[Any]) -> NDArray[np.bool_]:
    raw = f"V{want.dtype.itemsize}"
    return np.asarray(np.ascontiguousarray(have).view(raw) == np.ascontiguousarray(want).view(raw)).reshape(
        want.shape
    )


def _close(have: NDArray[Any], want: NDArray[Any], rtol: float, atol: float) -> NDArray[np.bool_]:
    with np.errstate(all="ignore"):
        return np.asarray(np.isclose(_plain(have), _plain(want), rtol, atol, equal_nan=True))


def _short(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:200]
