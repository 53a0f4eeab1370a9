"""The smallest program and the simplest state that still differ, as text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from potluck.isa.registers import NAMES, format_vtype
from potluck.isa.table import TABLE
from tests.differential.latitude import EMPTY_SUM
from tests.differential.program import RESERVED, Item, Program, State
from tests.differential.run import Pair


class Shrinker:
    """Shrinks one failing run; :attr:`found` is the difference of the smallest case so far."""

    def __init__(self, pair: Pair, program: Program, run: int) -> None:
        self.pair, self.program, self.state = pair, program, program.state(run)
        self.run = run
        self.found = self._differs(program.items, self.state)

    def _differs(self, items: tuple[Item, ...], state: State) -> str | None:
        self.pair.load([replace(self.program, items=items)])
        return self.pair.compare(0, self.run, state)

    def _keep(self, items: tuple[Item, ...], state: State) -> bool:
        found = self._differs(items, state)
        if found is None:
            return False
        self.program, self.state, self.found = replace(self.program, items=items), state, found
        return True

    def shrink(self) -> Shrinker:
        """Cut the end, then the beginning and the middle, then zero registers and memory."""
        low, high = 0, len(self.program.items)
        while low < high:  # the shortest failing beginning
            middle = (low + high) // 2
            if self._keep(self.program.items[:middle], self.state):
                high = middle
            else:
                low = middle + 1
        size = len(self.program.items) // 2
        while size:
            at = len(self.program.items) - size
            while at >= 0:
                self._keep(self.program.items[:at] + self.program.items[at + size :], self.state)
                at -= size
            size //= 2
        self._zero_registers()
        return self

    def _zero_registers(self) -> None:
        s = self.state
        self._keep(self.program.items, replace(s, memory=np.zeros_like(s.memory)))
        for name, count in (("x", 32), ("f", 32), ("v", 32)):
            zeros = np.zeros_like(getattr(self.state, name))
            if name == "x":
                zeros[list(RESERVED)] = self.state.x[list(RESERVED)]
            if self._keep(self.program.items, replace(self.state, **{name: zeros})):
                continue
            for number in range(count):
                if getattr(self.state, name)[number].any():
                    changed = getattr(self.state, name).copy()
                    changed[number] = zeros[number]
                    self._keep(self.program.items, replace(self.state, **{name: changed}))

    @property
    def latitude(self) -> str | None:
        """The name of the latitude that explains the smallest case, if there is one.

        An unordered sum has to meet no active element, and with ordered sums in its place nothing may differ.
        """
        items = self.program.items
        ordered = tuple(
            replace(item, insn=TABLE[item.insn.mnemonic.replace("redusum", "redosum")]) for item in items
        )
        if ordered == items or self._differs(ordered, self.state):
            return None
        self._differs(items, self.state)
        return EMPTY_SUM if self.pair.sums_nothing(0, self.state) else None

    def __str__(self) -> str:
        p, s = self.program, self.state
        lines = [
            f"{self.found}",
            f"  seed={p.seed} program={p.number} run={self.run} VLEN={p.vlen} {format_vtype(s.vtype)} vl={s.vl} "
            f"fcsr={s.fcsr:#x} vcsr={s.vcsr} memory={'random' if s.memory.any() else 'zero'}",
        ]
        used = {(o.bank, i.fields[o.name]) for i in p.items for o in i.insn.syntax if o.name in i.fields}
        for name, array in (("x", s.x), ("f", s.f)):
            lines += [
                f"  {NAMES[name][n]} = {int(array[n]):#x}"
                for n in range(32)
                if array[n] and (name, n) in used
            ]
        lines += [f"  v{n} = {s.v[n].view(np.uint64).tolist()!s}" for n in range(32) if s.v[n].any()]
        return "\n".join([*lines, str(p)])
