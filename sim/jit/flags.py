"""Evaluating a meaning together with its flags, and when the flags need not be computed.

fflags are sticky. Once inexact is set, an operation that rounds to nearest even and gives a normal number, not the
least one, can raise nothing new: invalid operations and divisions by zero give NaN and infinity, overflow infinity,
underflow at most the least normal number. So the exact flags are computed only for chunks with another result, or
while inexact is clear; the value is the host's in either case.
"""

from __future__ import annotations

from typing import Any

from potluck.isa.arithmetic.floating import IEEE, NX, RNE, bits_of
from potluck.isa.arithmetic.plain import Arithmetic
from potluck.sim.jit.handler import Handler, operand_type
from potluck.sim.jit.ir import Symbol


def compute(h: Handler, values: dict[str, Any], active: Symbol | None = None) -> Any:
    """The meaning's value for the given arguments; its flags are raised, with lanes only those of active ones."""
    if not _lazy(h):
        value, flags = h.evaluate(values)
        if flags is not None:
            h.raise_flags(flags, active)
        return value
    value = h.insn.meaning(**(values | {"fp": Arithmetic()}))  # type: ignore[misc]
    unusual = _unusual(value)
    if active is not None:
        unusual = unusual & active
    wanted = h.when(h.any_lane(unusual) | (h.word("fcsr") & NX).apply("equal", 0))
    _, flags = h.evaluate(values)
    h.raise_flags(flags, active)
    h.end_when(wanted)
    return value


def _lazy(h: Handler) -> bool:
    """Whether the value is a float that says which flags are possible."""
    rounds = h.insn.attributes.get("rounds") and operand_type(h.insn.syntax[0], h.context).kind == "f"
    return bool(rounds) and h.variant.exact and h.variant.flags and h.variant.rounding == RNE


def _unusual(x: Symbol) -> Symbol:
    """Zeros, subnormals, the least normal number, infinities and NaN."""
    form = IEEE[x.type.bits]
    first = (1 << form.mantissa) + 1
    return (bits_of(x) & (form.sign - 1)) - first >= form.infinity - first  # type: ignore[no-any-return]
