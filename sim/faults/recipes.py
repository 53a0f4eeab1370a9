"""Stacks by name: ``ondie+rg``, ``hsiao_272_256+clamp``. A recipe becomes a stack for each tensor, as ranges differ.

    [ondie+]SYSTEM[+FILTER...]

``ondie`` is the code inside the kind's devices. SYSTEM is a code of `registry`, ``crc`` (HBM3's CRC-16), ``rg``,
``rgf`` (ours: bins that expect faults) or ``rgx`` with ``-dsc`` or ``-ssc``, or nothing. ``rg`` and ``rgf`` with
``-oracle`` behind have the artifact's decoder, which knows the clean data, instead of a real one. Filters are ``clamp``
and ``ranger``. MX scales get ``scale_rs34`` where elements get RangeGuard and ``scale_clamp`` where they get a clamp;
what has no ranges (integer constants, level tables) gets Hsiao's code of the same 16 bits where values get
RangeGuard, and no filter.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.sim.dram.kind import Kind
from potluck.sim.ecc.blocks import Split
from potluck.sim.ecc.filters import ValueFilter, code_clamp, exponent_clamp, exponent_of, ranger
from potluck.sim.ecc.interface import BLOCK_BITS, Decoded, Encoded, Protection, Words
from potluck.sim.ecc.rangeguard.codec import RangeGuard
from potluck.sim.ecc.rangeguard.ranges import Objective, RangeTable, Scheme, artifact_table, fitted_table
from potluck.sim.ecc.rangeguard.rgx import RangeGuardX
from potluck.sim.ecc.rangeguard.scales import scale_clamp, scale_rs34
from potluck.sim.ecc.reed_solomon import hbm3_on_die
from potluck.sim.ecc.registry import CODES, code
from potluck.sim.ecc.stack import Stack, on_die_sec_over
from potluck.sim.faults.parts import Part

ALIASES = {
    "crc": "crc16", "top4": "top4_rs_12_8", "top8": "top8_rs_10_8", "hsiao": "hsiao_272_256",
    "rangeguard": "rg", "rangeguard-dsc": "rg-dsc", "rangeguard-ssc": "rg-ssc",
}  # fmt: skip
GUARDS: dict[str, tuple[Scheme, Objective]] = {
    "rg": ("dsc", "mae"), "rg-dsc": ("dsc", "mae"), "rg-ssc": ("ssc", "mae"),
    "rgf": ("dsc", "fault_aware"), "rgf-dsc": ("dsc", "fault_aware"), "rgf-ssc": ("ssc", "fault_aware"),
    "rgx": ("dsc", "tails"), "rgx-dsc": ("dsc", "tails"), "rgx-ssc": ("ssc", "tails"),
}  # fmt: skip
"""Scheme, and how a tensor's ranges follow from its values; RG-X (``tails``) takes violations as erasures."""
ORACLE = "-oracle"
FILTERS = ("clamp", "ranger")
NAMED = {
    "ondie+CRC": "ondie+crc",
    "ondie+RG": "ondie+rg-dsc",
    "RG alone (compat_artifact)": "artifact",
    "ondie+top4": "ondie+top4",
}
"""The stacks that every table shows: HBM3 as it is; RangeGuard in its metadata bits; RangeGuard as its artifact
evaluates it; the same 16 bits spent on raw top bits."""


@dataclass(frozen=True)
class Unused:
    """Check bits that exist and hold zeros: HBM3's metadata without a system code."""

    check_bits: int
    name: str = "unused"
    data_bits: int = BLOCK_BITS

    def encode(self, data: Words) -> Encoded:
        """See `Protection.encode`."""
        return Encoded(data, np.zeros((len(data), 1), np.uint64))

    def decode(self, data: Words, checks: Words) -> Decoded:
        """See `Protection.decode`."""
        return Decoded(data, np.zeros((len(data), 1), np.uint8))

    def bounded(self, clean: Words, read: Words) -> NDArray[np.bool_]:
        """See `Protection.bounded`."""
        return np.zeros(len(clean), np.bool_)


@dataclass(frozen=True, eq=False)
class Oracle:
    """RangeGuard's decoder that knows the clean data and does not look at check bits, as in the artifact.

    Attributes:
        guard: whose oracle it is.
        clean: (rows, 4), of the blocks that it decodes.
    """

    guard: RangeGuard
    clean: Words
    data_bits: int = BLOCK_BITS

    @property
    def name(self) -> str:
        """With the scheme."""
        return f"{self.guard.name}_oracle"

    @property
    def check_bits(self) -> int:
        """As many as the real one stores."""
        return self.guard.check_bits

    def encode(self, data: Words) -> Encoded:
        """See `Protection.encode`."""
        return self.guard.encode(data)

    def decode(self, data: Words, checks: Words) -> Decoded:
        """See `Protection.decode`."""
        return self.guard.decode_oracle(data, self.clean)

    def bounded(self, clean: Words, read: Words) -> NDArray[np.bool_]:
        """See `Protection.bounded`."""
        return self.guard.bounded(clean, read)


def told(stack: Stack, clean: Words) -> Stack:
    """A stack with RangeGuard whose decoder knows what blocks held."""
    assert isinstance(stack.system, RangeGuard)
    return replace(stack, system=Oracle(stack.system, clean))


@dataclass(frozen=True, eq=False)
class Applied:
    """A recipe on a tensor.

    Attributes:
        stack: that reads and writes its sectors.
        oracle: whether it reads as `told` what is true.
        table: of RangeGuard, None without.
        note: what differs from the recipe's name, empty if nothing does.
    """

    stack: Stack
    oracle: bool = False
    table: RangeTable | None = None
    note: str = ""

    def bounded(self, clean: Words, read: Words) -> NDArray[np.bool_]:
        """Rows as wrong as some layer promises at most."""
        found = self.stack.system.bounded(clean, read)
        for one in self.stack.filters:
            found = found | one.bounded(clean, read)
        return found


@dataclass(frozen=True)
class Recipe:
    """A stack before it meets a tensor.

    Attributes:
        name: as the user wrote it.
        on_die: whether the device's own code is there.
        system: name of the system code, a key of `GUARDS`, or ``none``.
        filters: names, in order.
        compat_artifact: with the artifact's ranges and check bits that never fail, and no code where it has none.
        oracle: whether RangeGuard's decoder knows the clean data, see `Oracle`.
    """

    name: str
    on_die: bool
    system: str
    filters: tuple[str, ...]
    compat_artifact: bool = False
    oracle: bool = False

    def check(self, kind: Kind) -> None:
        """Whether the kind of DRAM has what it takes.

        Raises:
            DataError: an on-die code where the devices have none.
        """
        bits = kind.organization.on_die_bits
        if self.on_die and bits not in _ON_DIE:
            have = [k for k, n in (("hbm3, hbm4", 32), ("ddr5, lpddr5", 16)) if n in _ON_DIE]
            raise DataError(
                f"{self.name}: {kind.key} stores {bits} on-die check bits per 32 bytes, no on-die code here does",
                hint=f"Leave out ondie, or choose {' or '.join(have)}",
            )

    @property
    def system_bits(self) -> int:
        """Check bits of the system code per 32 bytes, on-die ones not counted."""
        if self.system in GUARDS or self.compat_artifact:
            return 16
        return code(self.system).check_bits

    def apply(self, part: Part, kind: Kind) -> Applied:
        """The stack for a tensor.

        Raises:
            DataError: a pair of layers that does not fit, or RangeGuard for a format that it is not defined for.
        """
        self.check(kind)
        system, table, note = self._system(part)
        filters = tuple(made for name in self.filters for made in _filter(name, part))
        if not self.on_die:
            stack = Stack(system, filters=filters)
        elif kind.organization.on_die_bits == 32:
            stack = Stack(
                system if system.check_bits else Unused(16), Split(hbm3_on_die(), 1), filters=filters
            )
        else:
            inner = on_die_sec_over(BLOCK_BITS + system.check_bits)
            stack = Stack(system, inner, on_die_reports=False, filters=filters)
        return Applied(stack, self.oracle and isinstance(system, RangeGuard), table, note)

    def _system(self, part: Part) -> tuple[Protection, RangeTable | None, str]:
        if self.compat_artifact:
            return self._artifact(part)
        if self.system not in GUARDS:
            return code(self.system), None, ""
        if part.role == "scales":
            return scale_rs34(), None, "scales under RS(34,32)"
        if part.element is None:
            return code("hsiao_272_256"), None, f"{part.format} has no ranges: Hsiao (272,256)"
        scheme, objective = GUARDS[self.system]
        table = fitted_table(part.element, scheme, part.codes, objective)
        return (RangeGuardX(table) if objective == "tails" else RangeGuard(table)), table, ""

    def _artifact(self, part: Part) -> tuple[Protection, RangeTable | None, str]:
        if part.element is None or part.role == "scales":
            return code("none"), None, f"{part.format} is not in the artifact: unprotected"
        if part.element.bits < 16:
            table = fitted_table(part.element, "dsc", part.codes)
            return RangeGuard(table), table, "no table of the artifact's for this format: the tensor's own"
        table = artifact_table(part.element, "dsc")
        return RangeGuard(table), table, ""


_ON_DIE = (16, 32)


def _filter(name: str, part: Part) -> list[ValueFilter]:
    if part.role == "other" or part.element is None:
        return []
    if part.role == "scales":
        return [scale_clamp(int(part.codes.min()), min(254, int(part.codes.max())))]
    element = part.element
    if name == "ranger":
        values = element.decode(part.codes)
        return [ranger(element, float(values.min()), float(values.max()))]
    if element.bits >= 16:
        return [exponent_clamp(element, int(exponent_of(part.codes, element).max()))]
    return [code_clamp(element, part.codes)]


def recipe(text: str) -> Recipe:
    """Read a stack's name, one of `NAMED` or by the grammar above.

    Raises:
        DataError: an unknown layer, or layers out of order; names it and the near one.
    """
    text = text.strip()
    lookup = {name.lower(): value for name, value in NAMED.items()}
    written = lookup.get(text.lower(), text.lower())
    if written in ("artifact", "rg-artifact", "artifact-real"):
        return Recipe(text, False, "rg-dsc", (), True, written != "artifact-real")
    layers = written.split("+")
    on_die = layers[0] == "ondie"
    rest = layers[1:] if on_die else layers
    system = "none"
    if rest and rest[0] not in FILTERS:
        system = ALIASES.get(rest[0], rest[0])
        rest = [ALIASES.get(layer, layer) for layer in rest[1:]]
    oracle = system.endswith(ORACLE) and GUARDS.get(system.removesuffix(ORACLE), ("", "tails"))[1] != "tails"
    system = system.removesuffix(ORACLE) if oracle else system
    known = [*CODES, *GUARDS, *ALIASES, *FILTERS, "ondie"]
    for layer in (system, *rest):
        if layer not in (*CODES, *GUARDS, *FILTERS):
            near = difflib.get_close_matches(layer, known, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise DataError(f"stack {text!r}: no layer {layer!r}", hint=f"{hint}Layers: {', '.join(known)}")
    for layer in rest:
        if layer not in FILTERS:
            raise DataError(
                f"stack {text!r}: {layer!r} cannot come after {system!r}",
                hint="One system code, then filters: [ondie+]SYSTEM[+FILTER...]",
            )
    return Recipe(text, on_die, system, tuple(rest), oracle=oracle)
