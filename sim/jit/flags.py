"""Evaluating a meaning together with its flags, and when the flags need not be computed.

fflags are sticky. Once inexact is set, an operation that rounds to nearest even and gives a normal number, not the
least one, can raise nothing new: invalid operations and divisions by zero give NaN and infinity, overflow infinity,
underflow at most the least normal number. So the exact flags are computed only for chunks with another result, or
while inexact is clear; the value is the host's in either case. The same holds for a row's quick meaning, where that
gives the value.
"""

from __future__ import annotations

from typing import Any

from potluck.isa.arithmetic.floating import IEEE, NX, RNE, bits_of
from potluck.isa.arithmetic.plain import Arithmetic
from potluck.sim.jit.handler import Handler, operand_type
from potluck.sim.jit.ir import Symbol


def compute(h: Handler, values: dict[str, Any], active: Symbol | None = None) -> Any:
    """The meaning's value for the given arguments; its flags are raised, with lanes only those of active ones."""
    found = h.insn.attributes.get("quick", _none)(**values)
    if found is not None:
        return _quick(h, values, active, *found)
    if not _lazy(h):
        return _exact(h, values, active)
    value = h.insn.meaning(**(values | {"fp": Arithmetic()}))  # type: ignore[misc]
    unusual = _unusual(value)
    if active is not None:
        unusual = unusual & active
    wanted = h.when(h.any_lane(unusual) | (h.word("fcsr") & NX).apply("equal", 0))
    _, flags = h.evaluate(values)
    h.raise_flags(flags, active)
    h.end_when(wanted)
    return value


def _none(**values: Any) -> None:
    """No quick way."""


def _exact(h: Handler, values: dict[str, Any], active: Symbol | None) -> Any:
    value, flags = h.evaluate(values)
    if flags is not None:
        h.raise_flags(flags, active)
    return value


def _quick(h: Handler, values: dict[str, Any], active: Symbol | None, value: Symbol, doubt: Symbol) -> Symbol:
    """The value of the row's quick meaning, but the meaning's own where it may differ or its flags are wanted."""
    if h.variant.flags:
        doubt = doubt | _unusual(value) | (h.word("fcsr") & NX).apply("equal", 0)
    if active is not None:
        doubt = doubt & active
    return h.corrected(value, doubt, lambda: _exact(h, values, active))


def _lazy(h: Handler) -> bool:
    """Whether the value is a float that says which flags are possible."""
    rounds = h.insn.attributes.get("rounds") and operand_type(h.insn.syntax[0], h.context).kind == "f"
    return bool(rounds) and h.variant.exact and h.variant.flags and h.variant.rounding == RNE


def _unusual(x: Symbol) -> Symbol:
    """Zeros, subnormals, the least normal number, infinities and NaN."""
    form = IEEE[x.type.bits]
    first = (1 << form.mantissa) + 1
    return (bits_of(x) & (form.sign - 1)) - first >= form.infinity - first  # type: ignore[no-any-return]
