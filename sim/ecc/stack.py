"""The ordered stack of protection: on-die code, system code, value-level filters. Faults enter the raw cells below all,
or the link between on-die and system code.

The on-die code sees the system's data and check bits as one word, the check bits of codeword j at bits
``256 + j * c`` and up. So a plot may state the raw bit error rate or the one after on-die correction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError
from potluck.sim.ecc.blocks import Selected, Split, Unprotected, gather, scatter
from potluck.sim.ecc.crc import crc16
from potluck.sim.ecc.filters import ValueFilter
from potluck.sim.ecc.hamming import on_die_sec
from potluck.sim.ecc.interface import BLOCK_BITS, Decoded, Protection, Status, Words, words_of
from potluck.sim.ecc.reed_solomon import hbm3_on_die

Policy = Literal["pass", "null", "retry", "fail"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


class Stored(NamedTuple):
    """Raw cells of blocks: `data` (rows, 4), the system's `checks` (rows, codewords), those `on_die` likewise."""

    data: Words
    checks: Words
    on_die: Words


Link = Callable[[Words, Words], tuple[Words, Words]]
"""What faulty pins make of data and check bits between the on-die code and the system's."""


class Access(NamedTuple):
    """Cells, and the link over which they are read; None: as it should be."""

    cells: Stored
    link: Link | None = None


class Read(NamedTuple):
    """What a read gives.

    Attributes:
        data: (rows, 4), after the policy.
        status: uint8 (rows, 1), the worst `Status` of all layers.
        on_die, system: statuses of the layers, per codeword.
        failed: rows for which the policy ``fail`` stops the run.
    """

    data: Words
    status: NDArray[np.uint8]
    on_die: NDArray[np.uint8]
    system: NDArray[np.uint8]
    failed: NDArray[np.bool_]

    @property
    def decoded(self) -> Decoded:
        """For `outcomes`: codewords of the system if they speak, else one status."""
        return Decoded(self.data, self.status)


@dataclass(frozen=True, eq=False)
class Stack:
    """Protection in layers.

    Attributes:
        system: the memory controller's code over 256 bits.
        on_die: over the system's data and check bits; None without.
        on_die_reports: whether the host hears of an on-die DUE (HBM3's severity pins) or reads the word as it is.
        filters: value-level, in order.

    Raises:
        DataError: the on-die code does not fit the system's words.
    """

    system: Protection
    on_die: Protection | None = None
    on_die_reports: bool = True
    filters: tuple[ValueFilter, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.system.data_bits != BLOCK_BITS:
            raise DataError(
                f"{self.system.name} covers {self.system.data_bits} bits, a block has {BLOCK_BITS}"
            )
        if self.on_die is not None and self.on_die.data_bits != BLOCK_BITS + self.system.check_bits:
            raise DataError(
                f"{self.on_die.name} covers {self.on_die.data_bits} bits, but {self.system.name} stores "
                f"{BLOCK_BITS + self.system.check_bits}", hint="Wrap it by on_die_sec_over or choose another pair",
            )  # fmt: skip

    @property
    def check_bits(self) -> int:
        """Stored per 256 data bits, of all layers."""
        return self.system.check_bits + (self.on_die.check_bits if self.on_die else 0)

    def write(self, data: Words) -> Stored:
        """Cells of blocks (rows, 4)."""
        stored, checks = self.system.encode(data)
        if self.on_die is None:
            return Stored(stored, checks, np.zeros((len(data), 0), np.uint64))
        word = self._join(stored, checks)
        encoded = self.on_die.encode(word)
        return Stored(*self._part(encoded.data, checks.shape[1]), encoded.checks)

    def read(
        self,
        cells: Stored,
        policy: Policy = "pass",
        again: Callable[[NDArray[np.intp]], Access] | None = None,
        link: Link | None = None,
    ) -> Read:
        """Decode all layers.

        Args:
            cells: possibly faulty.
            policy: on DUE, ``pass`` the data as they are, ``null`` the block, ``retry`` once, or ``fail``.
            again: for ``retry``: reads the cells of these rows once more (a transfer error is gone, a stuck cell not).
            link: between the devices and the controller, if it is faulty.

        Raises:
            DataError: unknown policy, or ``retry`` without `again`.
        """
        if policy not in POLICIES or (policy == "retry" and again is None):
            raise DataError(
                f"policy {policy!r} on DUE", hint=f"One of {', '.join(POLICIES)}; retry needs `again`"
            )
        result = self._decode(cells, link)
        lost = result.status[:, 0] == Status.DUE
        if policy == "retry" and again is not None and lost.any():
            rows = np.flatnonzero(lost)
            second = self._decode(*again(rows))
            pairs: list[tuple[NDArray[Any], NDArray[Any]]] = [
                (result.data, second.data), (result.status, second.status), (result.on_die, second.on_die),
                (result.system, second.system), (result.failed, second.failed),
            ]  # fmt: skip
            for whole, part in pairs:
                whole[rows] = part
        elif policy == "null":
            result.data[lost] = 0
        elif policy == "fail":
            result.failed[:] = lost
        return result

    def after_on_die(self, cells: Stored) -> tuple[Words, Words, NDArray[np.uint8]]:
        """What leaves the devices: data, the system's check bits, and the status per on-die codeword (none: one)."""
        if self.on_die is None:
            return cells.data, cells.checks, np.zeros((len(cells.data), 1), np.uint8)
        word, status = self.on_die.decode(self._join(cells.data, cells.checks), cells.on_die)
        return *self._part(word, cells.checks.shape[1]), status

    def _decode(self, cells: Stored, link: Link | None = None) -> Read:
        data, checks, inner = self.after_on_die(cells)
        if link is not None:
            data, checks = link(data, checks)
        none = np.zeros((len(data), 1), np.uint8)
        data, outer = self.system.decode(data, checks)
        heard = inner if self.on_die_reports else np.where(inner == Status.DUE, Status.CLEAN, inner)
        layers = [none, heard.astype(np.uint8), outer]
        for value_filter in self.filters:
            data, seen = value_filter.decode(data, checks)
            layers.append(seen)
        status = np.hstack(layers).max(axis=1, keepdims=True)
        return Read(data.copy(), status, inner.copy(), outer.copy(), np.zeros(len(data), np.bool_))

    def _each(self, codewords: int) -> int:
        return self.system.check_bits // codewords if codewords else 0

    def _places(self, codewords: int) -> NDArray[np.intp]:
        """Bits of the packed check words, in the order in which they follow the data."""
        each = self._each(codewords)
        return np.array([64 * j + r for j in range(codewords) for r in range(each)], np.intp)

    def _join(self, data: Words, checks: Words) -> Words:
        if not checks.shape[1]:
            return data
        return np.hstack([data, gather(np.ascontiguousarray(checks), self._places(checks.shape[1]))])

    def _part(self, word: Words, codewords: int) -> tuple[Words, Words]:
        width = words_of(BLOCK_BITS)
        data = np.ascontiguousarray(word[:, :width])
        if not codewords:
            return data, np.zeros((len(word), 0), np.uint64)
        return data, scatter(np.ascontiguousarray(word[:, width:]), self._places(codewords), codewords)


def on_die_sec_over(bits: int) -> Protection:
    """(136,128) codewords over the first multiple of 128 of so many bits; the rest (sideband) goes without."""
    whole = bits // 128
    code = Split(on_die_sec(), whole)
    return code if bits == 128 * whole else Selected(code.name, code, np.arange(128 * whole), bits)


def hbm3(system: Protection | None = None) -> Stack:
    """HBM3's on-die RS(19,17) under a system code of 16 check bits; CRC-16 by default."""
    return Stack(system or Split(crc16(), 1), Split(hbm3_on_die(), 1))


def unprotected() -> Stack:
    """Raw cells."""
    return Stack(Unprotected())
